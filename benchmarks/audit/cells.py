"""One cell of the audit: one milestone on one tier, played by one of the audit's players."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
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
from common.demonstrations import Episode
from common.episodes import Evaluation
from common.policies import Policy, RandomPolicy
from common.runtime.main import Stopped
from common.runtime.seeding import AUDIT_DEMONSTRATIONS, AUDIT_PICTURES, AUDIT_TEST
from pokemon_env.games.base import Game
from pokemon_env.games.tallgrass.optimal import optimal_steps
from pokemon_env.gym_env import PokemonEnv
from tasks.episode_starts import EpisodeStarts, Purpose, choose_starts
from tasks.play import SeededPlay

EXPERT = "expert"
TRIVIAL = ("random", "mash_a", "replay", "nearest")
COMPASS, PLANNER = "compass", "planner"
IDENTICAL = "identical"
AUDITS = (EXPERT, *TRIVIAL, COMPASS, PLANNER, IDENTICAL)

TEST_SEED, DEMONSTRATION_SEED, PICTURE_SEED = AUDIT_TEST.first, AUDIT_DEMONSTRATIONS.first, AUDIT_PICTURES.first
"""First seeds of what is counted, of the demonstrations, and of the episodes whose pictures are compared."""

PATIENCE = 2
"""So many times a milestone's max_steps the expert may take while it is measured."""
SIDE_BY_SIDE = 8
"""Episodes played at once where the player is faster with many pictures."""

CELL_SOURCES = (
    "benchmarks/audit/cells.py",
    "benchmarks/audit/compass.py",
    "benchmarks/audit/policies.py",
    "benchmarks/audit/screen_planner.py",
    "agent/demonstrate.py",
    "pokemon_env/games/tallgrass/*.py",
    "pokemon_env/path_finding.py",
    "pokemon_env/tiers.py",
    "pokemon_env/games/tallgrass/worlds/*.py",
    "tallgrass/art/compass.txt",
    "tallgrass/art/ui.txt",
)
"""What may change a cell's result, beside the ROM, the policy and the settings."""


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
    demonstrations: int
    noise: float
    """Probability of a random press in half of the episodes whose pictures are compared."""
    rom_path: Path
    policy_dir: Path
    unsafe_policies: bool = False


def cell_key(cell: Cell, settings: Settings, game: Game, max_steps: int, expert_steps: float | None) -> str:
    """The fingerprint of what a cell's result depends on."""
    values = [str(cell), settings.episodes, settings.demonstrations, settings.noise, max_steps, expert_steps]
    folder = game.policy_dir if cell.audit == PLANNER else settings.policy_dir
    policy = find_policy(cell.milestone, folder, game.policy_dir)
    return fingerprint(values, [settings.rom_path, policy, *source_files(*CELL_SOURCES)])


def play_cell(
    cell: Cell,
    settings: Settings,
    game: Game,
    max_steps: int,
    expert_steps: float | None,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Play a cell's episodes.

    Args:
        cell: what to play.
        settings: how.
        game: the ROM's.
        max_steps: the milestone's limit in milestone_config.json, which only the expert and the demonstrations need.
        expert_steps: the expert's mean steps in this milestone and tier, from the cell with the audit `EXPERT`; None for
            that one, and if it never succeeded.
        should_stop: when it says so, Stopped is raised.

    Returns what the table needs, in plain types: for players `success_record`, for `IDENTICAL` counts of steps.
    """
    starts = _starts(cell, settings, game, "test")
    if cell.audit == EXPERT:
        with (
            _episodes(cell, settings, starts, TEST_SEED, PATIENCE * max_steps, state_in_info=True) as episodes,
            closing(_expert(cell, settings, episodes.envs.envs[0])) as expert,
        ):
            policy = WatchedExpert(expert)
            result = episodes.play(policy, should_stop=should_stop, optimal_steps=_shortest(cell))
        steps = result.mean_success_length if result.successes else None
        return success_record(result, steps) | {"abstentions": policy.expert.abstentions}
    if cell.audit == IDENTICAL:
        return _compare_pictures(cell, settings, game, max_steps, should_stop)
    if expert_steps is None:
        return {"skipped": "the expert never got there, so that there is no limit to play to"}
    policy = _player(cell, settings, game, max_steps, should_stop)
    limit = math.ceil(4 * expert_steps)
    lanes = SIDE_BY_SIDE if cell.audit == "nearest" else 1
    with _episodes(cell, settings, starts, TEST_SEED, limit, n_envs=lanes, state_in_info=cell.audit == PLANNER) as episodes:
        return success_record(episodes.play(policy, should_stop=should_stop), expert_steps)


def success_record(result: Evaluation, expert_steps: float | None) -> dict[str, Any]:
    """What a table needs of a player's episodes; success is counted within twice and four times the expert's mean steps,
    rounded up, as `pokemon_env.games.tallgrass.benchmark_v1.step_limit` has it."""
    within = {factor: result.within(math.ceil(factor * expert_steps)).successes if expert_steps else 0 for factor in (2, 4)}
    return {
        "episodes": result.n_episodes,
        "successes": result.successes,
        "within_2x": within[2],
        "within_4x": within[4],
        "mean_steps": result.mean_success_length if result.successes else None,
        "spl": result.spl,
        "lengths": [episode.length for episode in result.episodes],
        "failed_seeds": [episode.seed for episode in result.episodes if not episode.success],
    }


def _compare_pictures(
    cell: Cell, settings: Settings, game: Game, max_steps: int, should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Let the expert play, half of the episodes with random presses between, and count the steps whose picture was also met
    with disjoint optimal actions."""
    starts = _starts(cell, settings, game, "test")
    pictures = OptimalPictures()
    with (
        _episodes(cell, settings, starts, PICTURE_SEED, max_steps, state_in_info=True) as episodes,
        closing(_expert(cell, settings, episodes.envs.envs[0])) as expert,
    ):
        for noise in (0.0, settings.noise):
            episodes.play(WatchedExpert(expert, noise, pictures), should_stop=should_stop)
    return {
        "steps": pictures.steps,
        "pictures": len(pictures.sets),
        "contradictory": pictures.contradictory,
        "share": pictures.contradictory / max(pictures.steps, 1),
        "optimal_labels": pictures.optimal_labels / max(pictures.labels, 1),
    }


def _player(cell: Cell, settings: Settings, game: Game, max_steps: int, should_stop: Callable[[], bool]) -> Policy:
    if cell.audit == "random":
        return RandomPolicy(len(game.buttons))
    if cell.audit == "mash_a":
        return OneButton(game.buttons.index("A"))
    if cell.audit == COMPASS:
        return CompassFollower(game.buttons)
    if cell.audit == PLANNER:
        return ScreenPlanner(cell.milestone, game)
    demonstrations = _demonstrate(cell, settings, game, max_steps, should_stop)
    return Replay(demonstrations) if cell.audit == "replay" else NearestNeighbour(demonstrations)


def _demonstrate(cell: Cell, settings: Settings, game: Game, max_steps: int, should_stop: Callable[[], bool]) -> list[Episode]:
    """Successful demonstrations without noise, in the training worlds on tier T2."""
    starts = _starts(cell, settings, game, "train")
    demonstrations: list[Episode] = []
    with _env(cell, settings, starts) as env, closing(_expert(cell, settings, env)) as expert:
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


def _starts(cell: Cell, settings: Settings, game: Game, purpose: Purpose) -> EpisodeStarts:
    return choose_starts(game, cell.milestone, settings.rom_path, purpose=purpose, tier=cell.tier)


def _episodes(
    cell: Cell, settings: Settings, starts: EpisodeStarts, seed: int, limit: int, *, n_envs: int = 1, state_in_info: bool = False
) -> SeededPlay:
    return SeededPlay(
        settings.rom_path, cell.milestone, starts,
        n_episodes=settings.episodes, seed=seed, max_steps=limit, n_envs=n_envs, num_threads=1, state_in_info=state_in_info,
    )  # fmt: skip


def _env(cell: Cell, settings: Settings, starts: EpisodeStarts) -> PokemonEnv:
    return PokemonEnv(settings.rom_path, target_milestone=cell.milestone, **starts.settings)


def _expert(cell: Cell, settings: Settings, env: PokemonEnv) -> PolicyExpert | SandboxedExpert:
    return open_policy((settings.policy_dir, cell.milestone), env, settings.unsafe_policies)


def _shortest(cell: Cell) -> Callable[[Any], int | None]:
    return lambda state: optimal_steps(state, cell.milestone)


def use_one_thread() -> None:
    """Cells are played side by side, each in a thread of its own."""
    torch.set_num_threads(1)
