"""How the best network is chosen: by play on seeds that never change, in more episodes for each candidate."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from common.evaluation import Evaluator
from common.runtime.checkpoints import shown
from common.runtime.seeding import CANDIDATES, EVALUATION
from common.runtime.value_types import is_of_type

if TYPE_CHECKING:
    from common.runtime.logs import RunLog

_IN_A_RECORD: dict[str, Any] = {
    "step": int, "iteration": int, "thorough": bool, "text": str, "successes": int, "episodes": int, "success_rate": float,
    "val_loss": float, "val_accuracy": float, "mean_return": float, "mean_length": float, "mean_success_length": float,
}  # fmt: skip

CANDIDATE_SEEDS = CANDIDATES.first - EVALUATION.first
"""Offset from --eval-seed to the first seed of the episodes that candidates for the best play."""

JUDGING_FLAGS = ("tier", "worlds", "start_states", "max_steps", "eval_max_steps", "stochastic_eval")
"""Flags that decide how hard evaluations are."""


def play_candidate(
    evaluator: Evaluator,
    network: torch.nn.Module,
    step: int,
    best: dict[str, Any] | None,
    writer: RunLog,
    *,
    eval_episodes: int,
    best_eval_episodes: int,
    eval_seed: int,
    save_best: bool,
    last: bool,
    should_stop: Callable[[], bool],
) -> tuple[dict[str, Any], list[str]]:
    """Play some episodes, and for a candidate those of the longer evaluation.

    Candidates are the `last` network and, with `save_best`, each that according to the few episodes may be better than the best.

    Returns a record in plain types (`thorough`: whether its results are the longer evaluation's), and texts. Raises
    Stopped if `should_stop()` is true.
    """
    result = evaluator.play(network, eval_episodes, eval_seed, should_stop=should_stop)
    for name, value in result.scalars().items():
        writer.add_scalar(f"eval/{name}", value, step)
    texts, closely = [str(result)], False
    if last or (save_best and (best is None or result.success_interval[1] >= best.get("success_rate", 0))):
        closely = True
        result = evaluator.play(network, best_eval_episodes, eval_seed + CANDIDATE_SEEDS, f"step{step}", should_stop)
        for name, value in result.scalars().items():
            writer.add_scalar(f"candidate/{name}", value, step)
        texts.append(f"in {result.n_episodes} episodes {result}")
    return {**result.record(), "thorough": closely}, texts


def say_what_judged_the_best(
    best: dict[str, Any] | None, file: str | os.PathLike, args: Any, before: Mapping[str, Any], checkpoint: Mapping[str, Any]
) -> None:
    """Print it if a resumed run's best network was evaluated elsewhere, or for longer, than the networks that follow.

    Args:
        best: its record, None if there is none.
        file: its checkpoint.
        args, before: the flags as they are now, and as they were.
        checkpoint: the run's; it holds the values of flags that were not given.
    """
    before = {**before, "tier": checkpoint.get("tier")}
    before["max_steps"] = before["eval_max_steps"] = checkpoint.get("max_steps")
    now = {name: getattr(args, name, None) for name in JUDGING_FLAGS}
    changed = [name for name, value in now.items() if value is not None and value != before.get(name, value)]
    if best is not None and "successes" in best and changed:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
        print(f"{file} was chosen by other evaluations (before {flags}): it stays until a network does better in the new ones")


def is_better(record: dict[str, Any], best: dict[str, Any] | None) -> bool:
    """Return whether a network is better than the best so far.

    More successes on the fixed seeds decide, then a higher return, then a lower validation loss (or shorter episodes).
    Success is compared as a rate: a resumed run may play another number of episodes.
    """
    if not record["thorough"] and ("successes" in record or "val_loss" not in record):
        return False

    def score(entry: dict[str, Any]) -> tuple[float, ...]:
        tie = entry.get("val_loss", entry.get("mean_length", 0.0))
        rate = entry.get("successes", 0) / max(entry.get("episodes", 1), 1)
        return rate, entry.get("mean_return", 0.0), -tie

    return best is None or score(record) > score(best)


def check_counts(**counts: int) -> None:
    """Raise ValueError for an impossible number of steps, rows, ... of a checkpoint, before it is counted on and logged."""
    for name, value in counts.items():
        if not 0 <= value < 1 << 53:
            raise ValueError(f"{name} is {shown(value)}")


def check_numbers(*numbers: Any) -> None:
    """Raise ValueError for what is neither None nor a single finite number, in a tensor or not: from a checkpoint, to be logged."""
    for number in numbers:
        value = number.item() if isinstance(number, torch.Tensor) and number.shape == () else number
        if value is not None and not (is_of_type(value, float) and math.isfinite(value)):
            raise ValueError(f"a sum or a loss is {shown(number)}")


def check_records(*records: dict[str, Any] | None) -> None:
    """Raise ValueError for an impossible record of a network in a checkpoint, before it is compared with others and shown."""
    for record in records:
        if record is None:
            continue
        for name, kind in _IN_A_RECORD.items():
            value = record.get(name)
            if (value is None and name not in record and name != "step") or is_of_type(value, kind):
                continue
            raise ValueError(f"in a network's record, {name} is {shown(value)}")
        played = record.get("episodes", 0)
        if record["step"] < 0 or not 0 <= record.get("successes", 0) <= played or not 0 <= record.get("success_rate", 0) <= 1:
            raise ValueError(f"a network's record has {record.get('successes')} successes in {played} episodes")
        if not all(math.isfinite(record.get(name, 0)) for name in ("val_loss", "mean_return", "mean_length")):
            raise ValueError("a network's record has a number that is not finite")
