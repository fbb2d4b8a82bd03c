"""The benchmark's environment: one milestone, each episode within twice the steps that the expert takes in it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from pokemon_env.games.tallgrass import frozen
from pokemon_env.games.tallgrass.expert import own_policy, steps_to_goal
from pokemon_env.games.tallgrass.optimal import optimal_steps
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import BUNDLED_ROM

PATIENCE = 4
"""Times the expert's mean steps that it may take where an episode is not frozen; then it has failed."""


class BenchmarkEnv(gymnasium.Wrapper[np.ndarray, Any, np.ndarray, Any]):
    """A milestone of Tallgrass as the benchmark plays it. Observations are screens, (144, 160, 3) uint8 RGB; rewards are 0, and 1
    with the milestone, which terminates the episode.

    An episode is truncated at twice the steps that the expert takes in it, from the same seed and start. Of the frozen seeds
    (`frozen.seeds`) these are known. Elsewhere the expert plays the episode first, on an emulator of its own, which leaves this
    environment's generator as it was.

    Infos hold nothing of the game's memory: `step_limit` of the episode, `expert_steps` (None where the expert fails),
    `optimal_steps` (of the shortest path from the start, for SPL; None where chance decides) and, after the last step, `success`.

    Args:
        milestone: its ID, for example "ROUTE_1".
        split: the worlds that are played: "train", "choose" or "test".
        compass: whether the screen shows the compass. Without it the tier is T4 instead of T2.
        render_mode: None or "rgb_array".
        rom_path: default is the bundled game.

    Raises ValueError for an unknown milestone or split.
    """

    def __init__(
        self,
        milestone: str,
        split: str = "test",
        compass: bool = True,
        render_mode: str | None = None,
        rom_path: str | Path = BUNDLED_ROM,
    ):
        if split not in ("train", "choose", "test"):
            raise ValueError(f"there is no split {split!r}: choose train, choose or test.")
        self.milestone, self.split, self.tier = milestone, split, "T2" if compass else "T4"
        self._settings: dict[str, Any] = {
            "rom_path": rom_path, "target_milestone": milestone, "start_milestone": milestone, "worlds": split, "tier": self.tier,
            "state_in_info": False,
        }  # fmt: skip
        self._game = PokemonEnv(render_mode=render_mode, **self._settings)
        self._expert_env: PokemonEnv | None = None
        self._limit, self._steps = 0, 0
        super().__init__(self._game)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode: that of the seed, or one that the environment draws. There are no options."""
        if options:
            raise ValueError(f"the benchmark's episodes have no options, but {sorted(options)} were given.")
        generator = None if seed is not None else copy.deepcopy(self._game.np_random)
        screen, _ = self._game.reset(seed=seed)
        steps, others = self._expert_steps(seed, generator)
        self._limit, self._steps = frozen.limit_of(steps, others), 0
        shortest = optimal_steps(self._game.get_state(), self.milestone)
        return screen, {"step_limit": self._limit, "expert_steps": steps, "optimal_steps": shortest}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Press the button `action`."""
        screen, reward, terminated, _, _ = self._game.step(action)
        self._steps += 1
        truncated = not terminated and self._steps >= self._limit
        info: dict[str, Any] = {"step_limit": self._limit}
        return screen, float(terminated), terminated, truncated, info | ({"success": terminated} if terminated or truncated else {})

    def close(self) -> None:
        """Stop both emulators."""
        if self._expert_env is not None:
            self._expert_env.close()
            self._expert_env = None
        super().close()

    def _expert_steps(self, seed: int | None, generator: np.random.Generator | None) -> tuple[int | None, tuple[int | None, ...]]:
        """Return the expert's steps in the episode, and those in the frozen ones of its split (of "choose" in training worlds)."""
        split: frozen.Split = "test" if self.split == "test" else "choose"
        others = frozen.expert_steps(self.milestone, self.tier, split)
        if self.split == split and seed is not None and seed in frozen.seeds(split):
            return others[frozen.seeds(split).index(seed)], others
        if self._expert_env is None:
            self._expert_env = PokemonEnv(**self._settings)
            self._policy = own_policy(self.milestone)
        if generator is not None:
            self._expert_env.np_random = generator
        self._expert_env.reset(seed=seed)
        most = round(PATIENCE * frozen.mean_steps(self.milestone, self.tier))
        return steps_to_goal(self._expert_env, self._policy, most), others
