#!/usr/bin/env python3
"""Compile the game's art, maps, numbers and words into C arrays, one file per ROM bank.

    python3 tallgrass/tools/build_assets.py --out tallgrass/build/gen

Reads art/*.txt, art/metatiles.toml, maps/*.toml and data/*.toml; writes ids.h, art.c, pics.c, maps.c, text.c and
data.c. Only the standard library (Python 3.11 or newer) is needed, and the same sources always give the same bytes.
Everything that can be checked before the game runs is checked here: sizes, ids, line lengths, warps, reachability. A
mistake ends the build with one line that names the file and what is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BANK_LIMIT = 16 * 1024

FONT_FIRST, FONT_COUNT = 0x20, 96
UI_COUNT = 32
MAX_BG_TILES = 128
PIC_BYTES = 25 * 16
LINE_LENGTH, LINES_PER_PAGE = 18, 2
OBJECTIVE_LINE_LENGTH = 17
NAME_LENGTH, STRING_LENGTH = 7, 8
PAGE_END, PLAYER_NAME, STRING = 0x0C, 0x01, 0x02

FACINGS = {"down": 0, "up": 1, "left": 2, "right": 3}
STEPS = ((0, 1), (0, -1), (-1, 0), (1, 0))
MOVEMENTS = {"still": 0, "wander": 1, "look": 2}
MAP_LIMITS = {"warps": 12, "people": 10, "signs": 12, "gates": 8}
# The keys of each entry: those that must be there, those that may.
MAP_ENTRIES = {
    "warps": ({"at", "to", "to_at", "facing"}, set()),
    "people": ({"at", "sprite", "facing", "movement", "range", "script"}, {"if", "unless"}),
    "signs": ({"at", "script"}, set()),
    "gates": ({"at", "event", "closed"}, set()),
}

# Pixel letters of art/*.txt. Sprites have three shades of their own and '_' for "see through".
SHADES = {".": 0, ":": 1, "o": 2, "#": 3}
SPRITE_SHADES = {"_": 0, ".": 1, "o": 2, "#": 3}


class AssetError(Exception):
    """A source file says something that cannot be compiled; the message names the file and what to change."""


# --- reading ---------------------------------------------------------------------------------------------------------


def load_toml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AssetError(f"{path}: {error}") from error


def load_pictures(path: Path, shades: dict[str, int] = SHADES) -> dict[str, list[list[int]]]:
    """Read `@ name` blocks of pixel rows -> {name: rows of 2-bit shades}. ';' starts a comment; blanks are ignored."""
    pictures: dict[str, list[list[int]]] = {}
    rows: list[list[int]] | None = None
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        line = line.replace(" ", "")
        if not line or line.startswith(";"):
            continue
        if line.startswith("@"):
            name = line[1:]
            if name in pictures:
                raise AssetError(f"{path}:{number}: the block '{name}' is there twice")
            rows = pictures[name] = []
            continue
        if rows is None:
            raise AssetError(f"{path}:{number}: pixels before the first '@ name' line")
        unknown = set(line) - set(shades)
        if unknown:
            raise AssetError(f"{path}:{number}: unknown pixel letters {sorted(unknown)}; known are {' '.join(shades)}")
        if rows and len(line) != len(rows[0]):
            raise AssetError(f"{path}:{number}: {len(line)} pixels in a row of a picture that is {len(rows[0])} wide")
        rows.append([shades[letter] for letter in line])
    for name, rows in pictures.items():
        if not rows or len(rows) % 8 or len(rows[0]) % 8:
            width = len(rows[0]) if rows else 0
            raise AssetError(f"{path}: '{name}' is {width}x{len(rows)}; both must be multiples of 8")
    return pictures


def tiles_of(picture: list[list[int]]) -> list[bytes]:
    """Cut a picture into 8x8 tiles, left to right and top to bottom, 16 bytes each (Game Boy 2 bits per pixel)."""
    tiles = []
    for top in range(0, len(picture), 8):
        for left in range(0, len(picture[0]), 8):
            tile = bytearray()
            for row in picture[top : top + 8]:
                low = high = 0
                for shade in row[left : left + 8]:
                    low = low << 1 | shade & 1
                    high = high << 1 | shade >> 1
                tile += bytes((low, high))
            tiles.append(bytes(tile))
    return tiles


def take(pictures: dict, name: str, path: Path, width: int, height: int) -> list[bytes]:
    """The tiles of the block `name`, which must be width x height pixels."""
    if name not in pictures:
        raise AssetError(f"{path}: the block '@ {name}' is missing")
    picture = pictures[name]
    if (len(picture[0]), len(picture)) != (width, height):
        raise AssetError(f"{path}: '{name}' is {len(picture[0])}x{len(picture)} and must be {width}x{height}")
    return tiles_of(picture)


def byte(value: int, where: str) -> int:
    if not 0 <= value <= 255:
        raise AssetError(f"{where}: {value} does not fit into a byte")
    return value


def index_of(names: list[str], name: str, where: str) -> int:
    if name not in names:
        raise AssetError(f"{where}: '{name}' is unknown; known are {', '.join(names)}")
    return names.index(name)


def require(entry: dict, keys: str, where: str) -> None:
    missing = [key for key in keys.split() if key not in entry]
    if missing:
        raise AssetError(f"{where}: {', '.join(missing)} missing")


def padded(name: str, size: int, where: str) -> bytes:
    if len(name) >= size:
        raise AssetError(f"{where}: '{name}' has more than {size - 1} letters")
    return name.encode("ascii").ljust(size, b"\0")


# --- writing ---------------------------------------------------------------------------------------------------------


class Bank:
    """The arrays of one C file."""

    def __init__(self, file: str, number: int):
        self.file, self.number = file, number
        self.arrays: list[tuple[str, str, list[int]]] = []

    def add(self, name: str, values, ctype: str = "uint8_t") -> None:
        self.arrays.append((name, ctype, list(values)))

    @property
    def size(self) -> int:
        return sum(len(values) * (2 if ctype == "uint16_t" else 1) for _, ctype, values in self.arrays)

    def source(self) -> str:
        lines = [
            "/* Made by tools/build_assets.py: change the sources in art/, maps/ or data/ instead. */",
            '#include "ids.h"',
        ]
        for name, ctype, values in self.arrays:
            lines += ["", f"const {ctype} {name}[{len(values)}] = {{"]
            lines += ["    " + ", ".join(map(str, values[at : at + 24])) + "," for at in range(0, len(values), 24)]
            lines.append("};")
        return "\n".join(lines) + "\n"

    def externs(self) -> list[str]:
        return [f"extern const {ctype} {name}[{len(values)}];" for name, ctype, values in self.arrays]


class Header:
    def __init__(self):
        self.lines: list[str] = []

    def section(self, title: str) -> None:
        self.lines += ["", f"/* {title} */"]

    def define(self, name: str, value: object) -> None:
        self.lines.append(f"#define {name} {value}")

    def enumerate(self, title: str, prefix: str, names: list[str], first: int = 0) -> None:
        self.section(title)
        for number, name in enumerate(names, first):
            self.define(prefix + name, number)
        self.define(prefix + "COUNT", len(names))


def write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="ascii")
    os.replace(temporary, path)


# --- art -------------------------------------------------------------------------------------------------------------


class Tileset:
    """One tileset: its 8x8 tiles without repeats, its metatiles, and the letters that layouts use."""

    def __init__(self, name: str, entries: list[dict], folder: Path):
        self.name = name
        self.ids: dict[str, int] = {}
        self.chars: dict[str, int] = {}
        self.tiles: list[bytes] = []
        self.meta = [0] * (128 * 4)
        source = folder / "metatiles.toml"
        path = folder / f"metatiles_{name}.txt"
        pictures = load_pictures(path)
        unused = set(pictures) - {entry["name"] for entry in entries}
        if unused:
            raise AssetError(f"{path}: no entry in {source.name} for {', '.join(sorted(unused))}")
        for entry in entries:
            require(entry, "id char name", f"{source}: {name} {entry}")
            number, char, label = entry["id"], entry["char"], entry["name"]
            if not 0 <= number < 128 or number in self.ids.values() or label in self.ids or char in self.chars:
                raise AssetError(f"{source}: {name} '{label}': id, char and name must be its own, the id below 0x80")
            self.ids[label], self.chars[char] = number, number
            for corner, tile in enumerate(take(pictures, label, path, 16, 16)):
                if tile not in self.tiles:
                    self.tiles.append(tile)
                self.meta[number * 4 + corner] = self.tiles.index(tile)
        if len(self.tiles) > MAX_BG_TILES:
            raise AssetError(
                f"{path}: {len(self.tiles)} different 8x8 tiles; at most {MAX_BG_TILES} fit. Share some corners"
            )


def solid(metatile: int) -> bool:
    return metatile >= 0x40


def is_warp_class(metatile: int) -> bool:
    return 0x30 <= metatile < 0x40


def is_ledge(metatile: int) -> bool:
    return 0x28 <= metatile < 0x30


def compile_font(folder: Path) -> bytes:
    path = folder / "font.txt"
    tiles = [tile for picture in load_pictures(path).values() for tile in tiles_of(picture)]
    if len(tiles) != FONT_COUNT:
        raise AssetError(f"{path}: {len(tiles)} letters instead of {FONT_COUNT}")
    return b"".join(tiles)


def compile_ui(folder: Path) -> bytes:
    path = folder / "ui.txt"
    tiles = [tile for picture in load_pictures(path).values() for tile in tiles_of(picture)]
    if len(tiles) != UI_COUNT:
        raise AssetError(f"{path}: {len(tiles)} tiles instead of {UI_COUNT}")
    return b"".join(tiles)


def compile_sprites(folder: Path, names: list[str]) -> tuple[bytes, list[int]]:
    path = folder / "sprites.txt"
    pictures = load_pictures(path, SPRITE_SHADES)
    data, offsets = bytearray(), []
    for name in names:
        offsets.append(len(data))
        poses = ["down", "up", "left"]
        if name == "PLAYER":
            poses += ["down_walk", "up_walk", "left_walk"]
        for pose in poses:
            data += b"".join(take(pictures, f"{name}_{pose}", path, 16, 16))
    return bytes(data), offsets


def compile_title(folder: Path, font: bytes) -> tuple[bytes, list[int]]:
    path = folder / "title.txt"
    tiles: list[bytes] = []
    layout = []
    for tile in take(load_pictures(path), "title", path, 160, 144):
        if tile not in tiles:
            tiles.append(tile)
        layout.append(tiles.index(tile))
    if len(tiles) > MAX_BG_TILES:
        raise AssetError(f"{path}: {len(tiles)} different 8x8 tiles; at most {MAX_BG_TILES} fit")
    return b"".join(tiles), layout


# --- maps ------------------------------------------------------------------------------------------------------------


class GameMap:
    """One map: what is compiled (`blob`) and what the checks look at."""

    def __init__(self, path: Path, number: int, name: str, names: dict[str, list[str]], tilesets: list[Tileset]):
        self.path, self.number, self.name = path, number, name
        source = load_toml(path)
        known = {"title", "tileset", "border", "encounter_rate", "encounters", "layout", *MAP_LIMITS}
        if set(source) - known:
            raise AssetError(f"{path}: unknown keys {sorted(set(source) - known)}")
        for key in ("title", "tileset", "border", "layout"):
            if key not in source:
                raise AssetError(f"{path}: '{key}' is missing")
        self.title = source["title"]
        self.tileset_id = index_of([tileset.name for tileset in tilesets], source["tileset"], f"{path}: tileset")
        self.tileset = tilesets[self.tileset_id]
        self.border = self._metatile(source["border"], "border")
        self.rate = byte(source.get("encounter_rate", 0), f"{path}: encounter_rate")
        self.encounters = 0
        if self.rate:
            self.encounters = index_of(names["encounters"], source.get("encounters", ""), f"{path}: encounters")
        rows = source["layout"].strip("\n").split("\n")
        self.height, self.width = len(rows), len(rows[0])
        if self.height > 32 or self.width > 32:
            raise AssetError(f"{path}: {self.width}x{self.height} is larger than 32x32")
        self.layout: list[int] = []
        for y, row in enumerate(rows):
            if len(row) != self.width:
                raise AssetError(f"{path}: row {y} of the layout has {len(row)} letters, row 0 has {self.width}")
            for x, char in enumerate(row):
                if char not in self.tileset.chars:
                    raise AssetError(f"{path}: '{char}' at ({x}, {y}) is no letter of the {self.tileset.name} tileset")
                self.layout.append(self.tileset.chars[char])
        self._check_entries(source)
        self.warps = [self._warp(entry, names) for entry in source.get("warps", [])]
        self.people = [self._person(entry, names) for entry in source.get("people", [])]
        self.signs = [self._sign(entry, names) for entry in source.get("signs", [])]
        self.gates = [self._gate(entry, names) for entry in source.get("gates", [])]

    def _check_entries(self, source: dict) -> None:
        for key, (required, optional) in MAP_ENTRIES.items():
            entries = source.get(key, [])
            if len(entries) > MAP_LIMITS[key]:
                raise AssetError(f"{self.path}: more than {MAP_LIMITS[key]} {key}")
            places = [tuple(entry.get("at", ())) for entry in entries]
            for place, entry in zip(places, entries, strict=True):
                if not required <= set(entry) <= required | optional:
                    raise AssetError(f"{self.path}: {key} {entry}: the keys must be {sorted(required)}")
                if places.count(place) > 1:
                    raise AssetError(f"{self.path}: two {key} at {place}")

    def _metatile(self, label: str, where: str) -> int:
        if label not in self.tileset.ids:
            raise AssetError(f"{self.path}: {where}: the {self.tileset.name} tileset has no '{label}'")
        return self.tileset.ids[label]

    def _place(self, entry: dict) -> tuple[int, int]:
        x, y = entry["at"]
        if not (0 <= x < self.width and 0 <= y < self.height):
            raise AssetError(f"{self.path}: ({x}, {y}) lies outside the map")
        return x, y

    def _warp(self, entry: dict, names: dict) -> tuple:
        x, y = self._place(entry)
        to = index_of(names["maps"], entry["to"], f"{self.path}: warp at ({x}, {y})")
        facing = index_of(list(FACINGS), entry["facing"], f"{self.path}: warp at ({x}, {y})")
        return x, y, to, *entry["to_at"], facing

    def _person(self, entry: dict, names: dict) -> tuple:
        x, y = self._place(entry)
        where = f"{self.path}: person at ({x}, {y})"
        flag = 0
        if "if" in entry and "unless" in entry:
            raise AssetError(f"{where}: 'if' or 'unless', not both")
        if "if" in entry:
            flag = index_of(names["events"], entry["if"], where) + 1
        if "unless" in entry:
            flag = 0x80 | index_of(names["events"], entry["unless"], where) + 1
        return (
            x,
            y,
            index_of(names["sprites"], entry["sprite"], where),
            index_of(list(FACINGS), entry["facing"], where),
            index_of(list(MOVEMENTS), entry["movement"], where),
            byte(entry["range"], where),
            index_of(names["texts"], entry["script"], where) + 1,
            flag,
        )

    def _sign(self, entry: dict, names: dict) -> tuple:
        x, y = self._place(entry)
        if not solid(self.at(x, y)):
            raise AssetError(f"{self.path}: the sign at ({x}, {y}) is not on a solid tile")
        return x, y, index_of(names["texts"], entry["script"], f"{self.path}: sign at ({x}, {y})") + 1

    def _gate(self, entry: dict, names: dict) -> tuple:
        x, y = self._place(entry)
        event = index_of(names["events"], entry["event"], f"{self.path}: gate at ({x}, {y})") + 1
        closed = self._metatile(entry["closed"], "gate")
        if solid(self.at(x, y)) or not solid(closed):
            raise AssetError(f"{self.path}: gate at ({x}, {y}): the layout must be walkable, the closed metatile solid")
        return x, y, event, closed

    def at(self, x: int, y: int) -> int:
        return self.layout[y * self.width + x]

    def blob(self) -> bytes:
        head = [self.width, self.height, self.tileset_id, self.border, self.rate, self.encounters]
        lists = (self.warps, self.people, self.signs, self.gates)
        data = bytes(head + [len(entries) for entries in lists] + self.layout)
        return data + b"".join(bytes(entry) for entries in lists for entry in entries)

    # What the checks ask. A "block" is a set of tiles nobody can stand on.

    def fixed_people(self) -> set[tuple[int, int]]:
        return {(person[0], person[1]) for person in self.people if person[4] != MOVEMENTS["wander"]}

    def walk(self, start: tuple[int, int], blocked: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Every tile that one can stand on from `start`, warps included (they end the walk), ledges hopped down."""
        seen, queue = {start}, deque([start])
        while queue:
            x, y = queue.popleft()
            for tile in self.neighbours(x, y, blocked):
                if tile not in seen:
                    seen.add(tile)
                    if tile not in self.warp_tiles:
                        queue.append(tile)
        return seen

    def neighbours(self, x: int, y: int, blocked: set[tuple[int, int]]):
        for facing, (dx, dy) in enumerate(STEPS):
            to_x, to_y = x + dx, y + dy
            if not (0 <= to_x < self.width and 0 <= to_y < self.height):
                continue
            if is_ledge(self.at(to_x, to_y)):
                if facing != FACINGS["down"]:
                    continue
                to_y += 1
                if to_y >= self.height or is_ledge(self.at(to_x, to_y)):
                    continue
            if not solid(self.at(to_x, to_y)) and (to_x, to_y) not in blocked:
                yield to_x, to_y

    @property
    def warp_tiles(self) -> set[tuple[int, int]]:
        return {(warp[0], warp[1]) for warp in self.warps}

    def wander_square(self, person: tuple) -> set[tuple[int, int]]:
        """Where a wandering person can get to: the square around home, walkable, no ledge, no warp, reached on foot."""
        home_x, home_y, reach = person[0], person[1], person[5]
        seen, queue = {(home_x, home_y)}, deque([(home_x, home_y)])
        while queue:
            x, y = queue.popleft()
            for dx, dy in STEPS:
                tile = to_x, to_y = x + dx, y + dy
                if tile in seen or not (0 <= to_x < self.width and 0 <= to_y < self.height):
                    continue
                metatile = self.at(to_x, to_y)
                inside = abs(to_x - home_x) <= reach and abs(to_y - home_y) <= reach
                if inside and metatile < 0x28 and tile not in self.fixed_people():
                    seen.add(tile)
                    queue.append(tile)
        return seen


def beside(x: int, y: int) -> list[tuple[int, int]]:
    return [(x + dx, y + dy) for dx, dy in STEPS]


def check_maps(maps: list[GameMap], start: tuple[int, int, int], heal: tuple[int, int, int]) -> None:
    """Raise AssetError where a map could not be played: see each message."""
    arrivals: list[set[tuple[int, int]]] = [set() for _ in maps]
    for number, x, y in (start, heal):
        arrivals[number].add((x, y))
    for game_map in maps:
        for x, y, to, to_x, to_y, _ in game_map.warps:
            where = f"{game_map.path}: warp at ({x}, {y})"
            if not is_warp_class(game_map.at(x, y)):
                raise AssetError(f"{where}: its metatile is not of the warp class (0x30-0x3F)")
            target = maps[to]
            if not (0 <= to_x < target.width and 0 <= to_y < target.height):
                raise AssetError(f"{where}: ({to_x}, {to_y}) lies outside {target.name}")
            metatile = target.at(to_x, to_y)
            if solid(metatile) or is_ledge(metatile) or (to_x, to_y) in target.warp_tiles:
                raise AssetError(f"{where}: ({to_x}, {to_y}) in {target.name} is solid, a ledge or a warp itself")
            arrivals[to].add((to_x, to_y))
        for tile_y in range(game_map.height):
            for tile_x in range(game_map.width):
                if is_warp_class(game_map.at(tile_x, tile_y)) and (tile_x, tile_y) not in game_map.warp_tiles:
                    raise AssetError(f"{game_map.path}: ({tile_x}, {tile_y}) looks like a warp and has none")
    for game_map in maps:
        check_map(game_map, arrivals[game_map.number])


def check_map(game_map: GameMap, arrivals: set[tuple[int, int]]) -> None:
    path = game_map.path
    if not arrivals:
        raise AssetError(f"{path}: nothing leads here")
    fixed = game_map.fixed_people()
    for person in game_map.people:
        x, y = person[:2]
        # A still person may stand on furniture (the balls on their table); who walks needs a floor under the feet.
        if person[4] == MOVEMENTS["wander"] and solid(game_map.at(x, y)):
            raise AssetError(f"{path}: the person at ({x}, {y}) wanders and stands on a solid tile")
        if (x, y) in arrivals or (x, y) in game_map.warp_tiles:
            raise AssetError(f"{path}: the person at ({x}, {y}) stands where one arrives or leaves")
    places = {
        *((f"warp at {tile}", frozenset([tile])) for tile in game_map.warp_tiles),
        *((f"person at {person[:2]}", frozenset(beside(*person[:2]))) for person in game_map.people),
        *((f"sign at {sign[:2]}", frozenset(beside(*sign[:2]))) for sign in game_map.signs),
        *((f"arrival at {tile}", frozenset([tile])) for tile in arrivals),
    }
    reach = {tile: game_map.walk(tile, fixed) for tile in arrivals}
    everywhere = set().union(*reach.values())
    for tile, seen in reach.items():
        for label, goals in places:
            if not goals & seen:
                raise AssetError(f"{path}: from {tile} one cannot reach the {label}")
    home = next(iter(sorted(arrivals)))
    for tile in sorted(everywhere - game_map.warp_tiles):
        if home not in game_map.walk(tile, fixed):
            raise AssetError(f"{path}: from {tile} one cannot get back to {home}")
    # Nobody may stand where the way for the player would be cut: neither one person nor two together.
    squares = [
        (person, game_map.wander_square(person)) for person in game_map.people if person[4] == MOVEMENTS["wander"]
    ]
    for person, square in squares:
        doorstep = square & arrivals
        if doorstep:
            raise AssetError(
                f"{path}: the person at {person[:2]} can wander onto {sorted(doorstep)}, where one arrives"
            )
    for position, (person, square) in enumerate(squares):
        for tile in sorted(square):
            cut = cutting_tiles(game_map, home, fixed | {tile})
            if cut is None:
                raise AssetError(f"{path}: the person at {person[:2]} can cut the way by standing at {tile}")
            for other, other_square in squares[position + 1 :]:
                both = (cut & other_square) - {tile}
                if both:
                    raise AssetError(
                        f"{path}: the people at {person[:2]} and {other[:2]} can cut the way together, at {tile} and "
                        f"{sorted(both)[0]}"
                    )


def cutting_tiles(
    game_map: GameMap, home: tuple[int, int], blocked: set[tuple[int, int]]
) -> set[tuple[int, int]] | None:
    """Tiles whose loss would cut off a way out from `home`; None if `blocked` cuts one off already.

    All warps to one map count as one way out, written (-1, map), and the search passes through it as if it were a
    tile. Ledges count as walls here, so what this allows works without hopping.
    """
    leads_to = {(warp[0], warp[1]): (-1, warp[2]) for warp in game_map.warps}
    goals = set(leads_to.values())

    def steps(tile: tuple[int, int]) -> list[tuple[int, int]]:
        return [to for to in game_map.neighbours(*tile, blocked) if abs(to[0] - tile[0]) + abs(to[1] - tile[1]) == 1]

    def around(tile: tuple[int, int]) -> list[tuple[int, int]]:
        if tile in goals:
            return [to for warp in leads_to if leads_to[warp] == tile for to in steps(warp) if to not in leads_to]
        return [leads_to.get(to, to) for to in steps(tile)]

    order = {home: 0}
    low = {home: 0}
    holds = {home: home in goals}
    cut: set[tuple[int, int]] = set()
    stack = [(home, None, iter(around(home)))]
    while stack:
        tile, parent, todo = stack[-1]
        for to in todo:
            if to == parent:
                continue
            if to in order:
                low[tile] = min(low[tile], order[to])
                continue
            order[to] = low[to] = len(order)
            holds[to] = to in goals
            stack.append((to, tile, iter(around(to))))
            break
        else:
            stack.pop()
            if parent is None:
                continue
            low[parent] = min(low[parent], low[tile])
            if low[tile] >= order[parent] and holds[tile] and parent != home:
                cut.add(parent)
            holds[parent] = holds[parent] or holds[tile]
    if not goals <= set(order):
        return None
    return cut


# --- words and numbers -----------------------------------------------------------------------------------------------


def compile_texts(path: Path) -> tuple[list[str], bytes, list[int]]:
    texts = load_toml(path)
    data, offsets = bytearray(b"\0"), [0]
    for name, text in texts.items():
        if not name.startswith("T_"):
            raise AssetError(f"{path}: {name}: the names of texts start with T_")
        offsets.append(len(data))
        pages = []
        for page in text.strip("\n").split("\n\n"):
            lines = page.split("\n")
            if not page or len(lines) > LINES_PER_PAGE:
                raise AssetError(f"{path}: {name}: a page has 1 to {LINES_PER_PAGE} lines: {page!r}")
            for line in lines:
                full = line.replace("{name}", "N" * NAME_LENGTH).replace("{mon}", "M" * STRING_LENGTH)
                if len(full) > LINE_LENGTH:
                    raise AssetError(f"{path}: {name}: {len(full)} characters, at most {LINE_LENGTH}: {line!r}")
            pages.append(page.replace("{name}", chr(PLAYER_NAME)).replace("{mon}", chr(STRING)))
        data += chr(PAGE_END).join(pages).encode("ascii") + b"\0"
    if len(offsets) > 256:
        raise AssetError(f"{path}: {len(offsets) - 1} texts; a script id is a byte")
    return list(texts), bytes(data), offsets


def compile_objectives(story: dict, path: Path) -> tuple[list[str], bytes, list[int], list[int]]:
    names, data, offsets, icons = [], bytearray(), [], []
    for entry in story["objective"]:
        require(entry, "id icon text", f"{path}: objective {entry.get('id', '?')}")
        names.append(entry["id"])
        offsets.append(len(data))
        icons.append(index_of(story["icons"], entry["icon"], f"{path}: objective {entry['id']}"))
        if len(entry["text"]) != 2 or any(len(line) > OBJECTIVE_LINE_LENGTH for line in entry["text"]):
            raise AssetError(
                f"{path}: objective {entry['id']}: two lines of at most {OBJECTIVE_LINE_LENGTH} characters"
            )
        data += "\n".join(entry["text"]).encode("ascii") + b"\0"
    return names, bytes(data), offsets, icons


def compile_numbers(bank: Bank, header: Header, monsters: dict, story: dict, maps: list[GameMap], path: Path) -> None:
    require(monsters, "types beats move species encounters trainer", str(path))
    for kind, keys in (
        ("move", "id type power accuracy pp effect"),
        ("species", "id type hp attack defense speed catch_rate moves"),
        ("encounters", "id slots"),
        ("trainer", "id level money pic"),
    ):
        for entry in monsters[kind]:
            require(entry, keys, f"{path}: {kind} {entry.get('id', '?')}")
    types = monsters["types"]
    moves = [move["id"] for move in monsters["move"]]
    species = [entry["id"] for entry in monsters["species"]]
    header.enumerate("types", "TYPE_", types)
    header.enumerate("moves", "MV_", moves, 1)
    header.enumerate("species", "SP_", species, 1)
    header.enumerate("items", "ITEM_", story["items"])
    header.enumerate("encounter tables", "ENC_", [table["id"] for table in monsters["encounters"]])
    header.enumerate("trainers", "TRAINER_", [trainer["id"] for trainer in monsters["trainer"]], 1)

    rows = bytearray()
    for entry in monsters["species"]:
        where = f"{path}: species {entry['id']}"
        known = [index_of(moves, move, where) + 1 for move in entry["moves"]]
        if not 1 <= len(known) <= 4:
            raise AssetError(f"{where}: 1 to 4 moves")
        row = [index_of(types, entry["type"], where)]
        row += [byte(entry[key], f"{where}: {key}") for key in ("hp", "attack", "defense", "speed", "catch_rate")]
        rows += bytes(row + known + [0] * (4 - len(known))).ljust(16, b"\0")
    bank.add("species_data", rows)

    rows = bytearray()
    for entry in monsters["move"]:
        where = f"{path}: move {entry['id']}"
        row = [index_of(types, entry["type"], where)]
        row += [byte(entry[key], f"{where}: {key}") for key in ("power", "accuracy", "pp", "effect")]
        rows += bytes(row).ljust(8, b"\0")
    bank.add("move_data", rows)

    def names(label: str, entries: list[str], size: int) -> None:
        bank.add(label, b"".join(padded(name, size, f"{path.parent}: {label}") for name in entries))
        header.define(label.upper().rstrip("S") + "_SIZE", size)

    header.section("bytes per name")
    names("species_names", [entry.get("name", entry["id"]) for entry in monsters["species"]], 9)
    names("move_names", [entry.get("name", entry["id"]) for entry in monsters["move"]], 7)
    names("type_names", types, 7)
    names("item_names", story["items"], 9)
    names("map_names", [game_map.title for game_map in maps], 13)

    rows = bytearray()
    for table in monsters["encounters"]:
        where = f"{path}: encounters {table['id']}"
        if len(table["slots"]) != 4 or sum(slot.get("weight", 0) for slot in table["slots"]) != 256:
            raise AssetError(f"{where}: four slots whose weights add up to 256")
        for slot in table["slots"]:
            require(slot, "species min max weight", where)
            if not 1 <= slot["min"] <= slot["max"] <= 100:
                raise AssetError(f"{where}: levels {slot['min']} to {slot['max']}")
            number = index_of(species, slot["species"], where) + 1
            rows += bytes((number, slot["min"], slot["max"], byte(slot["weight"], where)))
    bank.add("encounter_tables", rows)

    rows = bytearray()
    for trainer in monsters["trainer"]:
        where = f"{path}: trainer {trainer['id']}"
        number = index_of(species, trainer["species"], where) + 1 if "species" in trainer else 0
        pic = 2 * len(species) + index_of(["PIC_" + name for name in story["pictures"]], trainer["pic"], where)
        rows += bytes((number, trainer["level"], byte(trainer["money"], where), pic))
    bank.add("trainer_data", rows)

    chart = [[8] * len(types) for _ in types]
    for winner, loser in monsters["beats"].items():
        attack, defend = index_of(types, winner, f"{path}: beats"), index_of(types, loser, f"{path}: beats")
        chart[attack][defend] = 16
        chart[defend][attack] = 4
    bank.add("type_chart", [value for row in chart for value in row])


# --- the program -----------------------------------------------------------------------------------------------------


def build(root: Path, out: Path) -> list[Bank]:
    """Compile everything below `root` into `out`; return the banks with their arrays (previews read them)."""
    story_path, monsters_path, text_path = (root / "data" / f"{name}.toml" for name in ("story", "monsters", "text"))
    story, monsters = load_toml(story_path), load_toml(monsters_path)
    require(story, "maps events sprites icons pictures items start heal objective", str(story_path))
    require(monsters, "species encounters", str(monsters_path))
    art, pics, maps_bank, text, data = (
        Bank(file, number) for file, number in (("art", 2), ("pics", 3), ("maps", 4), ("text", 5), ("data", 1))
    )
    header = Header()

    text_names, text_data, text_offsets = compile_texts(text_path)
    objectives, objective_data, objective_offsets, objective_icons = compile_objectives(story, story_path)
    header.enumerate("maps", "MAP_", story["maps"])
    header.enumerate("events", "EV_", story["events"], 1)
    header.enumerate("objectives", "OBJ_", objectives)
    header.section("texts, which are scripts as well")
    for number, name in enumerate(text_names, 1):
        header.define(name, number)
    header.define("T_COUNT", len(text_names))
    header.enumerate("overworld sprites", "SPR_", story["sprites"])
    header.enumerate("objective icons", "ICON_", story["icons"])

    # Art
    folder = root / "art"
    font = compile_font(folder)
    art.add("font_tiles", font)
    art.add("ui_tiles", compile_ui(folder))
    metatiles = load_toml(folder / "metatiles.toml")
    tilesets = [Tileset(name, metatiles[name], folder) for name in ("outdoor", "indoor")]
    header.section("sizes in bytes")
    for tileset in tilesets:
        tiles = b"".join(tileset.tiles)
        art.add(f"{tileset.name}_tiles", tiles)
        art.add(f"{tileset.name}_meta", tileset.meta)
        header.define(f"{tileset.name.upper()}_TILES_LEN", len(tiles))
    sprites, sprite_offsets = compile_sprites(folder, story["sprites"])
    art.add("sprite_tiles", sprites)
    art.add("sprite_offset", sprite_offsets, "uint16_t")
    header.section("sprites: 0 is see-through, 1 white, 2 dark, 3 black, so OBP0 and OBP1 must hold this")
    header.define("SPRITE_PALETTE", "0xE0")
    icons_path = folder / "icons.txt"
    icons = load_pictures(icons_path)
    art.add("icon_tiles", b"".join(tile for name in story["icons"] for tile in take(icons, name, icons_path, 16, 16)))
    title, title_map = compile_title(folder, font)
    art.add("title_tiles", title)
    art.add("title_map", title_map)
    header.define("TITLE_TILES_LEN", len(title))

    # Pictures of monsters and people, 5x5 tiles
    species = [entry["id"] for entry in monsters["species"]]
    pics_path = folder / "pics.txt"
    pictures = load_pictures(pics_path)
    names = [f"{name}_{side}" for name in species for side in ("front", "back")] + story["pictures"]
    pics.add("pics", b"".join(tile for name in names for tile in take(pictures, name, pics_path, 40, 40)))
    header.section("pictures: 25 tiles each, at pics + index * PIC_BYTES")
    header.define("PIC_BYTES", PIC_BYTES)
    header.define("PIC_FRONT(species)", "(((species) - 1) * 2)")
    header.define("PIC_BACK(species)", "(((species) - 1) * 2 + 1)")
    for number, name in enumerate(story["pictures"], 2 * len(species)):
        header.define("PIC_" + name, number)

    # Maps
    known = {
        "maps": story["maps"],
        "events": story["events"],
        "sprites": story["sprites"],
        "texts": text_names,
        "encounters": [table["id"] for table in monsters["encounters"]],
    }
    maps = [
        GameMap(root / "maps" / f"{name.lower()}.toml", number, name, known, tilesets)
        for number, name in enumerate(story["maps"])
    ]
    header.section("where a game starts, and where one wakes up after a lost battle")
    places = []
    for key in ("start", "heal"):
        place = story[key]
        require(place, "map at", f"{story_path}: {key}")
        number, (x, y) = index_of(story["maps"], place["map"], f"{story_path}: {key}"), place["at"]
        places.append((number, x, y))
        for suffix, value in zip(("MAP", "X", "Y"), places[-1], strict=True):
            header.define(f"{key.upper()}_{suffix}", value)
    check_maps(maps, *places)
    map_data, map_offsets = bytearray(), []
    for game_map in maps:
        map_offsets.append(len(map_data))
        map_data += game_map.blob()
    maps_bank.add("map_data", map_data)
    maps_bank.add("map_offset", map_offsets, "uint16_t")

    # Words and numbers
    text.add("text_data", text_data)
    text.add("text_offset", text_offsets, "uint16_t")
    text.add("objective_text", objective_data)
    text.add("objective_offset", objective_offsets, "uint16_t")
    text.add("objective_icon", objective_icons)
    compile_numbers(data, header, monsters, story, maps, monsters_path)

    banks = [art, pics, maps_bank, text, data]
    for bank in banks:
        if bank.size > BANK_LIMIT:
            raise AssetError(f"{bank.file}.c needs {bank.size} bytes and a bank has {BANK_LIMIT}: take something out")
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        "/* Made by tools/build_assets.py: change the sources in art/, maps/ or data/ instead. */",
        "#ifndef IDS_H",
        "#define IDS_H",
        "#include <stdint.h>",
        *header.lines,
        "",
        "/* the arrays, by file and bank */",
    ]
    for bank in banks:
        write_atomically(out / f"{bank.file}.c", bank.source())
        lines += [f"/* {bank.file}.c, bank {bank.number} */", *bank.externs()]
    write_atomically(out / "ids.h", "\n".join([*lines, "", "#endif"]) + "\n")
    return banks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gen", help="folder for the C files")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder with art/, maps/ and data/")
    arguments = parser.parse_args()
    try:
        banks = build(arguments.root, arguments.out)
    except AssetError as error:
        print(f"build_assets: {error}", file=sys.stderr)
        return 1
    for bank in banks:
        print(f"{bank.file}.c: bank {bank.number}, {bank.size} of {BANK_LIMIT} bytes")
    for name, _, values in banks[0].arrays:
        print(f"  {name}: {len(values)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
