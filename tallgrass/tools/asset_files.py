"""Reading the sources (TOML, pixel art) and writing C: what the asset compiler's parts share."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Pixel letters of art/*.txt. Sprites have three shades of their own and '_' for "see through".
SHADES = {".": 0, ":": 1, "o": 2, "#": 3}
SPRITE_SHADES = {"_": 0, ".": 1, "o": 2, "#": 3}


class AssetError(Exception):
    """A source file says something that cannot be compiled; the message names the file and what to change."""


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
