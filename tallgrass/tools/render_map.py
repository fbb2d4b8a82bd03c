#!/usr/bin/env python3
"""Draw every map, from the compiled data, into one picture: tallgrass/docs/maps.png. Needs Pillow."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import build_assets
from PIL import Image
from preview import Game, MapData

GAP = 8


def render(game: Game) -> Image.Image:
    """Rows of maps, each below its name; gates are drawn as they are at the start of a game (shut)."""
    pictures = []
    for number, name in game.names("MAP_").items():
        picture = MapData(game, number).draw(closed=True)
        framed = Image.new("LA", (max(picture.width, len(name) * 8 + 16), picture.height + 12), (255, 255))
        game.write(framed, f"{number} {name}", 0, 0)
        framed.paste(picture, (0, 12))
        pictures.append(framed)
    small = [picture for picture in pictures if picture.height <= 12 + 10 * 16]
    large = [picture for picture in pictures if picture.height > 12 + 10 * 16]
    width = max(sum(p.width + GAP for p in row) + GAP for row in (small, large))
    heights = [max(p.height for p in row) for row in (small, large)]
    sheet = Image.new("LA", (width, sum(heights) + 3 * GAP), (255, 255))
    y = GAP
    for row, height in zip((small, large), heights, strict=True):
        x = GAP
        for picture in row:
            sheet.paste(picture, (x, y))
            x += picture.width + GAP
        y += height + GAP
    return sheet.convert("L")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=build_assets.ROOT / "docs" / "maps.png")
    arguments = parser.parse_args()
    sheet = render(Game())
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_name(arguments.out.name + ".tmp")
    sheet.save(temporary, format="PNG", optimize=True)
    os.replace(temporary, arguments.out)
    print(f"{arguments.out}: {sheet.width}x{sheet.height}")


if __name__ == "__main__":
    main()
