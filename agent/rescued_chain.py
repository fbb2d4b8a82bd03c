"""The whole game, played by the students in turn. Where one takes too long, its expert finishes the milestone for it.

So a run always comes to its end, each milestone is tried in each run, and the states that a student meets in the whole game
are known: where it takes over from the student before it, and where it did not get on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agent.chain import ChainedExperts, ChainedStudents, MemoryRouter
from common.networks import PolicyNetwork
from common.policies import Policy
from pokemon_env.vector_env import ThreadVectorEnv

Purpose = Literal["train", "choose"]


@dataclass
class ChainRun:
    """What one run from power-on brought."""

    seed: int
    steps: dict[str, int] = field(default_factory=dict)
    """Milestone -> steps from the take-over until it was completed, the expert's included."""
    rescued: list[str] = field(default_factory=list)
    """Milestones that the expert finished."""


class RescuedChain(Policy):
    """Plays with the students of all milestones, and keeps states on the way.

    A state is written to `{folder}/{ID}/{purpose}/{seed}_over.state` when a student takes over, and to `{seed}_stuck.state` when
    it has not completed its milestone within its limit of steps. From then on the expert plays, until the milestone is completed.

    Args:
        students: milestone -> its network, and whether it presses its likeliest button.
        experts: the game's own, of the same milestones.
        limits: milestone -> steps that its student may take.
        envs: where they play.
        folder, purpose: where states are kept, and what for. A folder of None keeps none.

    Attributes:
        runs: seed -> what its run brought.
    """

    def __init__(
        self,
        students: Mapping[str, tuple[PolicyNetwork, bool]],
        experts: ChainedExperts,
        limits: Mapping[str, int],
        envs: ThreadVectorEnv,
        folder: Path | None = None,
        purpose: Purpose = "train",
    ):
        self.milestones, self.limits, self.envs = list(students), dict(limits), envs.envs
        self.folder, self.purpose = folder, purpose
        self.router = MemoryRouter(self.milestones)
        self.students, self.experts = ChainedStudents(list(students.values()), self.router), experts
        self.runs: dict[int, ChainRun] = {}
        self._playing: dict[int, ChainRun] = {}
        self._places: dict[int, int] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        assert seed is not None
        self.students.start_episode(slot, seed)
        self.experts.start_episode(slot, seed)
        self.runs[seed] = self._playing[slot] = ChainRun(seed)
        self._places.pop(slot, None)

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        alone: list[int] = []
        helped: list[int] = []
        for i, (slot, place) in enumerate(zip(slots, self.router.route(slots, screens, infos), strict=True)):
            run, milestone = self._playing[slot], self.milestones[place]
            if place != self._places.get(slot):
                self._places[slot] = place
                self._keep(slot, milestone, "over")
            elif run.steps.get(milestone, 0) == self.limits[milestone]:
                run.rescued.append(milestone)
                self._keep(slot, milestone, "stuck")
            run.steps[milestone] = run.steps.get(milestone, 0) + 1
            (helped if milestone in run.rescued else alone).append(i)
        actions: dict[int, int] = {}
        policies: tuple[tuple[Policy, list[int]], ...] = ((self.students, alone), (self.experts, helped))
        for policy, members in policies:
            if members:
                chosen = policy.act([slots[i] for i in members], [screens[i] for i in members], [infos[i] for i in members])
                actions |= dict(zip(members, chosen, strict=True))
        return [actions[i] for i in range(len(slots))]

    def _keep(self, slot: int, milestone: str, what: str) -> None:
        if self.folder is not None and self._playing[slot].steps:  # a run's first state is power-on, and no hand-over
            path = self.folder / milestone / self.purpose / f"{self._playing[slot].seed}_{what}.state"
            self.envs[slot].save_state(path)


def rescues(runs: Sequence[ChainRun]) -> Counter[str]:
    """Return milestone -> in how many of the runs its student did not get on."""
    return Counter(milestone for run in runs for milestone in run.rescued)


def limits_of(steps: Sequence[Mapping[str, int]], factor: float, least: int = 20) -> dict[str, int]:
    """Return milestone -> steps that a student may take: so many times the experts' mean, and `least`.

    steps: of each run of the experts, milestone -> steps.
    """
    return {name: round(factor * float(np.mean([run.get(name, 0) for run in steps]))) + least for name in steps[0]}
