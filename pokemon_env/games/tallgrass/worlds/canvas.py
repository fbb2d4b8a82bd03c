"""A map while it is being made: its tiles, those that must stay free, and where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pokemon_env.games.tallgrass.worlds.draw import Draw
from pokemon_env.games.tallgrass.worlds.image import Gate, MapData, Person, Sign, Warp, WorldError
from pokemon_env.games.tallgrass.worlds.metatiles import INDOOR, INDOOR_TILESET, OUTDOOR, OUTDOOR_TILESET
from pokemon_env.games.tallgrass.worlds.story import EVENT_ID, MAP_ID, SCRIPT_ID, SPRITE_ID, STILL

Tile = tuple[int, int]


class Door(NamedTuple):
    """A door to another map: the tiles that lead there, the arrival tiles from there, and the facing on arrival."""

    tiles: list[Tile]
    arrivals: list[Tile]
    facing: int


class NoRoom(WorldError):
    """Something did not fit on its map: start over with other draws."""


class Canvas:
    """A map of `width` x `height` tiles, all `floor` at first.

    `kept` holds tiles on which nothing solid may be placed. Things placed with `margin` stay one free tile away from everything
    solid. So no set of such things, and no single person, ever blocks a path around them.
    """

    def __init__(self, draw: Draw, width: int, height: int, indoor: bool, floor: str) -> None:
        self.draw, self.width, self.height = draw, width, height
        self.indoor = indoor
        self.ids = INDOOR if indoor else OUTDOOR
        self.floor = self.ids[floor]
        self.tiles = [[self.floor] * width for _ in range(height)]
        self.kept: set[Tile] = set()
        self.warps: list[Warp] = []
        self.people: list[Person] = []
        self.signs: list[Sign] = []
        self.gates: list[Gate] = []
        self.mark: Tile | None = None
        self.doors: dict[str, Door] = {}

    # Tiles

    def put(self, x: int, y: int, name: str) -> None:
        self.tiles[y][x] = self.ids[name]

    def put_rows(self, x: int, y: int, rows: Sequence[Sequence[str]]) -> None:
        for dy, row in enumerate(rows):
            for dx, name in enumerate(row):
                self.put(x + dx, y + dy, name)

    def inside(self, x: int, y: int) -> bool:
        return 0 <= x < self.width and 0 <= y < self.height

    def walkable(self, x: int, y: int) -> bool:
        return self.inside(x, y) and self.tiles[y][x] < 0x28

    def keep(self, *tiles: Tile) -> None:
        self.kept.update(tiles)

    def room(self, x: int, y: int, width: int, height: int, margin: int = 1) -> bool:
        """Return whether something may be placed here: no kept tiles below it, only floor and grass around it."""
        if x - margin < 0 or y - margin < 0 or x + width + margin > self.width or y + height + margin > self.height:
            return False
        for row in self.tiles[y - margin : y + height + margin]:
            if max(row[x - margin : x + width + margin]) >= 0x28:
                return False
        kept = self.kept
        return not any((x + dx, y + dy) in kept for dx in range(width) for dy in range(height))

    def find_room(self, width: int, height: int, margin: int = 1, area: tuple[int, int, int, int] | None = None) -> Tile:
        """Return a place for something of this size, its upper left corner in `area` (left, top, right, bottom). Raises NoRoom."""
        left, top, right, bottom = area or (0, 0, self.width - 1, self.height - 1)
        left, top = max(left, margin), max(top, margin)
        right, bottom = min(right, self.width - width - margin), min(bottom, self.height - height - margin)
        if left <= right and top <= bottom:
            for _ in range(60):
                x, y = self.draw.between(left, right), self.draw.between(top, bottom)
                if self.room(x, y, width, height, margin):
                    return x, y
        raise NoRoom(f"no room for {width}x{height} tiles on a map of {self.width}x{self.height}")

    # What happens there

    def warp(self, to: str, other: Door) -> None:
        """Lead to the map `to`, which is entered by its door `other`."""
        for number, (x, y) in enumerate(self.doors[to].tiles):
            arrival = other.arrivals[number % len(other.arrivals)]
            self.warps.append(Warp(x, y, MAP_ID[to], *arrival, other.facing))

    def lock(self, to: str, event: str, closed: str) -> None:
        """Close the door to another map until the event."""
        for x, y in self.doors[to].tiles:
            self.gate(x, y, event, closed)

    def front(self, to: str) -> Tile:
        """Return the arrival tile from the map `to`."""
        return self.doors[to].arrivals[0]

    def gate(self, x: int, y: int, event: str, closed: str) -> None:
        self.gates.append(Gate(x, y, EVENT_ID[event], self.ids[closed]))

    def sign(self, x: int, y: int, script: str) -> None:
        self.signs.append(Sign(x, y, SCRIPT_ID[script]))

    def person(
        self, x: int, y: int, sprite: str, script: str, facing: int, movement: int = STILL, reach: int = 0, until: str = ""
    ) -> None:
        """Add a person. `until`: the event after which the person is gone."""
        flag = 0x80 | EVENT_ID[until] if until else 0
        self.people.append(Person(x, y, SPRITE_ID[sprite], facing, movement, reach, SCRIPT_ID[script], flag))
        self.keep((x, y))

    def map(self, border: str, rate: int = 0, table: int = 0) -> MapData:
        layout = bytes(tile for row in self.tiles for tile in row)
        tileset = INDOOR_TILESET if self.indoor else OUTDOOR_TILESET
        lists = (self.warps, self.people, self.signs, self.gates)
        return MapData(self.width, self.height, tileset, self.ids[border], rate, table, self.mark, layout, *lists)

    # Ways

    def way(self, start: Tile, goals: set[Tile]) -> list[Tile]:
        """Return a shortest path from `start` to the nearest goal, with few turns, both ends included. Raises NoRoom."""
        before: dict[Tile, Tile] = {start: start}
        edge = [start]
        while edge:
            following = []
            for tile in edge:
                if tile in goals:
                    found = [tile]
                    while tile != start:
                        tile = before[tile]
                        found.append(tile)
                    return found[::-1]
                x, y = tile
                fx, fy = before[tile]
                ahead = (2 * x - fx, 2 * y - fy)
                for to in (ahead, (x, y - 1), (x, y + 1), (x - 1, y), (x + 1, y)):
                    if to not in before and self.walkable(*to):
                        before[to] = tile
                        following.append(to)
            edge = following
        raise NoRoom(f"no path from {start}")
