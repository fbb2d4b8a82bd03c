"""The batches that cloning learns from."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from cloning.batches import Batches
from common.buffers import ReplayBuffer

LABELS = [0, 0, 1, 1, 1, 2, 2, 0]


@pytest.fixture
def make():
    def make(shift=2):
        buffer = ReplayBuffer(len(LABELS), gym.spaces.Box(0, 255, (1, 16, 16), np.uint8), gym.spaces.Discrete(3), "cpu", seed=5)
        pictures = np.arange(len(LABELS) + 1, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 16, 16), np.uint8)
        pictures[..., :8] += 100  # an edge that a shift moves
        for number, label in enumerate(LABELS):
            optimal = 0b101 if number == 3 else 0  # not even the label, which is right all the same
            buffer.add(pictures[number], pictures[number + 1], label, 0.0, number == len(LABELS) - 1, optimal=optimal)
        return Batches(buffer, 4, shift=shift, change_weight=3.0, seed=1)

    return make


def test_what_is_right_and_how_much_it_weighs(make):
    batches = make(shift=0)
    weight_of, right = {}, {}
    for _ in range(20):
        batch = batches.sample()
        for picture, label, optimal, weight in zip(*(values.tolist() for values in batch), strict=True):
            slot = int(np.min(picture))
            assert label == LABELS[slot]
            weight_of[slot], right[slot] = weight, np.flatnonzero(optimal).tolist()
    assert [weight_of[slot] for slot in range(len(LABELS))] == [1, 1, 3, 1, 1, 3, 1, 3]
    assert [right[slot] for slot in range(len(LABELS))] == [[0], [0], [1], [0, 1, 2], [1], [2], [2], [0]]


def test_continued_batches_are_the_same(make):
    batches, resumed = make(), make()
    batches.sample()
    resumed.load_state_dict(batches.state_dict())
    for _ in range(3):
        for ours, theirs in zip(batches.sample(), resumed.sample(), strict=True):
            assert torch.equal(ours, theirs)
    fresh = make()
    assert not all(torch.equal(a, b) for a, b in zip(batches.sample(), fresh.sample(), strict=True))
