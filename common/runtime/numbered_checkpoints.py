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
        step: that the run begins at. What it wrote for later ones, before it was resumed, is deleted first.
    """

    def __init__(self, folder: str | os.PathLike, prefix: str, run_name: str, keep: int | None, step: int):
        self.folder, self.prefix, self.keep = Path(folder), prefix, keep
        name = re.compile(rf"{re.escape(prefix)}\d+\.pth")
        found = [] if keep is None else [path for path in self.folder.glob("*") if name.fullmatch(path.name) and path.is_file()]
        steps = {path: _step_of(path, run_name) for path in found}
        # Not by the files' times: a copy has others, and a clock may be set back.
        ours = ((there <= step, there, path) for path, there in steps.items() if there is not None)
        self.files = [path for _, _, path in sorted(ours)]

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


def _step_of(path: Path, run_name: str) -> int | None:
    """Return the step that a checkpoint of the run is of; None for another run's, and for a file that cannot be read."""
    try:
        checkpoint = load_checkpoint(path)
    except CheckpointError:
        return None
    step = checkpoint.get("global_step", 0)
    return step if checkpoint.get("run_name") == run_name and type(step) is int else None
