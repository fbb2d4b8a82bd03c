#!/usr/bin/env python3
"""Behavioural cloning on every milestone, beside random presses and the expert: the README's table.

    python -m benchmarks.bc_table

For each milestone: records demonstrations with noise, trains one network on them, and plays the test episodes with the
network, the expert and random presses (the same seeds and step limit for all). Writes `{output_dir}/bc_table.md` and
`.json`; what is there already, made by the same code with the same settings, is not made again, and a run that was stopped
goes on.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.flag_groups import TierName
from common.runtime.flag_types import Count, Seed, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    milestones: tuple[str, ...] = ()
    """these alone; default is all, in turn"""
    tier: TierName = "T0"
    """the game's tier: on T0, 50 demonstrations are enough"""
    worlds: str | None = None
    """worlds to learn and to play in; default is the tier's"""
    demonstrations: Count = 50
    """demonstrations for each milestone"""
    noise: float = 0.2
    """probability with which a random button is pressed while recording; the label stays the expert's"""
    total_steps: Count = 900
    """training steps for each milestone, each on 64 pictures"""
    eval_frequency: Count = 300
    """steps between evaluations, of which each may find the best network"""
    test_episodes: Count = 50
    """episodes that the table counts"""
    seed: Seed = 1
    """seed of demonstrations and training"""
    parallel: Count = 2
    """milestones that are trained at once, each with one thread"""
    output_dir: str = "results/bc"
    """folder for demonstrations, networks and the table"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

from benchmarks import steps as cloning
from benchmarks.folders import NUMBER, SUMMARY, check_kept, check_own_folder, fingerprint, known_rows, own_folder, run_table
from benchmarks.steps import Budget, Student
from common.runtime.files import save_json, save_text
from common.runtime.workers import run_in_parallel
from common.statistics import rate_text, wilson_interval

MARKER = ".bc_table_settings"
"""A file in each milestone's folder: the folder is this benchmark's own, and what it was made with."""

ROW = {"milestone": str, "minutes": NUMBER, "max_steps": int, "random": SUMMARY, "bc": SUMMARY, "expert": SUMMARY}
"""The types in a row."""


def clone_and_test(args: Args, milestone: str, budget: Budget, key: str, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """One row of the table."""
    folder = Path(args.output_dir) / milestone
    own_folder(folder, MARKER, key)
    began = time.monotonic()
    student = Student(milestone, budget, args.seed, folder / "expert_data", folder, num_threads=1, should_stop=should_stop)
    cloning.collect(student, folder / "collect.log")
    checkpoint = cloning.train(student, folder / "train.log")
    policies, networks = ("random", "bc", "expert"), {"bc": checkpoint}
    results = cloning.play(milestone, policies, args.test_episodes, budget, networks, should_stop=should_stop)
    return {"milestone": milestone, "fingerprint": key, "minutes": (time.monotonic() - began) / 60, **results}


def relative(row: dict[str, Any]) -> float:
    """The network's success as a share of the expert's."""
    return row["bc"]["successes"] / max(row["expert"]["successes"], 1)


def markdown(args: Args, rows: list[dict[str, Any]]) -> str:
    """The table, with the command that makes it."""
    lines = [
        "| milestone | limit | random | BC | expert | BC's steps | expert's steps |",
        "|-|-|-|-|-|-|-|",
    ]
    for row in rows:
        rates = [rate_text(row[name]["successes"], row[name]["episodes"]) for name in ("random", "bc", "expert")]
        steps = ["-" if row[name]["mean_steps"] is None else f"{row[name]['mean_steps']:.1f}" for name in ("bc", "expert")]
        lines.append(f"| {row['milestone']} | {row['max_steps']} | {' | '.join(rates)} | {' | '.join(steps)} |")
    good = sum(relative(row) >= 0.9 for row in rows)
    total = {name: sum(row[name]["successes"] for row in rows) for name in ("random", "bc", "expert")}
    episodes = sum(row["bc"]["episodes"] for row in rows)
    low, high = wilson_interval(total["bc"], episodes)
    lines += [
        "",
        f"BC reaches at least 90 % of the expert's success on {good} of {len(rows)} milestones; over all of them it succeeds in "
        f"{total['bc']} of {episodes} episodes [{100 * low:.0f}, {100 * high:.0f} %], the expert in {total['expert']}, random "
        f"presses in {total['random']}. Tier {args.tier}, {args.demonstrations} demonstrations each, noise {args.noise:g}, "
        f"{args.total_steps:,} steps of 64 pictures, seed {args.seed}; brackets are Wilson's 95 % intervals; steps are those of "
        f"successes.",
    ]
    return "\n".join(lines) + "\n"


def main(args: Args) -> int:
    check_bounds(args)
    cloning.check_milestones(args.milestones)
    config = cloning.milestones()
    chosen = [name for name in config if name in args.milestones or not args.milestones]
    output = Path(args.output_dir)
    known = known_rows(output / "bc_table.json")
    budget = Budget(args.demonstrations, args.noise, args.total_steps, args.eval_frequency, tier=args.tier, worlds=args.worlds)
    keys = {}
    for name, entry in config.items():
        settings = [name, asdict(budget), args.seed, args.test_episodes, entry.max_steps]
        keys[name] = fingerprint(settings, cloning.cloning_sources(name))
    current = {name: row for name, row in known.items() if name in config and row.get("fingerprint") == keys[name]}
    for row in current.values():
        check_kept(row, ROW, output / "bc_table.json")
    todo = [name for name in chosen if name not in current]
    for name in todo:
        check_own_folder(output / name, MARKER)

    def in_order(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        return [rows[name] for name in config if name in rows]

    def save() -> None:
        # Rows of other settings stay in the JSON file until their milestone is done again: each may have taken an hour.
        save_json(output / "bc_table.json", in_order(known | current))
        save_text(output / "bc_table.md", markdown(args, in_order(current)))

    def work(name: str, should_stop: Callable[[], bool]) -> dict[str, Any]:
        return clone_and_test(args, name, budget, keys[name], should_stop)

    def on_result(name: str, row: dict[str, Any]) -> None:
        current[name] = row
        save()
        texts = [f"{key} {rate_text(row[key]['successes'], row[key]['episodes'])}" for key in ("random", "bc", "expert")]
        done = sum(name in current for name in chosen)
        print(f"{name}: {', '.join(texts)}, {row['minutes']:.1f} min ({done} of {len(chosen)})", flush=True)

    run_in_parallel(work, todo, args.parallel, on_result)
    save()
    print(markdown(args, [current[name] for name in chosen]))
    return 0


if __name__ == "__main__":
    run_table("bc_table.py", lambda: main(args), args.output_dir)
