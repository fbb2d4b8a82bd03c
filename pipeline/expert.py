"""A milestone's expert: its play is measured once and kept, so that DAgger's step limit stays the same."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from common.episodes import Evaluation
from common.runtime.files import save_json
from common.runtime.seeding import PIPELINE_EXPERT
from common.runtime.value_types import is_of_type
from pipeline.failures import MilestoneFailed
from pipeline.work import Work, play_expert
from pokemon_env.bounded_files import read_file
from tasks.milestone_config import MilestoneEntry

EXPERT_SEED = PIPELINE_EXPERT.first
"""First seed of the episodes that evaluate the expert. DAgger chooses the best network by others, and tests use others."""
_MOST_BYTES = 1 << 24
EXPERT_FACTS = {
    "expert_success_rate": float, "expert_mean_steps": float | None, "expert_std_steps": float | None, "expert_episodes": int,
    "max_episode_steps": int | None,
}  # fmt: skip
"""What is kept of an expert's evaluation, and its types."""


def expert_result(
    work: Work, entry: MilestoneEntry, eval_episodes: int, step_multiplier: float, keep_from: float
) -> dict[str, Any]:
    """Return how a milestone's expert performs (`EXPERT_FACTS`): from the file of an earlier start, or by letting it play.

    Args:
        work, entry: the pipeline, and the milestone.
        eval_episodes: how many episodes it plays.
        step_multiplier: a student's step limit, as a multiple of the expert's mean steps.
        keep_from: the lowest success rate at which the evaluation is kept in a file.

    Raises MilestoneFailed if DAgger has begun with another expert, and for a file that cannot be used.
    """
    path = work.output / "expert_evaluations" / f"{entry.id}.json"
    with work.open_expert(entry.id) as oracle:
        identity = oracle.identity
    if path.is_file():
        try:
            kept = json.loads(read_file(path, _MOST_BYTES))
            expert, facts = kept["expert"], kept["facts"]
            wrong = [name for name, kind in EXPERT_FACTS.items() if not is_of_type(facts[name], kind)]
            if wrong:
                raise TypeError(f"its {wrong[0]} is {repr(facts[wrong[0]])[:40]}")
            check_evaluation(facts, entry, eval_episodes, step_multiplier)
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise MilestoneFailed(f"{path} cannot be read ({error}); delete it to evaluate the expert again") from error
        if expert == identity:
            return facts
        if (work.output / "models" / entry.id / f"dagger_{entry.id}_last.pth").is_file():
            raise MilestoneFailed(
                "its policy, or --unsafe-policies, is another than when DAgger began; to begin again with it, give "
                f"--milestone {entry.id} --overwrite"
            )
    film = ("expert_eval_videos", "expert_eval")
    result = play_expert(work, entry, eval_episodes, EXPERT_SEED, entry.max_steps, purpose="choose", film=film)
    facts = facts_of(result, step_multiplier)
    if result.success_rate >= keep_from:  # an expert that failed is evaluated again: its file may have been corrected
        save_json(path, {"expert": identity, "facts": facts})
    return facts


def facts_of(result: Evaluation, step_multiplier: float) -> dict[str, Any]:
    """Return what is kept of an expert's evaluation. Its steps are those of the successful episodes."""
    lengths = [episode.length for episode in result.episodes if episode.success]
    mean = float(np.mean(lengths)) if lengths else None
    return {
        "expert_success_rate": result.success_rate,
        "expert_mean_steps": mean,
        "expert_std_steps": float(np.std(lengths)) if lengths else None,
        "expert_episodes": result.n_episodes,
        "max_episode_steps": None if mean is None else step_limit(mean, step_multiplier),
    }


def step_limit(mean_steps: float, step_multiplier: float) -> int:
    """Return the step limit of a student's episodes."""
    return max(1, round(mean_steps * step_multiplier))


def check_evaluation(facts: dict[str, Any], entry: MilestoneEntry, eval_episodes: int, step_multiplier: float) -> None:
    """Raise ValueError for results that no expert can have, and for a student's limit that does not follow from them."""
    rate, mean, std = (facts[f"expert_{name}"] for name in ("success_rate", "mean_steps", "std_steps"))
    if facts["expert_episodes"] != eval_episodes or not 0 <= rate <= 1:
        raise ValueError(f"its expert_success_rate is {rate!r} of {facts['expert_episodes']} episodes")
    if mean is None or std is None or not (1 <= mean <= entry.max_steps and 0 <= std <= entry.max_steps):
        raise ValueError(f"its expert_mean_steps are {mean!r}, with expert_std_steps {std!r}")
    if facts["max_episode_steps"] != step_limit(mean, step_multiplier):
        raise ValueError(f"its max_episode_steps is {facts['max_episode_steps']}, for an expert of {mean:.1f} steps")
