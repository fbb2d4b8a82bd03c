"""What the milestones of a pipeline share, and how their experts and students play."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.guided_policy import expert_policy
from agent.open_expert import open_policy_oracle
from agent.oracle import ExpertOracle
from common.episodes import Evaluation
from common.networks import build_network, check_plays
from common.policies import load_policy
from common.runtime.checkpoints import load_checkpoint
from common.runtime.device import select_device
from common.video import EpisodeRecorder
from pipeline.folder import locked
from pipeline.progress import PipelineProgress
from pokemon_env.games.base import Game
from tasks.episode_starts import EpisodeStarts, Purpose, choose_starts
from tasks.milestone_config import MilestoneEntry
from tasks.play import SeededPlay


@dataclass(frozen=True)
class Work:
    """What all milestones share. A field with the name of a flag holds that flag's value."""

    output: Path
    game: Game
    rom_path: str
    rom_sha256: str
    tier: str | None
    worlds: str | None
    recorded_starts: bool
    state_dir: str
    policy_dir: str
    unsafe_policies: bool
    num_envs: int
    cuda: bool
    record_video: bool
    threads: int
    """CPU threads of each milestone."""
    progress: PipelineProgress
    should_stop: Callable[[], bool]

    def open_expert(self, milestone: str) -> ExpertOracle:
        """Open a milestone's policy. Raises PolicyError or SandboxError if it cannot be used."""
        return open_policy_oracle((self.policy_dir, milestone), self.game, unsafe=self.unsafe_policies)


def starts_of(work: Work, entry: MilestoneEntry, purpose: Purpose) -> EpisodeStarts:
    """Return where a milestone's episodes begin. Missing recorded states are made by playing the experts."""
    game = work.game
    if game.has_worlds and (not work.recorded_starts or entry.starting_state is None):
        return choose_starts(game, entry.id, work.rom_path, purpose=purpose, tier=work.tier, worlds=work.worlds)
    if entry.starting_state is None:
        return EpisodeStarts()
    states = Path(work.state_dir)
    refusal = f"{states}: another pipeline has been making states there for an hour; wait for its end, or name another --state-dir"
    with locked(states / ".lock", 3600, refusal, work.should_stop):
        return choose_starts(
            game, entry.id, work.rom_path, purpose=purpose, kind="first", n_train=0, n_heldout=0, state_dir=states,
            policy_dir=work.policy_dir, unsafe_policies=work.unsafe_policies, num_threads=work.threads, show_progress=False,
            should_stop=work.should_stop,
        )  # fmt: skip


def play_expert(
    work: Work,
    entry: MilestoneEntry,
    n_episodes: int,
    seed: int,
    max_steps: int,
    *,
    purpose: Purpose = "test",
    film: tuple[str, str] | None = None,
) -> Evaluation:
    """Play seeded episodes with a milestone's expert. `film` names the folder of its films, and what their names begin with.

    Raises MilestoneAlreadyCompleted if a start is behind the milestone, and whatever the expert's file may raise.
    """
    with _seeded_play(work, entry, purpose, n_episodes, seed, max_steps) as episodes:
        recorder = None if film is None else _recorder(work, entry, *film)
        with work.open_expert(entry.id) as oracle:
            oracle.start()
            return episodes.play(expert_policy(episodes.envs, oracle), recorder=recorder, should_stop=work.should_stop)


def play_student(work: Work, entry: MilestoneEntry, checkpoint: Path, n_episodes: int, seed: int, max_steps: int) -> Evaluation:
    """Play seeded episodes with the student in `checkpoint`, and film the first.

    Raises MilestoneAlreadyCompleted as `play_expert` does, and CheckpointError for a file that cannot be used.
    """
    with _seeded_play(work, entry, "test", n_episodes, seed, max_steps) as episodes:
        recorder = _recorder(work, entry, "student_videos", "student")
        content, screen = load_checkpoint(checkpoint), episodes.envs.single_observation_space.shape
        assert screen is not None  # of a box
        # Checked on the CPU, whichever device it will play on.
        network, frame_stack = build_network(content, checkpoint), content.get("frame_stack", 1)
        check_plays(network, checkpoint, screen, len(work.game.buttons), frame_stack)
        policy = load_policy(checkpoint, select_device(work.cuda))
        return episodes.play(policy, recorder=recorder, should_stop=work.should_stop)


def _seeded_play(work: Work, entry: MilestoneEntry, purpose: Purpose, n_episodes: int, seed: int, max_steps: int) -> SeededPlay:
    starts = starts_of(work, entry, purpose)
    return SeededPlay(work.rom_path, entry.id, starts, n_episodes=n_episodes, seed=seed, max_steps=max_steps, n_envs=work.num_envs)


def _recorder(work: Work, entry: MilestoneEntry, folder: str, prefix: str) -> EpisodeRecorder | None:
    """Delete a milestone's films of an earlier start, and return the recorder of new ones; None without --record-video."""
    if not work.record_video:
        return None
    place = work.output / folder / entry.id
    shutil.rmtree(place, ignore_errors=True)
    return EpisodeRecorder(place, prefix, buttons=work.game.buttons)
