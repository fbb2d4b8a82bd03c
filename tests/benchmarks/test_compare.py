"""The comparison of DAgger with cloning, in a tiny edition, and how its figures are made."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agent.demonstrate import play_episode
from agent.policy_expert import PolicyExpert
from benchmarks.compare import __main__ as compare
from benchmarks.compare import latency as labelling_latency
from benchmarks.compare import recipe as compare_recipe
from benchmarks.compare import report as compare_report
from benchmarks.compare.__main__ import Args, Cell, cells_of, episodes_per_iteration, gradient_steps
from benchmarks.compare.report import (
    TITLES,
    labels_text,
    labels_to_reach,
    learned,
    markdown,
    name_of,
    what_is_complete,
    write_picture,
)
from benchmarks.compare.state_student import StateStudent, features, replay, train_on_states
from common.demonstrations import load_episode, save_episode
from common.learner import DivergedError
from common.policies import RandomPolicy
from common.statistics import bootstrap_difference
from pokemon_env.games.tallgrass import GAME, benchmark_v1, frozen
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import BUNDLED_ROM

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("forked_scripts")
PLACES = [("T1", "CLOCK_SET"), ("T2", "RIVAL_HOUSE")]
ARGS = Args(parts=("main", "views"), milestones=("CLOCK_SET",), t2_milestones=("RIVAL_HOUSE",), seeds=(1, 2))


def row(rate: float, labels: int = 0, used: int | None = None, n: int = 20) -> dict:
    return {
        "successes": [i < round(rate * n) for i in range(n)],
        "labels": labels,
        "labels_used": labels if used is None else used,
        "minutes": 1.0,
    }


def made_up_rows() -> dict[str, dict]:
    """DAgger is good from 1,000 labels on, the others are from 4,000 on or never; the expert is always."""
    rates = {"dagger": (0.5, 0.9, 1.0), "dagger_novelty": (0.4, 0.9, 1.0), "dagger_random": (0.4, 0.6, 0.9)}
    rows = {}
    for place in PLACES:
        rows |= {name_of(place, "random"): row(0), name_of(place, "expert"): row(1)}
        for method, seed in product(TITLES, (1, 2)):
            for labels, rate in zip((250, 1000, 4000), rates.get(method, (0.2, 0.4, 0.6)), strict=True):
                rows[name_of(place, method, labels, seed)] = row(rate, labels)
    return rows


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(compare_report, "RESAMPLES", 50)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the benchmark does: small networks gain nothing from more
    yield
    torch.set_num_threads(threads)


def tables(rows: dict, args: Args = ARGS) -> str:
    return markdown(args, rows, None, what_is_complete(args, rows))


def test_labels_to_reach():
    curve = {250: 0.2, 1000: 0.6, 4000: 0.6}
    assert labels_to_reach(curve, 0.4) == pytest.approx(500)  # half of the way on the logarithm
    assert labels_to_reach(curve, 0.6) == pytest.approx(1000) and labels_to_reach(curve, 0.1) == 250
    assert math.isinf(labels_to_reach(curve, 0.61))
    assert [labels_text(curve, target) for target in (0.1, 0.4, 0.9)] == ["≤ 250", "500", "> 4,000"]


def test_the_difference_is_paired():
    theirs = np.random.default_rng(0).random((4, 3, 40)) < np.linspace(0.1, 0.9, 4)[:, None, None]
    ours = theirs.copy()
    ours[:, :, :4] = True
    value, low, high = bootstrap_difference(ours, theirs, np.random.default_rng(1), resamples=300)
    assert 0 <= low < value < high < 0.12 and value == pytest.approx(ours.mean() - theirs.mean())
    assert bootstrap_difference(ours, ours, np.random.default_rng(1), resamples=20) == (0, 0, 0)


def test_the_tables_and_answers():
    rows = made_up_rows()
    text = tables(rows)
    lines = text.splitlines()
    assert lines[0].startswith("| IQM [95 %], mean | 250 labels | 1,000 labels | 4,000 labels |")
    assert len({line.count("|") for line in lines if line.startswith(("| IQM", "| BC", "| DAgger", "| expert"))}) == 1
    assert any(line.startswith("| DAgger | 50 [") and "], 50 |" in line and line.endswith("| 1,000 |") for line in lines)
    assert any(line.startswith("| BC, noise | 20 [") and line.endswith("| > 4,000 |") for line in lines)
    assert "Labels to 90 % of the expert, novelty against random: 1,000 against 4,000, 0.25 times as many." in text
    assert "DAgger has 95 % of the expert's success: 0 of 2 with 250 labels, 0 of 2 with 1,000 labels, 2 of 2 with 4,000" in text
    assert "+30 [" in text and "| RIVAL_HOUSE (T2) | 0 | 20 / 40 / 60 |" in text
    assert learned(ARGS, rows, "dagger", 4000, ARGS.seeds) == (2, 2)
    rows[name_of(PLACES[0], "dagger", 250, 1)]["labels_used"] = 200
    assert "at least 80 % of its labels" in tables(rows)


def test_how_many_labels_are_enough():
    args = replace(ARGS, parts=("enough",))
    rows = made_up_rows()
    rows[name_of(PLACES[1], "expert")] = row(0.8)
    rows[name_of(PLACES[1], "dagger_enough", 16_000, 1)] = row(0.6, 16_000)
    text = tables(rows, args)
    assert "| CLOCK_SET (T1) | 50.0 | 90.0 | 100.0 | - | 100 |" in text
    assert "| RIVAL_HOUSE (T2) | 62.5 | 112.5 | 125.0 | 75.0 | 80 |" in text
    assert "| at least 95 % | 0 of 2 | 1 of 2 | 2 of 2 | 0 of 1 | |" in text


def test_what_is_not_complete_is_left_out(tmp_path):
    rows = made_up_rows()
    del rows[name_of(PLACES[1], "dagger", 250, 2)]
    done = what_is_complete(ARGS, rows)
    assert (done.places, done.seeds) == (PLACES, [1]) and done.curves["dagger"][1000][0] == pytest.approx(0.9)
    assert "2 of 2 milestones and 1 of 2 seeds are complete" in tables(rows)
    del rows[name_of(PLACES[1], "bc", 250, 1)]
    done = what_is_complete(ARGS, rows)
    assert (done.places, done.seeds) == (PLACES[:1], [1, 2])
    rows = {name: row for name, row in rows.items() if "4000" not in name}  # not begun
    assert set(what_is_complete(ARGS, rows).curves["dagger"]) == {250, 1000} and "| - |" in tables(rows)
    nothing = what_is_complete(ARGS, {})
    assert not nothing.curves and tables({})
    write_picture(ARGS, nothing, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_the_picture(tmp_path):
    write_picture(ARGS, what_is_complete(ARGS, made_up_rows()), tmp_path / "compare.png")
    with Image.open(tmp_path / "compare.png") as picture:
        assert picture.format == "PNG" and picture.width > 1200
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 100


# Budgets


@pytest.mark.parametrize("labels", [250, 1000, 4000, 16_000])
def test_all_methods_get_the_same(labels):
    steps = gradient_steps(labels)
    assert steps % compare.ITERATIONS == 0 and steps % 2 == 0
    for method in compare.METHODS:
        assert sum(Cell("T1", "CLOCK_SET", method, labels, 1).demonstrations(0.2).values()) <= labels
    for tier, milestone in (("T1", "FIRST_CATCH"), ("T2", "RIVAL_HOUSE")):
        asked = episodes_per_iteration(labels, milestone, tier) * compare.ITERATIONS * frozen.mean_steps(milestone, tier)
        assert asked >= labels


def test_dagger_is_told_of_what_is_left_of_its_labels(monkeypatch):
    told: dict[str, dict] = {}

    def run_trainer(args, cell, script, name, flags, should_stop):
        told[name] = flags
        return Path(f"{name}_final.pth")

    monkeypatch.setattr(compare, "run_trainer", run_trainer)
    monkeypatch.setattr(compare, "load_checkpoint", lambda path: {"labels": {"labels": told[path.name[:-10]]["query_budget"]}})
    monkeypatch.setattr(compare.cloning, "sandbox_flags", lambda: {})
    for method in ("dagger", "dagger_mixed", "hybrid", *compare.GATED, compare.ENOUGH):
        _, used = compare.dagger(Args(), Cell("T1", "RIVAL_HOUSE", method, 1000, 1), method, lambda: False)
        assert used == 1000
        steps = told[method]["n_iterations"] * told[method]["train_steps_per_iter"]
        assert steps + (told["hybrid_clone"]["total_steps"] if method == "hybrid" else 0) == gradient_steps(1000)
    assert told["hybrid"]["max_labels"] == told["hybrid_clone"]["max_labels"] == 500 == told["hybrid"]["query_budget"]
    assert told["dagger_enough"]["max_labels"] == 125 and told["dagger_enough"]["label_set"]
    assert told["dagger_random"]["max_labels"] == 166 and "max_labels" not in told["dagger"]
    assert told["dagger_novelty"]["episodes_per_iter"] == 4 * told["dagger"]["episodes_per_iter"]


def test_cells_and_their_order():
    cells = cells_of(Args(labels=(250,), seeds=(1, 2)))
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(names) and names[0] == "T1/RIVAL_HOUSE/random" and "T2/EXIT_RIVAL_HOUSE/expert" in names
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    assert sum(cell.method == "dagger" for cell in cells) == 7 * 2
    assert [cell.seed for cell in cells if cell.method == "dagger_enough"] == [1] * 7
    assert sum(cell.method.startswith("bc_noise_") for cell in cells) == 2 * 3
    alone = cells_of(Args(parts=("latency",)))
    assert [cell.name for cell in alone] == ["T1/RIVAL_HOUSE/bc_noise250_seed1"]


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


# A slow expert


def test_batches_and_the_cache_save_time():
    result = labelling_latency.measure(
        RandomPolicy(8), "PLAYER_NAME_SET", "T1", seconds=0.05, concurrency=8, episodes=4, max_steps=12, loop_steps=8
    )
    assert result["cached_asked"] == 0 and result["cached_labels"] == result["labels"] <= result["rows"]
    assert result["loop_labels"] == 8 and result["loop_rate"] < 20 and result["ratio"] > 1.5
    assert "| the same again, from the cache (0 asked) |" in markdown(
        Args(parts=("latency",)), {}, result, compare_report.Complete([], [], {})
    )


# The whole way


@pytest.mark.slow
def test_a_part_that_is_done_is_not_done_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare_recipe, "GRADIENT_STEPS", {30: 12})
    for module in (frozen, benchmark_v1):
        monkeypatch.setattr(module, "EPISODES", 2)
    monkeypatch.setattr(compare, "VIEWS", {name: compare.VIEWS[name] for name in ("bc_noise", "bc_noise_stack4")})
    args = Args(
        parts=("main", "views"), milestones=("PLAYER_NAME_SET",), t2_milestones=(), labels=(30,), seeds=(1,),
        methods=("bc_noise", "hybrid", "dagger_novelty", "state"), views_milestones=("PLAYER_NAME_SET",),
        views_labels=30, latency_milestone="PLAYER_NAME_SET", parallel=1, output_dir="out",
    )  # fmt: skip
    assert compare.main(args) == 0
    folder = tmp_path / "out" / "T1" / "PLAYER_NAME_SET"
    content = json.loads((tmp_path / "out" / "compare.json").read_text())["results"]
    assert len(content) == 2 + 4 + 1 and content["T1/PLAYER_NAME_SET/expert"]["successes"] == [True, True]
    for name, result in content.items():
        if result["labels"]:
            assert 27 <= result["labels_used"] <= 30, name
    assert "| BC, then DAgger |" in (tmp_path / "out" / "compare.md").read_text()
    with Image.open(tmp_path / "out" / "compare.png") as picture:
        assert picture.format == "PNG"
    assert not list(folder.glob("*_last.pth")) and not list(folder.glob("*_data.sqlite*"))

    files = {path: path.stat().st_mtime_ns for path in [*folder.glob("*.json"), *folder.glob("*.pth")]}
    gone = folder / "dagger_novelty30_seed1.json"
    gone.unlink()
    scripts = []
    monkeypatch.setattr(compare.cloning, "run_script", lambda *command, **_: scripts.append(command))
    assert compare.main(args) == 0 and not scripts  # the network is there: it only plays again
    assert [path for path, time in files.items() if path.stat().st_mtime_ns != time] == [gone]
    args.noise = 0.1
    with pytest.raises(ValueError, match="made with other settings"):
        compare.main(args)


def test_wrong_flags(tmp_path):
    for flags, told in (
        ({"labels": (5,)}, "labels at least 12"),
        ({"seeds": ()}, "want a value"),
        ({"query_rate": 0.0}, "--query-rate is 0.0"),
        ({"t2_milestones": ("NO_SUCH",)}, "no milestone NO_SUCH"),
    ):
        with pytest.raises(ValueError, match=told):
            compare.main(Args(output_dir=str(tmp_path / "out"), **flags))
    assert not (tmp_path / "out").exists()


def test_help_is_the_manual():
    command = [sys.executable, "-m", "benchmarks.compare", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "--latency-concurrency" in done.stdout and "--t2-milestones" in done.stdout
