#!/usr/bin/env python3
"""The reference scores of Tallgrass-v1: random presses, the expert, and behavioural cloning at several numbers of labels.

    python -m benchmarks.reference                                    # all that the table needs
    python -m benchmarks.reference --milestones CLOCK_SET --seeds 1   # a part of it
    python -m benchmarks.reference --study                            # how TRAINING_STEPS were chosen
    python -m benchmarks.reference --students dagger --labels 10000   # what DAgger makes of as many labels, for the audit's gate

For each scored milestone and seed: records demonstrations in the training worlds, clones the first 250, 1,000 and 10,000
labels of them, and plays test episodes in worlds that nobody has seen (tier T2) with the network as it is in the end, drawing
its buttons from its probabilities (a clone that always presses the likeliest one goes round in circles more often). Success
means within twice the expert's mean steps; within four times is reported as well, and the SPL where the shortest way is
defined. Writes `{output_dir}/reference.md` and `.json`. Each network's result is a file of its own, so a stopped run is
resumed by the same command, and repeats no part that is done.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from common.runtime.flag_types import Count, check_bounds
from common.runtime.flags import as_flags, parse_command_line


@dataclass
class Args:
    milestones: tuple[str, ...] = ()
    """these alone; default is the scored ones, in turn"""
    labels: tuple[int, ...] = (250, 1000, 10_000)
    """how many labels are cloned, validation's included"""
    seeds: tuple[int, ...] = (1, 2, 3)
    """each has demonstrations, weights and batches of its own"""
    students: tuple[Literal["bc", "dagger"], ...] = ("bc",)
    """who learns from the labels: the reference scores are those of cloning; what was measured of the other stays in the table"""
    tier: Literal["T1", "T2"] = "T2"
    """the tier to learn and to play in; v1's scores are those of T2"""
    noise: float = 0.2
    """probability of a random press while recording; the label stays the expert's"""
    test_episodes: Count = 50
    """test episodes of each network, of the expert and of random presses"""
    parallel: Count = 2
    """networks that are trained at once, each with one thread"""
    study: bool = False
    """only find out how long to train: validation loss and accuracy after several lengths, on three milestones"""
    output_dir: str = "results/reference"
    """folder for demonstrations, networks and tables"""
    fresh: bool = False
    """throw away what was made with other settings, another game or other code"""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import math
import re
import threading
from collections import defaultdict
from functools import partial

import numpy as np
import torch

from agent.policy_expert import find_policy
from bc_pokemon import Args as BcArgs
from benchmarks import steps as cloning
from benchmarks.folders import claim_folder, fingerprint, kept_result, run_table, source_files
from collect_expert_data import Args as CollectArgs
from common.episodes import Evaluation
from common.runtime.checkpoints import load_checkpoint
from common.runtime.files import save_json, save_text
from common.runtime.workers import run_in_parallel
from common.statistics import bootstrap_iqm
from dagger_pokemon import Args as DaggerArgs
from pokemon_env.games.tallgrass import GAME, benchmark_v1
from pokemon_env.games.tallgrass.optimal import optimal_steps
from pokemon_env.rom import BUNDLED_ROM
from tasks.episode_starts import choose_starts
from tasks.play import SeededPlay

MARKER = ".reference_settings"
"""A file in each milestone's folder: the folder is this benchmark's own, and what it was made with."""

NETWORK = "tiles"
"""The network that is cloned into."""
TRAINING_STEPS = {250: 250, 1000: 400, 10_000: 1200}
"""Training steps for so many labels; those of the next larger number serve numbers between. Chosen by the validation set
(`--study`): its accuracy is the highest there, or less than half a percent from it. Its loss is the lowest after 30, 200 and 1,200
steps: clones of few labels are too sure of themselves long before they press worse buttons."""
STUDIED = {250: (15, 30, 60, 125, 250, 500), 1000: (100, 200, 400, 800), 10_000: (600, 1200, 2400)}
STUDIED_ON = ("LEAVE_HOUSE", "STARTER_CHOSEN", "ROUTE_2")
DAGGER_ITERATIONS = 8
DAGGER_TRAINING = 2
"""DAgger trains so many times as long as a clone of as many labels: most of it before the last labels are there."""
DAGGER_QUERY_RATE = 0.25
"""The share of the visited states that DAgger asks about, drawn at random: the same number of labels comes from four times as
many episodes, and so worlds, and neighbours in an episode say much the same."""
LEARNING_RATE = 1e-3
"""It falls to 0 along a cosine, so a network is done when its training ends, and not before."""

RECORDING: dict[tuple[Path, int], threading.Lock] = defaultdict(threading.Lock)
"""Held while demonstrations are recorded: clones and DAgger of one seed share them."""
FACTORS = (benchmark_v1.SUCCESS_WITHIN, benchmark_v1.ALSO_REPORTED_WITHIN)
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
"""What decides which pictures and labels there are, and what is learned from them, beside the ROM and the policy."""


def training_steps(labels: int) -> int:
    """The length of the training for this number of labels."""
    return next((steps for size, steps in TRAINING_STEPS.items() if labels <= size), max(TRAINING_STEPS.values()))


def training_key(args: Args, milestone: str) -> str:
    """The fingerprint of what a milestone's demonstrations and networks depend on: the game, its worlds and starts, the expert,
    the network. (How it is trained is part of `result_key` and of the networks' names.)

    Not of the scripts' text: a comment there must not cost hours. Who changes what they do gives another --output-dir.
    """
    settings = [milestone, args.tier, args.noise]
    policy = find_policy(milestone, GAME.policy_dir)
    return fingerprint(settings, [BUNDLED_ROM, policy, *source_files(*TRAINING_SOURCES)])


def result_key(args: Args, training: str, milestone: str) -> str:
    """The fingerprint of what a result depends on, beside the network: the test and the metric."""
    limits = [benchmark_v1.step_limit(milestone, args.tier, factor) for factor in FACTORS]
    return fingerprint([training, args.test_episodes, limits, NETWORK, TRAINING_STEPS, LEARNING_RATE], [])


def folder_of(args: Args, milestone: str) -> Path:
    """Where a milestone's demonstrations, networks and results lie."""
    return Path(args.output_dir) / args.tier / milestone


def record(args: Args, milestone: str, seed: int, labels: int, should_stop: Callable[[], bool]) -> None:
    """Record what is missing of the demonstrations with so many labels."""
    folder = folder_of(args, milestone)
    flags = as_flags(
        CollectArgs, milestone=milestone, tier=args.tier, noise=args.noise, seed=seed, n_labels=labels, num_envs=1,
        expert_data_dir=str(folder / f"expert_data_{seed}"), **cloning.OWN_POLICIES, **cloning.game_flags(),
    )  # fmt: skip
    with RECORDING[folder, seed]:
        cloning.run_script("collect_expert_data.py", *flags, log=folder / f"collect_{seed}.log", should_stop=should_stop)


def clone(args: Args, milestone: str, seed: int, labels: int, steps: int, should_stop: Callable[[], bool]) -> Path:
    """Record what is missing of the demonstrations, and train one network for so many steps. Returns its checkpoint."""
    folder = folder_of(args, milestone)
    name = f"bc_{milestone}_{labels}_{seed}_{NETWORK}{steps}"
    last, final = (folder / f"{name}_{which}.pth" for which in ("last", "final"))
    if final.is_file():
        return final
    record(args, milestone, seed, labels, should_stop)
    flags = as_flags(
        BcArgs, milestone=milestone, exp_name=name, seed=seed, model_dir=str(folder),
        expert_data_dir=str(folder / f"expert_data_{seed}"), max_labels=labels, network=NETWORK, learning_rate=LEARNING_RATE,
        lr_schedule="cosine", total_steps=steps, eval_frequency=steps, save_best=False, eval_episodes=0, save_frequency=0,
        num_threads=1, **cloning.game_flags(), **cloning.resuming(last),
    )  # fmt: skip
    log = folder / f"train_{labels}_{seed}_{steps}.log"
    cloning.run_script("bc_pokemon.py", *flags, log=log, should_stop=should_stop)
    last.unlink()  # three times as large as the network, and of no use any more
    return final


def dagger(args: Args, milestone: str, seed: int, labels: int, steps: int, should_stop: Callable[[], bool]) -> Path:
    """Train one network with DAgger on so many labels: an iteration's share are demonstrations, the others are asked for in its
    rollouts. Returns its checkpoint."""
    folder = folder_of(args, milestone)
    demonstrations, steps = labels // DAGGER_ITERATIONS, DAGGER_TRAINING * steps
    name = f"dagger_{milestone}_{labels}_{seed}_{NETWORK}{steps}"
    last, final, data = (folder / f"{name}_{which}" for which in ("last.pth", "final.pth", "data.sqlite"))
    if final.is_file():
        return final
    record(args, milestone, seed, demonstrations, should_stop)
    visited = (labels - demonstrations) / (DAGGER_ITERATIONS - 1) / DAGGER_QUERY_RATE
    episodes = math.ceil(visited / benchmark_v1.EXPERT_STEPS[args.tier][milestone])
    flags = dict(
        milestone=milestone, tier=args.tier, exp_name=name, seed=seed, model_dir=str(folder),
        expert_data_dir=str(folder / f"expert_data_{seed}"), max_labels=demonstrations, n_iterations=DAGGER_ITERATIONS,
        episodes_per_iter=episodes, query_budget=labels - demonstrations, query_rate=DAGGER_QUERY_RATE, query_by="random",
        max_episode_steps=benchmark_v1.step_limit(milestone, args.tier), stochastic_rollouts=True, label_set=True,
        train_steps_per_iter=math.ceil(steps / DAGGER_ITERATIONS), learning_rate=LEARNING_RATE, lr_schedule="cosine",
        network=NETWORK, num_threads=1, **cloning.OWN_POLICIES, answer_cache="", save_iterations=False, video=False,
        **cloning.game_flags(), **cloning.sandbox_flags(), **cloning.resuming(last),
    )  # fmt: skip
    # No network is chosen by play: the script's own evaluation is as short as it can be.
    flags |= dict(eval_frequency=0, eval_episodes=1, best_eval_episodes=1, eval_max_steps=1, save_best=False)
    words, log = as_flags(DaggerArgs, **flags), folder / f"train_{name}.log"
    cloning.run_script("dagger_pokemon.py", *words, log=log, should_stop=should_stop)
    for path in (last, *folder.glob(f"{data.name}*")):
        path.unlink(missing_ok=True)
    return final


STUDENTS = {"bc": clone, "dagger": dagger}


def play(args: Args, milestone: str, policy: str, checkpoint: Path | None, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """The test episodes of "random", "expert" or a student; all policies play the same ones."""
    starts = choose_starts(GAME, milestone, BUNDLED_ROM, purpose="test", tier=args.tier)
    limit = benchmark_v1.step_limit(milestone, args.tier, max(FACTORS))
    with SeededPlay(
        BUNDLED_ROM, milestone, starts,
        n_episodes=args.test_episodes, seed=cloning.TEST_SEED, max_steps=limit, num_threads=1, state_in_info=True,
    ) as episodes:  # fmt: skip
        player = cloning.make_policy(policy, milestone, checkpoint, deterministic=False)
        shortest = partial(optimal_steps, milestone=milestone)
        result = episodes.play(player, should_stop=should_stop, optimal_steps=shortest)
    return score(result, benchmark_v1.step_limit(milestone, args.tier))


def score(result: Evaluation, limit: int) -> dict[str, Any]:
    """What a file holds of one policy's test episodes, which were played to four times the expert's mean steps."""
    strict = result.within(limit)
    return {
        "successes": [episode.success for episode in strict.episodes],
        "successes_4x": [episode.success for episode in result.episodes],
        "lengths": [episode.length for episode in result.episodes],
        "optimal_steps": [episode.optimal_steps for episode in result.episodes],
        "spl": strict.spl,
        "seeds": [episode.seed for episode in result.episodes],
    }


def mean(row: dict[str, Any], key: str = "successes") -> float:
    """A success rate."""
    return float(np.mean(row[key]))


def aggregate(rows: dict[str, dict[str, Any]], milestones: list[str], policy: str, seeds: tuple[int, ...], key: str) -> str:
    """IQM with its interval, in percent, of a policy over the milestones; "-" unless all of them are complete: a mean over the
    easy ones would stand beside means over all."""
    names = [[cell(milestone, policy, seed) for seed in seeds] for milestone in milestones]
    if not all(name in rows for some in names for name in some):
        return "-"
    successes = np.array([[rows[name][key] for name in some] for some in names])
    value, low, high = bootstrap_iqm(successes, np.random.default_rng([2021, len(names)]))
    return f"{100 * value:.0f} [{100 * low:.0f}, {100 * high:.0f}]"


def cell(milestone: str, policy: str, seed: int = 0) -> str:
    """The name of one result: "random", "expert", or "bc250", "dagger250" and so on with its seed."""
    return f"{milestone}/{policy}" if policy in ("random", "expert") else f"{milestone}/{policy}_seed{seed}"


def shares_of_the_expert(rows: dict[str, dict[str, Any]], milestones: list[str]) -> list[dict[str, Any]]:
    """What the audit's gate reads, as shares of the expert's success, over the seeds: that of cloning with 1,000 labels, and
    that of the better student with 10,000 (the gate asks what can be learned from them, not by which method)."""
    entries = []
    for milestone in milestones:
        entry: dict[str, Any] = {"milestone": milestone}
        for labels, students in ((1000, ("bc",)), (10_000, ("bc", "dagger"))):
            shares = {}
            for student in students:
                results = [row for name, row in rows.items() if name.startswith(f"{milestone}/{student}{labels}_")]
                if results and f"{milestone}/expert" in rows:
                    expert = mean(rows[f"{milestone}/expert"])
                    shares[student] = float(np.mean([mean(row) for row in results])) / max(expert, 1e-9)
            if shares:
                best = max(shares, key=shares.get)
                entry |= {f"relative_{labels}": shares[best], f"student_{labels}": best}
        if len(entry) > 1:
            entries.append(entry)
    return entries


def policies_of(rows: dict[str, dict[str, Any]]) -> dict[str, list[int]]:
    """The table's columns: each policy that has results, with its seeds; cloning first, by numbers of labels."""
    seeds: dict[str, set[int]] = {"random": {0}}
    found = [re.fullmatch(r".*/(bc|dagger)(\d+)_seed(\d+)", name) for name in rows]
    for student, labels, seed in sorted((match[1], int(match[2]), int(match[3])) for match in found if match):
        seeds.setdefault(f"{student}{labels}", set()).add(seed)
    return {policy: sorted(some) for policy, some in (seeds | {"expert": {0}}).items()}


def title(policy: str) -> str:
    """A policy's name in the table."""
    for student, name in (("bc", "BC"), ("dagger", "DAgger")):
        if policy.startswith(student):
            return f"{name} {int(policy.removeprefix(student)):,}"
    return policy


def markdown(args: Args, rows: dict[str, dict[str, Any]], milestones: list[str]) -> str:
    """The tables, with the command that makes them, of all that there is by now."""
    policies = policies_of(rows)
    largest = list(policies)[-2]
    lines = [
        f"| milestone | steps, 2x | {' | '.join(map(title, policies))} | SPL of {title(largest)} | of the expert |",
        "|-|-|" + "-|" * (len(policies) + 2),
    ]
    for milestone in milestones:
        cells = [milestone, str(benchmark_v1.step_limit(milestone, args.tier))]
        results = {
            policy: [rows[name] for seed in seeds if (name := cell(milestone, policy, seed)) in rows]
            for policy, seeds in policies.items()
        }
        for some in results.values():
            rates = [100 * mean(row) for row in some]
            spread = f" ({min(rates):.0f}-{max(rates):.0f})" if len(rates) > 1 else ""
            cells.append(f"{np.mean(rates):.0f}{spread}" if rates else "-")
        for policy in (largest, "expert"):
            values = [row["spl"] for row in results[policy] if row["spl"] is not None]
            cells.append(f"{np.mean(values):.2f}" if values else "-")
        lines.append(f"| {' | '.join(cells)} |")
    for key, factor in zip(("successes", "successes_4x"), FACTORS, strict=True):
        cells = [aggregate(rows, milestones, policy, tuple(seeds), key) for policy, seeds in policies.items()]
        lines.append(f"| {' | '.join([f'IQM within {factor}x', '', *cells, '', ''])} |")
    minutes = sum(row.get("minutes", 0.0) for row in rows.values())
    seeds = sorted({seed for some in policies.values() for seed in some} - {0})
    lines += [
        "",
        f"Success in percent on tier {args.tier}, over {args.test_episodes} test episodes each (in brackets the lowest and "
        f"highest of seeds {', '.join(map(str, seeds))}); IQM with 95 % bootstrap intervals over milestones, seeds and "
        f"episodes; SPL where a shortest way is defined, with people standing still. "
        f"`python -m benchmarks.reference --tier {args.tier}`, {minutes / max(args.parallel, 1):.0f} minutes with "
        f"{args.parallel} at once.",
    ]
    return "\n".join(lines) + "\n"


def study(args: Args, milestones: list[str]) -> str:
    """The table of validation losses and accuracies after trainings of several lengths, averaged over the milestones."""
    jobs = {
        f"{name} {labels} {steps}": (name, labels, steps)
        for labels in sorted(args.labels, reverse=True)
        for steps in STUDIED.get(labels, ())
        for name in milestones
    }
    results: dict[str, dict[str, float]] = {}

    def work(job: str, should_stop: Callable[[], bool]) -> dict[str, float]:
        name, labels, steps = jobs[job]
        checkpoint = load_checkpoint(clone(args, name, args.seeds[0], labels, steps, should_stop))
        return {key: checkpoint["metrics"][key] for key in ("val_loss", "val_accuracy")}

    def on_result(job: str, result: dict[str, float]) -> None:
        results[job] = result
        loss, accuracy = result["val_loss"], result["val_accuracy"]
        print(f"{job}: validation loss {loss:.4f}, accuracy {accuracy:.4f} ({len(results)} of {len(jobs)})", flush=True)

    # Of one milestone only the first records: the others wait until it has.
    first = {name: next(job for job in jobs if jobs[job][0] == name) for name in milestones}
    run_in_parallel(work, list(first.values()), args.parallel, on_result)
    run_in_parallel(work, [job for job in jobs if job not in first.values()], args.parallel, on_result)
    lines = ["| labels | steps | mean validation loss | mean validation accuracy |", "|-|-|-|-|"]
    for labels in sorted({labels for _, labels, _ in jobs.values()}):
        for steps in STUDIED[labels]:
            some = [results[f"{name} {labels} {steps}"] for name in milestones]
            means = [np.mean([result[key] for result in some]) for key in ("val_loss", "val_accuracy")]
            lines.append(f"| {labels:,} | {steps:,} | {means[0]:.3f} | {100 * means[1]:.1f} % |")
    return "\n".join([*lines, "", f"`python -m benchmarks.reference --study`: {', '.join(milestones)}, seed {args.seeds[0]}."])


def main(args: Args) -> int:
    check_bounds(args)
    if min(args.labels, default=0) < 200 or not args.seeds:
        raise ValueError("--labels and --seeds each want a value, and labels at least 200: some demonstrations are as long as that")
    torch.set_num_threads(1)
    cloning.check_milestones(args.milestones)
    milestones = [name for name in cloning.milestones() if name in (args.milestones or benchmark_v1.SCORED)]
    benchmark_v1.check()
    output = Path(args.output_dir)
    keys = {name: training_key(args, name) for name in milestones}
    for name in milestones:
        claim_folder(folder_of(args, name), MARKER, keys[name], args.fresh)

    if args.study:
        print(study(args, [name for name in STUDIED_ON if name in milestones]))
        return 0

    # One seed of everything before the next: what is there of a table that was stopped is of all milestones.
    jobs = {cell(name, policy): (name, policy, 0, 0) for name in milestones for policy in ("random", "expert")}
    for seed in args.seeds:
        for name in milestones:
            for labels in sorted(args.labels, reverse=True):  # the largest first: it records for the others, too
                for student in args.students:
                    jobs[cell(name, f"{student}{labels}", seed)] = (name, student, seed, labels)
    files = {job: output / args.tier / f"{job}.json" for job in jobs}
    # What was measured with other flags of this command is in the table, too.
    tabled = [name for name in cloning.milestones() if name in benchmark_v1.SCORED or name in milestones]
    expected = {name: result_key(args, keys.get(name) or training_key(args, name), name) for name in tabled}
    rows = {}
    for name in tabled:
        for path in sorted(folder_of(args, name).glob("*.json")):
            row = kept_result(path)
            if row.get("fingerprint") == expected[name]:
                rows[f"{name}/{path.stem}"] = row

    def work(job: str, should_stop: Callable[[], bool]) -> dict[str, Any]:
        milestone, policy, seed, labels = jobs[job]
        began = time.monotonic()
        checkpoint = None
        if policy in STUDENTS:
            checkpoint = STUDENTS[policy](args, milestone, seed, labels, training_steps(labels), should_stop)
        result = play(args, milestone, policy, checkpoint, should_stop)
        return {**result, "minutes": (time.monotonic() - began) / 60, "fingerprint": expected[milestone]}

    def save() -> None:
        save_json(output / "reference.json", {"args": asdict(args), "results": rows})
        save_text(output / "reference.md", markdown(args, rows, tabled))
        save_json(output / "bc_gate.json", shares_of_the_expert(rows, tabled))

    def on_result(job: str, row: dict[str, Any]) -> None:
        save_json(files[job], row)
        rows[job] = row
        save()
        text = f"{100 * mean(row):.0f} % ({100 * mean(row, 'successes_4x'):.0f} % within 4x)"
        print(f"{job}: {text}, {row['minutes']:.1f} min ({sum(name in rows for name in jobs)} of {len(jobs)})", flush=True)

    todo = [job for job in jobs if job not in rows]
    # Of one milestone and seed only the first records: the others wait until it has.
    largest = [job for job in todo if jobs[job][3] in (0, max(args.labels))]
    run_in_parallel(work, largest, args.parallel, on_result)
    run_in_parallel(work, [job for job in todo if job not in largest], args.parallel, on_result)
    save()
    print(markdown(args, rows, tabled))
    return 0


if __name__ == "__main__":
    run_table("reference.py", lambda: main(args), args.output_dir)
