"""Names that a run has to itself: those of its checkpoints, and its folder in runs/."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from common.runtime.files import AlreadyLockedError, clear_temporaries, exclusive_lock, make_folder
from common.runtime.main import UserError

RUNS = Path("runs")
MOST_BYTES = 100
"""Bytes of an experiment's name, at most: file names, with what is added to it, may have 255, W&B's ids 128."""


class RunError(UserError, ValueError):
    """The run cannot begin; the text says why, and what to do."""


def name_complaint(name: str) -> str | None:
    """Return why an experiment cannot have this name, which becomes part of file names; None if it can."""
    if not name or name.startswith(".") or not name.isprintable():
        return f"{name!r} is no name for files: use letters, digits, - and _"
    if separators := sorted({"/", "\\"} & set(name)):
        return f"{name!r} has a {separators[0]}, but is a part of file names: for a folder of checkpoints there is --model-dir"
    if len(os.fsencode(name)) > MOST_BYTES:
        return f"{name[:20]!r}... has {len(os.fsencode(name))} bytes, but must have at most {MOST_BYTES}"
    return None


@contextlib.contextmanager
def only_trainer(model_dir: str | os.PathLike, exp_name: str) -> Iterator[None]:
    """Lock an experiment's checkpoints against other processes, and delete what a killed process left half written.

    Read a run's name and progress inside the block only: before it, another process may still write them.

    Raises RunError if the name cannot be part of file names, another process trains there, or the folder cannot be written.
    """
    if complaint := name_complaint(exp_name):
        raise RunError(f"--exp-name: {complaint}")
    folder = Path(model_dir)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(exclusive_lock(folder / f".{exp_name}.lock"))
        except AlreadyLockedError as error:
            raise RunError(
                f"{folder / exp_name}_*.pth: another process trains this run ({error.holder}); wait for its end, or choose another "
                "--exp-name"
            ) from None
        except OSError as error:
            raise RunError(f"--model-dir {model_dir}: cannot be written ({error.strerror or error}); name another") from error
        clear_temporaries(folder, rf"{re.escape(exp_name)}_(best|last|final|iter\d+|\d+)\.pth")
        yield


@contextlib.contextmanager
def run_folder(exp_name: str, seed: int, runs_dir: Path = RUNS) -> Iterator[str]:
    """Make the folder of a new run, and yield its name: `{exp_name}_{seed}_{seconds since 1970}`.

    If another run has that name, a later second is taken. A folder that is still empty at the end is removed: the run never began.

    Raises RunError if it cannot be made.
    """
    second = int(time.time())
    while True:
        folder = runs_dir / f"{exp_name}_{seed}_{second}"
        try:
            make_folder(runs_dir)
            folder.mkdir()
            break
        except FileExistsError:
            if not runs_dir.is_dir():
                raise RunError(f"{runs_dir}: is no folder, so there is no place for logs; move it away") from None
            second += 1
        except OSError as error:
            raise unwritable(folder, error) from error
    try:
        with _only_writer(folder):
            yield folder.name
    finally:
        with contextlib.suppress(OSError):  # it is not empty
            folder.rmdir()


@contextlib.contextmanager
def resumed_run(run_name: str, runs_dir: Path = RUNS) -> Iterator[str]:
    """Hold the folder of a resumed run, in which its logs continue, and yield the run's name.

    The name must be a plain one, because it becomes a path.

    Raises RunError if the folder cannot be written, or another process runs this run.
    """
    with _only_writer(runs_dir / run_name):
        yield run_name


@contextlib.contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Lock a run's folder against other processes that resume the same run, even with another --model-dir."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(exclusive_lock(folder / ".lock"))
        except AlreadyLockedError as error:
            raise RunError(f"{folder}: another process has resumed this run ({error.holder}); wait for its end") from None
        except OSError as error:
            raise unwritable(folder, error) from error
        clear_temporaries(folder / "videos")
        yield


def unwritable(folder: Path, error: OSError) -> RunError:
    """Return the error for logs that cannot be written."""
    return RunError(f"{folder}: logs cannot be written there ({error.strerror or error}); make room, or start in another folder")
