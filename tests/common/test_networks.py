"""The network: shapes, sizes, and that all ways of giving it a picture are the same."""

from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.networks import NETWORKS, ConvSequence, ImpalaCNN, NetworkName, ResidualBlock, TileCNN, make_network
from common.recurrent import RecurrentNetwork


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_default_network_is_the_promised_one():
    network = ImpalaCNN()
    assert sum(p.numel() for p in network.parameters()) == 1_091_658
    linear = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(32 * 11 * 11, 256), (256, 10)]
    assert network(torch.zeros(2, 3, 84, 84)).shape == (2, 10)


def test_parts_keep_and_halve():
    x = torch.randn(2, 16, 21, 21)
    assert ResidualBlock(16)(x).shape == x.shape
    assert (ResidualBlock(16)(x) >= 0).all()  # the ReLU after the sum
    assert ConvSequence(16, 32)(x).shape == (2, 32, 11, 11)


def test_layouts_and_dtypes_agree():
    network = ImpalaCNN(8)
    pictures = torch.randint(0, 256, (3, 3, 84, 84), dtype=torch.uint8)
    logits = network(pictures)
    assert torch.equal(network(pictures.permute(0, 2, 3, 1)), logits)
    assert torch.equal(network(pictures.float() / 255), logits)
    channels_last = (pictures.float() / 255).permute(0, 2, 3, 1).contiguous()
    assert torch.allclose(network(channels_last), logits, atol=1e-6)  # other kernels, other rounding


def test_other_sizes_stacks_and_widths():
    network = ImpalaCNN(4, 32, image_size=(72, 80), in_channels=12, channels=(8, 8))
    assert network(torch.zeros(2, 12, 72, 80)).shape == (2, 4)
    assert network(torch.zeros(2, 72, 80, 12)).shape == (2, 4)


def test_wrong_picture_is_named():
    with pytest.raises(ValueError, match=r"\(1, 3, 160, 240\).*\(B, 3, 84, 84\)"):
        ImpalaCNN(8)(torch.zeros(1, 3, 160, 240))


@pytest.mark.parametrize("name", get_args(NetworkName))
def test_networks_make_their_pictures_and_themselves(name):
    network = make_network(name, 5, 32, (144, 160, 3), frame_stack=2)
    screen = np.random.default_rng(0).integers(0, 256, (144, 160, 3), dtype=np.uint8)
    picture = network.preprocess(screen)
    assert picture.dtype == np.uint8 and (2 * len(picture), *picture.shape[1:]) == network.image_shape
    pictures = torch.from_numpy(np.concatenate([picture, picture]))[None]
    assert network(pictures).shape == (1, 5)
    again = type(network)(**network.arguments)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.eval()(pictures), network.eval()(pictures))


def test_the_small_network_is_small():
    small, whole = make_network("tiles-small", 8, 32, (144, 160, 3)), make_network("tiles", 8, 256, (144, 160, 3))
    weights = [sum(weight.numel() for weight in network.parameters()) for network in (small, whole)]
    assert 12 < weights[1] / weights[0] < 13 and 2 * weights[0] < 300_000  # bytes, as 16-bit numbers


def test_tiles_see_grey_screens_without_loss_and_squares_as_squares():
    network = TileCNN(8).eval()
    grey = np.random.default_rng(0).integers(0, 256, (144, 160, 1), dtype=np.uint8).repeat(3, axis=2)
    assert np.array_equal(network.preprocess(grey)[0], grey[:, :, 0])
    # Far from the edges, what stands one square further right is seen the same, one square further right.
    screen = np.zeros((1, 144, 160), np.uint8)
    screen[0, 64:80, 64:80] = grey[:16, :16, 0]
    moved = np.roll(screen, 16, axis=2)
    with torch.inference_mode():
        pictures = [torch.from_numpy(x[None] / np.float32(255)) for x in (screen, moved)]
        board, moved_board = (F.relu(network.squares(F.relu(network.tiles(x)))) for x in pictures)
    assert board.shape == (1, 64, 9, 10)
    assert torch.allclose(board.roll(1, dims=3), moved_board, atol=1e-6)
    assert not torch.allclose(board, moved_board, atol=1e-3)


def test_tiles_want_whole_squares_and_their_own_pictures():
    with pytest.raises(ValueError, match="100x160, wanted multiples of 16"):
        TileCNN(8, image_size=(100, 160))
    with pytest.raises(ValueError, match=r"\(2, 3, 84, 84\), wanted \(B, 1, 144, 160\)"):
        TileCNN(8)(torch.zeros(2, 3, 84, 84))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_recurrent_network_takes_any_convolutions(name):
    network = RecurrentNetwork(5, 16, network=name)
    picture = network.preprocess(np.zeros((144, 160, 3), np.uint8))
    logits, memory = network(torch.from_numpy(picture)[None, None])
    assert logits.shape == (1, 1, 5) and memory.shape == (1, 1, 32)


def test_the_recurrent_network_goes_on_where_it_stopped():
    network = RecurrentNetwork(5, 16, channels=(4, 4)).eval()
    pictures = torch.randint(0, 256, (2, 6, 3, 84, 84), dtype=torch.uint8)
    with torch.inference_mode():
        whole, last = network(pictures)
        first, memory = network(pictures[:, :2])
        rest, end = network(pictures[:, 2:], memory)
        blank, _ = network(pictures[:, 2:])
    assert whole.shape == (2, 6, 5) and last.shape == (1, 2, 32)
    assert torch.allclose(torch.cat([first, rest], 1), whole, atol=1e-5) and torch.allclose(end, last, atol=1e-5)
    assert not torch.allclose(blank, rest, atol=1e-3)  # it does depend on what was before
