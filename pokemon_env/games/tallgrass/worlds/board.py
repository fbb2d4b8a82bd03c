"""Reachability on a map: tiles as bits of integers, so that a search over a whole map takes microseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pokemon_env.games.tallgrass.worlds.image import MapData, Person
from pokemon_env.games.tallgrass.worlds.metatiles import is_ledge, is_solid, is_warp
from pokemon_env.games.tallgrass.worlds.story import SIGHT, STEPS, WANDER

Tile = tuple[int, int]


def _table(wanted: Callable[[int], bool]) -> bytes:
    return bytes(ord("1") if wanted(code) else ord("0") for code in range(256))


_FLOOR = _table(lambda code: not is_solid(code) and not is_ledge(code))
_LEDGES = _table(is_ledge)
_WARPS = _table(is_warp)
_LOW = _table(lambda code: code < 0x28)


class Board:
    """A map with the gates of `events` open and the people who are there at that time.

    A set of tiles is an integer with one bit per tile. Rows are one bit further apart than they are wide, so that a shift by
    one tile never reaches the other end of the next row. People who stand still block; people who wander do not.
    """

    def __init__(self, game_map: MapData, events: frozenset[int]) -> None:
        self.map = game_map
        self.stride = game_map.width + 1
        layout = bytearray(game_map.layout)
        for gate in game_map.gates:
            if gate.event not in events:
                layout[gate.y * game_map.width + gate.x] = gate.closed
        self.people = [person for person in game_map.people if person.visible(events)]
        self.floor = self._rows(layout, _FLOOR)
        self.ledges = self._rows(layout, _LEDGES)
        self.low = self._rows(layout, _LOW)
        self.warps = self._rows(layout, _WARPS)
        fixed = self.mask((person.x, person.y) for person in self.people if person.movement != WANDER)
        self.stand = self.floor & ~fixed
        self.land = self.low & ~fixed

    def _rows(self, layout: bytes | bytearray, table: bytes) -> int:
        """Return the set of tiles whose metatile `table` translates to b"1"."""
        width = self.map.width
        digits = layout.translate(table)
        rows = [b"0" + digits[start : start + width][::-1] for start in range(len(digits) - width, -1, -width)]
        return int(b"".join(rows), 2)

    # Tiles and sets

    def bit(self, x: int, y: int) -> int:
        """Return the set of one tile; empty outside the map."""
        if 0 <= x < self.map.width and 0 <= y < self.map.height:
            return 1 << y * self.stride + x
        return 0

    def mask(self, tiles: Iterable[Tile]) -> int:
        found = 0
        for x, y in tiles:
            found |= self.bit(x, y)
        return found

    def tiles(self, mask: int) -> Iterator[Tile]:
        """Yield the tiles of a set, row by row."""
        while mask:
            low = mask & -mask
            y, x = divmod(low.bit_length() - 1, self.stride)
            yield x, y
            mask ^= low

    def beside(self, x: int, y: int) -> int:
        """Return the tiles from which one faces (x, y)."""
        return self.mask((x + dx, y + dy) for dx, dy in STEPS)

    # Paths. A warp ends a path, because it leads to another map.

    def reach(self, start: int, blocked: int = 0, hops: bool = True) -> int:
        """Return all tiles that can be reached from any of `start`, these included."""
        stride, stand = self.stride, self.stand & ~blocked
        ledges, land = (self.ledges if hops else 0), self.land & ~blocked
        seen = edge = start
        while edge:
            walk = edge & ~self.warps
            grown = (walk << 1 | walk >> 1 | walk << stride | walk >> stride) & stand
            if ledges:
                grown |= ((walk << stride) & ledges) << stride & land
            edge = grown & ~seen
            seen |= edge
        return seen

    def sources(self, goal: int) -> int:
        """Return all tiles from which any of `goal` can be reached, these included."""
        stride, walk = self.stride, self.stand & ~self.warps
        seen = edge = goal & self.stand
        while edge:
            grown = edge << 1 | edge >> 1 | edge << stride | edge >> stride
            grown |= ((edge & self.land) >> stride & self.ledges) >> stride
            edge = grown & walk & ~seen
            seen |= edge
        return seen

    # People

    def square(self, person: Person) -> int:
        """Return the tiles that a wandering person can reach: the square around home, on floor or grass, on foot."""
        inside = 0
        for y in range(max(person.y - person.reach, 0), min(person.y + person.reach, self.map.height - 1) + 1):
            left, right = max(person.x - person.reach, 0), min(person.x + person.reach, self.map.width - 1)
            inside |= ((1 << right - left + 1) - 1) << y * self.stride + left
        inside &= self.land
        seen = edge = self.bit(person.x, person.y)
        stride = self.stride
        while edge:
            edge = (edge << 1 | edge >> 1 | edge << stride | edge >> stride) & inside & ~seen
            seen |= edge
        return seen

    def sight(self, person: Person) -> int:
        """Return the tiles on which a trainer sees the player: straight ahead until something solid, or `reach` tiles."""
        seen = 0
        if person.movement == SIGHT:
            dx, dy = STEPS[person.facing]
            for i in range(1, person.reach + 1):
                tile = self.bit(person.x + dx * i, person.y + dy * i)
                if not tile & self.stand:
                    break
                seen |= tile
        return seen

    def cut_by(self, person: Person, whole: int) -> Tile | None:
        """Return a tile where a wandering person would split the tiles of `whole`, which are connected on foot; or None."""
        whole &= ~self.warps
        for tile in self.tiles(self.tight(self.square(person) & whole)):
            block = self.bit(*tile)
            rest = whole & ~block
            if self.reach(rest & -rest, block, hops=False) & rest != rest:
                return tile
        return None

    def grown(self, mask: int) -> int:
        """Return a set and all tiles that touch it, corners included."""
        wide = mask | mask << 1 | mask >> 1
        return wide | wide << self.stride | wide >> self.stride

    def tight(self, mask: int) -> int:
        """Return those tiles of a set that lie between walls, so that a person there might cut a path.

        Around any other tile the free neighbours are connected without it.
        """
        free, stride = self.stand & ~self.warps, self.stride
        north, south, west, east = free << stride, free >> stride, free << 1, free >> 1
        # A stretch of free neighbours begins (clockwise) at a tile orthogonally next to this one, unless the one before it is
        # connected with it around the corner.
        begins = (
            north & ~(north << 1 & west),
            east & ~(north >> 1 & north),
            south & ~(south >> 1 & east),
            west & ~(south << 1 & south),
        )
        one = several = 0
        for stretch in begins:
            several |= one & stretch
            one |= stretch
        return mask & several
