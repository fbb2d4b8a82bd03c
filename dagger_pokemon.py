#!/usr/bin/env python3
"""DAgger: the student plays, the expert says what it would have done there, and the student learns from all of it.

    python dagger_pokemon.py --milestone RIVAL_HOUSE --network tiles --n-iterations 5 --train-steps-per-iter 300
    python dagger_pokemon.py --milestone RIVAL_HOUSE --expert-data-dir expert_data      # begin with demonstrations
    python dagger_pokemon.py --milestone RIVAL_HOUSE --init-from models/bc_pokemon_best.pth    # begin with a clone
    python dagger_pokemon.py --milestone RIVAL_HOUSE --query-budget 1000 --query-by novelty    # spread over the iterations
    python dagger_pokemon.py --resume-from models/dagger_pokemon_last.pth               # go on where it stopped

Writes `{model_dir}/{exp_name}_best.pth`, `_iter{N}.pth`, `_final.pth` and `_last.pth`, the data set `{exp_name}_data.sqlite`
beside them (`python -m tools.describe_data` says what it holds), and logs to `runs/{exp_name}_{seed}_{time}/`.

Ross, Gordon, Bagnell, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", 2011.
"""
# ruff: noqa: E402 - the flags are parsed before torch and the emulator are imported, so that --help answers at once

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

from common.flag_groups import DemonstrationFlags, EvaluationFlags, ExpertFlags, GameFlags, NetworkFlags, RunFlags
from common.runtime.flag_types import Bounds, Count, CountOrZero, Free, Once, Share
from common.runtime.flags import as_typed, changed_flags, not_given_again, parse_flags, resume_command


@dataclass
class Args(RunFlags, GameFlags, DemonstrationFlags, NetworkFlags, EvaluationFlags, ExpertFlags):
    exp_name: Free[str] = "dagger_pokemon"
    """Name of the experiment: checkpoints, data set and the run's folder begin with it."""
    save_iterations: Free[bool] = True
    """Keep the network of each iteration in `{exp_name}_iter{N}.pth`."""
    n_iterations: Free[Count] = 10
    """Iterations: roll out, label, train, evaluate."""
    episodes_per_iter: Count = 5
    """Episodes of a rollout."""
    max_episode_steps: Count = 1000
    """Steps after which an episode of a rollout is cut off."""
    train_steps_per_iter: Count = 10000
    """Training steps of an iteration, each on one batch of all that was labelled so far."""
    eval_frequency: Free[CountOrZero] = 1
    """Iterations between evaluations. 0 for none but the last network's."""
    eval_episodes: Free[Count] = 5
    """Episodes of play per evaluation."""
    eval_max_steps: Free[Count | None] = None
    """Steps after which an evaluation's episode is cut off. None takes the milestone's from --milestone-config."""

    # What the run begins with
    expert_data_dir: Free[str | None] = None
    """Folder with demonstrations to begin with, `episode_*.npz`. Without --init-from they stand for the first rollout."""
    init_from: Free[str | None] = None
    """Checkpoint of the same network to begin with, for example a clone's `_best.pth`."""

    # Rollouts
    beta_schedule: Literal["first", "linear", "exponential", "none"] = "first"
    """Probability that the expert acts instead of the student, in each iteration: all the time in the first one and never
    after it (not even then with demonstrations or --init-from); falling to 0 along a line; --beta-decay to the power of the
    iteration; or never."""
    beta_decay: Share = 0.5
    """For --beta-schedule exponential."""
    stochastic_rollouts: bool = False
    """In rollouts, draw the student's buttons from its probabilities instead of pressing the likeliest."""
    stochastic_eval: Free[bool] = False
    """In evaluations, too, draw the student's buttons from its probabilities; play.py finds that in the checkpoint."""
    handover_share: Share = 0.0
    """Share of the episodes, in rollouts and evaluations, that begin where the expert of the milestone before has just reached
    its goal, as in the whole game: mid-sentence if need be. Where the game draws a start, all is at rest."""
    cutoff_share: Share = 0.0
    """Share of a rollout's episodes that go on where an episode of the rollout before was cut off, as far as there are any: in
    the whole game no episode ends after a defeat or a wrong turn."""
    json_events: Once[bool] = False
    """Print each event as a line of JSON, too, for a program that started this one."""
    rollout_videos: Free[str | None] = None
    """Folder for films of the first episode of each rollout, rollout_iter{N}_ep0_{MILESTONE}.mp4. None for none."""

    # Labels
    query_budget: CountOrZero | None = None
    """Labels at most. Answers from the cache count, demonstrations don't. None for no limit."""
    query_budget_per_iteration: Count | None = None
    """Labels at most that are asked for after one rollout. Where the expert acts it is asked at every step, whatever this says;
    those labels count first. None: what is left of --query-budget, divided by the iterations left."""
    query_rate: Share = 1.0
    """Share of the states that the student visits in a rollout that are asked about (of the distinct ones, and of those where
    the expert did not act itself)."""
    query_by: Literal["random", "novelty", "disagreement"] = "novelty"
    """Which, when that is less than all: any; those farthest from what has a label, in the network's features; or those
    where the network with its dropout on agrees least with itself."""
    ask_repeats: bool = False
    """Also label what the student sees again and again in one episode, as often as it sees it; each counts as a label."""
    expert_timeout: Annotated[float, Bounds(0.01)] = 60
    """Seconds that the expert may take for one answer; a policy file gets 2 at most."""

    # Training
    label_set: bool = False
    """Learn that every button is right that the expert says is on a shortest path, instead of the one that it would press."""
    label_share: Share = 0.0
    """With --label-set, the share in the loss of the button that the expert would press: 0 leaves it to the student which one of
    the right ones it is, 1 is as without --label-set. A little keeps it from circles where an expert is not on a shortest path."""
    sampling: Literal["uniform", "deduplicated", "sqrt", "balanced"] = "balanced"
    """How rows are drawn: all alike; equal pictures with equal labels once, or as the root of their number; or once in each
    episode, so that a student that is stuck does not flood the batches."""
    button_balance: Share = 0.0
    """0 leaves the buttons' shares in the batches as they are, 1 makes them equal, between is between."""
    target_success_rate: Share | None = None
    """Stop when the lower bound of the student's success on 50 fixed seeds passes this share of the expert's. None never."""


def parse_args() -> Args:
    """Parse the command line; with --resume-from, the checkpoint's flags stand in for what was not given."""
    return parse_flags(Args, "dagger_pokemon.py", __doc__, algorithm="dagger")


if __name__ == "__main__":
    # Before torch is imported, which parse_args does to read a checkpoint: see bc_pokemon.py.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    args = parse_args()

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from agent.answer_cache import AnswerCache
from agent.labelling import MOST_AT_ONCE, Labeller
from agent.open_expert import UNSAFE_NOTICE, open_expert
from agent.oracle import LabelsWithdrawn
from common.cloning_data import say_which_tier
from common.demonstrations import limit_labels, select_episodes
from common.evaluation import Evaluator
from common.learner import Learner
from common.networks import PolicyNetwork, build_network, make_network, network_arguments
from common.policies import NetworkPolicy
from common.results import results_table
from common.runtime.checkpoints import (
    check_fits,
    load_checkpoint,
    restoring,
)
from common.runtime.flag_types import FlagError
from common.runtime.main import Stopped, StopRequest, exit_code, run_main
from common.runtime.progress import ProgressReport, print_table
from common.runtime.run import TrainingRun
from common.runtime.seeding import derive
from common.selection import check_counts, check_records, is_better, play_candidate, say_what_judged_the_best
from dagger import queries
from dagger.data import DEMONSTRATION_ITERATION, DaggerData, Status
from dagger.rollout import (
    film_of,
    log_rollout,
    pictures_tell_all,
    roll_out,
    situations_of,
    unanswered,
)
from dagger.run_data import check_not_of_another_data_set, create_data, open_data
from dagger.starts import RolloutStarts, mix_starts, share_of
from dagger.target import TARGET_EPISODES, expert_success_rate, reaches_target, target_complaint
from dagger.training_set import TrainingSet
from pokemon_env.errors import PokemonEnvError
from pokemon_env.vector_env import ThreadVectorEnv
from tasks.task import Task, find_task

MOST_HANDOVERS = 64
"""Hand-overs that are made for the rollouts of a run; later ones begin there again, with other seeds."""



@dataclass
class Progress:
    """How far a run has come; checkpoints hold it."""

    iteration: int = 0
    """The iteration that is under way."""
    phase: Literal["roll out", "train", "evaluate"] = "roll out"
    """What of it is to be done next."""
    step: int = 0
    """Training steps, of all iterations."""
    first_step: int = 0
    """Those before the iteration that is under way, which a run that goes on with another --train-steps-per-iter can't tell
    from its number."""
    rows: int = 0
    """Rows of the data set that were committed; what lies behind them is done again."""
    labels: dict[str, Any] = field(default_factory=dict)
    """What labelling has cost (`agent.labelling.LabelCounts`)."""
    expert_success_rate: float | None = None
    """Over TARGET_EPISODES episodes, where there is a target."""
    reached_target: bool = False
    best: dict[str, Any] | None = None
    """Record of the best network so far."""
    last: dict[str, Any] | None = None
    """Record of the last evaluation."""
    threads: int = 0
    cutoffs: int = 0
    """States that the next rollout may go on from, of episodes that were cut off."""

    def steps_in_all(self, args: Args) -> int:
        """Training steps of the whole run, as far as it has come and is to go."""
        done = self.first_step if self.phase == "train" else self.step
        trained = self.iteration + (self.phase == "evaluate")
        return done + max(args.n_iterations - trained, 0) * args.train_steps_per_iter

    @property
    def last_rollout(self) -> int:
        """The iteration of the last rollout that was finished."""
        return self.iteration - (self.phase == "roll out")


def beta_of(args: Args, iteration: int) -> float:
    """The probability that the expert acts in an iteration's rollout."""
    started = args.expert_data_dir is not None or args.init_from is not None
    match args.beta_schedule:
        case "first":
            return float(iteration == 0 and not started)
        case "linear":
            return 1 - iteration / args.n_iterations
        case "exponential":
            return args.beta_decay**iteration
    return 0.0


def budget_of(args: Args, iteration: int, labels: int) -> float:
    """The labels that an iteration may ask for after its rollout, less those where the expert acted; `labels` were asked for
    before the iteration. What one iteration leaves is spread over those after it, and the last may ask for all that is left.
    """
    if args.query_budget_per_iteration is not None:
        return args.query_budget_per_iteration
    if args.query_budget is None:
        return math.inf
    return math.ceil(max(args.query_budget - labels, 0) / (args.n_iterations - iteration))


def chooses(args: Args) -> bool:
    """Whether fewer rows may be asked about than a rollout brings, so that --query-by decides which."""
    return args.query_rate < 1 or args.query_budget is not None or args.query_budget_per_iteration is not None


CHOOSES_EXPERT = ("policy_dir", "unsafe_policies", "expert")
"""Flags that say who labels, and are never taken from a checkpoint."""


def what_changed(
    args: Args, before: dict[str, Any], expert: tuple[str, Any], threads: tuple[int, int], by_picture: bool
) -> list[str]:
    """What keeps a run that goes on from being the one that it was, in words.

    Args:
        before: the flags that it had.
        expert, threads: now and before.
        by_picture: whether a picture is asked about once in an episode.
    """
    spread = args.query_budget is not None and args.query_budget_per_iteration is None
    # Where something is divided by the number of iterations, that is a part of what the run learns.
    changes = changed_flags(args, before, also=("n_iterations",) if args.beta_schedule == "linear" or spread else ())
    if "query_budget_per_iteration" not in before:  # the checkpoint is older than the flag
        if by_picture:
            changes.append("the same picture could be asked about again in its episode and no longer is")
        if spread:
            changes.append("--query-budget was used up as rollouts came and is spread over the iterations left")
    for what, (now, then) in {"the expert": expert, "the number of threads": threads}.items():
        if then is not None and now != then:
            changes.append(f"{what} was {then} and is {now}")
    return changes


def check_flags(args: Args) -> None:
    """Raise FlagError for flags that can't be used, or not together, before anything slow is begun or anything written."""
    if args.expert == "code-agent":
        raise FlagError("--expert code-agent is not there yet: a language model will stand there. Take --expert policy")
    if args.query_budget == 0 and args.expert_data_dir is None and args.resume_from is None:
        raise FlagError("--query-budget 0 leaves nothing to learn from: raise it, or give demonstrations with --expert-data-dir")
    if args.handover_share + args.cutoff_share > 1:
        raise FlagError("--handover-share and --cutoff-share are more than 1 together")
    if args.query_by != "novelty" and not chooses(args):
        print(
            f"--query-by {args.query_by} changes nothing: all states are asked about, without --query-rate, --query-budget or "
            "--query-budget-per-iteration"
        )


def no_labels(labeller: Labeller) -> FlagError:
    return FlagError(
        f"no step has a label, so there is nothing to learn ({labeller.counts}): the expert abstained everywhere (does its file "
        "in --policy-dir suit the milestone?), or --query-budget and --query-rate allow none"
    )


def label(
    args: Args,
    data: DaggerData,
    ids: np.ndarray,
    network: PolicyNetwork,
    training: TrainingSet,
    labeller: Labeller,
    stop: StopRequest,
    budget: float = math.inf,
    by_picture: bool = True,
) -> np.ndarray:
    """Choose the rows that are asked about, ask, and put the answers into the data set. Returns the ids of the chosen.

    What the student sees again and again in one episode is asked once, unless --ask-repeats.

    Args:
        ids: the rows of the rollout.
        budget: labels at most, beside the labeller's own limit.
        by_picture: see `pictures_tell_all`.

    Raises Stopped if it is to stop.
    """
    new = unanswered(data, ids, args.ask_repeats, args.frame_stack if by_picture else None)
    count = queries.number_to_ask(len(new), args.query_rate, min(labeller.left, budget))
    seed = derive(args.seed, "queries", int(ids[0]) if len(ids) else 0)
    chosen = queries.choose(args.query_by, network, training, new, count, seed)
    asked = new[chosen]
    at_once = MOST_AT_ONCE * labeller.oracle.concurrency
    for start in range(0, len(asked), at_once):
        if stop():
            raise Stopped
        some = asked[start : start + at_once]
        answers = labeller.label(situations_of(data, some, labeller.oracle.needs_frame))
        data.set_answers(some, answers)
    return asked


def tell(args: Args, report: ProgressReport, event: str, iteration: int, text: str, **facts: float) -> None:
    """Print what happened in an iteration; with --json-events the same as a line of JSON before it."""
    if args.json_events:
        report.print(json.dumps({"event": event, "iteration": iteration, **facts, "text": text}))
    report.print(f"iteration {iteration}: {text}")


def main(args: Args) -> dict[str, Any]:
    """Train. Returns the run's name, how far it came, and the records of the best and last network."""
    check_flags(args)
    if args.unsafe_policies:
        print(UNSAFE_NOTICE, flush=True)
    with TrainingRun(args, "dagger") as run:
        return dagger(args, run)


def dagger(args: Args, run: TrainingRun) -> dict[str, Any]:
    """DAgger: roll out, label, aggregate, train, evaluate, save; and again."""
    parts = set_up(args, run)
    progress, labeller, data, oracle = parts.progress, parts.labeller, parts.data, parts.labeller.oracle
    task, where = parts.task, f"{run.device}, {run.threads} thread(s)"
    print(f"{run.name}: {task.milestone} on {task.place}; expert {oracle.identity}; {where}")
    labels_before = labeller.state_dict()
    try:
        with ProgressReport("training", progress.steps_in_all(args), start=progress.step) as report:
            if run.checkpoint is None:
                save(args, run, parts)
            if args.target_success_rate is not None and progress.expert_success_rate is None:
                measure_expert(args, run, parts, report)
            while progress.iteration < args.n_iterations and not progress.reached_target:
                iteration = progress.iteration

                if progress.phase == "roll out":
                    labels_before = labeller.state_dict()
                    if parts.demonstrations and iteration == 0 and not len(data):
                        # Aggregate: demonstrations have their labels, and stand for the first rollout of a new network
                        data.add_demonstrations(*parts.demonstrations)
                        data.commit(DEMONSTRATION_ITERATION)
                        parts.training.refresh()
                    if iteration > 0 or args.init_from is not None or not len(data):
                        # Roll out: the student acts, at first the expert. Label: the expert says what it would have done there
                        roll_out_and_label(args, run, parts, labels_before, report)
                        # Aggregate: all of it becomes visible at once
                        data.commit(iteration)
                    else:
                        shown = f"{len(data):,} steps of {len(parts.demonstrations[0])} demonstrations"
                        tell(args, report, "demonstrations", 0, shown)
                    run.log_scalars("labels", labeller.counts.scalars(), progress.step)
                    progress.phase, progress.first_step = "train", progress.step
                    save(args, run, parts)
                    parts.starts.forget(iteration - 1)  # not before: a rollout that is done again needs them

                if progress.phase == "train":
                    # Train on everything labelled so far
                    train(args, run, parts, report)
                    progress.phase = "evaluate"
                    save(args, run, parts)

                # Evaluate: the best so far is kept
                record = evaluate(args, run, parts, report) if is_evaluated(args, iteration) else {}
                if args.save_iterations:
                    run.write_numbered(iteration, finished_network(args, run, parts, record))
                progress.iteration, progress.phase = iteration + 1, "roll out"
                save(args, run, parts)
            if progress.reached_target:
                report.print(f"the target was reached in iteration {progress.iteration - 1}: no more is to be done")
    except Stopped:
        data.discard()
        if progress.phase == "roll out":  # the run that is resumed asks again, and counts it then
            labeller.load_state_dict(labels_before)
        save(args, run, parts)
        go_on = resume_command("dagger_pokemon.py", run.files["last"], args)
        print(f"stopped in iteration {progress.iteration}; to go on: {go_on}")
        return parts.results(run) | {"signal": run.stop.signal}
    except LabelsWithdrawn as error:  # the checkpoint stays as it was before this rollout
        data.withdraw(oracle.identity, str(error))
        raise LabelsWithdrawn(
            f"{error}. Its labels in {data.path} are withdrawn, nothing is trained on them any more. Correct the policy, and go "
            f"on: {resume_command('dagger_pokemon.py', run.files['last'], args)}"
        ) from error
    finally:
        run.stop.restore()
    run.write(run.files["final"], finished_network(args, run, parts, progress.last or {}))
    rows = {"best": (progress.best, run.best_file), "final": (progress.last, run.files["final"])}
    print_table(results_table({name: row for name, row in rows.items() if row[0]}))
    print(f"data set: {data.path}; {labeller.counts}")
    return parts.results(run) | {"signal": None}


@dataclass
class Parts:
    """What a run works with."""

    task: Task
    network: PolicyNetwork
    learner: Learner
    labeller: Labeller
    starts: RolloutStarts
    handovers: tuple[Path, ...]
    """States that episodes of rollouts begin at."""
    demonstrations: tuple[list[Path], dict[Path, int]] | None
    """Files that are to be added to a new data set, and how many steps of some; None without."""
    envs: ThreadVectorEnv
    evaluator: Evaluator
    progress: Progress
    data: DaggerData
    training: TrainingSet
    began: float
    """The moment at which the run went to work, of the monotonic clock."""

    @property
    def by_picture(self) -> bool:
        """Whether what the student sees decides the label: then it is asked about once in an episode."""
        return pictures_tell_all(self.task.game, self.task.starts.settings.get("tier"), self.network)

    def results(self, run: TrainingRun) -> dict[str, Any]:
        """What `main` returns."""
        progress = self.progress
        about = {"run_name": run.name, "iteration": progress.iteration, "best": progress.best, "last": progress.last}
        return about | {"labels": asdict(self.labeller.counts)}


def set_up(args: Args, run: TrainingRun) -> Parts:
    """Open all that the run works with: what may fail first, and what writes last."""
    data_file = Path(args.model_dir) / f"{args.exp_name}_data.sqlite"
    if run.checkpoint is None:
        check_not_of_another_data_set(data_file, run.files["last"], args.overwrite)
    init = None if args.init_from is None or run.checkpoint is not None else load_checkpoint(args.init_from)

    # What is learned
    demonstrations, facts = None, {}
    if args.expert_data_dir is not None and not run.saved("progress", Progress).get("rows"):  # else they are in the data set
        files, facts = select_episodes(args.expert_data_dir, args.milestone, args.max_expert_episodes)
        files, last_steps = limit_labels(files, args.max_labels)
        demonstrations = files, {} if last_steps is None else {files[-1]: last_steps}
    before = run.checkpoint or (facts if facts.get("tier") else init or {})
    say_which_tier(facts.get("tiers", {}), args.tier or before.get("tier"))
    task = find_task(
        args,
        learned={"milestone": facts.get("milestone") or (init or run.checkpoint or {}).get("milestone")},
        before=before, demonstrations=(args.expert_data_dir or "", facts), max_steps=args.eval_max_steps,
        policy_dir=args.policy_dir, unsafe_policies=args.unsafe_policies,
    )  # fmt: skip
    if args.handover_share and not task.starts.settings:
        raise FlagError("--handover-share: recorded states are hand-overs all of them; leave it out, or --start-states")

    # The student
    envs = task.make_envs("train", min(args.num_envs, args.episodes_per_iter))
    run.callback(envs.close)
    eval_envs = task.make_envs("choose", min(args.num_envs, max(args.eval_episodes, args.best_eval_episodes)))
    run.callback(eval_envs.close)
    network = new_network(args, task, envs.single_observation_space.shape, init)
    learner = Learner(network, run.device, learning_rate=args.learning_rate, weight_decay=args.weight_decay, bf16=args.bf16)

    # The expert. Before anything is written: a policy that can't be loaded shall leave no files behind
    oracle = run.enter(open_expert(args, task.milestone, task.game, with_optimal=args.label_set))
    oracle.start()
    cache = run.enter(AnswerCache(args.answer_cache, len(task.game.buttons))) if args.answer_cache else None
    labeller = Labeller(oracle, cache, args.query_budget)

    # Where episodes begin
    starts = RolloutStarts(
        Path(args.model_dir) / f"{args.exp_name}_starts", args.seed, args.episodes_per_iter, args.handover_share, args.cutoff_share
    )
    by_picture = pictures_tell_all(task.game, task.starts.settings.get("tier"), network)
    progress = restore_progress(args, run, task, network, labeller, starts, by_picture)
    # Still before the data set: a run that is stopped here, or by the other expert, is not in its own way
    places: dict[str, Any] = {"rom_path": args.rom_path, "num_envs": args.num_envs}
    n_handovers = min(share_of(args.episodes_per_iter * args.n_iterations, args.handover_share), MOST_HANDOVERS)
    handovers = starts.make_handovers("train", task.game, task.milestone, task.starts.settings, n_handovers, **places)
    n_handovers = share_of(args.best_eval_episodes, args.handover_share)
    eval_handovers = starts.make_handovers("choose", task.game, task.milestone, task.eval_starts.settings, n_handovers, **places)
    eval_files = task.eval_starts.files
    if eval_handovers:
        eval_files = mix_starts([None] * args.best_eval_episodes, eval_handovers, args.handover_share)

    # The data set and the logs; of a new run the data set last, which a failed start would leave in the way of the next
    buttons = list(task.game.buttons)
    if run.checkpoint is not None:
        digest = run.checkpoint.get("data_digest")
        data = open_data(data_file, args.resume_from, task.milestone, buttons, progress.rows, digest, args.overwrite)
        run.callback(data.close)
        if oracle.identity in data.withdrawn:
            raise LabelsWithdrawn(f"{data_file}: the labels of {oracle.identity} were withdrawn. {data.withdrawn[oracle.identity]}")
    run.begin(progress.step, numbered="_iter")
    if run.checkpoint is None:
        if args.overwrite:
            starts.clear(kept=(*handovers, *eval_handovers))
        about = {key: task.identity[key] for key in ("game", "rom_sha256")}
        data = create_data(data_file, args.exp_name, task.milestone, buttons, about, args.overwrite)
        run.callback(data.close)
    data.truncate(progress.rows)
    heed_withdrawals(data, labeller, progress)
    training = TrainingSet(
        data, network.preprocess, frame_stack=args.frame_stack, sampling=args.sampling, button_balance=args.button_balance,
        device=run.device, seed=args.seed,
    )  # fmt: skip
    if run.checkpoint is not None:
        with restoring(args.resume_from):
            training.load_state_dict(run.checkpoint["training_state"]["sampler"])
            learner.load_state_dict(run.checkpoint | run.checkpoint["training_state"])
        learner.check_finite(progress.step)
    evaluator = Evaluator(
        eval_envs, max_steps=task.max_steps, start_states=eval_files, device=run.device, frame_stack=args.frame_stack,
        deterministic=not args.stochastic_eval, buttons=buttons, videos=run.videos if args.video else None,
    )  # fmt: skip
    return Parts(
        task, network, learner, labeller, starts, handovers, demonstrations, envs, evaluator, progress, data, training,
        time.monotonic(),
    )  # fmt: skip


def new_network(args: Args, task: Task, screen_shape: tuple[int, ...], init: dict[str, Any] | None) -> PolicyNetwork:
    """Return the student's network: new, or with the weights of --init-from."""
    try:
        network = make_network(args.network, len(task.game.buttons), args.hidden_dim, screen_shape, args.frame_stack)
    except ValueError as error:  # screens that the network can't see
        raise FlagError(str(error)) from error
    if args.query_by == "disagreement" and chooses(args):
        queries.dropouts_of(network)  # complains now, and not after the first rollout
    if init is not None:
        check_fits(init, args.init_from, network=network_arguments(network), **task.identity)
        network.load_state_dict(build_network(init, args.init_from).state_dict())
    return network


def restore_progress(
    args: Args, run: TrainingRun, task: Task, network: PolicyNetwork, labeller: Labeller, starts: RolloutStarts, by_picture: bool
) -> Progress:
    """Return how far the run has come, and say what will not be as without the stop."""
    if run.checkpoint is None:
        return Progress(threads=run.threads)
    check_fits(run.checkpoint, args.resume_from, network=network_arguments(network), **task.identity)
    progress = Progress(**run.saved("progress", Progress))
    experts = labeller.oracle.identity, run.checkpoint.get("expert")
    missing = {name: value for name, value in not_given_again(args).items() if name in CHOOSES_EXPERT}
    if experts[1] not in (None, experts[0]) and missing:
        raise FlagError(
            f"{args.resume_from}: its run was begun with {as_typed(missing)}, and without that another expert would label; say "
            "it again, or say --policy-dir and --no-unsafe-policies as they are meant now"
        )
    threads = run.threads, progress.threads
    changes = what_changed(args, run.flags_before, experts, threads, by_picture and not args.ask_repeats)
    if args.cutoff_share and (gone := progress.cutoffs - len(starts.kept(progress.last_rollout))) > 0:
        changes.append(f"{gone} states of --cutoff-share are gone from {starts.folder}")
    if changes:
        print(f"this will not be the same bit for bit as without the stop: {'; '.join(changes)}")
    progress.best = run.best_if_there(progress.best)
    say_what_judged_the_best(progress.best, run.best_file, args, run.flags_before, run.checkpoint)
    if progress.rows > 0 and args.expert_data_dir not in (None, run.flags_before.get("expert_data_dir")):
        print(f"{args.expert_data_dir}: not read, a run takes demonstrations in when it begins; begin another for these")
    progress.threads = run.threads
    with restoring(args.resume_from):
        check_records(progress.best, progress.last)
        check_counts(iteration=progress.iteration, step=progress.step, first_step=progress.first_step, rows=progress.rows)
        check_counts(steps_of_this_iteration=progress.step - progress.first_step)
        labeller.load_state_dict(progress.labels)
    return progress


def finished_network(args: Args, run: TrainingRun, parts: Parts, record: dict[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint of a network to play with holds. Raises DivergedError if it is not finite."""
    task, step = parts.task, parts.progress.step
    parts.learner.check_finite(step, run.last_good)
    parts.data.check_in_place()
    return {
        "model_state_dict": parts.learner.state_dict()["model_state_dict"], "network": network_arguments(parts.network),
        "frame_stack": args.frame_stack, "deterministic": not args.stochastic_eval, "global_step": step, "metrics": record,
        **task.identity, **{key: task.starts.settings.get(key) for key in ("tier", "worlds")}, "max_steps": task.max_steps,
        "expert": parts.labeller.oracle.identity, "labels": asdict(parts.labeller.counts),
    }  # fmt: skip


def save(args: Args, run: TrainingRun, parts: Parts) -> None:
    """Write the checkpoint that the run is resumed from. Raises DivergedError if the network is not finite."""
    progress, data = parts.progress, parts.data
    content = finished_network(args, run, parts, progress.last or {})
    progress.rows, progress.labels = data.n_committed, parts.labeller.state_dict()
    progress.cutoffs = len(parts.starts.kept(progress.last_rollout))
    state = {key: value for key, value in parts.learner.state_dict().items() if key != "model_state_dict"}
    content |= {"data_digest": data.digest(data.n_committed), "optimizer_state_dict": state.pop("optimizer_state_dict")}
    content |= {"training_state": state | {"sampler": parts.training.state_dict()}, "progress": asdict(progress)}
    run.write(run.files["last"], content)


def heed_withdrawals(data: DaggerData, labeller: Labeller, progress: Progress) -> None:
    """Let labels that were withdrawn neither use up the budget, nor a network that has learned from them be the best so far."""
    columns = data.columns(["status", "iteration"])
    withdrawn = columns["status"] == Status.WITHDRAWN
    labeller.counts.withdrawn = int(withdrawn.sum())
    if progress.best is not None and progress.best.get("iteration", -1) <= columns["iteration"][withdrawn].max(initial=-2):
        progress.best = None


def measure_expert(args: Args, run: TrainingRun, parts: Parts, report: ProgressReport) -> None:
    """Measure the success that --target-success-rate is a share of."""
    envs, labeller, evaluator = parts.evaluator.envs, parts.labeller, parts.evaluator
    rate = expert_success_rate(
        envs, labeller.oracle, labeller.cache, evaluator.start_states, evaluator.max_steps, args.eval_seed, run.stop
    )
    parts.progress.expert_success_rate = rate
    report.print(f"the expert succeeds in {rate:.0%} of {TARGET_EPISODES} episodes")
    if complaint := target_complaint(args.target_success_rate, rate):
        report.print(complaint)


def roll_out_and_label(
    args: Args, run: TrainingRun, parts: Parts, labels_before: dict[str, Any], report: ProgressReport
) -> None:
    """Let the student play an iteration's episodes, at first with the expert's hand, and the expert label where it came to.

    Nothing is committed. Raises FlagError if there is no label at all after it, Stopped, and LabelsWithdrawn.
    """
    data, labeller, training, network = parts.data, parts.labeller, parts.training, parts.network
    iteration, step = parts.progress.iteration, parts.progress.step
    # Roll out: the student acts; with probability beta the expert acts instead
    beta = beta_of(args, iteration)
    episodes = parts.starts.episodes(iteration, parts.task.starts.files, parts.handovers)
    student = NetworkPolicy(network, run.device, deterministic=not args.stochastic_rollouts, frame_stack=args.frame_stack)
    rollout = roll_out(
        data, parts.envs, student, labeller, episodes, args.max_episode_steps, beta=beta, iteration=iteration,
        recorder=film_of(args.rollout_videos, parts.task.milestone, data.buttons, iteration),
        cutoffs=parts.starts.cutoffs(iteration), should_stop=run.stop,
    )  # fmt: skip
    # Label: the expert says what it would have done in the states that the student visited
    training.refresh()
    answered = labeller.counts.answered
    budget = budget_of(args, iteration, labels_before["labels"] - labels_before["withdrawn"])
    acted = labeller.counts.labels - labels_before["labels"]
    asked = label(args, data, rollout.ids, network, training, labeller, run.stop, max(budget - acted, 0), parts.by_picture)
    labeller.check()
    if len(asked) and labeller.counts.answered == answered:
        tell(args, report, "no answers", iteration, f"the expert answered none of {len(asked):,} queries")
    training.refresh()
    if not len(training):  # not committed, so that it is done again with another expert
        raise no_labels(labeller)
    text = log_rollout(run.log, data, rollout, network, training, beta, step)
    if math.isfinite(budget):
        run.log.add_scalar("labels/budget_of_iteration", budget, step)
        text += f"; budget {budget:,}: {acted:,} where the expert acted, {len(asked):,} asked for after it"
    tell(args, report, "rollout", iteration, text, success_rate=rollout.result.success_rate)


def train(args: Args, run: TrainingRun, parts: Parts, report: ProgressReport) -> None:
    """Do the training steps of one iteration, or what is left of them. Raises Stopped, and DivergedError."""
    progress, learner, training = parts.progress, parts.learner, parts.training
    training.refresh()
    if not len(training):
        raise FlagError(f"{args.expert_data_dir}: no step of the demonstrations has a label; record others, or leave them out")
    first, end = progress.first_step, progress.first_step + args.train_steps_per_iter
    first_step, last_saved, sums, n_summed = progress.step, time.monotonic(), {}, 0
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
        if time.monotonic() - last_saved >= args.last_interval and progress.step > first_step:
            save(args, run, parts)
            last_saved = time.monotonic()


def is_evaluated(args: Args, iteration: int) -> bool:
    """Whether the network of an iteration is evaluated; the last one always is."""
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
        run.write(run.files["best"], finished_network(args, run, parts, record))
    return record


if __name__ == "__main__":
    run_main("dagger_pokemon.py", lambda: exit_code(main(args)["signal"]), errors=(PokemonEnvError,))
