"""What the two render tools share: the compiled tiles, turned into pictures. Needs Pillow."""

from __future__ import annotations

import tempfile
from pathlib import Path

import build_assets
from PIL import Image

BG_SHADES = (255, 170, 85, 0)
# Sprites: 0 is see-through, 1 white, 2 dark, 3 black (palette OBP0 = 0xE0).
SPRITE_SHADES = (None, 255, 85, 0)
BLANK = 0x80


class Game:
    """The arrays that build_assets.py makes, by name, and the numbers of ids.h."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as folder:
            banks = build_assets.build(build_assets.ROOT, Path(folder))
            header = (Path(folder) / "ids.h").read_text(encoding="ascii")
        self.arrays = {name: values for bank in banks for name, _, values in bank.arrays}
        words = (line.split() for line in header.splitlines() if line.startswith("#define "))
        self.ids = {word[1]: int(word[2]) for word in words if len(word) == 3 and word[2].isdigit()}

    def names(self, prefix: str) -> dict[int, str]:
        """The names of one enumeration of ids.h, e.g. "MAP_" -> {0: "BEDROOM", ...}."""
        found = {value: name[len(prefix) :] for name, value in self.ids.items() if name.startswith(prefix)}
        return {value: name for value, name in found.items() if name != "COUNT" and not name.endswith("_SIZE")}

    def tile(self, array: str, index: int, shades: tuple = BG_SHADES) -> Image.Image:
        """One 8x8 tile as an "LA" picture (grey and opacity)."""
        data = self.arrays[array][index * 16 : index * 16 + 16]
        picture = Image.new("LA", (8, 8))
        for y in range(8):
            for x in range(8):
                shade = shades[data[2 * y] >> 7 - x & 1 | (data[2 * y + 1] >> 7 - x & 1) << 1]
                picture.putpixel((x, y), (0, 0) if shade is None else (shade, 255))
        return picture

    def tiles(self, array: str, first: int, columns: int, rows: int, shades: tuple = BG_SHADES) -> Image.Image:
        picture = Image.new("LA", (columns * 8, rows * 8))
        for number in range(columns * rows):
            picture.paste(self.tile(array, first + number, shades), (number % columns * 8, number // columns * 8))
        return picture

    def screen_tile(self, index: int) -> Image.Image:
        """A tile of the text screen: 0x80-0x9F boxes and marks, 0xA0-0xFF letters."""
        return self.tile("ui_tiles", index - 0x80) if index < 0xA0 else self.tile("font_tiles", index - 0xA0)

    def write(self, picture: Image.Image, text: str, x: int, y: int) -> None:
        for number, letter in enumerate(text):
            picture.paste(self.screen_tile(ord(letter) | 0x80), (x + number * 8, y))

    def metatile(self, tileset: int, number: int) -> Image.Image:
        name = ("outdoor", "indoor")[tileset]
        picture = Image.new("LA", (16, 16))
        for corner, tile in enumerate(self.arrays[f"{name}_meta"][number * 4 : number * 4 + 4]):
            picture.paste(self.tile(f"{name}_tiles", tile), (corner % 2 * 8, corner // 2 * 8))
        return picture

    def sprite(self, kind: int, facing: int, walking: bool = False) -> Image.Image:
        pose = min(facing, 2) + (3 if walking else 0)
        first = self.arrays["sprite_offset"][kind] // 16 + pose * 4
        picture = self.tiles("sprite_tiles", first, 2, 2, SPRITE_SHADES)
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if facing == 3 else picture


class MapData:
    """One map, decoded from the compiled bytes."""

    def __init__(self, game: Game, number: int):
        self.game, self.number = game, number
        # The offsets count from the table itself, which lies before the maps.
        data = game.arrays["map_data"][game.arrays["map_offset"][number] - 2 * len(game.arrays["map_offset"]) :]
        self.width, self.height, self.tileset, self.border = data[:4]
        self.counts = data[6:10]
        at = 12 + self.width * self.height
        self.layout = data[12:at]
        self.lists = []
        for count, size in zip(self.counts, (6, 8, 3, 4), strict=True):
            self.lists.append([data[at + i * size : at + (i + 1) * size] for i in range(count)])
            at += count * size
        self.warps, self.people, self.signs, self.gates = self.lists

    def draw(self, margin: int = 0, closed: bool = False, people: bool = True) -> Image.Image:
        """The whole map with `margin` metatiles of border around it; `closed` draws the gates shut."""
        layout = list(self.layout)
        if closed:
            for x, y, _, metatile in self.gates:
                layout[y * self.width + x] = metatile
        picture = Image.new("LA", ((self.width + 2 * margin) * 16, (self.height + 2 * margin) * 16))
        for y in range(-margin, self.height + margin):
            for x in range(-margin, self.width + margin):
                inside = 0 <= x < self.width and 0 <= y < self.height
                metatile = layout[y * self.width + x] if inside else self.border
                picture.paste(self.game.metatile(self.tileset, metatile), ((x + margin) * 16, (y + margin) * 16))
        if people:
            for person in self.people:
                sprite = self.game.sprite(person[2], person[3])
                picture.alpha_composite(sprite, ((person[0] + margin) * 16, (person[1] + margin) * 16))
        return picture
