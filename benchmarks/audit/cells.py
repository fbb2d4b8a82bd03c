"""One cell of the audit: one milestone on one tier, played by one of the audit's players."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from agent.demonstrate import play_episode
from agent.open_expert import SandboxedExpert, open_policy
from agent.policy_expert import PolicyExpert, find_policy
from benchmarks.audit.compass import CompassFollower
from benchmarks.audit.policies import NearestNeighbour, OneButton, OptimalPictures, Replay, WatchedExpert
from benchmarks.audit.screen_planner import ScreenPlanner
from benchmarks.folders import fingerprint, source_files
from benchmarks.protocol import FrozenPlay, measured, score
from common.demonstrations import Episode
from common.policies import Policy, RandomPolicy
from common.runtime.main import Stopped
from common.runtime.seeding import AUDIT_DEMONSTRATIONS, AUDIT_PICTURES
from pokemon_env.games.tallgrass import GAME, frozen
from pokemon_env.games.tallgrass.optimal import optimal_steps
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import BUNDLED_ROM
from tasks.episode_starts import EpisodeStarts, Purpose, choose_starts
from tasks.play import SeededPlay

EXPERT = "expert"
NEAREST = "nearest"
TRIVIAL = ("random", "mash_a", "replay", NEAREST)
COMPASS, PLANNER = "compass", "planner"
IDENTICAL = "identical"
AUDITS = (EXPERT, *TRIVIAL, COMPASS, PLANNER, IDENTICAL)

DEMONSTRATION_SEED, PICTURE_SEED = AUDIT_DEMONSTRATIONS.first, AUDIT_PICTURES.first
"""First seeds of the demonstrations, and of the episodes whose pictures are compared. What is counted has the frozen seeds."""

SIDE_BY_SIDE = 8
"""Episodes played at once where the player is faster with many pictures."""

CELL_SOURCES = (
    "benchmarks/audit/cells.py",
    "benchmarks/audit/compass.py",
    "benchmarks/audit/policies.py",
    "benchmarks/audit/screen_planner.py",
    "benchmarks/protocol.py",
    "agent/demonstrate.py",
    "pokemon_env/games/tallgrass/*.py",
    "pokemon_env/path_finding.py",
    "pokemon_env/tiers.py",
    "pokemon_env/games/tallgrass/worlds/*.py",
    "tallgrass/art/compass.txt",
    "tallgrass/art/ui.txt",
)
"""What may change a cell's result, beside the ROM, the policy, the limits and the settings."""


@dataclass(frozen=True)
class Cell:
    """What is to be played."""

    milestone: str
    tier: str
    audit: str

    def __str__(self) -> str:
        return f"{self.tier}/{self.milestone}/{self.audit}"


@dataclass(frozen=True)
class Settings:
    """How the cells are played."""

    episodes: int
    """So many of the frozen test episodes, from the first on."""
    demonstrations: int
    noise: float
    """Probability of a random press in half of the episodes whose pictures are compared."""
    policy_dir: Path
    unsafe_policies: bool = False


def cell_key(cell: Cell, settings: Settings, max_steps: int) -> str:
    """Return the fingerprint of what a cell's result depends on."""
    steps = frozen.expert_steps(cell.milestone, cell.tier, "test")[: settings.episodes]
    limits = frozen.limits(cell.milestone, cell.tier, "test")[: settings.episodes]
    values = [str(cell), steps, limits, settings.demonstrations, settings.noise, max_steps]
    folder = GAME.policy_dir if cell.audit == PLANNER else settings.policy_dir
    policy = find_policy(cell.milestone, folder, GAME.policy_dir)
    return fingerprint(values, [BUNDLED_ROM, policy, *source_files(*CELL_SOURCES)])


def play_cell(cell: Cell, settings: Settings, max_steps: int, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Play a cell's frozen test episodes, each within its own limit.

    Args:
        cell: what to play.
        settings: how.
        max_steps: the milestone's limit in milestone_config.json, for the demonstrations and for the episodes whose pictures
            are compared.
        should_stop: when it says so, Stopped is raised.

    Returns what the cell's file holds, in plain types: for players what `protocol.score` returns, for the expert also whether
    its steps agree with the frozen ones, for `IDENTICAL` counts of steps.
    """
    if cell.audit == IDENTICAL:
        record = _compare_pictures(cell, settings, max_steps, should_stop)
    elif cell.audit == EXPERT:
        record = _play_expert(cell, settings, should_stop)
    else:
        policy = _player(cell, settings, max_steps, should_stop)
        with _frozen_episodes(cell, settings, n_envs=SIDE_BY_SIDE if cell.audit == NEAREST else 1) as episodes:
            record = _score(cell, episodes, policy, should_stop)
    return {"method": cell.audit, **record, "machine": measured()}


def _play_expert(cell: Cell, settings: Settings, should_stop: Callable[[], bool]) -> dict[str, Any]:
    with (
        _frozen_episodes(cell, settings) as episodes,
        closing(_expert(cell, settings, episodes.envs.envs[0])) as expert,
    ):
        record = _score(cell, episodes, WatchedExpert(expert), should_stop)
        return record | {"abstentions": expert.abstentions, "agrees": agrees(record)}


def _score(cell: Cell, episodes: SeededPlay, policy: Policy, should_stop: Callable[[], bool]) -> dict[str, Any]:
    result = episodes.play(policy, should_stop=should_stop, optimal_steps=partial(optimal_steps, milestone=cell.milestone))
    return score(result, cell.milestone, cell.tier, "test")


def agrees(record: dict[str, Any]) -> bool:
    """Return whether the expert's episodes took just the steps that are frozen, and failed where it failed then."""
    steps = frozen.expert_steps(record["milestone"], record["tier"], record["split"])[: len(record["lengths"])]
    taken = zip(record["successes"], record["lengths"], strict=True)
    return steps == tuple(length if success else None for success, length in taken)


def _compare_pictures(cell: Cell, settings: Settings, max_steps: int, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Let the expert play, half of the episodes with random presses between, and count the steps whose picture was also met
    with disjoint optimal actions."""
    pictures = OptimalPictures()
    with (
        SeededPlay(
            BUNDLED_ROM, cell.milestone, _starts(cell, "test"),
            n_episodes=settings.episodes, seed=PICTURE_SEED, max_steps=max_steps, n_envs=1, num_threads=1, state_in_info=True,
        ) as episodes,
        closing(_expert(cell, settings, episodes.envs.envs[0])) as expert,
    ):  # fmt: skip
        for noise in (0.0, settings.noise):
            episodes.play(WatchedExpert(expert, noise, pictures), should_stop=should_stop)
    return {
        "milestone": cell.milestone,
        "tier": cell.tier,
        "steps": pictures.steps,
        "pictures": len(pictures.sets),
        "contradictory": pictures.contradictory,
        "share": pictures.contradictory / max(pictures.steps, 1),
        "optimal_labels": pictures.optimal_labels / max(pictures.labels, 1),
    }


def _player(cell: Cell, settings: Settings, max_steps: int, should_stop: Callable[[], bool]) -> Policy:
    if cell.audit == "random":
        return RandomPolicy(len(GAME.buttons))
    if cell.audit == "mash_a":
        return OneButton(GAME.buttons.index("A"))
    if cell.audit == COMPASS:
        return CompassFollower(GAME.buttons)
    if cell.audit == PLANNER:
        return ScreenPlanner(cell.milestone, GAME)
    demonstrations = _demonstrate(cell, settings, max_steps, should_stop)
    return Replay(demonstrations) if cell.audit == "replay" else NearestNeighbour(demonstrations)


def _demonstrate(cell: Cell, settings: Settings, max_steps: int, should_stop: Callable[[], bool]) -> list[Episode]:
    """Successful demonstrations without noise, in the training worlds on tiers T2 and T4."""
    starts = _starts(cell, "train")
    demonstrations: list[Episode] = []
    with PokemonEnv(target_milestone=cell.milestone, **starts.settings) as env, closing(_expert(cell, settings, env)) as expert:
        for number in range(2 * settings.demonstrations):
            if should_stop():
                raise Stopped
            start = starts.files[number % len(starts.files)]
            episode = play_episode(env, expert, DEMONSTRATION_SEED + number, start, max_steps)
            if episode.metadata["success"]:
                demonstrations.append(episode)
            if len(demonstrations) == settings.demonstrations:
                return demonstrations
    raise ValueError(
        f"{cell.milestone} on {cell.tier}: the expert succeeded in {len(demonstrations)} of {2 * settings.demonstrations} "
        f"demonstrations, too few for {settings.demonstrations}: mend its policy, or its max_steps in milestone_config.json"
    )


def _starts(cell: Cell, purpose: Purpose) -> EpisodeStarts:
    return choose_starts(GAME, cell.milestone, BUNDLED_ROM, purpose=purpose, tier=cell.tier)


def _frozen_episodes(cell: Cell, settings: Settings, n_envs: int = 1) -> FrozenPlay:
    return FrozenPlay(
        cell.milestone, cell.tier, "test", n_episodes=settings.episodes, n_envs=n_envs, num_threads=1, state_in_info=True
    )


def _expert(cell: Cell, settings: Settings, env: PokemonEnv) -> PolicyExpert | SandboxedExpert:
    return open_policy((settings.policy_dir, cell.milestone), env, settings.unsafe_policies)


def use_one_thread() -> None:
    """Cells are played side by side, each in a thread of its own."""
    torch.set_num_threads(1)
