"""The batches that cloning learns from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from common.buffers import ReplayBuffer
from common.preprocessing import random_shift


class Batch(NamedTuple):
    """B steps, as tensors on the buffer's device."""

    observations: torch.Tensor
    """(B, C, h, w) uint8."""
    actions: torch.Tensor
    """(B,) int64, the labels."""
    optimal: torch.Tensor
    """(B, n_actions) bool, all buttons that are right; where no set is known, the label alone."""
    weight: torch.Tensor
    """(B,) float, of each step in the loss."""


class Batches:
    """Draws batches of demonstrations and shifts their pictures. `state_dict` and `load_state_dict` continue it bit for bit.

    Args:
        data: the demonstrations.
        batch_size: observations per batch.
        shift: the most pixels by which an observation is shifted.
        change_weight: weight in the loss of steps whose label differs from the one before; that of others is 1.
        seed: of the shifts. The buffer draws with its own.
    """

    def __init__(self, data: ReplayBuffer, batch_size: int, *, shift: int, change_weight: float, seed: int):
        self.data, self.batch_size, self.shift = data, batch_size, shift
        self.shift_rng = torch.Generator().manual_seed(seed)
        weights = np.where(data.action_changed(), change_weight, 1.0).astype(np.float32)
        self.weights = torch.from_numpy(weights).to(data.device)

    def sample(self) -> Batch:
        """Draw a batch."""
        slots = self.data.sample_indices(self.batch_size)
        observations, actions = self.data.get_labelled(slots)
        observations = random_shift(observations, self.shift, self.shift_rng)
        weight = self.weights[torch.from_numpy(slots).to(self.data.device)]
        return Batch(observations, actions, self.data.get_optimal(slots), weight)

    def state_dict(self) -> dict[str, Any]:
        return {"sampler": self.data.state_dict(), "shift_rng": self.shift_rng.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.data.load_state_dict(state["sampler"])
        self.shift_rng.set_state(state["shift_rng"].cpu())
