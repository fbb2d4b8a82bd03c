"""A clone with a memory: the tile network's features, a GRU and their maxima (`common.recurrent`), trained on whole episodes.

The training scripts know networks of one observation or of a stack, so this one is trained here, from the same demonstrations as
the other clones, with as many gradient steps on about as many screens each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.memory import UNLABELLED, sample
from common.demonstrations import limit_labels, load_episode
from common.learner import check_finite
from common.networks import make_network
from common.recurrent import RecurrentNetwork
from common.runtime.device import autocast
from common.runtime.main import Stopped

LONGEST = 40
"""Steps of a piece. Longer episodes are cut, and their later pieces begin without a memory."""
HIDDEN = 256


def load_pieces(files: Sequence[Path], max_labels: int, network: RecurrentNetwork) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the first labels of demonstrations as pieces: observations (T, C, h, w) uint8 and labels (T,) int64, T <= LONGEST."""
    files, last_steps = limit_labels(list(files), max_labels)
    pieces = []
    for path in files:
        episode = load_episode(path)
        steps = last_steps if last_steps is not None and path == files[-1] else len(episode.actions)
        pictures = np.stack([network.preprocess(screen) for screen in episode.observations[:steps]])
        labels = np.where(episode.actions[:steps] < 0, UNLABELLED, episode.actions[:steps])
        pieces += [(pictures[i : i + LONGEST], labels[i : i + LONGEST]) for i in range(0, steps, LONGEST)]
    return pieces


def train_with_memory(
    files: Sequence[Path],
    max_labels: int,
    n_actions: int,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    should_stop: Callable[[], bool],
) -> tuple[RecurrentNetwork, int]:
    """Clone demonstrations into a network with a memory. Returns it, and the labels that it learned from. Raises Stopped.

    The learning rate falls to 0 along a cosine.

    Args:
        files: `episode_*.npz`, of which the first `max_labels` labels are taken.
        batch_size: screens in a gradient step, about.
    """
    with torch.random.fork_rng(devices=[]):  # weights and dropout
        torch.manual_seed(seed)
        screen_shape = load_episode(files[0]).observations.shape[1:]
        image_size = make_network("tiles", n_actions, HIDDEN, screen_shape).image_shape[1:]
        network = RecurrentNetwork(n_actions, HIDDEN, network="tiles", image_size=image_size).to(memory_format=torch.channels_last)
        pieces = load_pieces(files, max_labels, network)
        at_once = max(round(batch_size / np.mean([len(labels) for _, labels in pieces])), 1)
        optimizer = torch.optim.Adam(network.parameters(), learning_rate, weight_decay=1e-5)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        rng, half_precision = np.random.default_rng([seed, 3]), autocast(torch.device("cpu"))
        for _ in range(steps):
            if should_stop():
                raise Stopped
            pictures, labels = sample(pieces, at_once, rng)
            real = labels != UNLABELLED
            with half_precision():
                logits = network(pictures)[0][real]
            loss = F.cross_entropy(logits.float(), labels[real])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    check_finite(network, steps, loss.item(), learning_rate)
    return network.eval(), sum(int((labels != UNLABELLED).sum()) for _, labels in pieces)
