#!/usr/bin/env python3
"""Train the network that tells the current milestone from one screen, for `play.py --router pixels`.

    python -m tools.train_router                                  # of the pipeline in dagger_pipeline_results
    python -m tools.train_router --pipeline-dir elsewhere --total-steps 6000

It learns from the screens of the pipeline's DAgger data sets, which the students visited, and the experts before them; equally
many of each milestone. Every tenth episode of each milestone is held out, to measure how often the network is right. Writes
`router.pth` next to the students.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.runtime.flag_types import Amount, Count, Few, Seed, check_bounds
from common.runtime.flags import parse_command_line, plain_flags


@dataclass
class Args:
    pipeline_dir: str = "dagger_pipeline_results"
    """A pipeline's output folder."""
    output: str | None = None
    """The checkpoint to write. None: router.pth in that folder."""
    network: Literal["tiles", "tiles-small"] = "tiles-small"
    """The network, as in dagger_pokemon.py."""
    hidden_dim: Count = 64
    """Width of the layer before the logits."""
    total_steps: Count = 3000
    """Gradient steps."""
    batch_size: Count = 64
    """Screens per batch."""
    learning_rate: Amount = 1e-3
    """Adam's learning rate at the beginning; it falls to 0 along a cosine."""
    weight_decay: Amount = 1e-5
    """L2 penalty on the weights."""
    max_screens: Count = 4000
    """Screens of each milestone at most, drawn at random."""
    seed: Seed = 1
    """Seed of the weights, the draw and the batches."""
    num_threads: Few | None = None
    """CPU threads for torch. None: one for each core that is free."""
    cuda: bool = True
    """Train on a GPU if there is one."""
    rom_path: str = "tallgrass/tallgrass.gb"
    """The game's ROM."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from common.learner import Learner
from common.networks import make_network, network_arguments
from common.runtime.checkpoints import CheckpointError, package_versions, save_checkpoint
from common.runtime.device import seed_everything, select_device, set_threads
from common.runtime.files import exclusive_lock
from common.runtime.main import run_main
from common.runtime.progress import ProgressReport, print_table
from dagger.data import DaggerData, DaggerDataError
from pokemon_env.builds import plays_alike
from pokemon_env.errors import PokemonEnvError
from pokemon_env.games import find_game
from pokemon_env.rom import Rom

VALIDATION_EVERY = 10
"""One of this many episodes is held out."""


def screens_of(path: Path, rom_sha256: str, preprocess: Any, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct observations of a data set, for training and for validation: two arrays (n, C, H, W) uint8.

    Every tenth episode is for validation, except for observations that also occur in training. Raises DaggerDataError for a
    data set of another ROM.
    """
    with DaggerData(path, "read") as data:
        if not plays_alike(data.facts.get("rom_sha256"), rom_sha256):
            raise DaggerDataError(f"{path} was made with another ROM; let auto_dagger_pipeline.py make it again")
        columns = data.columns(["episode", "frame"])
        validation = columns["episode"] % VALIDATION_EVERY == VALIDATION_EVERY - 1
        training_frames = np.unique(columns["frame"][~validation])
        validation_frames = np.setdiff1d(columns["frame"][validation], training_frames)
        parts = []
        for frames, count in ((training_frames, most), (validation_frames, max(1, round(most / VALIDATION_EVERY)))):
            chosen = np.sort(rng.permutation(frames)[:count])
            parts.append([preprocess(screen) for screen in data.pictures(chosen)])
    empty = np.zeros((0, *np.shape(parts[0][0])), np.uint8)
    return tuple(np.stack(part) if part else empty for part in parts)


def accuracies(network: torch.nn.Module, parts: list[np.ndarray], device: torch.device) -> list[float]:
    """Return the network's accuracy on each milestone's observations; nan for a milestone without any."""
    network.eval()
    shares = []
    with torch.inference_mode():
        for place, pictures in enumerate(parts):
            guesses = [network(torch.from_numpy(some).to(device)).argmax(dim=-1).cpu() for some in batches(pictures)]
            shares.append(float((torch.cat(guesses) == place).float().mean()) if guesses else float("nan"))
    network.train()
    return shares


def batches(pictures: np.ndarray, size: int = 256) -> list[np.ndarray]:
    return [pictures[start : start + size] for start in range(0, len(pictures), size)]


def main(args: Args) -> int:
    """Train, while no other run writes the same file."""
    path = Path(args.output or Path(args.pipeline_dir) / "router.pth")
    with exclusive_lock(path.with_name(f".{path.name}.lock")):
        return train_router(args)


def train_router(args: Args) -> int:
    """Do the work of `main`, with the file locked."""
    check_bounds(args)
    device = select_device(args.cuda)
    set_threads(args.num_threads)
    seed_everything(args.seed)
    rom = Rom.read(args.rom_path)
    game = find_game(rom)
    milestones = [milestone.id for milestone in game.milestones]
    if not milestones:
        raise ValueError(f"{args.rom_path} ({game.name}) has no milestones, so there is nothing to tell apart")
    folder = Path(args.pipeline_dir)
    files = {name: folder / "models" / name / f"dagger_{name}_data.sqlite" for name in milestones}
    if missing := [name for name, path in files.items() if not path.is_file()]:
        raise CheckpointError(f"{folder} has no data set of {', '.join(missing)}: let auto_dagger_pipeline.py finish them first")
    screen_shape = (144, 160, 3) if game.system == "gb" else (160, 240, 3)
    network = make_network(args.network, len(milestones), args.hidden_dim, screen_shape)
    rng = np.random.default_rng(args.seed)
    training, validation = [], []
    with ProgressReport("reading", len(files)) as report:
        for number, path in enumerate(files.values(), start=1):
            learn, keep = screens_of(path, rom.header.sha256, network.preprocess, args.max_screens, rng)
            training.append(learn)
            validation.append(keep)
            report.update(number)

    learner = Learner(network, device, learning_rate=args.learning_rate, weight_decay=args.weight_decay)
    network.train()
    with ProgressReport("training", args.total_steps) as report:
        for step in range(args.total_steps):
            learner.set_learning_rate(step / args.total_steps)
            places = rng.integers(len(milestones), size=args.batch_size)  # equally many of each milestone
            pictures = np.stack([training[place][rng.integers(len(training[place]))] for place in places])
            metrics = learner.update(torch.from_numpy(pictures).to(device), torch.from_numpy(places).to(device))
            if (step + 1) % 100 == 0 or step + 1 == args.total_steps:
                learner.check_finite(step + 1)
                report.update(step + 1, f"loss {metrics['bc_loss'].item():.3f}, accuracy {metrics['accuracy'].item():.2f}")

    shares = accuracies(network, validation, device)
    table = Table("milestone", "screens", "kept apart", "right")
    for name, learn, keep, share in zip(milestones, training, validation, shares, strict=True):
        table.add_row(name, f"{len(learn):,}", f"{len(keep):,}", "-" if np.isnan(share) else f"{100 * share:.0f} %")
    print_table(table)
    path = save_checkpoint(
        args.output or folder / "router.pth",
        {
            "algorithm": "router",
            "model_state_dict": network.state_dict(),
            "network": network_arguments(network),
            "args": plain_flags(args),
            "milestones": milestones,
            "game": game.id,
            "rom_sha256": rom.header.sha256,
            "global_step": args.total_steps,
            "metrics": {"val_accuracy": float(np.nanmean(shares))},
            "versions": package_versions(),
        },
    )
    print(f"{path}: right for {100 * np.nanmean(shares):.0f} % of the held-out screens, on average over the milestones")
    return 0


if __name__ == "__main__":
    run_main("train_router.py", lambda: main(args), errors=(PokemonEnvError, ValueError))
