"""What `benchmarks.compare` found, in tables: each column, each stated difference, each task, and a slow expert."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.compare import design
from benchmarks.compare.design import COLUMNS, COMPARISONS, QUESTIONS, Comparison, Task
from benchmarks.results_file import Entry
from common.statistics import Difference, bootstrap_iqm, holm, level_for_few, percent, task_difference
from pokemon_env.games.tallgrass import frozen

Rows = Mapping[str, Entry]
"""A cell's name -> its result."""

RESAMPLES = 4000
"""Of a bootstrap."""
SHARE = 0.9
"""Of the expert's IQM: how many labels does it take?"""
SIGNIFICANT = 0.05


def row_of(rows: Rows, task: Task, column: str, labels: int = 0, seed: int = 0) -> Entry | None:
    """Return a cell's result, None where it is not measured."""
    return rows.get(f"{task.name}/{column}" + (f"{labels}_seed{seed}" if labels else ""))


def complete_seeds(rows: Rows, tasks: Sequence[Task], columns: Sequence[tuple[str, int]], seeds: Sequence[int]) -> list[int]:
    """Return the seeds with which all tasks have a result of each of the columns (name, labels)."""
    return [seed for seed in seeds if all(row_of(rows, task, *column, seed) for task in tasks for column in columns)]


def successes(rows: Rows, tasks: Sequence[Task], column: str, labels: int, seeds: Sequence[int]) -> np.ndarray:
    """Return a column's (M, S, E) successes; seeds that it needs must be there."""
    found = [[row_of(rows, task, column, labels, seed) for seed in seeds] for task in tasks]
    return np.array([[row["successes"] for row in some if row] for some in found], bool)


Interval = tuple[float, float, float]


def iqm(rows: Rows, tasks: Sequence[Task], column: str, labels: int, seeds: Sequence[int]) -> tuple[Interval, int] | None:
    """Return the interquartile mean of a column with its interval, and the number of its seeds; None if it is not on all tasks."""
    seeds = complete_seeds(rows, tasks, [(column, labels)], seeds if labels else [0])
    if not seeds or not tasks:
        return None
    found, level = successes(rows, tasks, column, labels, seeds), level_for_few(0.95, len(tasks))
    return bootstrap_iqm(found, np.random.default_rng([2021, labels]), RESAMPLES, level), len(seeds)


def labels_to_reach(curve: Mapping[int, float], target: float) -> float:
    """Return the number of labels at which a curve (labels -> success) reaches the target.

    Between two measured ones it is along a line over the logarithm. It is the smallest measured one if the curve is there
    already, and inf if it is never.
    """
    points = sorted(curve.items())
    for (fewer, low), (more, high) in zip([(0, -1.0), *points], points, strict=False):
        if high >= target:
            share = (target - low) / (high - low)
            return float(more) if fewer == 0 else float(fewer * (more / fewer) ** share)
    return math.inf


def labels_text(curve: Mapping[int, float], target: float) -> str:
    """Return `labels_to_reach` as a table says it."""
    reached = labels_to_reach(curve, target)
    if math.isinf(reached):
        return f"> {max(curve):,}"
    return f"at most {min(curve):,}" if reached <= min(curve) else f"{reached:,.0f}"


def interval_text(values: Sequence[float], sign: str = "") -> str:
    """Format a value with its interval in percent: (0.5, 0.4, 0.6) -> '50 [40, 60]'."""
    value, low, high = (100 * number for number in values)
    return f"{value:{sign}.0f} [{low:{sign}.0f}, {high:{sign}.0f}]"


@dataclass(frozen=True)
class Tested:
    """A stated comparison and what came of it."""

    comparison: Comparison
    verdict: str
    difference: Difference | None = None
    means: tuple[float, float] = (math.nan, math.nan)
    """Ours and theirs."""
    p: float = 1.0
    """By Holm's method."""


def judge(
    rows: Rows, tasks: Sequence[Task], seeds: Sequence[int], purpose: str, comparisons: Sequence[Comparison] = COMPARISONS
) -> list[Tested]:
    """Return what came of each comparison, corrected over its family by Holm's method; those not measured count with p = 1.

    There is a verdict only where all was done that was stated: all tasks and seeds of the design, on the test's episodes.
    """
    measured: dict[Comparison, tuple[int, Difference, tuple[float, float]]] = {}
    for number, one in enumerate(comparisons):
        columns = [(one.ours, one.labels), (one.theirs, one.labels)]
        if tasks and (some := complete_seeds(rows, tasks, columns, seeds)):
            ours, theirs = (successes(rows, tasks, *column, some) for column in columns)
            difference = task_difference(ours, theirs, np.random.default_rng([2021, number]), RESAMPLES)
            measured[one] = len(set(some) & set(design.SEEDS)), difference, (float(ours.mean()), float(theirs.mean()))
    adjusted: dict[Comparison, float] = {}
    for family in dict.fromkeys(one.family for one in comparisons):
        members = [one for one in comparisons if one.family == family]
        p_values = [measured[one][1].p if one in measured else 1.0 for one in members]
        adjusted |= zip(members, holm(p_values), strict=True)
    found, as_stated = [], purpose == "test" and set(tasks) == set(design.TASKS)
    for one in comparisons:
        if one not in measured:
            found.append(Tested(one, "not measured"))
            continue
        count, difference, means = measured[one]
        verdict = "not shown" if adjusted[one] >= SIGNIFICANT else "better" if difference.value > 0 else "worse"
        if count < len(design.SEEDS):
            verdict = f"{count} of {len(design.SEEDS)} seeds"
        found.append(Tested(one, verdict if as_stated else "not as stated", difference, means, adjusted[one]))
    return found


def markdown(
    rows: Rows, tasks: Sequence[Task], seeds: Sequence[int], labels: Sequence[int], purpose: str, latency: Mapping[str, Any]
) -> str:
    """Return all tables. What is not on all tasks is not in a mean.

    Args:
        latency: what `benchmarks.compare.latency` measured; {} if it did not.
    """
    lines = ["### Methods", "", *method_table(rows, tasks, seeds, labels)]
    lines += ["", "### The stated differences", "", *difference_tables(judge(rows, tasks, seeds, purpose))]
    lines += ["", "### Each task", "", *task_table(rows, tasks, seeds, labels)]
    if latency:
        lines += ["", "### A slow expert", "", *latency_part(latency)]
    return "\n".join([*lines, "", *conditions(rows, tasks, seeds, purpose)]) + "\n"


def method_table(rows: Rows, tasks: Sequence[Task], seeds: Sequence[int], labels: Sequence[int]) -> list[str]:
    """Return the methods' IQM at each number of labels, and how many labels reach a share of the expert's."""
    expert = iqm(rows, tasks, "expert", 0, seeds)
    titles = [f"{count:,} labels" for count in labels]
    lines = [f"| IQM [95 %] | {' | '.join(titles)} | labels to {percent(SHARE)} of the expert |", "|-|" + "-|" * (len(labels) + 1)]

    def text(found: tuple[Interval, int] | None, wanted: int) -> str:
        if found is None:
            return "-"
        return interval_text(found[0]) + (f" ({found[1]} of {wanted} seeds)" if found[1] < wanted else "")

    for column in design.METHODS:
        found = {count: iqm(rows, tasks, column.name, count, seeds) for count in labels}
        curve = {count: values[0][0] for count, values in found.items() if values}
        reached = labels_text(curve, SHARE * expert[0][0]) if expert and len(curve) == len(labels) else "-"
        lines.append(f"| {column.title} | {' | '.join(text(found[count], len(seeds)) for count in labels)} | {reached} |")
    for column in design.PLAYERS:
        lines.append(f"| {column.title} | {' | '.join([text(iqm(rows, tasks, column.name, 0, seeds), 1)] * len(labels))} | |")
    return lines


def difference_tables(tested: Sequence[Tested]) -> list[str]:
    """Return the stated comparisons, under the questions that they are for."""
    lines = []
    for number, question in QUESTIONS.items():
        some = [one for one in tested if one.comparison.question == number]
        if not some:
            continue
        lines += [question, "", "| | less | labels | means, % | points [95 %] | p | p, Holm | |", "|-|-|-|-|-|-|-|-|"]
        for one in some:
            names = " | ".join(COLUMNS[name].title for name in (one.comparison.ours, one.comparison.theirs))
            values = "- | - | - | -"
            if one.difference is not None:
                means = ", ".join(f"{100 * mean:.0f}" for mean in one.means)
                values = f"{means} | {points(one.difference)} | {p_text(one.difference.p)} | {p_text(one.p)}"
            lines.append(f"| {names} | {one.comparison.labels:,} | {values} | {one.verdict} |")
        lines.append("")
    sizes = [sum(one.family == family for one in COMPARISONS) for family in ("methods", "factors")]
    return [
        *lines,
        "The mean difference in success over all tasks, on the same seeds and episodes. Holm's correction is over two families, "
        f"which were stated before the run: {sizes[0]} comparisons of DAgger with cloning, {sizes[1]} of one change each. What is "
        "not shown is not shown to be nothing: its interval says what it may be.",
    ]


def points(found: Difference) -> str:
    """Format a difference in points, with its interval."""
    return interval_text((found.value, found.low, found.high), "+")


def p_text(p: float) -> str:
    """Format a p-value."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def task_table(rows: Rows, tasks: Sequence[Task], seeds: Sequence[int], labels: Sequence[int]) -> list[str]:
    """Return success on each task in percent: of the methods at each number of labels, and of what learns nothing."""
    titles = [column.title for column in design.METHODS]
    players = [column.name for column in design.PLAYERS]
    lines = [
        f"| success, % at {' / '.join(f'{count:,}' for count in labels)} | kind | {' | '.join([*titles, *players])} |",
        "|-|-|" + "-|" * len([*titles, *players]),
    ]

    def text(task: Task, column: str, count: int) -> str:
        some = complete_seeds(rows, tasks, [(column, count)], seeds if count else [0])
        return f"{100 * successes(rows, [task], column, count, some).mean():.0f}" if some else "-"

    for task in tasks:
        cells = [" / ".join(text(task, column.name, count) for count in labels) for column in design.METHODS]
        cells += [text(task, name, 0) for name in players]
        lines.append(f"| {task.milestone} ({task.tier}) | {task.kind} | {' | '.join(cells)} |")
    return lines


def conditions(rows: Rows, tasks: Sequence[Task], seeds: Sequence[int], purpose: str) -> list[str]:
    """Return what a reader has to know of the figures, as a list."""
    used = [row["labels_used"] / row["labels"] for row in rows.values() if row.get("labels")]
    least = f" Every student used at least {math.floor(100 * min(used))} % of its labels." if used else ""
    machines = sorted({f"{row['machine']['cpu']}{', bf16' if row['machine']['bf16'] else ''}" for row in rows.values()})
    minutes = sum(row["minutes"] for row in rows.values())
    return [
        f"- Success within {frozen.FACTOR} times the expert's steps in the same episode, over the {frozen.EPISODES} frozen "
        f'episodes of the split "{purpose}"; seeds {", ".join(map(str, seeds))}.',
        f"- IQM over {len(tasks)} tasks and the seeds, with a bootstrap over tasks, seeds and episodes. Its percentiles are those "
        "for so few tasks. Differences: the bootstrap's standard error, and Student's t with one degree of freedom less than there "
        "are tasks (`common/statistics.py`).",
        f"- Labels are demonstrations and queries together; in an episode each distinct picture counts once.{least}",
        "- Gradient steps differ: DAgger's are a multiple of a clone's. `bc_sets_longer` has as many.",
        f"- {len(rows)} results, {minutes:.0f} minutes in all with one thread each, on {'; '.join(machines) or '-'}.",
    ]


def latency_part(latency: Mapping[str, Any]) -> list[str]:
    """Return what batches and the cache save."""
    return [
        f"With an expert that takes {1000 * latency['expert_seconds']:.0f} ms for an answer and {latency['concurrency']} "
        "queries at once; random presses play:",
        "",
        "| | labels | seconds | labels per second |",
        "|-|-|-|-|",
        f"| one query at each step of play | {latency['loop_labels']} | {latency['loop_seconds']:.1f} | "
        f"{latency['loop_rate']:.1f} |",
        f"| a rollout's queries in batches | {latency['labels']} | {latency['batch_seconds']:.1f} | {latency['batch_rate']:.1f} |",
        f"| the same again, from the cache ({latency['cached_asked']} asked) | {latency['cached_labels']} | "
        f"{latency['cached_seconds']:.2f} | {latency['cached_labels'] / max(latency['cached_seconds'], 1e-9):,.0f} |",
        "",
        f"Labelling is {latency['ratio']:.0f} times faster, rolling out and labelling {latency['ratio_with_play']:.0f} times (the "
        f"rollout of {latency['rows']:,} steps took {latency['play_seconds']:.1f} s; what is seen again in it is queried once).",
    ]
