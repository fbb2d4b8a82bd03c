"""Reading `.npz` files that may come from strangers: what an array's header claims is compared with what is there."""

from __future__ import annotations

import contextlib
import math
import tokenize
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Literal

import numpy as np

from common.runtime.archives import ArchiveError, open_archive, told_damage
from common.runtime.memory import available_memory

_SINGLE_ARRAY = b"\x93NUMPY"
_MOST_HEADER = 4096
_CHUNK = 1 << 18  # a chunk stays in the processor's cache
_SMALL = 1 << 24  # bytes up to which free memory is not checked
_NO_HEADER = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError,
    tokenize.TokenError,
)  # fmt: skip
"""What numpy's parser raises for headers that are none."""


class PickledError(ArchiveError):
    """An array of Python objects, which is never loaded because it could run code."""


class NpzReader:
    """The arrays of an open file, read when they are asked for. Raises ArchiveError for one that is damaged.

    Attributes: names, of the arrays.
    """

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self._entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        self.names = list(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Return an array's shape and dtype, without the array."""
        with told_damage(), self._archive.open(self._entries[name]) as file:
            shape, _, dtype, _ = self._header(file, name)
        return shape, dtype

    def __getitem__(self, name: str) -> np.ndarray:
        """Return an array, its checksum compared. One larger than half of the free memory is refused before it is allocated."""
        with told_damage(), self._archive.open(self._entries[name]) as file:
            shape, order, dtype, size = self._header(file, name)
            if size > _SMALL and (available := available_memory()) is not None and size > available // 2:
                raise ArchiveError(f"{name} take {size / 1e9:.1f} GB, more than half of the {available / 1e9:.1f} GB that are free")
            content = np.empty(size, np.uint8)
            done = 0
            while chunk := file.read(min(_CHUNK, size - done + 1)):  # to the end, where the checksum is compared
                content[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
                done += len(chunk)
        return content.view(dtype).reshape(shape, order=order) if size else np.empty(shape, dtype)

    def _header(self, file: IO[bytes], name: str) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype, int]:
        """Return the shape, order, dtype and number of bytes of the array that begins here."""
        try:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, dtype = read(file, max_header_size=_MOST_HEADER)
        except _NO_HEADER as error:
            reason = " ".join(str(error).split())[:200]
            raise ArchiveError(f"{name} begin with no header of an array ({reason})") from error
        if dtype.hasobject:
            raise PickledError(f"{name} are Python objects")
        if dtype.kind not in "biufU" or any(side < 0 for side in shape):
            raise ArchiveError(f"{name} say that they are {str(dtype)[:40]} {str(shape)[:40]}")
        size = math.prod(shape) * dtype.itemsize
        if file.tell() + size != self._entries[name].file_size:
            raise ArchiveError(f"{name} say that they are {str(dtype)[:40]} {str(shape)[:40]}, but there are more or fewer bytes")
        return shape, "F" if fortran else "C", dtype, size


@contextlib.contextmanager
def open_npz(path: Path, names: Collection[str]) -> Iterator[NpzReader]:
    """Open a file that may hold arrays of these names, and nothing else.

    Raises ArchiveError for anything else, and OSError if the file is missing or cannot be read.
    """
    if path.exists() and not path.is_file():  # opening a pipe would wait
        raise ArchiveError("is no file")
    with path.open("rb") as file:
        if file.read(len(_SINGLE_ARRAY)) == _SINGLE_ARRAY:
            raise ArchiveError("is a single array")
        with open_archive(file, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)) as archive:
            reader = NpzReader(archive)
            allowed = {f"{name}.npy" for name in names}  # with the suffix; without it one array could occur twice
            if strange := [entry.filename for entry in archive.infolist() if entry.filename not in allowed]:
                raise ArchiveError(f"has {strange[0].removesuffix('.npy')[:40]!r}, which does not belong there")
            yield reader
