#!/usr/bin/env python3
"""Turn films into one GIF, for pages that show no video.

python -m tools.film_to_gif --films demo/videos/*.mp4 --output docs/play.gif
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from common.runtime.flag_types import Bounds, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    films: tuple[str, ...]
    """The films, one after the other."""
    output: str = "docs/play.gif"
    """The GIF to write."""
    width: Annotated[int, Bounds(16, 1280)] = 320
    """Its width in pixels."""
    milliseconds: Annotated[int, Bounds(10, 60_000)] = 160
    """How long a frame is shown, in milliseconds."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import av
from PIL import Image

from common.runtime.files import atomic_write
from common.runtime.main import UserError, run_main


class FilmError(UserError):
    """A film that can't be read; the text names it."""


def pictures_of(film: str, width: int) -> list[Image.Image]:
    """Return a film's frames in grey, so many pixels wide. Raises FilmError."""
    pictures = []
    try:
        with av.open(str(Path(film).absolute())) as container:
            if not container.streams.video:
                raise FilmError(f"{film}: has no pictures; name a film, such as those in runs/*/videos")
            for frame in container.decode(video=0):
                image = frame.to_image().convert("L")
                size = (width, max(1, image.height * width // image.width))
                # A Game Boy has only a few shades of grey; a small palette keeps the file small.
                pictures.append(image.resize(size, Image.Resampling.NEAREST).quantize(8))
    except av.FFmpegError as error:
        raise FilmError(
            f"{film}: is no film that can be read ({error.strerror}); name one, such as those in runs/*/videos"
        ) from error
    return pictures


def main(args: Args) -> None:
    check_bounds(args)
    frames = [picture for film in args.films for picture in pictures_of(film, args.width)]
    if not frames:
        raise FilmError(f"--films: {', '.join(args.films) or 'no film is named'}: there is no frame to show; name films")
    with atomic_write(Path(args.output)) as temporary:
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=args.milliseconds, loop=0)
    print(f"{args.output}: {len(frames)} frames of {len(args.films)} films")


if __name__ == "__main__":
    run_main("film_to_gif.py", lambda: main(args))
