"""Infos for Gymnasium's vector environments, which put them into arrays."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class KnownInfos(gymnasium.Wrapper[np.ndarray, Any, np.ndarray, Any]):
    """Leaves `expert_steps` out of an info where it is None: an array of numbers can't hold that, and the run ended.

    A vector environment has a mask for what only some of its infos hold, here `_expert_steps`.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {key: value for key, value in info.items() if key != "expert_steps" or value is not None}


def make_benchmark(milestone: str, split: str = "test", compass: bool = True, **settings: Any) -> KnownInfos:
    """Return what `gymnasium.make("Tallgrass-v1", milestone=...)` makes; see `BenchmarkEnv` for the arguments."""
    if not isinstance(milestone, str):
        raise ValueError(f"milestone is {milestone!r}, but must be a milestone's ID, such as 'ROUTE_1'.")
    if not isinstance(compass, bool):  # a word such as "off" would count as True
        raise ValueError(f"compass is {compass!r}, but must be True or False.")
    from pokemon_env.games.tallgrass.benchmark_env import BenchmarkEnv

    return KnownInfos(BenchmarkEnv(milestone, split, compass, **settings))
