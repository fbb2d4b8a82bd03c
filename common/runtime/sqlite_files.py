"""Opening SQLite files so that a foreign, changed or broken one is reported in one line."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import sqlite3
import stat
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from common.runtime.files import AlreadyLockedError, exclusive_lock, is_running, make_folder, name_new_file
from common.runtime.main import UserError

WITHDRAWN_TABLE = """
CREATE TABLE IF NOT EXISTS withdrawn (id INTEGER PRIMARY KEY, expert TEXT NOT NULL, reason TEXT NOT NULL, time TEXT NOT NULL);
"""
"""Experts whose answers cannot be trusted, anywhere in the file. Rows are only ever added. A file without such an expert has no
such table.
"""

_BROKEN = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"}
_MAGIC = b"SQLite format 3\0"
_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED"}
_TEMPORARY = re.compile(r"(\..+\.(\d+)\.[0-9a-f]+\.tmp)(-wal|-shm|-journal|-lock)?")
_ENDINGS = ("", "-wal", "-shm", "-journal")


_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


class SchemaError(UserError, ValueError):
    """A file, or one next to it, holds what it should not; the text says what."""


@contextlib.contextmanager
def told_errors(path: Path, error: type[Exception], what: str, if_broken: str) -> Iterator[None]:
    """Turn SQLite's errors in the block into `error`, with the file's name and what to do.

    Args:
        path: the file.
        error: what is raised.
        what: what the file should be, for example "a data set of DAgger".
        if_broken: what to do with a broken one, for example "delete it".
    """
    try:
        yield
    except sqlite3.Error as cause:
        name = getattr(cause, "sqlite_errorname", None) or ""
        if name.startswith("SQLITE_NOTADB") and not _begins_as_one(path):  # it may be a checkpoint: do not advise to delete it
            raise error(f"{path}: is not {what}, or its beginning is damaged; is its name right?") from cause
        if any(name.startswith(code) for code in _BROKEN) or (not name and "decode" in str(cause)):  # text that is not UTF-8
            raise error(f"{path}: is not {what}, or is damaged ({cause}); {if_broken}") from cause
        if any(name.startswith(code) for code in _BUSY):
            raise error(f"{path}: another process is writing to it ({cause}); wait until it has ended, or end it") from cause
        raise error(f"{path}: cannot be used ({cause}); are its disk and folder there, with space left, and writable?") from cause
    except SchemaError as cause:
        raise error(f"{path}: {cause}, so this program did not make it so; give another file") from cause
    except OSError as cause:
        reason = cause.strerror or str(cause)
        raise error(f"{path}: cannot be used ({reason}); are its disk and folder there, with space left, and writable?") from cause


def _begins_as_one(path: Path) -> bool:
    """Return whether a file begins like an SQLite file."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC
    return False


def create(path: Path, application_id: int, version: int, script: str) -> bool:
    """Make a file with a write-ahead log and these numbers in its header, and run `script` in it.

    The file appears whole or not at all. The folder is made if it is missing. Returns False, and changes nothing, if the file
    exists, even if another process made it at this moment. Raises sqlite3.Error and OSError.
    """
    make_folder(path.parent)
    clear_unfinished(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}.tmp")
    with exclusive_lock(_lock_of(temporary)):
        try:
            with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
                connection.execute(f"PRAGMA application_id = {application_id}")
                connection.execute(f"PRAGMA user_version = {version}")
                connection.executescript(script)
                # Only now: else all of it could still be in the log, which a full disk keeps from being moved into the file.
                connection.execute("PRAGMA journal_mode = WAL")
            return name_new_file(temporary, path)
        finally:
            _delete(temporary)


def clear_unfinished(path: Path) -> None:
    """Delete the temporary files of processes that were killed while they made this file.

    In another container, or on another machine, a process number says nothing: whoever still makes the file holds a lock.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp*"):
        match = _TEMPORARY.fullmatch(left.name)
        if match and not is_running(int(match[2])):
            temporary = left.with_name(match[1])
            with contextlib.suppress(AlreadyLockedError, OSError), exclusive_lock(_lock_of(temporary)):
                _delete(temporary)


def _lock_of(temporary: Path) -> Path:
    return temporary.with_name(f"{temporary.name}-lock")


def _delete(temporary: Path) -> None:
    for ending in _ENDINGS:
        temporary.with_name(temporary.name + ending).unlink(missing_ok=True)


def connect(path: Path, *, write: bool, timeout: float) -> sqlite3.Connection:
    """Return a connection in autocommit mode to an existing file; callers use BEGIN and COMMIT themselves.

    Any thread may use it, one at a time. `timeout` is how many seconds it waits for another process to finish writing.
    Raises sqlite3.Error, OSError, and SchemaError for files next to it that would do harm.
    """
    _check_beside(path)
    if write:
        clear_unfinished(path)  # of a process that was killed just after the file had got its name
    options = f"mode={'rw' if write else 'ro'}"
    # On a read-only disk SQLite cannot make the two files of a write-ahead log, and needs none: nothing else writes there.
    if not write and not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists():
        options += "&immutable=1"
    place = quote(os.fsencode(path.absolute()))
    connection = sqlite3.connect(
        f"file:{place}?{options}", uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")  # run no code from a stranger's file
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _check_beside(path: Path) -> None:
    """Raise SchemaError if SQLite would do harm with the files next to a file, before it is opened.

    A rollback journal ends with the name of another journal if its transaction spans several files. SQLite then deletes the named
    file, whatever it is. No transaction here spans several files.
    """
    for ending in _ENDINGS:
        beside = Path(f"{path}{ending}")
        try:
            kind = (beside.stat() if not ending else beside.lstat()).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(kind):  # opening a pipe would wait for ever
            raise SchemaError(f"{beside} is no file")
        if ending == "-journal":
            with beside.open("rb") as journal:
                journal.seek(-min(len(_JOURNAL_MAGIC), beside.stat().st_size), os.SEEK_END)
                if journal.read() == _JOURNAL_MAGIC:
                    raise SchemaError(f"{beside.name} would have another file deleted")


def add_withdrawn(connection: sqlite3.Connection, expert: str, reason: str) -> None:
    """Add an expert to `WITHDRAWN_TABLE`, and make the table if it is missing. Raises sqlite3.Error."""
    connection.execute(WITHDRAWN_TABLE)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    connection.execute("INSERT INTO withdrawn (expert, reason, time) VALUES (?, ?, ?)", (expert, reason, now))


def has_withdrawn(connection: sqlite3.Connection) -> bool:
    """Return whether the file has `WITHDRAWN_TABLE`. Raises sqlite3.Error."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'withdrawn'").fetchone() is not None


def withdrawn_experts(connection: sqlite3.Connection) -> dict[str, str]:
    """Return expert -> why its answers were withdrawn; {} if there is no such table. Raises sqlite3.Error."""
    if not has_withdrawn(connection):
        return {}
    return dict(connection.execute("SELECT expert, reason FROM withdrawn ORDER BY id"))


def header(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the file's application_id and user_version: which program's file it is, and its version. Raises sqlite3.Error."""
    return tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))


def check_schema(connection: sqlite3.Connection, script: str, optional: Iterable[str] = ()) -> None:
    """Raise SchemaError unless the file holds exactly the tables that `script` makes, and perhaps some of those of `optional`.

    Nothing else is allowed: no trigger that runs when a row is written, no view in a table's place, no other columns.
    Raises sqlite3.Error.
    """
    wanted, allowed = _schema_of(script), _schema_of("".join((script, *optional)))
    found = _schema(connection)
    for kind, name in found:
        if (kind, name) not in allowed:
            raise SchemaError(f"has a {kind} {name[:40]!r} that does not belong there")
        if found[kind, name] != allowed[kind, name]:
            raise SchemaError(f"its {kind} {name!r} is another than it should be")
    if missing := [name for kind, name in wanted if (kind, name) not in found]:
        raise SchemaError(f"lacks the table {missing[0]!r}")


def _schema(connection: sqlite3.Connection) -> dict[tuple[str, str], tuple[str, str | None]]:
    """Return the kind and name of each object in a file -> its table, and the statement that made it."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
    return {(str(kind), str(name)): (table, sql) for kind, name, table, sql in rows}


def _schema_of(script: str) -> dict[tuple[str, str], tuple[str, str | None]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        return _schema(connection)
