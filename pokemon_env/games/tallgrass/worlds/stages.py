"""Starts in the middle of the story: the block of memory of a player at the beginning of a milestone."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pokemon_env.games.tallgrass.worlds.board import Board
from pokemon_env.games.tallgrass.worlds.image import STAGE_BYTES, Person, Sign, Slot, Warp, World, WorldError
from pokemon_env.games.tallgrass.worlds.metatiles import is_grass
from pokemon_env.games.tallgrass.worlds.monsters import (
    MONSTER_BYTES,
    MOVE_PP,
    SPECIES,
    STARTER_LEVEL,
    TRAINER_ABOVE,
    TRAINER_MONEY,
    after_win,
    full_hp,
    monster_bytes,
)
from pokemon_env.games.tallgrass.worlds.story import (
    DOWN,
    EVENT_ID,
    MAP_ID,
    MILESTONES,
    SCRIPT_ID,
    STEPS,
    TRAINERS,
    UP,
)

NOT_DRAWN = 0xFF
_BEFORE_THE_MAP = ("GAME_RUNNING", "PLAYER_NAME_SET", "INTRO_CUTSCENE_COMPLETE")

_BED, _BY_BED, _FROM, _AT, _SEEN_BY, _GRASS = range(6)


class _Place(NamedTuple):
    """Where a real run stands on `map`: in or by the bed, arrived from map `what`, at or seen by script `what`, or in grass."""

    map: str
    how: int
    what: str = ""


_PLACES = {
    "PLAYER_BEDROOM": _Place("BEDROOM", _BED),
    "CLOCK_SET": _Place("BEDROOM", _BY_BED),
    "GO_DOWNSTAIRS_TO_1F": _Place("BEDROOM", _AT, "T_CLOCK"),
    "LEAVE_HOUSE": _Place("HOUSE_1F", _FROM, "BEDROOM"),
    "RIVAL_HOUSE": _Place("TOWN", _FROM, "HOUSE_1F"),
    "RIVAL_BEDROOM": _Place("RIVAL_1F", _FROM, "TOWN"),
    "EXIT_RIVAL_HOUSE": _Place("RIVAL_2F", _FROM, "RIVAL_1F"),
    "LAB_ENTERED": _Place("TOWN", _FROM, "RIVAL_1F"),
    "STARTER_CHOSEN": _Place("LAB", _FROM, "TOWN"),
    "RIVAL_BATTLE_WON": _Place("LAB", _AT, "T_BALL_"),
    "EXIT_LAB": _Place("LAB", _AT, "T_RIVAL_LAB"),
    "ROUTE_1": _Place("TOWN", _FROM, "LAB"),
    "FIRST_CATCH": _Place("ROUTE_1", _FROM, "TOWN"),
    "SECOND_TOWN": _Place("ROUTE_1", _GRASS),
    "HEALED": _Place("TOWN_2", _FROM, "ROUTE_1"),
    "ROUTE_2": _Place("CENTER", _AT, "T_NURSE"),
    "TRAINER_BEATEN": _Place("ROUTE_2", _FROM, "TOWN_2"),
    "GYM_ENTERED": _Place("ROUTE_2", _SEEN_BY, "T_TRAINER_ROUTE"),
    "GYM_TRAINER_BEATEN": _Place("GYM", _FROM, "ROUTE_2"),
    "LEADER_BEATEN": _Place("GYM", _SEEN_BY, "T_TRAINER_GYM"),
    "BADGE": _Place("GYM", _AT, "T_LEADER"),
}
_ORDER = {milestone: number for number, milestone in enumerate(MILESTONES)}
# Events that are not milestones: set in every start after this milestone's.
_SIDE_EVENTS = {
    "TALKED_MOM": "LEAVE_HOUSE",
    "MET_RIVAL": "EXIT_RIVAL_HOUSE",
    "ASKED": "STARTER_CHOSEN",
    "SIGN_READ": "TRAINER_BEATEN",
}
_WON_AT = {"RIVAL": "RIVAL_BATTLE_WON", "ROUTE": "TRAINER_BEATEN", "GYM": "GYM_TRAINER_BEATEN", "LEADER": "LEADER_BEATEN"}
_WATCHES = {"T_TRAINER_ROUTE": "TRAINER_BEATEN", "T_TRAINER_GYM": "GYM_TRAINER_BEATEN"}
"""People who begin a battle at sight, and until which event."""

# The least HP of the party, in percent. Where nothing is named, it was healed and has met nobody since.
_WORN = {"FIRST_CATCH": 60, "SECOND_TOWN": 60, "HEALED": 60, "TRAINER_BEATEN": 90, "GYM_ENTERED": 60, "GYM_TRAINER_BEATEN": 90}
_WORN_BY_NATURE = ("SECOND_TOWN", "HEALED")
_GIFT_BALLS, _GIFT_POTIONS = 5, 2


def stage_block(world: World, milestone: str, rng: np.random.Generator, natural: bool) -> bytes | None:
    """Return the 208 bytes (C100..C1CF) of a start at which `milestone` comes next, drawn with `rng`.

    With `natural` the player stands where the milestone before ends in a real run; without, on any tile of that map on which a
    real player could stand then, facing anywhere. None for the milestones before the map is shown: they start at power-on.
    Raises ValueError for an unknown milestone.
    """
    if milestone not in _ORDER:
        raise ValueError(f"there is no milestone {milestone!r}: one of {', '.join(MILESTONES)} is meant")
    if milestone in _BEFORE_THE_MAP:
        return None
    wish = int(rng.integers(3)) if _past(milestone, "LAB_ENTERED") else NOT_DRAWN
    clock = int(rng.integers(12)) if _past(milestone, "CLOCK_SET") else NOT_DRAWN
    events = _events(milestone, rng)
    map_name = _PLACES[milestone].map
    board = Board(world.maps[map_name], events)
    x, y, facing = _natural_place(world, milestone, board, wish, rng)
    if not natural and milestone != "PLAYER_BEDROOM":
        tiles = list(board.tiles(_standing_room(milestone, board, board.bit(x, y))))
        x, y = tiles[rng.integers(len(tiles))]
        facing = int(rng.integers(4))
    party = _party(world, milestone, wish, rng, natural)
    heal = _below_nurse(world) if _past(milestone, "HEALED") else world.heal

    block = bytearray(STAGE_BYTES)
    block[0x05:0x09] = bytes([MAP_ID[map_name], x, y, facing])
    block[0x10:0x12] = bytes([clock, wish])
    block[0x12:0x14] = struct.pack("<H", _money(milestone))
    block[0x15:0x17] = struct.pack("<H", _steps(milestone, rng))
    block[0x18:0x20] = sum(1 << event for event in events).to_bytes(8, "little")
    block[0x24:0x2C] = bytes(rng.integers(ord("A"), ord("Z") + 1, rng.integers(1, 8)).tolist()).ljust(8, b"\0")
    block[0x2C:0x2E] = bytes(_bag(milestone, rng, natural))
    block[0x30:0x34] = bytes([len(party), *heal])
    for number, monster in enumerate(party):
        block[0x40 + MONSTER_BYTES * number : 0x40 + MONSTER_BYTES * (number + 1)] = monster
    return bytes(block)


def _past(milestone: str, reached: str) -> bool:
    """Return whether `reached` has been completed when `milestone` comes next."""
    return _ORDER[reached] < _ORDER[milestone]


def _events(milestone: str, rng: np.random.Generator) -> frozenset[int]:
    done = {EVENT_ID[event] for name, event in MILESTONES.items() if _past(milestone, name)}
    done |= {EVENT_ID[event] for event, name in _SIDE_EVENTS.items() if _past(milestone, name)}
    if _past(milestone, "ROUTE_2"):
        done.add(EVENT_ID[("FORK_LEFT", "FORK_RIGHT")[rng.integers(2)]])
    return frozenset(done)


def _natural_place(world: World, milestone: str, board: Board, wish: int, rng: np.random.Generator) -> tuple[int, int, int]:
    """Return x, y and facing where the milestone before this one ends."""
    place = _PLACES[milestone]
    if place.how == _BED:
        return (*world.start, DOWN)
    if place.how == _BY_BED:
        x, y = world.start
        ways = [(x + dx, y + dy, facing) for facing, (dx, dy) in enumerate(STEPS) if board.bit(x + dx, y + dy) & board.land]
        return ways[rng.integers(len(ways))]
    if place.how == _FROM:
        warps = [warp for warp in world.maps[place.what].warps if warp.to == MAP_ID[place.map]]
        warp = warps[rng.integers(len(warps))]
        return warp.to_x, warp.to_y, warp.facing
    here = board.reach(board.mask((warp.to_x, warp.to_y) for warp in _leading_to(world, place.map))) & board.land
    if place.how == _GRASS:
        grass = [(x, y) for x, y in board.tiles(here) if is_grass(board.map.at(x, y))]
        return (*grass[rng.integers(len(grass))], int(rng.integers(4)))
    script = place.what + ("LEAF", "EMBER", "WAVE")[wish] if place.what == "T_BALL_" else place.what
    entries: list[Person | Sign] = [*board.map.people, *board.map.signs]
    entry = next((e for e in entries if e.script == SCRIPT_ID[script]), None)
    if entry is None:
        raise WorldError(f"world {world.number}: {place.map} has nothing with the script {script}")
    if place.how == _SEEN_BY:
        assert isinstance(entry, Person)  # signs do not watch
        tiles = list(board.tiles(board.sight(entry) & here))
        return (*tiles[rng.integers(len(tiles))], UP)
    sides = [
        (entry.x - dx, entry.y - dy, facing)
        for facing, (dx, dy) in enumerate(STEPS)
        if board.bit(entry.x - dx, entry.y - dy) & here
    ]
    return sides[rng.integers(len(sides))]


def _leading_to(world: World, name: str) -> Iterator[Warp]:
    return (warp for game_map in world.maps.values() for warp in game_map.warps if warp.to == MAP_ID[name])


def _standing_room(milestone: str, board: Board, start: int) -> int:
    """Return the tiles on which a real player could be when `milestone` comes next."""
    watched = taken = 0
    for person in board.people:
        taken |= board.bit(person.x, person.y)
        until = next((name for script, name in _WATCHES.items() if SCRIPT_ID[script] == person.script), None)
        if until is not None and not _past(milestone, until):
            watched |= board.sight(person)  # nobody can pass unseen, either
    tiles = board.reach(start, watched) & board.low & ~taken
    if milestone in ("TRAINER_BEATEN", "GYM_ENTERED"):
        wall = max(gate.y for gate in board.map.gates if gate.event == EVENT_ID["FORK_LEFT"])
        # Before the wall, and after it: a detour through the gap and back would be many times as long as the other paths.
        south = milestone == "TRAINER_BEATEN"
        tiles = board.mask(tile for tile in board.tiles(tiles) if tile[1] != wall and (tile[1] > wall) == south)
    return tiles


def _below_nurse(world: World) -> tuple[int, int, int]:
    """Return the place to wake up once the nurse has healed the party."""
    nurse = next(person for person in world.maps["CENTER"].people if person.script == SCRIPT_ID["T_NURSE"])
    return MAP_ID["CENTER"], nurse.x, nurse.y + 1


def _party(world: World, milestone: str, wish: int, rng: np.random.Generator, natural: bool) -> list[bytes]:
    if not _past(milestone, "STARTER_CHOSEN"):
        return []
    level, xp = STARTER_LEVEL, 0
    for trainer, shift in zip(TRAINERS, world.shifts, strict=True):
        if _past(milestone, _WON_AT[trainer]):
            level, xp = after_win(level, xp, level + TRAINER_ABOVE[trainer][shift], trainer=True)
        if trainer == "RIVAL" and not natural and _past(milestone, "ROUTE_1"):
            for _ in range(rng.integers(3)):  # wild ones beaten before one was caught
                level, xp = after_win(level, xp, int(rng.integers(2, 5)), trainer=False)
    worn = _WORN.get(milestone) if not natural or milestone in _WORN_BY_NATURE else None
    moves = rng.permutation(SPECIES[wish][4]).tolist()
    party = [_monster(wish + 1, level, xp, moves, worn, rng)]
    if _past(milestone, "FIRST_CATCH"):
        slot = _drawn(world.encounters[0], rng)
        caught_level = int(rng.integers(slot.min_level, slot.max_level + 1))
        party.append(_monster(slot.species, caught_level, 0, None, 30 if worn else None, rng))
    return party


def _drawn(table: tuple[Slot, ...], rng: np.random.Generator) -> Slot:
    """Draw a slot of an encounter table, by its share."""
    roll = int(rng.integers(256))
    for slot in table[:-1]:
        if roll < slot.weight:
            return slot
        roll -= slot.weight
    return table[-1]


def _monster(species: int, level: int, xp: int, moves: list[int] | None, worn: int | None, rng: np.random.Generator) -> bytes:
    """Return a monster with at least `worn` percent of its HP, and some PP used; without `worn` with full HP and PP."""
    if worn is None:
        return monster_bytes(species, level, xp, moves)
    most = full_hp(species, level)
    hp = int(rng.integers(-(-most * worn // 100), most + 1))
    full_pp = [MOVE_PP[move - 1] for move in moves or SPECIES[species - 1][4]]
    pp = [most_pp - int(rng.integers(most_pp // 3 + 1)) for most_pp in full_pp]
    return monster_bytes(species, level, xp, moves, hp, pp)


def _bag(milestone: str, rng: np.random.Generator, natural: bool) -> tuple[int, int]:
    """Return potions and balls: Mom's, minus those that a battle may have used; PROF's, minus those thrown."""
    potions = _GIFT_POTIONS if _past(milestone, "LEAVE_HOUSE") else 0
    balls = _GIFT_BALLS if _past(milestone, "RIVAL_BATTLE_WON") else 0
    if not natural and _past(milestone, "RIVAL_BATTLE_WON"):
        potions -= int(rng.integers(_GIFT_POTIONS + 1))
    if _past(milestone, "FIRST_CATCH"):
        balls -= 1 + int(rng.integers(4))
    elif milestone == "FIRST_CATCH" and not natural:
        balls -= int(rng.integers(3))
    return potions, balls


def _money(milestone: str) -> int:
    return 100 + sum(TRAINER_MONEY[trainer] for trainer in TRAINERS if _past(milestone, _WON_AT[trainer]))


def _steps(milestone: str, rng: np.random.Generator) -> int:
    """Return the steps made so far: about twenty for each milestone passed; none in bed."""
    passed = _ORDER[milestone] - _ORDER["PLAYER_BEDROOM"]
    return int(rng.integers(12 * passed, 30 * passed + 1))
