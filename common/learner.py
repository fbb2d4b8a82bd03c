"""Imitation learning, step by step: a network, its optimiser, and the loss between the network and the expert."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from common.networks import PolicyNetwork
from common.runtime.checkpoints import rng_state, set_rng_state
from common.runtime.device import autocast
from common.runtime.main import UserError


class DivergedError(UserError, ValueError):
    """The loss or a weight is not finite; the text says at which step, and where to resume from."""


def check_finite(
    network: torch.nn.Module, step: int, loss: float, learning_rate: float, last_good: str | os.PathLike | None = None
) -> None:
    """Refuse to continue with a network that has diverged. Call it now and then, and before a network is saved or plays.

    Args:
        network: all of its weights are checked.
        step: how many steps it was trained.
        loss: of the last step, or a mean.
        learning_rate: for the message.
        last_good: the last checkpoint that training can resume from, if there is one.

    Raises DivergedError if the loss or a weight is nan or infinite.
    """
    weights = torch.stack([torch.isfinite(weight).all() for weight in network.state_dict().values()]).all().item()
    if weights and math.isfinite(loss):
        return
    way = "begin again" if last_good is None else f"resume from {last_good}, which was saved before that, with --resume-from and"
    raise DivergedError(
        f"step {step:,}: training has diverged (loss {loss:.4g}, weights {'' if weights else 'not '}finite); {way} with a lower "
        f"learning rate than {learning_rate:g}"
    )


def imitation_loss(
    logits: torch.Tensor, actions: torch.Tensor, optimal: torch.Tensor | None = None, label_share: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of each row, (B,), and whether the network's likeliest button is right, (B,) bool.

    Args:
        logits: (B, n_actions).
        actions: (B,) int64, the labels.
        optimal: (B, n_actions) bool, all optimal buttons. The loss is then -log of the probability that the network presses any
            of them, no matter which. None takes the cross-entropy with the label.
        label_share: with `optimal`, the share in the loss of the cross-entropy with the label. If the expert does not follow a
            shortest path, its label can lead back to a state where another optimal button was pressed. Without a preference
            for the expert's own label the network can then cycle, although every step is optimal.
    """
    if optimal is None:
        losses = F.cross_entropy(logits, actions, reduction="none")
        return losses, logits.detach().argmax(dim=-1) == actions
    losses = logits.logsumexp(dim=-1) - logits.masked_fill(~optimal, -math.inf).logsumexp(dim=-1)
    if label_share:
        losses = (1 - label_share) * losses + label_share * F.cross_entropy(logits, actions, reduction="none")
    return losses, optimal.gather(1, logits.detach().argmax(dim=-1, keepdim=True))[:, 0]


class Learner:
    """Everything that trains, except the data: network, optimiser and random numbers.

    `state_dict` and `load_state_dict` continue it bit for bit, on the same machine with the same number of threads.

    Args:
        network: moved to the device.
        device: where it trains.
        learning_rate, weight_decay: Adam's.
        bf16: compute in bfloat16 where the hardware does.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        device: torch.device,
        *,
        learning_rate: float,
        weight_decay: float,
        bf16: bool = True,
    ):
        self.device = device
        # torch's stubs say that a module takes a device or a memory format; it takes both.
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
        self.half_precision = autocast(device, bf16)
        self.last_loss = torch.zeros((), device=device)

    def update(
        self,
        observations: torch.Tensor,
        actions: torch.Tensor,
        *,
        optimal: torch.Tensor | None = None,
        label_share: float = 0.0,
        weight: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Do one gradient step on the cross-entropy between the network and the expert.

        Args:
            observations: (B, C, h, w) uint8.
            actions, optimal, label_share: see `imitation_loss`.
            weight: (B,) float, of each row in the loss; all equal by default.

        Returns the mean loss as "bc_loss" and the accuracy, as scalar tensors on the device.
        """
        with self.half_precision():
            logits = self.network(observations)
        losses, hits = imitation_loss(logits.float(), actions, optimal, label_share)
        loss = losses.mean() if weight is None else (losses * weight).sum() / weight.sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.last_loss = loss.detach()
        return {"bc_loss": self.last_loss, "accuracy": hits.float().mean()}

    def set_learning_rate(self, share_done: float | None) -> float:
        """Set and return the learning rate: constant (None), or along a cosine that falls from the full rate to 0.

        Args:
            share_done: the share of the steps that are done, from 0 to 1.
        """
        rate = self.learning_rate
        if share_done is not None:
            rate *= 0.5 * (1 + math.cos(math.pi * min(share_done, 1)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def check_finite(self, step: int, last_good: str | os.PathLike | None = None) -> None:
        """Call `check_finite` for the network and the last batch's loss. It waits for the device: do not call it at each step."""
        check_finite(self.network, step, self.last_loss.item(), self.learning_rate, last_good)

    def state_dict(self) -> dict[str, Any]:
        return {
            "model_state_dict": self.network.state_dict(),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "rng": rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state. Raises ValueError, or another error for values of other kinds, if it is not of this network."""
        self.network.load_state_dict(state["model_state_dict"])
        moments = _moments(state["optimizer_state_dict"], list(self.network.parameters()))
        # Keep its own groups: the flags decide how it trains, and a file could make it ascend the gradient.
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        set_rng_state(state["rng"])


def _moments(optimizer_state: Mapping[str, Any], weights: Sequence[torch.Tensor]) -> dict[int, dict[str, torch.Tensor]]:
    """Return Adam's state of each weight, in new tensors laid out as the weights are.

    The fused kernel takes its sizes from the weights alone: it would overwrite the memory behind a shorter tensor.
    Raises ValueError unless each weight has exactly what belongs to it.
    """
    found = optimizer_state["state"]
    if not found:
        return {}  # saved before the first step
    if found.keys() != set(range(len(weights))):
        raise ValueError(f"Adam's state is of {len(found)} weights, the network has {len(weights)}")
    moments = {}
    for number, weight in enumerate(weights):
        if found[number].keys() != {"step", "exp_avg", "exp_avg_sq"}:
            raise ValueError(f"Adam's state of weight {number} is not one step and two means")
        step, mean, square = (torch.as_tensor(found[number][name]) for name in ("step", "exp_avg", "exp_avg_sq"))
        for value, shape in ((step, torch.Size()), (mean, weight.shape), (square, weight.shape)):
            if value.shape != shape or not value.is_floating_point():
                raise ValueError(f"Adam's state of weight {number} has other shapes than the weight, or other kinds of numbers")
        # Steep losses may make a mean of squares infinite; that weight then stays as it is.
        if not (torch.isfinite(mean).all() and 0 <= step < math.inf and (square >= 0).all()):
            raise ValueError(f"Adam's state of weight {number} has numbers that it cannot have")
        means = {"exp_avg": torch.empty_like(weight).copy_(mean), "exp_avg_sq": torch.empty_like(weight).copy_(square)}
        moments[number] = {"step": step.to(torch.float32), **means}
    return moments
