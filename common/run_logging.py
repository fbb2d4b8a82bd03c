"""What a run leaves behind for people: TensorBoard, Weights & Biases, progress, pictures."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from common.plain_text import printable
from common.run_names import RUNS, RunError, unwritable
from common.statistics import rate_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """A run's TensorBoard logs. Where they can't be written any more, that is said once, and the run goes on without.

    Args:
        folder: of the run.
        purge_step: what was logged from this step on is replaced.

    Raises OSError if they can't be written from the first.
    """

    def __init__(self, folder: Path, purge_step: int | None = None):
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and most users of this module only show progress

        self.folder = folder
        _hush_writer_threads()
        self._writer: SummaryWriter | None = SummaryWriter(str(folder), purge_step=purge_step)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self._do("add_scalar", name, value, step)

    def add_text(self, name: str, text: str, step: int) -> None:
        self._do("add_text", name, text, step)

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
            print(f"{self.folder}: logs can't be written any more ({reason}); the run goes on without", file=sys.stderr)


def _hush_writer_threads() -> None:
    """Keep TensorBoard's threads from printing tracebacks: what ends one is raised again by its writer's next call."""
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
        resumed_at: the step that a continued run was saved at. What was logged after it is replaced.

    Raises RunError if one of them refuses, for example for want of a key.
    """
    settings = dataclasses.asdict(args)
    if track:
        import wandb

        try:
            wandb.init(
                project=project,
                entity=entity,
                name=run_name,
                id=run_name,
                resume="never" if resumed_at is None else "allow",  # one that was not tracked before is new there
                config=settings,
                sync_tensorboard=True,
                save_code=True,
            )
        except (wandb.errors.Error, ValueError) as error:  # a variable of its own with a wrong value is a ValueError
            reason = " ".join(str(error).split()).rstrip(".")
            raise RunError(
                f"--track: W&B refuses: {reason}; mend that, or leave --track out (with WANDB_MODE=offline it needs no key)"
            ) from error
    folder = Path(runs_dir) / run_name
    try:
        log = RunLog(folder, None if resumed_at is None else resumed_at + 1)
    except OSError as error:
        raise unwritable(folder, error) from error
    log.add_text("hyperparameters", hyperparameter_table(settings), resumed_at or 0)
    return log


def finish_run(log: RunLog, track: bool) -> None:
    """Write out what is still in memory, here and at W&B, where the run has failed if an exception is under way."""
    log.close()
    if track:
        import wandb

        wandb.finish(exit_code=int(sys.exc_info()[0] is not None))


def hyperparameter_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names of flags as they are typed, and their values as text."""
    return [(f"--{name.replace('_', '-')}", str(value)) for name, value in settings.items()]


def hyperparameter_table(settings: Mapping[str, Any]) -> str:
    """A Markdown table of names and values."""
    return "|param|value|\n|-|-|\n" + "\n".join(f"|{key}|{value}|" for key, value in settings.items())


def confusion_figure(counts: np.ndarray, names: Sequence[str], title: str = "") -> Any:
    """A matplotlib figure of a confusion matrix, for `RunLog.add_figure`.

    Args:
        counts: (n, n), rows the true labels, columns the predictions. Colours show shares of a row, numbers are counts.
        names: of the n classes.
        title: above it.
    """
    os.environ["MPLBACKEND"] = "agg"  # a notebook hands its own to what it starts, and that need not be installed here
    from matplotlib.figure import Figure

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(1.5 + 0.55 * len(names), 1.3 + 0.5 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("network")
    axes.set_ylabel("expert")
    axes.set_title(title)
    for row, column in np.argwhere(counts > 0):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", color=colour, fontsize=8)
    return figure


def results_table(records: Mapping[str, tuple[Mapping[str, Any], str | Path]]) -> Table:
    """A table of networks and how they did.

    Args:
        records: name of a network -> its record and its file. A record has `step` and, where they were measured,
            `val_loss` and `val_accuracy`, and what `Evaluation.record` says.
    """
    table = Table("network", "step", "val. loss", "val. accuracy", "success [95 % interval]", "steps (successes)", "file")
    for name, (record, file) in records.items():
        validated, played = "val_loss" in record, "successes" in record
        table.add_row(
            name,
            f"{record['step']:,}",
            f"{record['val_loss']:.4f}" if validated else "-",
            f"{record['val_accuracy']:.3f}" if validated else "-",
            rate_text(record["successes"], record["episodes"]) if played else "-",
            f"{record['mean_success_length']:.1f}" if played and record["successes"] else "-",
            str(file),
        )
    return table


def plain_console(**settings: Any) -> Console:
    """A console that prints text as it is: what stands in brackets or between colons may be a part of a path."""
    return Console(markup=False, emoji=False, highlight=False, **settings)


def print_table(table: Table) -> None:
    """Print a table, whole even where the terminal is too narrow for it. Its texts are no markup, and may be a stranger's."""
    table.title = printable(table.title) if isinstance(table.title, str) else table.title
    for column in table.columns:
        column._cells[:] = [printable(cell) if isinstance(cell, str) else cell for cell in column._cells]
    console = plain_console()
    width = console.measure(table, options=console.options.update(width=1000)).maximum
    plain_console(width=max(console.width, width)).print(table)


class ProgressReport:
    """A progress bar on a terminal, a plain line now and then elsewhere (a log file, CI); a context manager.

    Args:
        description: in front.
        total: steps in all.
        start: steps that are done already.
        every: seconds between plain lines.
        console: where to; standard output by default.
    """

    def __init__(self, description: str, total: int, start: int = 0, every: float = 15.0, console: Console | None = None):
        self.description, self.total, self.start, self.every = description, total, start, every
        self.console = console or plain_console(soft_wrap=True)
        self._bar: Progress | None = None
        self._done, self._text = start, ""
        self._line_at: int | None = None
        self._began = self._printed = time.monotonic()

    def __enter__(self) -> ProgressReport:
        self._began = self._printed = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[text]}", markup=False),
                console=self.console,
                transient=True,
                refresh_per_second=4,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.description, total=self.total, completed=self.start, text="")
        return self

    def update(self, done: int, text: str | None = None) -> None:
        """Say how many steps are done, and what to show beside them."""
        self._done = done
        self._text = self._text if text is None else text
        if self._bar is not None:
            self._bar.update(self._task, completed=done, text=self._text)
        elif time.monotonic() - self._printed >= self.every:
            self._printed = time.monotonic()
            self._line()

    def print(self, text: str) -> None:
        """A line that stays, above the bar. Brackets are not markup."""
        self.console.print(printable(text), markup=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._line_at != self._done:
            self._line()

    def _line(self) -> None:
        seconds = time.monotonic() - self._began
        rate = (self._done - self.start) / max(seconds, 1e-9)
        self.print(f"{self.description}: {self._done:,}/{self.total:,} in {seconds:.0f} s ({rate:.1f}/s) {self._text}".rstrip())
