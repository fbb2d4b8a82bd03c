#!/usr/bin/env python3
"""The whole story, played by the chained experts from power-on to the last milestone, in one world after another.

    python -m benchmarks.chain --worlds 0 --seeds 20
    python -m benchmarks.chain --tier T2 --worlds 10000-10019 --seeds 20

Prints a table: in how many of the seeded runs each world's story was played to its end, how many steps that took, and
where the others stopped. Exits with 1 if in some world fewer than --min-successes of the runs reached it.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field

from common.flag_groups import TierName
from common.runtime.flag_types import Count, Seed, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    rom_path: str = "tallgrass/tallgrass.gb"
    """the game"""
    worlds: str = "0"
    """worlds to play: 0, 7, 10000-10019, train, choose or test"""
    tier: TierName = "T1"
    """how hard the game is; on T1 the light and the grounds vary, too"""
    seeds: Count = 20
    """runs in each world"""
    seed: Seed = 0
    """the first run's seed"""
    max_steps: Count = 5000
    """a run that takes longer has failed"""
    milestone_steps: Count = 1500
    """a run that takes longer for one milestone has failed"""
    min_successes: float = 0.95
    """gate: each world's share of runs that reach the end"""
    num_processes: Count = 2
    """worlds that are played at once"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import numpy as np

from agent.policy_expert import PolicyExpert
from benchmarks.folders import run_table
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.splits import parse_worlds


@dataclass
class Run:
    """One run from power-on."""

    seed: int
    steps: int = 0
    steps_of: dict[str, int] = field(default_factory=dict)
    """Milestone -> steps it took, in order; only those reached."""
    stopped: str | None = None
    """Why it did not reach the end, in words; None if it did."""


def play(
    env: PokemonEnv,
    experts: dict[str, PolicyExpert],
    seed: int,
    world: int,
    max_steps: int,
    milestone_steps: int,
    on_step: Callable[[str, dict, int], int] | None = None,
) -> Run:
    """Play one run: the expert of each milestone in turn, until it is completed.

    on_step: called with the milestone, the state and the expert's action; returns the action that is played.
    """
    _, info = env.reset(seed=seed, options={"world": world, "start_milestone": None})
    run = Run(seed)
    for name, expert in experts.items():
        steps = 0
        while not info["milestones"][name]["completed"]:
            answer = expert.label(info)
            if answer.action is None:
                run.stopped = f"{name}: {answer.reason}"
            elif steps >= milestone_steps or run.steps >= max_steps:
                run.stopped = f"{name}: not within {steps} steps, at {info['map']['location']} {info['map']['player_coords']}"
            if run.stopped is not None:
                return run
            action = answer.action if on_step is None else on_step(name, info, answer.action)
            info = env.step(action)[-1]
            steps += 1
            run.steps += 1
        run.steps_of[name] = steps
    return run


def load_experts(env: PokemonEnv) -> dict[str, PolicyExpert]:
    """The game's own expert of each milestone, in order."""
    return {name: PolicyExpert(env.game.policy_dir / f"{name}.py", env.game) for name in (m.id for m in env.milestones)}


def play_world(args: Args, world: int) -> list[Run]:
    """All runs of one world."""
    with PokemonEnv(args.rom_path, worlds=[world], tier=args.tier) as env:
        experts = load_experts(env)
        seeds = range(args.seed, args.seed + args.seeds)
        return [play(env, experts, seed, world, args.max_steps, args.milestone_steps) for seed in seeds]


def row(world: int, runs: list[Run]) -> str:
    """The world's line of the table."""
    done = [run.steps for run in runs if run.stopped is None]
    steps = f"{np.mean(done):.0f} ({min(done)}-{max(done)})" if done else ""
    stopped = Counter(run.stopped.split(":")[0] for run in runs if run.stopped is not None)
    return f"| {world} | {len(done)}/{len(runs)} | {steps} | {', '.join(f'{name} {n}' for name, n in stopped.items())} |"


def main(args: Args) -> int:
    check_bounds(args)
    worlds = list(parse_worlds(args.worlds))
    print("| world | reached the end | steps, mean (range) | stopped at |\n|-|-|-|-|")
    runs: dict[int, list[Run]] = {}
    with ProcessPoolExecutor(args.num_processes) if args.num_processes > 1 else nullcontext() as pool:
        results = (map if pool is None else pool.map)(play_world, [args] * len(worlds), worlds)
        for world, result in zip(worlds, results, strict=True):
            runs[world] = result
            print(row(world, result), flush=True)
    played = [run for result in runs.values() for run in result]
    done = [run for run in played if run.stopped is None]
    print(f"\nAll together: {len(done)} of {len(played)} runs reached the end.")
    for name in done[0].steps_of if done else ():
        steps = [run.steps_of[name] for run in done]
        print(f"  {name:24} {np.mean(steps):6.1f} steps on average, at most {max(steps)}")
    for world, result in runs.items():
        for run in result:
            if run.stopped is not None:
                print(f"world {world}, seed {run.seed}: {run.stopped}")
    missed = [world for world, result in runs.items() if sum(r.stopped is None for r in result) < args.min_successes * len(result)]
    print(f"Gate ({args.min_successes:.0%} in each world): " + (f"missed in {missed}." if missed else "passed."))
    return 1 if missed else 0


if __name__ == "__main__":
    run_table("chain.py", lambda: main(args))
