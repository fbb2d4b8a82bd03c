"""The presses of an unfinished recording, each appended to a file as it is made, so that the recording can be resumed."""

from __future__ import annotations

import json
import os
import uuid
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from common.demonstrations import DemonstrationError
from common.runtime.files import make_folder, open_no_link
from pokemon_env.bounded_files import read_file

FORMAT = 1
_MOST_BYTES = 1 << 26
"""About three million presses."""


def checksum(before: int, action: int, picture: np.ndarray) -> int:
    """Return the CRC-32 of a press, the screen after it, and all presses before it, whose checksum is `before`."""
    return zlib.crc32(np.ascontiguousarray(picture).data, zlib.crc32(bytes([action]), before))


class PressJournal:
    """A file of JSON lines: first what the presses belong to, then `[action, checksum]` for each.

    The same reset and the same presses give the same screens. So the presses are enough to resume exactly where the file
    ends: play them again, and compare each press and its screen with the checksum. A process that is killed while it appends
    leaves half a line at the end, which the next process that opens the file ignores.

    Attributes:
        path: of the file, which is created with the first press.
        header: what the presses belong to, as the file says; {} while there is no file.
        presses: all of them, (action, checksum).
    """

    def __init__(self, path: str | os.PathLike):
        """Read the file, if it exists. Raises DemonstrationError if it is not a press journal, or is damaged before its end."""
        self.path = Path(path)
        self.header: dict[str, Any] = {}
        self.presses: list[tuple[int, int]] = []
        self._file: IO[bytes] | None = None
        self._length = 0  # bytes of whole lines
        try:
            content = read_file(self.path, _MOST_BYTES)
        except FileNotFoundError:
            return
        except OSError as error:
            raise DemonstrationError(f"{self.path}: cannot be read ({error.strerror}); move it away to start over") from error
        *lines, _ = content.split(b"\n")  # after the last newline there is nothing, or half a line
        for number, line in enumerate(lines, start=1):
            try:
                self._read_line(json.loads(line), first=number == 1)
            except (ValueError, TypeError, RecursionError) as error:
                raise DemonstrationError(
                    f"{self.path}: line {number} is damaged ({error}); restore the file, or move it away to start over"
                ) from error
            self._length += len(line) + 1

    @property
    def recording(self) -> str:
        """What distinguishes this recording from all others."""
        return self.header["recording"]

    @property
    def last_checksum(self) -> int:
        """The checksum of the last press; 0 if there is none."""
        return self.presses[-1][1] if self.presses else 0

    def begin(self, belongs_to: dict[str, Any]) -> None:
        """Set what the presses belong to, as JSON data; `attempt`, a number from 0 on, is part of it.

        Raises DemonstrationError if the presses in the file belong to something else.
        """
        belongs_to = json.loads(json.dumps(belongs_to))
        if not self.presses:  # a process killed before its first press left at most the header
            self._length = 0
            self.header = {"format": FORMAT, "recording": uuid.uuid4().hex, **belongs_to}
            return
        for key in sorted((self.header.keys() | belongs_to.keys()) - {"format", "recording"}):
            then, now = self.header.get(key), belongs_to.get(key)
            if then != now:
                raise DemonstrationError(
                    f"{self.path}: the unfinished recording has {key} {then!r}, and now it is {now!r}; resume with what it "
                    "was begun with, or move the file away to start over"
                )

    def append(self, action: int, picture: np.ndarray) -> None:
        """Append a press and the checksum up to the screen after it; on return both are on the disk.

        Raises DemonstrationError if they cannot be written; what was appended before stays.
        """
        press = (action, checksum(self.last_checksum, action, picture))
        try:
            if self._file is None:
                self._open()
            self._write(press)
        except OSError as error:
            raise DemonstrationError(
                f"{self.path}: cannot be written ({error.strerror}); it holds the {len(self.presses)} presses before this one, and "
                "the same command resumes there"
            ) from error
        self.presses.append(press)

    def remove(self) -> None:
        """Delete the file, when its presses have become an episode, or are not wanted."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, and keep it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        make_folder(self.path.parent)
        with open_no_link(self.path, "a") as file:
            self._file = os.fdopen(os.dup(file.fileno()), "ab", buffering=0)
        self._file.truncate(self._length)
        if not self._length:
            self._write(self.header)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # so that the file's name is on the disk, too
            finally:
                os.close(folder)

    def _write(self, content: Any) -> None:
        assert self._file is not None  # it is open
        line = json.dumps(content).encode() + b"\n"
        written = self._file.write(line)
        if written < len(line):  # the disk became full in the middle; writing the rest raises the error
            self._file.write(line[written:])
        os.fsync(self._file.fileno())
        self._length += len(line)

    def _read_line(self, content: Any, first: bool) -> None:
        if first:
            if not isinstance(content, dict) or not isinstance(content.get("recording"), str):
                raise ValueError("it is not the beginning of a recording")
            if content.get("format") != FORMAT:
                raise ValueError(f"its format is {content.get('format')!r}, known is {FORMAT}")
            if type(content.get("attempt")) is not int or not 0 <= content["attempt"] < 1 << 53:
                raise ValueError(f"its attempt is {content.get('attempt')!r}")
            self.header = content
            return
        action, crc = content
        if not (type(action) is type(crc) is int and 0 <= action < 256):
            raise ValueError(f"{content} is no press")
        self.presses.append((action, crc))
