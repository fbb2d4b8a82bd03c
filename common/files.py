"""Writing whole files or none, and one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any


class AlreadyLockedError(RuntimeError):
    """Another process holds the lock."""


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` when the block ends without an error.

    A process that is killed inside the block leaves the old file (or none) under the name, never half of a new one.
    The folder is created if it is missing. The temporary name starts with a dot and keeps the suffix, which some
    writers look at.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    save_text(path, json.dumps(content, indent=2) + "\n")


@contextlib.contextmanager
def exclusive_lock(path: str | os.PathLike, seconds: float = 0.0, tick: Callable[[], None] = lambda: None) -> Iterator[IO[str]]:
    """Hold a lock file, which stays behind; yields it, open, so that it can be handed to a child process.

    Args:
        path: of the file; its folder is created.
        seconds: how long to wait for somebody else who holds it.
        tick: called five times a second while waiting; may raise.

    Raises AlreadyLockedError if it is still held then. The system lets go of it when the last process that has the file open ends,
    however it ends.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise AlreadyLockedError(f"{path} is held by another process") from None
                tick()
                time.sleep(0.2)
        yield file


def is_running(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
