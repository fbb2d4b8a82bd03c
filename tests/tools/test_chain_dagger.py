"""DAgger on the whole game: one broken student, small settings, and the same command again."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from common.runtime.checkpoints import load_checkpoint, save_checkpoint
from common.runtime.flag_types import FlagError
from pokemon_env.games.tallgrass import GAME
from tools import chain_dagger, chain_rounds
from tools.chain_dagger import Args, main

STUDENTS = GAME.policy_dir.parent / "students"
SMALL = dict(
    rounds=1, train_runs=1, choose_runs=1, dagger_iterations=1, episodes_per_iter=4, train_steps_per_iter=5, eval_episodes=4,
    num_envs=2, parallel=1, cuda=False,
)  # fmt: skip


@pytest.fixture
def broken(tmp_path):
    """The students of the game, of which that of the clock presses all buttons alike."""
    folder = tmp_path / "students"
    shutil.copytree(STUDENTS, folder)
    content = load_checkpoint(folder / "CLOCK_SET.pth")
    content["model_state_dict"] = {key: torch.zeros_like(value) for key, value in content["model_state_dict"].items()}
    save_checkpoint(folder / "CLOCK_SET.pth", content)
    return folder


@pytest.mark.slow
def test_a_student_that_does_not_get_on_is_trained_and_the_same_command_goes_on(broken, tmp_path, monkeypatch, capsys):
    args = Args(students=str(broken), output_dir=str(tmp_path / "out"), **SMALL)
    assert main(args) == 0
    rounds = json.loads((tmp_path / "out" / "rounds.json").read_text())
    trained = rounds[0]["trained"]["CLOCK_SET"]
    assert rounds[0]["stuck"]["CLOCK_SET"] == 2 and rounds[0]["unaided"] == {"train": 0, "choose": 0}
    assert trained["episodes"] == 4 and trained["after"] >= trained["before"] == 0
    assert [one["round"] for one in rounds] == [1, 2] and rounds[1]["trained"] == {}
    best = tmp_path / "out" / "round1" / "models" / "CLOCK_SET" / "chain_CLOCK_SET_best.pth"
    saved = load_checkpoint(best)
    assert saved["milestone"] == "CLOCK_SET" and saved["tier"] == "T1" and saved["deterministic"] is False
    assert (tmp_path / "out" / "students" / "CLOCK_SET.pth").read_bytes() == best.read_bytes()
    assert (tmp_path / "out" / "students" / "BADGE.pth").is_file()
    assert not list((tmp_path / "out").rglob("*.sqlite")) and not list((tmp_path / "out").rglob("*_last.pth"))
    assert "CLOCK_SET" in capsys.readouterr().out

    def refuse(*args, **more):
        raise AssertionError("it was done before")

    for name in ("make_vector_env", "run_script"):
        monkeypatch.setattr(chain_rounds, name, refuse)
    assert main(args) == 0
    with pytest.raises(FlagError, match="other seed, train_runs; give them as they were"):
        main(Args(**vars(args) | {"seed": 2, "train_runs": 3}))


def test_what_cannot_be_used_is_refused_before_anything_is_written(tmp_path):
    output = tmp_path / "out"
    with pytest.raises(FlagError, match="more than 1 together"):
        main(Args(output_dir=str(output), handover_share=0.7, cutoff_share=0.6))
    students = tmp_path / "students"
    shutil.copytree(STUDENTS, students)
    content = load_checkpoint(students / "BADGE.pth")
    save_checkpoint(students / "BADGE.pth", content | {"tier": "T2", "worlds": "train"})
    with pytest.raises(FlagError, match="different tiers or worlds"):
        main(Args(output_dir=str(output), students=str(students)))
    assert not output.exists()


def test_a_network_that_the_trainer_does_not_make_is_named(tmp_path):
    arguments = load_checkpoint(STUDENTS / "BADGE.pth")["network"]
    assert chain_rounds.network_flags(arguments, STUDENTS) == ("tiles-small", 64)
    with pytest.raises(FlagError, match=r"BADGE\.pth: its network is none that dagger_pokemon\.py makes"):
        chain_rounds.network_flags(arguments | {"channels": 33}, STUDENTS / "BADGE.pth")
    assert chain_dagger.TRAINING["dagger_iterations"] == "n_iterations"
