"""One step of imitation: the two losses, the learning rate, and going on bit for bit."""

import math

import pytest
import torch
import torch.nn.functional as F

from common.learner import DivergedError, Learner
from common.networks import TileCNN

CPU = torch.device("cpu")


def learner(dropout=0.0, rate=1e-3, seed=0, **flags) -> Learner:
    torch.manual_seed(seed)
    network = TileCNN(4, 16, image_size=(32, 32), dropout=dropout)
    return Learner(network, CPU, learning_rate=rate, weight_decay=0.0, bf16=False, **flags)


def batch(n=6, seed=1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (n, 1, 32, 32), generator=generator, dtype=torch.uint8)
    return pictures, torch.arange(n) % 4


def one_hot(actions: torch.Tensor) -> torch.Tensor:
    return F.one_hot(actions, 4).bool()


def test_the_loss_over_a_set_is_minus_the_log_of_its_probability():
    pictures, actions = batch()
    optimal = one_hot(actions) | one_hot((actions + 1) % 4)
    one = learner()
    with torch.no_grad():
        wanted = -one.network(pictures).softmax(dim=1).masked_fill(~optimal, 0).sum(dim=1).log().mean()
    assert one.update(pictures, actions, optimal=optimal)["bc_loss"].item() == pytest.approx(wanted.item(), abs=1e-6)


def test_a_set_of_one_button_is_the_cross_entropy():
    pictures, actions = batch()
    one, other = learner(), learner()
    losses = one.update(pictures, actions), other.update(pictures, actions, optimal=one_hot(actions))
    assert losses[0]["bc_loss"].item() == pytest.approx(losses[1]["bc_loss"].item(), abs=1e-6)
    assert losses[0]["accuracy"] == losses[1]["accuracy"]
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def gradient(optimal: torch.Tensor | None, logits: torch.Tensor, action: int, **more) -> torch.Tensor:
    """The gradient by the logits of a network that has nothing but them."""

    class Bias(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = torch.nn.Parameter(logits.clone())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(x), -1)

    one = Learner(Bias(), CPU, learning_rate=0.0, weight_decay=0.0, bf16=False)
    one.update(torch.zeros(1, 1, 1, 1, dtype=torch.uint8), torch.tensor([action]), optimal=optimal, **more)
    return one.network.logits.grad


def test_another_right_button_is_not_pushed_away():
    # The network is sure of button 1; the expert pressed 0, and says that 1 is as good.
    logits = torch.tensor([0.0, 4.0, 0.0, -1.0])
    with_set = gradient(torch.tensor([[True, True, False, False]]), logits, action=0)
    without = gradient(None, logits, action=0)
    assert without[1] > 0.5  # the usual loss makes it rarer
    assert with_set[1] < 0 and with_set[2] > 0 and with_set[3] > 0
    everything = gradient(torch.ones(1, 4, dtype=torch.bool), logits, action=0)
    assert everything.abs().max() < 1e-6


def test_a_share_of_the_label_prefers_the_expert_s_own_button_among_the_right_ones():
    logits, either = torch.tensor([0.0, 4.0, 0.0, -1.0]), torch.tensor([[True, True, False, False]])
    some = gradient(either, logits, action=0, label_share=0.1)
    assert some[0] < -0.05 and some[1] > 0.05  # though the network is as good as sure of the other one
    expected = 0.9 * gradient(either, logits, action=0) + 0.1 * gradient(None, logits, action=0)
    assert torch.allclose(some, expected, atol=1e-6)
    assert torch.allclose(gradient(either, logits, action=0, label_share=1.0), gradient(None, logits, action=0), atol=1e-6)


def test_accuracy_over_a_set_counts_any_right_button():
    pictures, actions = batch()
    with torch.no_grad():
        pressed = learner().network(pictures).argmax(dim=1)
    wrong = (pressed + 1) % 4
    assert learner().update(pictures, wrong)["accuracy"] == 0
    assert learner().update(pictures, wrong, optimal=one_hot(wrong) | one_hot(pressed))["accuracy"] == 1


def test_weights_of_the_rows():
    pictures, actions = batch()
    weight = torch.tensor([1.0, 0, 0, 0, 0, 0])
    loss = learner().update(pictures, actions, weight=weight)["bc_loss"]
    assert loss.item() == pytest.approx(learner().update(pictures[:1], actions[:1])["bc_loss"].item(), abs=1e-5)


def test_it_learns():
    one, (pictures, actions) = learner(rate=3e-3), batch()
    losses = [one.update(pictures, actions)["bc_loss"].item() for _ in range(40)]
    assert losses[-1] < 0.1 < 1 < losses[0]


def test_the_learning_rate_along_a_cosine():
    one = learner(rate=0.5)
    assert [one.set_learning_rate(share) for share in (None, 0, 1, 2)] == [0.5, 0.5, 0, 0]
    assert one.set_learning_rate(0.5) == pytest.approx(0.25)
    assert one.set_learning_rate(1 / 3) == pytest.approx(0.25 * (1 + math.cos(math.pi / 3)))
    assert one.optimizer.param_groups[0]["lr"] == pytest.approx(0.375)


def test_goes_on_bit_for_bit_with_dropout(tmp_path):
    one, (pictures, actions) = learner(dropout=0.5), batch()
    for _ in range(3):
        one.update(pictures, actions)
    torch.save(one.state_dict(), tmp_path / "x.pth")
    for _ in range(3):
        one.update(pictures, actions)
    other = learner(dropout=0.5, seed=7)
    other.load_state_dict(torch.load(tmp_path / "x.pth"))
    for _ in range(3):
        other.update(pictures, actions)
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_another_weight_decay_of_a_run_that_goes_on():
    one = learner()
    other = Learner(learner().network, CPU, learning_rate=1e-3, weight_decay=0.5)
    other.load_state_dict(one.state_dict())
    assert other.optimizer.param_groups[0]["weight_decay"] == 0.5


def test_what_is_not_finite_is_refused():
    one, (pictures, actions) = learner(), batch()
    one.check_finite(0)
    one.update(pictures, actions)
    one.check_finite(1, "x_last.pth")
    with torch.no_grad():
        weight = list(one.network.parameters())[0].flatten()[3:4]
        before = weight.clone()
        for wrong in (math.nan, math.inf, -math.inf):
            weight.fill_(wrong)
            told = r"^step 1: .*\(loss \d\S*, weights not finite\); resume from x_last.pth, .* than 0.001$"
            with pytest.raises(DivergedError, match=told):
                one.check_finite(1, "x_last.pth")
        weight.copy_(before)
    one.last_loss = torch.tensor(math.inf)
    with pytest.raises(DivergedError, match=r"^step 2: .*\(loss inf, weights finite\); begin again with a lower learning rate"):
        one.check_finite(2)
