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
from common.runtime.flags import as_typed, changed_flags, not_given_again, parse_flags, plain_flags, resume_command


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
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from agent.answer_cache import AnswerCache
from agent.labelling import MOST_AT_ONCE, Labeller
from agent.open_expert import UNSAFE_NOTICE, open_expert
from agent.oracle import LabelsWithdrawn
from common.demonstrations import check_demonstrations, limit_labels, select_episodes
from common.evaluation import Evaluator
from common.learner import Learner
from common.networks import PolicyNetwork, build_network, make_network, network_arguments
from common.policies import NetworkPolicy
from common.results import results_table
from common.runtime.checkpoints import (
    CheckpointError,
    check_fits,
    check_not_behind,
    check_not_of_another_run,
    load_checkpoint,
    package_versions,
    restoring,
    save_checkpoint,
    saved_fields,
    saved_run_name,
    saved_threads,
)
from common.runtime.device import seed_everything, select_device, set_threads
from common.runtime.flag_types import FlagError
from common.runtime.logs import RunLog, finish_run, start_run
from common.runtime.main import Stopped, StopRequest, exit_code, run_main
from common.runtime.numbered_checkpoints import NumberedCheckpoints
from common.runtime.progress import ProgressReport, print_table
from common.runtime.run_names import RUNS, only_trainer, resumed_run, run_folder
from common.runtime.seeding import derive
from common.selection import check_counts, check_records, is_better, play_candidate
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
from pokemon_env.games import find_game
from pokemon_env.rom import Rom
from pokemon_env.vector_env import make_vector_env
from tasks.episode_starts import find_starts
from tasks.milestone_config import MilestoneConfigError, limits_of_game

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
        f"no step has a label, so there is nothing to learn ({labeller.counts}): the expert abstained everywhere (does his file "
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
    with ExitStack() as opened:  # closed again wherever it ends, an error before the first rollout included
        return run(args, opened)


def run(args: Args, opened: ExitStack) -> dict[str, Any]:
    """`main`; what is to be closed goes into `opened`."""
    check_flags(args)
    if args.unsafe_policies:
        print(UNSAFE_NOTICE, flush=True)
    device = select_device(args.cuda)
    seed_everything(args.seed, args.torch_deterministic)
    opened.enter_context(only_trainer(args.model_dir, args.exp_name))
    checkpoint = None if args.resume_from is None else load_checkpoint(args.resume_from)
    threads = set_threads(args.num_threads, saved_threads(checkpoint))
    init = None if args.init_from is None or checkpoint is not None else load_checkpoint(args.init_from)
    if checkpoint is not None:
        check_fits(checkpoint, args.resume_from, algorithm="dagger")
        if not {"training_state", "optimizer_state_dict", "progress"} <= checkpoint.keys():
            raise CheckpointError(f"{args.resume_from}: has only weights; training goes on from a _last.pth")
    known_name = None if checkpoint is None else saved_run_name(checkpoint, args.resume_from)
    models = {name: Path(args.model_dir) / f"{args.exp_name}_{name}.pth" for name in ("best", "last", "final")}
    data_file = Path(args.model_dir) / f"{args.exp_name}_data.sqlite"
    check_not_of_another_run(list(models.values()), known_name, args.overwrite)
    if checkpoint is not None:  # the data set would be cut off there, too
        step = checkpoint.get("global_step", 0)
        check_not_behind([models["last"], models["final"]], args.resume_from, known_name, step, args.overwrite)
    else:
        check_not_of_another_data_set(data_file, models["last"], args.overwrite)

    # The game, the milestone, and who knows how to reach it
    rom = Rom.read(args.rom_path)
    game = find_game(rom)
    files, steps_of, facts = [], {}, {}
    before = {} if checkpoint is None else saved_fields(checkpoint, args.resume_from, "progress", Progress)
    begun = before.get("rows", 0) > 0  # the demonstrations are in the data set
    if args.expert_data_dir is not None and not begun:
        files, facts = select_episodes(args.expert_data_dir, args.milestone, args.max_expert_episodes)
        files, last_steps = limit_labels(files, args.max_labels)
        steps_of = {} if last_steps is None else {files[-1]: last_steps}
    milestone = args.milestone or facts.get("milestone") or (init or checkpoint or {}).get("milestone")
    known = [entry.id for entry in game.milestones]
    if not known:
        raise FlagError(
            f"{args.rom_path} ({game.name}) has no milestones, and so no expert that could label: clone recordings of it with "
            "bc_pokemon.py, or add a module to pokemon_env/games/"
        )
    if milestone not in known:
        problem = "which milestone?" if milestone is None else f"no milestone {milestone}."
        raise FlagError(f"{args.rom_path} ({game.name}): {problem} Name one with --milestone; it has {', '.join(known)}")
    buttons = list(game.buttons)
    wanted = {"buttons": buttons, "game": game.id, "rom_sha256": rom.header.sha256, "milestone": milestone}
    check_demonstrations(args.expert_data_dir or "", facts, wanted)
    limits = {} if args.eval_max_steps else limits_of_game(args.milestone_config, game, "--eval-max-steps")
    if not args.eval_max_steps and milestone not in limits:
        raise MilestoneConfigError(f"{args.milestone_config}: has no milestone {milestone}; give --eval-max-steps")
    eval_max_steps = args.eval_max_steps or limits[milestone]
    # Where nothing is said it goes on where the demonstrations, or the clone, were made.
    before = checkpoint or (facts if facts.get("tier") else init or {})
    tier = args.tier or before.get("tier")
    worlds = args.worlds or (before.get("worlds") if tier != "T2" and tier == before.get("tier") else None)
    experts = {"policy_dir": args.policy_dir, "unsafe_policies": args.unsafe_policies}
    starts = find_starts(args, game, milestone, tier, worlds, "train", **experts)
    if args.handover_share and not starts.settings:
        raise FlagError("--handover-share: recorded states are hand-overs all of them; leave it out, or --start-states")
    eval_starts = find_starts(args, game, milestone, tier, worlds, "choose", **experts)

    # The student
    settings = {"rom_path": args.rom_path, "target_milestone": milestone, "state_in_info": False}
    try:
        envs = make_vector_env(min(args.num_envs, args.episodes_per_iter), **settings, **starts.settings)
        opened.callback(envs.close)
        n_eval = max(args.eval_episodes, args.best_eval_episodes)
        eval_envs = make_vector_env(min(args.num_envs, n_eval), **settings, **eval_starts.settings)
        opened.callback(eval_envs.close)
        screen_shape = envs.single_observation_space.shape
        network = make_network(args.network, len(buttons), args.hidden_dim, screen_shape, args.frame_stack)
    except ValueError as error:  # worlds that the tier is not played in, screens that the network can't see
        raise FlagError(str(error)) from error
    if args.query_by == "disagreement" and chooses(args):
        queries.dropouts_of(network)  # complains now, and not after the first rollout
    if init is not None:
        check_fits(init, args.init_from, network=network_arguments(network), **wanted)
        network.load_state_dict(build_network(init, args.init_from).state_dict())
    learner = Learner(network, device, learning_rate=args.learning_rate, weight_decay=args.weight_decay, bf16=args.bf16)
    student = NetworkPolicy(network, device, deterministic=not args.stochastic_rollouts, frame_stack=args.frame_stack)

    by_picture = pictures_tell_all(game, starts.settings.get("tier"), network)

    # Who labels. Before anything is written: a policy that can't be loaded shall leave no files behind
    oracle = opened.enter_context(open_expert(args, milestone, game, with_optimal=args.label_set))
    oracle.start()
    cache = opened.enter_context(AnswerCache(args.answer_cache, len(buttons))) if args.answer_cache else None
    labeller = Labeller(oracle, cache, args.query_budget)

    # The run: new, or one to go on with
    shares = {"handover_share": args.handover_share, "cutoff_share": args.cutoff_share}
    starts_folder = Path(args.model_dir) / f"{args.exp_name}_starts"
    rollout_starts = RolloutStarts(starts_folder, args.seed, args.episodes_per_iter, **shares)
    progress = Progress(threads=threads)
    if checkpoint is not None:
        check_fits(checkpoint, args.resume_from, network=network_arguments(network), **wanted)
        progress = Progress(**saved_fields(checkpoint, args.resume_from, "progress", Progress))
        flags = saved_fields(checkpoint, args.resume_from, "args", Args)
        experts = oracle.identity, checkpoint.get("expert")
        missing = {name: value for name, value in not_given_again(args).items() if name in CHOOSES_EXPERT}
        if experts[1] not in (None, oracle.identity) and missing:
            raise FlagError(
                f"{args.resume_from}: its run was begun with {as_typed(missing)}, and without that another expert would label; say "
                "it again, or say --policy-dir and --no-unsafe-policies as they are meant now"
            )
        changes = what_changed(args, flags, experts, (threads, progress.threads), by_picture and not args.ask_repeats)
        if args.cutoff_share and (gone := progress.cutoffs - len(rollout_starts.kept(progress.last_rollout))) > 0:
            changes.append(f"{gone} states of --cutoff-share are gone from {rollout_starts.folder}")
        if changes:
            print(f"this will not be the same bit for bit as without the stop: {'; '.join(changes)}")
        progress.threads = threads
        with restoring(args.resume_from):
            check_records(progress.best, progress.last)
            check_counts(iteration=progress.iteration, step=progress.step, first_step=progress.first_step, rows=progress.rows)
            check_counts(steps_of_this_iteration=progress.step - progress.first_step)
            labeller.load_state_dict(progress.labels)
    # Still before the data set: a run that is stopped here, or by the other expert, is not in its own way
    n_handovers = min(share_of(args.episodes_per_iter * args.n_iterations, args.handover_share), MOST_HANDOVERS)
    places = {"rom_path": args.rom_path, "num_envs": args.num_envs}
    handovers = rollout_starts.make_handovers("train", game, milestone, starts.settings, n_handovers, **places)
    n_handovers = share_of(args.best_eval_episodes, args.handover_share)
    eval_files = eval_starts.files
    eval_handovers = rollout_starts.make_handovers("choose", game, milestone, eval_starts.settings, n_handovers, **places)
    if eval_handovers:
        eval_files = mix_starts([None] * args.best_eval_episodes, eval_handovers, args.handover_share)
    about = {key: wanted[key] for key in ("game", "rom_sha256")}
    if checkpoint is not None:  # a run that is refused leaves its logs as they are
        digest = checkpoint.get("data_digest")
        data = open_data(data_file, args.resume_from, milestone, buttons, progress.rows, digest, args.overwrite)
        opened.callback(data.close)
        if oracle.identity in data.withdrawn:
            raise LabelsWithdrawn(f"{data_file}: the labels of {oracle.identity} were withdrawn. {data.withdrawn[oracle.identity]}")
    # Its name, and the logs: the last that may fail before what a failed start would leave in the way of the next
    name = run_folder(args.exp_name, args.seed) if known_name is None else resumed_run(known_name)
    run_name = opened.enter_context(name)
    writer = start_run(
        run_name,
        args,
        track=args.track,
        project=args.wandb_project_name,
        entity=args.wandb_entity,
        resumed_at=None if checkpoint is None else progress.step,
    )
    opened.callback(finish_run, writer, args.track)
    if checkpoint is None:
        if args.overwrite:
            rollout_starts.clear(kept=(*handovers, *eval_handovers))
        data = create_data(data_file, args.exp_name, milestone, buttons, about, args.overwrite)
        opened.callback(data.close)
    data.truncate(progress.rows)
    heed_withdrawals(data, labeller, progress)
    training = TrainingSet(
        data,
        network.preprocess,
        frame_stack=args.frame_stack,
        sampling=args.sampling,
        button_balance=args.button_balance,
        device=device,
        seed=args.seed,
    )
    if checkpoint is not None:
        with restoring(args.resume_from):
            training.load_state_dict(checkpoint["training_state"]["sampler"])
            learner.load_state_dict(checkpoint | checkpoint["training_state"])
        learner.check_finite(progress.step)
    evaluator = Evaluator(
        eval_envs,
        max_steps=eval_max_steps,
        start_states=eval_files,
        device=device,
        frame_stack=args.frame_stack,
        deterministic=not args.stochastic_eval,
        buttons=buttons,
        videos=RUNS / run_name / "videos" if args.video else None,
    )

    def save(path: Path, record: dict[str, Any] | None = None) -> None:
        """Write a checkpoint: with a record, that of a network to play with; without, one that training can go on from."""
        learner.check_finite(progress.step, models["last"] if models["last"].is_file() else args.resume_from)
        data.check_in_place()
        state = learner.state_dict()
        content = {
            "algorithm": "dagger",
            "model_state_dict": state.pop("model_state_dict"),
            "network": network_arguments(network),
            "frame_stack": args.frame_stack,
            "deterministic": not args.stochastic_eval,
            "args": plain_flags(args),
            "run_name": run_name,
            "global_step": progress.step,
            "metrics": (progress.last or {}) if record is None else record,
            **wanted,
            **{key: starts.settings.get(key) for key in ("tier", "worlds")},
            "max_steps": eval_max_steps,
            "expert": oracle.identity,
            "labels": asdict(labeller.counts),
            "versions": package_versions(),
        }
        if record is None:
            progress.rows, progress.labels = data.n_committed, labeller.state_dict()
            progress.cutoffs = len(rollout_starts.kept(progress.last_rollout))
            content["data_digest"] = data.digest(data.n_committed)
            content["optimizer_state_dict"] = state.pop("optimizer_state_dict")
            content |= {"training_state": state | {"sampler": training.state_dict()}, "progress": asdict(progress)}
        save_checkpoint(path, content)

    numbered = NumberedCheckpoints(args.model_dir, f"{args.exp_name}_iter", run_name, args.keep_last)
    where = f"tier {starts.settings['tier']}, worlds {starts.settings['worlds']}" if starts.settings else "recorded states"
    print(f"{run_name}: {milestone} on {where}; expert {oracle.identity}; {device}, {threads} thread(s)")
    stop = StopRequest()
    began = time.monotonic()
    trained = progress.iteration + (progress.phase == "evaluate")
    total = progress.first_step if progress.phase == "train" else progress.step
    total += max(args.n_iterations - trained, 0) * args.train_steps_per_iter
    labels_before = labeller.state_dict()
    try:
        with ProgressReport("training", total, start=progress.step) as report:
            if checkpoint is None:
                save(models["last"])
            if args.target_success_rate is not None and progress.expert_success_rate is None:
                rate = expert_success_rate(eval_envs, oracle, cache, eval_files, eval_max_steps, args.eval_seed, stop)
                progress.expert_success_rate = rate
                report.print(f"the expert succeeds in {rate:.0%} of {TARGET_EPISODES} episodes")
                if complaint := target_complaint(args.target_success_rate, rate):
                    report.print(complaint)
            while progress.iteration < args.n_iterations and not progress.reached_target:
                iteration = progress.iteration
                if progress.phase == "roll out":
                    labels_before = labeller.state_dict()
                    shown = iteration == 0 and files and not len(data)
                    if shown and args.init_from is None:
                        # Aggregate: demonstrations are the first iteration's rollout, with its labels
                        n_rows = data.add_demonstrations(files, steps_of)
                        data.commit(DEMONSTRATION_ITERATION)
                        tell(args, report, "demonstrations", 0, f"{n_rows:,} steps of {len(files)} demonstrations")
                    else:
                        if shown:
                            data.add_demonstrations(files, steps_of)
                            data.commit(DEMONSTRATION_ITERATION)
                            training.refresh()
                        # Roll out: the student plays, at first with the expert's hand
                        beta = beta_of(args, iteration)
                        episodes = rollout_starts.episodes(iteration, starts.files, handovers)
                        rollout = roll_out(
                            data, envs, student, labeller, episodes, args.max_episode_steps, beta=beta, iteration=iteration,
                            recorder=film_of(args.rollout_videos, milestone, buttons, iteration),
                            cutoffs=rollout_starts.cutoffs(iteration), should_stop=stop,
                        )  # fmt: skip
                        # Label: the expert says what it would have done there
                        training.refresh()
                        answered = labeller.counts.answered
                        budget = budget_of(args, iteration, labels_before["labels"] - labels_before["withdrawn"])
                        acted = labeller.counts.labels - labels_before["labels"]
                        left = max(budget - acted, 0)
                        asked = label(args, data, rollout.ids, network, training, labeller, stop, left, by_picture)
                        labeller.check()
                        if len(asked) and labeller.counts.answered == answered:
                            tell(args, report, "no answers", iteration, f"the expert answered none of {len(asked):,} queries")
                        training.refresh()
                        if not len(training):  # not committed, so that it is done again with another expert
                            raise no_labels(labeller)
                        text = log_rollout(writer, data, rollout, network, training, beta, progress.step)
                        if math.isfinite(budget):
                            writer.add_scalar("labels/budget_of_iteration", budget, progress.step)
                            text += f"; budget {budget:,}: {acted:,} where the expert acted, {len(asked):,} asked for after it"
                        # Aggregate: all of it becomes visible at once
                        data.commit(iteration)
                        tell(args, report, "rollout", iteration, text, success_rate=rollout.result.success_rate)
                    for name, value in labeller.counts.scalars().items():
                        writer.add_scalar(f"labels/{name}", value, progress.step)
                    progress.phase, progress.first_step = "train", progress.step
                    save(models["last"])
                    rollout_starts.forget(iteration - 1)  # not before: a rollout that is done again needs them

                # Train on all that was labelled so far
                if progress.phase == "train":
                    training.refresh()
                    if not train(
                        args, learner, training, progress, writer, report, began, stop, lambda: save(models["last"]), models["last"]
                    ):  # fmt: skip
                        raise Stopped
                    progress.phase = "evaluate"
                    save(models["last"])

                # Evaluate
                last, record = iteration + 1 >= args.n_iterations, None
                if last or (args.eval_frequency and (iteration + 1) % args.eval_frequency == 0):
                    record, texts = play_candidate(
                        evaluator, network, progress.step, progress.best, writer, eval_episodes=args.eval_episodes,
                        best_eval_episodes=args.best_eval_episodes, eval_seed=args.eval_seed, save_best=args.save_best,
                        last=last, should_stop=stop,
                    )  # fmt: skip
                    record |= {"step": progress.step, "iteration": iteration, "labels": labeller.counts.labels}
                    text = f"{'; '.join(texts)}; {labeller.counts}"
                    tell(args, report, "evaluation", iteration, text, success_rate=record["success_rate"])
                    if args.target_success_rate is not None:
                        target = args.target_success_rate * (progress.expert_success_rate or 0.0)
                        progress.reached_target = reaches_target(target, evaluator, network, record, args.eval_seed, stop)
                    progress.last = record
                    if args.save_best and is_better(record, progress.best):
                        progress.best = record
                        save(models["best"], record)

                # Save
                if args.save_iterations:
                    save(numbered.path(iteration), record or {})
                    numbered.written(numbered.path(iteration))
                progress.iteration, progress.phase = iteration + 1, "roll out"
                save(models["last"])
            if progress.reached_target:
                report.print(f"the target was reached in iteration {progress.iteration - 1}: no more is to be done")
        finished = True
    except Stopped:
        data.discard()
        if progress.phase == "roll out":  # whoever goes on asks again, and counts it then
            labeller.load_state_dict(labels_before)
        finished = False
        save(models["last"])
    except LabelsWithdrawn as error:  # the checkpoint stays as it was before this rollout
        data.withdraw(oracle.identity, str(error))
        raise LabelsWithdrawn(
            f"{error}. Its labels in {data_file} are withdrawn, nothing is trained on them any more. Correct the policy, and go "
            f"on: {resume_command('dagger_pokemon.py', models['last'], args)}"
        ) from error
    finally:
        stop.restore()
    results = {"run_name": run_name, "iteration": progress.iteration, "best": progress.best, "last": progress.last}
    results["labels"] = asdict(labeller.counts)
    if not finished:
        print(f"stopped in iteration {progress.iteration}; to go on: {resume_command('dagger_pokemon.py', models['last'], args)}")
        return results | {"signal": stop.signal}
    save(models["final"], progress.last or {})
    rows = {"best": (progress.best, models["best"]), "final": (progress.last, models["final"])}
    print_table(results_table({name: row for name, row in rows.items() if row[0]}))
    print(f"data set: {data_file}; {labeller.counts}")
    return results | {"signal": None}


def heed_withdrawals(data: DaggerData, labeller: Labeller, progress: Progress) -> None:
    """Let labels that were withdrawn neither use up the budget, nor a network that has learned from them be the best so far."""
    columns = data.columns(["status", "iteration"])
    withdrawn = columns["status"] == Status.WITHDRAWN
    labeller.counts.withdrawn = int(withdrawn.sum())
    if progress.best is not None and progress.best.get("iteration", -1) <= columns["iteration"][withdrawn].max(initial=-2):
        progress.best = None


def train(
    args: Args,
    learner: Learner,
    training: TrainingSet,
    progress: Progress,
    writer: RunLog,
    report: ProgressReport,
    began: float,
    stop: StopRequest,
    save: Any,
    last: Path,
) -> bool:
    """The training steps of one iteration, or what is left of them; returns False if it was told to stop before their end.

    Raises DivergedError, which names `last`, the checkpoint that `save` writes.
    """
    first, end = progress.first_step, progress.first_step + args.train_steps_per_iter
    first_step, last_saved, sums, n_summed = progress.step, time.monotonic(), {}, 0
    if not len(training):
        raise FlagError(f"{args.expert_data_dir}: no step of the demonstrations has a label; record others, or leave them out")
    while progress.step < end:
        if stop():
            return False
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
            learner.check_finite(progress.step, last)
            for name, value in means.items():
                writer.add_scalar(f"train/{name}", value, progress.step)
            writer.add_scalar("train/learning_rate", rate, progress.step)
            writer.add_scalar("train/rows", len(training), progress.step)
            writer.add_scalar("train/seconds", time.monotonic() - began, progress.step)
            report.update(progress.step, f"loss {means['bc_loss']:.4f}, accuracy {means['accuracy']:.3f}")
            sums, n_summed = {}, 0
        if time.monotonic() - last_saved >= args.last_interval and progress.step > first_step:
            save()
            last_saved = time.monotonic()
    return True


if __name__ == "__main__":
    run_main("dagger_pokemon.py", lambda: exit_code(main(args)["signal"]), errors=(PokemonEnvError,))
