"""Seeded episodes of a milestone, the same for each policy that plays them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from common.episodes import Evaluation, seeded_episodes
from common.evaluation import evaluate
from common.policies import Policy
from common.runtime.scripts import never
from common.video import EpisodeRecorder
from pokemon_env.vector_env import make_vector_env
from tasks.episode_starts import EpisodeStarts


class SeededPlay:
    """Open environments for seeded episodes, in which one policy after another can play. Leaving the context closes them.

    Args:
        rom_path, milestone: what is played.
        starts: where the episodes begin.
        n_episodes: how many there are.
        seed: of the first episode. Each further episode's is higher by one.
        max_steps: an episode that has not ended by then is cut off, and counts as failed.
        n_envs: the most episodes to play at once.
        num_threads: threads that step the environments. None: one for each core.
        state_in_info: decode the state at each step, for policies that read it.

    Raises what PokemonEnv raises: ValueError for worlds that the tier is not played in, MilestoneAlreadyCompleted, RomError, ...
    """

    def __init__(
        self,
        rom_path: str | os.PathLike,
        milestone: str,
        starts: EpisodeStarts,
        *,
        n_episodes: int,
        seed: int,
        max_steps: int,
        n_envs: int = 4,
        num_threads: int | None = None,
        state_in_info: bool = False,
    ):
        self.episodes = seeded_episodes(n_episodes, seed, starts.files)
        self.max_steps = max_steps
        settings = {"rom_path": rom_path, "target_milestone": milestone, "state_in_info": state_in_info, **starts.settings}
        self.envs = make_vector_env(min(n_envs, n_episodes), num_threads, **settings)

    def __enter__(self) -> SeededPlay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.envs.close()

    def play(
        self,
        policy: Policy,
        *,
        recorder: EpisodeRecorder | None = None,
        should_stop: Callable[[], bool] = never,
        optimal_steps: Callable[[Mapping[str, Any]], int | None] = lambda info: None,
    ) -> Evaluation:
        """Play all episodes with `policy`. The other arguments are those of `common.evaluation.evaluate`."""
        told: dict[str, Any] = {"recorder": recorder, "should_stop": should_stop, "optimal_steps": optimal_steps}
        return evaluate(self.envs, policy, self.episodes, self.max_steps, **told)
