"""Which of the states that a student visited are queried, decided after the rollout.

Novelty: how far a state is from all that have a label, in the network's features (after CRSAIL: the novel states of a
rollout, found by their nearest neighbours, are the ones to ask about). Disagreement: how little the network, with its
dropout on, agrees with itself (EnsembleDAgger, Menda et al., 2019; ThriftyDAgger, Hoque et al., 2021; the score is the mutual
information of BALD, Houlsby et al., 2011). Random choice is the control.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import nn

from common.networks import PolicyNetwork
from common.runtime.main import UserError
from dagger.training_set import TrainingSet

PASSES = 10
"""Forward passes with dropout, for disagreement."""
_CHUNK = 256


class SelectionError(UserError, ValueError):
    """The network can't tell what is asked of it; the text says what to do."""


def number_to_ask(visited: int, rate: float, left: float) -> int:
    """Return how many of `visited` states are queried, at the rate `rate`, with `left` labels left."""
    # Rounded before it is rounded up: 0.07 of 100 is 7, and not 8 for what a float is too much.
    return int(min(math.ceil(round(rate * visited, 6)), left))


def choose_random(visited: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return places drawn without replacement: (count,) int64, rising."""
    return np.sort(rng.choice(visited, size=min(count, visited), replace=False))


def choose_highest(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the places with the highest scores, the earlier ones of equals: (count,) int64, rising."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def choose_novel(visited: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the states that are farthest from what is known: (count,) int64, rising.

    They are chosen one after the other, and each is known from then on, so that not ten observations of one moment are chosen
    (Sener and Savarese, 2018, call it k-center).

    Args:
        visited: (n, d) float32 features of the states to choose from.
        known: (m, d) of those that have a label.
    """
    nearest = np.full(len(visited), np.inf, np.float32)
    for start in range(0, len(known), _CHUNK):
        nearest = np.minimum(nearest, _distances(visited, known[start : start + _CHUNK]).min(axis=1))
    chosen = []
    for _ in range(min(count, len(visited))):
        place = int(nearest.argmax())
        chosen.append(place)
        nearest = np.minimum(nearest, _distances(visited, visited[place : place + 1])[:, 0])
        nearest[place] = -np.inf
    return np.sort(np.array(chosen, np.int64))


def features(network: PolicyNetwork, observations: Callable[[np.ndarray], torch.Tensor], ids: np.ndarray) -> np.ndarray:
    """Return what the network's logits are made from: (n, d) float32, each row of length 1.

    Args:
        observations: rows' ids -> (B, C, h, w) uint8 on the network's device.
        ids: (n,) of the rows.
    """
    parts = []
    training = network.training
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(ids), _CHUNK):
            embedded = network.embed(observations(ids[start : start + _CHUNK])).float()
            parts.append(nn.functional.normalize(embedded, dim=1).cpu().numpy())
    network.train(training)
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def dropouts_of(network: PolicyNetwork) -> list[nn.Module]:
    """Return the network's dropout modules. Raises SelectionError if that is nothing."""
    dropouts: list[nn.Module] = [
        module for module in network.modules() if isinstance(module, nn.Dropout | nn.Dropout2d) and module.p > 0
    ]
    if not dropouts:
        raise SelectionError("--query-by disagreement needs a network with dropout: give --network tiles, or another --query-by")
    return dropouts


def disagreement(
    network: PolicyNetwork, observations: Callable[[np.ndarray], torch.Tensor], ids: np.ndarray, seed: int
) -> np.ndarray:
    """Return the mutual information between the button and what was dropped out, in nats: (n,) float32.

    Raises SelectionError for a network without dropout, which always agrees with itself.
    """
    dropouts = dropouts_of(network)
    training, scores = network.training, []
    network.eval()
    for module in dropouts:
        module.train()
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.inference_mode(), torch.random.fork_rng(cuda):  # so that the training's own draws do not depend on this
        torch.manual_seed(seed)
        for start in range(0, len(ids), _CHUNK):
            pictures = observations(ids[start : start + _CHUNK])
            logs = torch.stack([network(pictures).float().log_softmax(dim=1) for _ in range(PASSES)])
            mean = logs.exp().mean(dim=0)
            of_the_mean = -(mean * mean.clamp_min(1e-12).log()).sum(dim=1)
            of_each = -(logs.exp() * logs).sum(dim=2).mean(dim=0)
            scores.append((of_the_mean - of_each).cpu().numpy())
    network.train(training)
    return np.concatenate(scores) if scores else np.empty(0, np.float32)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m): half the squared distance between rows of length 1."""
    return 1 - a @ b.T


def choose(
    by: Literal["random", "novelty", "disagreement"],
    network: PolicyNetwork,
    training: TrainingSet,
    ids: np.ndarray,
    count: int,
    seed: np.random.SeedSequence,
) -> np.ndarray:
    """Return which of the rows `ids` are asked about: (count,) int64 indices into them.

    Args:
        by: the gating rule, `--query-by`.
        network: the student.
        training: the rows that have a label, and the observations of all.
        ids: (n,) int64, the rows that may be asked about.
        count: how many, at most n.
        seed: of what is drawn.
    """
    if count in (0, len(ids)):
        return np.arange(count)
    if by == "random":
        return choose_random(len(ids), count, np.random.default_rng(seed))
    if by == "novelty":
        known = features(network, training.observations, training.valid_ids)
        return choose_novel(features(network, training.observations, ids), known, count)
    if by != "disagreement":
        raise ValueError(f"{by!r} is no rule to choose by")
    draws = int(np.random.default_rng(seed).integers(2**31))
    return choose_highest(disagreement(network, training.observations, ids, draws), count)
