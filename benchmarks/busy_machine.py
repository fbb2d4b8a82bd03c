#!/usr/bin/env python3
"""What training loses on a machine that others use: alone, and beside as many spinning processes as there are cores.

    python -m benchmarks.busy_machine

Clones the same demonstrations three ways, round by round: alone; beside the spinning processes, with the threads that
bc_pokemon.py chooses itself; and beside them with a thread per core. A fair share is the cores divided by the processes that
want one. Prints the steps per second of each and how many times a fair share's time training took. Quiet cores only: whatever
else runs is measured, too.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import os
from dataclasses import dataclass

from common.runtime.flag_types import Count, check_bounds
from common.runtime.flags import as_flags, parse_command_line


@dataclass
class Args:
    rounds: Count = 3
    """how often each way is measured"""
    steps: Count = 200
    """training steps of each; a tenth of them with a thread per core beside others, where a step may take seconds"""
    network: str = "tiles"
    """what is trained"""
    batch_size: Count = 64
    """pictures of each step"""
    output_dir: str = "results/busy_machine"
    """folder for what is made and thrown away"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bc_pokemon import Args as BcArgs
from benchmarks import steps as cloning
from benchmarks.folders import own_folder, run_table
from common.runtime.checkpoints import load_checkpoint

MARKER = ".busy_machine"
MILESTONE = "RIVAL_HOUSE"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WAYS = {"alone": (0, None), "beside others": (CORES, None), f"beside others, {CORES} threads": (CORES, CORES)}
"""Way -> spinning processes, and --num-threads."""


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Keep so many cores busy."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(args: Args, folder: Path, name: str, spinners: int, num_threads: int | None) -> tuple[float, int]:
    """Steps per second of one training, and its threads."""
    steps = args.steps if num_threads is None else max(1, args.steps // 10)
    flags = dict(
        milestone=MILESTONE, exp_name=name, model_dir=str(folder), expert_data_dir=str(folder / "data"), network=args.network,
        batch_size=args.batch_size, total_steps=steps, eval_frequency=0, eval_episodes=0, save_frequency=0, overwrite=True,
        **cloning.game_flags(),
    )  # fmt: skip
    if num_threads:
        flags["num_threads"] = num_threads
    with spinning(spinners):
        cloning.run_script("bc_pokemon.py", *as_flags(BcArgs, **flags), log=folder / f"{name}.log")
    checkpoint = load_checkpoint(folder / f"{name}_last.pth")
    logs = EventAccumulator(str(Path("runs") / checkpoint["run_name"])).Reload()
    return logs.Scalars("train/steps_per_second")[-1].value, checkpoint["progress"]["threads"]


def main(args: Args) -> int:
    check_bounds(args)
    folder = Path(args.output_dir)
    own_folder(folder, MARKER, "", fresh=True)
    cloning.collect(cloning.Student(MILESTONE, cloning.Budget(20, 0.2, args.steps, 0), 1, folder / "data", folder))
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    threads: dict[str, int] = {}
    for number in range(args.rounds):
        for place, (way, (spinners, num_threads)) in enumerate(WAYS.items()):
            speed, threads[way] = measure(args, folder, f"way{place}", spinners, num_threads)
            speeds[way].append(speed)
            print(f"round {number + 1}, {way}: {speed:.1f} steps/s with {threads[way]} thread(s)", flush=True)
    share = CORES / (CORES + 1)
    for way in list(WAYS)[1:]:
        # Alone it computes on `threads` cores; its fair share beside the others is `share` cores.
        ratios = [quiet * share / threads["alone"] / busy for quiet, busy in zip(speeds["alone"], speeds[way], strict=True)]
        rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{way}: {np.median(ratios):.2f} times as long as a fair share of {share:.2f} cores allows (rounds: {rounds})")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_table("busy_machine.py", lambda: main(args))
