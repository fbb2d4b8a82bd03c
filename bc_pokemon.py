#!/usr/bin/env python3
"""Behavioural cloning: a network learns to press the buttons that an expert pressed, from pictures of the screen.

    python collect_expert_data.py --milestone RIVAL_HOUSE
    python bc_pokemon.py --milestone RIVAL_HOUSE --total-steps 2000 --eval-frequency 500
    python bc_pokemon.py --milestone RIVAL_HOUSE --eval-episodes 0 --patience 5   # until the validation loss rises
    python bc_pokemon.py --resume-from models/bc_pokemon_last.pth                 # resume where it stopped
    python bc_pokemon.py --eval-only --resume-from models/bc_pokemon_best.pth     # evaluate on held-out starts, and film

Writes `{model_dir}/{exp_name}_best.pth`, `_{step}.pth`, `_final.pth` and `_last.pth`, and logs to
`runs/{exp_name}_{seed}_{time}/`.
"""
# ruff: noqa: E402 - the flags are parsed before torch and the emulator are imported, so that --help answers at once

from __future__ import annotations

import os
from dataclasses import dataclass

from cloning.flags import NOT_EVALUATED, PlayFlags
from common.flag_groups import CloningFlags, EvaluationFlags, GameFlags, LabelSetFlags, NetworkFlags, RunFlags
from common.runtime.flag_types import Count, CountOrZero, Free, Positive
from common.runtime.flags import changed_flags, parse_flags, resume_command


# PlayFlags brings GameFlags and EvaluationFlags with it; named again, they keep their places in --help.
@dataclass
class Args(PlayFlags, RunFlags, GameFlags, CloningFlags, LabelSetFlags, NetworkFlags, EvaluationFlags):
    exp_name: Free[str] = "bc_pokemon"
    """Name of the experiment: checkpoints and the run's folder begin with it."""
    total_steps: Free[Count] = 100000
    """Training steps, each on one batch."""
    random_shift: CountOrZero = 0
    """Augmentation: shift each observation at random by up to this many pixels (4 is usual). 0 for none."""
    change_weight: Positive = 1.0
    """Weight in the loss of steps whose label differs from the one before; more than 1 counters repeating buttons."""
    save_frequency: Free[CountOrZero] = 10000
    """Steps between the checkpoints that are kept, `{exp_name}_{step}.pth`. 0 for none."""
    eval_frequency: Free[CountOrZero] = 5000
    """Steps between evaluations (validation, and play). 0 for none."""
    max_steps: Free[Count | None] = None
    """Steps after which an evaluation's episode is cut off. None takes the milestone's from --milestone-config, and for a game
    without milestones 400."""


def parse_args() -> Args:
    """Parse the command line; with --resume-from, flags that are not given are taken from the checkpoint."""
    return parse_flags(Args, "bc_pokemon.py", __doc__, not_evaluated=NOT_EVALUATED, algorithm="bc")


if __name__ == "__main__":
    # Before torch is imported, which parse_args does to read a checkpoint. Waiting threads sleep: spinning on cores that
    # others need made training three times slower. Large pages for tensors save page faults: a quarter faster on a CPU.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    args = parse_args()

import time
from typing import Any

from cloning.batches import Batches
from cloning.data import CloningData, load_cloning_data, say_what_is_held_out
from cloning.eval_only import evaluate_checkpoint
from cloning.evaluation import check_game, evaluate_network, open_evaluator, where_learned
from cloning.parts import Parts, load_state_of_training
from cloning.progress import Progress, what_changed
from common.demonstrations import say_which_tier, select_episodes
from common.learner import Learner, check_finite
from common.networks import network_arguments
from common.results import print_results
from common.runtime.checkpoints import check_fits
from common.runtime.flag_types import FlagError
from common.runtime.main import Stopped, exit_code, run_main
from common.runtime.progress import ProgressReport
from common.runtime.run import TrainingRun
from common.selection import is_better, say_what_judged_the_best
from pokemon_env.errors import PokemonEnvError


def main(args: Args) -> dict[str, Any]:
    """Train (or only evaluate). Returns the run's name, the last step, and the records of the best and last network."""
    if args.eval_only:
        return evaluate_checkpoint(args, args, max_steps=args.max_steps)
    if args.patience and not args.eval_frequency:
        raise FlagError("--patience counts evaluations, but --eval-frequency 0 makes none: raise it, or give --patience 0")
    if args.change_weight != 1 and args.spread_labels > 1:
        raise FlagError("--change-weight compares a label with the one before, which --spread-labels leaves out: give one of them")
    with TrainingRun(args, "bc") as run:
        return clone(args, run)


def clone(args: Args, run: TrainingRun) -> dict[str, Any]:
    """Run the loop of behavioural cloning: evaluate, save, imitate the expert on one batch, log."""
    parts = set_up(args, run)
    learner, progress = parts.learner, parts.progress
    began, first_step = time.monotonic(), progress.step
    with ProgressReport("training", args.total_steps, start=progress.step) as report:
        while True:
            # Evaluate: validation, and play. The best network so far is kept
            if is_evaluated(args, progress):
                evaluate(args, run, parts, report)

            # Save what training is resumed from. After a signal during the last evaluation, the resumed run evaluates again
            finished = progress.is_done(args.total_steps, args.patience) and not is_evaluated(args, progress)
            ends = finished or run.stop()
            if args.save_frequency > 0 and progress.step % args.save_frequency == 0 and progress.step > first_step:
                run.write_numbered(progress.step, parts.state_of_training())
            if ends or run.last_is_due(args.last_interval):
                run.write(run.files["last"], parts.state_of_training())
            if ends:
                break

            # ALGO LOGIC: imitate the expert on one batch
            rate = learner.set_learning_rate(progress.step / args.total_steps if args.lr_schedule == "cosine" else None)
            batch = parts.batches.sample()
            optimal = batch.optimal if args.label_set else None
            metrics = learner.update(
                batch.observations, batch.actions, optimal=optimal, label_share=args.label_share, weight=batch.weight
            )
            progress.step += 1

            # Log: the metrics stay on the device until here
            progress.add(metrics)
            if progress.step % 100 == 0 or progress.step == args.total_steps:
                learner.check_finite(progress.step, run.last_good)
                means = progress.take_means()
                speed = (progress.step - first_step) / (time.monotonic() - began)
                run.log_scalars("train", means | {"learning_rate": rate, "steps_per_second": speed}, progress.step)
                report.update(progress.step, f"loss {means['bc_loss']:.4f}, accuracy {means['accuracy']:.3f}")

    run.stop.restore()
    if not finished:
        print(f"stopped at step {progress.step:,}; to resume: {resume_command('bc_pokemon.py', run.files['last'], args)}")
        return parts.results() | {"signal": run.stop.signal}
    run.write(run.files["final"], parts.finished_network())
    print_results({"best": (progress.best, run.best_file), "final": (progress.last, run.files["final"])})
    return parts.results() | {"signal": None}


def is_evaluated(args: Args, progress: Progress) -> bool:
    """Return whether the current network is due for evaluation, and has not been evaluated; the last one is, if any are."""
    step = progress.step
    if args.eval_frequency == 0 or step <= progress.evaluated_at:
        return False
    return step % args.eval_frequency == 0 or step >= args.total_steps


def evaluate(args: Args, run: TrainingRun, parts: Parts, report: ProgressReport) -> None:
    """Evaluate the network, and keep it if it is the best so far. After a signal, the resumed run does that."""
    learner, progress, step = parts.learner, parts.progress, parts.progress.step
    learner.check_finite(step, run.last_good)
    try:
        record = evaluate_network(args, args, parts, save_best=args.save_best, last=step >= args.total_steps)
    except Stopped:
        return
    check_finite(learner.network, step, record.get("val_loss", 0.0), args.learning_rate, run.last_good)
    progress.note(record)
    report.print(f"step {step:,}: {record['text']}")
    if args.save_best and is_better(record, progress.best):
        progress.best = record
        run.write(run.files["best"], parts.finished_network())
        report.print(f"step {step:,}: the best so far, saved as {run.files['best']}")


def set_up(args: Args, run: TrainingRun) -> Parts:
    """Open everything that the run works with: first what may fail, last what writes."""
    # What is learned
    files, facts = select_episodes(args.expert_data_dir, args.milestone, args.max_expert_episodes)
    say_which_tier(facts["tiers"], args.tier or facts["tier"])
    plays = args.eval_frequency > 0 and args.eval_episodes > 0
    game = check_game(args.rom_path, args.expert_data_dir, files, facts, plays)
    before = None if run.checkpoint is None else run.saved("progress", Progress)
    data = load_cloning_data(args, args, files, facts, label_set=args.label_set, seed=args.seed, device=run.device, before=before)

    # What learns it
    network = data.network
    learner = Learner(network, run.device, learning_rate=args.learning_rate, weight_decay=args.weight_decay, bf16=args.bf16)
    batches = Batches(data.train, args.batch_size, shift=args.random_shift, change_weight=args.change_weight, seed=args.seed)
    progress = restore(args, run, data, learner, batches)

    # What judges it
    evaluator, played = None, ""
    if game is not None and (game.milestones or args.video):
        evaluator, where = open_evaluator(
            args, game, facts, max_steps=args.max_steps, frame_stack=args.frame_stack, device=run.device
        )
        run.callback(evaluator.close)
        played = f"; {where}"
    elif game is not None:  # no success to count, and no film
        played = "; a game without milestones, not played"

    run.begin(progress.step)
    if evaluator is not None and args.video:
        evaluator.videos = run.videos
    if data.val_files:
        say_what_is_held_out(data.files, data.milestones, data.val_files)
    print(f"{run.name}: {data}; {run.device}, {run.threads} thread(s), from step {progress.step:,}{played}")
    about = {
        "network": network_arguments(network), "frame_stack": args.frame_stack,
        **{key: facts.get(key) for key in ("buttons", "game", "rom_sha256", "milestone")}, **where_learned(args, facts),
        "max_steps": evaluator.max_steps if evaluator is not None and evaluator.has_goal else None,
    }  # fmt: skip
    return Parts(run, data, learner, batches, progress, evaluator, about)


def restore(args: Args, run: TrainingRun, data: CloningData, learner: Learner, batches: Batches) -> Progress:
    """Restore the state of a resumed run, and print what makes it differ from an uninterrupted one.

    Returns its progress.
    """
    now = Progress.at_first(data.files, data.val_files, run.threads)
    if run.checkpoint is None:
        return now
    about = {key: data.facts[key] for key in ("buttons", "milestone")}
    check_fits(run.checkpoint, args.resume_from, network=network_arguments(data.network), **about)
    progress = load_state_of_training(run, learner, batches)
    # With a cosine schedule, the learning rate of each step depends on --total-steps.
    changes = changed_flags(args, run.flags_before, also=("total_steps",) if args.lr_schedule == "cosine" else ())
    if changes := changes + what_changed(progress, now):
        print(f"not bit-identical to an uninterrupted run: {'; '.join(changes)}")
    progress.take_over(now)
    learner.check_finite(progress.step)
    progress.best = run.best_if_there(progress.best)
    say_what_judged_the_best(progress.best, run.best_file, args, run.flags_before, run.checkpoint)
    return progress


if __name__ == "__main__":
    run_main("bc_pokemon.py", lambda: exit_code(main(args)["signal"]), errors=(PokemonEnvError,))
