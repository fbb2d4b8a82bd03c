"""Experts' answers on disk, so that no query is sent, and paid for, twice.

An answer is found again only for exactly the same query: `answer_key` hashes the expert and everything it sees. Several
processes may use one file at once. Answers are on disk as soon as `put_many` has returned, whatever is killed afterwards.
Only an invalid answer is ever deleted, when another replaces it. The answers of an expert that was withdrawn (`withdraw`)
stay in the file, but are not found any more.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import struct
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.oracle import ANSWER_KINDS, MOST_BUTTONS, Answer
from common.runtime.main import UserError
from common.runtime.sqlite_files import (
    WITHDRAWN_TABLE,
    add_withdrawn,
    check_schema,
    connect,
    create,
    header,
    told_errors,
    withdrawn_experts,
)

APPLICATION_ID = 0x54474143
"""The application_id in the header of such a file: "TGAC"."""

SCHEMA_VERSION = 1
"""The user_version in the header. A file of another version is refused."""

_SCHEMA = """
CREATE TABLE answers (key BLOB PRIMARY KEY, action INTEGER, kind TEXT, reason TEXT, optimal TEXT) WITHOUT ROWID;
"""
_BUSY_SECONDS = 60.0
_CHUNK = 500  # keys per query
_NO_ROOM = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY")
_NO_ROOM_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class AnswerCacheError(UserError, ValueError):
    """A file that cannot be used as a cache; the text names it and says what to do."""


def answer_key(expert: str, snapshot: bytes, prev_action: int | str, picture: bytes = b"") -> bytes:
    """Return 32 bytes that identify one query.

    Args:
        expert: the exact identity of the expert: the hash of a policy's code and tools, or a model and its prompt.
        snapshot: the memory that it reads. Bytes that change at each step and that it cannot see (the game's random
            numbers) should be zeroed first, or no query repeats.
        prev_action: the button of the step before.
        picture: `common.picture_codec.picture_key` of the screen, if the expert sees it.
    """
    digest = hashlib.sha256()
    for part in (expert.encode(), snapshot, str(prev_action).encode(), picture):
        digest.update(struct.pack("<Q", len(part)))  # so that no two queries concatenate to the same bytes
        digest.update(part)
    return digest.digest()


class AnswerCache:
    """A file of answers; made if it does not exist. Any number of processes and threads may use it at once.

    A context manager. If the file cannot be written any more (a full disk), one warning is given: answers in it are still found,
    and further ones are not kept. An invalid answer is ignored, also with a warning, and the next answer to its query replaces it.

    Args:
        path: the file.
        n_actions: the number of buttons.

    Raises AnswerCacheError if the file is foreign, broken, changed or of another version, or cannot be opened.
    """

    def __init__(self, path: str | os.PathLike, n_actions: int = MOST_BUTTONS):
        self.path, self.n_actions = Path(path), n_actions
        self._lock = threading.Lock()
        self._keeps = True
        self._unusable: set[bytes] = set()
        with self._errors():
            try:
                self._connection = self._open()
            except (sqlite3.Error, OSError) as error:
                self._do_without(error)
                self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                self._connection.executescript(_SCHEMA)

    def _open(self) -> sqlite3.Connection:
        if not self.path.exists():
            create(self.path, APPLICATION_ID, SCHEMA_VERSION, _SCHEMA)
        connection = connect(self.path, write=True, timeout=_BUSY_SECONDS)
        try:
            application, version = header(connection)
            if application != APPLICATION_ID:
                raise AnswerCacheError(f"{self.path}: is an SQLite file, but not a cache of answers; give another file")
            if version != SCHEMA_VERSION:
                raise AnswerCacheError(
                    f"{self.path}: has schema version {version}, this program uses {SCHEMA_VERSION}; give another file"
                )
            check_schema(connection, _SCHEMA, optional=[WITHDRAWN_TABLE])
            connection.execute("SELECT key FROM answers ORDER BY key DESC LIMIT 1").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def get_many(self, keys: Iterable[bytes], expert: str | None = None) -> dict[bytes, Answer]:
        """Return the known answers to these queries, by key.

        Args:
            keys: the queries' `answer_key`s.
            expert: the identity of the expert of all of them. None are known if its answers were withdrawn, by any process.
        """
        keys = list(dict.fromkeys(keys))
        found: dict[bytes, Answer] = {}
        with self._lock, self._errors():
            if expert is not None and expert in withdrawn_experts(self._connection):
                return found
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                marks = ", ".join("?" * len(chunk))
                query = f"SELECT key, action, kind, reason, optimal FROM answers WHERE key IN ({marks})"
                for key, *values in self._connection.execute(query, chunk):
                    if (answer := self._answer(*values)) is not None:
                        found[key] = answer
                    else:
                        self._note_unusable(key, values)
        return found

    def put_many(self, answers: Mapping[bytes, Answer]) -> int:
        """Store these answers. Those that are there already stay, and abstentions of kinds not in `ANSWER_KINDS` are left out.

        Returns how many were new. Raises ValueError for an answer that is neither an action nor an abstention.
        """
        rows = []
        for key, answer in answers.items():
            if (answer.action is None) == (answer.kind is None) or (answer.optimal and answer.action not in answer.optimal):
                raise ValueError(f"an answer has an action (one of the optimal), or the kind of its abstention, but it is {answer}")
            if answer.action is None and answer.kind not in ANSWER_KINDS:
                continue
            optimal = None if not answer.optimal else " ".join(str(int(action)) for action in sorted(answer.optimal))
            action = None if answer.action is None else int(answer.action)
            rows.append((key, action, answer.kind, answer.reason, optimal))
        with self._lock, self._errors():
            if not rows or not self._keeps:
                return 0
            try:
                return self._insert(rows)
            except sqlite3.Error as error:
                self._do_without(error)
                return 0

    def withdraw(self, expert: str, reason: str) -> None:
        """Record that no answer of this expert can be trusted, and why, in words. A full disk gives a warning."""
        with self._lock, self._errors():
            try:
                add_withdrawn(self._connection, expert, reason)
            except sqlite3.Error as error:
                self._do_without(error)

    def __len__(self) -> int:
        """Return the number of answers in the file."""
        with self._lock, self._errors():
            return self._connection.execute("SELECT count(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        """Close the file. May be called again."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _errors(self):
        return told_errors(self.path, AnswerCacheError, "a cache of answers", "delete it, and the queries are sent again")

    def _insert(self, rows: list[tuple[Any, ...]]) -> int:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM answers WHERE key = ?", [row[:1] for row in rows if row[0] in self._unusable])
            new = connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", rows).rowcount
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk may have rolled it back already
                connection.execute("ROLLBACK")
            raise
        self._unusable.difference_update(row[0] for row in rows)
        return new

    def _do_without(self, error: sqlite3.Error | OSError) -> None:
        """Continue without storing answers if there is no room for them; raise any other error again."""
        name = getattr(error, "sqlite_errorname", None) or ""
        if not name.startswith(_NO_ROOM) and not (isinstance(error, OSError) and error.errno in _NO_ROOM_ERRNO):
            raise error
        self._keeps = False
        warnings.warn(
            f"{self.path}: cannot be written any more ({error}); continuing without it: further answers are not kept",
            RuntimeWarning,
            stacklevel=4,
        )

    def _note_unusable(self, key: bytes, values: Sequence[object]) -> None:
        if not self._unusable:
            warnings.warn(
                f"{self.path}: the answer {ascii(tuple(values))[:80]} cannot be one to a query of {self.n_actions} buttons; "
                "the queries of such answers are sent again",
                RuntimeWarning,
                stacklevel=3,
            )
        self._unusable.add(key)

    def _answer(self, action: object, kind: object, reason: object, optimal: object) -> Answer | None:
        """Return an answer of the file, its values checked; None for an invalid one."""
        try:
            actions = None if optimal is None else tuple(int(number) for number in str(optimal).split())
        except ValueError:
            return None
        buttons = range(self.n_actions)
        if (
            not (action in buttons and kind is None or action is None and kind in ANSWER_KINDS)
            or not isinstance(action, int | None)  # 1.0 would be in a range, too
            or not isinstance(reason, str | None)
            or (actions is not None and (action not in actions or any(one not in buttons for one in actions)))
            or len(set(actions or ())) < len(actions or ())
        ):
            return None
        return Answer(action, kind, reason, actions)
