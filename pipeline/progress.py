"""A pipeline's progress in the terminal: a bar over all milestones' iterations, and a line for each of their messages."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType

from rich.table import Table

from common.runtime.progress import ProgressReport
from common.statistics import percent, rate_text
from pipeline.records import Record


class PipelineProgress:
    """A context manager; its methods may be called from the milestones' threads.

    Args:
        milestones: those that are worked on.
        iterations: of DAgger. Each is one unit of the bar, as are the expert's evaluation and the test.
    """

    def __init__(self, milestones: Sequence[str], iterations: int):
        self._units = iterations + 2
        self._done = dict.fromkeys(milestones, 0)
        self._texts: dict[str, str] = {}
        self._finished = 0
        self._report = ProgressReport("pipeline", len(milestones) * self._units)
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def __enter__(self) -> PipelineProgress:
        self._began = time.monotonic()
        self._report.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._report.__exit__(kind, error, trace)

    def at(self, milestone: str, text: str) -> None:
        """Print what a milestone does next."""
        with self._lock:
            self._report.print(f"{milestone}: {text}")
            self._texts[milestone] = milestone
            self._update()

    def heard(self, milestone: str, line: str) -> None:
        """Show a line of DAgger's output if it is an event (`dagger_pokemon.py --json-events`)."""
        if not line.startswith('{"event": '):
            return
        event = json.loads(line)
        number, success = event["iteration"], event.get("success_rate")
        with self._lock:
            self._report.print(f"{milestone}: iteration {number}: {event['text']}")
            self._done[milestone] = max(self._done[milestone], min(1 + number, self._units - 1))
            self._texts[milestone] = f"{milestone} iteration {number}" + ("" if success is None else f", {percent(success)}")
            self._update()

    def done(self, record: Record) -> None:
        """Count a milestone that has ended, whatever its outcome, and print its record."""
        with self._lock:
            self._finished += 1
            self._done[record.milestone_id] = self._units
            self._texts.pop(record.milestone_id, None)
            self._report.print(f"{record.milestone_id}: {outcome(record)}")
            self._update()

    def _update(self) -> None:
        done, total = sum(self._done.values()), len(self._done) * self._units
        text = f"{self._finished} of {len(self._done)} milestones; {'; '.join(self._texts.values())}"
        if 0 < done < total:
            seconds = (time.monotonic() - self._began) * (total - done) / done
            text += f"; about {seconds / 60:.0f} min left"
        self._report.update(done, text)

    @staticmethod
    def table(records: Iterable[Record]) -> Table:
        """Return all records as a table."""
        table = Table("", "milestone", "status", "expert", "steps", "limit", "student [95 % interval]", "expert there", "min")
        for record in records:
            success = "-"
            if record.dagger_final_success_rate is not None and record.test_episodes is not None:
                success = rate_text(round(record.dagger_final_success_rate * record.test_episodes), record.test_episodes)
            table.add_row(
                str(record.index + 1),
                record.milestone_id,
                record.status if record.reason is None else f"{record.status}: {record.reason}",
                _percent(record.expert_success_rate),
                "-" if record.expert_mean_steps is None else f"{record.expert_mean_steps:.1f}",
                str(record.max_episode_steps or "-"),
                success,
                _percent(record.expert_test_success_rate),
                "-" if record.minutes is None else f"{record.minutes:.1f}",
            )
        return table


def outcome(record: Record) -> str:
    """Return a record in one line."""
    if record.status != "completed":
        return f"{record.status}: {record.reason}"
    return (
        f"completed: {_percent(record.dagger_final_success_rate)} of {record.test_episodes} test episodes, the expert "
        f"{_percent(record.expert_test_success_rate)}; {record.minutes:.1f} min"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else percent(share)
