"""One training run: its name, files, lock, logs and signals.

    with TrainingRun(args, "bc") as run:         # locks, reads the checkpoint, refuses; nothing is written yet
        ...                                      # anything that may still fail
        run.begin(step)                          # its folder in runs/, its logs: from here on it writes
        run.write(run.files["last"], content)

The run does not depend on what is learned: the script's loop calls it, and it calls nothing back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import torch

from common.runtime.checkpoints import (
    CheckpointError,
    changed_versions,
    check_fits,
    check_not_behind,
    check_not_of_another_run,
    load_checkpoint,
    package_versions,
    save_checkpoint,
    saved_fields,
    saved_run_name,
    saved_threads,
)
from common.runtime.device import seed_everything, select_device, set_threads
from common.runtime.flags import plain_flags
from common.runtime.logs import RunLog, finish_run, start_run
from common.runtime.main import StopRequest
from common.runtime.numbered_checkpoints import NumberedCheckpoints
from common.runtime.plain_names import is_plain_name
from common.runtime.run_names import RUNS, only_trainer, resumed_run, run_folder

T = TypeVar("T")


class Flags(Protocol):
    """What a run must be told (`common.flag_groups.RunFlags`)."""

    exp_name: str
    seed: int
    torch_deterministic: bool
    cuda: bool
    num_threads: int | None
    track: bool
    wandb_project_name: str
    wandb_entity: str | None
    model_dir: str
    keep_last: int | None
    overwrite: bool
    resume_from: str | None


class TrainingRun:
    """A new or resumed run. A context manager, which closes what was opened in it.

    On entry it raises RunError if another process trains this run. It raises CheckpointError for a checkpoint that cannot be
    resumed, and if files of another run, or later ones of this run, would be replaced.

    Args:
        flags: the script's.
        algorithm: what its checkpoints name.

    Attributes:
        device, threads: that torch computes with.
        checkpoint: the one that the run is resumed from; None for a new one.
        origin: the checkpoint's path; "" for a new run.
        flags_before: the flags that the checkpoint's run had.
        files: "best", "last", "final" -> the checkpoint of that name.
        name: the run's, once it has begun.
        videos: its folder for films, once it has begun.
        log: its TensorBoard logs, once it has begun.
        stop: call it to ask whether to stop, once it has begun.
        last_good: the newest checkpoint that it can be resumed from.
        best_file: where the best network so far is, or will be.
    """

    name: str
    videos: Path
    log: RunLog
    stop: StopRequest
    numbered: NumberedCheckpoints
    device: torch.device
    threads: int
    checkpoint: dict[str, Any] | None

    def __init__(self, flags: Flags, algorithm: str):
        self.flags, self.algorithm = flags, algorithm
        self.origin = flags.resume_from or ""
        self.files = {name: Path(flags.model_dir) / f"{flags.exp_name}_{name}.pth" for name in ("best", "last", "final")}
        self.last_good: str | os.PathLike | None = flags.resume_from
        self.best_file = self.files["best"]
        self.flags_before: dict[str, Any] = {}
        self._resumed_name: str | None = None
        self._last_written = time.monotonic()
        self._opened = ExitStack()

    def __enter__(self) -> TrainingRun:
        with ExitStack() as opened:
            flags = self.flags
            self.device = select_device(flags.cuda)
            seed_everything(flags.seed, flags.torch_deterministic)
            opened.enter_context(only_trainer(flags.model_dir, flags.exp_name))
            self.checkpoint = None if flags.resume_from is None else load_checkpoint(flags.resume_from)
            self.threads = set_threads(flags.num_threads, saved_threads(self.checkpoint))
            self._check_files()
            if self.checkpoint is not None and (changes := changed_versions(self.checkpoint)):
                print(f"not bit-identical to an uninterrupted run: {'; '.join(changes)}")
            self._opened = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._opened.__exit__(kind, error, trace)

    def _check_files(self) -> None:
        path, overwrite = self.origin, self.flags.overwrite
        if self.checkpoint is not None:
            check_fits(self.checkpoint, path, algorithm=self.algorithm)
            if not {"training_state", "optimizer_state_dict", "progress"} <= self.checkpoint.keys():
                raise CheckpointError(f"{path}: has only weights; training resumes from a _last.pth or _STEP.pth")
            self.flags_before = saved_fields(self.checkpoint, path, "args", type(self.flags))
            if self.flags_before.get("exp_name") == self.flags.exp_name:  # else it is resumed as another run
                self._resumed_name = saved_run_name(self.checkpoint, path)
        check_not_of_another_run(list(self.files.values()), self._resumed_name, overwrite)
        if self.checkpoint is not None:
            step = self.checkpoint.get("global_step", 0)
            check_not_behind([self.files["last"], self.files["final"]], path, self._resumed_name, step, overwrite)

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Enter a context that is left when the run ends."""
        return self._opened.enter_context(context)

    def callback(self, function: Callable[..., Any], *values: Any) -> None:
        """Call a function when the run ends, however it ends."""
        self._opened.callback(function, *values)

    def saved(self, key: str, kind: type) -> dict[str, Any]:
        """Return the fields of a dataclass that the checkpoint holds, by name; {} for a new run."""
        return {} if self.checkpoint is None else saved_fields(self.checkpoint, self.origin, key, kind)

    def best_if_there(self, record: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the record of the resumed run's best network so far; print and return None if its checkpoint is missing.

        From here on `best_file` is that checkpoint, also if the run was renamed or moved.
        """
        best, origin = self.files["best"], Path(self.origin)
        if self._resumed_name is None:  # under a new name: the best network so far keeps the old one
            theirs = self.flags_before.get("exp_name")
            self.best_file = origin.with_name(f"{theirs if is_plain_name(theirs) else 'its'}_best.pth")
        elif not best.is_file():
            self.best_file = origin.with_name(best.name)
        if record is not None and not self.best_file.is_file():
            print(f"{self.best_file} is missing: the best network is chosen from the evaluations after this")
            return None
        return record

    def begin(self, step: int, numbered: str = "_") -> None:
        """Claim the run's folder, open its logs and handle signals. From here on the run writes.

        Args:
            step: where it begins. What a resumed run has logged after this step is replaced.
            numbered: stands between the experiment's name and the number of numbered checkpoints.
        """
        flags, resumed = self.flags, self._resumed_name is not None
        claim = run_folder(flags.exp_name, flags.seed) if self._resumed_name is None else resumed_run(self._resumed_name)
        self.name = self.enter(claim)
        self.videos = RUNS / self.name / "videos"
        self.numbered = NumberedCheckpoints(flags.model_dir, f"{flags.exp_name}{numbered}", self.name, flags.keep_last, step)
        self.log = start_run(
            self.name, flags, track=flags.track, project=flags.wandb_project_name, entity=flags.wandb_entity,
            resumed_at=step if resumed else None,
        )  # fmt: skip
        self.callback(finish_run, self.log, flags.track)
        self.stop = StopRequest()
        self.callback(self.stop.restore)
        self._last_written = time.monotonic()

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write a checkpoint: `content`, and the keys that every checkpoint of a run has."""
        about = {
            "algorithm": self.algorithm, "args": plain_flags(self.flags), "run_name": self.name, "versions": package_versions(),
        }  # fmt: skip
        save_checkpoint(path, about | dict(content))
        if "optimizer_state_dict" in content:
            self.last_good = path
        if path == self.files["last"]:
            self._last_written = time.monotonic()
        if path == self.files["best"]:
            self.best_file = path

    def last_is_due(self, interval: float) -> bool:
        """Return whether this many seconds have passed since the run began, or has written `files["last"]`."""
        return time.monotonic() - self._last_written >= interval

    def write_numbered(self, number: int, content: Mapping[str, Any]) -> None:
        """Write a numbered checkpoint, and delete the oldest, so that --keep-last remain."""
        path = self.numbered.path(number)
        self.write(path, content)
        self.numbered.written(path)

    def log_scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Log values under their names within a group, such as `train/`."""
        for name, value in values.items():
            self.log.add_scalar(f"{group}/{name}", value, step)
