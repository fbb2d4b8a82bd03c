"""Opening SQLite files so that a foreign, changed or broken one is told in one line."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import sqlite3
import stat
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from common.runtime.files import is_running, make_folder
from common.runtime.main import UserError

WITHDRAWN_TABLE = """
CREATE TABLE IF NOT EXISTS withdrawn (id INTEGER PRIMARY KEY, expert TEXT NOT NULL, reason TEXT NOT NULL, time TEXT NOT NULL);
"""
"""Experts whose answers can't be trusted, wherever they stand in the file: rows are only ever added. A file without such an
expert has no such table.
"""

_BROKEN = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"}
_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED"}
_TEMPORARY = re.compile(r"\..+\.(\d+)\.\d+\.tmp(-wal|-shm|-journal)?")


_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


class SchemaError(UserError, ValueError):
    """A file, or what lies beside it, holds other things than it should; the text says which."""


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
        if any(name.startswith(code) for code in _BROKEN) or (not name and "decode" in str(cause)):  # text that is none
            raise error(f"{path}: is not {what}, or is damaged ({cause}); {if_broken}") from cause
        if any(name.startswith(code) for code in _BUSY):
            raise error(f"{path}: another process is writing to it ({cause}); wait until it has ended, or end it") from cause
        raise error(f"{path}: can't be used ({cause}); are its disk and folder there, with space left, and writable?") from cause
    except SchemaError as cause:
        raise error(f"{path}: {cause}, so this program did not make it so; give another file") from cause
    except OSError as cause:
        reason = cause.strerror or str(cause)
        raise error(f"{path}: can't be used ({reason}); are its disk and folder there, with space left, and writable?") from cause


def create(path: Path, application_id: int, version: int, script: str) -> bool:
    """Make a file with a write-ahead log and these numbers in its header, and run `script` in it.

    The file appears whole or not at all. Returns False, and changes nothing, if there is one already, even if another
    process made it at this moment. The folder is made if it is missing. Raises sqlite3.Error and OSError.
    """
    make_folder(path.parent)
    clear_unfinished(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA application_id = {application_id}")
            connection.execute(f"PRAGMA user_version = {version}")
            connection.executescript(script)
        try:
            os.link(temporary, path)  # fails if the name is taken, which os.replace would not
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if path.exists():
                return False
            os.replace(temporary, path)
        return True
    finally:
        for ending in ("", "-wal", "-shm", "-journal"):
            temporary.with_name(temporary.name + ending).unlink(missing_ok=True)


def clear_unfinished(path: Path) -> None:
    """Delete what processes that were killed while they made this file left beside it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp*"):
        match = _TEMPORARY.fullmatch(left.name)
        if match and not is_running(int(match[1])):
            left.unlink(missing_ok=True)


def connect(path: Path, *, write: bool, timeout: float) -> sqlite3.Connection:
    """A connection in autocommit mode to a file that exists; callers say BEGIN and COMMIT themselves.

    It may be used by any thread, one at a time. `timeout` is how many seconds it waits for another process's writing.
    Raises sqlite3.Error, OSError, and SchemaError for files beside it that would harm.
    """
    _check_beside(path)
    if write:
        clear_unfinished(path)  # of one who was killed just after the file had got its name
    options = f"mode={'rw' if write else 'ro'}"
    # On a read-only disk SQLite can't make the two files beside a write-ahead log, and needs none: nobody else writes there.
    if not write and not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists():
        options += "&immutable=1"
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{options}", uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")  # nothing in a stranger's file is run
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _check_beside(path: Path) -> None:
    """Raise SchemaError if SQLite would do harm with what lies beside a file, before it is opened.

    A rollback journal ends with the name of another journal if its transaction was over several files. SQLite then takes that file
    for one, and deletes it, whatever it is. No transaction here is over several files.
    """
    for ending in ("", "-wal", "-shm", "-journal"):
        beside = Path(f"{path}{ending}")
        try:
            kind = (beside.stat() if not ending else beside.lstat()).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(kind):  # it would wait for a pipe for ever
            raise SchemaError(f"{beside} is no file")
        if ending == "-journal":
            with beside.open("rb") as journal:
                journal.seek(-min(len(_JOURNAL_MAGIC), beside.stat().st_size), os.SEEK_END)
                if journal.read() == _JOURNAL_MAGIC:
                    raise SchemaError(f"{beside.name} would have another file deleted")


def add_withdrawn(connection: sqlite3.Connection, expert: str, reason: str) -> None:
    """Add an expert to `WITHDRAWN_TABLE`, which is made if it is missing. Raises sqlite3.Error."""
    connection.execute(WITHDRAWN_TABLE)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    connection.execute("INSERT INTO withdrawn (expert, reason, time) VALUES (?, ?, ?)", (expert, reason, now))


def has_withdrawn(connection: sqlite3.Connection) -> bool:
    """Whether the file has `WITHDRAWN_TABLE`. Raises sqlite3.Error."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'withdrawn'").fetchone() is not None


def withdrawn_experts(connection: sqlite3.Connection) -> dict[str, str]:
    """expert -> why its answers were withdrawn; none where there is no such table. Raises sqlite3.Error."""
    if not has_withdrawn(connection):
        return {}
    return dict(connection.execute("SELECT expert, reason FROM withdrawn ORDER BY id"))


def header(connection: sqlite3.Connection) -> tuple[int, int]:
    """The file's application_id and user_version, which say whose it is and in which version. Raises sqlite3.Error."""
    return tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))


def check_schema(connection: sqlite3.Connection, script: str, optional: Iterable[str] = ()) -> None:
    """Raise SchemaError unless the file holds the tables that `script` makes, any of those that the scripts in `optional` make, and
    nothing else: no trigger that runs when a row is written, no view in a table's place, no other columns. Raises sqlite3.Error.
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
    """Kind and name of all that a file holds -> its table, and the words that made it."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
    return {(str(kind), str(name)): (table, sql) for kind, name, table, sql in rows}


def _schema_of(script: str) -> dict[tuple[str, str], tuple[str, str | None]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        return _schema(connection)
