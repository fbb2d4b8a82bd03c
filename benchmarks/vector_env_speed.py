#!/usr/bin/env python3
"""How fast are vectorised environments? Threads against processes against one after the other.

    python -m benchmarks.vector_env_speed --num-envs 1 8 --seconds 3

Prints a table of environment steps per second in the bundled game, in the overworld, with random directions.
"threads" is what `pokemon_env.vector_env.make_vector_env` gives; "processes" and "sync" are Gymnasium's
AsyncVectorEnv (shared memory) and SyncVectorEnv. Observations are those of PokemonEnv; nothing is resized.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass
class Args:
    rom_path: str = "tallgrass/tallgrass.gb"
    """the game"""
    num_envs: tuple[int, ...] = (1, 2, 4, 8, 16)
    """how many environments, one line for each"""
    seconds: float = 4.0
    """how long each figure is measured"""


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)

import gymnasium
import numpy as np

from pokemon_env.gym_env import PokemonEnv
from pokemon_env.vector_env import available_cores, make_vector_env

ROUND_SECONDS = 0.4


def record_start(folder: Path, rom: str) -> Path:
    """Press through title, name and introduction, and save where the player can walk."""
    with PokemonEnv(rom, randomize_release_frames=False) as env:
        press = {name: index for index, name in enumerate(env.buttons)}
        _, info = env.reset(seed=0)
        for _ in range(500):
            if info["game"]["game_state"] == "overworld":
                return env.save_state(folder / "start.state")
            menu = info["game"]["menu"]
            if menu is None or not info["player"]["name"] and menu["cursor"] < 26:
                button = "START" if info["game"]["game_state"] == "title" else "A"
            elif menu["name"] == "title":
                button = "START"
            else:
                button = "A" if menu["cursor"] == 27 else "DOWN" if menu["cursor"] < 21 else "RIGHT"
            info = env.step(press[button])[-1]
    raise RuntimeError("the overworld was not reached within 500 presses")


def gymnasium_env(kind: type, num_envs: int, settings: dict) -> gymnasium.vector.VectorEnv:
    extra = {"shared_memory": True, "context": "forkserver"} if kind is gymnasium.vector.AsyncVectorEnv else {}
    mode = gymnasium.vector.AutoresetMode.DISABLED
    return kind([lambda: PokemonEnv(**settings)] * num_envs, autoreset_mode=mode, **extra)


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


def main(args: Args) -> None:
    print(f"{available_cores()} cores; environment steps per second, best round of {ROUND_SECONDS} s")
    print(f"{'envs':>4}  {'state in info':13}  {'threads':>8}  {'1 thread':>8}  {'processes':>9}  {'sync':>8}")
    with tempfile.TemporaryDirectory() as folder:
        start = record_start(Path(folder), args.rom_path)
        for num_envs in args.num_envs:
            for state_in_info in (False, True):
                settings = {"rom_path": args.rom_path, "start_state": start, "state_in_info": state_in_info}
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


if __name__ == "__main__":
    main(args)
