"""Playing whole episodes with any policy, in one environment or in several at once, and collecting their results."""

from __future__ import annotations

import inspect
import os
import time
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from common.episodes import EpisodeResult, EpisodeSpec, Evaluation, Step, completed_milestones, seeded_episodes
from common.policies import NetworkPolicy, Policy
from common.runtime.main import Stopped
from common.video import EpisodeRecorder


def evaluate(
    env: gym.Env | gym.vector.VectorEnv,
    policy: Policy,
    episodes: Sequence[EpisodeSpec],
    max_steps: int,
    *,
    recorder: EpisodeRecorder | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    should_stop: Callable[[], bool] = lambda: False,
    optimal_steps: Callable[[Mapping[str, Any]], int | None] = lambda info: None,
) -> Evaluation:
    """Play `episodes` with `policy`; as many at once as `env` has environments.

    An episode's result depends on its seed and start state, not on how many are played at once or which came before it.
    The exception is a network's rounding, which differs between batch sizes.

    Args:
        env: one environment, or a vector of them made by `pokemon_env.vector_env.make_vector_env`.
        policy: chooses the buttons.
        episodes: the episodes to play, in this order, each as soon as an environment is free.
        max_steps: an episode that has not ended by then is cut off, and counts as failed.
        recorder: films some of them.
        on_step: called with every step, in an order that does not depend on the machine.
        should_stop: called at every step; when it returns True, Stopped is raised.
        optimal_steps: info of an episode's reset -> the least number of steps from its start; for the SPL.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}, wanted at least 1")
    environments = _Vector(env) if isinstance(env, gym.vector.VectorEnv) else _Single(env)
    results: dict[int, EpisodeResult] = {}
    waiting = deque(range(len(episodes)))
    playing: dict[int, _Playing] = {}
    began = time.perf_counter()
    try:
        while waiting or playing:
            if should_stop():
                raise Stopped
            free = [slot for slot in range(environments.count) if slot not in playing][: len(waiting)]
            if free:
                started = {slot: waiting.popleft() for slot in free}
                for slot, (screen, info) in environments.reset({slot: episodes[i] for slot, i in started.items()}).items():
                    playing[slot] = _Playing(started[slot], screen, info, optimal_steps(info))
                    policy.start_episode(slot, episodes[started[slot]].seed)

            slots = sorted(playing)
            chosen = policy.act(slots, [playing[s].screen for s in slots], [playing[s].info for s in slots])
            actions = dict(zip(slots, map(int, chosen), strict=True))
            if recorder is not None:
                for slot in slots:
                    recorder.frame(playing[slot].episode, playing[slot].screen, actions[slot])

            for slot, (screen, reward, terminated, truncated, info) in environments.step(actions).items():
                state = playing[slot]
                limit = min(max_steps, episodes[state.episode].max_steps or max_steps)
                over = bool(terminated or truncated or state.length + 1 >= limit)
                reached, button = bool(terminated), actions[slot]
                on_step(Step(slot, state.episode, state.length, state.screen, button, float(reward), screen, reached, over, info))
                state.screen, state.info = screen, info
                state.length += 1
                state.episode_return += float(reward)
                if not over:
                    continue
                spec = episodes[state.episode]
                results[state.episode] = EpisodeResult(
                    seed=spec.seed,
                    start_state=None if spec.start_state is None else os.fspath(spec.start_state),
                    episode_return=state.episode_return,
                    length=state.length,
                    success=bool(terminated),
                    milestones=completed_milestones(info),
                    optimal_steps=state.optimal_steps,
                )
                if recorder is not None:
                    recorder.frame(state.episode, screen, None)
                    recorder.finish(state.episode, results[state.episode])
                del playing[slot]
    finally:
        if recorder is not None:
            recorder.discard()
    return Evaluation([results[episode] for episode in range(len(episodes))], time.perf_counter() - began)


@dataclass
class Evaluator:
    """Plays a network's episodes under fixed conditions: the same environments, start states and limit."""

    envs: gym.Env | gym.vector.VectorEnv
    max_steps: int
    start_states: Sequence[str | os.PathLike | None] = (None,)
    """Used in turn; None leaves the start to the environment."""
    device: torch.device | str = "cpu"
    frame_stack: int = 1
    deterministic: bool = True
    """Press the likeliest button, or draw one from the network's probabilities."""
    buttons: Sequence[str] = ()
    videos: Path | None = None
    """Folder for films; None films nothing."""
    has_goal: bool = True
    """Whether an episode can succeed. False, for a game without milestones: films are not named after an outcome."""
    films: list[Path] = field(default_factory=list)
    """The films that were made."""

    def play(
        self,
        network: torch.nn.Module,
        n_episodes: int,
        seed: int,
        film: str | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Evaluation:
        """Play episodes with the seeds `seed`, `seed`+1, ...

        With `film` the first one is filmed to `{film}_ep1_*.mp4`, or without a goal to `{film}.mp4`.

        Raises Stopped when `should_stop()` returns True.
        """
        recorder = None
        if film is not None and self.videos is not None:
            recorder = EpisodeRecorder(self.videos, film, buttons=self.buttons, with_outcome=self.has_goal)
        result = evaluate(
            self.envs,
            NetworkPolicy(network, self.device, deterministic=self.deterministic, frame_stack=self.frame_stack),
            seeded_episodes(n_episodes, seed, self.start_states),
            self.max_steps,
            recorder=recorder,
            should_stop=should_stop,
        )
        if recorder is not None:
            self.films += recorder.paths
        return result

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()


@dataclass
class _Playing:
    episode: int
    screen: np.ndarray
    info: Mapping[str, Any]
    optimal_steps: int | None
    length: int = 0
    episode_return: float = 0.0


class _Single:
    """One environment, as a vector of one."""

    count = 1

    def __init__(self, env: gym.Env):
        self.env = env

    def reset(self, specs: Mapping[int, EpisodeSpec]) -> dict[int, tuple[np.ndarray, Mapping[str, Any]]]:
        return {slot: self.env.reset(seed=spec.seed, options=_reset_options(spec)) for slot, spec in specs.items()}

    def step(self, actions: Mapping[int, int]) -> dict[int, tuple]:
        return {slot: self.env.step(action) for slot, action in actions.items()}


class _Vector:
    """Environments in threads, of which any subset can be reset or stepped."""

    def __init__(self, envs: gym.vector.VectorEnv):
        if "mask" not in inspect.signature(envs.step).parameters:
            raise TypeError(
                f"{type(envs).__name__} steps all its environments or none; make the vector with "
                f"pokemon_env.vector_env.make_vector_env, or give one environment"
            )
        self.envs: Any = envs  # Any: its `step` takes a mask, and its `reset` a list of seeds
        self.count = envs.num_envs

    def reset(self, specs: Mapping[int, EpisodeSpec]) -> dict[int, tuple[np.ndarray, Mapping[str, Any]]]:
        options = {
            "reset_mask": self._mask(specs),
            "per_env": [_reset_options(specs[slot]) if slot in specs else None for slot in range(self.count)],
        }
        seeds = [specs[slot].seed if slot in specs else None for slot in range(self.count)]
        screens, infos = self.envs.reset(seed=seeds, options=options)
        return {slot: (screens[slot], infos["per_env"][slot]) for slot in specs}

    def step(self, actions: Mapping[int, int]) -> dict[int, tuple]:
        chosen = np.array([actions.get(slot, 0) for slot in range(self.count)])
        *arrays, infos = self.envs.step(chosen, mask=self._mask(actions))
        return {slot: (*(array[slot] for array in arrays), infos["per_env"][slot]) for slot in actions}

    def _mask(self, slots: Container[int]) -> np.ndarray:
        return np.array([slot in slots for slot in range(self.count)])


def _reset_options(spec: EpisodeSpec) -> dict[str, Any] | None:
    return None if spec.start_state is None else {"load_state": os.fspath(spec.start_state)}
