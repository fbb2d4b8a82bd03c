"""An expert that acts, alone or mixed with a student. It is queried step by step through the interface for labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from agent.answer_cache import AnswerCache
from agent.labelling import Label, Labeller
from agent.oracle import ExpertOracle, Situation
from common.episodes import EpisodeSpec, Evaluation
from common.evaluation import evaluate
from common.policies import Policy, RandomPolicy
from common.runtime.seeding import episode_rng
from common.video import EpisodeRecorder
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
    """Play the episodes with the expert. Where it abstains, a random button is pressed. Its answers do not count as labels.

    Args:
        envs: made by `make_vector_env`; they need no state in their infos.
        oracle: the expert.
        episodes, max_steps, recorder, should_stop: as for `common.evaluation.evaluate`.
        cache: known answers, whose queries are not sent again.
    """
    return evaluate(envs, expert_policy(envs, oracle, cache), episodes, max_steps, recorder=recorder, should_stop=should_stop)


def expert_policy(envs: ThreadVectorEnv, oracle: ExpertOracle, cache: AnswerCache | None = None) -> MixedPolicy:
    """Return a policy that presses the expert's buttons in `envs`, and a random one where it abstains."""
    return MixedPolicy(RandomPolicy(len(envs.envs[0].buttons)), envs, Labeller(oracle, cache), beta=1.0)


class MixedPolicy(Policy):
    """The student acts; at each step, with probability beta, the expert acts instead.

    The expert is queried only where it acts, for all parallel episodes at once. Where it abstains the student acts.

    Args:
        student: the student's policy.
        envs: the environments, from which the expert's input is read.
        labeller: the expert.
        beta: probability that the expert acts.
    """

    def __init__(self, student: Policy, envs: ThreadVectorEnv, labeller: Labeller, beta: float):
        self.student, self.envs, self.labeller, self.beta = student, envs, labeller, beta
        self.buttons = [name.lower() for name in envs.envs[0].buttons]
        self.situations: dict[int, Situation] = {}
        """Slot -> the situation at the current step."""
        self.labels: dict[int, Label] = {}
        """Slot -> the expert's answer, where it was queried to act."""
        self._rngs: dict[int, np.random.Generator] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self.student.start_episode(slot, seed)
        self._rngs[slot] = episode_rng(seed, "beta")

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        for slot, screen, info in zip(slots, screens, infos, strict=True):
            frame = screen if self.labeller.oracle.needs_frame else None
            self.situations[slot] = Situation(self.envs.envs[slot].snapshot(), info["prev_action"], frame)
        # Always drawn, so that an episode does not depend on the episodes played with it.
        guided = [slot for slot in slots if self._rngs[slot].random() < self.beta]
        labels = self.labeller.label([self.situations[slot] for slot in guided]) if guided else []
        self.labels = {slot: label for slot, label in zip(guided, labels, strict=True) if label is not None}
        # The student is asked at every step, even if the expert acts: one with a memory must see all that happens.
        actions = dict(zip(slots, self.student.act(slots, screens, infos), strict=True))
        actions |= {slot: label.action for slot, label in self.labels.items() if label.action is not None}
        return [int(actions[slot]) for slot in slots]
