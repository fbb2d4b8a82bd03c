"""The gates on students of docs/benchmark.md, written before the scores that they judge: is Tallgrass-v1 learnable, and unsolved?

Each is judged by the end of a 95 % bootstrap interval, over milestones, seeds and episodes, that lies nearer to its limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from benchmarks.results_file import Entry, title
from common.statistics import bootstrap_iqm, bootstrap_iqm_difference, bootstrap_mean
from pokemon_env.games.tallgrass.benchmark_v1 import SCORED

Column = tuple[str, int]
Columns = Mapping[Column, Mapping[str, list[Entry]]]
"""Complete columns, as `results_file.complete` returns them: (method, labels) -> milestone -> a result of each seed."""
Measured = tuple[float, float, float, str]
"""What was measured, the ends of its interval, and the text for the table."""

SEEDS = 3
"""The least number of training seeds."""
BELOW = 0.95
"""Where a milestone leaves room above."""
BEST: tuple[Column, Column] = (("bc", 10_000), ("dagger", 10_000))
"""Of these two the better one counts."""


@dataclass(frozen=True)
class StudentGate:
    """What the students' columns must show. `at_most` says on which side of the limit the interval must lie."""

    text: str
    wanted: str
    needs: tuple[Column, ...]
    measure: Callable[[Columns], Measured]
    limit: float
    at_most: bool = False

    def judge(self, columns: Columns) -> tuple[str, str, str, str]:
        """Return the gate's text, what is wanted, what was measured, and PASS, FAIL or "not measured"."""
        if any(column not in columns or not _is_whole(columns[column]) for column in self.needs):
            return self.text, self.wanted, "-", "not measured"
        _, low, high, told = self.measure(columns)
        passes = high <= self.limit if self.at_most else low >= self.limit
        return self.text, self.wanted, told, "PASS" if passes else "FAIL"


def _is_whole(column: Mapping[str, list[Entry]]) -> bool:
    return all(len(column.get(name, ())) >= SEEDS for name in SCORED)


def _successes(columns: Columns, column: Column, milestones: tuple[str, ...] = SCORED) -> np.ndarray:
    """Return (M, S, E) successes."""
    return np.array([[row["successes"] for row in columns[column][name]] for name in milestones])


def _draws(milestones: int) -> np.random.Generator:
    return np.random.default_rng([2021, milestones])


def _iqm(columns: Columns, column: Column) -> Measured:
    value, low, high = bootstrap_iqm(_successes(columns, column), _draws(len(SCORED)))
    return value, low, high, f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def _labels_matter(columns: Columns) -> Measured:
    many, few = (_successes(columns, ("bc", labels)) for labels in (10_000, 250))
    value, low, high = bootstrap_iqm_difference(many, few, _draws(len(SCORED)))
    return value, low, high, f"{100 * value:.0f} points [{100 * low:.0f}, {100 * high:.0f}]"


def _few_labels(columns: Columns) -> Measured:
    return _iqm(columns, ("bc", 1_000))


def _learned(columns: Columns) -> Measured:
    found = {column: _iqm(columns, column) for column in BEST}
    best = max(found, key=lambda column: found[column][0])
    value, low, high, told = found[best]
    return value, low, high, f"{told} ({title((best[0], 0))})"


def _room_above(columns: Columns) -> Measured:
    """Count the milestones where the better of the two there is surely below `BELOW`. The count has no interval of its own."""
    count = 0
    for name in SCORED:
        both = [_successes(columns, column, (name,)) for column in BEST]
        best = max(both, key=np.mean)
        count += _upper_end(best.tobytes(), best.shape) < BELOW
    return count, count, count, f"{count} of {len(SCORED)}"


@lru_cache(maxsize=64)
def _upper_end(successes: bytes, shape: tuple[int, ...]) -> float:
    """Return where a milestone's interval ends. Kept, as each result that comes has all gates judged again."""
    return bootstrap_mean(np.frombuffer(successes, bool).reshape(shape), _draws(1))[2]


GATES = (
    StudentGate(
        "labels matter: the IQM of BC with 10,000 labels, less that with 250", "at least 20 points, by the lower bound",
        (("bc", 10_000), ("bc", 250)), _labels_matter, 0.20,
    ),
    StudentGate(
        "few labels do not solve it: the IQM of BC with 1,000 labels", "at most 80 %, by the upper bound",
        (("bc", 1_000),), _few_labels, 0.80, at_most=True,
    ),
    StudentGate(
        "it can be learned: the IQM of the better of BC and DAgger with 10,000 labels", "at least 60 %, by the lower bound",
        BEST, _learned, 0.60,
    ),
    StudentGate(
        "there is room above: milestones on which the better of the two, with 10,000 labels, is below 95 % by the upper bound of "
        "its interval", "at least 3 of 17",
        BEST, _room_above, 3,
    ),
)  # fmt: skip


def judge(columns: Columns) -> list[tuple[str, str, str, str]]:
    """Return each gate's text, what is wanted, what was measured, and its verdict."""
    return [gate.judge(columns) for gate in GATES]


def table(columns: Columns) -> str:
    """Return the gates as a table."""
    rows = ["| gate on students, T2, three seeds | wanted | measured, 95 % interval | |", "|-|-|-|-|"]
    return "\n".join([*rows, *(f"| {' | '.join(row)} |" for row in judge(columns))])
