"""The reference scores and the test of memory, in tiny editions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import memory, reference
from benchmarks.reference import Args, markdown, result_key, shares_of_the_expert, training_key
from common.episodes import EpisodeResult, Evaluation
from common.recurrent import RecurrentNetwork

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("forked_scripts")


def row(rate: float, n: int = 10) -> dict:
    successes = [i < rate * n for i in range(n)]
    return {"successes": successes, "successes_4x": successes, "spl": rate / 2, "minutes": 1.0}


def test_an_episode_counts_within_twice_and_four_times_the_experts_steps():
    lengths, won = [8, 20, 21, 40, 40], [True, True, True, True, False]
    episodes = [
        EpisodeResult(i, None, float(ok), n, ok, (), optimal_steps=8) for i, (n, ok) in enumerate(zip(lengths, won, strict=True))
    ]
    scored = reference.score(Evaluation(episodes), limit=20)
    assert scored["successes"] == [True, True, False, False, False]
    assert scored["successes_4x"] == won
    assert scored["spl"] == pytest.approx((1 + 8 / 20) / 5)


def test_keys_tell_what_was_trained_from_what_was_tested():
    args, other = Args(), Args(test_episodes=51)
    key = training_key(args, "CLOCK_SET")
    assert key == training_key(other, "CLOCK_SET") and result_key(args, key, "CLOCK_SET") != result_key(other, key, "CLOCK_SET")
    assert (
        len(
            {
                key,
                training_key(args, "HEALED"),
                training_key(Args(tier="T1"), "CLOCK_SET"),
                training_key(Args(noise=0.1), "CLOCK_SET"),
            }
        )
        == 4
    )


def test_the_table_and_the_gate_s_figures():
    rows = {"CLOCK_SET/random": row(0), "CLOCK_SET/expert": row(0.8)}
    for seed, rate in ((1, 0.2), (2, 0.6)):
        rows[f"CLOCK_SET/bc1000_seed{seed}"] = row(rate)
        rows[f"CLOCK_SET/bc10000_seed{seed}"] = row(0.8)
    rows["HEALED/expert"] = row(1)
    (entry,) = shares_of_the_expert(rows, ["CLOCK_SET", "HEALED"])
    assert entry == {
        "milestone": "CLOCK_SET",
        "relative_1000": pytest.approx(0.5),
        "student_1000": "bc",
        "relative_10000": pytest.approx(1.0),
        "student_10000": "bc",
    }
    with_dagger = rows | {"CLOCK_SET/dagger1000_seed1": row(0.8), "CLOCK_SET/dagger10000_seed1": row(0.9)}
    (entry,) = shares_of_the_expert(with_dagger, ["CLOCK_SET", "HEALED"])
    assert entry["relative_1000"] == pytest.approx(0.5)  # the gate asks what cloning makes of a thousand
    assert (entry["relative_10000"], entry["student_10000"]) == (pytest.approx(9 / 8), "dagger")
    header = markdown(Args(), with_dagger, ["CLOCK_SET"]).splitlines()[0]
    assert "| random | BC 1,000 | BC 10,000 | DAgger 1,000 | DAgger 10,000 | expert |" in header
    text = markdown(Args(labels=(1000, 10_000), seeds=(1, 2)), rows, ["CLOCK_SET", "HEALED"])
    lines = text.splitlines()
    assert len({line.count("|") for line in lines[:6]}) == 1
    assert lines[2].startswith("| CLOCK_SET | 29 | 0 | 40 (20-60) | 80 (80-80) | 80 |") and lines[3].startswith(
        "| HEALED | 46 | - |"
    )
    # HEALED has no clones: a mean over CLOCK_SET alone would stand beside means over both.
    assert lines[4].startswith("| IQM within 2x |  | - | - | - | 90 [")
    rows |= {name.replace("CLOCK_SET", "HEALED"): row(0.6) for name in rows if name.startswith("CLOCK_SET/bc")}
    text = markdown(Args(labels=(1000, 10_000), seeds=(1, 2)), rows, ["CLOCK_SET", "HEALED"])
    assert text.splitlines()[4].startswith("| IQM within 2x |  | - | 60 [")


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def run(folder: Path, module: str, *flags: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, flags)]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=500)


@pytest.mark.slow
def test_a_part_that_is_done_is_not_done_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reference, "TRAINING_STEPS", {200: 4})
    monkeypatch.setattr(reference, "STUDIED", {200: (2, 4)})
    monkeypatch.setattr(reference, "STUDIED_ON", ("CLOCK_SET",))
    args = Args(milestones=("CLOCK_SET",), labels=(200,), seeds=(1,), test_episodes=2, parallel=1, output_dir="out")
    assert reference.main(args) == 0
    result = tmp_path / "out" / "T2" / "CLOCK_SET" / "bc200_seed1.json"
    written = result.stat().st_mtime_ns
    content = json.loads((tmp_path / "out" / "reference.json").read_text())["results"]
    assert set(content) == {"CLOCK_SET/random", "CLOCK_SET/expert", "CLOCK_SET/bc200_seed1"}
    args.students = ("dagger",)
    assert reference.main(args) == 0
    content = json.loads((tmp_path / "out" / "reference.json").read_text())["results"]
    assert {"CLOCK_SET/bc200_seed1", "CLOCK_SET/dagger200_seed1"} <= set(content)  # the table keeps what is there
    args.students = ("bc",)
    assert content["CLOCK_SET/expert"]["successes"] == [True, True] and len(content["CLOCK_SET/bc200_seed1"]["successes"]) == 2
    assert reference.main(args) == 0 and result.stat().st_mtime_ns == written
    args.test_episodes = 3  # another test of the same network
    checkpoint = result.parent / "bc_CLOCK_SET_200_1_tiles4_final.pth"
    trained = checkpoint.stat().st_mtime_ns
    assert reference.main(args) == 0
    assert len(json.loads(result.read_text())["successes"]) == 3 and checkpoint.stat().st_mtime_ns == trained

    args.study = True
    assert reference.main(args) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 200 |")]
    assert [line.split("|")[2].strip() for line in table] == ["2", "4"] and checkpoint.stat().st_mtime_ns == trained


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
