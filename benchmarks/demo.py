#!/usr/bin/env python3
"""The whole way in a few minutes: demonstrations, cloning, DAgger and a table, on three milestones of Tallgrass.

    make demo

One milestone of walking among people, one with a menu, one battle; two are learned at once, each with one thread. Prints
random presses, the cloned network, what DAgger makes of it and the expert beside each other, and ends with a film of a
student at play and the line that opens it. Run again, it continues where it was stopped.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from common.flag_groups import TierName
from common.runtime.flag_types import Count, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    milestones: tuple[str, ...] = ("RIVAL_HOUSE", "CLOCK_SET", "RIVAL_BATTLE_WON")
    """what to learn"""
    tier: TierName = "T1"
    """the game's tier"""
    worlds: str | None = None
    """worlds to learn and to play in; default is the tier's"""
    demonstrations: Count = 100
    """demonstrations for each"""
    noise: float = 0.2
    """probability with which a random button is pressed while recording"""
    total_steps: Count = 1500
    """training steps of cloning, for each, on 32 pictures"""
    iterations: Count = 4
    """DAgger's, from the cloned network on"""
    episodes_per_iteration: Count = 80
    """episodes that the student plays, and the expert labels, in each of them"""
    steps_per_iteration: Count = 1500
    """training steps in each of them"""
    parallel: Count = 2
    """milestones that are learned at once"""
    test_episodes: Count = 50
    """episodes of the table"""
    output_dir: str = "demo"
    """folder for everything that is made"""
    fresh: bool = False
    """throw away what an earlier demo left there"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import platform
import shlex
from collections.abc import Callable
from typing import Any

import torch
from rich.table import Table

from benchmarks.folders import fingerprint, own_folder, run_table
from benchmarks.steps import (
    Budget,
    Student,
    check_milestones,
    cloning_sources,
    collect,
    go_on_with_dagger,
    milestones,
    play,
    train,
)
from common.demonstrations import count_labelled, episode_files
from common.runtime.checkpoints import load_checkpoint
from common.runtime.progress import print_table
from common.runtime.workers import run_in_parallel
from common.statistics import rate_text

MARKER = ".demo_settings"
"""A file in the demo's folder: the folder is the demo's own, and what it was made with."""
POLICIES = ("random", "bc", "dagger", "expert")
TOLD = ("step ", "iteration ", "training")
"""How lines of the scripts begin that are shown while they work; all of them are in the logs."""


def learn(args: Args, milestone: str, budget: Budget, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """One milestone from demonstrations to the test: a row of the table, with its films."""
    output = Path(args.output_dir)
    data, models, logs = output / "expert_data" / milestone, output / "models", output / "logs"

    def tell(line: str) -> None:
        if line.startswith((*TOLD, milestone)):
            print(f"{milestone}: {line.removeprefix(f'{milestone}: ')}", flush=True)

    student = Student(milestone, budget, 1, data, models, num_threads=1, should_stop=should_stop, on_line=tell)
    collect(student, logs / f"collect_{milestone}.log")
    networks = {"bc": train(student, logs / f"bc_{milestone}.log")}
    networks["dagger"] = go_on_with_dagger(student, networks["bc"], logs / f"dagger_{milestone}.log")
    results = play(milestone, POLICIES, args.test_episodes, budget, networks, video=output / "videos", should_stop=should_stop)
    demonstrated = sum(count_labelled(path) for path in episode_files(data))
    # Of all iterations, also those after the best: that is what the run has cost.
    asked = load_checkpoint(models / f"dagger_{milestone}_1_final.pth")["labels"]["labels"]
    return {"labels": (demonstrated, demonstrated + asked), **results}


def opener() -> str:
    """The program that opens a film, on this system."""
    return "open" if platform.system() == "Darwin" else "xdg-open"


def main(args: Args) -> int:
    began = time.monotonic()
    check_bounds(args)
    check_milestones(args.milestones)
    torch.set_num_threads(1)  # the test plays in as many threads as milestones are learned at once
    output = Path(args.output_dir)
    budget = Budget(
        args.demonstrations,
        args.noise,
        args.total_steps,
        eval_frequency=max(1, args.total_steps // 3),
        batch_size=32,
        learning_rate=1e-3,
        best_eval_episodes=50,
        tier=args.tier,
        worlds=args.worlds,
        network="tiles-small",
        hidden_dim=64,
        iterations=args.iterations,
        episodes_per_iteration=args.episodes_per_iteration,
        steps_per_iteration=args.steps_per_iteration,
    )
    sources = [path for milestone in args.milestones for path in cloning_sources(milestone)]
    own_folder(output, MARKER, fingerprint([asdict(budget), args.milestones], sources), args.fresh)

    # The longest first, so that no core waits for it at the end
    in_turn = sorted(args.milestones, key=lambda name: -milestones()[name].max_steps)
    rows: dict[str, dict[str, Any]] = {}
    run_in_parallel(lambda name, should_stop: learn(args, name, budget, should_stop), in_turn, args.parallel, rows.__setitem__)

    table = Table("milestone", "limit", "random", "BC", "DAgger", "expert", "labels: BC", "DAgger", "steps: BC", "DAgger", "expert")
    for milestone in args.milestones:
        row = rows[milestone]
        rates = [rate_text(row[name]["successes"], row[name]["episodes"]) for name in POLICIES]
        steps = [row[name]["mean_steps"] for name in POLICIES[1:]]
        labels = (f"{count:,}" for count in row["labels"])
        table.add_row(
            milestone, str(row["max_steps"]), *rates, *labels, *("-" if mean is None else f"{mean:.1f}" for mean in steps)
        )
    print(f"\nSuccess within the limit, over {args.test_episodes} seeded episodes [95 % interval]; DAgger continues from BC:")
    print_table(table)
    played = [rows[milestone][name] for milestone in args.milestones for name in ("bc", "dagger")]
    films = [row["video"] for row in played if "video" in row]  # none on a full disk
    print(f"Networks: {output / 'models'}; logs: {output / 'logs'}; curves: .venv/bin/tensorboard --logdir runs")
    print(f"Films: {' '.join(films) or 'none could be written'}")
    print(f"It took {(time.monotonic() - began) / 60:.1f} minutes.")
    if films:
        print(f"To see a student play:\n\n    {opener()} {shlex.quote(films[-1])}\n")
    return 0


if __name__ == "__main__":
    run_table("demo.py", lambda: main(args), args.output_dir)
