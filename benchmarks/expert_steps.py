#!/usr/bin/env python3
"""How many steps the expert takes in each frozen episode of Tallgrass-v1: the table that the benchmark's limits are read from.

    python -m benchmarks.expert_steps --check               # play some of them again, and compare with what is shipped
    python -m benchmarks.expert_steps --output steps.json   # play all of them

The shipped table is `pokemon_env/games/tallgrass/frozen_steps.json`; another one makes another benchmark.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.runtime.flag_types import Count, Few, FlagError, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    output: Path = Path("results/frozen_steps.json")
    """File for the table."""
    check: bool = False
    """Play --check-episodes of each set again instead, and compare. Exits with 1 if one differs."""
    check_episodes: Count = 5
    """Episodes of each milestone, tier and split that are played again, evenly spread."""
    milestones: tuple[str, ...] = ()
    """With --check, these alone. Default is all of them."""
    milestone_config: Path = Path("milestone_config.json")
    """The milestones' limits: an expert that needs more steps has failed."""
    parallel: Few = 2
    """Sets of episodes that are played at once, each in a thread."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import json
import sys

from common.runtime.files import exclusive_lock, save_text
from common.runtime.main import Stopped, run_main
from common.runtime.progress import ProgressReport
from common.runtime.workers import run_in_parallel
from pokemon_env.games.tallgrass import GAME, frozen
from pokemon_env.games.tallgrass.benchmark_v1 import TIER_WORLDS
from pokemon_env.games.tallgrass.expert import own_policy, steps_to_goal
from pokemon_env.gym_env import PokemonEnv
from tasks.milestone_config import load_milestone_config

SPLITS: tuple[frozen.Split, ...] = ("choose", "test")


def play_set(name: str, seeds: list[int], max_steps: int, should_stop: Callable[[], bool]) -> list[int | None]:
    """Return the expert's steps in the episodes of these seeds. Raises Stopped.

    Args:
        name: TIER/SPLIT/MILESTONE.
        max_steps: a longer episode is a failure.
    """
    tier, split, milestone = name.split("/")
    worlds = split if TIER_WORLDS[tier] == "train" else TIER_WORLDS[tier]
    policy, steps = own_policy(milestone), []
    with PokemonEnv(tier=tier, worlds=worlds, start_milestone=milestone, target_milestone=milestone, state_in_info=False) as env:
        for seed in seeds:
            if should_stop():
                raise Stopped
            env.reset(seed=seed)
            steps.append(steps_to_goal(env, policy, max_steps, should_stop))
    if should_stop():  # which looks like a failure of the expert
        raise Stopped
    return steps


def main(args: Args) -> int:
    """Play, or check. The file is locked first: one that can't be written is told before an hour of play, not after it."""
    check_bounds(args)
    if args.check:
        return play_all(args)
    if args.output.is_dir():
        raise FlagError(f"--output {args.output}: is a folder; name a file, such as {args.output / 'frozen_steps.json'}")
    with exclusive_lock(args.output.with_name(f".{args.output.name}.lock")):
        return play_all(args)


def play_all(args: Args) -> int:
    """Do the work of `main`, with the file locked."""
    began = time.monotonic()
    limits = {name: entry.max_steps for name, entry in load_milestone_config(args.milestone_config).items()}
    known = tuple(milestone.id for milestone in GAME.milestones)
    if unknown := sorted(set(args.milestones) - set(known)):
        raise FlagError(f"--milestones: {GAME.name} has no {', '.join(unknown)}; it has {', '.join(known)}")
    milestones = (args.milestones if args.check else ()) or known
    if missing := [name for name in milestones if name not in limits]:
        raise FlagError(f"{args.milestone_config}: has no {', '.join(missing)}; add it, or give another --milestone-config")
    names = [f"{tier}/{split}/{milestone}" for tier in frozen.TIERS for split in SPLITS for milestone in milestones]
    every = max(1, frozen.EPISODES // args.check_episodes) if args.check else 1
    found: dict[str, list[int | None]] = {}
    with ProgressReport("sets of episodes", len(names)) as report:

        def play(name: str, should_stop: Callable[[], bool]) -> list[int | None]:
            _, split, milestone = name.split("/")
            chosen = list(frozen.seeds("test" if split == "test" else "choose"))[::every]
            return play_set(name, chosen, limits[milestone], should_stop)

        def keep(name: str, steps: list[int | None]) -> None:
            found[name] = steps
            report.update(len(found), name)

        run_in_parallel(play, names, args.parallel, keep)
    minutes = (time.monotonic() - began) / 60
    if args.check:
        wrong = []
        for name in names:
            tier, split, milestone = name.split("/")
            shipped = frozen.expert_steps(milestone, tier, "test" if split == "test" else "choose")[::every]
            wrong += [name] if list(shipped) != found[name] else []
        for name in wrong:
            print(f"{name}: other steps than in {frozen.PATH.name}", file=sys.stderr)
        print(f"{len(names) - len(wrong)} of {len(names)} sets as they are shipped; {minutes:.1f} minutes")
        return int(bool(wrong))
    table = {
        tier: {split: {name: found[f"{tier}/{split}/{name}"] for name in milestones} for split in SPLITS} for tier in frozen.TIERS
    }
    save_text(args.output, as_text(table))
    failures = sum(steps is None for taken in found.values() for steps in taken)
    print(f"{args.output}: {len(names)} sets of {frozen.EPISODES} episodes, {failures} failures; {minutes:.1f} minutes")
    return 0


def as_text(table: dict[str, dict[str, dict[str, list[int | None]]]]) -> str:
    """Return the table as JSON with one line for each set of episodes."""
    tiers = []
    for tier, splits in table.items():
        parts = []
        for split, sets in splits.items():
            lines = ",\n".join(f'   "{milestone}": {json.dumps(steps)}' for milestone, steps in sets.items())
            parts.append(f'  "{split}": {{\n{lines}\n  }}')
        tiers.append(f' "{tier}": {{\n' + ",\n".join(parts) + "\n }")
    return "{\n" + ",\n".join(tiers) + "\n}\n"


if __name__ == "__main__":
    run_main("expert_steps.py", lambda: main(args))
