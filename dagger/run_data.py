"""The data set of a run: a new one in place of what may be replaced, or that of the run which is resumed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagger.data import DEMONSTRATION_ITERATION, DaggerData, DaggerDataError


def holds_rows(path: Path) -> bool:
    """Return whether a data set is of a run that began; a data set without rows is left by a failed start, and may be replaced."""
    with DaggerData(path, "read") as data:
        return len(data) > 0


def check_not_of_another_data_set(path: Path, last: Path, overwrite: bool) -> None:
    """Raise DaggerDataError if a new run would replace another one's data set.

    Args:
        path: where the data set would be.
        last: the checkpoint from which the other run would be resumed, if it is there.
        overwrite: it may be replaced.
    """
    if overwrite or not path.exists() or not holds_rows(path):
        return
    goes_on = f"continue that run with --resume-from {last}; " if last.is_file() else ""
    raise DaggerDataError(
        f"{path} already exists, the data set of another run. Choose another --exp-name or --model-dir; {goes_on}"
        "or replace it with --overwrite"
    )


def create_data(
    path: Path, exp_name: str, milestone: str, buttons: Sequence[str], facts: Mapping[str, Any], overwrite: bool
) -> DaggerData:
    """Create a new run's data set; with `overwrite`, delete all files of the run that had its name before."""
    theirs = [path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm"))]  # without rows, if it is there at all
    if overwrite:  # all of the other run, or a file of it would be taken for this run's when this one is resumed
        theirs += [path.with_name(f"{exp_name}_{name}.pth") for name in ("best", "last", "final")]
        iterations = re.compile(rf"{re.escape(exp_name)}_iter\d+\.pth")  # not those of another, {exp_name}_iterative
        theirs += [file for file in path.parent.glob("*.pth") if iterations.fullmatch(file.name)]
    for file in theirs:
        file.unlink(missing_ok=True)
    return DaggerData(path, "create", milestone=milestone, buttons=buttons, facts=facts)


def open_data(
    path: Path, resume_from: str, milestone: str, buttons: Sequence[str], n_rows: int, digest: str | None, overwrite: bool = False
) -> DaggerData:
    """Open the data set of the run that is resumed.

    Args:
        path: where it is.
        resume_from: the run's checkpoint.
        milestone, buttons: the run's.
        n_rows: rows that the checkpoint knows of.
        digest: of those rows (`DaggerData.digest`); None in older checkpoints, and nothing is compared.
        overwrite: what came after those rows may be thrown away.

    Raises DaggerDataError if it is not there, or is another one, or holds more after those rows than a killed run can have written
    since its checkpoint.
    """
    if not path.is_file():
        beside = Path(resume_from).with_name(path.name)
        hint = f"say --model-dir {beside.parent}, where it is" if beside.is_file() else "copy it there from where the run was"
        raise DaggerDataError(f"{path}: the data set of {resume_from} is not there; {hint}")
    data = DaggerData(path, "open", milestone=milestone, buttons=buttons)
    try:
        if digest not in (None, data.digest(n_rows)):
            raise DaggerDataError(
                f"{path}: is not the data set of {resume_from}, or was changed: its first {n_rows} rows are others; put the right "
                "file there, or start over without --resume-from"
            )
        later = [number for number, rows in data.iterations.items() if rows > n_rows and number != DEMONSTRATION_ITERATION]
        if len(later) > 1 and not overwrite:  # of one, the checkpoint is written just after it
            raise DaggerDataError(
                f"{path}: has {len(later)} iterations that {resume_from} does not know of, and {len(data) - n_rows:,} rows in them "
                "would be thrown away; resume from the newest checkpoint of its run, or give --overwrite"
            )
    except BaseException:
        data.close()
        raise
    return data
