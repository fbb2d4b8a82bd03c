"""H.264 videos of screens, playable in browsers."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.episodes import EpisodeResult
from common.runtime.files import make_folder


class VideoWriter:
    """Writes screens into an MP4 file (H.264, yuv420p), one frame per `add`; a context manager.

    The file gets its name when the writer is closed without an error; until then it has a temporary name in the same
    folder. A writer that never got a frame leaves no file.

    Args:
        path: of the file, `*.mp4`; its folder is created.
        fps: frames per second.
        scale: each pixel becomes a square of this side (2 or 3 look good), so that small screens stay sharp.
        quality: libx264's constant rate factor, 0 (lossless) to 51.
    """

    def __init__(self, path: str | os.PathLike, fps: float = 8, scale: int = 3, quality: int = 20):
        self.path = Path(path)
        if self.path.suffix != ".mp4":
            raise ValueError(f"{self.path}: a video's name ends in .mp4")
        self.fps, self.scale, self.quality = fps, scale, quality
        make_folder(self.path.parent)
        self._temporary = self.path.with_name(f".{self.path.stem}.{os.getpid()}.{id(self)}.tmp.mp4")
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._screen_shape: tuple[int, ...] = ()

    def add(self, screen: np.ndarray, caption: str | None = None) -> None:
        """Append a screen, (H, W, 3) uint8 RGB, all of one size.

        With a caption, for example the button that was pressed, a bar with that text is drawn beneath. The first frame
        decides whether there is a bar.
        """
        image = Image.fromarray(np.ascontiguousarray(screen))
        image = image.resize((image.width * self.scale, image.height * self.scale), Image.Resampling.NEAREST)
        if self._container is None:
            self._open(screen.shape, image.size, caption is not None)
        assert self._container is not None and self._stream is not None
        if screen.shape != self._screen_shape:
            raise ValueError(f"{self.path}: a screen of shape {screen.shape} among those of {self._screen_shape}")
        canvas = Image.new("RGB", (self._stream.width, self._stream.height))
        canvas.paste(image)
        if self._bar and caption:
            ImageDraw.Draw(canvas).text((6, image.height + 4), caption, font=self._font, fill=(235, 235, 235))
        for packet in self._stream.encode(av.VideoFrame.from_image(canvas)):
            self._container.mux(packet)

    def close(self, path: str | os.PathLike | None = None) -> Path | None:
        """Finish the file and give it its name, or the name `path`, in the same folder, if it became known only at the end.

        Returns the file's path, or None if there was no frame. Closing again does nothing.
        """
        if self._container is None:
            return None
        assert self._stream is not None
        try:
            for packet in self._stream.encode():
                self._container.mux(packet)
            self._container.close()
        except OSError:
            self.discard()
            raise
        self._container = None
        if path is not None:
            self.path = self.path.with_name(Path(path).name)
        os.replace(self._temporary, self.path)
        return self.path

    def discard(self) -> None:
        """Stop, and leave no file."""
        if self._container is not None:
            with contextlib.suppress(OSError):  # on a full disk it cannot be finished
                self._container.close()
            self._container = None
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _open(self, screen_shape: tuple[int, ...], size: tuple[int, int], bar: bool) -> None:
        self._screen_shape = screen_shape
        self._bar = bar
        self._font = ImageFont.load_default(size=8 * self.scale)
        width, height = size[0], size[1] + (12 * self.scale if bar else 0)
        self._temporary.unlink(missing_ok=True)  # a link, in a stranger's folder, leads elsewhere
        self._container = av.open(str(self._temporary.absolute()), "w")  # else text before a colon is a protocol
        self._stream = self._container.add_stream("libx264", rate=Fraction(self.fps).limit_denominator(1000))
        self._stream.width, self._stream.height = width + width % 2, height + height % 2  # yuv420p halves both
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": str(self.quality), "preset": "veryfast"}
        self._stream.codec_context.thread_count = 1


def write_video(path: str | os.PathLike, screens: list[np.ndarray], fps: float = 8, scale: int = 3) -> Path | None:
    """Write (H, W, 3) uint8 RGB screens as one video. Returns its path, or None if there are no screens."""
    writer = VideoWriter(path, fps, scale)
    with writer:
        for screen in screens:
            writer.add(screen)
    return writer.path if screens else None


@dataclass
class EpisodeRecorder:
    """Films the first episodes of an evaluation, one frame per step, to `{folder}/{prefix}_ep1_success_steps45.mp4`.

    If a film cannot be written, this is reported, and the evaluation continues without it.
    """

    folder: Path
    prefix: str
    episodes: int = 1
    """How many are filmed."""
    buttons: Sequence[str] = ()
    """Names of the actions; with them, the button that is pressed is written beneath each screen."""
    fps: float = 8
    with_outcome: bool = True
    """False names an episode's film `{prefix}.mp4` (there is only one then), whatever its outcome."""
    paths: list[Path] = field(default_factory=list)
    """The files that were written."""
    _writers: dict[int, VideoWriter] = field(default_factory=dict)

    def frame(self, episode: int, screen: np.ndarray, action: int | None) -> None:
        """Add the screen on which `action` was chosen; None for the last screen of an episode."""
        if episode >= self.episodes:
            return
        try:
            if episode not in self._writers:
                self._writers[episode] = VideoWriter(self.folder / f"{self.prefix}_ep{episode + 1}.mp4", fps=self.fps)
            self._writers[episode].add(screen, self.caption(action))
        except OSError as error:
            self._give_up(error)

    def caption(self, action: int | None) -> str | None:
        """Return the text beneath a screen; None for no bar at all."""
        if not self.buttons:
            return None
        return self.buttons[action] if action is not None else " "

    def finish(self, episode: int, result: EpisodeResult) -> None:
        """End an episode's film, and name it after the result."""
        if episode in self._writers:
            outcome = "success" if result.success else "failure"
            name = f"{self.prefix}_ep{episode + 1}_{outcome}_steps{result.length}" if self.with_outcome else self.prefix
            try:
                path = self._writers[episode].close(f"{name}.mp4")
                assert path is not None  # it got a frame as soon as it was made
                self.paths.append(path)
                del self._writers[episode]
            except OSError as error:
                self._give_up(error)

    def discard(self) -> None:
        """Discard unfinished films."""
        for writer in self._writers.values():
            writer.discard()
        self._writers.clear()

    def _give_up(self, error: OSError) -> None:
        print(f"{self.folder}: no film of {self.prefix} ({error.strerror or error})", file=sys.stderr)
        self.discard()
        self.episodes = 0
