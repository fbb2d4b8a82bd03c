#!/usr/bin/env python3
"""The whole way in a few minutes: demonstrations, cloning, DAgger and a table, on three milestones of Tallgrass.

    make demo

One milestone of walking among people, one with a menu, one battle. Prints random presses, the cloned network, what DAgger makes
of it and the expert beside each other, and says where the films and the TensorBoard runs lie. Run again, it goes on where it
was stopped.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from common.flags import parse_command_line


@dataclass
class Args:
    milestones: tuple[str, ...] = ("RIVAL_HOUSE", "CLOCK_SET", "RIVAL_BATTLE_WON")
    """what to learn"""
    tier: Literal["T0", "T1", "T2", "T3"] = "T1"
    """the game's tier"""
    worlds: str | None = None
    """worlds to learn and to play in; default is the tier's"""
    demonstrations: int = 100
    """demonstrations for each"""
    noise: float = 0.2
    """probability with which a random button is pressed while recording"""
    total_steps: int = 300
    """training steps of cloning, for each"""
    iterations: int = 4
    """DAgger's, from the cloned network on"""
    episodes_per_iteration: int = 20
    """episodes that the student plays, and the expert labels, in each of them"""
    steps_per_iteration: int = 120
    """training steps in each of them"""
    test_episodes: int = 50
    """episodes of the table"""
    output_dir: str = "demo"
    """folder for everything that is made"""
    fresh: bool = False
    """throw away what an earlier demo left there"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

from rich.table import Table

from benchmarks.cloning import Budget, check_milestones, cloning_sources, collect, go_on_with_dagger, play, train
from benchmarks.tables import check_at_least_one, fingerprint, own_folder, run_main
from common.checkpoints import load_checkpoint
from common.demonstrations import count_labelled, episode_files
from common.run_logging import print_table
from common.statistics import rate_text

MARKER = ".demo_settings"
"""A file in the demo's folder: the folder is the demo's own, and what it was made with."""


def main(args: Args) -> int:
    began = time.monotonic()
    check_at_least_one(args, "demonstrations", "total_steps", "test_episodes")
    check_at_least_one(args, "iterations", "episodes_per_iteration", "steps_per_iteration")
    check_milestones(args.milestones)
    output = Path(args.output_dir)
    models = output / "models"
    budget = Budget(
        args.demonstrations,
        args.noise,
        args.total_steps,
        eval_frequency=max(1, args.total_steps // 3),
        learning_rate=1e-3,
        tier=args.tier,
        worlds=args.worlds,
        network="tiles",
        iterations=args.iterations,
        episodes_per_iteration=args.episodes_per_iteration,
        steps_per_iteration=args.steps_per_iteration,
    )
    sources = [path for milestone in args.milestones for path in cloning_sources(milestone)]
    own_folder(output, MARKER, fingerprint([asdict(budget), args.milestones], sources), args.fresh)

    policies = ("random", "bc", "dagger", "expert")
    table = Table("milestone", "limit", "random", "BC", "DAgger", "expert", "labels: BC", "DAgger", "steps: BC", "DAgger", "expert")
    films = []
    for milestone in args.milestones:
        data = output / "expert_data" / milestone
        collect(milestone, data, budget, seed=1)
        networks = {"bc": train(milestone, data, models, budget, seed=1)}
        networks["dagger"] = go_on_with_dagger(milestone, data, models, networks["bc"], budget, seed=1)
        results = play(milestone, policies, args.test_episodes, budget, networks, video=output / "videos")
        demonstrated = sum(count_labelled(path) for path in episode_files(data))
        # Of all iterations, also those after the best: that is what the run has cost.
        asked = load_checkpoint(models / f"dagger_{milestone}_1_final.pth")["labels"]["labels"]
        rates = [rate_text(results[name]["successes"], results[name]["episodes"]) for name in policies]
        steps = [results[name]["mean_steps"] for name in policies[1:]]
        table.add_row(
            milestone,
            str(results["max_steps"]),
            *rates,
            f"{demonstrated:,}",
            f"{demonstrated + asked:,}",
            *("-" if mean is None else f"{mean:.1f}" for mean in steps),
        )
        films += [results[name]["video"] for name in networks]

    print(f"\nSuccess within the limit, over {args.test_episodes} seeded episodes [95 % interval]; DAgger goes on from BC:")
    print_table(table)
    print("The networks at play:")
    for film in films:
        print(f"  {film}")
    print("Curves: .venv/bin/tensorboard --logdir runs")
    print(f"Networks: {models}; it took {(time.monotonic() - began) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    run_main("demo.py", lambda: main(args), args.output_dir)
