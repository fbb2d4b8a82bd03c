"""Writing whole files or none, and one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, Literal

from common.runtime.main import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a write on a full disk, over a quota, and over the limit for one file."""

_MOST_LOCK_TRIES = 1000
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.\d+\.tmp(?P<suffix>.*)")


class AlreadyLockedError(UserError, RuntimeError):
    """Another process holds the lock.

    Attributes:
        holder: that process, for a message: "process 1234, bc_pokemon.py, since 2026-11-28 12:03".
    """

    def __init__(self, path: Path, holder: str):
        super().__init__(f"{path}: held by {holder}; wait for its end, or write elsewhere")
        self.holder = holder


@contextlib.contextmanager
def named_errors(path: str | os.PathLike) -> Iterator[None]:
    """Give errors of writing `path` its name. A write that finds a full disk knows only a file descriptor."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in (*NO_ROOM, errno.EIO, errno.EROFS):
            error.filename = os.fspath(path)
        raise


def make_folder(path: str | os.PathLike) -> None:
    """Make a folder and its parents where they are missing.

    Raises OSError. For a link that leads nowhere (to a disk that is not mounted, or was cleared) the system only says that it
    exists; this error says what is wrong.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        if (complaint := link_complaint(path)) is None:
            raise
        raise FileNotFoundError(errno.ENOENT, complaint, os.fspath(path)) from None


def link_complaint(path: Path) -> str | None:
    """Return what is wrong with a path that is, or lies below, a link to what is not there; None if it is not."""
    link = next((one for one in (path, *path.parents) if one.is_symlink() and not one.exists()), None)
    return None if link is None else f"{link} is a link to {os.readlink(link)}, which is not there"


def open_no_link(path: str | os.PathLike, mode: Literal["r", "a", "w"]) -> TextIOWrapper:
    """Open a text file under a predictable name, to read ("r"), append ("a") or overwrite ("w").

    In a stranger's folder a link of such a name would make us write or empty any other file. Raises OSError for a link, and for
    what is no file: opening a pipe would wait.
    """
    how = {"r": os.O_RDONLY, "a": os.O_WRONLY | os.O_APPEND | os.O_CREAT, "w": os.O_WRONLY | os.O_CREAT}[mode]
    path = Path(path)
    complaint = f"{path.name} there is a link, or no file; delete it"
    try:
        fd = os.open(path, how | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            error.strerror = complaint
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, complaint, os.fspath(path))
    if mode == "w":
        os.ftruncate(fd, 0)
    return os.fdopen(fd, mode, encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path next to `path`; the file is renamed to `path` when the block ends without an error.

    A process that is killed inside the block leaves the old file (or none) under the name, never half of a new one.
    `clear_temporaries` deletes the temporary file that it leaves. The folder is created if it is missing. The temporary name
    starts with a dot and keeps the suffix, which some writers look at.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        temporary.unlink(missing_ok=True)  # a link, in a stranger's folder, leads elsewhere
        with named_errors(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def name_new_file(temporary: Path, path: Path) -> bool:
    """Rename a file, which is in the same folder, unless the name is taken; return whether it got the name.

    Raises OSError. FileNotFoundError means that somebody deleted the file.
    """
    try:
        os.link(temporary, path)  # fails if the name is taken, which os.replace would not
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        with exclusive_lock(path.with_name(".new-file.lock"), seconds=60):
            if os.path.lexists(path):
                return False
            os.replace(temporary, path)
    else:
        temporary.unlink()
    return True


def clear_temporaries(folder: str | os.PathLike, names: str = ".+") -> None:
    """Delete the temporary files of `atomic_write` that killed processes left in the folder.

    The caller must know that no process writes there now.

    Args:
        folder: need not exist.
        names: a pattern (`re`) for the whole name of the file that was to be written.
    """
    for path in Path(folder).glob(".*.tmp*"):
        match = _TEMPORARY.fullmatch(path.name)
        if match and re.fullmatch(names, match["name"] + match["suffix"]):
            path.unlink(missing_ok=True)


def as_utf8(text: str) -> str:
    """Return the text with what cannot be written as UTF-8 escaped. A path may hold such bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def save_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(as_utf8(text), encoding="utf-8")


def save_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    save_text(path, json.dumps(content, indent=2) + "\n")


@contextlib.contextmanager
def exclusive_lock(
    path: str | os.PathLike, seconds: float = 0.0, tick: Callable[[], None] = lambda: None, *, keep: bool = False
) -> Iterator[IO[str]]:
    """Hold a lock file, in which the holder is named; yield the open file.

    The system releases the lock when the last process that has the file open ends, however it ends.

    Args:
        path: of the file. Its folder is created, and removed again if nothing else was put into it.
        seconds: how long to wait for another holder.
        tick: called five times a second while waiting; may raise.
        keep: leave the file, and with it the lock, to child processes that inherited the open file and may outlive this one.

    Raises AlreadyLockedError if the lock is still held after `seconds`.
    """
    path = Path(path)
    deadline, new_folder = time.monotonic() + seconds, not path.parent.exists()
    while (file := _try_lock(path)) is None:
        if time.monotonic() >= deadline:
            raise AlreadyLockedError(path, _holder(path))
        tick()
        time.sleep(0.2)
    with file:
        try:
            with named_errors(path):
                json.dump({"pid": os.getpid(), "script": _script(), "since": datetime.now().strftime("%Y-%m-%d %H:%M")}, file)
                file.flush()
            yield file
        finally:
            if not keep:  # while locked: the next holder of this open file sees that the name is gone
                path.unlink(missing_ok=True)
                if new_folder:
                    with contextlib.suppress(OSError):  # it is not empty
                        path.parent.rmdir()


def _try_lock(path: Path) -> IO[str] | None:
    """Return the file, open, empty and locked; None if another process holds it."""
    refused = False
    for _ in range(_MOST_LOCK_TRIES):
        make_folder(path.parent)
        with contextlib.ExitStack() as opened, contextlib.suppress(FileNotFoundError):  # its holder is deleting it
            try:
                file = opened.enter_context(open_no_link(path, "a"))  # "a" does not erase what its holder wrote
            except PermissionError:  # another user's: a killed run's is removed, if the folder allows it
                if not os.path.lexists(path):  # it was deleted meanwhile, or the folder cannot be written
                    if refused:
                        raise
                    refused = True
                elif not _remove_if_free(path):
                    return None
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            except OSError as error:
                why = f"files cannot be locked there ({error.strerror}); take a folder of another file system"
                raise OSError(error.errno, why, os.fspath(path.parent)) from error
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.truncate(0)
                opened.pop_all()
                return file
    raise FileNotFoundError(errno.ENOENT, "no file can be made there; take another folder", os.fspath(path.parent))


def _remove_if_free(path: Path) -> bool:
    """Delete a lock file that cannot be written; return False if it is held. Raises PermissionError if it cannot be deleted."""
    try:
        with open_no_link(path, "r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                path.unlink()
    except BlockingIOError:
        return False
    except FileNotFoundError:  # its holder has deleted it
        pass
    except PermissionError as error:
        error.strerror = f"{path.name} there is another user's, who may have to delete it"
        raise
    return True


def _holder(path: Path) -> str:
    """Return the holder of a lock in words, as far as the file names it."""
    try:
        with open_no_link(path, "r") as file:
            entry = json.loads(file.read(4096))
        text = f"process {entry['pid']}, {entry['script']}, since {entry['since']}"
        return text if is_running(entry["pid"]) else f"{text}, or one that it started"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"


def _script() -> str:
    """Return the name of the script that this process runs."""
    return Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"


def is_running(pid: int) -> bool:
    """Return whether there is a process with this id."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # a number from a stranger's file may be one that no process has
        return False
    except PermissionError:  # another user's
        return True
    return True


def sha256_of(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    import hashlib

    with open(Path(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
