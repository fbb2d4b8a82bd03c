"""What a run leaves behind for people: TensorBoard, Weights & Biases, progress, pictures."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.runtime.files import as_utf8
from common.runtime.run_names import RUNS, RunError, unwritable

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """A run's TensorBoard logs. If they cannot be written any more, this is reported once, and the run continues without them.

    Args:
        folder: of the run.
        purge_step: what was logged from this step on is replaced.

    Raises OSError if they cannot be written at the start.
    """

    def __init__(self, folder: Path, purge_step: int | None = None):
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and most users of this module only show progress

        self.folder = folder
        _hush_writer_threads()
        self._writer: SummaryWriter | None = SummaryWriter(str(folder), purge_step=purge_step)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self._do("add_scalar", name, value, step)

    def add_text(self, name: str, text: str, step: int) -> None:
        self._do("add_text", name, as_utf8(text), step)

    def add_figure(self, name: str, figure: Any, step: int) -> None:
        self._do("add_figure", name, figure, step)

    def flush(self) -> None:
        self._do("flush")

    def close(self) -> None:
        self._do("close")
        self._writer = None

    def _do(self, method: str, *values: Any) -> None:
        if self._writer is None:
            return
        try:
            getattr(self._writer, method)(*values)
        except OSError as error:
            self._writer = None
            reason = error.strerror or error
            print(f"{self.folder}: logs cannot be written any more ({reason}); the run continues without them", file=sys.stderr)


def _hush_writer_threads() -> None:
    """Keep TensorBoard's threads from printing tracebacks. An error that ends one is raised again by its writer's next call."""
    before = threading.excepthook

    def hush(args: threading.ExceptHookArgs) -> None:
        if not (issubclass(args.exc_type, OSError) and type(args.thread).__module__.startswith("tensorboard.")):
            before(args)

    if getattr(before, "__qualname__", "") != hush.__qualname__:
        threading.excepthook = hush


def start_run(
    run_name: str,
    args: Any,
    *,
    runs_dir: str | Path = RUNS,
    track: bool = False,
    project: str | None = None,
    entity: str | None = None,
    resumed_at: int | None = None,
) -> RunLog:
    """Open the run's TensorBoard folder, `{runs_dir}/{run_name}/`, and W&B if the run is tracked.

    Args:
        run_name: also the run's id at W&B.
        args: a dataclass; written as a Markdown table.
        track: mirror everything to W&B. With WANDB_MODE=offline it works without a network.
        project, entity: at W&B.
        resumed_at: the step at which a resumed run was saved. What was logged after it is replaced.

    Raises RunError if W&B refuses, for example because there is no key, or if the logs cannot be written.
    """
    settings = {key: as_utf8(value) if isinstance(value, str) else value for key, value in dataclasses.asdict(args).items()}
    if track:
        import wandb

        try:
            wandb.init(
                project=project,
                entity=entity,
                name=run_name,
                id=run_name,
                resume="never" if resumed_at is None else "allow",  # a run that was not tracked before is new there
                config=settings,
                sync_tensorboard=True,
                save_code=True,
            )
        except (wandb.errors.Error, ValueError) as error:  # W&B raises ValueError for a wrong value of one of its variables
            reason = " ".join(str(error).split()).rstrip(".")
            raise RunError(
                f"--track: W&B refuses: {reason}; fix that, or leave --track out (with WANDB_MODE=offline it needs no key)"
            ) from error
    folder = Path(runs_dir) / run_name
    try:
        log = RunLog(folder, None if resumed_at is None else resumed_at + 1)
    except OSError as error:
        raise unwritable(folder, error) from error
    log.add_text("hyperparameters", hyperparameter_table(settings), resumed_at or 0)
    return log


def finish_run(log: RunLog, track: bool) -> None:
    """Write out what is still in memory, here and at W&B. There the run counts as failed if an exception is being handled."""
    log.close()
    if track:
        import wandb

        wandb.finish(exit_code=int(sys.exc_info()[0] is not None))


def hyperparameter_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names of flags as they are typed, and their values as text."""
    return [(f"--{name.replace('_', '-')}", str(value)) for name, value in settings.items()]


def hyperparameter_table(settings: Mapping[str, Any]) -> str:
    """Return a Markdown table of names and values."""
    return "|param|value|\n|-|-|\n" + "\n".join(f"|{key}|{value}|" for key, value in settings.items())
