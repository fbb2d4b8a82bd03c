#!/usr/bin/env python3
"""How fast are vectorised environments? Threads against processes against one after the other.

    python -m benchmarks.speed.vector_env --num-envs 1 8 --seconds 3

Prints a table of environment steps per second in the bundled game, in the overworld, with random directions.
"threads" is what `pokemon_env.vector_env.make_vector_env` gives; "processes" and "sync" are Gymnasium's
AsyncVectorEnv (shared memory) and SyncVectorEnv. Observations are those of PokemonEnv; nothing is resized.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from common.flag_groups import TierName
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    rom_path: str = "tallgrass/tallgrass.gb"
    """the game"""
    worlds: str = "0"
    """worlds to play in: 0, 7, 1-999, train, choose or test"""
    tier: TierName = "T1"
    """the game's tier"""
    num_envs: tuple[int, ...] = (1, 2, 4, 8, 16)
    """how many environments, one line for each"""
    seconds: float = 4.0
    """how long each figure is measured"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import gymnasium
import numpy as np

from pokemon_env.gym_env import PokemonEnv
from pokemon_env.vector_env import available_cores, make_vector_env

ROUND_SECONDS = 0.4


class InfoAsOneValue(gymnasium.Wrapper):
    """Hides what an info holds from Gymnasium's vector environments: they can't join a dict from one with None from another."""

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        return observation, {"info": (info,)}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        *rest, info = self.env.step(action)
        return (*rest, {"info": (info,)})


def gymnasium_env(kind: type, num_envs: int, settings: dict) -> gymnasium.vector.VectorEnv:
    extra = {"shared_memory": True, "context": "forkserver"} if kind is gymnasium.vector.AsyncVectorEnv else {}
    mode = gymnasium.vector.AutoresetMode.DISABLED
    return kind([lambda: InfoAsOneValue(PokemonEnv(**settings))] * num_envs, autoreset_mode=mode, **extra)


def steps_per_second(envs: list[gymnasium.vector.VectorEnv], seconds: float) -> list[float]:
    """The best of a few rounds, in which all take turns: what else runs on the machine can only make them slower."""
    rng = np.random.default_rng(0)
    best = [0.0] * len(envs)
    for env in envs:
        env.reset(seed=0)
    for _ in range(max(1, round(seconds / ROUND_SECONDS))):
        for place, env in enumerate(envs):
            steps = 0
            start = time.perf_counter()
            while time.perf_counter() - start < ROUND_SECONDS:
                env.step(rng.integers(4, 8, env.num_envs))
                steps += env.num_envs
            best[place] = max(best[place], steps / (time.perf_counter() - start))
    return best


def main(args: Args) -> int:
    print(f"{available_cores()} cores; environment steps per second, best round of {ROUND_SECONDS} s")
    print(f"{'envs':>4}  {'state in info':13}  {'threads':>8}  {'1 thread':>8}  {'processes':>9}  {'sync':>8}")
    # Walking, on the way to a milestone that is too far for random presses.
    start = {"rom_path": args.rom_path, "worlds": args.worlds, "tier": args.tier, "start_milestone": "LAB_ENTERED"}
    for num_envs in args.num_envs:
        for state_in_info in (False, True):
            settings = {**start, "target_milestone": "BADGE", "state_in_info": state_in_info}
            envs = [
                make_vector_env(num_envs, **settings),
                make_vector_env(num_envs, num_threads=1, **settings),
                gymnasium_env(gymnasium.vector.AsyncVectorEnv, num_envs, settings),
                gymnasium_env(gymnasium.vector.SyncVectorEnv, num_envs, settings),
            ]
            rates = steps_per_second(envs, args.seconds)
            for env in envs:
                env.close()
            columns = "  ".join(f"{rate:{width}.0f}" for rate, width in zip(rates, (8, 8, 9, 8), strict=True))
            print(f"{num_envs:4}  {'yes' if state_in_info else 'no':13}  {columns}", flush=True)
    return 0


if __name__ == "__main__":
    from benchmarks.folders import run_table  # not above: the worker processes load what stands there, and this brings torch

    run_table("vector_env_speed.py", lambda: main(args))
