#!/usr/bin/env python3
"""The whole way in a few minutes: demonstrations, cloning and a table, on three milestones of Tallgrass.

    make demo

One milestone of walking among people, one with a menu, one battle. Prints random presses, the cloned network and the expert
beside each other, and says where the films and the TensorBoard runs lie. Run again, it goes on where it was stopped.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass
class Args:
    milestones: tuple[str, ...] = ("RIVAL_HOUSE", "CLOCK_SET", "RIVAL_BATTLE_WON")
    """what to learn"""
    tier: Literal["T0", "T1", "T2", "T3"] = "T1"
    """the game's tier"""
    worlds: str | None = None
    """worlds to learn and to play in; default is the tier's"""
    demonstrations: int = 150
    """demonstrations for each"""
    noise: float = 0.2
    """probability with which a random button is pressed while recording"""
    total_steps: int = 900
    """training steps for each"""
    test_episodes: int = 50
    """episodes of the table"""
    output_dir: str = "demo"
    """folder for everything that is made"""
    fresh: bool = False
    """throw away what an earlier demo left there"""


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)

from rich.markup import escape
from rich.table import Table

from benchmarks.cloning import Budget, check_milestones, cloning_sources, collect, play, train
from benchmarks.tables import check_at_least_one, fingerprint, own_folder, run_main
from common.run_logging import print_table
from common.statistics import rate_text

MARKER = ".demo_settings"
"""A file in the demo's folder: the folder is the demo's own, and what it was made with."""


def main(args: Args) -> int:
    began = time.monotonic()
    check_at_least_one(args, "demonstrations", "total_steps", "test_episodes")
    check_milestones(args.milestones)
    output = Path(args.output_dir)
    eval_frequency = max(1, args.total_steps // 3)
    budget = Budget(args.demonstrations, args.noise, args.total_steps, eval_frequency, tier=args.tier, worlds=args.worlds)
    sources = [path for milestone in args.milestones for path in cloning_sources(milestone)]
    own_folder(output, MARKER, fingerprint([asdict(budget), args.milestones], sources), args.fresh)

    table = Table("milestone", "limit", "random", "BC", "expert", "steps: BC", "steps: expert")
    films = []
    for milestone in args.milestones:
        collect(milestone, output / "expert_data" / milestone, budget, seed=1)
        checkpoint = train(milestone, output / "expert_data" / milestone, output / "models", budget, seed=1)
        results = play(milestone, ("random", "bc", "expert"), args.test_episodes, budget, checkpoint, video=output / "videos")
        rates = [escape(rate_text(results[name]["successes"], results[name]["episodes"])) for name in ("random", "bc", "expert")]
        steps = ["-" if results[name]["mean_steps"] is None else f"{results[name]['mean_steps']:.1f}" for name in ("bc", "expert")]
        table.add_row(milestone, str(results["max_steps"]), *rates, *steps)
        films.append(results["bc"]["video"])

    print(f"\nSuccess within the limit, over {args.test_episodes} seeded episodes [95 % interval]:")
    print_table(table)
    print("The network at play:")
    for film in films:
        print(f"  {film}")
    print("Curves: .venv/bin/tensorboard --logdir runs")
    print(f"Networks: {output / 'models'}; it took {(time.monotonic() - began) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    run_main("demo.py", lambda: main(args))
