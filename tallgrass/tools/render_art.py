#!/usr/bin/env python3
"""Draw contact sheets of everything compiled (letters, tiles, people, icons, pictures, mock screens). Needs Pillow.

The mock screens are also drawn as a student sees them: 84x84 pixels, shrunk with PIL's bilinear filter.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image
from preview import BLANK, Game, MapData

BACK = (200, 255)


def sheet(pictures: list[Image.Image], columns: int, gap: int = 4) -> Image.Image:
    width = max(picture.width for picture in pictures) + gap
    height = max(picture.height for picture in pictures) + gap
    rows = -(-len(pictures) // columns)
    whole = Image.new("LA", (columns * width + gap, rows * height + gap), BACK)
    for number, picture in enumerate(pictures):
        whole.alpha_composite(picture, (number % columns * width + gap, number // columns * height + gap))
    return whole


def save(picture: Image.Image, path: Path, scale: int = 1) -> None:
    size = (picture.width * scale, picture.height * scale)
    picture.convert("L").resize(size, Image.Resampling.NEAREST).save(path)
    print(path)


def strip(game: Game, picture: Image.Image, objective: int, y: int) -> None:
    """The objective strip: icon and two lines of text, on the screen's rows y to y + 15."""
    picture.paste((255, 255), (0, y, 160, y + 16))
    picture.paste(game.tiles("icon_tiles", game.arrays["objective_icon"][objective] * 4, 2, 2), (0, y))
    at = game.arrays["objective_offset"][objective]
    text = bytes(game.arrays["objective_text"][at:]).split(b"\0")[0].decode("ascii")
    for number, line in enumerate(text.split("\n")):
        game.write(picture, line, 24, y + 8 * number)


def overworld(game: Game, number: int, x: int, y: int, facing: int, objective: int, closed: bool) -> Image.Image:
    """The screen with the player at (x, y): 10x8 metatiles, the player at pixel (64, 64), the strip below."""
    margin = 6
    whole = MapData(game, number).draw(margin, closed)
    whole.alpha_composite(game.sprite(0, facing), ((x + margin) * 16, (y + margin) * 16))
    left, top = (x + margin - 4) * 16, (y + margin - 4) * 16
    picture = whole.crop((left, top, left + 160, top + 144))
    strip(game, picture, objective, 128)
    return picture


def text_box(game: Game, picture: Image.Image, lines: list[str], top: int) -> None:
    corners = [[0x82, 0x83, 0x84], [0x85, BLANK, 0x86], [0x87, 0x88, 0x89]]
    for row in range(4):
        for column in range(20):
            kind = corners[0 if row == 0 else 2 if row == 3 else 1][0 if column == 0 else 2 if column == 19 else 1]
            picture.paste(game.screen_tile(kind), (column * 8, top + row * 8))
    for number, line in enumerate(lines):
        game.write(picture, line, 8, top + 8 + 8 * number)
    picture.paste(game.screen_tile(0x8B), (18 * 8, top + 24))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("/tmp/tallgrass_art"), help="folder for the sheets")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    game = Game()

    letters = game.tiles("font_tiles", 0, 16, 6)
    marks = game.tiles("ui_tiles", 0, 16, 2)
    save(sheet([letters, marks], 1), out / "font.png", 4)
    used = [
        [game.metatile(tileset, number) for number in range(128) if any(game.arrays[name][number * 4 : number * 4 + 4])]
        for tileset, name in enumerate(("outdoor_meta", "indoor_meta"))
    ]
    save(sheet(used[0], 10), out / "outdoor.png", 5)
    save(sheet(used[1], 10), out / "indoor.png", 5)
    people = []
    for kind in game.names("SPR_"):
        people += [game.sprite(kind, facing) for facing in range(4)]
        if kind == 0:
            people += [game.sprite(kind, facing, True) for facing in range(4)]
    save(sheet(people, 8), out / "people.png", 6)
    icons = [game.tiles("icon_tiles", number * 4, 2, 2) for number in game.names("ICON_")]
    small = [icon.resize((8, 8), Image.Resampling.BILINEAR).resize((16, 16), Image.Resampling.NEAREST) for icon in icons]
    save(sheet(icons + small, 10), out / "icons.png", 6)
    pictures = [game.tiles("pics", number * 25, 5, 5) for number in range(len(game.arrays["pics"]) // 400)]
    save(sheet(pictures, 5), out / "pics.png", 4)
    title = Image.new("LA", (160, 144))
    for number, tile in enumerate(game.arrays["title_map"]):
        title.paste(game.tile("title_tiles", tile), (number % 20 * 8, number // 20 * 8))

    maps, objectives = ({name: value for value, name in game.names(prefix).items()} for prefix in ("MAP_", "OBJ_"))
    screens = [title]
    for name, x, y, facing, objective, closed in (
        ("BEDROOM", 2, 3, 3, "SET_CLOCK", True),
        ("BEDROOM", 6, 2, 1, "GO_DOWN", False),
        ("HOUSE_1F", 4, 4, 3, "TALK_MOM", True),
        ("HOUSE_1F", 4, 4, 0, "GO_OUT", False),
        ("TOWN", 7, 7, 2, "VISIT_RIVAL", True),
        ("TOWN", 16, 18, 1, "GO_LAB", True),
        ("TOWN", 16, 18, 1, "GO_LAB", False),
        ("TOWN", 11, 3, 1, "GO_NORTH", True),
        ("TOWN", 11, 3, 1, "GO_NORTH", False),
        ("LAB", 7, 5, 1, "TAKE_EMBER", True),
        ("LAB", 5, 7, 0, "LEAVE_LAB", False),
        ("ROUTE_1", 6, 12, 2, "CATCH_ONE", False),
    ):
        screens.append(overworld(game, maps[name], x, y, facing, objectives[objective], closed))
    boxed = screens[1].copy()
    strip(game, boxed, objectives["SET_CLOCK"], 96)
    text_box(game, boxed, ["Morning! The room", "is still spinning."], 112)
    screens.append(boxed)
    save(sheet(screens, 4), out / "screens.png", 2)
    save(title, out / "title.png", 4)
    views = [screen.convert("L").resize((84, 84), Image.Resampling.BILINEAR).convert("LA") for screen in screens]
    save(sheet(views, 5), out / "students.png", 3)


if __name__ == "__main__":
    main()
