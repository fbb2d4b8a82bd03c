"""Zip files and packed bytes that may come from strangers: checked before anything in them is trusted.

A zip file holds a checksum of each entry's content, but a reader need not compare it. `torch.load` does not: a checkpoint with
one flipped bit loads with other weights.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from typing import IO

from common.runtime.main import UserError

_LOCAL_HEADER = 30  # bytes of an entry's own header, without its name
_MOST_FROM_A_BYTE = 1032  # deflate expands one byte to no more than this

_END = struct.Struct("<4s4H2LH")  # signature, numbers of disks (2) and entries (2), size and place of the table, comment's length
_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError)
"""What Python's reader raises for damaged files. NotImplementedError, for an unknown compression, is a RuntimeError."""


class ArchiveError(UserError, ValueError):
    """A zip file that is broken, or that no writer of this project makes. The text says what is wrong with it."""


@contextlib.contextmanager
def told_damage() -> Iterator[None]:
    """Turn what is raised while a damaged file is read into ArchiveError."""
    try:
        yield
    except ArchiveError:
        raise
    except _ERRORS as error:
        raise ArchiveError(" ".join(str(error).split()) or type(error).__name__) from error


def open_archive(file: IO[bytes], methods: Collection[int] = (zipfile.ZIP_STORED,)) -> zipfile.ZipFile:
    """Open a zip file and check its table of contents.

    No name may occur twice. No entry may overlap another, be encrypted, use a compression outside `methods`, or claim to be longer
    than it can be. Contents are not read: reading an entry to its end (within `told_damage`) checks its checksum.

    Raises ArchiveError.
    """
    with told_damage():
        file.seek(-_END.size, os.SEEK_END)
        signature, *_, count, _, _, comment = _END.unpack(file.read())
        archive = zipfile.ZipFile(file)
        if signature != b"PK\5\6" or comment or count != len(archive.infolist()):  # an entry's comment can hide those behind it
            raise ArchiveError("its table of contents is damaged")
        _check_contents(archive, methods)
    return archive


def _check_contents(archive: zipfile.ZipFile, methods: Collection[int]) -> None:
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    if len({entry.filename.lower() for entry in entries}) < len(entries):  # torch's reader doesn't tell cases apart
        raise ArchiveError("has two entries of one name")
    for entry in entries:
        if entry.flag_bits & 1:
            raise ArchiveError(f"its entry {entry.filename!r} is encrypted")
        if entry.compress_type not in methods:
            raise ArchiveError(f"its entry {entry.filename!r} is packed in a way that is not used here")
        most = entry.compress_size * (1 if entry.compress_type == zipfile.ZIP_STORED else _MOST_FROM_A_BYTE)
        if entry.file_size > most:
            raise ArchiveError(f"its entry {entry.filename!r} says that it is longer than it can be")
    ends = [entry.header_offset + _LOCAL_HEADER + len(entry.orig_filename) + entry.compress_size for entry in entries]
    starts = [*(entry.header_offset for entry in entries), archive.start_dir]
    if min(starts) < 0 or any(end > start for end, start in zip(ends, starts[1:], strict=True)):
        raise ArchiveError("has entries that overlap")


def inflate(data: bytes, most: int) -> bytes:
    """Unpack what zlib packed, up to `most` bytes: a few bytes of `data` can claim to hold a thousand times as many.

    Raises ValueError if it is more, or if `data` is damaged or not bytes.
    """
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, most + 1)
    except (zlib.error, TypeError) as error:
        raise ValueError(str(error)) from error
    if len(content) > most or not unpacker.eof:
        raise ValueError(f"more than {most} bytes" if len(content) > most else "cut short")
    return content
