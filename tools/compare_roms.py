#!/usr/bin/env python3
"""Play the experts' episodes on two builds of Tallgrass, and tell whether screens and memory are the same.

    git show TAG:tallgrass/tallgrass.gb > old.gb
    python -m tools.compare_roms old.gb tallgrass/tallgrass.gb

For each milestone on each tier, the expert plays seeded episodes on the first ROM, half of them with random presses between,
and the same buttons are pressed on the second. After each press both screens are compared, and both memories but for the stack,
which holds addresses of code. Exits with 1 if anything differs.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import tyro

from common.flag_groups import TierName
from common.runtime.flag_types import Count, Few, FlagError, Share, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    old: tyro.conf.Positional[Path]
    """ROM on which the expert plays."""
    new: tyro.conf.Positional[Path]
    """ROM that is compared with it."""
    milestones: tuple[str, ...] = ()
    """These alone. Default is all of them."""
    tiers: tuple[TierName, ...] = ("T1", "T2")
    """Tiers to play on."""
    episodes: Count = 50
    """Episodes of each milestone on each tier, without random presses, and as many with."""
    noise: Share = 0.2
    """Probability of a random press in the second half of the episodes."""
    parallel: Few = 2
    """Milestones that are played at once, each in a thread."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import hashlib
from collections.abc import Callable

import numpy as np
from rich.table import Table

from agent.open_expert import open_policy
from common.runtime.main import Stopped, UserError, run_main
from common.runtime.progress import ProgressReport, print_table
from common.runtime.seeding import AUDIT_PICTURES, BUILDS, episode_rng
from common.runtime.workers import run_in_parallel
from pokemon_env.errors import PokemonEnvError
from pokemon_env.games.tallgrass import GAME, frozen
from pokemon_env.games.tallgrass.benchmark_v1 import step_limit
from pokemon_env.gym_env import PokemonEnv
from tasks.episode_starts import choose_starts

MEMORY, STACK = 0xC000, 0xDF00
"""All of the work RAM up to the page with the stack."""
PATIENCE = 4
"""Times the expert's mean steps that an episode may take."""


class RomsDifferError(UserError):
    """The builds do not play alike; the text says where."""


def compare_cell(args: Args, cell: str, should_stop: Callable[[], bool]) -> int:
    """Play the episodes of TIER/MILESTONE on both ROMs. Returns the number of steps compared. Raises RomsDifferError, Stopped."""
    tier, _, milestone = cell.partition("/")
    starts = choose_starts(GAME, milestone, args.old, purpose="test", tier=tier)
    limit = step_limit(milestone, tier if tier in frozen.TIERS else "T1", PATIENCE)
    steps = 0
    with ExitStack() as opened:
        old, new = (
            opened.enter_context(PokemonEnv(path, target_milestone=milestone, **starts.settings)) for path in (args.old, args.new)
        )
        expert = opened.enter_context(closing(open_policy((None, milestone), old)))
        for block, noise in ((BUILDS, 0.0), (AUDIT_PICTURES, args.noise)):
            for seed in range(block.first, block.first + args.episodes):
                rng = episode_rng(seed, "noise")
                screen, info = old.reset(seed=seed)
                other, _ = new.reset(seed=seed)
                check_alike(old, new, screen, other, f"{tier}/{milestone}, seed {seed}, at the start")
                if should_stop():
                    raise Stopped
                for step in range(limit):
                    action = expert.label(info).action
                    drawn, is_random = int(rng.integers(len(old.buttons))), rng.random() < noise
                    action = drawn if is_random or action is None else action
                    screen, _, ended, _, info = old.step(action)
                    other, _, ended_too, _, _ = new.step(action)
                    where = f"{tier}/{milestone}, seed {seed}, after step {step}"
                    check_alike(old, new, screen, other, where)
                    if ended != ended_too:
                        raise RomsDifferError(f"{where}: only one of the two has ended")
                    steps += 1
                    if ended:
                        break
    return steps


def check_alike(old: PokemonEnv, new: PokemonEnv, screen: np.ndarray, other: np.ndarray, where: str) -> None:
    """Raise RomsDifferError if screens or memories differ."""
    if not np.array_equal(screen, other):
        raise RomsDifferError(f"{where}: {(screen != other).any(axis=2).sum()} pixels differ")
    ours, theirs = (np.frombuffer(env.read_memory(MEMORY, STACK - MEMORY), np.uint8) for env in (old, new))
    if len(places := np.flatnonzero(ours != theirs)):
        listed = ", ".join(f"{MEMORY + place:04X}" for place in places[:8])
        raise RomsDifferError(f"{where}: memory differs at {listed}")


def main(args: Args) -> int:
    check_bounds(args)
    names = tuple(milestone.id for milestone in GAME.milestones)
    if unknown := sorted(set(args.milestones) - set(names)):
        raise FlagError(f"--milestones: {GAME.name} has no {', '.join(unknown)}; it has {', '.join(names)}")
    milestones = args.milestones or names
    cells = [f"{tier}/{milestone}" for tier in args.tiers for milestone in milestones]
    steps: dict[str, int] = {}
    with ProgressReport("comparing", len(cells)) as report:

        def done(cell: str, compared: int) -> None:
            steps[cell] = compared
            report.update(len(steps), cell)

        run_in_parallel(lambda cell, should_stop: compare_cell(args, cell, should_stop), cells, args.parallel, done)
    table = Table("tier", "milestones", "episodes", "steps compared")
    for tier in args.tiers:
        count = sum(compared for cell, compared in steps.items() if cell.startswith(f"{tier}/"))
        table.add_row(tier, str(len(milestones)), f"{2 * args.episodes * len(milestones):,}", f"{count:,}")
    print_table(table)
    first, second = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (args.old, args.new))
    print(f"{first} and {second}: all screens equal, and all memory but the stack")
    return 0


if __name__ == "__main__":
    run_main("compare_roms.py", lambda: main(args), errors=(PokemonEnvError,))
