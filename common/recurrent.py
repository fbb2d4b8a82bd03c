"""A policy network with a memory: the convolutions of another network, a GRU, and a maximum over the episode so far."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from common.networks import NETWORKS


class RecurrentNetwork(nn.Module):
    """A network of one observation with a memory between it and the logits: a GRU, and the maximum of all features so far.

    The logits get three inputs. The first is the observation's features, which need not pass through the memory. The second is
    a GRU over them, as IMPALA has an LSTM. The third is, for each of as many detectors, the highest value that it had in the
    episode. It learns in a few hundred steps to keep a word that was on the screen ten steps ago, which a GRU must learn to
    carry step by step. After Beck et al., "AMRL: Aggregated Memory For Reinforcement Learning", 2020, whose maximum follows an
    LSTM instead of standing in parallel to a GRU.

    Args:
        action_dim: number of buttons.
        hidden_dim: width of the GRU, of the maxima and of the layer before them.
        network: which convolutions, one of `common.networks.NETWORKS`.
        convolutions: their further arguments.
    """

    has_memory = True
    """Its output also depends on earlier observations: two steps with the same one may need different labels."""

    def __init__(self, action_dim: int = 10, hidden_dim: int = 256, *, network: str = "impala", **convolutions: Any):
        super().__init__()
        self.features = NETWORKS[network](hidden_dim, hidden_dim, **convolutions)
        self.gru = nn.GRU(hidden_dim, hidden_dim, batch_first=True)
        self.detectors = nn.Linear(hidden_dim, hidden_dim)
        # Not linear: what a remembered word means for the next button depends on the current observation.
        self.logits = nn.Sequential(nn.Linear(3 * hidden_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, action_dim))

    def preprocess(self, screen: np.ndarray) -> np.ndarray:
        """Turn an (H, W, 3) uint8 RGB screen into the (C, h, w) uint8 observation that the network takes."""
        return self.features.preprocess(screen)

    def blank(self, episodes: int) -> torch.Tensor:
        """Return the memory at the start of episodes, (1, episodes, 2 * hidden_dim) float."""
        return torch.zeros(1, episodes, 2 * self.gru.hidden_size, device=self.detectors.weight.device)

    def forward(self, x: torch.Tensor, memory: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Advance through T steps of B episodes.

        Args:
            x: (B, T, C, H, W) observations, as the network of one observation takes them.
            memory: (1, B, 2 * hidden_dim) float, the previous call's result; None at the start of the episodes.

        Returns logits (B, T, action_dim), and the memory after the last step.
        """
        features = F.relu(self.features(x.flatten(0, 1))).unflatten(0, x.shape[:2]).float()
        state, highest = (self.blank(len(x)) if memory is None else memory).chunk(2, dim=-1)
        outputs, state = self.gru(features, state.contiguous())
        seen = F.relu(self.detectors(features).float())
        highest = torch.cat([highest.transpose(0, 1), seen], dim=1).cummax(dim=1).values[:, 1:]
        logits = self.logits(torch.cat([features, outputs, highest], dim=-1))
        return logits, torch.cat([state, highest[:, -1:].transpose(0, 1)], dim=-1)
