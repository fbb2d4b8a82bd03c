#!/usr/bin/env python3
"""Behavioural cloning on every milestone, beside random presses and the expert: the README's table.

    python -m benchmarks.bc_table

For each milestone: records demonstrations with noise, trains one network on them, and plays the test episodes from held-out
start states with the network, the expert and random presses (the same seeds and step limit for all). Writes
`{output_dir}/bc_table.md` and `.json`; what is there already is not made again, and a run that was stopped goes on.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro


@dataclass
class Args:
    milestones: tuple[str, ...] = ()
    """these alone; default is all, in turn"""
    demonstrations: int = 50
    """demonstrations for each milestone"""
    noise: float = 0.2
    """probability with which a random button is pressed while recording; the label stays the expert's"""
    total_steps: int = 900
    """training steps for each milestone, each on 64 pictures"""
    eval_frequency: int = 300
    """steps between evaluations, of which each may find the best network"""
    test_episodes: int = 50
    """episodes that the table counts, from held-out start states"""
    seed: int = 1
    """seed of demonstrations and training"""
    parallel: int = 2
    """milestones that are trained at once, each with one thread"""
    output_dir: str = "results/bc"
    """folder for demonstrations, networks and the table"""


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)

from agent.start_states import ensure_start_states
from benchmarks.cloning import Budget, StepFailed, collect, fingerprint, play, save_json, train
from common.milestone_config import load_milestone_config
from common.statistics import rate_text, wilson_interval


def clone_and_test(args: Args, milestone: str, budget: Budget, key: str) -> dict[str, Any]:
    """One row of the table."""
    folder = Path(args.output_dir) / milestone
    marker = folder / "settings.txt"
    if not marker.is_file() or marker.read_text() != key:  # made with another ROM or other settings
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        marker.write_text(key)
    began = time.monotonic()
    collect(milestone, folder / "expert_data", budget, args.seed, log=folder / "collect.log")
    checkpoint = train(milestone, folder / "expert_data", folder, budget, args.seed, num_threads=1, log=folder / "train.log")
    results = play(milestone, ("random", "bc", "expert"), args.test_episodes, checkpoint)
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
        f"presses in {total['random']}. {args.demonstrations} demonstrations each, noise {args.noise:g}, {args.total_steps:,} "
        f"steps of 64 pictures, seed {args.seed}; brackets are Wilson's 95 % intervals; steps are those of successes.",
    ]
    return "\n".join(lines) + "\n"


def main(args: Args) -> int:
    config = load_milestone_config("milestone_config.json")
    if unknown := set(args.milestones) - set(config):
        raise ValueError(f"no milestone {', '.join(sorted(unknown))}; there are {', '.join(config)}")
    chosen = [name for name in config if name in args.milestones or not args.milestones]
    ensure_start_states(chosen[-1])
    budget = Budget(args.demonstrations, args.noise, args.total_steps, args.eval_frequency)
    keys = {name: fingerprint(name, budget, args.seed, args.test_episodes, config[name].max_steps) for name in chosen}
    output = Path(args.output_dir)
    known = {}
    if (output / "bc_table.json").is_file():
        known = {row["milestone"]: row for row in json.loads((output / "bc_table.json").read_text())}
    rows = {name: known[name] for name in chosen if name in known and known[name]["fingerprint"] == keys[name]}
    lock = threading.Lock()

    def one(name: str) -> None:
        row = clone_and_test(args, name, budget, keys[name])
        with lock:
            rows[name] = row
            save_json(output / "bc_table.json", [rows[key] for key in chosen if key in rows])
            texts = [f"{key} {rate_text(row[key]['successes'], row[key]['episodes'])}" for key in ("random", "bc", "expert")]
            print(f"{name}: {', '.join(texts)}, {row['minutes']:.1f} min ({len(rows)} of {len(chosen)})", flush=True)

    with ThreadPoolExecutor(args.parallel) as pool:
        for future in [pool.submit(one, name) for name in chosen if name not in rows]:
            future.result()
    text = markdown(args, [rows[name] for name in chosen])
    (output / "bc_table.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(args))
    except (ValueError, OSError, StepFailed) as error:
        sys.exit(f"bc_table.py: {error}")
