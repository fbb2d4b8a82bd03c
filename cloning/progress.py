"""The progress of a cloning run, and what makes a resumed run differ from an uninterrupted one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from common.runtime.files import sha256_of
from common.runtime.plain_text import some
from common.selection import check_counts, check_numbers, check_records


@dataclass
class Progress:
    """The progress of a run; checkpoints hold it."""

    demonstrations: dict[str, str] = field(default_factory=dict)
    """Name -> SHA-256 of each."""
    held_out: list[str] | None = None
    """Names of those for validation. None: a run from before the split was by milestone."""
    threads: int = 0
    step: int = 0
    evaluated_at: int = 0
    best: dict[str, Any] | None = None
    """Record of the best network so far."""
    last: dict[str, Any] | None = None
    """Record of the last evaluation."""
    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    """Metrics added up since they were last logged."""
    n_summed: int = 0
    lowest_val_loss: float | None = None
    without_gain: int = 0
    """Evaluations since the lowest validation loss."""

    @classmethod
    def at_first(cls, files: Sequence[Path], held_out: Sequence[Path], threads: int) -> Progress:
        """Return the progress of a run that begins.

        Args:
            files: all demonstrations that are used.
            held_out: those of them for validation.
            threads: that torch computes with.
        """
        return cls({path.name: sha256_of(path) for path in files}, [path.name for path in held_out], threads)

    def saved(self) -> dict[str, Any]:
        """Return what checkpoints hold of it."""
        return asdict(self)

    def check(self) -> None:
        """Raise ValueError for numbers and records that no run can have: they come from a checkpoint."""
        check_records(self.best, self.last)
        check_counts(step=self.step, evaluated_at=self.evaluated_at, n_summed=self.n_summed, without_gain=self.without_gain)
        check_numbers(*self.sums.values(), self.lowest_val_loss)

    def take_over(self, now: Progress) -> None:
        """Take the demonstrations and threads of a resumed run in place of those before the stop."""
        self.demonstrations, self.threads = now.demonstrations, now.threads
        if self.held_out is not None:  # otherwise it keeps its split, which was not by milestone
            self.held_out = now.held_out

    def is_done(self, total_steps: int, patience: int) -> bool:
        """Return whether training is done: at the last step, or with `patience` used up (0: never)."""
        return (patience > 0 and self.without_gain >= patience) or self.step >= total_steps

    def note(self, record: dict[str, Any]) -> None:
        """Remember an evaluation, and count those that found no lower validation loss."""
        self.evaluated_at, self.last = self.step, record
        loss = record.get("val_loss")
        if loss is None:
            return
        lower = self.lowest_val_loss is None or loss < self.lowest_val_loss
        self.lowest_val_loss = loss if lower else self.lowest_val_loss
        self.without_gain = 0 if lower else self.without_gain + 1

    def add(self, metrics: dict[str, torch.Tensor]) -> None:
        """Add a step's metrics to what is logged next. They stay on their device."""
        for name, value in metrics.items():
            self.sums[name] = self.sums[name].to(value.device) + value if name in self.sums else value
        self.n_summed += 1

    def take_means(self) -> dict[str, float]:
        """Return the means of what was added, as numbers, and clear the sums."""
        means = {name: value.item() / self.n_summed for name, value in self.sums.items()}
        self.sums, self.n_summed = {}, 0
        return means


def what_changed(before: Progress, now: Progress) -> list[str]:
    """Return in words what, besides its flags, keeps a resumed run from being bit-identical to an uninterrupted one."""
    changes = []
    if before.threads != now.threads:
        changes.append(f"the number of threads was {before.threads} and is {now.threads}")
    old, new = before.demonstrations, now.demonstrations
    differences = {
        "new": [name for name in new if name not in old],
        "gone": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and new[name] != old[name]],
    }
    changes += [f"demonstrations {what}: {some(names)}" for what, names in differences.items() if names]
    return changes
