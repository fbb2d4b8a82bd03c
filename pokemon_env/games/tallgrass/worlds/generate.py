"""Worlds from numbers: all maps drawn, joined, and proven playable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pokemon_env.games.tallgrass.worlds import outdoors, rooms
from pokemon_env.games.tallgrass.worlds.canvas import Canvas, NoRoom
from pokemon_env.games.tallgrass.worlds.draw import Draw
from pokemon_env.games.tallgrass.worlds.image import Slot, World, WorldError
from pokemon_env.games.tallgrass.worlds.solve import check_world
from pokemon_env.games.tallgrass.worlds.story import ENCOUNTER_TABLES, MAP_ID, MAPS
from pokemon_env.splits import LAST_WORLD

_SEED = 0x7A116A55
_ATTEMPTS = 40
_MAP_ATTEMPTS = 60
_RATES = {"ROUTE_1": (32, 40), "ROUTE_2": (16, 24)}
"""Chance (of 256) of a wild monster for each step in a route's grass, from and to."""
_LEVELS = {"ROUTE_1": (2, 4), "ROUTE_2": (4, 6)}
_NIBBIT, _FLITTER, _GLOWBUG, _MUDFIN, _BOULDRAM = 4, 5, 6, 7, 8

T = TypeVar("T")


def generate_world(number: int) -> World:
    """Return the world of that number (1 to 2**32 - 1), the same on every machine, already checked.

    Raises WorldError for another number, or if no drawing of it can be played (no such number is known).
    """
    if not 1 <= number <= LAST_WORLD:
        raise WorldError(f"world {number}: generated worlds are numbered from 1 to {LAST_WORLD}; 0 is the ROM's own")
    problem = "nothing was drawn"
    for attempt in range(_ATTEMPTS):
        try:
            world = _draw_world(number, Draw(_SEED, number, attempt))
            check_world(world)
            return world
        except WorldError as error:
            problem = str(error)
    raise WorldError(f"world {number} came out unplayable {_ATTEMPTS} times, at last because {problem}")


def _draw_world(number: int, draw: Draw) -> World:
    bedroom, bed = _made(rooms.make_bedroom, draw)
    house, heal = _made(rooms.make_house, draw)
    canvases = {
        "BEDROOM": bedroom,
        "HOUSE_1F": house,
        "TOWN": _made(outdoors.make_town, draw),
        "RIVAL_1F": _made(rooms.make_rival_house, draw),
        "RIVAL_2F": _made(rooms.make_rival_bedroom, draw),
        "LAB": _made(rooms.make_lab, draw),
        "ROUTE_1": _made(outdoors.make_route_1, draw),
        "TOWN_2": _made(outdoors.make_town_2, draw),
        "CENTER": _made(rooms.make_center, draw),
        "ROUTE_2": _made(outdoors.make_route_2, draw),
        "GYM": _made(rooms.make_gym, draw),
    }
    join(canvases)
    maps = {}
    for name in MAPS:
        rate = draw.between(*_RATES[name]) if name in _RATES else 0
        table = ENCOUNTER_TABLES.index(name) if name in _RATES else 0
        maps[name] = canvases[name].map("void" if canvases[name].indoor else "tree", rate, table)
    shifts = (draw.below(3), draw.below(3), draw.below(3), draw.below(3))
    return World(number, maps, bed, (MAP_ID["HOUSE_1F"], *heal), shifts, (_wild(draw, "ROUTE_1"), _wild(draw, "ROUTE_2")))


def _made(make: Callable[[Draw], T], draw: Draw) -> T:
    """Return a map, started over as long as something does not fit."""
    for _ in range(_MAP_ATTEMPTS - 1):
        try:
            return make(draw)
        except NoRoom:
            continue
    return make(draw)


def join(canvases: dict[str, Canvas]) -> None:
    """Make every door lead to its other side."""
    for name, canvas in canvases.items():
        for to in canvas.doors:
            canvas.warp(to, canvases[to].doors[name])


def _wild(draw: Draw, route: str) -> tuple[Slot, ...]:
    """Draw four monsters, the most frequent first; their shares add up to 256. BOULDRAM, hard to catch, is rare and far away."""
    species = draw.shuffled((_NIBBIT, _FLITTER, _GLOWBUG, _MUDFIN))
    if route == "ROUTE_2" and draw.chance(50):
        species[-1] = _BOULDRAM
    weights = [draw.between(56, 80) for _ in range(3)]
    weights.append(256 - sum(weights))
    slots = []
    for kind, weight in zip(species, sorted(weights, reverse=True), strict=True):
        low, high = _LEVELS[route]
        if kind == _BOULDRAM:
            high -= 1
        least = draw.between(low, high - 1)
        slots.append(Slot(kind, least, draw.between(least + 1, high), weight))
    return tuple(slots)
