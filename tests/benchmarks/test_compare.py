"""DAgger against cloning, in a tiny edition: the design, the arithmetic of its answers, and the order of its cells."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agent.demonstrate import play_episode
from agent.policy_expert import PolicyExpert
from benchmarks import check_results, make_student, reference
from benchmarks.compare import __main__ as compare
from benchmarks.compare import design
from benchmarks.compare import latency as labelling_latency
from benchmarks.compare import report as compare_report
from benchmarks.compare.__main__ import Args, Cell, cells_of
from benchmarks.compare.design import COLUMNS, COMPARISONS, TASKS, Comparison
from benchmarks.compare.memory_student import train_with_memory
from benchmarks.compare.picture import write_picture
from benchmarks.compare.report import judge, labels_text, labels_to_reach, latency_part, markdown
from benchmarks.compare.state_student import StateStudent, features, replay, train_on_states
from benchmarks.protocol import Recipe, TrialOnTestError
from common.demonstrations import load_episode, save_episode
from common.learner import DivergedError
from common.policies import RandomPolicy, RecurrentPolicy
from common.runtime.main import Stopped
from common.runtime.scripts import never
from common.statistics import bootstrap_difference, holm
from pokemon_env.games.tallgrass import GAME, benchmark_v1, frozen
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import BUNDLED_ROM

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("forked_scripts")
SEEDS = design.SEEDS


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(compare_report, "RESAMPLES", 50)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the benchmark does: small networks gain nothing from more
    yield
    torch.set_num_threads(threads)


# The design


def test_the_design_is_what_was_asked_for():
    assert len(TASKS) >= 7 and len({task.milestone for task in TASKS}) == len({task.kind for task in TASKS}) == len(TASKS)
    assert {task.milestone for task in TASKS} <= set(benchmark_v1.SCORED)
    assert sorted(task.tier for task in TASKS) == ["T1"] * 2 + ["T2"] * (len(TASKS) - 2)
    longest = max(benchmark_v1.SCORED, key=lambda name: frozen.mean_steps(name, "T2"))
    assert [task.milestone for task in TASKS if task.kind == "long"] == [longest]
    # Each factor is one change of its base, whose recipe is the reference's: test it against that, and state it once.
    for column in design.FACTORS:
        assert column.recipe != design.RECIPES[column.base] and column.recipe.chosen == design.STATED
        assert [one for one in COMPARISONS if one.ours == column.name and one.theirs == column.base] != []
    assert design.COLUMNS["dagger"].recipe is reference.RECIPES["dagger"]
    assert len(set(COMPARISONS)) == len(COMPARISONS)
    for one in COMPARISONS:
        assert one.labels in design.LABELS and all(COLUMNS[name].recipe for name in (one.ours, one.theirs))
        assert one.labels == design.FACTOR_LABELS or all(COLUMNS[name].everywhere for name in (one.ours, one.theirs))


def test_a_change_that_the_recipe_has_made_already_is_no_column():
    usual = design._dagger("x", "x", 6, **design.DAGGER)
    assert not design._is_change(usual) and not design._is_change(design._dagger("x", "x", 6, **design._DEMONSTRATED))
    assert design._is_change(design._dagger("x", "x", 6, query_rate=0.123))
    found = [design._is_change(design._seen("x", "x", frame_stack=count)) for count in (1, 2)]
    assert found == [False, True]


def order(labels: int = 1000, **changes: object) -> make_student.Order:
    settings = design.SETTINGS | {"dagger": design.DAGGER | {"iterations": 8, "query_rate": 0.25, "training": 2} | changes}
    return make_student.Order("T2", "RIVAL_HOUSE", "x", labels, 1, Recipe("x", settings, ""), Path("folder"), 0.2)


def test_each_dagger_gets_the_same_labels_and_steps(monkeypatch):
    told: dict[str, dict] = {}
    monkeypatch.setattr(make_student, "train", lambda order, script, name, flags, stop: told.update({script: flags}) or Path(name))
    monkeypatch.setattr(make_student, "record", lambda *_: None)
    monkeypatch.setattr(make_student.steps, "sandbox_flags", lambda: {})
    wanted = {"usual": ({}, 125, 7), "nothing": ({"start": "nothing"}, 0, 8), "clone": ({"start": "clone"}, 500, 4),
              "4": ({"iterations": 4, "demonstrated": 8}, 125, 3), "all": ({"query_rate": 1.0}, 125, 7)}  # fmt: skip
    episodes = {}
    for name, (changes, demonstrations, rollouts) in wanted.items():
        told.clear()
        make_student.dagger(order(**changes), never)
        flags = told["dagger_pokemon.py"]
        assert flags.get("max_labels", 0) == demonstrations and flags["query_budget"] == 1000 - demonstrations
        steps = flags["n_iterations"] * flags["train_steps_per_iter"] + told.get("bc_pokemon.py", {}).get("total_steps", 0)
        assert steps == 2 * reference.TRAINING_STEPS[1000]
        visited = flags["episodes_per_iter"] * rollouts * frozen.mean_steps("RIVAL_HOUSE", "T2")
        assert visited * changes.get("query_rate", 0.25) >= 1000 - demonstrations
        episodes[name] = flags["episodes_per_iter"]
        assert ("init_from" in flags) == (name == "clone") and ("expert_data_dir" in flags) == (name != "nothing")
    assert episodes["all"] == pytest.approx(episodes["usual"] / 4, abs=1)


def test_another_recipe_has_other_files():
    names = {
        order(**changes).name(800) for changes in ({}, {"beta_schedule": "linear"}, {"query_by": "novelty"}, {"iterations": 4})
    }
    assert len(names) == 4 and order().name(800) == order().name(800)
    noisy, clean = (dataclasses.replace(order(), recipe=Recipe("x", {"noise": noise}, "")) for noise in (0.2, 0.0))
    assert noisy.data != clean.data


def test_cells_and_their_order():
    cells = cells_of(Args())
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(names) and names[0] == "T1/CLOCK_SET/random"
    students = [cell for cell in cells if cell.labels]
    assert [cell.seed for cell in students] == sorted(cell.seed for cell in students)
    firsts = list(dict.fromkeys((cell.column.name, cell.labels) for cell in students))
    assert firsts[:4] == [("dagger", 1000), ("bc", 1000), ("bc_sets", 1000), ("dagger", 250)]
    assert {count for name, count in firsts if not COLUMNS[name].everywhere} == {1000}
    assert len(students) == (3 * 3 + len(design.FACTORS)) * len(TASKS) * 3
    some = cells_of(Args(columns=("dagger", "dagger_clone"), labels=(250, 1000), tasks=("T2/HEALED",), seeds=(5,)))
    assert [cell.name for cell in some] == [
        f"T2/HEALED/{name}_seed5" for name in ("dagger1000", "dagger250", "dagger_clone1000")
    ]  # fmt: skip
    assert not cells_of(Args(parts=("latency",)))


# The answers


def row(rate: float, task: design.Task, column: str, labels: int = 0, seed: int = 0, used: int | None = None) -> dict:
    student = {"labels": labels, "labels_used": labels if used is None else used, "seed": seed} if labels else {}
    limits = list(frozen.limits(task.milestone, task.tier, "test"))
    return student | {
        "milestone": task.milestone, "tier": task.tier, "method": column, "successes": [i < 100 * rate for i in range(100)],
        "seeds": list(frozen.seeds("test")), "lengths": limits, "limits": limits, "minutes": 1.0,
        "machine": {"cpu": "a CPU", "bf16": True},
    }  # fmt: skip


def made_up_rows() -> dict[str, dict]:
    """DAgger is better than the clones from 1,000 labels on, by what differs a little from task to task."""
    rates = {"dagger": (0.4, 0.7, 0.9), "bc": (0.4, 0.45, 0.6), "bc_sets": (0.4, 0.5, 0.8)}
    rows = {}
    for number, task in enumerate(TASKS):
        players = {"random": 0.0, "compass": 0.3, "planner": 0.8, "expert": 1.0}
        rows |= {f"{task.name}/{name}": row(rate, task, name) for name, rate in players.items()}
        for name, seed in product(rates, SEEDS):
            for labels, rate in zip(design.LABELS, rates[name], strict=True):
                shift = 0.01 * number if name == "dagger" and labels > 250 else 0
                rows[f"{task.name}/{name}{labels}_seed{seed}"] = row(rate + shift, task, name, labels, seed)
    return rows


def tables(rows: dict, tasks: tuple = TASKS) -> str:
    return markdown(rows, tasks, SEEDS, design.LABELS, "test", {})


def test_labels_to_reach():
    curve = {250: 0.2, 1000: 0.6, 4000: 0.6}
    assert labels_to_reach(curve, 0.4) == pytest.approx(500)  # half of the way on the logarithm
    assert labels_to_reach(curve, 0.6) == pytest.approx(1000) and labels_to_reach(curve, 0.1) == 250
    assert math.isinf(labels_to_reach(curve, 0.61))
    assert [labels_text(curve, target) for target in (0.1, 0.4, 0.9)] == ["at most 250", "500", "> 4,000"]


def test_the_difference_is_paired():
    theirs = np.random.default_rng(0).random((4, 3, 40)) < np.linspace(0.1, 0.9, 4)[:, None, None]
    ours = theirs.copy()
    ours[:, :, :4] = True
    value, low, high = bootstrap_difference(ours, theirs, np.random.default_rng(1), resamples=300)
    assert 0 <= low < value < high < 0.12 and value == pytest.approx(ours.mean() - theirs.mean())
    assert bootstrap_difference(ours, ours, np.random.default_rng(1), resamples=20) == (0, 0, 0)


def test_what_is_stated_is_judged_together():
    found = {(one.comparison.theirs, one.comparison.labels): one for one in judge(made_up_rows(), TASKS, SEEDS, "test")[:6]}
    assert {key: one.verdict for key, one in found.items()} == {
        ("bc", 250): "not shown", ("bc", 1000): "better", ("bc", 4000): "better",
        ("bc_sets", 250): "not shown", ("bc_sets", 1000): "better", ("bc_sets", 4000): "better",
    }  # fmt: skip
    adjusted, plain = [one.p for one in found.values()], [one.difference.p for one in found.values()]
    assert adjusted == pytest.approx(holm(plain)) and found["bc", 1000].means == (pytest.approx(0.73), pytest.approx(0.45))
    # Those that are not measured count: with one of two it is as with two.
    stated = (Comparison("dagger", "bc", 1000, 1, "methods"), Comparison("dagger", "dagger_novelty", 1000, 6, "methods"))
    known, unknown = judge(made_up_rows(), TASKS, SEEDS, "test", stated)
    assert unknown.verdict == "not measured" and known.p == pytest.approx(2 * known.difference.p)


def test_there_is_no_verdict_before_all_is_measured():
    rows = made_up_rows()
    first = judge(rows, TASKS[:6], SEEDS, "test")[1]
    assert first.verdict == "not as stated" and first.difference.value == pytest.approx(0.275)
    assert judge(rows, TASKS, SEEDS, "choose")[1].verdict == "not as stated"
    del rows["T2/RIVAL_HOUSE/dagger1000_seed3"]
    assert judge(rows, TASKS, SEEDS, "test")[1].verdict == "2 of 3 seeds"
    for seed in SEEDS:
        rows.pop(f"T2/RIVAL_HOUSE/dagger1000_seed{seed}", None)
    text = tables(rows)
    assert judge(rows, TASKS, SEEDS, "test")[1].verdict == "not measured"  # not a mean over the other tasks
    assert "| RIVAL_HOUSE (T2) | walk | 40 / - / 92 |" in text and "| CLOCK_SET (T1) | menu | 40 / - / 90 |" in text


def test_the_tables():
    rows = made_up_rows()
    lines = tables(rows).splitlines()
    heads = [i for i, line in enumerate(lines) if set(line) == {"|", "-"}]
    for head in heads:  # as many cells in each row as in the head
        block = lines[head - 1 : next(i for i in range(head, len(lines)) if not lines[i].startswith("|"))]
        assert len({line.count("|") for line in block}) == 1
    assert any(line.startswith("| BC | 40 [") and line.endswith("| > 4,000 |") for line in lines)
    assert any(line.startswith("| DAgger | BC | 1,000 | 73, 45 | +28 [") and line.endswith("| better |") for line in lines)
    assert "| DAgger, queries by novelty | DAgger | 1,000 | - | - | - | - | not measured |" in lines
    assert "Every student used at least 100 % of its labels." in "\n".join(lines)
    rows["T1/CLOCK_SET/dagger250_seed1"]["labels_used"] = 200
    assert "Every student used at least 80 % of its labels." in tables(rows)
    assert "not measured" in tables({})


def test_the_picture(tmp_path):
    write_picture({}, TASKS, SEEDS, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    write_picture(made_up_rows(), TASKS, SEEDS, tmp_path / "compare.png")
    with Image.open(tmp_path / "compare.png") as picture:
        assert picture.format == "PNG" and picture.width > 800
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 100


# The student that reads the state


@pytest.mark.parametrize(("tier", "worlds", "milestone"), [("T1", "0", "CLOCK_SET"), ("T2", "train", "RIVAL_HOUSE")])
def test_demonstrations_are_played_again_for_their_states(tmp_path, tier, worlds, milestone):
    settings = {"tier": tier, "worlds": worlds, "start_milestone": milestone}
    expert, files, labels = PolicyExpert((None, milestone), GAME), [], []
    with PokemonEnv(BUNDLED_ROM, target_milestone=milestone, **settings) as env:
        for seed in (3, 4):
            episode = play_episode(env, expert, seed, None, 60, noise=0.3)
            episode.metadata.update(settings)
            files.append(save_episode(tmp_path, episode))
            labels += episode.actions.tolist()
    states, replayed = replay(files, len(labels) - 2, BUNDLED_ROM, milestone)
    assert replayed.tolist() == labels[:-2] and states.dtype == np.float32 and np.isfinite(states).all()
    network = train_on_states(states, replayed, 8, steps=150, batch_size=32, learning_rate=3e-3, seed=1)
    fitted = network(torch.from_numpy(states)).argmax(-1).numpy()
    assert np.mean(fitted == replayed) > 0.9
    with pytest.raises(DivergedError, match="^step 50: training has diverged .*; begin again with a lower learning rate than 1e"):
        train_on_states(states, replayed, 8, steps=50, batch_size=32, learning_rate=1e30, seed=1)
    episode = load_episode(files[0])
    episode.metadata["seed"] += 1
    other = save_episode(tmp_path, episode)
    with pytest.raises(ValueError, match="played again, step 0 looks otherwise"):
        replay([other], 5, BUNDLED_ROM, milestone)


def test_all_states_have_features_of_one_size():
    sizes = set()
    for milestone in ("GAME_RUNNING", "PLAYER_NAME_SET", "STARTER_CHOSEN", "RIVAL_BATTLE_WON", "FIRST_CATCH"):
        expert = PolicyExpert((None, milestone), GAME)
        with PokemonEnv(BUNDLED_ROM, target_milestone=milestone, tier="T1", worlds="0", start_milestone=milestone) as env:
            _, info = env.reset(seed=1)
            for _ in range(15):
                sizes.add(features(info).shape)
                *_, terminated, _, info = env.step(expert.label(info).action)
                if terminated:
                    break
    assert len(sizes) == 1
    student = StateStudent(torch.nn.Linear(*sizes.pop(), 8))
    student.start_episode(0, 1)
    assert student.act([0], [None], [info])[0] in range(8)


# The student with a memory


@pytest.mark.slow
def test_a_clone_with_a_memory_learns_its_labels(tmp_path):
    expert = PolicyExpert((None, "CLOCK_SET"), GAME)
    with PokemonEnv(BUNDLED_ROM, target_milestone="CLOCK_SET", tier="T1", worlds="0", start_milestone="CLOCK_SET") as env:
        files = [save_episode(tmp_path, play_episode(env, expert, seed, None, 60)) for seed in (3, 4)]
    learning = {"batch_size": 64, "learning_rate": 1e-3, "seed": 1, "should_stop": never}
    (network, used), (again, _) = (train_with_memory(files, 28, 8, steps=2, **learning) for _ in range(2))
    assert used == 28 and all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    network, used = train_with_memory(files, 8, 8, steps=100, **learning)
    episode = load_episode(files[0])
    for deterministic in (True, False):
        student = RecurrentPolicy(network, deterministic=deterministic)
        student.start_episode(0, 1)
        presses = [student.act([0], [screen], [{}])[0] for screen in episode.observations[:used]]
        assert used == 8 and np.mean(np.array(presses) == episode.actions[:used]) > 0.7
    with pytest.raises(Stopped):
        train_with_memory(files, 8, 8, steps=40, **learning | {"should_stop": lambda: True})


# A slow expert


def test_batches_and_the_cache_save_time():
    result = labelling_latency.measure(
        RandomPolicy(8), "PLAYER_NAME_SET", "T1", seconds=0.05, concurrency=8, episodes=4, max_steps=12, loop_steps=8
    )
    assert result["cached_asked"] == 0 and result["cached_labels"] == result["labels"] <= result["rows"]
    assert result["loop_labels"] == 8 and result["loop_rate"] < 20 and result["ratio"] > 1.5
    assert any(line.startswith("| the same again, from the cache (0 asked) |") for line in latency_part(result))


# The whole way


def test_what_is_kept_is_not_measured_again(tmp_path, monkeypatch, capsys):
    """What the reference has measured counts, and so does what this command has; a result of another recipe does not."""
    monkeypatch.setattr(frozen, "EPISODES", 2)
    monkeypatch.setattr(benchmark_v1, "check", lambda: None)
    args = Args(
        parts=("methods",), tasks=("T2/CLOCK_SET",), columns=("bc", "expert"), labels=(250,), seeds=(1, 2), parallel=1,
        output_dir=str(tmp_path / "out"), reference_dir=str(tmp_path / "reference"),
    )  # fmt: skip
    played: list[str] = []

    def measure(args: Args, cell: Cell, should_stop) -> dict:
        if len(played) == stop_after:
            raise KeyboardInterrupt
        played.append(cell.name)
        limits = list(frozen.limits(cell.task.milestone, cell.task.tier, "test"))
        more = {"limits": limits, "lengths": limits, "successes": [True, False], "seeds": list(frozen.seeds("test"))}
        return (
            row(0.5, cell.task, cell.column.name, cell.labels, cell.seed) | more | {"fingerprint": compare.result_key(args, cell)}
        )

    monkeypatch.setattr(compare, "measure", measure)
    theirs = tmp_path / "reference" / "T2" / "CLOCK_SET"
    theirs.mkdir(parents=True)
    stop_after = 99
    known = reference.Args()
    key = reference.result_key(known, reference.training_key(known, "CLOCK_SET"), reference.Cell("CLOCK_SET", "bc", 250, 2))
    kept = measure(args, next(cell for cell in cells_of(args) if cell.seed == 2), never)
    (theirs / "bc250_seed2.json").write_text(json.dumps(kept | {"fingerprint": key}))
    (theirs / "bc250_seed1.json").write_text(json.dumps(kept | {"fingerprint": "of another recipe"}))
    played.clear()
    stop_after = 1
    with pytest.raises(KeyboardInterrupt):
        compare.main(args)
    stop_after = 99
    assert played == ["T2/CLOCK_SET/expert"] and compare.main(args) == 0
    assert played == ["T2/CLOCK_SET/expert", "T2/CLOCK_SET/bc250_seed1"]
    assert compare.main(args) == 0 and len(played) == 2
    out = tmp_path / "out"
    assert sorted(path.name for path in (out / "T2" / "CLOCK_SET").glob("*.json")) == ["bc250_seed1.json", "expert.json"]
    assert check_results.main(check_results.Args(out / "T2.json")) == 0 and "3 results, tier T2" in capsys.readouterr().out
    monkeypatch.setattr(design, "NOISE", 0.1)
    with pytest.raises(ValueError, match="made with other settings"):
        compare.main(args)


@pytest.mark.slow
def test_every_kind_of_student_is_trained_and_plays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(frozen, "EPISODES", 2)
    monkeypatch.setattr(benchmark_v1, "EPISODES", 2)
    monkeypatch.setattr(compare, "LEAST_LABELS_USED", 0.5)
    monkeypatch.setattr(design, "FACTOR_LABELS", 200)
    monkeypatch.setattr(design, "LABELS", (200,))
    columns = ("dagger", "dagger_clone", "dagger_plan", "bc_sets_longer", "bc_memory", "bc_state", "bc_clean")
    args = Args(
        parts=("methods", "factors", "latency"), tasks=("T1/CLOCK_SET",), columns=columns, labels=(200,), seeds=(1,), parallel=1,
        purpose="choose", length=0.02, output_dir="out", latency_milestone="PLAYER_NAME_SET", latency_seconds=0.01,
        latency_episodes=2, latency_loop_steps=4,
    )  # fmt: skip
    assert compare.main(args) == 0
    results = {row["method"]: row for row in json.loads((tmp_path / "out" / "T1_trials.json").read_text())["results"]}
    assert results.keys() == set(columns)
    for name, result in results.items():
        assert 100 <= result["labels_used"] <= 200 and result["recipe"]["chosen"] == "a trial", name
        assert result["split"] == "choose" and result["machine"]["threads"] == 1, name
    clones = (results[name]["gradient_steps"] for name in ("bc_sets_longer", "bc_memory", "bc_state"))
    assert [results["dagger_clone"]["gradient_steps"], *clones] == [5 + 4 * 2, 10, 5, 5]
    assert "| a rollout's queries in batches |" in (tmp_path / "out" / "compare_trials.md").read_text()
    folder = tmp_path / "out" / "T1_trials" / "CLOCK_SET"
    assert {path.name for path in folder.glob("expert_data*")} == {"expert_data_1", "expert_data_1_other_noise"}

    (folder / "dagger200_seed1.json").unlink()
    monkeypatch.setattr(make_student.steps, "run_script", lambda script, *_, **__: pytest.fail(script))
    assert compare.main(args) == 0 and (folder / "dagger200_seed1.json").is_file()  # the network is there: it only plays again


def test_wrong_flags(tmp_path):
    for flags, told in (
        ({"labels": (5,)}, "labels at least 200"),
        ({"seeds": ()}, "want a value"),
        ({"tasks": ("T2/NO_SUCH",)}, "--tasks T2/NO_SUCH: is no task; write one of T1, T2, a slash, and a milestone"),
        ({"tasks": ("RIVAL_HOUSE",)}, "--tasks RIVAL_HOUSE: is no task"),
        ({"columns": ("bcc",)}, "--columns: no column bcc; there are dagger, bc, "),
        ({"latency_milestone": "NO_SUCH"}, "no milestone NO_SUCH"),
    ):
        with pytest.raises(ValueError, match=told):
            compare.main(Args(output_dir=str(tmp_path / "out"), **flags))
    with pytest.raises(TrialOnTestError, match="^dagger, a trial: a trial plays the episodes to choose by: say --purpose choose"):
        compare.main(Args(output_dir=str(tmp_path / "out"), length=0.1))
    assert not (tmp_path / "out").exists()


def test_help_is_the_manual():
    command = [sys.executable, "-m", "benchmarks.compare", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "--latency-concurrency" in done.stdout and "--purpose" in done.stdout
