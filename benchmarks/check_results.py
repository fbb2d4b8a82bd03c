#!/usr/bin/env python3
"""Check a file of results of Tallgrass-v1, and print its table.

    python -m benchmarks.check_results results/v1/reference/T2/reference.json

The file's form is in `benchmarks/results_file.py` and docs/benchmark.md. It must name this benchmark's ROM and frozen steps,
and hold for each result the frozen episodes in their order, with lengths within their limits. Exits with 1 and one line if it
does not. Methods that lack a scored milestone are named and left out of the table.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from common.runtime.flags import parse_command_line


@dataclass
class Args:
    file: tyro.conf.Positional[Path]
    """Results, as JSON."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import hashlib
import json

import numpy as np
from rich.table import Table

from benchmarks.protocol import success_rate
from benchmarks.results_file import ResultsError, check_results, complete, title
from common.runtime.main import run_main
from common.runtime.progress import print_table
from common.statistics import bootstrap_iqm
from pokemon_env.bounded_files import read_file
from pokemon_env.games.tallgrass import frozen
from pokemon_env.games.tallgrass.benchmark_v1 import FROZEN_STEPS_SHA256, SCORED

MOST_BYTES = 256 << 20


def main(args: Args) -> int:
    if hashlib.sha256(frozen.PATH.read_bytes()).hexdigest() != FROZEN_STEPS_SHA256:  # its limits would judge the file
        raise ResultsError(f"{frozen.PATH}: is not the benchmark's table of steps any more; restore it, as with git checkout")
    try:
        content = json.loads(read_file(args.file, MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{args.file}: is no JSON ({error})") from error
    entries = check_results(content, args.file)
    columns = complete(entries, SCORED)
    for missing in sorted({(row["method"], row.get("labels", 0)) for row in entries} - columns.keys()):
        print(f"{title(missing)}: not on all {len(SCORED)} scored milestones with the same seeds, so not in the table")
    table = Table("method", "milestones", "seeds", "IQM [95 % interval]", "mean")
    for column, found in columns.items():
        successes = np.array([[row["successes"] for row in found[milestone]] for milestone in SCORED])
        value, low, high = bootstrap_iqm(successes, np.random.default_rng([2021, len(SCORED)]))
        mean = np.mean([success_rate(row) for rows in found.values() for row in rows])
        iqm = f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        table.add_row(title(column), str(len(SCORED)), str(successes.shape[1]), iqm, f"{100 * mean:.1f}")
    print_table(table)
    print(f"{args.file}: {len(entries)} results, tier {content['tier']}, split {content['split']}: as the benchmark wants them")
    return 0


if __name__ == "__main__":
    run_main("check_results.py", lambda: main(args))
