"""Monsters as the game makes them: base numbers, moves, levels, and their 24 bytes in memory."""

from __future__ import annotations

import struct
from collections.abc import Sequence

MONSTER_BYTES = 24
STARTER_LEVEL = 6
MAX_LEVEL = 30

SPECIES = (
    (46, 48, 50, 44, (1, 2, 4, 6)),
    (42, 52, 42, 54, (1, 3, 2, 6)),
    (50, 46, 48, 42, (1, 4, 3, 6)),
    (34, 40, 34, 56, (1, 6)),
    (36, 38, 36, 60, (1, 2)),
    (32, 44, 38, 48, (1, 3)),
    (40, 40, 44, 34, (1, 4, 7)),
    (52, 54, 62, 28, (1, 5, 6, 7)),
)
"""Base HP, attack, defense, speed and moves (from 1) of species 1, 2, ...: data/monsters.toml of the game."""
MOVE_PP = (25, 15, 15, 15, 8, 20, 5, 0)
"""Full PP of move 1, 2, ..."""
TRAINER_ABOVE = {"RIVAL": (0, 1, 2), "ROUTE": (0, 1, 2), "GYM": (0, 1, 2), "LEADER": (0, 1, 2)}
"""How many levels a trainer's monster is above the player's first one, for each shift (see `World.shifts`)."""
TRAINER_MONEY = {"RIVAL": 100, "ROUTE": 120, "GYM": 140, "LEADER": 250}

_MONSTER = struct.Struct("<8BH12B2x")


def full_hp(species: int, level: int) -> int:
    return SPECIES[species - 1][0] * level // 50 + level + 10


def monster_bytes(
    species: int,
    level: int,
    xp: int = 0,
    moves: Sequence[int] | None = None,
    hp: int | None = None,
    pp: Sequence[int] | None = None,
) -> bytes:
    """Return a monster's bytes in memory; without `moves` with the usual ones in order, without `hp` and `pp` with full ones."""
    _, attack, defense, speed, usual = SPECIES[species - 1]
    moves = list(usual if moves is None else moves)
    full_pp = [MOVE_PP[move - 1] for move in moves]
    pp = list(full_pp if pp is None else pp)
    most = full_hp(species, level)
    numbers = (base * level // 50 + 5 for base in (attack, defense, speed))
    slots = [value for values in (moves, pp, full_pp) for value in (*values, 0, 0, 0, 0)[:4]]
    return _MONSTER.pack(species, level, most if hp is None else hp, most, *numbers, 0, xp, *slots)


def after_win(level: int, xp: int, enemy_level: int, trainer: bool) -> tuple[int, int]:
    """Return level and experience after a won battle."""
    xp += enemy_level * (16 if trainer else 8)
    while level < MAX_LEVEL and xp >= level * 12:
        xp -= level * 12
        level += 1
    return level, xp
