"""The network: shapes, sizes, and that all ways of giving it a picture are the same."""

import pytest
import torch

from common.networks import ConvSequence, ImpalaCNN, ResidualBlock
from common.recurrent import RecurrentImpalaCNN


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


def test_the_recurrent_network_goes_on_where_it_stopped():
    network = RecurrentImpalaCNN(5, 16, channels=(4, 4)).eval()
    pictures = torch.randint(0, 256, (2, 6, 3, 84, 84), dtype=torch.uint8)
    with torch.inference_mode():
        whole, last = network(pictures)
        first, memory = network(pictures[:, :2])
        rest, end = network(pictures[:, 2:], memory)
        blank, _ = network(pictures[:, 2:])
    assert whole.shape == (2, 6, 5) and last.shape == (1, 2, 16)
    assert torch.allclose(torch.cat([first, rest], 1), whole, atol=1e-5) and torch.allclose(end, last, atol=1e-5)
    assert not torch.allclose(blank, rest, atol=1e-3)  # it does depend on what was before
