"""How a pipeline's experts and students play."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.runtime.files import exclusive_lock
from common.runtime.main import Stopped
from common.runtime.scripts import never
from pipeline import work as module
from pipeline.work import Work, play_expert, play_student, starts_of
from pokemon_env.games.picture_only import PictureOnly
from pokemon_env.games.tallgrass import GAME
from pokemon_env.rom import BUNDLED_ROM
from tasks.episode_starts import EpisodeStarts
from tasks.milestone_config import load_milestone_config

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = load_milestone_config(ROOT / "milestone_config.json")
ENTRY = ENTRIES["CLOCK_SET"]
STUDENT = GAME.policy_dir.parent / "students" / "CLOCK_SET.pth"


def work(output: Path, **more) -> Work:
    settings = dict(
        game=GAME, tier=None, worlds=None, recorded_starts=False, state_dir=str(output / "states"), policy_dir="", cuda=False,
        unsafe_policies=True, num_envs=2, record_video=True, threads=1, progress=None, should_stop=never,
    )  # fmt: skip
    return Work(output=output, rom_path=str(BUNDLED_ROM), rom_sha256="", **(settings | more))


def test_a_student_and_its_expert_play_the_same_episodes_and_are_filmed(tmp_path):
    left = tmp_path / "student_videos" / "CLOCK_SET" / "student_ep1_of_an_earlier_start.mp4"
    left.parent.mkdir(parents=True)
    left.touch()
    student = play_student(work(tmp_path), ENTRY, STUDENT, 2, 7, 30)
    expert = play_expert(work(tmp_path), ENTRY, 2, 7, 30, film=("expert_eval_videos", "expert_eval"))
    assert [one.seed for one in student.episodes] == [one.seed for one in expert.episodes] == [7, 8] and expert.successes == 2
    films = sorted(path.relative_to(tmp_path).parts for path in tmp_path.rglob("*.mp4"))
    assert [(folder, name.partition("_ep1_")[0]) for folder, _, name in films] == [
        ("expert_eval_videos", "expert_eval"), ("student_videos", "student")
    ] and not left.exists()  # fmt: skip
    play_expert(work(tmp_path / "none", record_video=False), ENTRY, 1, 7, 30, film=("expert_eval_videos", "expert_eval"))
    assert not (tmp_path / "none").exists()


def test_a_student_is_looked_at_before_it_is_on_the_gpu(tmp_path, monkeypatch):
    """A picture on the CPU in a network on the GPU is an error, which was taken for the network's fault."""
    monkeypatch.setattr(module, "select_device", lambda cuda: torch.device("meta"))
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):  # it plays
        play_student(work(tmp_path, record_video=False), ENTRY, STUDENT, 1, 7, 30)


def test_where_episodes_begin(tmp_path):
    assert starts_of(work(tmp_path), ENTRY, "test").settings == {"tier": "T1", "worlds": "0", "start_milestone": "CLOCK_SET"}
    assert starts_of(work(tmp_path, tier="T2"), ENTRY, "choose").settings["worlds"] == "choose"
    assert starts_of(work(tmp_path, game=PictureOnly()), ENTRIES["GAME_RUNNING"], "test") == EpisodeStarts()
    (tmp_path / "states").mkdir()
    with exclusive_lock(tmp_path / "states" / ".lock"), pytest.raises(Stopped):  # while it waits for another pipeline
        starts_of(work(tmp_path, recorded_starts=True, should_stop=lambda: True), ENTRY, "test")
    assert not list((tmp_path / "states").iterdir())
