"""The numbered checkpoints of a run, of which only the newest are kept."""

from __future__ import annotations

import os
import re
from pathlib import Path

from common.runtime.checkpoints import CheckpointError, load_checkpoint


class NumberedCheckpoints:
    """Names a run's numbered checkpoints, `{folder}/{prefix}{number}.pth`, and deletes all but the newest.

    A file belongs to the run if it has such a name and names the run inside. Other runs' files are left alone, as are files that
    cannot be read.

    Args:
        folder: that they are in.
        prefix: that their names begin with.
        run_name: the run's.
        keep: how many are kept; None keeps all.
    """

    def __init__(self, folder: str | os.PathLike, prefix: str, run_name: str, keep: int | None):
        self.folder, self.prefix, self.keep = Path(folder), prefix, keep
        name = re.compile(rf"{re.escape(prefix)}\d+\.pth")
        found = [] if keep is None else [path for path in self.folder.glob("*") if name.fullmatch(path.name) and path.is_file()]
        found = [path for path in found if _run_of(path) == run_name]
        # By age, not by number: what a run writes after it was resumed from an earlier checkpoint is newer than the rest.
        self.files = sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def path(self, number: int) -> Path:
        """Return the path of the checkpoint with this number."""
        return self.folder / f"{self.prefix}{number}.pth"

    def written(self, path: Path) -> None:
        """Note that a checkpoint was written. Delete the oldest, so that `keep` remain."""
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
