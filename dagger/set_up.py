"""How a run of DAgger is set up, or restored from its checkpoint: what may fail first, what writes last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agent.answer_cache import AnswerCache
from agent.labelling import Labeller
from agent.open_expert import open_expert
from agent.oracle import LabelsWithdrawn
from common.demonstrations import choose_labels, say_which_tier, select_episodes
from common.evaluation import Evaluator
from common.learner import Learner
from common.networks import PolicyNetwork, build_network, make_network, network_arguments
from common.runtime.checkpoints import check_fits, load_checkpoint, restoring
from common.runtime.flag_types import FlagError
from common.runtime.flags import as_typed, not_given_again
from common.runtime.run import TrainingRun
from common.selection import check_counts, check_records, say_what_judged_the_best
from dagger import queries
from dagger.data import DaggerData, Status
from dagger.flags import DaggerFlags, chooses
from dagger.parts import Demonstrations, Parts
from dagger.progress import Progress, what_changed
from dagger.rollout import pictures_tell_all
from dagger.run_data import check_not_of_another_data_set, create_data, open_data
from dagger.starts import RolloutStarts, given_handovers, mix_starts, share_of
from dagger.training_set import TrainingSet
from tasks.task import Task, find_task

MOST_HANDOVERS = 64
"""The most hand-overs that are made for a run's rollouts; later episodes begin there again, with other seeds."""
CHOOSES_EXPERT = ("policy_dir", "unsafe_policies", "expert")
"""Flags that say who labels, and are never taken from a checkpoint."""
CHOOSES_MODEL = ("expert_model", "expert_backend", "expert_base_url")
"""Those that do so for a language model."""


def set_up(args: DaggerFlags, run: TrainingRun) -> Parts:
    """Open everything that the run works with: first what may fail, last what writes."""
    data_file = Path(args.model_dir) / f"{args.exp_name}_data.sqlite"
    if run.checkpoint is None:
        check_not_of_another_data_set(data_file, run.files["last"], args.overwrite)
    init = None if args.init_from is None or run.checkpoint is not None else load_checkpoint(args.init_from)

    # What is learned
    demonstrations, facts = select_demonstrations(args, run)
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
    network = new_network(args, task, envs.single_observation_space.shape or (), init)
    learner = Learner(network, run.device, learning_rate=args.learning_rate, weight_decay=args.weight_decay, bf16=args.bf16)

    # The expert. Opened before anything is written: a policy that cannot be loaded leaves no files behind
    check_cost_limit(args, run)
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
    # Made before the data set: a run that is stopped here leaves nothing that the same command would refuse to replace
    places: dict[str, Any] = {"rom_path": args.rom_path, "num_envs": args.num_envs}
    if args.handovers is not None:
        identity = envs.envs[0].identity
        handovers = given_handovers(args.handovers, "train", identity, task.milestone)
        eval_handovers = given_handovers(args.handovers, "choose", identity, task.milestone)
    else:
        make = partial(starts.make_handovers, game=task.game, milestone=task.milestone, **places)
        n_handovers = min(share_of(args.episodes_per_iter * args.n_iterations, args.handover_share), MOST_HANDOVERS)
        handovers = make(purpose="train", settings=task.starts.settings, n_states=n_handovers)
        n_handovers = share_of(args.best_eval_episodes, args.handover_share)
        eval_handovers = make(purpose="choose", settings=task.eval_starts.settings, n_states=n_handovers)
    eval_files: Sequence[Path | None] = task.eval_starts.files
    if eval_handovers:
        eval_files = mix_starts([None] * args.best_eval_episodes, eval_handovers, args.handover_share)

    # The logs and the data set. A new run's data set comes last: one left by a failed start would stop the next start
    buttons = list(task.game.buttons)
    if run.checkpoint is not None:
        digest = run.checkpoint.get("data_digest")
        data = open_data(data_file, run.origin, task.milestone, buttons, progress.rows, digest, args.overwrite)
        run.callback(data.close)
        if oracle.identity in data.withdrawn:
            raise LabelsWithdrawn(f"{data_file}: the labels of {oracle.identity} were withdrawn. {data.withdrawn[oracle.identity]}")
    run.begin(progress.step, numbered="_iter")
    oracle.begin(run.name)
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
        with restoring(run.origin):
            training.load_state_dict(run.checkpoint["training_state"]["sampler"])
            learner.load_state_dict(run.checkpoint | run.checkpoint["training_state"])
        learner.check_finite(progress.step)
    evaluator = Evaluator(
        eval_envs, max_steps=task.max_steps, start_states=eval_files, device=run.device, frame_stack=args.frame_stack,
        deterministic=not args.stochastic_eval, buttons=buttons, videos=run.videos if args.video else None,
    )  # fmt: skip
    return Parts(
        args, run, task, network, learner, labeller, starts, handovers, demonstrations, envs, eval_envs, evaluator, progress, data,
        training, time.monotonic(),
    )  # fmt: skip


def check_cost_limit(args: DaggerFlags, run: TrainingRun) -> None:
    """Raise FlagError if a run had a limit of its cost, and is resumed without one: it would be forgotten without a word."""
    if args.expert == "code-agent" and (limit := not_given_again(args).get("max_cost")) is not None:
        raise FlagError(
            f"{run.origin}: its run was begun with --max-cost {limit:g}, which is never taken from a file; give it again, or "
            "another that is as high as no limit"
        )


def select_demonstrations(args: DaggerFlags, run: TrainingRun) -> tuple[Demonstrations | None, dict[str, Any]]:
    """Return the demonstrations to begin with (`Parts.demonstrations`), and what they have in common; None and {} without any."""
    if args.expert_data_dir is None or run.saved("progress", Progress).get("rows"):  # with rows, they are in the data set
        return None, {}
    files, facts = select_episodes(args.expert_data_dir, args.milestone, args.max_expert_episodes)
    return choose_labels(files, args.max_labels, args.spread_labels, args.seed), facts


def new_network(args: DaggerFlags, task: Task, screen_shape: tuple[int, ...], init: dict[str, Any] | None) -> PolicyNetwork:
    """Return the student's network: new, or with the weights of --init-from."""
    try:
        network = make_network(args.network, len(task.game.buttons), args.hidden_dim, screen_shape, args.frame_stack)
    except ValueError as error:  # screens that the network can't see
        raise FlagError(str(error)) from error
    if args.query_by == "disagreement" and chooses(args):
        queries.dropouts_of(network)  # raises now, not after the first rollout
    if init is not None:
        origin = args.init_from or ""
        check_fits(init, origin, network=network_arguments(network), **task.wanted)
        network.load_state_dict(build_network(init, origin).state_dict())
    return network


def restore_progress(
    args: DaggerFlags,
    run: TrainingRun,
    task: Task,
    network: PolicyNetwork,
    labeller: Labeller,
    starts: RolloutStarts,
    by_picture: bool,
) -> Progress:
    """Return the progress of a new or resumed run, and print what makes it differ from an uninterrupted one."""
    if run.checkpoint is None:
        return Progress(threads=run.threads)
    check_fits(run.checkpoint, run.origin, network=network_arguments(network), **task.wanted)
    progress = Progress(**run.saved("progress", Progress))
    experts = labeller.oracle.identity, run.checkpoint.get("expert")
    chooses_expert = (*CHOOSES_EXPERT, *(CHOOSES_MODEL if args.expert == "code-agent" else ()))
    missing = {name: value for name, value in not_given_again(args).items() if name in chooses_expert}
    if experts[1] not in (None, experts[0]) and missing:
        raise FlagError(
            f"{run.origin}: its run was begun with {as_typed(missing)}, and without that another expert would label; give "
            "it again, or give --policy-dir and --no-unsafe-policies as they are meant now"
        )
    threads = run.threads, progress.threads
    changes = what_changed(args, run.flags_before, experts, threads, by_picture and not args.ask_repeats)
    if args.cutoff_share and (gone := progress.cutoffs - len(starts.kept(progress.last_rollout))) > 0:
        changes.append(f"{gone} states of --cutoff-share are gone from {starts.folder}")
    if changes:
        print(f"not bit-identical to an uninterrupted run: {'; '.join(changes)}")
    progress.best = run.best_if_there(progress.best)
    say_what_judged_the_best(progress.best, run.best_file, args, run.flags_before, run.checkpoint)
    if progress.rows > 0 and args.expert_data_dir not in (None, run.flags_before.get("expert_data_dir")):
        print(f"{args.expert_data_dir}: not read, a run takes demonstrations in when it begins; begin another for these")
    progress.threads = run.threads
    with restoring(run.origin):
        check_records(progress.best, progress.last)
        check_counts(iteration=progress.iteration, step=progress.step, first_step=progress.first_step, rows=progress.rows)
        check_counts(steps_of_this_iteration=progress.step - progress.first_step)
        labeller.load_state_dict(progress.labels)
    return progress


def heed_withdrawals(data: DaggerData, labeller: Labeller, progress: Progress) -> None:
    """Count withdrawn labels out of the budget, and forget the best network if it has learned from them."""
    columns = data.columns(["status", "iteration"])
    withdrawn = columns["status"] == Status.WITHDRAWN
    labeller.counts.withdrawn = int(withdrawn.sum())
    if progress.best is not None and progress.best.get("iteration", -1) <= columns["iteration"][withdrawn].max(initial=-2):
        progress.best = None
