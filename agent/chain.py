"""Several students as one policy: at each step a router names the current milestone, and that milestone's network plays.

There are two routers, and so two tracks, which every table names: *routed* reads the milestones from the game's memory;
*pixels-only* sees nothing but the screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from agent.policy_expert import PolicyExpert
from common.networks import PolicyNetwork
from common.policies import Policy, draw, finite
from common.runtime.seeding import episode_rng
from pokemon_env.gym_env import PokemonEnv

MILESTONE_STEPS = 20
"""Steps that a milestone takes, roughly: what `PixelRouter` assumes before it has seen a screen."""

LEAST_LIKELIHOOD = 1e-200
"""Lowest likelihood of a milestone. A network that is certain, and wrong, could otherwise leave no belief to choose by."""


class Router:
    """Names the current milestone, for several episodes in parallel."""

    track: str

    def start_episode(self, slot: int) -> None:
        """Begin a new game in the slot."""

    def route(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return for each slot the index of its current milestone."""
        raise NotImplementedError


class MemoryRouter(Router):
    """Chooses the first milestone that is not completed according to the game's memory.

    Args:
        milestones: their ids in order.
    """

    track = "routed"

    def __init__(self, milestones: Sequence[str]):
        self.milestones = list(milestones)

    def route(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        return [self._first_open(info["milestones"]) for info in infos]

    def _first_open(self, milestones: Mapping[str, Mapping[str, Any]]) -> int:
        is_open = (place for place, name in enumerate(self.milestones) if not milestones[name]["completed"])
        return next(is_open, len(self.milestones) - 1)


class PixelRouter(Router):
    """A network that guesses the milestone from one screen, and a filter over the story, which only advances by one milestone.

    The filter is the forward pass of a hidden Markov model whose states are the milestones. At each new screen it stays, or
    advances to the next milestone with probability 1 / MILESTONE_STEPS. The network's probabilities weigh the observation: it is
    trained on equally many screens of each milestone, so they are likelihoods up to a factor. A press that leaves the screen
    unchanged carries no information, and is not counted. Rabiner, "A Tutorial on Hidden Markov Models", 1989.

    Args:
        network: observations -> (B, milestones) logits.
        trust: exponent of the likelihoods. Consecutive screens are alike, and so are the network's mistakes on them: taken as
            independent (1.0) they would outweigh the story.
    """

    track = "pixels-only"

    def __init__(self, network: PolicyNetwork, trust: float = 0.3):
        self.network, self.trust = network.eval(), trust
        self._beliefs: dict[int, np.ndarray | None] = {}
        self._screens: dict[int, np.ndarray] = {}

    def start_episode(self, slot: int) -> None:
        self._beliefs[slot] = None
        self._screens.pop(slot, None)

    def route(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        logits = forward(self.network, screens)
        likelihoods = torch.softmax(self.trust * logits.double(), dim=-1).numpy()
        likeliest = []
        for slot, screen, likelihood in zip(slots, screens, likelihoods, strict=True):
            belief = self._beliefs[slot]
            if belief is None or not np.array_equal(screen, self._screens[slot]):
                self._screens[slot] = screen.copy()
                if belief is None:
                    belief = np.eye(len(likelihood))[0]
                else:
                    going_on = belief / MILESTONE_STEPS
                    going_on[-1] = 0.0
                    belief = belief - going_on
                    belief[1:] += going_on[:-1]
                belief = belief * np.maximum(likelihood, LEAST_LIKELIHOOD)
                belief = self._beliefs[slot] = belief / belief.sum()
            likeliest.append(int(belief.argmax()))
        return likeliest


class ChainedStudents(Policy):
    """The students of all milestones; a router chooses which one acts.

    Args:
        students: a network for each milestone, in order, and whether it presses its likeliest button (or draws one).
        router: chooses the milestone.
        envs: where they play, for the console's time; None leaves it out.

    Attributes:
        splits: slot -> for each milestone the (steps, frames) at which it was first completed in memory; for tables, not for
            playing.
        last: slot -> index of the milestone whose student pressed last, and its probability of that button.
        steps, agreed: how often a student was chosen, and how often it was the one that memory would have chosen.
        slots: seed of an episode -> the slot where it is played.
    """

    def __init__(self, students: Sequence[tuple[PolicyNetwork, bool]], router: Router, envs: Sequence[PokemonEnv] | None = None):
        self.students = [(network.eval(), deterministic) for network, deterministic in students]
        self.router, self.envs = router, envs
        self.splits: dict[int, dict[str, tuple[int, int]]] = {}
        self.last: dict[int, tuple[int, float]] = {}
        self.slots: dict[int | None, int] = {}
        self.steps = self.agreed = 0
        self._steps: dict[int, int] = {}
        self._rngs: dict[int, np.random.Generator] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self.splits[slot], self._steps[slot], self.slots[seed] = {}, 0, slot
        self._rngs[slot] = episode_rng(seed, "sampled actions")
        self.router.start_episode(slot)

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        note_splits(self.splits, self._steps, self.envs, slots, infos)
        places = self.router.route(slots, screens, infos)
        self.steps += len(places)
        in_memory = MemoryRouter(list(infos[0]["milestones"])).route(slots, screens, infos)
        self.agreed += sum(ours == theirs for ours, theirs in zip(places, in_memory, strict=True))
        actions: dict[int, int] = {}
        for place in sorted(set(places)):
            network, deterministic = self.students[place]
            members = [i for i, one in enumerate(places) if one == place]
            probabilities = torch.softmax(forward(network, [screens[i] for i in members]).double(), dim=-1).numpy()
            for i, p in zip(members, probabilities, strict=True):
                slot = slots[i]
                action = int(p.argmax()) if deterministic else draw(p, self._rngs[slot])
                actions[slot], self.last[slot] = action, (place, float(p[action]))
        return [actions[slot] for slot in slots]


class ChainedExperts(Policy):
    """The game's own experts, each until its milestone is completed; where one abstains, A is pressed.

    Args:
        experts: milestone -> its expert, in order. They run in this process: only for files that you trust like code.
        envs: where they play, with the state in their infos.

    Attributes: splits, as in `ChainedStudents`.
    """

    def __init__(self, experts: Mapping[str, PolicyExpert], envs: Sequence[PokemonEnv] | None = None):
        self.experts, self.envs = list(experts.values()), envs
        self.router = MemoryRouter(list(experts))
        self.splits: dict[int, dict[str, tuple[int, int]]] = {}
        self._steps: dict[int, int] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self.splits[slot], self._steps[slot] = {}, 0

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        note_splits(self.splits, self._steps, self.envs, slots, infos)
        places = self.router.route(slots, screens, infos)
        answers = [self.experts[place].label(info).action for place, info in zip(places, infos, strict=True)]
        return [0 if action is None else action for action in answers]


def note_splits(
    splits: dict[int, dict[str, tuple[int, int]]],
    steps: dict[int, int],
    envs: Sequence[PokemonEnv] | None,
    slots: Sequence[int],
    infos: Sequence[Mapping[str, Any]],
) -> None:
    """Note, before a step, which milestones are newly completed; and count the step."""
    for slot, info in zip(slots, infos, strict=True):
        frames = 0 if envs is None else envs[slot].frames
        for name, entry in info["milestones"].items():
            if entry["completed"]:
                splits[slot].setdefault(name, (steps[slot], frames))
        steps[slot] += 1


def forward(network: PolicyNetwork, screens: Sequence[np.ndarray]) -> torch.Tensor:
    """Return the logits for some screens, on the CPU."""
    device = next(network.parameters()).device
    batch = torch.from_numpy(np.stack([network.preprocess(screen) for screen in screens])).to(device)
    with torch.inference_mode():
        return finite(network(batch).float().cpu())
