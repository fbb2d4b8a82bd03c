"""A policy network with a memory: the convolutions of another network, and a GRU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from common.networks import NETWORKS


class RecurrentNetwork(nn.Module):
    """A network of one picture with a memory: a GRU between it and the logits, as IMPALA has an LSTM.

    The logits see the picture's features beside the memory, so that what the picture tells need not pass through the GRU.

    Args:
        action_dim: number of buttons.
        hidden_dim: width of the GRU and of the layer before it.
        network: which convolutions, one of `common.networks.NETWORKS`.
        convolutions: their further arguments.
    """

    def __init__(self, action_dim: int = 10, hidden_dim: int = 256, *, network: str = "impala", **convolutions: Any):
        super().__init__()
        self.features = NETWORKS[network](hidden_dim, hidden_dim, **convolutions)
        self.gru = nn.GRU(hidden_dim, hidden_dim, batch_first=True)
        self.logits = nn.Linear(2 * hidden_dim, action_dim)

    def preprocess(self, screen: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB screen -> the (C, h, w) uint8 picture that the network sees of it."""
        return self.features.preprocess(screen)

    def forward(self, x: torch.Tensor, memory: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Go on through T steps of B episodes.

        Args:
            x: (B, T, C, H, W) pictures, as the network of one picture takes them.
            memory: (1, B, hidden_dim) float, what came out before; None at the start of the episodes.

        Returns logits (B, T, action_dim), and the memory after the last step.
        """
        features = F.relu(self.features(x.flatten(0, 1))).unflatten(0, x.shape[:2]).float()
        outputs, memory = self.gru(features, memory)
        return self.logits(torch.cat([features, outputs], dim=-1)), memory
