"""Art as tiles: tilesets of metatiles, font, sprites, the title."""

from __future__ import annotations

from pathlib import Path

from asset_files import SPRITE_SHADES, AssetError, load_pictures, require, take, tiles_of

FONT_COUNT = 96
UI_COUNT = 32
MAX_BG_TILES = 124  # the last four of the 128 hold the compass


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
            raise AssetError(f"{path}: {len(self.tiles)} different 8x8 tiles; at most {MAX_BG_TILES} fit. Share some corners")


def solid(metatile: int) -> bool:
    return metatile >= 0x40


def is_warp_class(metatile: int) -> bool:
    return 0x30 <= metatile < 0x40


def is_ledge(metatile: int) -> bool:
    return 0x28 <= metatile < 0x30


def compile_sheet(path: Path, count: int) -> bytes:
    """All tiles of a file in their order; there must be `count`."""
    tiles = [tile for picture in load_pictures(path).values() for tile in tiles_of(picture)]
    if len(tiles) != count:
        raise AssetError(f"{path}: {len(tiles)} tiles instead of {count}")
    return b"".join(tiles)


def compile_compass(path: Path) -> bytes:
    """Eight arrows of 2x2 tiles, clockwise from north; the file holds the first two, the others are these turned."""
    pictures = load_pictures(path)
    data = bytearray()
    turned = {name: take_picture(pictures, name, path) for name in ("NORTH", "NORTH_EAST")}
    for _ in range(4):
        for name, picture in turned.items():
            data += b"".join(tiles_of(picture))
            turned[name] = [list(column) for column in zip(*reversed(picture), strict=True)]
    return bytes(data)


def take_picture(pictures: dict, name: str, path: Path) -> list[list[int]]:
    take(pictures, name, path, 16, 16)  # refuses what is missing or has another size
    return pictures[name]


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


def compile_mark(folder: Path) -> bytes:
    path = folder / "sprites.txt"
    return b"".join(take(load_pictures(path, SPRITE_SHADES), "MARK", path, 16, 16))


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
