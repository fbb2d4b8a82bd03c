"""`--target-success-rate`: when a student is good enough to stop, measured against the expert on the same seeds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.answer_cache import AnswerCache
from agent.guided_policy import evaluate_expert
from agent.oracle import ExpertOracle
from common.episodes import seeded_episodes
from common.evaluation import Evaluator
from common.networks import PolicyNetwork
from common.runtime.flag_types import FlagError
from common.runtime.progress import ProgressReport
from common.selection import CANDIDATE_SEEDS
from common.statistics import wilson_interval
from dagger.parts import Parts
from pokemon_env.vector_env import ThreadVectorEnv

TARGET_EPISODES = 50
"""Episodes by which it is decided, of the expert and of the student, on the same seeds."""


def expert_success_rate(
    envs: ThreadVectorEnv,
    oracle: ExpertOracle,
    cache: AnswerCache | None,
    files: Sequence[str | os.PathLike | None],
    max_steps: int,
    eval_seed: int,
    should_stop: Callable[[], bool],
) -> float:
    """Return the expert's own success on the seeds by which the target is decided.

    Args:
        envs: where it plays.
        oracle, cache: the expert, and answers that are not queried again.
        files, max_steps, eval_seed: start states, limit and first seed of the student's evaluations.
        should_stop: if it returns True, Stopped is raised.
    """
    episodes = seeded_episodes(TARGET_EPISODES, eval_seed + CANDIDATE_SEEDS, files)
    return evaluate_expert(envs, oracle, episodes, max_steps, cache=cache, should_stop=should_stop).success_rate


def target_complaint(share: float, expert: float) -> str | None:
    """Return why the target cannot be reached; None if it can.

    Raises FlagError for an expert that never succeeds: a student that does nothing would equal it.
    """
    if not expert:
        raise FlagError(
            f"--target-success-rate: the expert succeeds in none of {TARGET_EPISODES} episodes, so there is no target; correct the "
            "expert, raise --eval-max-steps, or leave the flag out"
        )
    most = wilson_interval(TARGET_EPISODES, TARGET_EPISODES)[0]
    if share * expert <= most:
        return None
    return (
        f"--target-success-rate {share:g} won't stop this run: {TARGET_EPISODES} successes in {TARGET_EPISODES} episodes show no "
        f"more than {most:.3f}, {most / expert:.3f} of the expert's"
    )


def reaches_target(
    target: float,
    evaluator: Evaluator,
    network: PolicyNetwork,
    record: Mapping[str, Any],
    eval_seed: int,
    should_stop: Callable[[], bool],
) -> bool:
    """Return whether the lower bound of the student's success on the fixed seeds is at least `target`.

    Args:
        target: the success rate that is wanted: --target-success-rate times the expert's.
        evaluator, network: where it is played, and by what.
        record: of the evaluation just made. If that is below the target, no more episodes are played.
        eval_seed: first seed of the student's evaluations.
        should_stop: if it returns True, Stopped is raised.
    """
    if record["success_rate"] < target:
        return False
    result = evaluator.play(network, TARGET_EPISODES, eval_seed + CANDIDATE_SEEDS, should_stop=should_stop)
    return result.success_interval[0] >= target


def measure_expert(parts: Parts, should_stop: Callable[[], bool], report: ProgressReport) -> None:
    """Measure the expert's success rate, which --target-success-rate is a share of."""
    args, labeller, evaluator = parts.args, parts.labeller, parts.evaluator
    rate = expert_success_rate(
        parts.eval_envs, labeller.oracle, labeller.cache, evaluator.start_states, evaluator.max_steps, args.eval_seed, should_stop
    )
    parts.progress.expert_success_rate = rate
    report.print(f"the expert succeeds in {rate:.0%} of {TARGET_EPISODES} episodes")
    if complaint := target_complaint(args.target_success_rate or 0.0, rate):
        report.print(complaint)
