"""benchmarks/expert_table.py: the table of the experts and its gates, in a tiny edition."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import chain
from benchmarks.expert_table import RandomPressStart
from pokemon_env.gym_env import PokemonEnv

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def table(rom_path, tmp_path):
    def run(*flags: str) -> subprocess.CompletedProcess:
        fixed = ["--episodes", "3", "--random-starts", "3", "--max-random-presses", "40"]
        fixed += ["--rom-path", str(rom_path), "--milestone-config", str(ROOT / "milestone_config.json")]
        return subprocess.run(
            [sys.executable, "-m", "benchmarks.expert_table", *fixed, *flags],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    return run


def test_random_presses_stop_short_of_the_target(rom_path):
    with PokemonEnv(rom_path, target_milestone="GAME_RUNNING") as env:
        wandering = RandomPressStart(env, 300)
        for seed in range(5):  # START would be among 300 presses
            observation, info = wandering.reset(seed=seed)
            assert not info["milestones"]["GAME_RUNNING"]["completed"]
            again, _ = wandering.reset(seed=seed)
            assert np.array_equal(observation, again)


@pytest.mark.slow
def test_table_gates_and_resuming(table, tmp_path):
    run = table("--milestones", "GAME_RUNNING", "PLAYER_NAME_SET")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "| GAME_RUNNING |" in run.stdout and "3/3 = 100 %" in run.stdout and "Gates: all passed." in run.stdout
    assert (tmp_path / "results" / "expert_table_T1.md").read_text() in run.stdout
    first = json.loads((tmp_path / "results" / "expert_table_T1.json").read_text())["milestones"]
    assert [record["milestone"] for record in first] == ["GAME_RUNNING", "PLAYER_NAME_SET"]

    # Played again: only what changed, here by a policy of one's own that fails.
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "GAME_RUNNING.py").write_text("def run(state):\n    return 'b'\n")
    first[1]["random_start"]["mean_steps"] = 123.0
    (tmp_path / "results" / "expert_table_T1.json").write_text(json.dumps({"milestones": first}))
    run = table("--milestones", "GAME_RUNNING", "PLAYER_NAME_SET", "--policy-dir", str(folder))
    assert run.returncode == 1
    assert "123.0" in run.stdout and "GAME_RUNNING: 0 of 3 from where it begins, wanted 90%" in run.stdout
    assert "all together: 3 of 6" in run.stdout


@pytest.mark.slow
def test_each_tier_has_its_table(table, tmp_path):
    run = table("--milestones", "CLOCK_SET", "--tier", "T2")
    assert run.returncode == 0 and "`python -m benchmarks.expert_table --tier T2`" in run.stdout, run.stdout + run.stderr
    assert [path.name for path in sorted((tmp_path / "results").iterdir())] == ["expert_table_T2.json", "expert_table_T2.md"]


def test_errors(table):
    run = table("--milestones", "NO_SUCH")
    assert run.returncode == 1 and "no milestone NO_SUCH" in run.stderr and "Traceback" not in run.stderr


def test_the_chain_counts_who_reaches_the_end(rom_path, capsys):
    assert chain.main(chain.Args(str(rom_path), worlds="0", seeds=1, tier="T0", num_processes=1)) == 0
    printed = capsys.readouterr().out
    assert "| 0 | 1/1 |" in printed and "1 of 1 runs reached the end" in printed
    assert "  BADGE " in printed and "Gate (95% in each world): passed." in printed


def test_the_chain_says_where_it_broke(rom_path, capsys):
    assert chain.main(chain.Args(str(rom_path), worlds="7-8", seeds=2, max_steps=3)) == 1
    printed = capsys.readouterr().out
    assert "| 7 | 0/2 |  | PLAYER_NAME_SET 2 |" in printed and "missed in [7, 8]" in printed
    assert "world 8, seed 1: PLAYER_NAME_SET: not within 2 steps" in printed
    with pytest.raises(ValueError, match="worlds 'nowhere'"):
        chain.main(chain.Args(str(rom_path), worlds="nowhere"))
    with pytest.raises(ValueError, match="--seeds is 0"):
        chain.main(chain.Args(str(rom_path), seeds=0))
