"""The comparison's picture: success against labels, a line with its interval for each method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.compare import design
from benchmarks.compare.report import Rows, iqm
from common.runtime.files import atomic_write

# Okabe and Ito's colours, which the colour-blind tell apart; markers and dashes say it once more.
STYLES = {"dagger": ("#0072B2", "o", "solid"), "bc": ("#D55E00", "D", (0, (4, 2))), "bc_sets": ("#009E73", "^", (0, (6, 2, 1, 2)))}


def write_picture(rows: Rows, tasks: Sequence[design.Task], seeds: Sequence[int], path: Path) -> None:
    """Write learning curves. A point is on all tasks, with the seeds that all have; nothing is written where there is none."""
    curves = {}
    for column in design.METHODS:
        found = {count: iqm(rows, tasks, column.name, count, seeds) for count in design.LABELS}
        curves[column.name] = {count: values[0] for count, values in found.items() if values}
    if not any(curves.values()):
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullLocator

    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with plt.rc_context(style):
        figure, axis = plt.subplots(figsize=(6.4, 5), layout="constrained")
        for player in design.PLAYERS:
            if values := iqm(rows, tasks, player.name, 0, seeds):
                height = 100 * values[0][0]
                axis.axhline(height, color="#999999", linewidth=1, linestyle="dotted", zorder=1)
                axis.annotate(player.name, (0.01, height), xycoords=("axes fraction", "data"), xytext=(0, 3),
                              textcoords="offset points", color="#666666", fontsize=9)  # fmt: skip
        for column in design.METHODS:
            if not (curve := curves[column.name]):
                continue
            colour, marker, dashes = STYLES[column.name]
            middle, low, high = 100 * np.array(list(curve.values())).T
            axis.fill_between(list(curve), low, high, color=colour, alpha=0.10, linewidth=0, zorder=2)
            axis.plot(list(curve), middle, color=colour, marker=marker, linestyle=dashes, linewidth=2, markersize=8,
                      markeredgecolor="white", label=column.title, zorder=3)  # fmt: skip
        ends = design.LABELS[0] / 1.25, design.LABELS[-1] * 1.25
        axis.set(xscale="log", xlim=ends, ylim=(-3, 105), xlabel="labels (demonstrations and queries)")
        axis.set(ylabel="success, % (IQM, 95 % interval)", title=f"Tallgrass-v1: {len(tasks)} tasks, {len(seeds)} seeds")
        axis.set_xticks(design.LABELS, [f"{count:,}" for count in design.LABELS])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(axis="y", color="#eeeeee", zorder=0)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False, fontsize=9, handlelength=3.5)
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=150, format="png")
        plt.close(figure)
