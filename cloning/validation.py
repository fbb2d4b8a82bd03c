"""How well a network predicts labels that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from common.buffers import ReplayBuffer
from common.networks import PolicyNetwork


def validate(network: PolicyNetwork, buffer: ReplayBuffer, names: Sequence[str]) -> tuple[dict[str, float], np.ndarray]:
    """Return loss, accuracy and recalls on held-out episodes, and the confusion matrix (a row per label)."""
    slots = buffer.labelled_slots()
    changed = torch.from_numpy(buffer.action_changed()[slots])
    losses, predictions, labels = [], [], []
    network.eval()
    with torch.inference_mode():
        for chunk in np.array_split(slots, max(len(slots) // 256, 1)):
            observations, actions = buffer.get_labelled(chunk)
            logits = network(observations)
            losses.append(F.cross_entropy(logits, actions, reduction="none").cpu())
            predictions.append(logits.argmax(dim=-1).cpu())
            labels.append(actions.cpu())
    network.train()
    predicted, wanted, hit = torch.cat(predictions), torch.cat(labels), torch.cat(predictions) == torch.cat(labels)
    counts = torch.bincount(wanted * len(names) + predicted, minlength=len(names) ** 2).reshape(len(names), -1).numpy()
    metrics = {"loss": torch.cat(losses).mean().item(), "accuracy": hit.float().mean().item()}
    if changed.any():
        metrics["accuracy_at_changes"] = hit[changed].float().mean().item()
    for number, name in enumerate(names):
        if counts[number].sum():
            metrics[f"recall_{name}"] = float(counts[number, number] / counts[number].sum())
    return metrics, counts
