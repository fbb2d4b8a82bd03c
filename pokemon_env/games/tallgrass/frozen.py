"""The benchmark's frozen episodes: which seeds they have, and how many steps the expert takes in each.

`frozen_steps.json` beside this file holds the steps, for each tier, split and milestone one number for each episode in the order
of the seeds, null where the expert fails. `python -m benchmarks.expert_steps` writes it, and with --check plays it again.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from statistics import median
from typing import Literal

Split = Literal["choose", "test"]

PATH = Path(__file__).with_name("frozen_steps.json")
TIERS = ("T1", "T2")
"""Tiers with frozen episodes. T4's are T2's: the expert does not look at the compass."""
EPISODES = 100
"""Episodes of each milestone in each split."""
FIRST_SEEDS: dict[Split, int] = {"choose": 110_000, "test": 100_000}
"""Split -> the seed of its first episode; the others follow it. The world and the start of an episode are drawn from its seed."""
FACTOR = 2
"""An episode succeeds within so many times the expert's steps in that same episode."""


@cache
def _table() -> dict[str, dict[str, dict[str, list[int | None]]]]:
    return json.loads(PATH.read_text())


def seeds(split: Split) -> range:
    """Return the seeds of a split's episodes."""
    return range(FIRST_SEEDS[split], FIRST_SEEDS[split] + EPISODES)


def expert_steps(milestone: str, tier: str, split: Split) -> tuple[int | None, ...]:
    """Return the steps that the expert takes in each episode, None where it fails. Raises KeyError for what is not frozen."""
    return tuple(_table()["T2" if tier == "T4" else tier][split][milestone][:EPISODES])


def limit_of(steps: int | None, others: tuple[int | None, ...], factor: float = FACTOR) -> int:
    """Return an episode's limit: `factor` times the expert's steps; where it fails, times the median of those in `others`."""
    if steps is None:
        steps = math.ceil(median(taken for taken in others if taken is not None))
    return math.ceil(factor * steps)


def limits(milestone: str, tier: str, split: Split, factor: float = FACTOR) -> tuple[int, ...]:
    """Return the limit of each episode, in the order of the seeds. Raises KeyError for what is not frozen."""
    steps = expert_steps(milestone, tier, split)
    return tuple(limit_of(taken, steps, factor) for taken in steps)


def mean_steps(milestone: str, tier: str) -> float:
    """Return the expert's mean steps over its successes in the episodes to choose by."""
    taken = [steps for steps in expert_steps(milestone, tier, "choose") if steps is not None]
    return sum(taken) / len(taken)
