"""Can the experts' labels be learned from pictures? A small sample of benchmarks/realisability.py, and how it
counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.realisability import LabelledPictures

ROOT = Path(__file__).resolve().parents[2]


def screen(value: int) -> np.ndarray:
    return np.full((144, 160, 3), value, np.uint8)


def test_counting():
    pictures = LabelledPictures()
    for value, label in ((0, 4), (0, 4), (0, 5), (1, 4), (1, 4), (2, 6), (3, 0)):
        pictures.add(screen(value), label)
    assert pictures.steps == 7 and len(pictures.labels) == 4
    assert pictures.contradictory == 3  # all that look like 0
    assert pictures.certain_errors == 1
    ((worst, counts),) = pictures.worst(5)
    assert (worst == 0).all() and counts == {4: 2, 5: 1}


def test_pictures_are_compared_as_the_network_sees_them():
    pictures = LabelledPictures()
    one, other = screen(200), screen(200)
    other[0, 0] = 201  # lost when the picture is made smaller
    pictures.add(one, 1)
    pictures.add(other, 2)
    assert pictures.contradictory == 2


@pytest.fixture(scope="module")
def report(rom_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("realisability")
    flags = [
        "--episodes",
        "4",
        "--rom-path",
        rom_path,
        "--milestone-config",
        ROOT / "milestone_config.json",
    ]
    run = subprocess.run([sys.executable, "-m", "benchmarks.realisability", *map(str, flags)], cwd=folder,
    capture_output=True, text=True,
                         timeout=600, env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert run.returncode in (0, 1), run.stderr
    return run, json.loads((folder / "results" / "realisability_T1.json").read_text())


@pytest.mark.slow
def test_the_experts_labels_follow_from_the_picture(report):
    run, result = report
    assert run.returncode == 0 and result["missed"] == [], run.stdout
    assert len(result["milestones"]) == 24
    for record in result["milestones"]:
        assert record["share"] <= 0.01 and record["steps"] >= 8, record


@pytest.mark.slow
def test_the_table_names_each_milestone(report):
    run, result = report
    assert all(f"| {record['milestone']} |" in run.stdout for record in result["milestones"])
    assert "Gate (at most 1% each): passed." in run.stdout


@pytest.mark.slow
def test_a_missed_gate_ends_with_1(rom_path, tmp_path):
    """An expert that asks for the cursor's history, which no picture shows."""
    (tmp_path / "PLAYER_NAME_SET.py").write_text(
        "def run(state):\n    return 'left' if state['prev_action'] in ('right', 'up', 'no_op') else 'right'\n"
    )
    flags = [
        "--milestones",
        "PLAYER_NAME_SET",
        "--episodes",
        "2",
        "--rom-path",
        rom_path,
        "--policy-dir",
        tmp_path,
    ]
    flags += ["--milestone-config", ROOT / "milestone_config.json"]
    run = subprocess.run([sys.executable, "-m", "benchmarks.realisability", *map(str, flags)], cwd=tmp_path,
    capture_output=True, text=True,
                         timeout=600, env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert run.returncode == 1 and "missed by PLAYER_NAME_SET" in run.stdout, run.stderr
    assert list((tmp_path / "results" / "realisability_T1").glob("PLAYER_NAME_SET_0_*.png"))


def test_errors(rom_path, tmp_path):
    run = subprocess.run([sys.executable, "-m", "benchmarks.realisability", "--milestones", "NO_SUCH"], cwd=ROOT,
    capture_output=True,
                         text=True, timeout=60)  # fmt: skip
    assert run.returncode == 1 and "no milestone NO_SUCH" in run.stderr and "Traceback" not in run.stderr
