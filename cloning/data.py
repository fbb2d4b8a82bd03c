"""Demonstrations for cloning: which are held out, and the buffers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from rich.table import Table

from common.buffers import ReplayBuffer, load_expert_data_to_buffer
from common.demonstrations import (
    DemonstrationError,
    choose_labels,
    copies_held_out,
    count_steps,
    holds_sets,
    load_episode,
    split_episodes,
)
from common.flag_groups import CloningFlags, NetworkFlags
from common.networks import PolicyNetwork, make_network
from common.runtime.flag_types import FlagError
from common.runtime.plain_text import some
from common.runtime.progress import print_table


def network_for(flags: NetworkFlags, file: Path, n_actions: int) -> PolicyNetwork:
    """Return the untrained network for screens such as this demonstration's. Raises DemonstrationError if it cannot see them."""
    screen_shape = load_episode(file).observations.shape[1:]
    try:
        return make_network(flags.network, n_actions, flags.hidden_dim, screen_shape, flags.frame_stack)
    except ValueError as error:
        raise DemonstrationError(f"{file}: --network {flags.network} cannot see its screens: {error}; take another") from error


def load_buffer(
    folder: str,
    files: list[Path],
    steps_of: dict[Path, int],
    network: PolicyNetwork,
    n_actions: int,
    *,
    kept: dict[Path, np.ndarray] | None,
    frame_stack: int,
    seed: int,
    device: torch.device,
) -> ReplayBuffer:
    """Return all steps of the files as the network's observations, on the device that trains; `steps_of` limits some files.

    Steps that are not `kept` (file -> steps; None keeps all) have no label.
    """
    channels, height, width = network.image_shape
    try:
        buffer = ReplayBuffer(
            buffer_size=max(sum(steps_of.get(path) or count_steps(path) for path in files), 1),
            observation_space=gym.spaces.Box(0, 255, (channels // frame_stack, height, width), np.uint8),
            action_space=gym.spaces.Discrete(n_actions),
            device=device,
            storage_device=device,
            frame_stack=frame_stack,
            seed=seed,
        )
    except MemoryError as error:
        raise MemoryError(f"{folder}: {error}: use fewer with --max-expert-episodes or --max-labels") from error
    try:
        load_expert_data_to_buffer(folder, buffer, preprocess_fn=network.preprocess, files=files, steps_of=steps_of, kept=kept)
    except DemonstrationError:
        raise
    except ValueError as error:  # names the file
        raise DemonstrationError(f"{error}; record it again, or take it out of the folder") from error
    return buffer


def split_as_before(
    files: list[Path], val_files: list[Path], known: Container[str], held_out: Container[str]
) -> tuple[list[Path], list[Path]]:
    """Return a resumed run's episodes to train on, and those for validation. None that it has trained on is among the latter.

    Args:
        files: the episodes as they are now; others may have been there when the run began.
        val_files: those for validation in a split of today, which holds for new episodes. If empty, there is no validation.
        known: names of the episodes that the run had.
        held_out: names of those of them for validation.
    """
    held = [path for path in files if (path.name in held_out if path.name in known else path in val_files)]
    if not val_files or len(held) == len(files):  # all that it trained on is gone
        held = val_files
    return [path for path in files if path not in held], held


def say_what_is_held_out(files: list[Path], milestones: list[str | None], val_files: list[Path]) -> None:
    """Print which episodes are held out; for several milestones, how many of each, as a line or, if they are many, a table."""
    episodes = Counter(milestones)
    held_out = Counter(milestone for path, milestone in zip(files, milestones, strict=True) if path in val_files)
    if len(episodes) == 1:
        print(f"held out for validation: {some([path.name for path in val_files])}")
    elif len(episodes) <= 4:
        counts = [f"{held_out[milestone]} of {count} of {milestone or 'the whole game'}" for milestone, count in episodes.items()]
        print(f"held out for validation: {', '.join(counts)}")
    else:
        table = Table("milestone", "episodes", "held out", title="for validation")
        for milestone, count in episodes.items():
            table.add_row(milestone or "the whole game", str(count), str(held_out[milestone]))
        print_table(table)
    if single := [milestone or "the whole game" for milestone, count in episodes.items() if count == 1]:
        print(f"only one episode, which is for training, so no validation: {some(single)}")


@dataclass
class CloningData:
    """What is trained on, and what is held out."""

    files: list[Path]
    """All episodes that are used."""
    facts: dict[str, Any]
    """What the episodes have in common (`common.demonstrations.select_episodes`)."""
    milestones: list[str | None]
    """The milestone of each file."""
    train_files: list[Path]
    val_files: list[Path]
    network: PolicyNetwork
    """Untrained, for these screens."""
    train: ReplayBuffer
    val: ReplayBuffer | None
    """None if there is no validation."""
    spread: int = 1
    """One in so many of the labels is learned from."""

    def __str__(self) -> str:
        spread = f", one label in {self.spread} of them" if self.spread > 1 else ""
        learned = self.facts["milestone"] or ("all milestones" if any(self.milestones) else "the whole game")
        return (
            f"{learned}, {len(self.train):,} steps of {len(self.train_files)} episodes to train on, "
            f"{len(self.val_files)} episodes held out{spread}"
        )


def load_cloning_data(
    flags: CloningFlags,
    network_flags: NetworkFlags,
    files: list[Path],
    facts: dict[str, Any],
    *,
    label_set: bool,
    seed: int,
    device: torch.device,
    before: Mapping[str, Any] | None,
) -> CloningData:
    """Split the episodes, make the network for their screens, and read them.

    Args:
        flags, network_flags: the script's.
        files, facts: the episodes, as `select_episodes` gives them.
        label_set: whether sets are wanted.
        seed: of the split, the network and the batches.
        device: that trains.
        before: the progress of the run that is resumed, whose split is kept; None for a new run.

    Raises DemonstrationError if there is nothing to train on, and FlagError if --patience has no validation loss to wait for.
    """
    files, steps_of, kept = choose_labels(files, flags.max_labels, flags.spread_labels, seed)
    if label_set and not any(map(holds_sets, files)):
        print(f"--label-set changes nothing: no file in {flags.expert_data_dir} has label sets; record it again")
    milestones = facts["milestones"][: len(files)]
    held_out = None if before is None else before.get("held_out")
    # A checkpoint from before the split was by milestone does not name what was held out: it keeps its own split.
    old = before is not None and held_out is None
    train_files, val_files = split_episodes(files, flags.val_fraction, seed, None if old else milestones)
    if before is not None and held_out is not None:
        train_files, val_files = split_as_before(files, val_files, before.get("demonstrations", {}), held_out)
    if not old and (copies := copies_held_out(train_files, val_files)):
        print(f"not held out, because each is a copy of an episode for training: {some([path.name for path in copies])}")
        val_files = [path for path in val_files if path not in copies]
        train_files = [path for path in files if path not in val_files]
    n_actions = len(facts["buttons"])
    network = network_for(network_flags, files[0], n_actions)
    reading: dict[str, Any] = {"kept": kept, "frame_stack": network_flags.frame_stack, "seed": seed, "device": device}
    train = load_buffer(flags.expert_data_dir, train_files, steps_of, network, n_actions, **reading)
    if not len(train.labelled_slots()):
        raise DemonstrationError(
            f"{flags.expert_data_dir}: no step of the {len(train_files)} episode(s) to train on ({train_files[0].name}, ...) has "
            f"a label: the expert abstained in all; record others"
        )
    if flags.patience and not val_files:
        raise FlagError(
            "--patience waits for the validation loss, but no episode is held out: raise --val-fraction, or record at least two "
            "episodes of a milestone"
        )
    val = load_buffer(flags.expert_data_dir, val_files, steps_of, network, n_actions, **reading) if val_files else None
    if val is not None and not len(val.labelled_slots()):
        unlabelled = f"no step of the held-out episode(s) {', '.join(path.name for path in val_files)} has a label"
        if flags.patience:
            raise FlagError(
                f"--patience waits for the validation loss, but {unlabelled}: raise --val-fraction, or choose another --seed"
            )
        print(f"{unlabelled}: no validation")
        val = None
    return CloningData(files, facts, milestones, train_files, val_files, network, train, val, flags.spread_labels)
