"""How a world looks in an episode: the light, and the cover of its grounds and floors. Nothing else depends on it.

On a fixed map a few dozen demonstrations show nearly every possible screen, and looking up the nearest one is enough. With the
light and the season drawn for each episode, a policy has to see what is where.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pokemon_env.games.tallgrass.worlds.image import World
from pokemon_env.games.tallgrass.worlds.metatiles import INDOOR, INDOOR_TILESET, OUTDOOR

# Palettes of the background: the shade (0 white to 3 black) of each of the art's four. Each shows all four, so that nothing
# that could be told apart by day cannot be told apart in another light.
LIGHTS = {
    "day": (0, 1, 2, 3),
    "haze": (0, 2, 1, 3),
    "dusk": (1, 0, 2, 3),
    "fog": (0, 1, 3, 2),
    "moon": (3, 1, 2, 0),
    "night": (3, 2, 1, 0),
}
GROUNDS = tuple(OUTDOOR[name] for name in ("ground", "heath", "leaves", "loam"))
FLOORS = tuple(INDOOR[name] for name in ("floor", "lab_floor", "boards", "slate"))
_LAID_OVER = {0: (OUTDOOR["ground"],), INDOOR_TILESET: (INDOOR["floor"], INDOOR["lab_floor"], INDOOR["gym_floor"])}
"""By tileset, the metatiles that a ground or a floor replaces."""


@dataclass(frozen=True)
class Look:
    """`light` is one of LIGHTS; `covers` holds for each map, in the story's order, its cover of GROUNDS or FLOORS."""

    light: str
    covers: tuple[int, ...]

    @property
    def palette(self) -> int:
        """The console's palette register: two bits for each of the art's shades, the first one lowest."""
        return sum(shade << 2 * number for number, shade in enumerate(LIGHTS[self.light]))


def draw_look(world: World, rng: np.random.Generator) -> Look:
    """Draw the look of an episode; each light and each cover is as likely as the others."""
    light = list(LIGHTS)[int(rng.integers(len(LIGHTS)))]
    return Look(light, tuple(int(cover) for cover in rng.integers(len(GROUNDS), size=len(world.maps))))


def apply_look(world: World, look: Look) -> World:
    """Return the world with its grounds and floors covered; where one can walk, and everything else, stays the same."""
    maps = {}
    for (name, place), cover in zip(world.maps.items(), look.covers, strict=True):
        laid = (FLOORS if place.tileset == INDOOR_TILESET else GROUNDS)[cover]
        table = bytes(laid if metatile in _LAID_OVER[place.tileset] else metatile for metatile in range(256))
        maps[name] = replace(place, layout=place.layout.translate(table))
    return replace(world, maps=maps)
