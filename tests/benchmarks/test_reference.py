"""The reference scores and the test of memory, in tiny editions."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import check_results, memory, reference
from benchmarks.protocol import TrialOnTestError, check_trial
from benchmarks.reference import Args, Cell, result_key, training_key
from benchmarks.results_file import ResultsError, save_results
from common.recurrent import RecurrentNetwork
from common.runtime.scripts import never
from pokemon_env.games.tallgrass import benchmark_v1, frozen

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("forked_scripts")


def row(milestone: str, method: str, rate: float, labels: int = 0, seed: int = 0) -> dict:
    limits = frozen.limits(milestone, "T2", "test")
    successes = [i < rate * len(limits) for i in range(len(limits))]
    return {
        "milestone": milestone, "method": method, "labels": labels, "seed": seed, "successes": successes, "lengths": list(limits),
        "seeds": list(frozen.seeds("test")), "spl": rate / 2, "minutes": 1.0, "machine": {"cpu": "a CPU", "bf16": True},
    }  # fmt: skip


def test_keys_tell_what_was_trained_from_what_was_tested():
    args, cell = Args(), Cell("CLOCK_SET", "bc", 250, 1)
    key = training_key(args, "CLOCK_SET")
    others = [training_key(Args(**flags), "CLOCK_SET") for flags in ({"compass": "off"}, {"noise": 0.1})]
    others.append(training_key(args, "HEALED"))
    assert len({key, *others}) == 4 and key == training_key(Args(purpose="choose", length=2), "CLOCK_SET")
    found = {result_key(args, key, cell), result_key(Args(purpose="choose"), key, cell), result_key(Args(length=2), key, cell)}
    assert len(found) == 3
    untrained = Cell("CLOCK_SET", "expert")
    assert result_key(args, key, untrained) == result_key(Args(length=2), key, untrained)


def test_a_player_s_result_depends_on_the_player_s_code(monkeypatch, tmp_path):
    keys = {}
    for text in ("one", "two"):
        (tmp_path / "player.py").write_text(text)
        monkeypatch.setattr(reference, "source_files", lambda *patterns: [tmp_path / "player.py"] if patterns else [])
        keys[text] = [result_key(Args(), "", Cell("CLOCK_SET", method)) for method in reference.UNTRAINED]
    differs = [one != two for one, two in zip(*keys.values(), strict=True)]
    assert dict(zip(reference.UNTRAINED, differs, strict=True)) == {
        "random": False, "compass": True, "planner": True, "expert": False,
    }  # fmt: skip


@pytest.mark.parametrize(("method", "compass", "successes"), [("compass", "on", 2), ("planner", "on", 2), ("compass", "off", 0)])
def test_the_players_that_learn_nothing_play(method, compass, successes, monkeypatch):
    monkeypatch.setattr(frozen, "EPISODES", 2)
    args = Args(compass=compass)
    row = reference.measure(args, Cell("STARTER_CHOSEN", method), never)
    assert row["method"] == method and "labels" not in row and row["tier"] == reference.tier_of(args)
    assert sum(row["successes"]) == successes and all(steps is not None for steps in row["optimal_steps"])


def test_a_trial_does_not_play_the_test(tmp_path):
    for flags in ({"length": 2.0}, {"network": "tiles-small"}):
        with pytest.raises(TrialOnTestError, match="^bc, a trial: a trial plays the episodes to choose by: say --purpose choose"):
            reference.main(Args(**flags, output_dir=str(tmp_path / "out")))
    with pytest.raises(TrialOnTestError, match="^dagger, a trial: "):
        reference.main(Args(query_by="novelty", output_dir=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()
    usual = reference.RECIPES["dagger"]
    assert reference.recipe_of(Args(), "dagger") is usual and "worlds that are spent" in usual.record()["chosen"]
    check_trial("choose", reference.recipe_of(Args(length=2.0), "bc"), [usual])


def test_a_column_is_complete_or_absent():
    rows = [row("CLOCK_SET", "random", 0), row("HEALED", "random", 0), row("CLOCK_SET", "expert", 1), row("HEALED", "expert", 0.9)]
    rows += [row("CLOCK_SET", "bc", rate, 250, seed) for seed, rate in ((1, 0.2), (2, 0.6))] + [row("HEALED", "bc", 0.3, 250, 1)]
    by_name = {f"{one['milestone']}/{one['method']}{one['seed']}".removesuffix("0"): one for one in rows}
    args, milestones = Args(seeds=(1, 2)), ["CLOCK_SET", "HEALED"]
    lines = reference.markdown(args, by_name, milestones).splitlines()
    assert lines[0] == "| milestone | random | expert | SPL of the expert |"  # a seed of HEALED is missing
    assert lines[2] == "| CLOCK_SET | 0 | 100 | 0.50 |" and lines[4].startswith("| **IQM** | 0 [0, 0] | 95 [")
    by_name["HEALED/bc2"] = row("HEALED", "bc", 0.5, 250, 2)
    lines = reference.markdown(args, by_name, milestones).splitlines()
    assert lines[0] == "| milestone | random | BC 250 | expert | SPL of the expert |"
    assert lines[2] == "| CLOCK_SET | 0 | 40 (20-60) | 100 | 0.50 |" and lines[3].startswith("| HEALED | 0 | 40 (30-50) | 90 |")
    assert len({line.count("|") for line in lines[:5]}) == 1 and "a CPU, bf16" in lines[6]


# A file of results


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.json"
    save_results(path, [row(name, "mine", 0.5, 250, seed) for name in benchmark_v1.SCORED for seed in (1, 2)], "T2", "test")
    return path


def check(path: Path, capsys) -> str:
    assert check_results.main(check_results.Args(path)) == 0
    return capsys.readouterr().out


def test_a_file_of_results_is_checked_and_shown(results, capsys):
    text = check(results, capsys)
    assert "mine 250" in text and "│ 2 " in text and f"{2 * len(benchmark_v1.SCORED)} results, tier T2, split test" in text
    content = json.loads(results.read_text())
    content["results"] = content["results"][1:]
    results.write_text(json.dumps(content))
    assert "mine 250: not on all 17 scored milestones with the same seeds, so not in the table" in check(results, capsys)


CHANGES = {
    "another ROM": (lambda c: c.update(rom_sha256="0" * 64), "rom_sha256 is '0000"),
    "other steps": (lambda c: c.update(frozen_steps_sha256=None), "frozen_steps_sha256 is 'None'"),
    "another tier": (lambda c: c.update(tier="T3"), "tier is 'T3'"),
    "no results": (lambda c: c.update(results={}), "is no results file"),
    "no object": (lambda c: c["results"].append(3), "result 35 is no object"),
    "twice": (lambda c: c["results"].append(c["results"][0]), "is there twice"),
    "no milestone": (lambda c: c["results"][0].update(milestone=["x"]), "result 1: no milestone"),
    "other seeds": (lambda c: c["results"][0]["seeds"].reverse(), "seeds are not the 100 frozen ones"),
    "few episodes": (lambda c: c["results"][0]["successes"].pop(), "successes is not a list of 100 booleans"),
    "a number for a success": (lambda c: c["results"][0]["successes"].__setitem__(0, 1), "successes is not a list"),
    "too long": (lambda c: c["results"][0]["lengths"].__setitem__(0, 10**6), "succeeded after 1000000 steps, but its limit is"),
    "gave up": (lambda c: c["results"][0]["lengths"].__setitem__(99, 1), "failed after 1 steps, but its limit is"),
    "labels": (lambda c: c["results"][0].update(labels=True), "labels is 'True', wanted a number"),
    "method": (lambda c: c["results"][0].update(method="\x1b[2J"), "wanted a name"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_results_that_can_t_be(results, change):
    content = json.loads(results.read_text())
    change[0](content)
    results.write_text(json.dumps(content))
    with pytest.raises(ResultsError, match=change[1]) as told:
        check_results.main(check_results.Args(results))
    assert "\x1b" not in str(told.value)


def test_a_file_that_is_no_json(tmp_path):
    for text in ("", "[" * 100_000, "[1]"):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(ResultsError, match=r"x.json: is no "):
            check_results.main(check_results.Args(tmp_path / "x.json"))


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def run(folder: Path, module: str, *flags: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, flags)]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=500)


@pytest.mark.slow
def test_a_part_that_is_done_is_not_done_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for module in (frozen, benchmark_v1):
        monkeypatch.setattr(module, "EPISODES", 2)
    monkeypatch.setattr(reference, "STUDIED", {200: (2, 4)})
    monkeypatch.setattr(reference, "STUDIED_ON", ("CLOCK_SET",))
    monkeypatch.setitem(reference.TRAINING_STEPS, 250, 4)
    args = Args(milestones=("CLOCK_SET",), labels=(200,), seeds=(1,), parallel=1, output_dir="out", students=("bc",))
    assert reference.main(args) == 0
    folder = tmp_path / "out" / "T2" / "CLOCK_SET"
    result = folder / "bc200_seed1.json"
    written, content = result.stat().st_mtime_ns, json.loads(result.read_text())
    assert content["gradient_steps"] == 4 and content["labels_used"] == 200 and content["recipe"]["name"] == "bc"
    assert content["machine"]["threads"] == 1 and content["split"] == "test" and len(content["successes"]) == 2
    assert json.loads((folder / "expert.json").read_text())["successes"] == [True, True]
    args.students = ("dagger", "bc_sets")
    assert reference.main(args) == 0
    submitted = json.loads((tmp_path / "out" / "T2" / "reference.json").read_text())["results"]
    assert {row["method"] for row in submitted} == {*reference.UNTRAINED, "bc", "bc_sets", "dagger"}
    (learned,) = (row for row in submitted if row["method"] == "dagger")
    assert 100 <= learned["labels_used"] <= 200 and learned["gradient_steps"] == 8
    args.students = ("bc",)
    assert reference.main(args) == 0 and result.stat().st_mtime_ns == written
    trained = {path: path.stat().st_mtime_ns for path in folder.glob("*.pth")}
    result.unlink()
    assert reference.main(args) == 0 and result.is_file()  # the network is there: it only plays again
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.pth")} == trained

    trial = dataclasses.replace(args, purpose="choose", length=2)
    assert reference.main(trial) == 0 and result.is_file()
    other = json.loads((tmp_path / "out" / "T2_trials" / "CLOCK_SET" / "bc200_seed1.json").read_text())
    assert other["split"] == "choose" and other["gradient_steps"] == 8 and other["seeds"][0] == frozen.FIRST_SEEDS["choose"]

    args.study = True
    assert reference.main(args) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 200 |")]
    assert [line.split("|")[2].strip() for line in table] == ["2", "4"]


def test_wrong_flags(tmp_path):
    for flags, told in ((["--labels", 100], "labels at least 200"), (["--milestones", "NO_SUCH"], "no milestone NO_SUCH")):
        done = run(tmp_path, "reference", *flags)
        assert done.returncode == 1 and told in done.stderr and "Traceback" not in done.stderr


def test_episodes_are_cut_into_pieces_and_padded():
    pieces = [(np.ones((n, 3, 84, 84), np.uint8), np.arange(n)) for n in (2, 5)]
    pictures, labels = memory.sample(pieces, 6, np.random.default_rng(0))
    assert pictures.shape == (6, 5, 3, 84, 84) and labels.shape == (6, 5)
    real = labels != memory.UNLABELLED
    assert set(real.sum(1).tolist()) == {2, 5} and (pictures.flatten(2).amax(-1).bool() == real).all()


def test_the_network_with_a_memory_learns_what_one_picture_does_not_tell():
    rng = np.random.default_rng(0)
    pieces = []
    for _ in range(40):  # in the first picture one half is bright, the others are all the same, and the label is always which
        wish = int(rng.integers(2))
        pictures = np.full((3, 3, 84, 84), 60, np.uint8)
        pictures[0, :, 20:60, 42 * wish : 42 * wish + 42] = 250
        pieces.append((pictures, np.full(3, wish)))
    torch.manual_seed(0)
    args = memory.Args(updates=60, batch_episodes=8, learning_rate=3e-3)
    network = RecurrentNetwork(2, 32, channels=(4, 8))
    memory.train(args, network, pieces, "recurrent")
    pictures, labels = memory.sample(pieces, 40, np.random.default_rng(1))
    assert (network(pictures)[0].argmax(-1) == labels).float().mean() > 0.95


@pytest.mark.slow
def test_memory_records_anew_where_the_settings_differ(tmp_path):
    tiny = ["--n-labels", 20, "--updates", 2, "--test-episodes", 2, "--hidden-dim", 8, "--num-threads", 1]
    done = run(tmp_path, "memory", *tiny)
    assert done.returncode == 0, done.stderr
    assert "| network with a GRU |" in done.stdout and "--updates 2" in done.stdout
    data = tmp_path / "results" / "memory" / "STARTER_CHOSEN" / "expert_data"
    first = {path.name: path.stat().st_mtime_ns for path in data.iterdir()}
    done = run(tmp_path, "memory", *tiny, "--seed", 2)
    assert done.returncode == 0, done.stderr
    assert first != {path.name: path.stat().st_mtime_ns for path in data.iterdir()}
