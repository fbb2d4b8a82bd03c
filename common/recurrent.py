"""A policy network with a memory: IMPALA's convolutions and a GRU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from common.networks import ImpalaCNN


class RecurrentImpalaCNN(nn.Module):
    """`ImpalaCNN` with a memory: a GRU between the convolutions and the logits, as IMPALA has an LSTM.

    The logits see the picture's features beside the memory, so that what the picture tells need not pass through the GRU.

    Args:
        action_dim: number of buttons.
        hidden_dim: width of the GRU and of the layer before it.
        convolutions: further arguments of `ImpalaCNN`.
    """

    def __init__(self, action_dim: int = 10, hidden_dim: int = 256, **convolutions: Any):
        super().__init__()
        self.features = ImpalaCNN(hidden_dim, hidden_dim, **convolutions)
        self.gru = nn.GRU(hidden_dim, hidden_dim, batch_first=True)
        self.logits = nn.Linear(2 * hidden_dim, action_dim)

    def forward(self, x: torch.Tensor, memory: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Go on through T steps of B episodes.

        Args:
            x: (B, T, C, H, W) pictures, as in `ImpalaCNN`.
            memory: (1, B, hidden_dim) float, what came out before; None at the start of the episodes.

        Returns logits (B, T, action_dim), and the memory after the last step.
        """
        features = F.relu(self.features(x.flatten(0, 1))).unflatten(0, x.shape[:2]).float()
        outputs, memory = self.gru(features, memory)
        return self.logits(torch.cat([features, outputs], dim=-1)), memory
