"""Policies, which choose the buttons: a network, a function of the state, or chance."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from common.networks import build_network
from common.preprocessing import preprocess_uint8
from common.recurrent import RecurrentNetwork
from common.runtime.checkpoints import CheckpointError, load_checkpoint
from common.runtime.seeding import episode_rng


class Policy:
    """Chooses the buttons for several episodes that are played in parallel, each in a slot of its own."""

    def start_episode(self, slot: int, seed: int | None) -> None:
        """Begin a new episode in the slot. Its random draws must depend on the seed alone, not on the slot."""

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        """Return the buttons to press, n actions.

        Args:
            slots: where the episodes are played, n of them.
            screens: the (H, W, 3) uint8 screen of each.
            infos: the environment's info of each.
        """
        raise NotImplementedError


class RandomPolicy(Policy):
    """Presses any button, each as likely as the others."""

    def __init__(self, n_actions: int):
        self.n_actions = n_actions
        self._rngs: dict[int, np.random.Generator] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self._rngs[slot] = episode_rng(seed, "random policy")

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        return [int(self._rngs[slot].integers(self.n_actions)) for slot in slots]


class StatePolicy(RandomPolicy):
    """Presses the button that a function of the state returns, for example a scripted expert. If it returns None, any button.

    Args:
        function: info of one environment -> action, or None to abstain.
        n_actions: number of buttons.

    Attributes:
        abstentions: how often the function returned None.
    """

    def __init__(self, function: Callable[[Mapping[str, Any]], int | None], n_actions: int):
        super().__init__(n_actions)
        self.function = function
        self.abstentions = 0

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        actions = []
        for slot, screen, info in zip(slots, screens, infos, strict=True):
            action = self.function(info)
            if action is None:
                self.abstentions += 1
                action = super().act([slot], [screen], [info])[0]
            actions.append(int(action))
        return actions


class NetworkPolicy(Policy):
    """Presses the buttons that a network chooses, with one forward pass for all slots.

    Args:
        network: (n, C * frame_stack, h, w) uint8 -> (n, actions) logits, for observations that its `preprocess` makes (those
            of `ImpalaCNN` if it has none). Its mode (training or not) is left as it was.
        device: where it is.
        deterministic: the likeliest button, or else a draw from the softmax with a generator that each episode seeds.
        frame_stack: observations per input, oldest first; at the start of an episode the first is repeated.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        device: torch.device | str = "cpu",
        *,
        deterministic: bool = True,
        frame_stack: int = 1,
    ):
        self.network, self.device = network, torch.device(device)
        self.preprocess = getattr(network, "preprocess", preprocess_uint8)
        self.deterministic, self.frame_stack = deterministic, frame_stack
        self._frames: dict[int, deque[np.ndarray]] = {}
        self._rngs: dict[int, np.random.Generator] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self._frames[slot] = deque(maxlen=self.frame_stack)
        self._rngs[slot] = episode_rng(seed, "sampled actions")

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        for slot, screen in zip(slots, screens, strict=True):
            frames, picture = self._frames[slot], self.preprocess(screen)
            frames.extend([picture] * (1 if frames else self.frame_stack))
        batch = torch.from_numpy(np.stack([np.concatenate(self._frames[slot]) for slot in slots])).to(self.device)
        training = self.network.training
        self.network.eval()
        with torch.inference_mode():
            logits = finite(self.network(batch).float().cpu())
        self.network.train(training)
        if self.deterministic:
            return logits.argmax(dim=-1).tolist()
        probabilities = torch.softmax(logits.double(), dim=-1).numpy()
        return [draw(p, self._rngs[slot]) for slot, p in zip(slots, probabilities, strict=True)]


def finite(logits: torch.Tensor) -> torch.Tensor:
    """Return a network's outputs if they are finite. The first of several that are not numbers would count as the likeliest.

    Raises CheckpointError otherwise: weights that are finite, but too large to compute with, come from a file.
    """
    if not torch.isfinite(logits).all():
        raise CheckpointError("a network's outputs are no finite numbers, for its weights are too large; use another checkpoint")
    return logits


def draw(probabilities: np.ndarray, rng: np.random.Generator) -> int:
    """Draw one of n actions with these (n,) float64 probabilities, whose sum may be off by rounding."""
    return int(rng.choice(len(probabilities), p=probabilities / probabilities.sum()))


def load_policy(path: str | os.PathLike, device: torch.device | str = "cpu", deterministic: bool | None = None) -> NetworkPolicy:
    """Open a checkpoint as a policy.

    Args:
        path: the file.
        device: where the network computes.
        deterministic: press the likeliest button, or draw one. None: as the checkpoint says, or else the likeliest.

    Raises CheckpointError for a file that cannot be used.
    """
    checkpoint = load_checkpoint(path)
    if deterministic is None:
        deterministic = checkpoint.get("deterministic", True)
    network = build_network(checkpoint, path).to(device)
    return NetworkPolicy(network, device, deterministic=deterministic, frame_stack=checkpoint.get("frame_stack", 1))


class RecurrentPolicy(Policy):
    """Presses the buttons that a network chooses which remembers the episode.

    Args:
        network: its mode (training or not) is left as it was.
        device: where it is.
        deterministic: as for `NetworkPolicy`.
    """

    def __init__(self, network: RecurrentNetwork, device: torch.device | str = "cpu", *, deterministic: bool = True):
        self.network, self.device, self.deterministic = network, torch.device(device), deterministic
        self._memories: dict[int, torch.Tensor | None] = {}
        self._rngs: dict[int, np.random.Generator] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self._memories[slot] = None
        self._rngs[slot] = episode_rng(seed, "sampled actions")

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        blank = self.network.blank(1)
        memory = torch.cat([blank if (kept := self._memories[slot]) is None else kept for slot in slots], dim=1)
        pictures = torch.from_numpy(np.stack([self.network.preprocess(screen) for screen in screens])).to(self.device)
        training = self.network.training
        self.network.eval()
        with torch.inference_mode():
            logits, memory = self.network(pictures[:, None], memory)
        finite(logits)
        self.network.train(training)
        self._memories.update(zip(slots, memory.split(1, dim=1), strict=True))
        if self.deterministic:
            return logits[:, 0].argmax(dim=-1).tolist()
        probabilities = torch.softmax(logits[:, 0].double(), dim=-1).numpy()
        return [draw(p, self._rngs[slot]) for slot, p in zip(slots, probabilities, strict=True)]
