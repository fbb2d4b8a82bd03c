#!/usr/bin/env python3
"""DAgger on the whole game: students that know their own milestones learn what they meet when they are chained.

    python -m tools.chain_dagger                                          # the students that come with the bundled game
    python -m tools.chain_dagger --students dagger_pipeline_unseen --output-dir chain_dagger_unseen

In each round the students play the whole game from power-on. Where one takes too long, for example after a defeat, its expert
finishes the milestone, and the run goes on. The students that did not get on train with DAgger again: half of their episodes begin
where they took over, or were stuck. One replaces its predecessor if it is as good, or better, in other runs and worlds. Then the
next round plays. Writes the students to `{output_dir}/students`, and `rounds.json`. The same command resumes after a stop.
`play.py --students {output_dir}/students` tests them.
"""
# ruff: noqa: E402 - the flags are parsed before torch and the emulator are imported, so that --help answers at once

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from common.runtime.flag_types import Amount, AtLeastOne, Count, Few, FlagError, Seed, Share, check_bounds
from common.runtime.flags import parse_command_line, plain_flags


@dataclass
class Args:
    students: str = "tallgrass/students"
    """Folder of students to begin with: a pipeline's output folder, or one with {ID}.pth."""
    output_dir: str = "chain_dagger_results"
    """Folder for states, networks, logs and the students. Only one run at a time may use it."""
    rounds: Count = 3
    """Rounds: play the whole game, train those that did not get on. Then it is played once more."""
    train_runs: Count = 40
    """Whole games of a round to learn from."""
    choose_runs: Count = 40
    """Whole games of a round to choose networks by, and to measure the round by. On T2 they are in worlds of their own."""
    target: Share = 0.98
    """End when this share of the whole games that choose needed no expert."""
    step_factor: AtLeastOne = 3.0
    """A student may take this many times the steps that the experts take for its milestone, and 20."""
    dagger_iterations: Count = 4
    """Iterations of DAgger for a student that did not get on."""
    episodes_per_iter: Count = 100
    """Episodes of a rollout."""
    train_steps_per_iter: Count = 2000
    """Training steps of an iteration."""
    batch_size: Count = 32
    """Observations per batch."""
    learning_rate: Amount = 5e-4
    """Adam's learning rate."""
    lr_schedule: Literal["constant", "cosine"] = "cosine"
    """Keep the learning rate constant, or let it fall to 0 along a cosine in each iteration."""
    handover_share: Share = 0.5
    """Share of the episodes that begin where a student took over, or was stuck."""
    cutoff_share: Share = 0.25
    """Share of a rollout's episodes that begin where an episode of the previous rollout was cut off."""
    eval_episodes: Count = 50
    """Episodes that the best network of an iteration is chosen by, and that old and new students are compared by."""
    seed: Seed = 1
    """Seed of runs, rollouts and batches."""
    cuda: bool = True
    """Train on a GPU if there is one."""
    rom_path: str = "tallgrass/tallgrass.gb"
    """The game's ROM; it needs experts of its own."""
    num_envs: Few = 8
    """Environments that play in parallel."""
    parallel: Count = 2
    """Students that train in parallel, with one thread each."""


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see bc_pokemon.py
    args = parse_command_line(Args, __doc__)

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from agent.rescued_chain import ChainRun, rescues
from agent.students import find_students
from common.runtime.checkpoints import load_checkpoint
from common.runtime.files import atomic_write, clear_temporaries, exclusive_lock, save_json, sha256_of
from common.runtime.kept_files import read_kept
from common.runtime.main import run_main
from common.runtime.progress import ProgressReport, print_table
from common.runtime.workers import run_in_parallel
from common.statistics import rate_text
from pokemon_env.errors import PokemonEnvError
from pokemon_env.games import find_game
from pokemon_env.rom import Rom
from tools.chain_rounds import PURPOSES, Chain, play_round, train_further

MAY_CHANGE = ("rounds", "target", "num_envs", "parallel", "output_dir", "cuda")
"""Flags that a resumed command may change."""
TRAINING = {
    "dagger_iterations": "n_iterations", "episodes_per_iter": "episodes_per_iter", "train_steps_per_iter": "train_steps_per_iter",
    "batch_size": "batch_size", "learning_rate": "learning_rate", "lr_schedule": "lr_schedule", "cutoff_share": "cutoff_share",
    "cuda": "cuda",
}  # fmt: skip
"""Flags that say how a student is trained further, and dagger_pokemon.py's names for them."""


def main(args: Args) -> int:
    check_bounds(args)
    if args.handover_share + args.cutoff_share > 1:
        raise FlagError("--handover-share and --cutoff-share are more than 1 together; lower one of them")
    rom = Rom.read(args.rom_path)
    game = find_game(rom)
    if game.policy_dir is None or not game.milestones:
        raise FlagError(f"{args.rom_path} ({game.name}) brings no experts of its own, and they finish what a student does not")
    students = find_students(Path(args.students), [milestone.id for milestone in game.milestones])
    contents = [load_checkpoint(path) for path in students.values()]
    places = {(content.get("tier"), content.get("worlds")) for content in contents}
    if len(places) > 1:
        raise FlagError(f"{args.students}: its students were trained on different tiers or worlds; name those of one pipeline")
    tier, worlds = next(iter(places))
    output = Path(args.output_dir)
    chain = Chain(
        output, game, rom, args.rom_path, tier, worlds, args.seed, args.train_runs, args.choose_runs, args.step_factor,
        args.eval_episodes, args.handover_share, args.num_envs, {ours: getattr(args, mine) for mine, ours in TRAINING.items()},
    )  # fmt: skip
    with exclusive_lock(output / ".lock"):
        settings = {key: value for key, value in plain_flags(args).items() if key not in MAY_CHANGE}
        settings |= {"students": {name: sha256_of(path) for name, path in students.items()}, "rom_sha256": rom.header.sha256}
        check_settings(output / "settings.json", settings)
        clear_temporaries(output)
        return play_and_train(args, chain, students)


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write what a folder is made with. Raises FlagError if it was begun with something else."""
    settings = json.loads(json.dumps(settings))
    before = read_kept(path, {}, "put back the file that was there, or choose another --output-dir")
    before = settings if before is None else before
    if before != settings:
        changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
        raise FlagError(f"{path.parent} was begun with other {', '.join(changed)}; give them as they were, or another --output-dir")
    save_json(path, settings)


def play_and_train(args: Args, chain: Chain, students: dict[str, Path]) -> int:
    """Play and train, round after round, and play once more."""
    history: list[dict[str, Any]] = []
    torch.set_num_threads(1)
    for number in range(1, args.rounds + 2):
        games = play_round(chain, number, students)
        unaided = {purpose: sum(not run["rescued"] for run in games[purpose]) for purpose in PURPOSES}
        print(f"round {number}: {rate_text(unaided['choose'], args.choose_runs)} whole games to choose by needed no expert")
        stuck = rescues([ChainRun(**run) for purpose in PURPOSES for run in games[purpose]])
        done = unaided["choose"] >= args.target * args.choose_runs or number > args.rounds
        weak = [] if done else [name for name, _ in stuck.most_common()]  # the weakest first
        trained = train_all(args, chain, number, students, games["limits"], weak) if weak else {}
        students |= {name: Path(row["student"]) for name, row in trained.items()}
        print_table(round_table(number, games, trained, chain.milestones))
        history.append({"round": number, "unaided": unaided, "stuck": dict(stuck), "trained": trained})
        save_json(chain.output / "rounds.json", history)
        for name, path in students.items():
            with atomic_write(chain.output / "students" / f"{name}.pth") as temporary:
                shutil.copyfile(path, temporary)
        if done:
            break
    print(f"to test them: python play.py --n-runs 120 --students {chain.output / 'students'}")
    return 0


def train_all(
    args: Args, chain: Chain, number: int, students: Mapping[str, Path], limits: Mapping[str, int], names: list[str]
) -> dict[str, dict[str, Any]]:
    """Train these milestones' students further. Returns milestone -> the result of `train_further`."""
    trained: dict[str, dict[str, Any]] = {}
    with ProgressReport(f"round {number}, students", len(names)) as report:

        def keep(name: str, row: dict[str, Any]) -> None:
            trained[name] = row
            report.update(len(trained))

        run_in_parallel(
            lambda name, should_stop: train_further(chain, number, name, students[name], limits[name], should_stop),
            names, args.parallel, keep,
        )  # fmt: skip
    return trained


def round_table(number: int, games: Mapping[str, Any], trained: Mapping[str, dict[str, Any]], milestones: list[str]) -> Table:
    """Return a table of the milestones at which students did not get on, and of what training them further brought."""
    table = Table("milestone", "limit", "stuck, train", "stuck, choose", "before", "after", title=f"round {number}")
    counts = [rescues([ChainRun(**run) for run in games[purpose]]) for purpose in PURPOSES]
    for name in milestones:
        if any(count[name] for count in counts):
            row = trained.get(name)
            cells = ["", ""] if row is None else [f"{row[key]}/{row['episodes']}" for key in ("before", "after")]
            table.add_row(name, str(games["limits"][name]), *(str(count[name]) for count in counts), *cells)
    return table


if __name__ == "__main__":
    run_main(
        "chain_dagger.py", lambda: main(args), errors=(PokemonEnvError, ValueError),
        interrupted="stopped; to resume, run the same command again",
    )  # fmt: skip
