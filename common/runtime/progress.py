"""The progress shown while a script works, and the table at its end."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from common.runtime.plain_text import printable


def plain_console(**settings: Any) -> Console:
    """Return a console that prints text without markup: text in brackets or between colons may be part of a path."""
    return Console(markup=False, emoji=False, highlight=False, **settings)


def print_table(table: Table) -> None:
    """Print a table in full, even if the terminal is too narrow. Its texts are not markup, and may be a stranger's."""
    table.title = printable(table.title) if isinstance(table.title, str) else table.title
    for column in table.columns:
        column._cells[:] = [printable(cell) if isinstance(cell, str) else cell for cell in column._cells]
    console = plain_console()
    width = console.measure(table, options=console.options.update(width=1000)).maximum
    plain_console(width=max(console.width, width)).print(table)


class ProgressReport:
    """A progress bar on a terminal, a plain line now and then elsewhere (a log file, CI); a context manager.

    Args:
        description: text in front.
        total: steps in all.
        start: steps already done.
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
        """Set how many steps are done, and the text to show next to them."""
        self._done = done
        self._text = self._text if text is None else text
        if self._bar is not None:
            self._bar.update(self._task, completed=done, text=self._text)
        elif time.monotonic() - self._printed >= self.every:
            self._printed = time.monotonic()
            self._line()

    def print(self, text: str) -> None:
        """Print a line that stays above the bar. Brackets are not markup."""
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
