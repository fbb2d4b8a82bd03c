"""What a run leaves behind for people: TensorBoard, Weights & Biases, progress, pictures."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from common.statistics import rate_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def new_run_name(exp_name: str, seed: int) -> str:
    """{exp_name}_{seed}_{seconds since 1970}."""
    return f"{exp_name}_{seed}_{int(time.time())}"


def start_run(
    run_name: str,
    args: Any,
    *,
    runs_dir: str | Path = "runs",
    track: bool = False,
    project: str | None = None,
    entity: str | None = None,
    resumed_at: int | None = None,
) -> SummaryWriter:
    """Open the run's TensorBoard folder, `{runs_dir}/{run_name}/`, and W&B if the run is tracked.

    Args:
        run_name: also the run's id at W&B.
        args: a dataclass; written as a Markdown table.
        track: mirror everything to W&B. With WANDB_MODE=offline it works without a network.
        project, entity: at W&B.
        resumed_at: the step that a continued run was saved at. What was logged after it is replaced.
    """
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and most users of this module only show progress

    settings = dataclasses.asdict(args)
    if track:
        import wandb

        wandb.init(
            project=project,
            entity=entity,
            name=run_name,
            id=run_name,
            resume="allow",
            config=settings,
            sync_tensorboard=True,
            save_code=True,
        )
    purge_step = None if resumed_at is None else resumed_at + 1
    writer = SummaryWriter(str(Path(runs_dir) / run_name), purge_step=purge_step)
    writer.add_text("hyperparameters", hyperparameter_table(settings), resumed_at or 0)
    return writer


def finish_run(writer: SummaryWriter, track: bool) -> None:
    """Write out what is still in memory, here and at W&B."""
    writer.close()
    if track:
        import wandb

        wandb.finish()


def hyperparameter_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names of flags as they are typed, and their values as text."""
    return [(f"--{name.replace('_', '-')}", str(value)) for name, value in settings.items()]


def hyperparameter_table(settings: Mapping[str, Any]) -> str:
    """A Markdown table of names and values."""
    return "|param|value|\n|-|-|\n" + "\n".join(f"|{key}|{value}|" for key, value in settings.items())


def confusion_figure(counts: np.ndarray, names: Sequence[str], title: str = "") -> Any:
    """A matplotlib figure of a confusion matrix, for `SummaryWriter.add_figure`.

    Args:
        counts: (n, n), rows the true labels, columns the predictions. Colours show shares of a row, numbers are counts.
        names: of the n classes.
        title: above it.
    """
    from matplotlib.figure import Figure  # without pyplot, so that no display is looked for

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
            escape(rate_text(record["successes"], record["episodes"])) if played else "-",
            f"{record['mean_success_length']:.1f}" if played and record["successes"] else "-",
            str(file),
        )
    return table


def print_table(table: Table) -> None:
    """Print a table, whole even where the terminal is too narrow for it."""
    console = Console()
    Console(width=max(console.width, console.measure(table, options=console.options.update(width=1000)).maximum)).print(table)


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
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._done, self._text = start, ""
        self._line_at: int | None = None
        self._began = self._printed = time.monotonic()

    def __enter__(self) -> ProgressReport:
        self._began = self._printed = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"),
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
        self.console.print(text, markup=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._line_at != self._done:
            self._line()

    def _line(self) -> None:
        seconds = time.monotonic() - self._began
        rate = (self._done - self.start) / max(seconds, 1e-9)
        self.print(f"{self.description}: {self._done:,}/{self.total:,} in {seconds:.0f} s ({rate:.1f}/s) {self._text}".rstrip())
