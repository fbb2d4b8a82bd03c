#!/usr/bin/env python3
"""DAgger against cloning at the same number of labels, on Tallgrass-v1: how much better, and how many labels are enough?

    make compare                                                           # all of it (hours; can be stopped and goes on)
    python -m benchmarks.compare --seeds 1 --labels 250 1000               # a part of it
    python -m benchmarks.compare --parts latency                           # only what a slow expert costs

Every student gets the same number of labels (demonstrations and questions together; what the cache answers and what the expert
abstains from count) and the same number of gradient steps, and its last network plays the same test episodes: no checkpoint is
chosen by play. Students draw their buttons from their probabilities, in rollouts and in tests: one that always presses the
likeliest is stuck more often, whatever it learned from. Success means within twice the expert's steps in the same episode.
The parts: "main"
compares the methods, "enough" gives DAgger more labels and all that helps it, "latency" labels one rollout with a slow expert
in batches and one question at a time, "views" compares networks and frame stacks. Writes `{output_dir}/compare.md`, `.json`
and `.png`; each result is a file of its own, so a run that was stopped goes on.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from common.runtime.flag_types import Count, Seed, check_bounds
from common.runtime.flags import as_flags, parse_command_line

Part = Literal["main", "enough", "latency", "views"]
PARTS: tuple[Part, ...] = ("main", "enough", "latency", "views")
Method = Literal[
    "bc", "bc_noise", "dagger", "dagger_mixed", "hybrid", "dagger_random", "dagger_novelty", "dagger_disagreement", "state"
]
METHODS: tuple[Method, ...] = (
    "bc", "bc_noise", "dagger", "dagger_mixed", "hybrid", "dagger_random", "dagger_novelty", "dagger_disagreement", "state",
)  # fmt: skip


@dataclass
class Args:
    parts: tuple[Part, ...] = PARTS
    """what to measure; the report is of all that was"""
    milestones: tuple[str, ...] = ("RIVAL_HOUSE", "CLOCK_SET", "STARTER_CHOSEN", "FIRST_CATCH", "RIVAL_BATTLE_WON")
    """what is learned and played on tier T1, in one world: people, menus, grass, a battle"""
    t2_milestones: tuple[str, ...] = ("RIVAL_HOUSE", "EXIT_RIVAL_HOUSE")
    """what is learned and played on tier T2, in worlds to learn from and worlds that nobody has seen"""
    methods: tuple[Method, ...] = METHODS
    """these alone; random presses and the expert are always there"""
    labels: tuple[int, ...] = (250, 1000, 4000)
    """numbers of labels, demonstrations and questions together"""
    seeds: tuple[Seed, ...] = (1, 2, 3)
    """each has demonstrations, weights, rollouts and batches of its own"""
    noise: float = 0.2
    """probability of a random press in the noisy demonstrations; the label stays the expert's"""
    query_rate: float = 0.25
    """share of the visited states that the gated methods and their control ask about; they visit as many more"""
    enough_labels: int = 16_000
    """with so many labels DAgger is trained on every milestone with all that helps it (`ENOUGH`): are they enough?"""
    enough_seeds: tuple[Seed, ...] = (1,)
    """its seeds"""
    views_milestones: tuple[str, ...] = ("RIVAL_HOUSE", "RIVAL_BATTLE_WON")
    """where networks and frame stacks are compared, on tier T1"""
    views_labels: int = 1000
    """with how many noisy demonstrations' labels"""
    views_seeds: tuple[Seed, ...] = (1,)
    """their seeds"""
    latency_milestone: str = "RIVAL_HOUSE"
    """whose rollout is labelled by a slow expert, on tier T1"""
    latency_seconds: float = 0.25
    """how long he takes for an answer"""
    latency_concurrency: Count = 32
    """how many questions he takes at once"""
    latency_episodes: Count = 16
    """episodes of the rollout"""
    latency_loop_steps: Count = 60
    """steps of the loop that asks at each step"""
    parallel: Count = 2
    """networks that are trained at once, each with one thread"""
    output_dir: str = "results/compare"
    """folder for demonstrations, networks, tables and the picture"""
    fresh: bool = False
    """throw away what was made with other settings, another game or other code"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import math

import torch

from agent.policy_expert import find_policy
from bc_pokemon import Args as BcArgs
from benchmarks import steps as cloning
from benchmarks.compare import latency as labelling_latency
from benchmarks.compare.recipe import (
    BATCH_SIZE,
    CLEAN,
    DEMONSTRATED,
    ENOUGH,
    ENOUGH_FLAGS,
    GATED,
    ITERATIONS,
    LEARNING_RATE,
    NETWORK,
    VIEWS,
    gradient_steps,
)
from benchmarks.compare.report import markdown, what_is_complete, write_picture
from benchmarks.compare.state_student import StateStudent, replay, train_on_states
from benchmarks.folders import NUMBER, check_kept, claim_folder, fingerprint, kept_result, run_table, source_files
from benchmarks.protocol import FrozenPlay
from benchmarks.reference import TRAINING_SOURCES
from collect_expert_data import Args as CollectArgs
from common.demonstrations import count_labelled, episode_files
from common.policies import Policy
from common.runtime.checkpoints import load_checkpoint
from common.runtime.files import exclusive_lock, save_json, save_text
from common.runtime.workers import run_in_parallel
from dagger_pokemon import Args as DaggerArgs
from pokemon_env.games.tallgrass import GAME, benchmark_v1, frozen
from pokemon_env.rom import BUNDLED_ROM

MARKER = ".compare_settings"
"""A file in each milestone's folder: the folder is this benchmark's own, and what it was made with."""

ROW = {"successes": [bool], "lengths": [int], "labels": int, "labels_used": int, "minutes": NUMBER}
"""The types in a row."""
LATENCY = dict.fromkeys(
    ("expert_seconds", "concurrency", "loop_labels", "loop_seconds", "loop_rate", "labels", "batch_seconds", "batch_rate",
     "cached_asked", "cached_labels", "cached_seconds", "ratio", "ratio_with_play", "rows", "play_seconds"), NUMBER,
)  # fmt: skip
"""The types of what the latency part measures."""
TRAINERS = {"bc_pokemon.py": BcArgs, "dagger_pokemon.py": DaggerArgs}
LEAST_LABELS_USED = 0.9
"""A run that used less of its labels than this is told of."""
REPORT_SECONDS = 300
"""The tables of what is there so far are written so often."""


@dataclass(frozen=True)
class Cell:
    """One student (or random presses, or the expert) of one milestone."""

    tier: str
    milestone: str
    method: str
    labels: int = 0
    seed: Seed = 0

    @property
    def name(self) -> str:
        """`T1/CLOCK_SET/dagger250_seed1`, `T1/CLOCK_SET/expert`: its files, and its row."""
        student = f"{self.labels}_seed{self.seed}" if self.labels else ""
        return f"{self.tier}/{self.milestone}/{self.method}{student}"

    def demonstrations(self, noise: float) -> dict[float, int]:
        """Noise -> labels of such demonstrations that it needs."""
        match self.method:
            case "random" | "expert" | "dagger" | "dagger_mixed":
                return {}
            case "bc":
                return {CLEAN: self.labels}
            case "hybrid":
                return {noise: self.labels // 2}
            case method if method in GATED:
                return {CLEAN: self.labels // ITERATIONS}
            case method if method == ENOUGH:
                return {noise: self.labels // DEMONSTRATED}
        return {noise: self.labels}


def episodes_per_iteration(labels: int, milestone: str, tier: str) -> int:
    """So many episodes that `labels` are used up in ITERATIONS rollouts, if the student takes as many steps as the expert.

    Students that fail take more, and are asked about as many of them as an iteration is due.
    """
    return math.ceil(labels / ITERATIONS / frozen.mean_steps(milestone, tier))


def folder_of(args: Args, cell: Cell) -> Path:
    """Where all of the milestone's demonstrations, networks and results lie."""
    return Path(args.output_dir) / cell.tier / cell.milestone


def demonstrations_of(args: Args, cell: Cell, noise: float) -> Path:
    """Where the demonstrations with that noise lie, which all methods share."""
    return folder_of(args, cell) / f"expert_data_noise{noise:g}_seed{cell.seed}"


def training_key(args: Args, tier: str, milestone: str) -> str:
    """The fingerprint of what a milestone's demonstrations and networks depend on, as in `benchmarks.reference`: not of the
    scripts' text."""
    views = {name: as_flags(BcArgs, **flags) for name, flags in VIEWS.items()}
    settings = [tier, milestone, args.noise, args.query_rate, ITERATIONS, BATCH_SIZE, LEARNING_RATE, views]
    policy = find_policy(milestone, GAME.policy_dir)
    return fingerprint(settings, [BUNDLED_ROM, policy, *source_files(*TRAINING_SOURCES)])


def result_key(args: Args, training: str, cell: Cell) -> str:
    """The fingerprint of what a result depends on: `training_key`, the student, the test and the metric."""
    limits = frozen.limits(cell.milestone, cell.tier, "test")
    return fingerprint([training, network_name(cell) if cell.labels else "", limits], [])


def network_name(cell: Cell) -> str:
    """A student's name, without its milestone: another length of training, or another `ENOUGH`, is another student."""
    name = f"{Path(cell.name).name}_{gradient_steps(cell.labels)}steps"
    if cell.method != ENOUGH:
        return name
    return f"{name}_{fingerprint([as_flags(DaggerArgs, **ENOUGH_FLAGS), DEMONSTRATED], [])[:8]}"


def record(args: Args, cell: Cell, noise: float, labels: int, should_stop: Callable[[], bool]) -> None:
    """Record what is missing of a seed's demonstrations."""
    data = demonstrations_of(args, cell, noise)
    if data.is_dir() and sum(count_labelled(path) for path in episode_files(data)) >= labels:
        return
    flags = as_flags(
        CollectArgs, milestone=cell.milestone, tier=cell.tier, noise=noise, seed=cell.seed, n_labels=labels,
        expert_data_dir=str(data), num_envs=1, **cloning.game_flags(), **cloning.OWN_POLICIES,
    )  # fmt: skip
    log = folder_of(args, cell) / f"{data.name}.log"
    cloning.run_script("collect_expert_data.py", *flags, log=log, should_stop=should_stop)


def run_trainer(args: Args, cell: Cell, script: str, name: str, flags: dict[str, Any], should_stop: Callable[[], bool]) -> Path:
    """Train a network, or go on where it was stopped. Returns the checkpoint of the last network, and keeps only that."""
    folder = folder_of(args, cell)
    last, final = (folder / f"{name}_{which}.pth" for which in ("last", "final"))
    if not final.is_file():
        flags = flags | dict(
            milestone=cell.milestone, tier=cell.tier, seed=cell.seed, exp_name=name, model_dir=str(folder), batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE, lr_schedule="cosine", eval_frequency=0, save_best=False, video=False, num_threads=1,
            cuda=False, **cloning.game_flags(), **cloning.resuming(last),
        )  # fmt: skip
        words = as_flags(TRAINERS[script], **flags)
        cloning.run_script(script, *words, log=folder / f"{name}.log", should_stop=should_stop)
    for path in (last, *folder.glob(f"{name}_data.sqlite*")):  # hundreds of networks: what is no longer needed is gigabytes
        path.unlink(missing_ok=True)
    return final


def clone(args: Args, cell: Cell, name: str, noise: float, labels: int, steps: int, should_stop: Callable[[], bool]) -> Path:
    """Clone the first demonstrations; all labels are learned from, as none is needed to choose a network by."""
    flags = dict(
        expert_data_dir=str(demonstrations_of(args, cell, noise)), max_labels=labels, val_fraction=0, total_steps=steps,
        eval_episodes=0, save_frequency=0, **VIEWS.get(cell.method, VIEWS["bc_noise"]),
    )  # fmt: skip
    return run_trainer(args, cell, "bc_pokemon.py", name, flags, should_stop)


def dagger(args: Args, cell: Cell, name: str, should_stop: Callable[[], bool]) -> tuple[Path, int]:
    """DAgger in one of its forms. Returns the checkpoint of the last network, and the labels that it used."""
    steps, iterations, network = gradient_steps(cell.labels), ITERATIONS, NETWORK
    episodes = episodes_per_iteration(cell.labels, cell.milestone, cell.tier)
    demonstrated = cell.demonstrations(args.noise)
    demonstrations = sum(demonstrated.values())
    flags: dict[str, Any] = {"query_by": GATED.get(cell.method, "random")}  # "random" where a rollout is longer than its share
    for noise, labels in demonstrated.items():  # at most one kind
        flags |= {"expert_data_dir": str(demonstrations_of(args, cell, noise)), "max_labels": labels}
    if cell.method in (*GATED, ENOUGH):
        episodes = math.ceil(episodes / args.query_rate)
        flags["query_rate"] = args.query_rate
    if cell.method == ENOUGH:
        network = ENOUGH_FLAGS
    elif cell.method == "dagger_mixed":
        flags["beta_schedule"] = "linear"
    elif cell.method == "hybrid":
        iterations = ITERATIONS // 2
        flags["init_from"] = str(clone(args, cell, f"{name}_clone", args.noise, demonstrations, steps // 2, should_stop))
    flags |= network | dict(
        query_budget=cell.labels - demonstrations, n_iterations=iterations, train_steps_per_iter=steps // ITERATIONS,
        episodes_per_iter=episodes, max_episode_steps=benchmark_v1.step_limit(cell.milestone, cell.tier), save_iterations=False,
        stochastic_rollouts=True, answer_cache=str(folder_of(args, cell) / "answers.sqlite"), **cloning.OWN_POLICIES,
        **cloning.sandbox_flags(),
    )  # fmt: skip
    # No network is chosen by play, and the script's own evaluation is not what is reported: as short as it can be.
    flags |= dict(eval_episodes=1, best_eval_episodes=1, eval_max_steps=1)
    final = run_trainer(args, cell, "dagger_pokemon.py", name, flags, should_stop)
    return final, demonstrations + load_checkpoint(final)["labels"]["labels"]


def make_student(args: Args, cell: Cell, should_stop: Callable[[], bool]) -> tuple[Policy, int]:
    """Whoever plays in this cell, and the labels that it learned from."""
    name = network_name(cell)
    if cell.method == "state":
        files = episode_files(demonstrations_of(args, cell, args.noise))
        states, labels = replay(files, cell.labels, BUNDLED_ROM, cell.milestone)
        learning = {"steps": gradient_steps(cell.labels), "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
        return StateStudent(train_on_states(states, labels, len(GAME.buttons), seed=cell.seed, **learning)), len(labels)
    if cell.method in ("random", "expert"):
        return cloning.make_policy(cell.method, cell.milestone, None), 0
    if cell.method in ("bc", *VIEWS):
        noise, used = CLEAN if cell.method == "bc" else args.noise, cell.labels
        checkpoint = clone(args, cell, name, noise, cell.labels, gradient_steps(cell.labels), should_stop)
    else:
        checkpoint, used = dagger(args, cell, name, should_stop)
    return cloning.make_policy("bc", cell.milestone, checkpoint, deterministic=False), used


def play(args: Args, cell: Cell, policy: Policy, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """The test episodes, the same for all policies of a milestone."""
    reads_state = cell.method in ("expert", "state")
    with FrozenPlay(cell.milestone, cell.tier, "test", num_threads=1, state_in_info=reads_state) as episodes:
        result = episodes.play(policy, should_stop=should_stop)
    return {
        "successes": [episode.success for episode in result.episodes],
        "lengths": [episode.length for episode in result.episodes],
        "seeds": [episode.seed for episode in result.episodes],
    }


def cells_of(args: Args) -> list[Cell]:
    """All that the wanted parts need. One seed of everything stands before the next: what is there of a comparison that was
    stopped is of all milestones."""
    places = [*(("T1", name) for name in args.milestones), *(("T2", name) for name in args.t2_milestones)]
    cells = []
    if "main" in args.parts:
        cells += [Cell(tier, name, policy) for tier, name in places for policy in ("random", "expert")]
        for seed in args.seeds:
            for tier, name in places:
                cells += [Cell(tier, name, method, labels, seed) for labels in args.labels for method in args.methods]
    if "enough" in args.parts:
        cells += [Cell(tier, name, "expert") for tier, name in places]
        cells += [Cell(tier, name, ENOUGH, args.enough_labels, seed) for seed in args.enough_seeds for tier, name in places]
    if "views" in args.parts:
        cells += [Cell("T1", name, "expert") for name in args.views_milestones]
        cells += [
            Cell("T1", name, view, args.views_labels, seed)
            for seed in args.views_seeds
            for name in args.views_milestones
            for view in VIEWS
        ]
    if "latency" in args.parts:
        cells.append(latency_student(args))
    return sorted(dict.fromkeys(cells), key=lambda cell: cell.seed)  # sorted keeps the order of equals


def latency_student(args: Args) -> Cell:
    """The clone whose rollout is labelled by a slow expert."""
    return Cell("T1", args.latency_milestone, "bc_noise", min(args.labels), args.seeds[0])


def latency_key(args: Args, student: str) -> str:
    """The fingerprint of what the latency part measures."""
    settings = [student, args.latency_seconds, args.latency_concurrency, args.latency_episodes, args.latency_loop_steps]
    return fingerprint(settings, [])


def measure_latency(args: Args) -> dict[str, Any]:
    """Label a rollout of a clone with a slow expert, in batches and one question at a time."""
    cell = latency_student(args)
    student, _ = make_student(args, cell, cloning.never)
    return labelling_latency.measure(
        student,
        cell.milestone,
        cell.tier,
        seconds=args.latency_seconds,
        concurrency=args.latency_concurrency,
        episodes=args.latency_episodes,
        max_steps=benchmark_v1.step_limit(cell.milestone, cell.tier),
        loop_steps=args.latency_loop_steps,
        unsafe=bool(cloning.sandbox_flags()),
    )


def check_flags(args: Args) -> None:
    """Raise ValueError for flags that can't be."""
    check_bounds(args)
    if not args.labels or not args.seeds or min(*args.labels, args.enough_labels) < 2 * ITERATIONS:
        raise ValueError(f"--labels and --seeds each want a value, and labels at least {2 * ITERATIONS}, two for each iteration")
    if not 0 < args.query_rate <= 1:
        raise ValueError(f"--query-rate is {args.query_rate}, but must be more than 0 and at most 1")
    cloning.check_milestones([*args.milestones, *args.t2_milestones, *args.views_milestones, args.latency_milestone])


def main(args: Args) -> int:
    check_flags(args)
    torch.set_num_threads(1)
    benchmark_v1.check()
    output = Path(args.output_dir)
    with exclusive_lock(output / ".lock"):
        return compare(args, output)


def compare(args: Args, output: Path) -> int:
    """`main`, in a folder that nobody else works in. The report is of all parts, whichever were asked for now."""
    everything = replace(args, parts=PARTS)
    asked = {cell.name for cell in cells_of(args)}
    cells = {cell.name: cell for cell in cells_of(everything)}
    keys = {(cell.tier, cell.milestone): training_key(args, cell.tier, cell.milestone) for cell in cells.values()}
    for tier, milestone in dict.fromkeys((cells[name].tier, cells[name].milestone) for name in asked):
        claim_folder(output / tier / milestone, MARKER, keys[tier, milestone], args.fresh)
    expected = {name: result_key(args, keys[cell.tier, cell.milestone], cell) for name, cell in cells.items()}
    rows: dict[str, dict[str, Any]] = {}
    minutes_before: dict[str, float] = {}
    for name in cells:
        path = output / f"{name}.json"
        row = kept_result(path)
        if row.get("fingerprint") == expected[name]:
            check_kept(row, ROW, path)
            if not len(row["successes"]) == len(row["lengths"]) == frozen.EPISODES:
                raise ValueError(f"{path} is no result: it has not {frozen.EPISODES} episodes; remove it, and it is made again")
            rows[name] = row
        elif row:  # its network may be there, and only the test be another
            check_kept(row, {"minutes": NUMBER}, path)
            minutes_before[name] = row["minutes"]
    slow_path, slow_key = output / "latency.json", latency_key(args, expected[latency_student(args).name])
    latency: dict[str, Any] | None = kept_result(slow_path)
    if latency.get("fingerprint") != slow_key:
        latency = None
    else:
        check_kept(latency, LATENCY, slow_path)
    reported = time.monotonic()

    def work(name: str, should_stop: Callable[[], bool]) -> dict[str, Any]:
        cell, began = cells[name], time.monotonic()
        policy, used = make_student(args, cell, should_stop)
        result = play(args, cell, policy, should_stop)
        minutes = minutes_before.get(name, 0.0) + (time.monotonic() - began) / 60
        return {**asdict(cell), **result, "labels_used": used, "minutes": minutes, "fingerprint": expected[name]}

    def on_result(name: str, row: dict[str, Any]) -> None:
        save_json(output / f"{name}.json", row)
        rows[name] = row
        used = f", {row['labels_used']:,} labels" if row["labels"] else ""
        few = " (FEW: the rollouts did not use up the budget)" if row["labels_used"] < LEAST_LABELS_USED * row["labels"] else ""
        rate = 100 * sum(row["successes"]) / len(row["successes"])
        done = f"{sum(name in rows for name in asked)} of {len(asked)}"
        print(f"{name}: {rate:.0f} %{used}{few}, {row['minutes']:.1f} min ({done})", flush=True)
        if time.monotonic() - reported > REPORT_SECONDS:
            report()

    def report() -> str:
        nonlocal reported
        done = what_is_complete(args, rows)
        text = markdown(everything, rows, latency, done)
        save_json(output / "compare.json", {"args": asdict(args), "results": rows, "latency": latency})
        save_text(output / "compare.md", text)
        write_picture(args, done, output / "compare.png")
        reported = time.monotonic()
        return text

    for seed in dict.fromkeys(cell.seed for cell in cells.values()):
        todo = [name for name, cell in cells.items() if cell.seed == seed and name in asked and name not in rows]
        recordings: dict[str, tuple[Cell, float, int]] = {}
        for cell in map(cells.__getitem__, todo):
            for noise, labels in cell.demonstrations(args.noise).items():
                folder = str(demonstrations_of(args, cell, noise))
                recordings[folder] = (cell, noise, max(labels, recordings.get(folder, (cell, noise, 0))[2]))
        run_in_parallel(
            lambda folder, stop, wanted=recordings: record(args, *wanted[folder], stop),
            list(recordings),
            args.parallel,
            lambda folder, result: None,
        )
        # The longest first, so that none of them is left over at the end.
        todo.sort(key=lambda name: -cells[name].labels)
        run_in_parallel(work, todo, args.parallel, on_result)
        report()
    if "latency" in args.parts and latency is None:  # alone, after the others: it measures time
        latency = {**measure_latency(args), "fingerprint": slow_key}
        save_json(slow_path, latency)
    print(report())
    print(f"{output / 'compare.md'}, .json and .png")
    return 0


if __name__ == "__main__":
    run_table("compare.py", lambda: main(args))
