"""The checkpoints of a run that have numbers, of which only the newest are kept."""

from __future__ import annotations

import os
import re
from pathlib import Path

from common.runtime.checkpoints import CheckpointError, load_checkpoint


class NumberedCheckpoints:
    """Names a run's numbered checkpoints, `{folder}/{prefix}{number}.pth`, and deletes all but the newest.

    A file belongs to the run if it has such a name and names the run inside: those of others are left alone, as is what can't
    be read.

    Args:
        folder: that they are in.
        prefix: with which their names begin.
        run_name: the run's.
        keep: how many are kept; None keeps all.
    """

    def __init__(self, folder: str | os.PathLike, prefix: str, run_name: str, keep: int | None):
        self.folder, self.prefix, self.keep = Path(folder), prefix, keep
        name = re.compile(rf"{re.escape(prefix)}\d+\.pth")
        found = [] if keep is None else [path for path in self.folder.glob("*") if name.fullmatch(path.name) and path.is_file()]
        found = [path for path in found if _run_of(path) == run_name]
        # By age, not by number: a run that was resumed from an earlier one is newer than what it wrote the first time.
        self.files = sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def path(self, number: int) -> Path:
        """Where the checkpoint with this number is to be written."""
        return self.folder / f"{self.prefix}{number}.pth"

    def written(self, path: Path) -> None:
        """Say that a checkpoint is there, whole. Of those before it only so many stay that `keep` are there."""
        if self.keep is None:
            return
        self.files = [other for other in self.files if other != path] + [path]
        while len(self.files) > self.keep:
            self.files.pop(0).unlink(missing_ok=True)


def _run_of(path: Path) -> str | None:
    try:
        return load_checkpoint(path).get("run_name")
    except CheckpointError:
        return None
