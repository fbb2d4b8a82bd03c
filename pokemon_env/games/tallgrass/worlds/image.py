"""Worlds as bytes: map blobs, the cartridge-RAM image that the game reads at power-on, and world 0 out of the ROM."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pokemon_env.games.tallgrass.worlds.story import MAPS

MAGIC = b"TGWORLD1"
IMAGE_BYTES = 8192
STILL, HIDE, STAGE, MAPS_PRESENT, NO_COMPASS = 1, 2, 4, 8, 16
"""The image's flags: people stand still; the strip hides what was said; a start and maps are in it; the strip has no arrow."""

STAGE_BYTES = 208
MAX_SIDE = 32
MAX_TILES = 1024
LIMITS = {"warps": 12, "people": 10, "signs": 12, "gates": 8}

_HEAD = struct.Struct("<8sHHBBHI")
_STAGE_AT = 0x60
_MAPS_AT = 0x130
_ROM_MAPS = 0x10000
_BLOB_HEAD = 12
_NO_MARK = (0, 0)


class WorldError(ValueError):
    """A world that cannot be made, played, or read."""


class Warp(NamedTuple):
    """A door: stepping on (x, y) leads to (to_x, to_y) on map number `to`."""

    x: int
    y: int
    to: int
    to_x: int
    to_y: int
    facing: int


class Person(NamedTuple):
    """A person with home (x, y). `flag`: 0 always there, event: there after it, 0x80 | event: there until it."""

    x: int
    y: int
    sprite: int
    facing: int
    movement: int
    reach: int
    script: int
    flag: int = 0

    def visible(self, events: frozenset[int] | set[int]) -> bool:
        return not self.flag or ((self.flag & 0x7F) in events) != bool(self.flag & 0x80)


class Sign(NamedTuple):
    """A text to read on a solid tile."""

    x: int
    y: int
    script: int


class Gate(NamedTuple):
    """A tile that shows the solid metatile `closed` until `event` is set."""

    x: int
    y: int
    event: int
    closed: int


@dataclass
class MapData:
    """One map. `layout` holds width * height metatile ids row by row, gates open; `mark` is a place in tall grass.

    `rate` (of 256) is the chance of a wild monster for each step in tall grass, `table` the number of the encounters.
    """

    width: int
    height: int
    tileset: int
    border: int
    rate: int
    table: int
    mark: tuple[int, int] | None
    layout: bytes
    warps: list[Warp] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)

    def at(self, x: int, y: int) -> int:
        return self.layout[y * self.width + x]

    def blob(self) -> bytes:
        """Return the map as the game stores it; raises WorldError if a limit is exceeded."""
        if not (0 < self.width <= MAX_SIDE and 0 < self.height <= MAX_SIDE and len(self.layout) == self.width * self.height):
            raise WorldError(f"a map of {self.width}x{self.height} with {len(self.layout)} tiles: at most {MAX_SIDE}x{MAX_SIDE}")
        lists: tuple[Sequence[tuple[int, ...]], ...] = (self.warps, self.people, self.signs, self.gates)
        for (name, most), entries in zip(LIMITS.items(), lists, strict=True):
            if len(entries) > most:
                raise WorldError(f"{len(entries)} {name} on one map: at most {most} fit")
        head = [self.width, self.height, self.tileset, self.border, self.rate, self.table]
        mark = self.mark or _NO_MARK
        data = bytes([*head, *map(len, lists), *mark]) + self.layout
        return data + b"".join(bytes(entry) for entries in lists for entry in entries)

    @classmethod
    def parse(cls, data: bytes) -> MapData:
        """Read the blob at the start of `data`, and ignore the rest; raises WorldError if it is cut off."""
        if len(data) < _BLOB_HEAD:
            raise WorldError(f"a map needs {_BLOB_HEAD} bytes of header, and {len(data)} are there")
        width, height, tileset, border, rate, table, *counts = data[:10]
        mark = (data[10], data[11])
        end = _BLOB_HEAD + width * height
        layout = data[_BLOB_HEAD:end]
        kinds: tuple[type[Warp | Person | Sign | Gate], ...] = (Warp, Person, Sign, Gate)
        lists: list[list[Any]] = []
        for kind, count in zip(kinds, counts, strict=True):
            size = len(kind._fields)
            start, end = end, end + count * size
            if len(data) < end:
                raise WorldError(f"a map of {width}x{height} needs at least {end} bytes, and {len(data)} are there")
            lists.append([kind(*data[i : i + size]) for i in range(start, end, size)])
        return cls(width, height, tileset, border, rate, table, None if mark == _NO_MARK else mark, layout, *lists)


class Slot(NamedTuple):
    """One of four monsters of an encounter table: species (from 1), levels, and its share of 256."""

    species: int
    min_level: int
    max_level: int
    weight: int


@dataclass
class World:
    """Everything that differs between worlds.

    `start` is the bed (x, y in BEDROOM), `heal` (map, x, y) the place to wake up after a lost battle, `shifts` the types of
    RIVAL's, ROUTE's, GYM's and LEADER's monsters relative to the player's, `encounters` two tables of four slots.
    """

    number: int
    maps: dict[str, MapData]
    start: tuple[int, int]
    heal: tuple[int, int, int]
    shifts: tuple[int, int, int, int]
    encounters: tuple[tuple[Slot, ...], tuple[Slot, ...]]


HOME_WORLD_START = (1, 3)
HOME_WORLD_HEAL = (1, 2, 2)
HOME_WORLD_SHIFTS = (1, 2, 0, 1)
HOME_WORLD_ENCOUNTERS = (
    (Slot(4, 2, 4, 112), Slot(5, 2, 4, 64), Slot(6, 3, 4, 40), Slot(7, 3, 4, 40)),
    (Slot(4, 4, 6, 80), Slot(5, 4, 6, 64), Slot(7, 4, 6, 64), Slot(8, 4, 5, 48)),
)


def rom_world(rom: bytes) -> World:
    """Return world 0 from the game itself; raises WorldError if `rom` holds no maps where they should be."""
    if len(rom) < _ROM_MAPS + 32:
        raise WorldError(f"a ROM of {len(rom)} bytes holds no maps at 0x{_ROM_MAPS:X}: build the game with `make rom`")
    offsets = struct.unpack_from("<16H", rom, _ROM_MAPS)
    maps = {}
    for name, offset in zip(MAPS, offsets, strict=False):
        if not 32 <= offset < 0x4000:
            raise WorldError(f"the ROM has no map {name} (offset 0x{offset:04X}): build the game with `make rom`")
        maps[name] = MapData.parse(rom[_ROM_MAPS + offset : _ROM_MAPS + 0x4000])
    return World(0, maps, HOME_WORLD_START, HOME_WORLD_HEAL, HOME_WORLD_SHIFTS, HOME_WORLD_ENCOUNTERS)


def pack(world: World, flags: int = 0, stage: bytes | None = None, palette: int = 0, own_maps: bool = False) -> bytes:
    """Return the cartridge-RAM image of a world: 8,192 bytes, with `stage` (208 bytes) as the start of play.

    `flags` may hold STILL, HIDE and NO_COMPASS; STAGE and MAPS_PRESENT follow from the contents. `palette` is the background's
    (`looks.Look.palette`), 0 for the usual one. World 0 needs no maps, because the ROM's own are used, unless `own_maps` says
    that they were changed. Raises WorldError if the world does not fit.
    """
    if flags & ~(STILL | HIDE | NO_COMPASS):
        raise WorldError(f"flags 0x{flags:02X}: only STILL (1), HIDE (2) and NO_COMPASS (16) are given by hand")
    body = bytearray(_MAPS_AT)
    if stage is not None:
        if len(stage) != STAGE_BYTES:
            raise WorldError(f"a start has {STAGE_BYTES} bytes, this one has {len(stage)}")
        flags |= STAGE
        body[_STAGE_AT:_MAPS_AT] = stage
    if world.number or own_maps:
        flags |= MAPS_PRESENT
        body[0x14:0x1A] = bytes([*world.start, *world.heal, 0])
        body[0x1C:0x20] = bytes(world.shifts)
        body[0x20:0x40] = bytes(value for table in world.encounters for slot in table for value in slot)
        for number, name in enumerate(MAPS):
            struct.pack_into("<H", body, 0x40 + 2 * number, len(body))
            body += world.maps[name].blob()
    if len(body) > IMAGE_BYTES:
        raise WorldError(f"world {world.number} needs {len(body)} bytes, and {IMAGE_BYTES} fit")
    _HEAD.pack_into(body, 0, MAGIC, len(body), 0, flags, palette, 0, world.number)
    struct.pack_into("<H", body, 0x0A, sum(body[0x0C:]) & 0xFFFF)
    return bytes(body).ljust(IMAGE_BYTES, b"\0")


class Image(NamedTuple):
    """The contents of an image. `maps` is empty if the ROM's own are used; `stage` is None without a start."""

    number: int
    flags: int
    maps: Mapping[str, MapData]
    start: tuple[int, int]
    heal: tuple[int, int, int]
    shifts: tuple[int, ...]
    encounters: tuple[tuple[Slot, ...], ...]
    stage: bytes | None
    palette: int


def unpack(image: bytes) -> Image:
    """Read an image as the game does; raises WorldError if it is not an image, or damaged."""
    if len(image) < _MAPS_AT or image[:8] != MAGIC:
        raise WorldError("this is no image of a world: it does not begin with TGWORLD1")
    _, length, checksum, flags, palette, _, number = _HEAD.unpack_from(image)
    if not _MAPS_AT <= length <= len(image) or sum(image[0x0C:length]) & 0xFFFF != checksum:
        raise WorldError(f"the image of world {number} is damaged: length {length} or checksum 0x{checksum:04X} is wrong")
    maps = {}
    if flags & MAPS_PRESENT:
        for name, offset in zip(MAPS, struct.unpack_from("<11H", image, 0x40), strict=True):
            if offset:
                maps[name] = MapData.parse(image[offset:length])
    slots = [Slot(*image[i : i + 4]) for i in range(0x20, 0x40, 4)]
    stage = image[_STAGE_AT:_MAPS_AT] if flags & STAGE else None
    start, heal, shifts = (image[0x14], image[0x15]), (image[0x16], image[0x17], image[0x18]), tuple(image[0x1C:0x20])
    return Image(number, flags, maps, start, heal, shifts, (tuple(slots[:4]), tuple(slots[4:])), stage, palette)
