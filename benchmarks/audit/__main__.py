#!/usr/bin/env python3
"""Is the benchmark worth solving? Plays it without any understanding, and tells where that is enough.

    python -m benchmarks.audit

For each scored milestone on the tiers T1 and T2: the scripted expert, random presses, mashing A, replaying a demonstration's
buttons, and the nearest neighbour in pixels among 50 demonstrations (on T2 those are of training worlds and the episodes in
test worlds). Without gates, to compare with: a player that follows the compass on the screen, and one that plans on what is on
the screen and remembers nothing. Success is the milestone reached within twice the expert's mean steps on that milestone and
tier, which are measured first. On T1 also how often identical network inputs have disjoint optimal actions. A gate is judged by
the end of the mean's 95 % interval, over milestones and episodes, that lies nearer to its limit. Writes each result to
`{output_dir}/{tier}/{milestone}/{audit}.json` and the table to `{table}`; results that are there, made with the same ROM,
code and settings, are not made again, and a run that was stopped goes on. Exits with 1 if a gate is missed or cannot be told.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.runtime.flag_types import Count, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    milestones: tuple[str, ...] = ()
    """these alone; default is the scored ones, in turn"""
    tiers: tuple[Literal["T1", "T2"], ...] = ("T1", "T2")
    """the tiers to play on"""
    audits: tuple[Literal["expert", "random", "mash_a", "replay", "nearest", "compass", "planner", "identical"], ...] = (
        "expert", "random", "mash_a", "replay", "nearest", "compass", "planner", "identical",
    )  # fmt: skip
    """these players alone; the expert is always measured"""
    episodes: Count = 50
    """episodes of each player, on each milestone and tier"""
    demonstrations: Count = 50
    """demonstrations that are replayed, or searched for the nearest neighbour"""
    noise: float = 0.2
    """probability of a random press in half of the episodes whose network inputs are compared"""
    rom_path: Path = Path("tallgrass/tallgrass.gb")
    """the game"""
    policy_dir: Path = Path(".milestone_trainer_cache/successful_policies")
    """policies that stand in for the game's own; they play in a sandbox"""
    unsafe_policies: bool = False
    """run those in this process, where the platform has no sandbox: only for files that you trust as your own"""
    milestone_config: Path = Path("milestone_config.json")
    """the milestones' limits, by which the experts are measured"""
    bc_results: Path = Path("results/reference/bc_gate.json")
    """what behavioural cloning reached on T2, for its gate, as `benchmarks.reference` writes it: a list of {"milestone",
    "relative_1000", "relative_10000"}, success as a share of the expert's, of students with so many labels"""
    output_dir: Path = Path("runs/audit")
    """folder for the results"""
    table: Path = Path("results/audit.md")
    """file for the table"""
    parallel: Count = 2
    """results that are made at once, each with one thread"""
    fresh: bool = False
    """make again what is there already"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import json
from functools import lru_cache

import numpy as np

from agent.open_expert import UNSAFE_NOTICE
from benchmarks.audit.cells import AUDITS, EXPERT, IDENTICAL, Cell, Settings, cell_key, play_cell, use_one_thread
from benchmarks.folders import known_rows, run_table
from common.runtime.files import save_json, save_text
from common.runtime.progress import ProgressReport
from common.runtime.workers import run_in_parallel
from common.statistics import bootstrap_mean
from pokemon_env.games.tallgrass.benchmark_v1 import SCORED, check
from pokemon_env.gym_env import PokemonEnv
from tasks.milestone_config import load_milestone_config

Results = dict[Cell, dict[str, Any]]


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
NOT_AUDITED = {("replay", "T2"), (IDENTICAL, "T2")}
"""Blind buttons in another world say nothing. Nor do identical pictures there, for hardly any is met in two worlds."""

BC_BETWEEN, BC_REACHES, BC_SHARE = (0.30, 0.80), 0.95, 1 / 3
"""On this share of the milestones a student with 1,000 labels is to lie between, and one with 10,000 to reach, these shares of
the expert's success."""


def value_of(cell: Cell, record: dict[str, Any], factor: int = 2) -> float | None:
    """A cell's figure, 0 to 1: the share of successes within `factor` times the expert's mean steps, or of contradictory
    steps; None if it could not be played."""
    if "skipped" in record:
        return None
    return record["share"] if cell.audit == IDENTICAL else record[f"within_{factor}x"] / record["episodes"]


def mean_over(results: Results, milestones: Sequence[str], tier: str, audit: str, factor: int = 2) -> float | None:
    """The mean over these milestones; None unless all are there."""
    cells = [Cell(name, tier, audit) for name in milestones]
    values = [value_of(cell, results[cell], factor) if cell in results else None for cell in cells]
    return None if not values or None in values else sum(values) / len(values)


def interval_over(results: Results, milestones: Sequence[str], tier: str, audit: str) -> tuple[float, float, float] | None:
    """The mean over these milestones and the ends of its 95 % interval; None unless all are there.

    The interval is `common.statistics.bootstrap_mean`'s, over milestones and the episodes of each. Of identical inputs each
    milestone has one share, so that there it is over milestones alone.
    """
    if mean_over(results, milestones, tier, audit) is None:
        return None
    records = [results[Cell(name, tier, audit)] for name in milestones]
    if audit == IDENTICAL:
        return _interval(tuple((record["share"],) for record in records))
    return _interval(tuple((1.0,) * (n := record["within_2x"]) + (0.0,) * (record["episodes"] - n) for record in records))


@lru_cache(maxsize=64)
def _interval(values: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """Kept, as each result that comes has all gates judged anew."""
    return bootstrap_mean(np.array(values), np.random.default_rng([2021, len(values)]))


def judge(results: Results, scored: Sequence[str], bc: dict[str, dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Each gate's text, its limit, what was measured, and PASS, FAIL or "not measured"."""
    rows = []
    for gate in GATES:
        interval = interval_over(results, scored, gate.tier, gate.audit)
        verdict = "not measured" if interval is None else "PASS" if gate.passes(*interval[1:]) else "FAIL"
        limit = f"{'at least' if gate.at_least else 'at most'} {100 * gate.limit:.0f} %"
        measured = "-" if interval is None else f"{_digits(interval[0], gate.audit)} % {_ends(interval, gate.audit)}"
        rows.append((f"{gate.text}, {gate.tier}", limit, measured, verdict))
    between = f"between {BC_BETWEEN[0]:.0%} and {BC_BETWEEN[1]:.0%}"
    text = f"BC with 1,000 labels {between} of the expert, and a student (BC or DAgger) with 10,000 at {BC_REACHES:.0%}, T2"
    limit = "at least a third of the milestones"
    low, high = BC_BETWEEN
    done = [name for name in scored if {"relative_1000", "relative_10000"} <= bc.get(name, {}).keys()]
    good = [n for n in done if low <= bc[n]["relative_1000"] <= high and bc[n]["relative_10000"] >= BC_REACHES]
    enough = bool(scored) and len(good) >= BC_SHARE * len(scored)
    verdict = "PASS" if enough else "FAIL" if scored and len(done) == len(scored) else "not measured"
    return [*rows, (text, limit, f"{len(good)} of {len(scored)} ({len(done)} measured)", verdict)]


def markdown(
    args: Args, results: Results, milestones: Sequence[str], scored: Sequence[str], verdicts: list[tuple[str, str, str, str]]
) -> str:
    """The two tables: gates, and figures of each milestone."""
    columns = [(audit, tier) for audit in AUDITS for tier in ("T1", "T2") if (audit, tier) not in NOT_AUDITED]
    steps = [("steps", tier) for tier in ("T1", "T2")]
    spl = [("SPL", tier) for tier in ("T1", "T2")]
    titles = [f"{what} {tier}" for what, tier in columns[:2] + steps + spl + columns[2:]]
    lines = [
        "| gate | wanted | measured, 95 % interval | |",
        "|-|-|-|-|",
        *(f"| {' | '.join(row)} |" for row in verdicts),
        "",
    ]
    lines += [f"| milestone | {' | '.join(titles)} |", "|-|" + "-|" * len(titles)]
    for name in milestones:
        row = [name if name in scored else f"({name})"]
        row += [_percent(results, Cell(name, tier, audit)) for audit, tier in columns[:2]]
        row += [_of_expert(results, name, tier, "mean_steps", 1) for _, tier in steps]
        row += [_of_expert(results, name, tier, "spl", 2) for _, tier in spl]
        row += [_percent(results, Cell(name, tier, audit)) for audit, tier in columns[2:]]
        lines.append(f"| {' | '.join(row)} |")
    means = [mean_over(results, scored, tier, audit) for audit, tier in columns]
    looser = [mean_over(results, scored, tier, audit, 4) for audit, tier in columns]
    cells = [_rates(two, four, audit) for two, four, (audit, _) in zip(means, looser, columns, strict=True)]
    lines.append(f"| mean of the scored | {' | '.join([*cells[:2], '', '', '', '', *cells[2:]])} |")
    intervals = [interval_over(results, scored, tier, audit) for audit, tier in columns]
    ends = ["-" if interval is None else _ends(interval, audit) for interval, (audit, _) in zip(intervals, columns, strict=True)]
    lines.append(f"| 95 % interval of the mean | {' | '.join([*ends[:2], '', '', '', '', *ends[2:]])} |")
    minutes = sum(record["seconds"] for record in results.values()) / 60
    lines += [
        "",
        f"`python -m benchmarks.audit`: success in percent within 2 times the expert's mean steps (in brackets: within 4 "
        f"times), {args.episodes} episodes each, {args.demonstrations} demonstrations; milestones in brackets are not scored. "
        f"Intervals are bootstrap intervals of the means within 2 times, over milestones and episodes; a gate is held against "
        f"the interval's upper end (at most) or lower end (at least). "
        f"Steps are the expert's mean, SPL is the expert's (only where the least number of steps does not depend on chance). "
        f'"identical" is the share of steps, in percent, whose network input was also met with optimal actions that have '
        f"none in common, in {args.episodes} episodes of the expert without and {args.episodes} with {args.noise:.0%} random "
        f"presses; battle menus, where no press is known to be best, are left out. {minutes:.0f} minutes of one core.",
    ]
    return "\n".join(lines) + "\n"


def _percent(results: Results, cell: Cell) -> str:
    if cell not in results:
        return "-"
    return _rates(value_of(cell, results[cell]), value_of(cell, results[cell], 4), cell.audit)


def _rates(two: float | None, four: float | None, audit: str) -> str:
    if two is None:
        return "-"
    return _digits(two, audit) if audit == IDENTICAL else f"{_digits(two, audit)} ({_digits(four, audit)})"


def _digits(value: float, audit: str) -> str:
    return f"{100 * value:.{2 if audit == IDENTICAL else 0}f}"


def _ends(interval: tuple[float, float, float], audit: str) -> str:
    return f"[{_digits(interval[1], audit)}, {_digits(interval[2], audit)}]"


def _of_expert(results: Results, milestone: str, tier: str, key: str, digits: int) -> str:
    value = results.get(Cell(milestone, tier, EXPERT), {}).get(key)
    return "-" if value is None else f"{value:.{digits}f}"


def read_result(path: Path, key: str) -> dict[str, Any] | None:
    """A result made with the fingerprint `key`; None if there is none."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        return content if content["fingerprint"] == key else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no result of the audit ({error!r}); remove it, or choose another --output-dir") from error


def main(args: Args) -> int:
    check_bounds(args)
    if not 0 <= args.noise <= 1:
        raise ValueError(f"--noise is {args.noise}, but must be from 0 to 1")
    use_one_thread()
    check()
    config = load_milestone_config(args.milestone_config)
    with PokemonEnv(args.rom_path) as env:
        game, ids = env.game, [milestone.id for milestone in env.milestones]
    if unknown := (set(args.milestones) | set(SCORED)) - set(ids):
        raise ValueError(f"{game.name} has no milestone {', '.join(sorted(unknown))}; it has {', '.join(ids)}")
    milestones = [name for name in ids if name in (args.milestones or SCORED)]
    if missing := [name for name in milestones if name not in config]:
        raise ValueError(f"{args.milestone_config} has no {', '.join(missing)}; add it")
    scored = [name for name in milestones if name in SCORED]
    settings = Settings(args.episodes, args.demonstrations, args.noise, args.rom_path, args.policy_dir, args.unsafe_policies)
    if args.unsafe_policies:
        print(UNSAFE_NOTICE)
    bc = known_rows(args.bc_results)
    cells = {
        audit: [Cell(name, tier, audit) for tier in args.tiers for name in milestones if (audit, tier) not in NOT_AUDITED]
        for audit in AUDITS
        if audit == EXPERT or audit in args.audits
    }
    results: Results = {}

    def save() -> None:
        save_text(args.table, markdown(args, results, milestones, scored, judge(results, scored, bc)))

    with ProgressReport("audit", sum(map(len, cells.values()))) as report:

        def make(wanted: list[Cell]) -> None:
            """Read the results that are there, and play the others."""
            keys, todo = {}, {}
            for cell in wanted:
                steps = None
                if cell.audit != EXPERT:
                    steps = results[Cell(cell.milestone, cell.tier, EXPERT)]["mean_steps"]
                keys[cell] = cell_key(cell, settings, game, config[cell.milestone].max_steps, steps)
                known = None if args.fresh else read_result(args.output_dir / f"{cell}.json", keys[cell])
                if known is None:
                    todo[str(cell)] = (cell, steps)
                else:
                    results[cell] = known
            report.update(len(results))

            def work(name: str, should_stop: Callable[[], bool]) -> dict[str, Any]:
                cell, steps = todo[name]
                began = time.monotonic()
                record = play_cell(cell, settings, game, config[cell.milestone].max_steps, steps, should_stop)
                return {**record, "seconds": time.monotonic() - began, "fingerprint": keys[cell]}

            def on_result(name: str, record: dict[str, Any]) -> None:
                save_json(args.output_dir / f"{name}.json", record)
                results[todo[name][0]] = record
                save()
                report.update(len(results), name)

            run_in_parallel(work, list(todo), args.parallel, on_result)

        make(cells.pop(EXPERT))  # the others' limits follow from it
        make([cell for some in cells.values() for cell in some])
    save()
    print(args.table.read_text())
    return 0 if all(verdict == "PASS" for *_, verdict in judge(results, scored, bc)) else 1


if __name__ == "__main__":
    run_table("audit.py", lambda: main(args))
