"""Episodes: how one is specified, its result, and statistics over a set of results."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from common.statistics import rate_text, wilson_interval


@dataclass(frozen=True)
class EpisodeSpec:
    """One episode to be played."""

    seed: int | None = None
    """Given to `reset`; None lets the environment continue drawing from its own generator."""
    start_state: str | os.PathLike | None = None
    """A `.state` file to start from. None leaves it to the environment: at power-on, or where it was configured to start."""
    max_steps: int | None = None
    """A limit of its own, used if it is less than the common one."""


@dataclass(frozen=True)
class EpisodeResult:
    """How one episode went."""

    seed: int | None
    start_state: str | None
    episode_return: float
    length: int
    success: bool
    """The environment terminated: its target was reached. False for an episode that hit a limit."""
    milestones: tuple[str, ...]
    """Milestones completed at the end."""
    optimal_steps: int | None = None
    """The least number of steps from its start, if that was requested and is defined."""


@dataclass(frozen=True)
class Evaluation:
    """Results of a set of episodes, in the order in which they were requested."""

    episodes: list[EpisodeResult]
    seconds: float = 0.0

    @property
    def n_episodes(self) -> int:
        return len(self.episodes)

    @property
    def successes(self) -> int:
        return sum(episode.success for episode in self.episodes)

    @property
    def success_rate(self) -> float:
        return self.successes / max(len(self.episodes), 1)

    @property
    def success_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the success rate."""
        return wilson_interval(self.successes, len(self.episodes))

    def within(self, max_steps: float) -> Evaluation:
        """Return the results as if the episodes had been cut off after `max_steps`: longer successes count as failures."""
        cut = [replace(e, success=e.success and e.length <= max_steps) for e in self.episodes]
        return Evaluation(cut, self.seconds)

    @property
    def spl(self) -> float | None:
        """Success weighted by path length: the mean of S * l / max(p, l) over the episodes whose l is known; None without any.

        S is 1 for a success and 0 otherwise, p the steps taken, and l the least possible number of steps.

        Anderson et al., "On Evaluation of Embodied Navigation Agents", 2018.
        """
        known = [(e.success, e.optimal_steps, e.length) for e in self.episodes if e.optimal_steps is not None]
        return _mean([success * least / max(length, least, 1) for success, least, length in known]) if known else None

    @property
    def mean_return(self) -> float:
        return _mean([episode.episode_return for episode in self.episodes])

    @property
    def std_return(self) -> float:
        return float(np.std([episode.episode_return for episode in self.episodes])) if self.episodes else 0.0

    @property
    def mean_length(self) -> float:
        return _mean([episode.length for episode in self.episodes])

    @property
    def mean_success_length(self) -> float:
        """Mean number of steps of the episodes that succeeded; nan if none did."""
        lengths = [episode.length for episode in self.episodes if episode.success]
        return float(np.mean(lengths)) if lengths else float("nan")

    @property
    def mean_milestones(self) -> float:
        return _mean([len(episode.milestones) for episode in self.episodes])

    @property
    def steps(self) -> int:
        return sum(episode.length for episode in self.episodes)

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        rate = rate_text(self.successes, self.n_episodes)
        return f"success {rate}, return {self.mean_return:.2f}, length {self.mean_length:.1f}"

    def as_info(self) -> dict[str, Any]:
        """Return everything in plain types, under the names that `evaluate_policy` documents."""
        return {
            "episode_lengths": [episode.length for episode in self.episodes],
            "mean_length": self.mean_length,
            "mean_success_length": self.mean_success_length,
            "milestones_reached": [len(episode.milestones) for episode in self.episodes],
            "mean_milestones": self.mean_milestones,
            "episode_returns": [episode.episode_return for episode in self.episodes],
            "successes": [episode.success for episode in self.episodes],
            "success_rate": self.success_rate,
            "success_interval": self.success_interval,
            "seeds": [episode.seed for episode in self.episodes],
            "steps_per_second": self.steps_per_second,
        }

    def scalars(self) -> dict[str, float]:
        """Return the values to log, under their names in TensorBoard (within a group such as `eval/`)."""
        low, high = self.success_interval
        return {
            "mean_return": self.mean_return,
            "std_return": self.std_return,
            "mean_episode_length": self.mean_length,
            "mean_milestones": self.mean_milestones,
            "success_rate": self.success_rate,
            "success_rate_low": low,
            "success_rate_high": high,
            "steps_per_second": self.steps_per_second,
        }

    def record(self) -> dict[str, Any]:
        """Return what a checkpoint stores of it."""
        return {
            "successes": self.successes,
            "episodes": self.n_episodes,
            "success_rate": self.success_rate,
            "success_interval": list(self.success_interval),
            "mean_return": self.mean_return,
            "mean_length": self.mean_length,
            "mean_success_length": self.mean_success_length,
            "seeds": [episode.seed for episode in self.episodes],
        }


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an episode that is being played, for a caller that records it (`evaluate(on_step=...)`)."""

    slot: int
    """Where the episode is played."""
    episode: int
    """Its index among the requested episodes."""
    number: int
    """0, 1, 2, ... within the episode."""
    screen: np.ndarray
    """(H, W, 3) uint8, the screen that the action was chosen on."""
    action: int
    reward: float
    next_screen: np.ndarray
    """(H, W, 3) uint8, the screen after it."""
    terminated: bool
    """The target was reached."""
    over: bool
    """The episode ends here, reached or cut off."""
    next_info: Mapping[str, Any] = field(default_factory=dict)
    """The environment's info after it."""


def seeded_episodes(
    n_episodes: int, seed: int | None = None, start_states: Sequence[str | os.PathLike | None] = (None,)
) -> list[EpisodeSpec]:
    """Return episodes with the seeds `seed`, `seed`+1, ... (or none), cycling through the start states in order."""
    return [EpisodeSpec(None if seed is None else seed + i, start_states[i % len(start_states)]) for i in range(n_episodes)]


def completed_milestones(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the milestones that are completed by an environment's info."""
    return tuple(name for name, entry in info.get("milestones", {}).items() if entry.get("completed"))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
