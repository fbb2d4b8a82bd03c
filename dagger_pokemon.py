#!/usr/bin/env python3
"""DAgger: the student acts, the expert labels the states it visits, and the student trains on every label collected so far.

    python dagger_pokemon.py --milestone RIVAL_HOUSE --network tiles --n-iterations 5 --train-steps-per-iter 300
    python dagger_pokemon.py --milestone RIVAL_HOUSE --expert-data-dir expert_data      # begin with demonstrations
    python dagger_pokemon.py --milestone RIVAL_HOUSE --init-from models/bc_pokemon_best.pth    # begin with a clone
    python dagger_pokemon.py --milestone RIVAL_HOUSE --query-budget 1000 --query-by novelty    # spread over the iterations
    python dagger_pokemon.py --resume-from models/dagger_pokemon_last.pth               # resume where it stopped

Writes `{model_dir}/{exp_name}_best.pth`, `_iter{N}.pth`, `_final.pth` and `_last.pth`, the data set `{exp_name}_data.sqlite`
next to them (`python -m tools.describe_data` says what it holds), and logs to `runs/{exp_name}_{seed}_{time}/`.

Ross, Gordon, Bagnell, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", 2011.
"""
# ruff: noqa: E402 - the flags are parsed before torch and the emulator are imported, so that --help answers at once

from __future__ import annotations

import os
from dataclasses import dataclass

from common.runtime.flag_types import Free
from common.runtime.flags import parse_flags, resume_command
from dagger.flags import DaggerFlags, check_flags, is_started, who_else_asks


@dataclass
class Args(DaggerFlags):
    """The flags, all of them flat; `dagger/flags.py` has DAgger's own, `common/flag_groups.py` what it shares with others."""

    exp_name: Free[str] = "dagger_pokemon"
    """Name of the experiment: checkpoints, data set and the run's folder begin with it."""


def parse_args() -> Args:
    """Parse the command line; with --resume-from, flags that are not given are taken from the checkpoint."""
    return parse_flags(Args, "dagger_pokemon.py", __doc__, algorithm="dagger")


if __name__ == "__main__":
    # Before torch is imported, which parse_args does to read a checkpoint: see bc_pokemon.py.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    args = parse_args()

import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from agent.open_expert import UNSAFE_NOTICE
from agent.oracle import LabelsWithdrawn
from common.policies import NetworkPolicy
from common.results import print_results
from common.runtime.flag_types import FlagError
from common.runtime.main import Stopped, exit_code, run_main
from common.runtime.progress import ProgressReport
from common.runtime.run import TrainingRun
from common.runtime.seeding import derive
from common.selection import is_better, play_candidate
from dagger import queries
from dagger.data import DEMONSTRATION_ITERATION
from dagger.parts import Parts
from dagger.preview import preview
from dagger.rollout import Rollout, film_of, log_rollout, roll_out, situations_of, unanswered
from dagger.set_up import set_up
from dagger.target import measure_expert, reaches_target
from pokemon_env.errors import PokemonEnvError


def main(args: Args) -> dict[str, Any]:
    """Train. Returns the run's name, its progress, and the records of the best and last network."""
    check_flags(args)
    if args.unsafe_policies:
        print(UNSAFE_NOTICE, flush=True)
    if args.preview:
        preview(args)
        return {"signal": None}
    with TrainingRun(args, "dagger") as run:
        parts = set_up(args, run)
        oracle, last = parts.labeller.oracle, run.files["last"]
        where = f"{parts.task.milestone} on {parts.task.place}; expert {oracle.identity}; {run.device}, {run.threads} thread(s)"
        print(f"{run.name}: {where}")
        if text := who_else_asks(args):
            print(text)
        try:
            with ProgressReport("training", parts.progress.steps_in_all(args), start=parts.progress.step) as report:
                dagger(args, run, parts, report)
        except Stopped:
            parts.undo_rollout()
            parts.save()
            for line in oracle.summary():
                print(line)
            print(f"stopped in iteration {parts.progress.iteration}; to resume: {resume_command('dagger_pokemon.py', last, args)}")
            return parts.results() | {"signal": run.stop.signal}
        except LabelsWithdrawn as error:  # the checkpoint stays as it was before this rollout
            parts.data.withdraw(oracle.identity, str(error))
            raise LabelsWithdrawn(
                f"{error}. Its labels in {parts.data.path} are withdrawn, and no longer trained on. Correct the policy, "
                f"and resume: {resume_command('dagger_pokemon.py', last, args)}"
            ) from error
        finally:
            run.stop.restore()
        return finish(run, parts)


def dagger(args: Args, run: TrainingRun, parts: Parts, report: ProgressReport) -> None:
    """Run DAgger: in each iteration roll out, label, aggregate, train, evaluate, save. Raises Stopped, and LabelsWithdrawn."""
    progress, data, labeller = parts.progress, parts.data, parts.labeller
    if run.checkpoint is None:
        parts.save()
    if args.target_success_rate is not None and progress.expert_success_rate is None:
        measure_expert(parts, run.stop, report)
    student = NetworkPolicy(parts.network, run.device, deterministic=not args.stochastic_rollouts, frame_stack=args.frame_stack)

    while not progress.is_done(args):  # from the phase where it was interrupted
        iteration = progress.iteration
        match progress.phase:
            case "roll out":
                parts.labels_before = labeller.state_dict()
                if parts.demonstrations and iteration == 0 and not len(data):
                    # Aggregate: demonstrations have their labels, and stand for the first rollout of a new network
                    data.add_demonstrations(*parts.demonstrations)
                    data.commit(DEMONSTRATION_ITERATION)
                    parts.training.refresh()
                if iteration > 0 or args.init_from is not None or not len(data):
                    # Roll out: the student acts; with probability beta the expert acts instead
                    rollout = roll_out(
                        data, parts.envs, student, labeller, parts.episodes(iteration), args.max_episode_steps,
                        beta=beta_of(args, iteration), iteration=iteration,
                        recorder=film_of(args.rollout_videos, parts.task.milestone, data.buttons, iteration),
                        cutoffs=parts.starts.cutoffs(iteration), should_stop=run.stop,
                    )  # fmt: skip
                    # Label: the expert labels the states that the student visited
                    label_rollout(args, run, parts, rollout, report)
                    # Aggregate: all of it becomes visible at once
                    data.commit(iteration)
                else:
                    shown = f"{len(data):,} steps of {len(parts.demonstrations[0])} demonstrations"
                    tell(args, report, "demonstrations", 0, shown)
                run.log_scalars("labels", labeller.counts.scalars(), progress.step)

            case "train":
                # Train on every label collected so far
                parts.starts.forget(iteration - 1)  # not before: a repeated rollout needs them
                train(args, run, parts, report)

            case "evaluate":
                # Evaluate: the best so far is kept
                record = evaluate(args, run, parts, report) if is_evaluated(args, iteration) else {}
                if args.save_iterations:
                    run.write_numbered(iteration, parts.finished_network(record))

        # Save: the run is resumed from here
        progress.advance()
        parts.save()
    if progress.reached_target:
        report.print(f"the target was reached in iteration {progress.iteration - 1}: training ends here")


def beta_of(args: Args, iteration: int) -> float:
    """Return the probability that the expert acts in an iteration's rollout."""
    match args.beta_schedule:
        case "first":
            return float(iteration == 0 and not is_started(args))
        case "linear":
            return 1 - iteration / args.n_iterations
        case "exponential":
            return args.beta_decay**iteration
    return 0.0


def budget_of(args: Args, iteration: int, labels: int) -> float:
    """Return how many labels an iteration may query, including those where the expert acted.

    What one iteration leaves is spread over those after it. The last one may use all that is left.

    Args:
        labels: the number of labels before the iteration.
    """
    if args.query_budget_per_iteration is not None:
        return args.query_budget_per_iteration
    if args.query_budget is None:
        return math.inf
    return math.ceil(max(args.query_budget - labels, 0) / (args.n_iterations - iteration))


def label_rollout(args: Args, run: TrainingRun, parts: Parts, rollout: Rollout, report: ProgressReport) -> None:
    """Label what a rollout visited, within the iteration's budget, and log how the student played and what it was taught.

    Nothing is committed. Raises FlagError if there is still no label at all, Stopped, and LabelsWithdrawn.
    """
    data, labeller, training, before = parts.data, parts.labeller, parts.training, parts.labels_before
    iteration, step = parts.progress.iteration, parts.progress.step
    training.refresh()
    answered = labeller.counts.answered
    budget = budget_of(args, iteration, before["labels"] - before["withdrawn"])
    acted = labeller.counts.labels - before["labels"]
    asked = label(args, parts, rollout.ids, max(budget - acted, 0), run.stop)
    labeller.check()
    if len(asked) and labeller.counts.answered == answered:
        tell(args, report, "no answers", iteration, f"the expert answered none of {len(asked):,} queries")
    training.refresh()
    if not len(training):  # the rollout is not committed, so that it is repeated with another expert
        raise FlagError(
            f"no step has a label, so there is nothing to learn ({labeller.counts}): the expert abstained everywhere (does its "
            "file in --policy-dir suit the milestone?), or --query-budget and --query-rate allow none"
        )
    text = log_rollout(run.log, data, rollout, parts.network, training, beta_of(args, iteration), step)
    if math.isfinite(budget):
        run.log.add_scalar("labels/budget_of_iteration", budget, step)
        text += f"; budget {budget:,}: {acted:,} where the expert acted, {len(asked):,} queried after it"
    tell(args, report, "rollout", iteration, text, success_rate=rollout.result.success_rate)


def label(args: Args, parts: Parts, ids: np.ndarray, budget: float, stop: Callable[[], bool]) -> np.ndarray:
    """Choose rows to query, query the expert, and put its answers into the data set. Returns the ids of the chosen rows.

    What the student sees repeatedly in one episode is queried once, unless --ask-repeats is given.

    Args:
        ids: the rows of the rollout.
        budget: the most labels to query; the labeller's own limit holds as well.
        stop: if it returns True, Stopped is raised.
    """
    data, labeller = parts.data, parts.labeller
    new = unanswered(data, ids, args.ask_repeats, args.frame_stack if parts.by_picture else None)
    count = queries.number_to_ask(len(new), args.query_rate, min(labeller.left, budget))
    seed = derive(args.seed, "queries", int(ids[0]) if len(ids) else 0)
    asked = new[queries.choose(args.query_by, parts.network, parts.training, new, count, seed)]
    for group in labeller.label_each(situations_of(data, asked, labeller.oracle.needs_frame), stop):
        data.set_answers(asked[list(group)], list(group.values()))
    return asked


def train(args: Args, run: TrainingRun, parts: Parts, report: ProgressReport) -> None:
    """Do the training steps of one iteration, or what is left of them. Raises Stopped, and DivergedError."""
    progress, learner, training = parts.progress, parts.learner, parts.training
    training.refresh()
    if not len(training):
        raise FlagError(f"{args.expert_data_dir}: no step of the demonstrations has a label; record others, or leave them out")
    first, end = progress.first_step, progress.first_step + args.train_steps_per_iter
    first_step, sums, n_summed = progress.step, {}, 0
    while progress.step < end:
        if run.stop():
            raise Stopped
        share = (progress.step - first) / args.train_steps_per_iter
        rate = learner.set_learning_rate(share if args.lr_schedule == "cosine" else None)
        # ALGO LOGIC: imitate the expert on one batch
        batch = training.sample(args.batch_size)
        optimal = batch.optimal if args.label_set else None
        metrics = learner.update(batch.observations, batch.actions, optimal=optimal, label_share=args.label_share)
        progress.step += 1

        sums = {name: value + sums.get(name, 0) for name, value in metrics.items()}
        n_summed += 1
        if progress.step % 100 == 0 or progress.step == end:
            means = {name: value.item() / n_summed for name, value in sums.items()}
            learner.check_finite(progress.step, run.last_good)
            scalars = {**means, "learning_rate": rate, "rows": len(training), "seconds": time.monotonic() - parts.began}
            run.log_scalars("train", scalars, progress.step)
            report.update(progress.step, f"loss {means['bc_loss']:.4f}, accuracy {means['accuracy']:.3f}")
            sums, n_summed = {}, 0
        if run.last_is_due(args.last_interval) and progress.step > first_step:
            parts.save()


def is_evaluated(args: Args, iteration: int) -> bool:
    """Return whether the network of an iteration is evaluated; the last one always is."""
    return iteration + 1 >= args.n_iterations or (args.eval_frequency > 0 and (iteration + 1) % args.eval_frequency == 0)


def evaluate(args: Args, run: TrainingRun, parts: Parts, report: ProgressReport) -> dict[str, Any]:
    """Play with the network, keep it if it is the best so far, and return the record. Raises Stopped."""
    progress, labeller, network = parts.progress, parts.labeller, parts.network
    iteration = progress.iteration
    record, texts = play_candidate(
        parts.evaluator, network, progress.step, progress.best, run.log, eval_episodes=args.eval_episodes,
        best_eval_episodes=args.best_eval_episodes, eval_seed=args.eval_seed, save_best=args.save_best,
        last=iteration + 1 >= args.n_iterations, should_stop=run.stop,
    )  # fmt: skip
    record |= {"step": progress.step, "iteration": iteration, "labels": labeller.counts.labels}
    text = f"{'; '.join(texts)}; {labeller.counts}"
    tell(args, report, "evaluation", iteration, text, success_rate=record["success_rate"])
    if args.target_success_rate is not None:
        target = args.target_success_rate * (progress.expert_success_rate or 0.0)
        progress.reached_target = reaches_target(target, parts.evaluator, network, record, args.eval_seed, run.stop)
    progress.last = record
    if args.save_best and is_better(record, progress.best):
        progress.best = record
        run.write(run.files["best"], parts.finished_network(record))
    return record


def finish(run: TrainingRun, parts: Parts) -> dict[str, Any]:
    """Write the last network, print how it and the best did, and return what `main` returns."""
    progress = parts.progress
    run.write(run.files["final"], parts.finished_network(progress.last or {}))
    print_results({"best": (progress.best, run.best_file), "final": (progress.last, run.files["final"])})
    print("\n".join([f"data set: {parts.data.path}; {parts.labeller.counts}", *parts.labeller.oracle.summary()]))
    return parts.results() | {"signal": None}


def tell(args: Args, report: ProgressReport, event: str, iteration: int, text: str, **facts: float) -> None:
    """Print what happened in an iteration. With --json-events, print the same as a line of JSON first."""
    if args.json_events:
        report.print(json.dumps({"event": event, "iteration": iteration, **facts, "text": text}))
    report.print(f"iteration {iteration}: {text}")


if __name__ == "__main__":
    run_main("dagger_pokemon.py", lambda: exit_code(main(args)["signal"]), errors=(PokemonEnvError,))
