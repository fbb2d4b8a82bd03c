"""The policy networks, from pixels to one logit per button: the convolutional network of IMPALA, and one made for tiles.

A network defines which observations it takes (`preprocess`) and the arguments that rebuild it (`arguments`).

Espeholt et al., "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures", 2018.
https://arxiv.org/abs/1802.01561
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from common.preprocessing import preprocess_uint8, screen_grey
from common.runtime.checkpoints import CheckpointError, error_text, shown


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


class PolicyNetwork(nn.Module):
    """The interface of a policy network, which maps (B, C, H, W) observations to (B, action_dim) logits."""

    image_shape: tuple[int, int, int]
    """(C, H, W) of the observations."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What makes this network again, in plain types."""
        raise NotImplementedError

    def preprocess(self, screen: np.ndarray) -> np.ndarray:
        """Turn an (H, W, 3) uint8 RGB screen into the uint8 observation that the network takes: one, not a stack."""
        raise NotImplementedError

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """(B, hidden_dim): what the logits are made from."""
        raise NotImplementedError


class ImpalaCNN(PolicyNetwork):
    """A policy over buttons: observations in, (B, action_dim) logits out.

    The input is (B, C, H, W) or (B, H, W, C), told apart by where the C channels are; uint8 in 0..255 (scaled here)
    or float in [0, 1].

    Args:
        action_dim: number of buttons.
        hidden_dim: width of the layer between the convolutions and the logits.
        image_size: H and W; one number for a square.
        in_channels: C; 3 for one RGB observation, 3k for a stack of k.
        channels: output channels of the sequences. Each halves height and width: 84 -> 42 -> 21 -> 11 makes 32*11*11 =
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

    @property
    def arguments(self) -> dict[str, Any]:
        """What makes this network again, in plain types."""
        channels, height, width = self.image_shape
        return {
            "action_dim": self.head[-1].out_features,
            "hidden_dim": self.head[-1].in_features,
            "image_size": [height, width],
            "in_channels": channels,
            "channels": [sequence.conv.out_channels for sequence in cast(Iterable[ConvSequence], self.conv_sequences)],
        }

    def preprocess(self, screen: np.ndarray) -> np.ndarray:
        """Turn an (H, W, 3) uint8 RGB screen into the (3, h, w) uint8 observation that the network takes."""
        return preprocess_uint8(screen, self.image_shape[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """(B, hidden_dim): what the logits are made from."""
        return self.head[:-1](self.features(x))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output of the convolutions: (B, channels, h, w)."""
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
        return self.conv_sequences(x)


class TileCNN(PolicyNetwork):
    """A policy for games that draw their screen from tiles of 8x8 pixels, in steps of 16, as Game Boy games at rest do.

    The first convolution reads each tile whole, without overlap and at the screen's own resolution, so that a letter or a
    wall is one vector. The second joins two by two tiles to the squares that people walk on. The residual blocks then work
    on a board of squares (9x10 on a Game Boy) instead of pixels. A gradient step takes about a third of `ImpalaCNN`'s time
    on a CPU, and fewer steps are enough. It is the wrong network for a screen that scrolls by less than a tile.

    Args:
        action_dim: number of buttons.
        hidden_dim: width of the layer between the convolutions and the logits.
        image_size: H and W of the screen, multiples of 16.
        in_channels: 1 for one grey observation, k for a stack of k.
        tile_channels: numbers per tile.
        channels: numbers per square.
        blocks: residual blocks on the board.
        dropout: probability of dropout in training before and after the hidden layer. For the squares' channels it is
            three quarters of that (whole channels: Tompson et al., "Efficient Object Localization Using Convolutional
            Networks", 2015).
    """

    def __init__(
        self,
        action_dim: int = 10,
        hidden_dim: int = 256,
        *,
        image_size: Sequence[int] = (144, 160),
        in_channels: int = 1,
        tile_channels: int = 32,
        channels: int = 64,
        blocks: int = 3,
        dropout: float = 0.2,
    ):
        super().__init__()
        height, width = image_size
        if height % 16 or width % 16:
            raise ValueError(f"image_size is {height}x{width}, wanted multiples of 16: squares of two by two tiles of 8 pixels")
        self.image_shape = (in_channels, height, width)
        self.tiles = nn.Conv2d(in_channels, tile_channels, 8, stride=8)
        self.squares = nn.Conv2d(tile_channels, channels, 2, stride=2)
        self.drop_channels = nn.Dropout2d(0.75 * dropout)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(channels * (height // 16) * (width // 16), hidden_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, action_dim),
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """What makes this network again, in plain types."""
        channels, height, width = self.image_shape
        return {
            "action_dim": self.head[-1].out_features,
            "hidden_dim": self.head[-1].in_features,
            "image_size": [height, width],
            "in_channels": channels,
            "tile_channels": self.tiles.out_channels,
            "channels": self.squares.out_channels,
            "blocks": len(self.blocks),
            "dropout": self.head[1].p,
        }

    def preprocess(self, screen: np.ndarray) -> np.ndarray:
        """Turn an (H, W, 3) uint8 RGB screen into the (1, H, W) uint8 grey observation that the network takes."""
        return screen_grey(screen)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, action_dim) logits for (B, C, H, W) observations, uint8 in 0..255 or float in [0, 1]."""
        return self.head(self.features(x))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """(B, hidden_dim): what the logits are made from."""
        return self.head[:-1](self.features(x))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the board of squares: (B, channels, H / 16, W / 16)."""
        if x.shape[1:] != self.image_shape:
            raise ValueError(f"pictures have shape {tuple(x.shape)}, wanted (B, {', '.join(map(str, self.image_shape))})")
        if x.dtype == torch.uint8:
            x = x.float() / 255.0
        squares = F.relu(self.squares(F.relu(self.tiles(x))))
        return self.blocks(self.drop_channels(squares))


NETWORKS: dict[str, type[PolicyNetwork]] = {"impala": ImpalaCNN, "tiles": TileCNN}
"""Kind of a network -> class."""
NetworkName = Literal["impala", "tiles", "tiles-small"]
"""The values of --network."""


def make_network(
    name: NetworkName, action_dim: int, hidden_dim: int, screen_shape: Sequence[int], frame_stack: int = 1
) -> PolicyNetwork:
    """Return the network `name` for screens of shape (H, W, 3). Raises ValueError for a shape that it cannot take.

    "tiles-small" is a `TileCNN` with half as many channels and two residual blocks. With a `hidden_dim` of 32 it has a twelfth
    of the weights of "tiles" with 256.
    """
    if name == "impala":
        return ImpalaCNN(action_dim, hidden_dim, in_channels=3 * frame_stack)
    small = {"channels": 32, "blocks": 2} if name == "tiles-small" else {}
    return TileCNN(action_dim, hidden_dim, image_size=screen_shape[:2], in_channels=frame_stack, **small)


def network_arguments(network: PolicyNetwork) -> dict[str, Any]:
    """Return what `build_network` needs to rebuild this network."""
    name = next(name for name, kind in NETWORKS.items() if type(network) is kind)
    return {"kind": name, **network.arguments}


def build_network(checkpoint: Mapping[str, Any], path: str | os.PathLike = "the checkpoint") -> PolicyNetwork:
    """Rebuild the network of a checkpoint, with its weights, on the CPU.

    Args:
        checkpoint: as loaded.
        path: its file, for the message.

    Raises CheckpointError if it doesn't describe its network, or the weights don't fit the description.
    """
    arguments = checkpoint.get("network")
    if arguments is None:
        raise CheckpointError(f"{path}: doesn't say what its network looks like ('network' is missing); load its weights by hand")
    if not isinstance(arguments, dict):
        raise CheckpointError(f"{path}: its 'network' is {shown(arguments)}, wanted a dictionary; use another checkpoint")
    arguments = dict(arguments)
    kind = arguments.pop("kind", "impala")  # checkpoints from before there were two kinds don't name it
    if not isinstance(kind, str) or kind not in NETWORKS:
        raise CheckpointError(
            f"{path}: its network is of kind {shown(kind)}, but there are only {', '.join(NETWORKS)} here; another version "
            "wrote it: use that one, or train again"
        )
    known = inspect.signature(NETWORKS[kind]).parameters
    if unknown := [shown(name) for name in arguments if name not in known]:
        raise CheckpointError(
            f"{path}: its 'network' has {', '.join(unknown)}, but the network here only takes {', '.join(known)}; another "
            f"version or program wrote it: use that one, or train again"
        )
    weights = checkpoint["model_state_dict"]
    try:
        _check_weights(NETWORKS[kind], arguments, weights)
        network = NETWORKS[kind](**arguments)
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        reason = error_text(error)
        raise CheckpointError(f"{path}: its weights don't fit its own network ({reason}); use another checkpoint") from error
    return network


def check_plays(
    network: PolicyNetwork, path: str | os.PathLike, screen_shape: Sequence[int], outputs: int, frame_stack: int = 1
) -> None:
    """Raise CheckpointError unless a network takes screens of this shape and has this many outputs.

    Args:
        network: on the CPU.
        path: its file, for the message.
        screen_shape: (H, W, 3).
        outputs: the number of buttons, or of whatever else it chooses among.
        frame_stack: observations per input.
    """
    try:
        picture = torch.from_numpy(np.concatenate([network.preprocess(np.zeros(screen_shape, np.uint8))] * frame_stack))
        with torch.inference_mode():
            found = network(picture[None]).shape[-1]
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: its network cannot see this game's screen ({error_text(error)}); use another") from error
    if found != outputs:
        raise CheckpointError(f"{path}: its network chooses among {found}, but here are {outputs}; use another one")


def _check_weights(kind: type[PolicyNetwork], arguments: Mapping[str, Any], weights: Any) -> None:
    """Raise ValueError if a network of these arguments would take more memory than its weights in the file."""
    if not isinstance(weights, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise ValueError("they are no dictionary of tensors")
    channels = arguments.get("channels", ())
    if max(arguments.get("blocks", 0), 0 if isinstance(channels, int) else len(channels)) > len(weights):
        raise ValueError("it has more layers than there are weights")
    for name, tensor in weights.items():
        if not isinstance(name, str):
            raise ValueError(f"one of them is called {shown(name)}, which is no text")
        if not tensor.is_floating_point():  # others would be converted silently
            raise ValueError(f"{shown(name)} is {tensor.dtype}, wanted real numbers")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{shown(name)} holds numbers that are not finite")
    with torch.device("meta"):  # shapes without memory
        wanted = {name: tensor.shape for name, tensor in kind(**arguments).state_dict().items()}
    for name, shape in wanted.items():
        if name in weights and weights[name].shape != shape:
            raise ValueError(f"{name} is {tuple(weights[name].shape)}, wanted {tuple(shape)}")
    if missing := wanted.keys() - weights.keys():
        raise ValueError(f"{', '.join(sorted(missing))} are missing")
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in weights.values()}
    if sum(tensor.numel() * tensor.element_size() for tensor in weights.values()) > sum(storages.values()):
        raise ValueError("several of them are the same numbers")
