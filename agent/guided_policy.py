"""How well an expert plays by itself, asked step by step through the same interface that labels are asked through."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.answer_cache import AnswerCache
from agent.labelling import Labeller
from agent.oracle import ExpertOracle
from common.evaluation import EpisodeRecorder, EpisodeSpec, Evaluation, RandomPolicy, evaluate
from dagger.rollout import MixedPolicy
from pokemon_env.vector_env import ThreadVectorEnv


def evaluate_expert(
    envs: ThreadVectorEnv,
    oracle: ExpertOracle,
    episodes: Sequence[EpisodeSpec],
    max_steps: int,
    *,
    cache: AnswerCache | None = None,
    recorder: EpisodeRecorder | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Play the episodes with the expert; where it abstains, a random button is pressed. What it is asked is no label.

    Args:
        envs: made by `make_vector_env`; they need no state in their infos.
        oracle: the expert.
        episodes, max_steps, recorder, should_stop: as for `common.evaluation.evaluate`.
        cache: answers that are not asked for again.
    """
    policy = MixedPolicy(RandomPolicy(len(envs.envs[0].buttons)), envs, Labeller(oracle, cache), beta=1.0)
    return evaluate(envs, policy, episodes, max_steps, recorder=recorder, should_stop=should_stop)
