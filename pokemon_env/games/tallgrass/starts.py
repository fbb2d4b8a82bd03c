"""Where an episode of Tallgrass begins: in which world, and at which milestone, without playing up to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from pokemon_env.emulators.emulator import Emulator
from pokemon_env.games.tallgrass.worlds.generate import generate_world
from pokemon_env.games.tallgrass.worlds.image import HIDE, NO_COMPASS, STILL, World, pack, rom_world
from pokemon_env.games.tallgrass.worlds.looks import apply_look, draw_look
from pokemon_env.games.tallgrass.worlds.stages import stage_block
from pokemon_env.rom import Rom
from pokemon_env.tiers import Tier

_BEFORE_THE_MAP = ("GAME_RUNNING", "PLAYER_NAME_SET", "INTRO_CUTSCENE_COMPLETE")
"""Milestones that begin on screens that no image skips: buttons are pressed to get there."""

_CURSOR, _NAME = 0xC10D, 0xC124
_COLUMNS, _DEL, _END = 7, 26, 27  # of the grid of letters: A to Z, then these two
_MOST_LETTERS = 5  # in a varied start; the game takes seven
_MOST_MOVES = 6  # of the cursor, between two letters of a varied start
_MOST_PAGES = 4  # of the introduction read already in a varied start; it has more
_KEPT_WORLDS = 2048


def cartridge_ram(rom: Rom, world: int, tier: Tier, start_milestone: str | None, rng: np.random.Generator) -> bytes:
    """Return the image for an episode in that world; see `Game.cartridge_ram`."""
    place = _home(rom) if world == 0 else _world(world)
    stage = None
    if start_milestone is not None and start_milestone not in _BEFORE_THE_MAP:
        stage = stage_block(place, start_milestone, rng, _is_natural(tier, rng))
    flags = (0 if tier.people_move else STILL) | (HIDE if tier.hides else 0) | (0 if tier.compass else NO_COMPASS)
    if not tier.looks_vary:
        return pack(place, flags, stage)
    look = draw_look(place, rng)
    return pack(apply_look(place, look), flags, stage, look.palette, own_maps=True)


def play_opening(
    press: Callable[[str], None], emulator: Emulator, tier: Tier, start_milestone: str, rng: np.random.Generator
) -> None:
    """Get from the title screen to one of the two screens after it, with `press(button)`; do nothing for other milestones."""
    if start_milestone not in _BEFORE_THE_MAP[1:]:
        return
    natural = _is_natural(tier, rng)
    press("START")
    if start_milestone == "PLAYER_NAME_SET":
        if not natural:
            _type(press, emulator, int(rng.integers(_MOST_LETTERS + 1)), rng)
        return
    _type(press, emulator, 1 if natural else 1 + int(rng.integers(_MOST_LETTERS)), None if natural else rng)
    while (cursor := emulator.read(_CURSOR, 1)[0]) != _END:
        press("RIGHT" if cursor >= _END - _END % _COLUMNS else "DOWN")
    press("A")
    for _ in range(0 if natural else int(rng.integers(_MOST_PAGES + 1))):
        press("A")


def _is_natural(tier: Tier, rng: np.random.Generator) -> bool:
    return tier.natural_share == 1 or bool(rng.random() < tier.natural_share)


def _type(press: Callable[[str], None], emulator: Emulator, letters: int, rng: np.random.Generator | None) -> None:
    """Type `letters` letters; with `rng`, move the cursor about before each, and after the last."""
    while True:
        if rng is not None:
            for _ in range(int(rng.integers(_MOST_MOVES + 1))):
                press(("UP", "DOWN", "LEFT", "RIGHT")[int(rng.integers(4))])
        if len(emulator.read(_NAME, 8).split(b"\0", 1)[0]) >= letters:
            return
        while emulator.read(_CURSOR, 1)[0] >= _DEL:
            press("UP")
        press("A")


@lru_cache(maxsize=_KEPT_WORLDS)
def _world(number: int) -> World:
    return generate_world(number)


@lru_cache(maxsize=4)
def _home(rom: Rom) -> World:
    return rom_world(rom.data)
