"""The progress of a DAgger run, and what makes a resumed run differ from an uninterrupted one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from common.runtime.flags import changed_flags
from dagger.flags import DaggerFlags

Phase = Literal["roll out", "train", "evaluate"]
"""Of an iteration, in this order."""


@dataclass
class Progress:
    """The progress of a run; checkpoints hold it."""

    iteration: int = 0
    """The current iteration."""
    phase: Phase = "roll out"
    """Its next phase."""
    step: int = 0
    """Training steps, of all iterations."""
    first_step: int = 0
    """Training steps before the current iteration. A resumed run may have another --train-steps-per-iter, so the iteration's number
    does not tell."""
    rows: int = 0
    """Rows of the data set that were committed; a resumed run drops those after them."""
    labels: dict[str, Any] = field(default_factory=dict)
    """What labelling has cost (`agent.labelling.LabelCounts`)."""
    expert_success_rate: float | None = None
    """Over TARGET_EPISODES episodes, where there is a target."""
    reached_target: bool = False
    best: dict[str, Any] | None = None
    """Record of the best network so far."""
    last: dict[str, Any] | None = None
    """Record of the last evaluation."""
    threads: int = 0
    cutoffs: int = 0
    """States of episodes that were cut off, which the next rollout may begin in."""

    def steps_in_all(self, args: DaggerFlags) -> int:
        """Return the training steps of the whole run, those done and those to come."""
        done = self.first_step if self.phase == "train" else self.step
        trained = self.iteration + (self.phase == "evaluate")
        return done + max(args.n_iterations - trained, 0) * args.train_steps_per_iter

    @property
    def last_rollout(self) -> int:
        """The iteration of the last rollout that was finished."""
        return self.iteration - (self.phase == "roll out")

    def is_done(self, args: DaggerFlags) -> bool:
        """Return whether no phase is left to do."""
        return self.iteration >= args.n_iterations or self.reached_target

    def advance(self) -> None:
        """Move on from the finished phase. Save only after this: a checkpoint names the phase to begin with."""
        match self.phase:
            case "roll out":
                self.phase, self.first_step = "train", self.step
            case "train":
                self.phase = "evaluate"
            case "evaluate":
                self.iteration, self.phase = self.iteration + 1, "roll out"


def what_changed(
    args: DaggerFlags, before: dict[str, Any], expert: tuple[str, Any], threads: tuple[int, int], by_picture: bool
) -> list[str]:
    """Return what makes a resumed run differ from an uninterrupted one, in words.

    Args:
        before: the flags that the run had.
        expert, threads: now and before.
        by_picture: whether an observation is queried once in an episode.
    """
    spread = args.query_budget is not None and args.query_budget_per_iteration is None
    # Where something is divided by the number of iterations, that is a part of what the run learns.
    changes = changed_flags(args, before, also=("n_iterations",) if args.beta_schedule == "linear" or spread else ())
    if "query_budget_per_iteration" not in before:  # the checkpoint is older than the flag
        if by_picture:
            changes.append("the same picture could be queried again in its episode and no longer is")
        if spread:
            changes.append("--query-budget was used up as rollouts came and is spread over the iterations left")
    for what, (now, then) in {"the expert": expert, "the number of threads": threads}.items():
        if then is not None and now != then:
            changes.append(f"{what} was {then} and is {now}")
    return changes
