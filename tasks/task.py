"""A task: a game, a milestone, its limit, and where its episodes are played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.demonstrations import check_demonstrations
from common.flag_groups import GameFlags
from common.runtime.flag_types import FlagError
from pokemon_env.builds import same_builds
from pokemon_env.games import find_game
from pokemon_env.games.base import Game
from pokemon_env.rom import Rom
from pokemon_env.splits import has_splits
from pokemon_env.vector_env import ThreadVectorEnv, make_vector_env
from tasks.episode_starts import EpisodeStarts, find_starts
from tasks.milestone_config import MilestoneConfigError, limits_of_game


@dataclass(frozen=True)
class Task:
    """One milestone of a game."""

    rom_path: str | Path
    game: Game
    milestone: str
    rom_sha256: str
    max_steps: int
    """The limit of an episode of an evaluation."""
    starts: EpisodeStarts
    """Where episodes of rollouts start."""
    eval_starts: EpisodeStarts
    """Where the episodes start by which the best network is chosen."""

    @property
    def identity(self) -> dict[str, Any]:
        """What demonstrations and checkpoints of this task record about it."""
        return {
            "buttons": list(self.game.buttons), "game": self.game.id, "rom_sha256": self.rom_sha256, "milestone": self.milestone,
        }  # fmt: skip

    @property
    def wanted(self) -> dict[str, Any]:
        """What they must say of it to be used for it, for `check_fits`: any build of the ROM that plays alike will do."""
        return self.identity | {"rom_sha256": same_builds(self.rom_sha256)}

    @property
    def place(self) -> str:
        """Where the task is played, in words."""
        settings = self.starts.settings
        return f"tier {settings['tier']}, worlds {settings['worlds']}" if settings else "recorded states"

    def make_envs(self, purpose: Literal["train", "choose"], n_envs: int) -> ThreadVectorEnv:
        """Open environments for rollouts ("train") or evaluations ("choose"). Raises FlagError for worlds that cannot be played."""
        starts = self.starts if purpose == "train" else self.eval_starts
        settings = {"rom_path": self.rom_path, "target_milestone": self.milestone, "state_in_info": False, **starts.settings}
        try:
            return make_vector_env(n_envs, **settings)
        except ValueError as error:  # worlds that the tier does not have
            raise FlagError(str(error)) from error


def choose_milestone(flags: GameFlags, game: Game, learned: str | None) -> str:
    """Return the milestone that the flags name, or else `learned`. Raises FlagError if the game has no such milestone."""
    milestone = flags.milestone or learned
    known = [entry.id for entry in game.milestones]
    if not known:
        raise FlagError(
            f"{flags.rom_path} ({game.name}) has no milestones, and so no expert that could label: clone recordings of it with "
            "bc_pokemon.py, or add a module to pokemon_env/games/"
        )
    if milestone not in known:
        problem = "which milestone?" if milestone is None else f"no milestone {milestone}."
        raise FlagError(f"{flags.rom_path} ({game.name}): {problem} Name one with --milestone; it has {', '.join(known)}")
    return milestone


def find_task(
    flags: GameFlags,
    learned: Mapping[str, Any],
    before: Mapping[str, Any],
    *,
    demonstrations: tuple[str, Mapping[str, Any]],
    max_steps: int | None,
    policy_dir: str,
    unsafe_policies: bool,
) -> Task:
    """Return the task, according to the flags and to the demonstrations or checkpoint that the run starts from.

    Args:
        flags: of the game. Values that are not given come from `learned` and `before`.
        learned: `milestone` of the demonstrations or checkpoint that the run starts from.
        before: their `tier` and `worlds`.
        demonstrations: their folder, and the facts that they share; nothing if there are none.
        max_steps: the limit of an evaluation's episode; None takes the milestone's from --milestone-config.
        policy_dir, unsafe_policies: experts that make recorded states for a game without worlds.

    Raises FlagError, MilestoneConfigError, RomError and StartStateError for what does not fit.
    """
    rom = Rom.read(flags.rom_path)
    game = find_game(rom)
    milestone = choose_milestone(flags, game, learned.get("milestone"))
    identity = {"buttons": list(game.buttons), "game": game.id, "rom_sha256": rom.header.sha256}
    check_demonstrations(*demonstrations, identity)  # before any start state is made
    if max_steps is None:
        limits = limits_of_game(flags.milestone_config, game, "--eval-max-steps")
        if milestone not in limits:
            raise MilestoneConfigError(f"{flags.milestone_config}: has no milestone {milestone}; give --eval-max-steps")
        max_steps = limits[milestone]
    tier = flags.tier or before.get("tier")
    worlds = flags.worlds or (before.get("worlds") if tier == before.get("tier") and not has_splits(tier) else None)
    experts: dict[str, Any] = {"policy_dir": policy_dir, "unsafe_policies": unsafe_policies}
    starts = find_starts(flags, game, milestone, tier, worlds, "train", **experts)
    eval_starts = find_starts(flags, game, milestone, tier, worlds, "choose", **experts)
    return Task(flags.rom_path, game, milestone, rom.header.sha256, max_steps, starts, eval_starts)
