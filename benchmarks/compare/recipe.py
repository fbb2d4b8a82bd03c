"""What `benchmarks.compare` gives each method: its network, its training, and its share of demonstrations."""

from __future__ import annotations

import math
from typing import Any

NETWORK: dict[str, Any] = {"network": "tiles-small", "hidden_dim": 128}
"""Flags of all students but the state's reader. A step takes a third of the time of `tiles`; with as much time it learns more."""
GRADIENT_STEPS = {250: 480, 1000: 1200, 4000: 2880, 16_000: 5760}
"""Training steps for so many labels, whatever the method; those of the next larger number serve numbers between."""
ITERATIONS = 6
"""DAgger's. With gating the first of them is clean demonstrations, which is what it is without: there the expert acts. The
hybrid's first half is cloning."""
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
"""It falls to 0 along a cosine; in each of DAgger's iterations."""
VIEWS: dict[str, dict[str, Any]] = {
    "bc_noise": NETWORK,
    "bc_noise_stack4": {**NETWORK, "frame_stack": 4},
    "bc_noise_impala": {"network": "impala"},
    "bc_noise_impala_stack4": {"network": "impala", "frame_stack": 4},
}
"""What is compared -> its flags. The first is the main part's cloning."""
GATED = {"dagger_random": "random", "dagger_novelty": "novelty", "dagger_disagreement": "disagreement"}
ENOUGH = "dagger_enough"
"""DAgger with more labels and all that helps it: it begins with noisy demonstrations instead of a rollout by the expert, asks
about a random part of what it visits, and so sees as many more episodes, learns that any button on a shortest way is right,
and has the wider network."""
ENOUGH_FLAGS: dict[str, Any] = {"network": "tiles", "label_set": True}
DEMONSTRATED = 8
"""One in so many of its labels is a demonstration's."""
CLEAN = 0.0
"""Noise of the demonstrations that are played as the expert would."""


def gradient_steps(labels: int) -> int:
    """Training steps for this number of labels, a multiple of what they are divided by."""
    steps = next((steps for size, steps in GRADIENT_STEPS.items() if labels <= size), max(GRADIENT_STEPS.values()))
    return math.ceil(steps / ITERATIONS) * ITERATIONS
