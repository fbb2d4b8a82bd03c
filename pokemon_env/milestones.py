"""Milestones of a game, and which of them an episode has reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Milestone:
    """Something that a player does once.

    `completed(before, now)` compares two consecutive readings of the game's `watch`: it is true if the milestone was
    reached between them. `before` is None for the first reading of an episode. Then the result is whether the milestone
    was reached at any time in the past, as far as the game's memory records it.
    """

    id: str
    description: str
    completed: Callable[[bytes | None, bytes], bool]


class MilestoneTracker:
    """Follows one episode after another through a game's milestones."""

    def __init__(self, milestones: Sequence[Milestone]) -> None:
        self.milestones = tuple(milestones)
        self.completed: dict[str, bool] = {milestone.id: False for milestone in milestones}
        self._open: list[Milestone] = list(milestones)
        self._before = b""

    def reset(self, now: bytes, already: Iterable[str] = ()) -> None:
        """Start an episode at the reading `now`; `already` are the ids that were reached according to the start state's file."""
        already = set(already)
        for milestone in self.milestones:
            self.completed[milestone.id] = milestone.id in already or milestone.completed(None, now)
        self._open = [milestone for milestone in self.milestones if not self.completed[milestone.id]]
        self._before = now

    def update(self, now: bytes) -> list[str]:
        """Take the next reading; return the ids of the milestones reached since the last one."""
        reached = [milestone.id for milestone in self._open if milestone.completed(self._before, now)]
        self._before = now
        if reached:
            self.completed.update(dict.fromkeys(reached, True))
            self._open = [milestone for milestone in self._open if not self.completed[milestone.id]]
        return reached

    def info(self) -> dict[str, dict[str, bool]]:
        """Return {id: {"completed": bool}}, a new dictionary each time."""
        return {name: {"completed": completed} for name, completed in self.completed.items()}
