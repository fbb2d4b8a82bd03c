"""Several environments at once, through Gymnasium's vector API, stepped by threads.

PyBoy releases Python's lock while it emulates, so threads run in parallel, and infos, snapshots and settings need not be
copied between processes. Steps per second on 2 otherwise idle cores, best rounds ("processes" is Gymnasium's
AsyncVectorEnv with shared memory, "sync" its SyncVectorEnv), from
`python -m benchmarks.speed.vector_env --num-envs 2 8 --seconds 3`:

    envs  state in info   threads  1 thread  processes  sync
       2  no                 2149      1515       1468  1386
       2  yes                1719      1321       1269  1158
       8  no                 2518      1470       1714  1379
       8  yes                2084      1350       1489  1211
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from pokemon_env.gym_env import PokemonEnv


class ThreadVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N environments, stepped together by a pool of threads.

    As in Gymnasium's vector environments, observations are (N, H, W, 3) uint8, rewards (N,) float64, terminations
    and truncations (N,) bool, each a new array. Autoreset is disabled: the caller names with `reset_mask` which
    environments to reset, and with what seeds and start states. An episode does not depend on where it runs or what runs
    in parallel. Three things differ, because they serve a queue of episodes:

    - Infos are {"per_env": list}: item i is environment i's own info dictionary, None where it was not stepped or
      reset.
    - `reset(options={"per_env": [options or None, ...]})` gives each environment its own reset options; other keys
      go to all.
    - `step(actions, mask)` steps only the environments where mask is true. The others keep their last observation,
      have reward 0 and are neither terminated nor truncated: at the end of a queue not all have an episode.

    Args:
        make_envs: one function per environment, which makes it.
        num_threads: default is one per core, and not more than environments.
    """

    def __init__(self, make_envs: Sequence[Callable[[], PokemonEnv]], num_threads: int | None = None) -> None:
        if not make_envs:
            raise ValueError("there must be at least one environment.")
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads is {num_threads}, but must be at least 1.")
        self.envs: list[PokemonEnv] = []
        self._pool: ThreadPoolExecutor | None = None
        try:
            for make_env in make_envs:
                self.envs.append(make_env())
        except BaseException:
            self.close()
            raise
        first = self.envs[0]
        self.num_envs = len(self.envs)
        self.metadata = {**first.metadata, "autoreset_mode": AutoresetMode.DISABLED}
        self.render_mode = first.render_mode
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        shape = self.observation_space.shape
        assert shape is not None  # a batch of boxes is a box
        self._observations: np.ndarray = np.zeros(shape, self.observation_space.dtype)
        self._rewards = np.zeros(self.num_envs)
        self._terminations = np.zeros(self.num_envs, bool)
        self._truncations = np.zeros(self.num_envs, bool)
        self._running = np.zeros(self.num_envs, bool)  # in an episode: neither finished nor still to be reset
        threads = min(num_threads or available_cores(), self.num_envs)
        if threads > 1:
            # The thread that calls works, too.
            self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="pokemon_env")
        self._helpers = threads - 1

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin episodes in all environments, or in those where `options["reset_mask"]`, (N,) bool, is true.

        seed: one per environment; an integer stands for seed, seed + 1, ...; None (also within a list) continues
            drawing from the environment's generator.
        Returns the observations of all environments, and infos as in `step`.
        """
        given = [seed + i for i in range(self.num_envs)] if isinstance(seed, (int, np.integer)) else seed
        seeds: list[int | None] = [None] * self.num_envs if given is None else list(given)
        shared = dict(options or {})
        mask = self._mask("options['reset_mask']", shared.pop("reset_mask", None))
        own = shared.pop("per_env", None)
        own = [None] * self.num_envs if own is None else list(own)
        for name, values in (("seed", seeds), ("options['per_env']", own)):
            if len(values) != self.num_envs:
                raise ValueError(f"{name} has {len(values)} items, but there are {self.num_envs} environments.")
        infos: list[dict[str, Any] | None] = [None] * self.num_envs

        def reset_one(i: int) -> None:
            env_seed = seeds[i]
            env_seed = None if env_seed is None else int(env_seed)
            self._observations[i], infos[i] = self.envs[i].reset(seed=env_seed, options={**shared, **(own[i] or {})})

        indices = np.flatnonzero(mask).tolist()
        self._running[mask] = False
        self._for_each(reset_one, indices)
        self._running[mask] = True
        self._terminations[mask] = False
        self._truncations[mask] = False
        return self._observations.copy(), {"per_env": infos}

    def step(
        self, actions: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step all environments, or those where `mask`, (N,) bool, is true; `actions` always has N items.

        Raises ValueError if one of them is not in an episode: reset it first.
        """
        if len(actions) != self.num_envs:
            raise ValueError(f"there are {len(actions)} actions, but {self.num_envs} environments.")
        mask = self._mask("mask", mask)
        if idle := np.flatnonzero(mask & ~self._running).tolist():
            raise ValueError(
                f"environments {idle} are not in an episode: reset them (options={{'reset_mask': ...}}), or leave them out of mask."
            )
        infos: list[dict[str, Any] | None] = [None] * self.num_envs
        self._rewards[:] = 0
        self._terminations[:] = False
        self._truncations[:] = False

        def step_one(i: int) -> None:
            result = self.envs[i].step(int(actions[i]))
            self._observations[i], self._rewards[i], self._terminations[i], self._truncations[i], infos[i] = result

        self._for_each(step_one, np.flatnonzero(mask).tolist())
        self._running &= ~(self._terminations | self._truncations)
        ended = self._terminations.copy(), self._truncations.copy()
        return self._observations.copy(), self._rewards.copy(), *ended, {"per_env": infos}

    def render(self) -> tuple[Any, ...]:
        """Return each environment's `render()`, a screen or None."""
        return tuple(env.render() for env in self.envs)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of each environment, or get an attribute, for example `call("snapshot")`."""
        attributes = [getattr(env, name) for env in self.envs]
        return tuple(attribute(*args, **kwargs) if callable(attribute) else attribute for attribute in attributes)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Get an attribute of each environment."""
        return tuple(getattr(env, name) for env in self.envs)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of each environment: a list or tuple has one value for each, anything else is set in all."""
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        for env, value in zip(self.envs, values, strict=True):
            setattr(env, name, value)

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads and the emulators."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        for env in self.envs:
            env.close()

    def _mask(self, name: str, mask: np.ndarray | None) -> np.ndarray:
        if mask is None:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != bool:
            raise ValueError(f"{name} must be an array of {self.num_envs} bools, not of shape {mask.shape} and type {mask.dtype}.")
        return mask

    def _for_each(self, function: Callable[[int], None], indices: Iterable[int]) -> None:
        """Call `function` for each index, on all threads; each takes the next index when it is done with one."""
        queue = iter(list(indices))  # taking an item from a list's iterator is atomic

        def work() -> None:
            for i in queue:
                function(i)

        helpers = [self._pool.submit(work) for _ in range(self._helpers)] if self._pool is not None else []
        try:
            work()
        finally:
            for helper in helpers:
                helper.result()


def make_vector_env(num_envs: int, num_threads: int | None = None, **env_kwargs: Any) -> ThreadVectorEnv:
    """Make `num_envs` PokemonEnvs with the same settings, stepped together; see `ThreadVectorEnv`."""
    if env_kwargs.get("render_mode") == "human" or not env_kwargs.get("headless", True):
        raise ValueError("environments in a vector have no windows: use headless=True, and render_mode None or 'rgb_array'.")
    return ThreadVectorEnv([lambda: PokemonEnv(**env_kwargs)] * num_envs, num_threads)


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
