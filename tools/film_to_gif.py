#!/usr/bin/env python3
"""Turn films into one GIF, for pages that show no video.

python -m tools.film_to_gif --films demo/videos/*.mp4 --output docs/play.gif
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.runtime.flags import parse_command_line


@dataclass
class Args:
    films: tuple[str, ...]
    """The films, one after the other."""
    output: str = "docs/play.gif"
    """The GIF to write."""
    width: int = 320
    """Its width in pixels."""
    milliseconds: int = 160
    """How long a frame is shown, in milliseconds."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import av
from PIL import Image

from common.runtime.files import atomic_write


def main(args: Args) -> None:
    frames = []
    for film in args.films:
        with av.open(str(Path(film).absolute())) as container:
            for frame in container.decode(video=0):
                image = frame.to_image().convert("L")
                size = (args.width, image.height * args.width // image.width)
                # A Game Boy has only a few shades of grey; a small palette keeps the file small.
                frames.append(image.resize(size, Image.Resampling.NEAREST).quantize(8))
    Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(Path(args.output)) as temporary:
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=args.milliseconds, loop=0)
    print(f"{args.output}: {len(frames)} frames of {len(args.films)} films")


if __name__ == "__main__":
    main(args)
