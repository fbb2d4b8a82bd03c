#!/usr/bin/env python3
"""Write a pipeline's students as small files: weights as 16-bit numbers, and only what is needed to play them.

    python -m tools.ship_students --output-dir tallgrass/students

A network computes with 32-bit numbers again once it is loaded. Use `play.py` to measure the cost of the rounding.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from dataclasses import dataclass

from common.runtime.flags import parse_command_line


@dataclass
class Args:
    pipeline_dir: str = "dagger_pipeline_results"
    """A pipeline's output folder."""
    output_dir: str = "students"
    """Folder that {ID}.pth and router.pth are written to."""
    rom_path: str = "tallgrass/tallgrass.gb"
    """The game's ROM."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

from pathlib import Path
from typing import Any

import torch

from agent.students import find_students
from common.runtime.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from common.runtime.main import run_main
from pokemon_env.errors import PokemonEnvError
from pokemon_env.games import find_game
from pokemon_env.rom import Rom

KEPT = (
    "algorithm", "network", "frame_stack", "deterministic", "buttons", "game", "rom_sha256", "milestone", "milestones", "tier",
    "worlds", "max_steps", "global_step", "labels", "expert", "metrics", "versions",
)  # fmt: skip
"""The keys of a checkpoint that are kept, in addition to the weights."""


def small(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint to play with, its weights as 16-bit numbers."""
    weights = {
        name: weight.half() if weight.is_floating_point() else weight for name, weight in checkpoint["model_state_dict"].items()
    }
    if bad := [name for name, weight in weights.items() if not torch.isfinite(weight.float()).all()]:
        raise CheckpointError(f"weights of {', '.join(bad)} are too large for 16 bits")
    return {key: checkpoint[key] for key in KEPT if key in checkpoint} | {"model_state_dict": weights}


def main(args: Args) -> int:
    game = find_game(Rom.read(args.rom_path))
    milestones = [milestone.id for milestone in game.milestones]
    if not milestones:
        raise ValueError(f"{args.rom_path} ({game.name}) has no milestones, so there are no students of it")
    folder, output = Path(args.pipeline_dir), Path(args.output_dir)
    files = find_students(folder, milestones)
    if (router := folder / "router.pth").is_file():
        files["router"] = router
    for name, path in files.items():
        written = save_checkpoint(output / f"{name}.pth", small(load_checkpoint(path)))
        print(f"{written}: {written.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    run_main("ship_students.py", lambda: main(args), errors=(PokemonEnvError, ValueError))
