#!/usr/bin/env python3
"""Is the benchmark worth solving? Plays it without any understanding, and tells where that is enough.

    python -m benchmarks.audit

For each scored milestone on the tiers T1 and T2: the scripted expert, random presses, mashing A, replaying a demonstration's
buttons, and the nearest neighbour in pixels among 50 demonstrations (on T2 those are of training worlds and the episodes in
test worlds). Without gates, to compare with: a player that follows the compass on the screen, and one that plans on what is on
the screen and remembers nothing. T4 is T2 without the compass, and has no gates: the expert, the nearest neighbour, and these two.
All play the frozen test episodes. Success is the milestone reached within twice the steps that the expert takes in the same
episode; the expert's steps must be those that are frozen. On T1 also how often identical network inputs have disjoint optimal
actions. A gate is judged by the end of the mean's 95 % interval, over milestones and episodes, that lies nearer to its limit.
Writes each result to `{output_dir}/{tier}/{milestone}/{audit}.json` and the table to `{table}`; results that are there, made with
the same ROM, code, limits and settings, are not made again, and a run that was stopped is resumed by typing it again. Exits with 1
if a gate is missed or cannot be told, or if the expert's steps are others.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from common.runtime.flag_types import Bounds, Count, Share, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    milestones: tuple[str, ...] = ()
    """these alone; default is the scored ones, in turn"""
    tiers: tuple[Literal["T1", "T2", "T4"], ...] = ("T1", "T2", "T4")
    """the tiers to play on; T4 is T2 without the compass"""
    audits: tuple[Literal["expert", "random", "mash_a", "replay", "nearest", "compass", "planner", "identical"], ...] = (
        "expert", "random", "mash_a", "replay", "nearest", "compass", "planner", "identical",
    )  # fmt: skip
    """these alone"""
    episodes: Annotated[int, Bounds(1, 100)] = 100
    """the first so many of the 100 frozen test episodes of each milestone and tier"""
    demonstrations: Count = 50
    """demonstrations that are replayed, or searched for the nearest neighbour"""
    noise: Share = 0.2
    """probability of a random press in half of the episodes whose network inputs are compared"""
    policy_dir: Path = Path(".milestone_trainer_cache/successful_policies")
    """policies that stand in for the game's own; they play in a sandbox"""
    unsafe_policies: bool = False
    """run those in this process, where the platform has no sandbox: only for files that you trust as your own"""
    milestone_config: Path = Path("milestone_config.json")
    """the milestones' limits, for demonstrations and for the episodes whose pictures are compared"""
    output_dir: Path = Path("results/v1/audit")
    """folder for the results"""
    table: Path = Path("results/v1/audit.md")
    """file for the table"""
    parallel: Count = 2
    """results that are made at once, each with one thread"""
    fresh: bool = False
    """make again what is there already"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

from functools import lru_cache

import numpy as np

from agent.open_expert import UNSAFE_NOTICE
from benchmarks.audit.cells import (
    AUDITS,
    COMPASS,
    EXPERT,
    IDENTICAL,
    NEAREST,
    PLANNER,
    Cell,
    Settings,
    cell_key,
    play_cell,
    use_one_thread,
)
from benchmarks.folders import NUMBER, check_kept, kept_result, run_table
from benchmarks.protocol import success_rate
from benchmarks.results_file import check_entry
from common.runtime.files import save_json, save_text
from common.runtime.progress import ProgressReport
from common.runtime.workers import run_in_parallel
from common.statistics import bootstrap_mean
from pokemon_env.games.tallgrass import frozen
from pokemon_env.games.tallgrass.benchmark_v1 import MILESTONES, SCORED, check
from tasks.milestone_config import load_milestone_config

Results = dict[Cell, dict[str, Any]]
RESULT = {"seconds": NUMBER, "machine": {"cpu": str}}
"""Types in every result's file."""


@dataclass(frozen=True)
class Gate:
    """What an audit's mean over the scored milestones must be on a tier.

    All of its 95 % interval (`interval_over`) must be: its upper end at most the limit, or its lower end at least.
    """

    text: str
    audit: str
    tier: str
    limit: float
    at_least: bool = False

    def passes(self, low: float, high: float) -> bool:
        return low >= self.limit if self.at_least else high <= self.limit


GATES = (
    Gate("random presses", "random", "T1", 0.05),
    Gate("random presses", "random", "T2", 0.05),
    Gate("mashing A", "mash_a", "T1", 0.20),
    Gate("mashing A", "mash_a", "T2", 0.20),
    Gate("replaying a demonstration's buttons", "replay", "T1", 0.25),
    Gate("nearest neighbour in pixels", "nearest", "T1", 0.50),
    Gate("nearest neighbour in pixels", "nearest", "T2", 0.20),
    Gate("identical network inputs with disjoint optimal actions", IDENTICAL, "T1", 0.01),
    Gate("experts", EXPERT, "T1", 0.95, at_least=True),
    Gate("experts", EXPERT, "T2", 0.95, at_least=True),
)
NOT_AUDITED = {
    ("replay", "T2"),
    (IDENTICAL, "T2"),
    *((audit, "T4") for audit in AUDITS if audit not in (EXPERT, NEAREST, COMPASS, PLANNER)),
}
"""Blind buttons in another world say nothing. Nor do identical pictures there, for hardly any is met in two worlds. T4 is for what
can look at the compass, and for the expert, which cannot."""


def value_of(cell: Cell, record: dict[str, Any]) -> float:
    """Return a cell's figure, 0 to 1: the share of successes, or of contradictory steps."""
    return record["share"] if cell.audit == IDENTICAL else success_rate(record)


def mean_over(results: Results, milestones: Sequence[str], tier: str, audit: str) -> float | None:
    """Return the mean over these milestones; None unless all are there."""
    cells = [Cell(name, tier, audit) for name in milestones]
    if not cells or any(cell not in results for cell in cells):
        return None
    return sum(value_of(cell, results[cell]) for cell in cells) / len(cells)


def interval_over(results: Results, milestones: Sequence[str], tier: str, audit: str) -> tuple[float, float, float] | None:
    """Return the mean over these milestones and the ends of its 95 % interval; None unless all are there.

    The interval is `common.statistics.bootstrap_mean`'s, over milestones and the episodes of each. Of identical inputs each
    milestone has one share, so that there it is over milestones alone.
    """
    if mean_over(results, milestones, tier, audit) is None:
        return None
    records = [results[Cell(name, tier, audit)] for name in milestones]
    if audit == IDENTICAL:
        return _interval(tuple((record["share"],) for record in records))
    return _interval(tuple(tuple(map(float, record["successes"])) for record in records))


@lru_cache(maxsize=64)
def _interval(values: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """Kept, as each result that comes has all gates judged anew."""
    return bootstrap_mean(np.array(values), np.random.default_rng([2021, len(values)]))


def judge(results: Results, scored: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Return each gate's text, its limit, what was measured, and PASS, FAIL or "not measured"."""
    rows = []
    for gate in GATES:
        interval = interval_over(results, scored, gate.tier, gate.audit)
        verdict = "not measured" if interval is None else "PASS" if gate.passes(*interval[1:]) else "FAIL"
        limit = f"{'at least' if gate.at_least else 'at most'} {100 * gate.limit:.0f} %"
        measured = "-" if interval is None else f"{_digits(interval[0], gate.audit)} % {_ends(interval, gate.audit)}"
        rows.append((f"{gate.text}, {gate.tier}", limit, measured, verdict))
    return rows


def disagreeing(results: Results) -> list[str]:
    """Return the cells in which the expert's steps are not the frozen ones. On T4 these are T2's: there it looks at the compass."""
    experts = {cell: record for cell, record in results.items() if cell.audit == EXPERT and cell.tier != "T4"}
    return [str(cell) for cell, record in experts.items() if not record["agrees"]]


def markdown(
    args: Args, results: Results, milestones: Sequence[str], scored: Sequence[str], verdicts: list[tuple[str, str, str, str]]
) -> str:
    """Return the two tables: gates, and figures of each milestone."""
    columns = [(audit, tier) for audit in AUDITS for tier in args.tiers if (audit, tier) not in NOT_AUDITED]
    experts = [column for column in columns if column[0] == EXPERT]
    players = columns[len(experts) :]
    about = [(what, tier) for what in ("steps", "SPL") for tier in args.tiers if tier != "T4"]  # T4's are T2's
    titles = [f"{what} {tier}" for what, tier in experts + about + players]
    lines = [
        "| gate | wanted | measured, 95 % interval | |",
        "|-|-|-|-|",
        *(f"| {' | '.join(row)} |" for row in verdicts),
        "",
        f"| milestone | {' | '.join(titles)} |",
        "|-|" + "-|" * len(titles),
    ]
    for name in milestones:
        row = [name if name in scored else f"({name})"]
        row += [_percent(results, Cell(name, tier, audit)) for audit, tier in experts]
        row += [_of_expert(results, name, tier, what) for what, tier in about]
        row += [_percent(results, Cell(name, tier, audit)) for audit, tier in players]
        lines.append(f"| {' | '.join(row)} |")
    intervals = {column: interval_over(results, scored, column[1], column[0]) for column in columns}
    for title, text in (
        ("mean of the scored", lambda interval, audit: _digits(interval[0], audit)),
        ("95 % interval of the mean", _ends),
    ):
        told = {column: "-" if interval is None else text(interval, column[0]) for column, interval in intervals.items()}
        row = [title, *(told[column] for column in experts), *[""] * len(about), *(told[column] for column in players)]
        lines.append(f"| {' | '.join(row)} |")
    minutes = sum(record["seconds"] for record in results.values()) / 60
    machines = sorted({record["machine"]["cpu"] for record in results.values()})
    is_known = any(cell.audit == EXPERT for cell in results)
    others = ", ".join(disagreeing(results))
    agreement = f"are not the frozen ones in {others}" if others else "are the frozen ones" if is_known else "were not counted"
    lines += [
        "",
        f"`python -m benchmarks.audit`: success in percent over {args.episodes} frozen test episodes, within {frozen.FACTOR} times "
        f"the expert's steps in the same episode; {args.demonstrations} demonstrations; milestones in brackets are not scored. "
        f"Intervals are bootstrap intervals of the means, over milestones and episodes; a gate is held against the interval's "
        f"upper end (at most) or lower end (at least). Steps are the expert's mean, SPL is the expert's (only where the least "
        f'number of steps does not depend on chance). "identical" is the share of steps, in percent, whose network input was also '
        f"met with optimal actions that have none in common, in {args.episodes} episodes of the expert without and {args.episodes} "
        f"with {args.noise:.0%} random presses; battle menus, where no press is known to be best, are left out. T4 is T2 without "
        f"the compass. The expert's steps {agreement}. "
        f"{minutes:.0f} minutes of one core, on {'; '.join(machines) or '-'}.",
    ]
    return "\n".join(lines) + "\n"


def _percent(results: Results, cell: Cell) -> str:
    return _digits(value_of(cell, results[cell]), cell.audit) if cell in results else "-"


def _digits(value: float, audit: str) -> str:
    return f"{100 * value:.{2 if audit == IDENTICAL else 0}f}"


def _ends(interval: tuple[float, float, float], audit: str) -> str:
    return f"[{_digits(interval[1], audit)}, {_digits(interval[2], audit)}]"


def _of_expert(results: Results, milestone: str, tier: str, what: str) -> str:
    """Return the expert's mean steps of its successes, or its SPL."""
    record = results.get(Cell(milestone, tier, EXPERT), {})
    if what == "SPL":
        return "-" if record.get("spl") is None else f"{record['spl']:.2f}"
    taken = [length for success, length in zip(record.get("successes", ()), record.get("lengths", ()), strict=True) if success]
    return f"{sum(taken) / len(taken):.1f}" if taken else "-"


def read_result(path: Path, key: str, cell: Cell, episodes: int) -> dict[str, Any] | None:
    """Return a cell's result, of so many episodes, made with the fingerprint `key`; None if there is none.

    Raises ValueError for one that can't be.
    """
    content = kept_result(path)
    if content.get("fingerprint") != key:
        return None
    check_kept(content, RESULT, path)
    if cell.audit == IDENTICAL:
        check_kept(content, {"share": NUMBER}, path)
        return content
    check_entry(content | {"milestone": cell.milestone}, f"{path} is no result", cell.tier, "test", episodes)
    if cell.audit == EXPERT:
        check_kept(content, {"agrees": bool, "spl": (*NUMBER, type(None))}, path)
    return content


def main(args: Args) -> int:
    check_bounds(args)
    use_one_thread()
    check()
    config = load_milestone_config(args.milestone_config)
    if unknown := sorted(set(args.milestones) - set(MILESTONES)):
        raise ValueError(f"Tallgrass has no milestone {', '.join(unknown)}; it has {', '.join(MILESTONES)}")
    milestones = [name for name in MILESTONES if name in (args.milestones or SCORED)]
    if missing := [name for name in milestones if name not in config]:
        raise ValueError(f"{args.milestone_config} has no {', '.join(missing)}; add it")
    scored = [name for name in milestones if name in SCORED]
    settings = Settings(args.episodes, args.demonstrations, args.noise, args.policy_dir, args.unsafe_policies)
    if args.unsafe_policies:
        print(UNSAFE_NOTICE)
    wanted = [(audit, tier) for audit in AUDITS if audit in args.audits for tier in args.tiers if (audit, tier) not in NOT_AUDITED]
    cells = [Cell(name, tier, audit) for audit, tier in wanted for name in milestones]
    keys = {cell: cell_key(cell, settings, config[cell.milestone].max_steps) for cell in cells}
    results: Results = {}
    todo: dict[str, Cell] = {}
    for cell in cells:
        known = None if args.fresh else read_result(args.output_dir / f"{cell}.json", keys[cell], cell, args.episodes)
        if known is None:
            todo[str(cell)] = cell
        else:
            results[cell] = known

    def save() -> None:
        save_text(args.table, markdown(args, results, milestones, scored, judge(results, scored)))

    with ProgressReport("audit", len(cells)) as report:
        report.update(len(results))

        def work(name: str, should_stop: Callable[[], bool]) -> dict[str, Any]:
            cell, began = todo[name], time.monotonic()
            record = play_cell(cell, settings, config[cell.milestone].max_steps, should_stop)
            return {**record, "seconds": time.monotonic() - began, "fingerprint": keys[cell]}

        def on_result(name: str, record: dict[str, Any]) -> None:
            save_json(args.output_dir / f"{name}.json", record)
            results[todo[name]] = record
            save()
            report.update(len(results), name)

        run_in_parallel(work, list(todo), args.parallel, on_result)
    save()
    print(args.table.read_text())
    all_pass = all(verdict == "PASS" for *_, verdict in judge(results, scored))
    return 0 if all_pass and not disagreeing(results) else 1


if __name__ == "__main__":
    run_table("audit.py", lambda: main(args))
