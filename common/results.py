"""Results of networks, as a table and a figure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from common.runtime.progress import print_table
from common.statistics import rate_text


def confusion_figure(counts: np.ndarray, names: Sequence[str], title: str = "") -> Any:
    """Return a matplotlib figure of a confusion matrix, for `RunLog.add_figure`.

    Args:
        counts: (n, n), rows the true labels, columns the predictions. Colours show shares of a row, numbers are counts.
        names: of the n classes.
        title: above it.
    """
    os.environ["MPLBACKEND"] = "agg"  # a notebook passes its own backend to child processes, where it need not be installed
    from matplotlib.figure import Figure

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(1.5 + 0.55 * len(names), 1.3 + 0.5 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("network")
    axes.set_ylabel("expert")
    axes.set_title(title)
    for row, column in np.argwhere(counts > 0):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", color=colour, fontsize=8)
    return figure


def results_table(records: Mapping[str, tuple[Mapping[str, Any], str | Path]]) -> Table:
    """Return a table of networks and their results.

    Args:
        records: name of a network -> its record and its file. A record has `step` and, if they were measured,
            `val_loss` and `val_accuracy`, and what `Evaluation.record` returns.
    """
    table = Table("network", "step", "val. loss", "val. accuracy", "success [95 % interval]", "steps (successes)", "file")
    for name, (record, file) in records.items():
        validated, played = "val_loss" in record, "successes" in record
        table.add_row(
            name,
            f"{record['step']:,}",
            f"{record['val_loss']:.4f}" if validated else "-",
            f"{record['val_accuracy']:.3f}" if validated else "-",
            rate_text(record["successes"], record["episodes"]) if played else "-",
            f"{record['mean_success_length']:.1f}" if played and record["successes"] else "-",
            str(file),
        )
    return table


def print_results(networks: Mapping[str, tuple[Mapping[str, Any] | None, str | Path]]) -> None:
    """Print the table of those networks that were evaluated: name -> record, None without one, and file."""
    print_table(results_table({name: (record, file) for name, (record, file) in networks.items() if record}))
