"""A table of blobs in an SQLite file, found by their content."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping

import numpy as np

_CHUNK = 50_000
_RECENT_KEYS = 50_000


class BlobTable:
    """Blobs, each kept once, numbered 0, 1, 2, ... in order of appending.

    Which are there is looked up in RAM (16 bytes for each). An index in the file would have to be written all over, since
    hashes fall anywhere in it; so the file only ever grows at its tables' ends.

    Args:
        connection: to the file; sqlite3.Error is raised as it comes.
        table: name of the table (id, data).
        keys: name of the table (id, sha256), which is apart so that it can be read without the blobs.
    """

    def __init__(self, connection: sqlite3.Connection, table: str, keys: str):
        self.connection, self.table, self.keys = connection, table, keys
        self.forget()

    def forget(self) -> None:
        """Read what is there again, at the next `add`."""
        self.count: int | None = None
        self._recent: dict[int, int] = {}
        self._sorted, self._ids = np.empty(0, np.uint64), np.empty(0, np.int64)

    def add(self, key: bytes, encode: Callable[[], bytes]) -> int:
        """The number of the blob with this SHA-256; `encode` is called if it is new."""
        if self.count is None:
            self._load()
        assert self.count is not None
        short = int.from_bytes(key[:8], "little")
        number = self._recent.get(short)
        if number is None:
            place = int(np.searchsorted(self._sorted, np.uint64(short)))
            if place < len(self._sorted) and int(self._sorted[place]) == short:
                number = int(self._ids[place])
        if number is not None and self.key(number) == key:  # else two share their first 8 bytes, and both are kept
            return number
        number = self.count
        self.connection.execute(f"INSERT INTO {self.table} VALUES (?, ?)", (number, encode()))
        self.connection.execute(f"INSERT INTO {self.keys} VALUES (?, ?)", (number, key))
        self.count += 1
        self._recent[short] = number
        if len(self._recent) >= _RECENT_KEYS:
            self._merge(np.fromiter(self._recent, np.uint64), np.fromiter(self._recent.values(), np.int64))
            self._recent = {}
        return number

    def key(self, number: int) -> bytes:
        """The SHA-256 of a blob."""
        return self.connection.execute(f"SELECT sha256 FROM {self.keys} WHERE id = ?", (number,)).fetchone()[0]

    def get(self, numbers: Iterable[int]) -> dict[int, bytes]:
        """number -> encoded blob, of those that are there."""
        wanted = json.dumps([int(number) for number in numbers])
        return dict(
            self.connection.execute(f"SELECT id, data FROM {self.table} WHERE id IN (SELECT value FROM json_each(?))", (wanted,))
        )

    def foreign(self, found: Mapping[int, bytes]) -> int | None:
        """Of number -> SHA-256 of what was read as its blob, one that is another blob's; None if there is none."""
        wanted = json.dumps(list(found))
        query = f"SELECT id, sha256 FROM {self.keys} WHERE id IN (SELECT value FROM json_each(?))"
        keys = dict(self.connection.execute(query, (wanted,)))
        return next((number for number, key in found.items() if keys.get(number) != key), None)

    def _load(self) -> None:
        cursor = self.connection.execute(f"SELECT id, sha256 FROM {self.keys} ORDER BY id")
        self.count = 0
        while chunk := cursor.fetchmany(_CHUNK):
            shorts = np.frombuffer(b"".join(key[:8] for _, key in chunk), "<u8")
            self._merge(shorts.astype(np.uint64), np.array([number for number, _ in chunk], np.int64))
            self.count = chunk[-1][0] + 1

    def _merge(self, shorts: np.ndarray, numbers: np.ndarray) -> None:
        shorts, numbers = np.concatenate([self._sorted, shorts]), np.concatenate([self._ids, numbers])
        order = np.argsort(shorts, kind="stable")
        self._sorted, self._ids = shorts[order], numbers[order]
