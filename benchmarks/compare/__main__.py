#!/usr/bin/env python3
"""DAgger against cloning at the same number of labels, on Tallgrass-v1's frozen test episodes; and what its parts are worth.

    make compare                                                           # all of it (hours; the same command resumes it)
    python -m benchmarks.compare --seeds 1 --labels 250 1000               # a part of it
    python -m benchmarks.compare --columns dagger bc --tasks T2/RIVAL_HOUSE
    python -m benchmarks.compare --parts latency                           # only what a slow expert costs
    python -m benchmarks.compare --purpose choose --length 0.1             # a trial, on the episodes to choose by

Tasks, methods, the changes of one factor, and the differences that are tested stand in `benchmarks/compare/design.py`, which was
written before any of them was measured. Every student of a column gets the same number of labels, demonstrations and queries
together, and its last network plays: no checkpoint is chosen by play. It draws its buttons from its probabilities. Success means
within twice the expert's steps in the same episode. The parts: "methods", at all numbers of labels; "factors", one changed at a
time, at 1,000 labels; "latency", where a slow expert labels one rollout in batches, and one query at a time.

Each result is a small file of its own, so a command that was stopped is resumed by typing it again. What `benchmarks.reference`
has measured already is read from its folder. One seed of everything comes before the next. Writes `{output_dir}/compare.md`,
`.png`, and the results of each tier as files that `python -m benchmarks.check_results` checks.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.runtime.flag_types import Amount, Count, Seed, check_bounds
from common.runtime.flags import parse_command_line

Part = Literal["methods", "factors", "latency"]


@dataclass
class Args:
    parts: tuple[Part, ...] = ("methods", "factors", "latency")
    """What to measure; the report is of all that was."""
    tasks: tuple[str, ...] = ()
    """These alone, as TIER/MILESTONE. Default is the seven of the design."""
    columns: tuple[str, ...] = ()
    """These alone, by their names in the design. Default is all of the parts."""
    labels: tuple[int, ...] = (250, 1000, 4000)
    """Numbers of labels, demonstrations and queries together. The factors have 1,000, if that is one of these."""
    seeds: tuple[Seed, ...] = (1, 2, 3)
    """Each has demonstrations, weights, rollouts and batches of its own."""
    purpose: Literal["choose", "test"] = "test"
    """The frozen episodes that are played. A trial plays those to choose by."""
    length: Amount = 1.0
    """For a trial: times the recipe's training steps."""
    latency_milestone: str = "RIVAL_HOUSE"
    """Whose rollout is labelled by a slow expert, on tier T1."""
    latency_seconds: float = 0.25
    """How long it takes for an answer."""
    latency_concurrency: Count = 32
    """How many queries it takes at once."""
    latency_episodes: Count = 16
    """Episodes of the rollout."""
    latency_loop_steps: Count = 60
    """Steps of the loop that queries at each step."""
    parallel: Count = 2
    """Networks that are trained at once, each with one thread."""
    output_dir: str = "results/v1/compare"
    """Folder for demonstrations, networks, results, tables and the picture."""
    reference_dir: str = "results/v1/reference"
    """Folder of `benchmarks.reference`, whose results count here where they are of the same student and episodes."""
    fresh: bool = False
    """Throw away what was made with other settings, another game or other code."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import threading

import torch

from benchmarks import steps
from benchmarks.compare import design
from benchmarks.compare import latency as labelling_latency
from benchmarks.compare.memory_student import train_with_memory
from benchmarks.compare.picture import write_picture
from benchmarks.compare.report import markdown
from benchmarks.compare.state_student import StateStudent, replay, train_on_states
from benchmarks.folders import check_kept, claim_folder, fingerprint, kept_result, run_table
from benchmarks.make_student import Order, facts, learn, record, training_steps
from benchmarks.protocol import check_trial, measured, success_rate
from benchmarks.reference import RECIPES, RESULT, UNTRAINED, learning_key, make_player, play_frozen, play_key
from benchmarks.results_file import Entry, check_entry, save_results
from common.demonstrations import episode_files
from common.policies import Policy, RecurrentPolicy
from common.runtime.files import save_json, save_text
from common.runtime.workers import run_in_parallel
from pokemon_env.games.tallgrass import GAME, benchmark_v1, frozen
from pokemon_env.rom import BUNDLED_ROM

MARKER = ".compare_settings"
"""A file in each milestone's folder: the folder is this benchmark's own, and what it was made with."""
LEAST_LABELS_USED = 0.9
"""A student that used less of its labels than this is told of."""
REPORT_SECONDS = 300
"""The tables of what is there so far are written so often."""
ONE_AT_A_TIME = threading.Lock()
"""Held while a student is trained in this process, which has one generator for weights and dropout."""


@dataclass(frozen=True)
class Cell:
    """One result: a player that learns nothing, or a student of one column with its labels and seed."""

    task: design.Task
    column: design.Column
    labels: int = 0
    seed: int = 0

    @property
    def file(self) -> str:
        """`expert`, `dagger250_seed1`."""
        return self.column.name + (f"{self.labels}_seed{self.seed}" if self.labels else "")

    @property
    def name(self) -> str:
        """`T1/CLOCK_SET/expert`."""
        return f"{self.task.name}/{self.file}"


def tasks_of(args: Args) -> list[design.Task]:
    """Return the tasks by these flags. Raises ValueError for one that has no frozen episodes."""
    known, found = {task.name: task for task in design.TASKS}, []
    for name in args.tasks or known:
        tier, _, milestone = name.partition("/")
        if tier not in frozen.TIERS or milestone not in benchmark_v1.MILESTONES:
            raise ValueError(f"--tasks {name}: is no task; write one of {', '.join(frozen.TIERS)}, a slash, and a milestone")
        found.append(known.get(name, design.Task(tier, milestone)))
    return found


def cells_of(args: Args) -> list[Cell]:
    """Return all that these flags ask for: one seed of everything before the next, and in it the most important columns first."""
    tasks, wanted = tasks_of(args), set(args.columns or design.COLUMNS)
    if unknown := sorted(wanted - design.COLUMNS.keys()):
        raise ValueError(f"--columns: no column {', '.join(unknown)}; there are {', '.join(design.COLUMNS)}")
    cells = []
    if {"methods", "factors"} & set(args.parts):
        cells += [Cell(task, design.COLUMNS[name]) for name in UNTRAINED if name in wanted for task in tasks]
    labels = sorted(args.labels, key=lambda count: (count != design.FACTOR_LABELS, count))
    for seed in args.seeds:
        columns = [(column, count) for count in labels for column in design.METHODS if "methods" in args.parts]
        if "factors" in args.parts and design.FACTOR_LABELS in labels:
            columns += [(column, design.FACTOR_LABELS) for column in design.FACTORS]
        cells += [Cell(task, column, count, seed) for column, count in columns if column.name in wanted for task in tasks]
    return cells


def folder_of(args: Args, task: design.Task) -> Path:
    """Return where a task's demonstrations, networks and results lie. A trial's lie apart."""
    return Path(args.output_dir) / (task.tier if args.purpose == "test" else f"{task.tier}_trials") / task.milestone


def result_key(args: Args, cell: Cell) -> str:
    """Return the fingerprint of what a result depends on, as in `benchmarks.reference`."""
    task, recipe = cell.task, design.recipe_of(cell.column, args.length) if cell.labels else None
    training = learning_key(task.milestone, task.tier, design.NOISE)
    return play_key(training, cell.column.name, task.milestone, task.tier, args.purpose, recipe)


def kept(args: Args, cell: Cell) -> Entry:
    """Return a cell's result if it is there, in the reference's folder or our own; {} if not."""
    places = [folder_of(args, cell.task)]
    if cell.column.name in (*RECIPES, *UNTRAINED) and args.length == 1:
        places.append(Path(args.reference_dir) / places[0].relative_to(args.output_dir))
    key = result_key(args, cell)
    for path in (place / f"{cell.file}.json" for place in places):
        row = kept_result(path)
        if row.get("fingerprint") == key:
            check_kept(row, RESULT, path)
            check_entry(row, f"{path} is no result", cell.task.tier, args.purpose)
            return row
    return {}


def order_of(args: Args, cell: Cell) -> Order:
    """Return what is ordered for a cell."""
    recipe, folder = design.recipe_of(cell.column, args.length), folder_of(args, cell.task)
    return Order(cell.task.tier, cell.task.milestone, cell.column.name, cell.labels, cell.seed, recipe, folder, design.NOISE)


def make_student(args: Args, cell: Cell, should_stop: Callable[[], bool]) -> tuple[Policy, dict[str, Any]]:
    """Train a cell's student. Returns it, and what stands beside its result."""
    order, milestone, actions = order_of(args, cell), cell.task.milestone, len(GAME.buttons)
    settings = order.recipe.settings
    if "memory" not in settings and settings["network"] != "state":
        checkpoint = learn(order, should_stop)
        return make_player(cell.column.name, milestone, checkpoint), facts(order, checkpoint)
    record(order, order.labels, should_stop)
    files, count = episode_files(order.data), training_steps(order.recipe, order.labels)
    learning = {name: settings[name] for name in ("batch_size", "learning_rate")} | {"steps": count, "seed": order.seed}
    with ONE_AT_A_TIME:
        if "memory" in settings:
            network, used = train_with_memory(files, order.labels, actions, should_stop=should_stop, **learning)
            policy: Policy = RecurrentPolicy(network, deterministic=False)
        else:
            states, labels = replay(files, order.labels, BUNDLED_ROM, milestone)
            policy, used = StateStudent(train_on_states(states, labels, actions, **learning)), len(labels)
    about = {"labels": order.labels, "labels_used": used, "seed": order.seed, "gradient_steps": count}
    return policy, about | {"network": {"kind": settings.get("memory", "state")}, "recipe": order.recipe.record()}


def measure(args: Args, cell: Cell, should_stop: Callable[[], bool]) -> Entry:
    """Train a cell's student, if it has one, and play the frozen episodes. Returns what its file holds."""
    began, task, student = time.monotonic(), cell.task, dict[str, Any]()
    if cell.labels:
        policy, student = make_student(args, cell, should_stop)
    else:
        policy = make_player(cell.column.name, task.milestone, None)
    row = play_frozen(cell.column.name, policy, task.milestone, task.tier, args.purpose, should_stop) | student
    row |= {"machine": measured(), "minutes": (time.monotonic() - began) / 60}
    return row | {"fingerprint": result_key(args, cell)}


def measure_latency(args: Args) -> dict[str, Any]:
    """Label a rollout of random presses with a slow expert, in batches and one query at a time; or return what was measured."""
    path = Path(args.output_dir) / "latency.json"
    settings = [args.latency_milestone, args.latency_seconds, args.latency_concurrency, args.latency_episodes]
    key = fingerprint([*settings, args.latency_loop_steps], [BUNDLED_ROM])
    row = kept_result(path)
    if row.get("fingerprint") != key:
        student = make_player("random", args.latency_milestone, None)
        row = labelling_latency.measure(
            student, args.latency_milestone, "T1", seconds=args.latency_seconds, concurrency=args.latency_concurrency,
            episodes=args.latency_episodes, max_steps=benchmark_v1.step_limit(args.latency_milestone, "T1"),
            loop_steps=args.latency_loop_steps, unsafe=bool(steps.sandbox_flags()),
        ) | {"machine": measured(), "fingerprint": key}  # fmt: skip
        save_json(path, row)
    return row


def check_flags(args: Args) -> None:
    """Raise ValueError for flags that cannot be, and TrialOnTestError for a trial that would play the test."""
    check_bounds(args)
    if min(args.labels, default=0) < 200 or not args.seeds:
        raise ValueError("--labels and --seeds each want a value, and labels at least 200: some demonstrations are as long as that")
    steps.check_milestones([args.latency_milestone])
    registered = [column.recipe for column in design.COLUMNS.values() if column.recipe]
    for cell in cells_of(args):
        if cell.labels:
            check_trial(args.purpose, design.recipe_of(cell.column, args.length), registered)


def main(args: Args) -> int:
    check_flags(args)
    torch.set_num_threads(1)
    benchmark_v1.check()
    tasks, asked = tasks_of(args), {cell.name: cell for cell in cells_of(args)}
    for task in dict.fromkeys(cell.task for cell in asked.values()):
        claim_folder(folder_of(args, task), MARKER, learning_key(task.milestone, task.tier, design.NOISE), args.fresh)
    # What was measured with other flags of this command is in the tables, too.
    everything = Args(tasks=args.tasks, purpose=args.purpose, length=args.length)
    seeds, labels = (
        sorted({*ours, *all_of_them}) for ours, all_of_them in ((args.seeds, design.SEEDS), (args.labels, design.LABELS))
    )
    known = {cell.name: cell for cell in cells_of(everything)} | asked
    rows: dict[str, Entry] = {name: row for name, cell in known.items() if (row := kept(args, cell))}
    if latency := kept_result(Path(args.output_dir) / "latency.json"):
        check_kept(latency, labelling_latency.RESULT, Path(args.output_dir) / "latency.json")
    reported = time.monotonic()

    def work(name: str, should_stop: Callable[[], bool]) -> Entry:
        return measure(args, asked[name], should_stop)

    def report() -> str:
        nonlocal reported
        where, trial = Path(args.output_dir), "" if args.purpose == "test" else "_trials"
        text = markdown(rows, tasks, seeds, labels, args.purpose, latency)
        for tier in dict.fromkeys(task.tier for task in tasks):
            some = [row for row in rows.values() if row["tier"] == tier]
            save_results(where / f"{tier}{trial}.json", some, tier, args.purpose)
        save_text(where / f"compare{trial}.md", text)
        write_picture(rows, tasks, seeds, where / f"compare{trial}.png")
        reported = time.monotonic()
        return text

    def on_result(name: str, row: Entry) -> None:
        cell = asked[name]
        save_json(folder_of(args, cell.task) / f"{cell.file}.json", row)
        rows[name] = row
        few = ""
        if cell.labels and row["labels_used"] < LEAST_LABELS_USED * cell.labels:
            few = f", ONLY {row['labels_used']:,} LABELS: the rollouts did not use up the budget"
        done = f"{sum(name in rows for name in asked)} of {len(asked)}"
        print(f"{name}: {100 * success_rate(row):.0f} %, {row['minutes']:.1f} min{few} ({done})", flush=True)
        if time.monotonic() - reported > REPORT_SECONDS:
            report()

    run_in_parallel(work, [name for name in asked if name not in rows], args.parallel, on_result)
    if "latency" in args.parts:  # alone, after the others: it measures time
        latency = measure_latency(args)
    print(report())
    print(f"{args.output_dir}: the tables, the picture, and a file of results for each tier")
    return 0


if __name__ == "__main__":
    run_table("compare.py", lambda: main(args), args.output_dir)
