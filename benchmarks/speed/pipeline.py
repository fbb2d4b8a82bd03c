#!/usr/bin/env python3
"""What --parallel-milestones 2 saves: two milestones at once with a thread each, against one after the other with one thread.

    python -m benchmarks.speed.pipeline
    python -m benchmarks.speed.pipeline --rounds 3 --milestones RIVAL_HOUSE LAB_ENTERED

Runs `auto_dagger_pipeline.py` both ways in turn, in folders of their own below --output-dir, and prints the times and their
ratio, round by round. Nothing is kept of the students.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from dataclasses import dataclass

from common.runtime.flag_types import Count, check_bounds
from common.runtime.flags import as_flags, parse_command_line


@dataclass
class Args:
    milestones: tuple[str, str] = ("RIVAL_HOUSE", "LAB_ENTERED")
    """the two, best of like length"""
    rounds: Count = 2
    """how often both ways are measured"""
    dagger_iterations: Count = 4
    """of each student"""
    episodes_per_iter: Count = 40
    """of each rollout"""
    train_steps_per_iter: Count = 400
    """of each iteration"""
    output_dir: str = "results/pipeline_speed"
    """folder for what is made and thrown away"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import json
import shutil
from pathlib import Path

import numpy as np

from auto_dagger_pipeline import Args as PipelineArgs
from benchmarks import steps as cloning
from benchmarks.folders import own_folder, run_table
from common.runtime.files import save_json
from pipeline.records import PipelineRecords

MARKER = ".pipeline_speed"
WAYS = {"one after the other": 1, "two at once": 2}


def measure(args: Args, folder: Path, config: Path, parallel: int) -> float:
    """Seconds of one pipeline; each of its milestones has one thread."""
    flags = as_flags(
        PipelineArgs, output_dir=str(folder / "pipeline"), parallel_milestones=parallel, num_threads=1,
        dagger_iterations=args.dagger_iterations, episodes_per_iter=args.episodes_per_iter,
        train_steps_per_iter=args.train_steps_per_iter, learning_rate=1e-3, record_video=False, milestone_config=str(config),
        rom_path=str(cloning.BUNDLED_ROM), overwrite=True, **cloning.sandbox_flags(),
    )  # fmt: skip
    began = time.perf_counter()
    cloning.run_script("auto_dagger_pipeline.py", *flags, log=folder / "pipeline.log")
    seconds = time.perf_counter() - began
    done = [record.milestone_id for record in PipelineRecords(folder / "pipeline") if record.status == "completed"]
    if sorted(done) != sorted(args.milestones):
        raise ValueError(f"only {', '.join(done) or 'nothing'} was completed; {folder / 'pipeline.log'} says why")
    return seconds


def main(args: Args) -> int:
    check_bounds(args)
    cloning.check_milestones(args.milestones)
    folder = Path(args.output_dir)
    own_folder(folder, MARKER, "", fresh=True)
    config = folder / "config.json"
    content = json.loads(cloning.MILESTONE_CONFIG.read_text(encoding="utf-8"))
    content["milestones"] = [entry for entry in content["milestones"] if entry["id"] in args.milestones]
    save_json(config, content)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(args.rounds):
        for way, parallel in WAYS.items():
            seconds[way].append(measure(args, folder, config, parallel))
            print(f"round {number + 1}, {way}: {seconds[way][-1]:.0f} s", flush=True)
    ratios = [two / one for one, two in zip(*seconds.values(), strict=True)]
    print(f"two at once take {np.median(ratios):.2f} of the time (rounds: {', '.join(f'{ratio:.2f}' for ratio in ratios)})")
    shutil.rmtree(folder / "pipeline", ignore_errors=True)
    return 0


if __name__ == "__main__":
    run_table("pipeline_speed.py", lambda: main(args))
