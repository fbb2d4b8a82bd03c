"""The audit's players: policies without any understanding, which a benchmark must not reward, and the expert, watched."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from agent.open_expert import SandboxedExpert
from agent.policy_expert import PolicyExpert
from common.demonstrations import Episode
from common.policies import Policy
from common.preprocessing import preprocess_uint8
from common.runtime.seeding import episode_rng
from pokemon_env.games.tallgrass.optimal import optimal_actions

State = Mapping[str, Any]


class OneButton(Policy):
    """Presses one button for ever."""

    def __init__(self, action: int):
        self.action = action

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[State]) -> list[int]:
        return [self.action] * len(slots)


class Replay(Policy):
    """Presses the buttons of a demonstration drawn for each episode, blindly; at their end from the first on again."""

    def __init__(self, demonstrations: Sequence[Episode]):
        self.sequences = [episode.pressed for episode in demonstrations]
        self._playing: dict[int, tuple[np.ndarray, int]] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        chosen = int(episode_rng(seed, "replayed demonstration").integers(len(self.sequences)))
        self._playing[slot] = (self.sequences[chosen], 0)

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[State]) -> list[int]:
        actions = []
        for slot in slots:
            buttons, at = self._playing[slot]
            actions.append(int(buttons[at % len(buttons)]))
            self._playing[slot] = (buttons, at + 1)
        return actions


class NearestNeighbour(Policy):
    """Presses what the demonstrators pressed at the picture most like the one on the screen.

    Pictures are compared as the networks see them (84 x 84 x 3), by the Euclidean distance of their pixels. Where the same
    picture was demonstrated with several labels, the commonest counts.
    """

    def __init__(self, demonstrations: Sequence[Episode]):
        labels: dict[bytes, Counter[int]] = defaultdict(Counter)
        pictures: dict[bytes, np.ndarray] = {}
        for episode in demonstrations:
            for screen, label in zip(episode.observations[:-1], episode.actions, strict=True):
                if label >= 0:
                    picture = preprocess_uint8(screen)
                    key = digest(picture)
                    pictures[key] = picture
                    labels[key][int(label)] += 1
        if not pictures:
            raise ValueError("the demonstrations hold no labelled picture, so that there is no neighbour to look for.")
        # Also the answers given so far, since a picture that was met once is often met again.
        self._answers = {key: counts.most_common(1)[0][0] for key, counts in labels.items()}
        self._labels = [self._answers[key] for key in pictures]
        features = torch.from_numpy(np.stack(list(pictures.values()))).flatten(1).float().div_(255)
        self._mean = features.mean(dim=0)  # without it single precision would lose the small differences
        self._features = features.sub_(self._mean)
        self._half_squares = self._features.square().sum(dim=1).div_(2)

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[State]) -> list[int]:
        pictures = [preprocess_uint8(screen) for screen in screens]
        keys = [digest(picture) for picture in pictures]
        new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in self._answers}
        if new:
            queries = torch.from_numpy(np.stack(list(new.values()))).flatten(1).float().div_(255).sub_(self._mean)
            nearest = (queries @ self._features.T).sub_(self._half_squares).argmax(dim=1).tolist()
            self._answers.update({key: self._labels[place] for key, place in zip(new, nearest, strict=True)})
        return [self._answers[key] for key in keys]


class WatchedExpert(Policy):
    """The scripted expert, some of whose presses may be replaced by random ones, and a record of what it met.

    Args:
        expert: whom to ask, opened for the one environment that is played. Where it abstains, a random button is pressed.
        noise: probability of a random press.
        pictures: where to count the pictures met, with their optimal actions; None for nowhere.
    """

    def __init__(
        self,
        expert: PolicyExpert | SandboxedExpert,
        noise: float = 0.0,
        pictures: OptimalPictures | None = None,
    ):
        self.expert, self.noise, self.pictures = expert, noise, pictures
        self._rngs: dict[int, np.random.Generator] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self._rngs[slot] = episode_rng(seed, "noise")

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[State]) -> list[int]:
        actions = []
        for slot, screen, state in zip(slots, screens, infos, strict=True):
            label = self.expert.label(state).action
            if self.pictures is not None:
                best = optimal_actions(state)
                self.pictures.add(screen, best, None if label is None else self.expert.game.buttons[label].lower())
            rng = self._rngs[slot]
            random_action, is_random = int(rng.integers(len(self.expert.game.buttons))), rng.random() < self.noise
            actions.append(random_action if is_random or label is None else label)
        return actions


@dataclass
class OptimalPictures:
    """Which sets of optimal actions each picture, as the networks see it, was met with."""

    sets: dict[bytes, Counter[frozenset[str]]] = field(default_factory=lambda: defaultdict(Counter))
    labels: int = 0
    """Steps at which the expert had an answer and there are optimal actions;"""
    optimal_labels: int = 0
    """those of them at which the answer is optimal."""

    def add(self, screen: np.ndarray, best: frozenset[str] | None, label: str | None) -> None:
        """Count a (H, W, 3) uint8 screen, its optimal actions (None: not defined, nothing is counted) and the label."""
        if best is None:
            return
        self.sets[digest(preprocess_uint8(screen))][best] += 1
        if label is not None:
            self.labels += 1
            self.optimal_labels += label in best

    @property
    def steps(self) -> int:
        return sum(counts.total() for counts in self.sets.values())

    @property
    def contradictory(self) -> int:
        """Steps whose picture was also met with optimal actions none of which is among theirs."""
        return sum(
            count
            for counts in self.sets.values()
            for best, count in counts.items()
            if any(best.isdisjoint(other) for other in counts)
        )


def digest(picture: np.ndarray) -> bytes:
    """What a picture is known by: equal for equal pictures only (but for one chance in 2**128)."""
    return hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
