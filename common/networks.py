"""The policy network: the convolutional network of IMPALA, from pixels to one logit per button.

Espeholt et al., "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures", 2018.
https://arxiv.org/abs/1802.01561
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut around them: (B, channels, H, W) -> the same shape.

    Deviation from IMPALA: a ReLU follows the sum, as in the first ResNet. The block of the paper applies it
    before each convolution and leaves the sum as it is.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))


class ConvSequence(nn.Module):
    """Convolution 3x3, max pooling 3x3/2, two residual blocks: (B, in, H, W) -> (B, out, ceil(H/2), ceil(W/2))."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.block1 = ResidualBlock(out_channels)
        self.block2 = ResidualBlock(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block2(self.block1(self.pool(self.conv(x))))


class ImpalaCNN(nn.Module):
    """A policy over buttons: pictures in, (B, action_dim) logits out.

    The input is (B, C, H, W) or (B, H, W, C), told apart by where the C channels are; uint8 in 0..255 (scaled here)
    or float in [0, 1].

    Args:
        action_dim: number of buttons.
        hidden_dim: width of the layer between the convolutions and the logits.
        image_size: H and W; one number for a square.
        in_channels: C; 3 for one RGB picture, 3k for a stack of k.
        channels: output channels of the sequences. Each halves the picture: 84 -> 42 -> 21 -> 11 makes 32*11*11 =
            3872 features.
    """

    def __init__(
        self,
        action_dim: int = 10,
        hidden_dim: int = 256,
        *,
        image_size: int | Sequence[int] = 84,
        in_channels: int = 3,
        channels: Sequence[int] = (16, 32, 32),
    ):
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.image_shape = (in_channels, height, width)
        sequences = []
        for before, after in zip((in_channels, *channels[:-1]), channels, strict=True):
            sequences.append(ConvSequence(before, after))
            height, width = (height + 1) // 2, (width + 1) // 2
        self.conv_sequences = nn.Sequential(*sequences)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.ReLU(),
            nn.Linear(channels[-1] * height * width, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, action_dim),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels, height, width = self.image_shape
        if x.shape[1:] == (height, width, channels) and x.shape[1:] != self.image_shape:
            x = x.permute(0, 3, 1, 2)
        if x.shape[1:] != self.image_shape:
            raise ValueError(
                f"pictures have shape {tuple(x.shape)}, wanted (B, {channels}, {height}, {width}) "
                f"or (B, {height}, {width}, {channels})"
            )
        if x.dtype == torch.uint8:
            x = x.float() / 255.0
        return self.head(self.conv_sequences(x))
