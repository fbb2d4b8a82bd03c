"""How well a network predicts labels that it has not learned from."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch

from cloning.validation import validate
from common.buffers import ReplayBuffer
from common.flag_groups import LabelSetFlags


class PressesSecond(torch.nn.Module):
    """A network that gives button 1 half of the probability, and a quarter to each other."""

    def forward(self, observations):
        return torch.log(torch.tensor([0.25, 0.5, 0.25])).repeat(len(observations), 1)


@pytest.fixture
def buffer():
    buffer = ReplayBuffer(4, gym.spaces.Box(0, 255, (1, 4, 4), np.uint8), gym.spaces.Discrete(3))
    picture = np.zeros((1, 4, 4), np.uint8)
    for label, optimal in ((0, 0b011), (1, 0), (2, 0b101), (2, 0)):  # of the first, the network's button is as good
        buffer.add(picture, picture, label, 0.0, False, optimal=optimal)
    return buffer


def test_labels_alone(buffer):
    metrics, counts = validate(PressesSecond(), buffer, "ABC", LabelSetFlags(label_share=0.5))
    assert metrics["accuracy"] == 0.25 and metrics["loss"] == pytest.approx((3 * math.log(4) + math.log(2)) / 4)
    assert metrics["accuracy_at_changes"] == 0.5  # right at the second step, wrong at the third
    assert counts.tolist() == [[0, 1, 0], [0, 1, 0], [0, 2, 0]] and metrics["recall_A"] == 0
    assert "accuracy_at_changes" not in validate(PressesSecond(), buffer, "ABC", LabelSetFlags(), has_neighbours=False)[0]


def test_any_of_the_right_buttons(buffer):
    metrics, counts = validate(PressesSecond(), buffer, "ABC", LabelSetFlags(label_set=True))
    assert metrics["accuracy"] == 0.5 and metrics["accuracy_at_changes"] == 0.5 and metrics["recall_A"] == 0
    of_sets = (math.log(4 / 3) + math.log(2) + math.log(2) + math.log(4)) / 4
    assert metrics["loss"] == pytest.approx(of_sets) and counts[0].tolist() == [0, 1, 0]
    metrics, _ = validate(PressesSecond(), buffer, "ABC", LabelSetFlags(label_set=True, label_share=0.5))
    of_labels = (3 * math.log(4) + math.log(2)) / 4
    assert metrics["loss"] == pytest.approx((of_sets + of_labels) / 2) and metrics["accuracy"] == 0.5
