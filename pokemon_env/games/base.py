"""The description of a game. A game is one module in this folder with a `GAME`, an instance of a subclass of `Game`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pokemon_env import path_finding
from pokemon_env.emulators.emulator import Emulator, Memory
from pokemon_env.milestones import Milestone
from pokemon_env.rom import Rom, RomHeader
from pokemon_env.tiers import Tier

GB_BUTTONS = ("A", "B", "START", "SELECT", "UP", "DOWN", "LEFT", "RIGHT")
GBA_BUTTONS = (*GB_BUTTONS, "L", "R")


class Game:
    """Base of all games: a Game Boy game of which nothing is known. A subclass overrides what it knows."""

    id: ClassVar[str]  # names the game in saved states and checkpoints
    name: ClassVar[str]  # for people
    system: str = "gb"  # as in RomHeader.system
    buttons: tuple[str, ...] = GB_BUTTONS  # the actions, in their order
    # Defaults of PokemonEnv's arguments of the same names, in frames (60 a second).
    hold_frames: ClassVar[int] = 12
    release_frames: ClassVar[int] = 12
    release_frames_range: ClassVar[tuple[int, int]] = (12, 20)
    idle_frames_range: ClassVar[tuple[int, int]] = (0, 60)
    boot_frames: ClassVar[int] = 120  # after power-on, wait at most this long for the game to be at rest
    settle_frames: ClassVar[int] = 0  # after a reset, wait at most this long for the game to be at rest
    milestones: ClassVar[tuple[Milestone, ...]] = ()  # in the order in which they are reached
    policy_dir: ClassVar[Path | None] = None  # the folder with the game's own {MILESTONE_ID}.py, if it brings any

    has_worlds: ClassVar[bool] = False  # whether `cartridge_ram` makes worlds, tiers and starts at any milestone

    def matches(self, header: RomHeader) -> bool:
        """Return whether this ROM is this game."""
        raise NotImplementedError

    def at_rest(self, memory: Memory) -> bool:
        """Return whether the game waits for a button and nothing moves; False if this is not known."""
        return False

    def watch(self, memory: Memory) -> bytes:
        """Return the bytes from which `milestones` are determined. They are read at every step, so they should be few.

        They are the first bytes of `snapshot`, so that milestones can be determined from stored snapshots as well.
        """
        return b""

    def snapshot(self, memory: Memory) -> bytes:
        """Return all bytes from which `decode` makes the state."""
        return b""

    def decode(self, snapshot: bytes) -> dict[str, Any]:
        """Return the state in a snapshot: "player", "game" and "map" as in `empty_state`, new objects each time."""
        return empty_state()

    def decode_state(self, snapshot: bytes, prev_action: str = "no_op") -> dict[str, Any]:
        """Return the state in a snapshot, all five keys of PokemonEnv's infos; milestones are those recorded in memory."""
        state = self.decode(snapshot)  # first, because it reports what is wrong with an invalid snapshot
        milestones = {milestone.id: {"completed": bool(milestone.completed(None, snapshot))} for milestone in self.milestones}
        return {**state, "milestones": milestones, "prev_action": prev_action}

    def optimal_actions(self, state: dict[str, Any]) -> frozenset[str] | None:
        """Return all optimal actions at a state, in lower case; None if they are not known, as for most games."""
        return None

    def seed(self, memory: Memory, seed: int) -> None:
        """Set the game's random number generator, and nothing else, from a number of 32 bits."""

    def cartridge_ram(
        self, rom: Rom, world: int, tier: Tier, start_milestone: str | None, rng: np.random.Generator
    ) -> bytes | None:
        """Return what the cartridge's RAM must hold at power-on for an episode in that world; None for nothing.

        start_milestone: the episode starts where this milestone begins, at a place drawn with `rng`. None starts at
            power-on, and so does a milestone whose opening no RAM can skip (`play_opening` then plays it).
        Raises ValueError for a world that does not exist.
        """
        raise NotImplementedError(f"{self.name} has no worlds")

    def play_opening(self, emulator: Emulator, tier: Tier, start_milestone: str, rng: np.random.Generator) -> None:
        """Press the buttons that lead to the milestone's beginning, if `cartridge_ram` cannot start there."""

    def tools(self, state: dict[str, Any] | None = None) -> dict[str, Callable[..., Any]]:
        """Return the functions that expert policies may call by name. Each takes the state as its first argument."""
        return dict(path_finding.TOOLS)


def empty_state() -> dict[str, Any]:
    """Return a state's three parts with nothing known: the structure that every game fills, and may add to."""
    return {
        "player": {
            "name": "",
            "position": {"x": None, "y": None},
            "location": "",
            "facing": None,
            "money": 0,
            "party": [],
        },
        "game": {
            "game_state": "unknown",
            "is_in_battle": False,
            "dialog_text": None,
            "badges": 0,
            "items": {},
            "battle_info": None,
            "menu": None,
        },
        "map": {
            "location": "",
            "player_coords": None,
            "width": 0,
            "height": 0,
            "ascii_map": [],
            "legend": {},
            "warps": [],
            "people": [],
            "signs": [],
        },
    }
