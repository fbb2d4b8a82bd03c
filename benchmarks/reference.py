#!/usr/bin/env python3
"""The reference scores of Tallgrass-v1: players that learn nothing, and students by cloning and DAgger at several budgets.

    python -m benchmarks.reference                                    # all that the table needs (hours; resumable)
    python -m benchmarks.reference --milestones CLOCK_SET --seeds 1   # a part of it
    python -m benchmarks.reference --purpose choose --length 2        # a trial: other settings, on the episodes to choose by
    python -m benchmarks.reference --study                            # how the training's lengths were chosen

Players that learn nothing are random presses, a follower of the compass, a planner that sees the screen alone, and the expert.
For each scored milestone and seed: records demonstrations in the training worlds, trains students on the first 250, 1,000 and
10,000 labels, and plays the frozen test episodes (tier T2, worlds that nothing has seen) with the network as it is in the end,
drawing its buttons from its probabilities. Success means within twice the steps that the expert takes in the same episode. Writes
`{output_dir}/reference.md`, with the gates on students, and `reference.json`, which `python -m benchmarks.check_results` checks.
Each result is a small file of its own, so a command that was stopped is resumed by typing it again, and a part that is done is not
done again.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.runtime.flag_types import Amount, Count, Seed, Share, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    milestones: tuple[str, ...] = ()
    """These alone. Default is the scored ones, in turn."""
    labels: tuple[int, ...] = (250, 1000, 10_000)
    """Numbers of labels: steps of demonstrations, and for DAgger queries as well."""
    seeds: tuple[Seed, ...] = (1, 2, 3)
    """Each has demonstrations, weights, rollouts and batches of its own."""
    students: tuple[Literal["bc", "bc_sets", "dagger"], ...] = ("bc", "bc_sets", "dagger")
    """Methods that learn from the labels: cloning; cloning of label sets that are spread over more episodes; DAgger."""
    compass: Literal["on", "off"] = "on"
    """Off: the screen has no compass (tier T4), in training and in the test."""
    purpose: Literal["choose", "test"] = "test"
    """The frozen episodes that are played. A trial, with other settings than the recipe's, plays those to choose by."""
    length: Amount = 1.0
    """For a trial: times the recipe's training steps."""
    network: Literal["impala", "tiles", "tiles-small"] = "tiles"
    """For a trial: another network than the recipe's."""
    query_by: Literal["random", "novelty", "disagreement"] = "random"
    """For a trial: another rule by which DAgger chooses its queries."""
    noise: Share = 0.2
    """Probability of a random press while recording; the label stays the expert's."""
    parallel: Count = 2
    """Networks that are trained at once, each with one thread."""
    study: bool = False
    """Only find out how long to train: validation loss and accuracy after several lengths, on three milestones."""
    output_dir: str = "results/v1/reference"
    """Folder for demonstrations, networks, results and tables."""
    fresh: bool = False
    """Throw away what was made with other settings, another game or other code."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

from functools import partial

import numpy as np
import torch

from agent.policy_expert import find_policy
from benchmarks import steps as cloning
from benchmarks.audit.compass import CompassFollower
from benchmarks.audit.screen_planner import ScreenPlanner
from benchmarks.folders import NUMBER, check_kept, claim_folder, fingerprint, kept_result, run_table, source_files
from benchmarks.make_student import Order, clone, facts, learn, training_steps
from benchmarks.protocol import FrozenPlay, Recipe, check_trial, measured, score, success_rate
from benchmarks.results_file import Entry, check_entry, complete, save_results, title
from benchmarks.student_gates import table
from common.policies import Policy
from common.runtime.checkpoints import load_checkpoint
from common.runtime.files import save_json, save_text
from common.runtime.workers import run_in_parallel
from common.statistics import bootstrap_iqm
from pokemon_env.games.tallgrass import GAME, benchmark_v1, frozen
from pokemon_env.games.tallgrass.optimal import optimal_steps
from pokemon_env.rom import BUNDLED_ROM

MARKER = ".reference_settings"
"""A file in each milestone's folder: the folder is this benchmark's own, and what it was made with."""

TRAINING_STEPS = {250: 250, 1000: 400, 10_000: 1200}
"""Gradient steps for this number of labels; those of the next larger number serve numbers between."""
DAGGER: dict[str, Any] = {
    "iterations": 8, "training": 2, "query_rate": 0.25, "query_by": "random", "beta_schedule": "none", "label_set": True,
    "label_share": 0.1,
}  # fmt: skip
"""DAgger's part of the recipe. `iterations`: the first has the demonstrations, an equal share of the labels. `training`: gradient
steps as a multiple of a clone's: most are taken before the last labels are there. `query_rate`: the share of the visited states
that is queried, so that as many labels come from four times the episodes."""
SETTINGS: dict[str, Any] = {"network": "tiles", "learning_rate": 1e-3, "batch_size": 64, "training_steps": TRAINING_STEPS}
CHOSEN = (
    "Before the freeze: lengths by the validation accuracy of demonstrations in training worlds (--study); the learning rate "
    "falls to 0 along a cosine, so a network is done when its training ends. DAgger's settings by results in worlds that are spent."
)
SETS: dict[str, Any] = {"label_set": True, "label_share": 0.1, "spread_labels": 4}
"""Cloning's flags with label sets: any optimal button is right, and a random quarter of four times the labels is kept, so that
they come from four times the episodes."""
RECIPES = {
    "bc": Recipe("bc", SETTINGS, CHOSEN),
    "bc_sets": Recipe(
        "bc_sets",
        SETTINGS | {"flags": SETS},
        f"{CHOSEN} Label sets and spread: on the episodes to choose by, RIVAL_HOUSE, 1,000 labels, three seeds.",
    ),
    "dagger": Recipe("dagger", SETTINGS | {"dagger": DAGGER}, CHOSEN),
}
"""What may play the test's episodes: fixed before it did."""
UNTRAINED = ("random", "compass", "planner", "expert")
PLAYER_SOURCES = {
    "compass": ("benchmarks/audit/compass.py", "tallgrass/art/compass.txt", "tallgrass/art/ui.txt"),
    "planner": ("benchmarks/audit/screen_planner.py",),
}
"""What decides how these play, besides what the training depends on."""
STUDIED = {250: (15, 30, 60, 125, 250, 500), 1000: (100, 200, 400, 800), 10_000: (600, 1200, 2400)}
STUDIED_ON = ("LEAVE_HOUSE", "STARTER_CHOSEN", "ROUTE_2")

RESULT = {"minutes": NUMBER, "machine": {"cpu": str, "bf16": bool}, "spl": (*NUMBER, type(None))}
"""Types in a result's file, besides those that `check_entry` looks at."""

TRAINING_SOURCES = (
    "common/networks.py",
    "common/preprocessing.py",
    "pokemon_env/path_finding.py",
    "pokemon_env/tiers.py",
    "pokemon_env/games/tallgrass/game.py",
    "pokemon_env/games/tallgrass/names.py",
    "pokemon_env/games/tallgrass/starts.py",
    "pokemon_env/games/tallgrass/tools.py",
    "pokemon_env/games/tallgrass/worlds/*.py",
)
"""What decides which screens and labels there are, and what is learned from them, with the ROM and the policy."""


@dataclass(frozen=True)
class Cell:
    """One result: one of UNTRAINED, or a student with its labels and seed."""

    milestone: str
    method: str
    labels: int = 0
    seed: int = 0

    @property
    def name(self) -> str:
        """`CLOCK_SET/expert`, `CLOCK_SET/bc250_seed1`: its file."""
        return f"{self.milestone}/{self.method}" + (f"{self.labels}_seed{self.seed}" if self.labels else "")


def recipe_of(args: Args, method: str) -> Recipe:
    """Return what a student is made with by these flags: the registered recipe, or a trial."""
    usual = RECIPES[method]
    steps = {labels: round(args.length * steps) for labels, steps in TRAINING_STEPS.items()}
    settings = usual.settings | {"network": args.network, "training_steps": steps}
    if method == "dagger":
        settings["dagger"] = DAGGER | {"query_by": args.query_by}
    return usual if settings == usual.settings else Recipe(f"{method}, a trial", settings, "a trial")


def tier_of(args: Args) -> Literal["T2", "T4"]:
    """Return the tier that is learned and played."""
    return "T2" if args.compass == "on" else "T4"


def training_key(args: Args, milestone: str) -> str:
    """Return `learning_key` of a milestone by these flags."""
    return learning_key(milestone, tier_of(args), args.noise)


def learning_key(milestone: str, tier: str, noise: float) -> str:
    """Return the fingerprint of what a milestone's demonstrations and networks depend on: game, worlds, starts, expert, network.

    How a network is trained is part of `play_key` and of its name. The scripts' text is not: a comment there must not cost
    hours. After a change of what they do, name another --output-dir.
    """
    policy = find_policy(milestone, GAME.policy_dir)
    return fingerprint([milestone, tier, noise], [BUNDLED_ROM, policy, *source_files(*TRAINING_SOURCES)])


def result_key(args: Args, training: str, cell: Cell) -> str:
    """Return `play_key` of a cell by these flags."""
    recipe = recipe_of(args, cell.method) if cell.labels else None
    return play_key(training, cell.method, cell.milestone, tier_of(args), args.purpose, recipe)


def play_key(training: str, method: str, milestone: str, tier: str, purpose: frozen.Split, recipe: Recipe | None) -> str:
    """Return the fingerprint of what a result depends on: the network or the player, the recipe, the episodes and their limits.

    Args:
        training: of `learning_key`.
        recipe: None for what learns nothing.
    """
    settings = repr(recipe.settings) if recipe else ""
    limits = frozen.limits(milestone, tier, purpose)
    return fingerprint([training, purpose, limits, settings], source_files(*PLAYER_SOURCES.get(method, ())))


def folder_of(args: Args, milestone: str) -> Path:
    """Return where a milestone's demonstrations, networks and results lie. A trial's results lie apart."""
    return Path(args.output_dir) / (tier_of(args) if args.purpose == "test" else f"{tier_of(args)}_trials") / milestone


def order_of(args: Args, cell: Cell) -> Order:
    """Return what is ordered for a cell: a student of its milestone, labels and seed."""
    folder, recipe = folder_of(args, cell.milestone), recipe_of(args, cell.method)
    return Order(tier_of(args), cell.milestone, cell.method, cell.labels, cell.seed, recipe, folder, args.noise)


def make_player(method: str, milestone: str, checkpoint: Path | None) -> Policy:
    """Return whatever plays: the student in the checkpoint, which draws its buttons, or one of UNTRAINED."""
    if method == "compass":
        return CompassFollower(GAME.buttons)
    if method == "planner":
        return ScreenPlanner(milestone, GAME)
    return cloning.make_policy(method, milestone, checkpoint, deterministic=False)


def play_frozen(
    method: str, policy: Policy, milestone: str, tier: str, purpose: frozen.Split, should_stop: Callable[[], bool]
) -> Entry:
    """Play the frozen episodes. Returns what a file holds of them."""
    shortest = partial(optimal_steps, milestone=milestone)
    with FrozenPlay(milestone, tier, purpose, num_threads=1, state_in_info=True) as episodes:
        result = episodes.play(policy, should_stop=should_stop, optimal_steps=shortest)
    return {"method": method, **score(result, milestone, tier, purpose)}


def measure(args: Args, cell: Cell, should_stop: Callable[[], bool]) -> Entry:
    """Train a cell's student, if it has one, and play the frozen episodes. Returns what its file holds."""
    began, checkpoint, student = time.monotonic(), None, dict[str, Any]()
    if cell.labels:
        order = order_of(args, cell)
        checkpoint = learn(order, should_stop)
        student = facts(order, checkpoint)
    policy = make_player(cell.method, cell.milestone, checkpoint)
    row = play_frozen(cell.method, policy, cell.milestone, tier_of(args), args.purpose, should_stop) | student
    return row | {"machine": measured(), "minutes": (time.monotonic() - began) / 60}


def markdown(args: Args, rows: dict[str, Entry], milestones: list[str]) -> str:
    """Return the tables: of scores, with the command that makes it, and of the gates on students, which are for the test of T2.

    A column is complete, with all seeds on all milestones, or absent.
    """
    columns = complete(rows.values(), milestones, args.seeds)
    lines = [f"| milestone | {' | '.join(map(title, columns))} | SPL of the expert |", "|-|" + "-|" * (len(columns) + 1)]
    for milestone in milestones:
        cells = [milestone]
        for found in columns.values():
            rates = [100 * success_rate(row) for row in found[milestone]]
            cells.append(f"{np.mean(rates):.0f}" + (f" ({min(rates):.0f}-{max(rates):.0f})" if len(rates) > 1 else ""))
        spl = rows.get(f"{milestone}/expert", {}).get("spl")
        lines.append(f"| {' | '.join(cells)} | {'-' if spl is None else f'{spl:.2f}'} |")
    cells = []
    for found in columns.values():
        successes = np.array([[row["successes"] for row in found[milestone]] for milestone in milestones])
        value, low, high = bootstrap_iqm(successes, np.random.default_rng([2021, len(milestones)]))
        cells.append(f"{100 * value:.0f} [{100 * low:.0f}, {100 * high:.0f}]")
    lines.append(f"| **IQM** | {' | '.join(cells)} | |")
    minutes = sum(row.get("minutes", 0.0) for row in rows.values())
    machines = sorted({f"{row['machine']['cpu']}{', bf16' if row['machine']['bf16'] else ''}" for row in rows.values()})
    lines += [
        "",
        f"Success in percent, tier {tier_of(args)}, {frozen.EPISODES} frozen episodes of the split \"{args.purpose}\" each, within "
        f"{frozen.FACTOR} times the expert's steps in the same episode; over seeds {', '.join(map(str, args.seeds))}, in brackets "
        f"the lowest and highest. IQM with 95 % bootstrap intervals over milestones, seeds and episodes. A column is complete, or "
        f"absent. `python -m benchmarks.reference`, {minutes:.0f} minutes of one core by now, on {'; '.join(machines) or '-'}.",
    ]  # fmt: skip
    if tier_of(args) == "T2" and args.purpose == "test":
        lines += [
            "",
            table(complete(rows.values(), benchmark_v1.SCORED, args.seeds)),
            "",
            "The gates were written before the scores were measured, and are reported whatever comes out (docs/benchmark.md).",
        ]
    return "\n".join(lines) + "\n"


def study(args: Args, milestones: list[str]) -> str:
    """Return the table of validation losses and accuracies after trainings of several lengths, averaged over the milestones."""
    jobs = {
        f"{name} {labels} {steps}": (Cell(name, "bc", labels, args.seeds[0]), steps)
        for labels in sorted(args.labels, reverse=True)
        for steps in STUDIED.get(labels, ())
        for name in milestones
    }
    if not jobs:
        raise ValueError(
            f"--study is of {', '.join(STUDIED_ON)} with {', '.join(map(str, STUDIED))} labels, and none of these is among "
            "--milestones and --labels: leave them out"
        )
    results: dict[str, dict[str, float]] = {}

    def work(job: str, should_stop: Callable[[], bool]) -> dict[str, float]:
        cell, steps = jobs[job]
        checkpoint = load_checkpoint(clone(order_of(args, cell), should_stop, steps, held_out=True))
        return {key: checkpoint["metrics"][key] for key in ("val_loss", "val_accuracy")}

    def on_result(job: str, result: dict[str, float]) -> None:
        results[job] = result
        loss, accuracy = result["val_loss"], result["val_accuracy"]
        print(f"{job}: validation loss {loss:.4f}, accuracy {accuracy:.4f} ({len(results)} of {len(jobs)})", flush=True)

    # Of one milestone only the first records: the others wait until it has.
    first = {name: next(job for job in jobs if jobs[job][0].milestone == name) for name in milestones}
    run_in_parallel(work, list(first.values()), args.parallel, on_result)
    run_in_parallel(work, [job for job in jobs if job not in first.values()], args.parallel, on_result)
    lines = ["| labels | steps | mean validation loss | mean validation accuracy |", "|-|-|-|-|"]
    for labels in sorted({cell.labels for cell, _ in jobs.values()}):
        for steps in STUDIED[labels]:
            some = [results[f"{name} {labels} {steps}"] for name in milestones]
            means = [np.mean([result[key] for result in some]) for key in ("val_loss", "val_accuracy")]
            lines.append(f"| {labels:,} | {steps:,} | {means[0]:.3f} | {100 * means[1]:.1f} % |")
    return "\n".join([*lines, "", f"`python -m benchmarks.reference --study`: {', '.join(milestones)}, seed {args.seeds[0]}."])


def cells_of(args: Args, milestones: list[str]) -> list[Cell]:
    """Return all that the table needs: one seed of everything before the next, and in it the largest number of labels first."""
    cells = [Cell(name, method) for method in UNTRAINED for name in milestones]
    for seed in args.seeds:
        for labels in sorted(args.labels, reverse=True):  # the largest first: it records for the others, too
            cells += [Cell(name, method, labels, seed) for method in args.students for name in milestones]
    return cells


def main(args: Args) -> int:
    check_bounds(args)
    if min(args.labels, default=0) < 200 or not args.seeds:
        raise ValueError("--labels and --seeds each want a value, and labels at least 200: some demonstrations are as long as that")
    if min(training_steps(recipe_of(args, method), labels) for method in RECIPES for labels in args.labels) < 1:
        raise ValueError(f"--length {args.length:g} leaves no training step: give more")
    torch.set_num_threads(1)
    cloning.check_milestones(args.milestones)
    milestones = [name for name in cloning.milestones() if name in (args.milestones or benchmark_v1.SCORED)]
    benchmark_v1.check()
    for method in args.students:
        check_trial(args.purpose, recipe_of(args, method), list(RECIPES.values()))
    keys = {name: training_key(args, name) for name in milestones}
    for name in milestones:
        claim_folder(folder_of(args, name), MARKER, keys[name], args.fresh)

    if args.study:
        print(study(args, [name for name in STUDIED_ON if name in milestones]))
        return 0

    cells = {cell.name: cell for cell in cells_of(args, milestones)}
    # What was measured with other flags of this command is in the table, too.
    tabled = [name for name in cloning.milestones() if name in benchmark_v1.SCORED or name in milestones]
    tabled = milestones if args.purpose == "choose" else tabled  # a trial may be of a few
    keys |= {name: training_key(args, name) for name in tabled if name not in keys}
    rows: dict[str, Entry] = {}
    for name in tabled:
        for path in sorted(folder_of(args, name).glob("*.json")):
            row = {"method": "", "labels": 0, "seed": 0} | kept_result(path)
            check_kept(row, {"method": str, "labels": int, "seed": int}, path)
            cell = Cell(name, row["method"], row["labels"], row["seed"])
            known = cell.method in UNTRAINED if not cell.labels else cell.method in RECIPES
            if known and row.get("fingerprint") == result_key(args, keys[name], cell):
                check_kept(row, RESULT, path)
                check_entry(row, f"{path} is no result", tier_of(args), args.purpose)
                if row["milestone"] != name:
                    raise ValueError(f"{path} is no result of {name}, but of {row['milestone']}; remove it, and it is made again")
                rows[cell.name] = row

    def work(job: str, should_stop: Callable[[], bool]) -> Entry:
        cell = cells[job]
        return measure(args, cell, should_stop) | {"fingerprint": result_key(args, keys[cell.milestone], cell)}

    def save() -> None:
        where = folder_of(args, "x").parent
        save_results(where / "reference.json", list(rows.values()), tier_of(args), args.purpose)
        save_text(where / "reference.md", markdown(args, rows, tabled))

    def on_result(job: str, row: Entry) -> None:
        save_json(folder_of(args, cells[job].milestone) / f"{Path(job).name}.json", row)
        rows[job] = row
        save()
        done = f"{sum(name in rows for name in cells)} of {len(cells)}"
        print(f"{job}: {100 * success_rate(row):.0f} %, {row['minutes']:.1f} min ({done})", flush=True)

    todo = [job for job in cells if job not in rows]
    run_in_parallel(work, todo, args.parallel, on_result)
    save()
    print(markdown(args, rows, tabled))
    return 0


if __name__ == "__main__":
    run_table("reference.py", lambda: main(args), args.output_dir)
