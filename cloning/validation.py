"""How well a network predicts labels that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from common.buffers import ReplayBuffer
from common.flag_groups import LabelSetFlags
from common.learner import imitation_loss
from common.networks import PolicyNetwork


def validate(
    network: PolicyNetwork, buffer: ReplayBuffer, names: Sequence[str], flags: LabelSetFlags, *, has_neighbours: bool = True
) -> tuple[dict[str, float], np.ndarray]:
    """Return loss, accuracy and recalls on held-out episodes, and the confusion matrix (a row per label).

    Args:
        network: what predicts.
        buffer: the episodes.
        names: of the buttons.
        flags: which buttons are right, for loss and accuracies; recalls are of the labels.
        has_neighbours: whether the label of the step before is known too, so that changes can be told.
    """
    slots = buffer.labelled_slots()
    changed = torch.from_numpy(buffer.action_changed()[slots])
    losses, predictions, labels, hits = [], [], [], []
    network.eval()
    with torch.inference_mode():
        for chunk in np.array_split(slots, max(len(slots) // 256, 1)):
            observations, actions = buffer.get_labelled(chunk)
            logits = network(observations)
            optimal = buffer.get_optimal(chunk) if flags.label_set else None
            loss, right = imitation_loss(logits, actions, optimal, flags.label_share)
            losses.append(loss.cpu())
            hits.append(right.cpu())
            predictions.append(logits.argmax(dim=-1).cpu())
            labels.append(actions.cpu())
    network.train()
    predicted, wanted, hit = torch.cat(predictions), torch.cat(labels), torch.cat(hits)
    counts = torch.bincount(wanted * len(names) + predicted, minlength=len(names) ** 2).reshape(len(names), -1).numpy()
    metrics = {"loss": torch.cat(losses).mean().item(), "accuracy": hit.float().mean().item()}
    if has_neighbours and changed.any():
        metrics["accuracy_at_changes"] = hit[changed].float().mean().item()
    for number, name in enumerate(names):
        if counts[number].sum():
            metrics[f"recall_{name}"] = float(counts[number, number] / counts[number].sum())
    return metrics, counts
