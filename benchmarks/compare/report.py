"""What `benchmarks.compare` found, in tables, answers and a picture. `args` are its flags (`benchmarks.compare.Args`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare.recipe import DEMONSTRATED, ENOUGH, ENOUGH_FLAGS, ITERATIONS, gradient_steps
from common.runtime.files import atomic_write
from common.runtime.flags import as_typed
from common.statistics import bootstrap_difference, bootstrap_iqm, percent
from pokemon_env.games.tallgrass import frozen

Rows = Mapping[str, Mapping[str, Any]]
"""A cell's name -> its result."""

TITLES = {
    "bc": "BC, clean",
    "bc_noise": "BC, noise",
    "dagger": "DAgger",
    "dagger_mixed": "DAgger, mixed",
    "hybrid": "BC, then DAgger",
    "dagger_random": "DAgger, random",
    "dagger_novelty": "DAgger, novelty",
    "dagger_disagreement": "DAgger, disagreement",
    "state": "reads the state",
}
VIEW_TITLES = {
    "bc_noise": "tiles-small at 160x144, 1 picture",
    "bc_noise_stack4": "tiles-small at 160x144, 4 pictures",
    "bc_noise_impala": "IMPALA at 84x84, 1 picture",
    "bc_noise_impala_stack4": "IMPALA at 84x84, 4 pictures",
}
RESAMPLES = 2000
"""Of the bootstrap."""
SHARE = 0.9
"""Of the expert's success: how many labels does it take?"""
FULL_SHARE = 0.95
"""Of the expert's success on one milestone: is it learned?"""

# Okabe and Ito's colours, which the colour-blind tell apart; markers and dashes say it once more.
STYLES = {
    "bc": ("#E69F00", "s", (0, (4, 2))),
    "bc_noise": ("#D55E00", "D", (0, (4, 2))),
    "dagger": ("#0072B2", "o", "solid"),
    "dagger_mixed": ("#A6761D", "h", "solid"),
    "hybrid": ("#009E73", "^", "solid"),
    "dagger_random": ("#666666", "v", (0, (1, 1.5))),
    "dagger_novelty": ("#CC79A7", "P", "solid"),
    "dagger_disagreement": ("#56B4E9", "X", "solid"),
    "state": ("#000000", "p", (0, (6, 2, 1, 2))),
}
PANELS = {
    "Whose states are labelled": ("bc", "bc_noise", "dagger", "dagger_mixed", "hybrid", "state"),
    "Which of the student's states are labelled": ("bc_noise", "dagger", "dagger_random", "dagger_novelty", "dagger_disagreement"),
}


def places_of(args: Any) -> list[tuple[str, str]]:
    """(tier, milestone) of the main part, in order."""
    return [*(("T1", name) for name in args.milestones), *(("T2", name) for name in args.t2_milestones)]


def name_of(place: tuple[str, str], method: str, labels: int = 0, seed: int = 0) -> str:
    """The name of a cell's result."""
    return f"{place[0]}/{place[1]}/{method}" + (f"{labels}_seed{seed}" if labels else "")


def complete(rows: Rows, places: Iterable[tuple[str, str]], names: Iterable[tuple[str, int, int]]) -> list[tuple[str, str]]:
    """The places where all these cells (method, labels, seed) have a result."""
    names = list(names)
    return [place for place in places if all(name_of(place, *name) in rows for name in names)]


def successes(rows: Rows, places: Sequence[tuple[str, str]], method: str, labels: int, seeds: Sequence[int]) -> np.ndarray:
    """(M, S, E) bool of a method."""
    return np.array([[rows[name_of(place, method, labels, seed)]["successes"] for seed in seeds] for place in places])


@dataclass(frozen=True)
class Complete:
    """What may be compared: places and seeds of which all methods have a result."""

    places: list[tuple[str, str]]
    seeds: list[int]
    curves: dict[str, dict[int, tuple[float, float, float]]]
    """Method -> labels -> (IQM, low, high); "random" and "expert" at 0 labels. Empty where nothing is complete."""


def what_is_complete(args: Any, rows: Rows) -> Complete:
    """The places that are complete with the first seed, and the seeds with which all of these are.

    A method or a number of labels of which there is no result at all is left out, not waited for.
    """
    fixed = [("random", 0, 0), ("expert", 0, 0)]
    columns = [
        (method, labels)
        for method in args.methods
        for labels in sorted(args.labels)
        if any(name_of(place, method, labels, seed) in rows for place in places_of(args) for seed in args.seeds)
    ]
    places, seeds = places_of(args), []
    for seed in args.seeds:
        done = complete(rows, places, [*fixed, *((method, labels, seed) for method, labels in columns)])
        if not done or (seeds and done != places):
            break
        places, seeds = done, [*seeds, seed]
    found: dict[str, dict[int, tuple[float, float, float]]] = {}
    if not seeds:
        return Complete([], [], {})
    for method, labels in [("random", 0), ("expert", 0), *columns]:
        scores = successes(rows, places, method, labels, seeds if labels else [0])
        found.setdefault(method, {})[labels] = bootstrap_iqm(scores, np.random.default_rng([2021, labels]), RESAMPLES)
    return Complete(places, seeds, found)


def labels_to_reach(curve: Mapping[int, float], target: float) -> float:
    """The number of labels at which a curve (labels -> success) reaches the target, between two measured ones along a line over
    the logarithm; the smallest measured one if it is reached there, inf if it is not reached."""
    points = sorted(curve.items())
    for (fewer, low), (more, high) in zip([(0, -1.0), *points], points, strict=False):
        if high >= target:
            share = (target - low) / (high - low)
            return float(more) if fewer == 0 else float(fewer * (more / fewer) ** share)
    return math.inf


def labels_text(curve: Mapping[int, float], target: float) -> str:
    """`labels_to_reach` as a table says it."""
    reached = labels_to_reach(curve, target)
    if math.isinf(reached):
        return f"> {max(curve):,}"
    return f"≤ {min(curve):,}" if reached <= min(curve) else f"{reached:,.0f}"


def interval_text(values: tuple[float, float, float], sign: str = "") -> str:
    """(0.5, 0.4, 0.6) -> '50 [40, 60]', in percent."""
    value, low, high = (100 * number for number in values)
    return f"{value:{sign}.0f} [{low:{sign}.0f}, {high:{sign}.0f}]"


def mean(rows: Rows, place: tuple[str, str], method: str, labels: int, seeds: Sequence[int]) -> float | None:
    """The success over the seeds that are there; None without any."""
    names = [name_of(place, method, labels, seed) for seed in seeds]
    rates = [np.mean(rows[name]["successes"]) for name in dict.fromkeys(names) if name in rows]
    return float(np.mean(rates)) if rates else None


def share_of_expert(rows: Rows, place: tuple[str, str], method: str, labels: int, seeds: Sequence[int]) -> float | None:
    """The success over the seeds that are there, divided by the expert's; None without one of them."""
    student, expert = mean(rows, place, method, labels, seeds), mean(rows, place, "expert", 0, (0,))
    return student / expert if student is not None and expert else None


def learned(args: Any, rows: Rows, method: str, labels: int, seeds: Sequence[int]) -> tuple[int, int]:
    """On how many milestones, and of how many, a method has FULL_SHARE of the expert's success."""
    shares = [share_of_expert(rows, place, method, labels, seeds) for place in places_of(args)]
    known = [share for share in shares if share is not None]
    return sum(share >= FULL_SHARE for share in known), len(known)


def markdown(args: Any, rows: Rows, latency: Mapping[str, Any] | None, done: Complete) -> str:
    """The tables and answers of all parts that were asked for."""
    lines: list[str] = []
    if "main" in args.parts:
        lines += main_part(args, rows, done)
    if "enough" in args.parts:
        lines += ["", f"### DAgger with {args.enough_labels:,} labels and all that helps it", "", *enough_part(args, rows)]
    if latency is not None:
        lines += ["", "### A slow expert", "", *latency_part(latency)]
    if "views" in args.parts:
        lines += ["", "### What the network sees", "", *views_part(args, rows)]
    minutes = sum(row["minutes"] for row in rows.values()) / args.parallel
    return "\n".join([*lines, "", f"It took {minutes:.0f} minutes with {args.parallel} at once."]).lstrip("\n") + "\n"


def main_part(args: Any, rows: Rows, done: Complete) -> list[str]:
    """The methods at each number of labels, the answers, and each milestone."""
    found, labels = done.curves, sorted(args.labels)
    methods = [method for method in args.methods if method in found]
    titles = [f"{count:,} labels" for count in labels]
    lines = [
        f"| IQM [95 %], mean | {' | '.join(titles)} | labels to {percent(SHARE)} of the expert (IQM) |",
        "|-|" + "-|" * (len(labels) + 1),
    ]
    expert = found["expert"][0] if found else (math.nan,) * 3

    def cell(method: str, count: int) -> str:
        average = successes(rows, done.places, method, count, done.seeds if count else [0]).mean()
        return f"{interval_text(found[method][count])}, {100 * average:.0f}"

    for method in methods:
        curve = {count: values[0] for count, values in found[method].items()}
        cells = [cell(method, count) if count in curve else "-" for count in labels]
        lines.append(f"| {TITLES[method]} | {' | '.join(cells)} | {labels_text(curve, SHARE * expert[0])} |")
    for name in ("random", "expert"):
        if name in found:
            lines.append(f"| {name} | {' | '.join([cell(name, 0)] * len(labels))} | |")
    lines += ["", *answers(args, rows, done), "", *milestone_table(args, rows)]
    return [*lines, "", "How it was measured:", "", *conditions(args, rows, done)]


def conditions(args: Any, rows: Rows, done: Complete) -> list[str]:
    """What a reader has to know of the figures, as a list."""
    used = [row["labels_used"] / row["labels"] for row in rows.values() if row["labels"] in args.labels]
    share = "all" if used and min(used) >= 1 else f"at least {percent(math.floor(100 * min(used, default=0)) / 100)}"
    one = "; nothing is said of the spread over seeds" if len(done.seeds) == 1 else ""
    seeds = f"seed{'s' * (len(done.seeds) != 1)} {', '.join(map(str, done.seeds))}"
    return [
        f"- Success within twice the expert's steps in the same episode, over the {frozen.EPISODES} frozen test episodes: the "
        "interquartile mean with its 95 % bootstrap interval over milestones, seeds and episodes, and the mean. An interval "
        "without width says that no resample differed, not that the next episode could not.",
        f"- {len(done.places)} of {len(places_of(args))} milestones and {len(done.seeds)} of {len(args.seeds)} seeds are complete "
        f"({seeds}{one}). On T1 all play in one world, in other episodes; on T2 the test worlds are not those of the training.",
        "- Labels are demonstrations and questions together; in an episode each distinct picture counts once."
        + (f" Every student used {share} of its labels." if used else ""),
        "- All have the same network and number of gradient steps at a number of labels, which were chosen by DAgger's play with "
        "the first seed on test episodes of an earlier table (other seeds; on T2 worlds of the test's range): not a blind choice. "
        "The last network plays: no checkpoint was chosen by play.",
        "- DAgger's learning rate falls to 0 in each of its iterations, and what its last rollout brings is learned from in the "
        "last iteration only. Each iteration asks for its share of the labels that are left, at states drawn at random where there "
        "are more, or as novelty and disagreement choose them.",
        "- In the rollouts of DAgger, mixed, the expert presses for the student with a probability that falls along a line, from "
        f"1 in the first of the {ITERATIONS} to {1 / ITERATIONS:.2g} in the last (`--beta-schedule linear`); in DAgger's, it is 1 "
        "in the first, and 0 after it.",
        "- DAgger draws its rows so that equal pictures of an episode count once, cloning draws all alike.",
        f"- Noise {args.noise:g} in noisy demonstrations, of which the hybrid's first half and the state reader's labels are. With "
        f"random, novelty and disagreement one in {1 / args.query_rate:g} visited states is asked about, and the first "
        f"{percent(1 / ITERATIONS)} of the labels are clean demonstrations.",
    ]


def answers(args: Any, rows: Rows, done: Complete) -> list[str]:
    """The questions that the comparison is for, as a list."""
    lines: list[str] = []
    found = done.curves
    pairs = [
        ("dagger", "bc_noise", "How much better is DAgger than BC with noise?"),
        ("dagger", "bc", "And than BC of clean demonstrations?"),
        ("dagger_mixed", "dagger", "Does it help DAgger if the expert has a hand in the rollouts?"),
        ("dagger_mixed", "bc_noise", "And is that better than BC with noise?"),
        ("hybrid", "dagger", "Is the hybrid better than DAgger from nothing?"),
        ("hybrid", "bc_noise", "And than BC with noise alone?"),
        ("dagger_novelty", "dagger_random", "Does novelty choose better questions than chance?"),
        ("dagger_disagreement", "dagger_random", "Does disagreement?"),
    ]
    for ours, theirs, question in pairs:
        texts = []
        for count in sorted(args.labels):
            if count in found.get(ours, {}) and count in found.get(theirs, {}):
                arrays = [successes(rows, done.places, method, count, done.seeds) for method in (ours, theirs)]
                difference = bootstrap_difference(*arrays, np.random.default_rng([2021, count]), RESAMPLES)
                texts.append(f"{interval_text(difference, '+')} with {count:,}")
        if texts:
            lines.append(f"- {question} Mean difference in success, in points, on the same episodes: {'; '.join(texts)} labels.")
    for gated in ("dagger_novelty", "dagger_disagreement"):
        if gated in found and "dagger_random" in found:
            target = SHARE * found["expert"][0][0]
            ours, control = ({n: v[0] for n, v in found[name].items()} for name in (gated, "dagger_random"))
            reached = labels_to_reach(ours, target), labels_to_reach(control, target)
            between = min(ours) < reached[0] < math.inf and min(control) < reached[1] < math.inf
            share = f", {reached[0] / reached[1]:.2f} times as many" if between else ""
            lines.append(
                f"- Labels to {percent(SHARE)} of the expert, {TITLES[gated].split(', ')[1]} against random: "
                f"{labels_text(ours, target)} against {labels_text(control, target)}{share}."
            )
    for method in ("dagger", "dagger_mixed", "hybrid", "dagger_random", "bc_noise"):
        counts = [(count, *learned(args, rows, method, count, args.seeds)) for count in sorted(args.labels)]
        texts = [f"{good} of {of} with {count:,} labels" for count, good, of in counts if of]
        if texts:
            share = percent(FULL_SHARE)
            lines.append(f"- Milestones on which {TITLES[method]} has {share} of the expert's success: {', '.join(texts)}.")
    return lines


def milestone_table(args: Any, rows: Rows) -> list[str]:
    """Success on each milestone, in percent, at each number of labels."""
    labels = sorted(args.labels)
    lines = [
        f"| success, % at {' / '.join(f'{count:,}' for count in labels)} | random | "
        f"{' | '.join(TITLES[method] for method in args.methods)} | expert |",
        "|-|" + "-|" * (len(args.methods) + 2),
    ]

    def text(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.0f}"

    for place in places_of(args):
        cells = [" / ".join(text(mean(rows, place, method, count, args.seeds)) for count in labels) for method in args.methods]
        ends = [text(mean(rows, place, name, 0, (0,))) for name in ("random", "expert")]
        lines.append(f"| {place[1]} ({place[0]}) | {ends[0]} | {' | '.join(cells)} | {ends[1]} |")
    return lines


def enough_part(args: Any, rows: Rows) -> list[str]:
    """What DAgger makes of its labels on each milestone, and of more of them with all that helps it."""
    columns = [("dagger", count, args.seeds, f"DAgger, {count:,} labels") for count in sorted(args.labels)]
    columns.append((ENOUGH, args.enough_labels, args.enough_seeds, f"all that helps, {args.enough_labels:,} labels"))
    lines = [
        f"| share of the expert's success, % | {' | '.join(title for *_, title in columns)} | the expert's |",
        "|-|" + "-|" * (len(columns) + 1),
    ]
    for place in places_of(args):
        shares = [share_of_expert(rows, place, method, count, seeds) for method, count, seeds, _ in columns]
        cells = ["-" if share is None else f"{100 * share:.1f}" for share in shares]
        expert = mean(rows, place, "expert", 0, (0,))
        lines.append(f"| {place[1]} ({place[0]}) | {' | '.join(cells)} | {'-' if expert is None else f'{100 * expert:.0f}'} |")
    reached = [learned(args, rows, method, count, seeds) for method, count, seeds, _ in columns]
    lines.append(f"| at least {percent(FULL_SHARE)} | {' | '.join(f'{good} of {of}' for good, of in reached)} | |")
    more = gradient_steps(args.enough_labels) / gradient_steps(max(args.labels))
    return [
        *lines,
        "",
        f"Over {frozen.EPISODES} test episodes. All that helps (seed(s) {', '.join(map(str, args.enough_seeds))}): one in "
        f"{DEMONSTRATED} labels is a noisy demonstration's, the others are of one in {1 / args.query_rate:g} of the visited "
        "states, drawn at random; any button on a shortest way is right, and the network is the wider one "
        f"(`{as_typed(ENOUGH_FLAGS)}`); {more:g} times the gradient steps of {max(args.labels):,} labels.",
    ]


def latency_part(latency: Mapping[str, Any]) -> list[str]:
    """What batches and the cache save."""
    return [
        f"With an expert that takes {1000 * latency['expert_seconds']:.0f} ms for an answer and {latency['concurrency']} "
        f"questions at once:",
        "",
        "| | labels | seconds | labels per second |",
        "|-|-|-|-|",
        f"| one question at each step of play | {latency['loop_labels']} | {latency['loop_seconds']:.1f} | "
        f"{latency['loop_rate']:.1f} |",
        f"| a rollout's questions in batches | {latency['labels']} | {latency['batch_seconds']:.1f} | "
        f"{latency['batch_rate']:.1f} |",
        f"| the same again, from the cache ({latency['cached_asked']} asked) | {latency['cached_labels']} | "
        f"{latency['cached_seconds']:.2f} | {latency['cached_labels'] / max(latency['cached_seconds'], 1e-9):,.0f} |",
        "",
        f"Labelling is {latency['ratio']:.0f} times faster, rolling out and labelling {latency['ratio_with_play']:.0f} times (the "
        f"rollout of {latency['rows']:,} steps took {latency['play_seconds']:.1f} s; what is seen again in it is asked once).",
    ]


def views_part(args: Any, rows: Rows) -> list[str]:
    """Networks and frame stacks, all cloned from the same demonstrations."""
    lines = [
        f"| success, % | {' | '.join(args.views_milestones)} | minutes each |",
        "|-|" + "-|" * (len(args.views_milestones) + 1),
    ]
    for view, title in VIEW_TITLES.items():
        names = [
            name_of(("T1", name), view, args.views_labels, seed) for name in args.views_milestones for seed in args.views_seeds
        ]
        minutes = [rows[name]["minutes"] for name in names if name in rows]
        cells = []
        for name in args.views_milestones:
            value = mean(rows, ("T1", name), view, args.views_labels, args.views_seeds)
            cells.append("-" if value is None else f"{100 * value:.0f}")
        lines.append(f"| {title} | {' | '.join(cells)} | {f'{np.mean(minutes):.1f}' if minutes else '-'} |")
    seeds = f"seed{'s' * (len(args.views_seeds) > 1)} {', '.join(map(str, args.views_seeds))}"
    lines += ["", f"BC with {args.views_labels:,} labels, noise {args.noise:g}, tier T1, {seeds}, equal gradient steps."]
    return lines


def write_picture(args: Any, done: Complete, path: Path) -> None:
    """Learning curves: success against labels, a line with its band for each method. Nothing where nothing is complete yet."""
    found, places = done.curves, done.places
    panels = {title: [m for m in methods if m in found] for title, methods in PANELS.items()}
    panels = {title: methods for title, methods in panels.items() if methods}
    if not panels:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullLocator

    labels = sorted(args.labels)
    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.titleweight": "bold"}
    with plt.rc_context(style):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(5.6 * len(panels), 4.6), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, (title, methods) in zip(axes[0], panels.items(), strict=True):
            for name, dashes in (("expert", "solid"), ("random", "dotted")):
                value = 100 * found[name][0][0]
                axis.axhline(value, color="#999999", linewidth=1, linestyle=dashes, zorder=1)
                axis.annotate(name, (0.01, value), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points",
                              color="#666666", fontsize=9)  # fmt: skip
            for method in methods:
                colour, marker, dashes = STYLES[method]
                counts = [count for count in labels if count in found[method]]
                middle, low, high = 100 * np.array([found[method][count] for count in counts]).T
                axis.fill_between(counts, low, high, color=colour, alpha=0.10, linewidth=0, zorder=2)
                axis.plot(counts, middle, color=colour, marker=marker, linestyle=dashes, linewidth=2, markersize=8,
                          markeredgecolor="white", label=TITLES[method], zorder=3)  # fmt: skip
            axis.set(
                xscale="log",
                xlim=(labels[0] / 1.25, labels[-1] * 1.25),
                ylim=(-3, 105),
                xlabel="labels (demonstrations and questions)",
                title=title,
            )
            axis.set_xticks(labels, [f"{count:,}" for count in labels])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.grid(axis="y", color="#eeeeee", zorder=0)
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=9, handlelength=3.5)
        axes[0][0].set_ylabel("test success, % (IQM, 95 % band)")
        tiers = " and ".join(f"{sum(place[0] == tier for place in places)} on {tier}" for tier in ("T1", "T2"))
        figure.suptitle(
            f"Tallgrass-v1: {len(places)} tasks ({tiers}), {len(done.seeds)} seed{'s' * (len(done.seeds) > 1)}", fontsize=11
        )
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=150, format="png")
        plt.close(figure)
