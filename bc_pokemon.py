#!/usr/bin/env python3
"""Behavioural cloning: a network learns to press the buttons that an expert pressed, from pictures of the screen.

    python collect_expert_data.py --milestone RIVAL_HOUSE
    python bc_pokemon.py --milestone RIVAL_HOUSE --total-steps 2000 --eval-frequency 500
    python bc_pokemon.py --milestone RIVAL_HOUSE --eval-episodes 0 --patience 5   # until the validation loss rises
    python bc_pokemon.py --resume-from models/bc_pokemon_last.pth                 # go on where it stopped
    python bc_pokemon.py --eval-only --resume-from models/bc_pokemon_best.pth     # evaluate on held-out starts, and film

Writes `{model_dir}/{exp_name}_best.pth`, `_{step}.pth`, `_final.pth` and `_last.pth`, and logs to
`runs/{exp_name}_{seed}_{time}/`.
"""
# ruff: noqa: E402 - the flags are parsed before torch and the emulator are imported, so that --help answers at once

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Literal

from common.flag_groups import DemonstrationFlags, EvaluationFlags, GameFlags, NetworkFlags, RunFlags
from common.runtime.flag_types import Count, CountOrZero, Few, Free, Once, Positive, ShareBelowOne
from common.runtime.flags import changed_flags, parse_flags, plain_flags, resume_command


@dataclass
class Args(RunFlags, GameFlags, DemonstrationFlags, NetworkFlags, EvaluationFlags):
    exp_name: Free[str] = "bc_pokemon"
    """Name of the experiment: checkpoints and the run's folder begin with it."""
    eval_only: Once[bool] = False
    """Only evaluate (and film) the checkpoint given with --resume-from, over --eval-episodes episodes, from held-out start
    states. --worlds, --start-states, --max-steps, --eval-episodes and --video are then not taken from the checkpoint."""
    expert_data_dir: Free[str] = "expert_data"
    """Folder with demonstrations, `episode_*.npz`."""
    val_fraction: ShareBelowOne = 0.1
    """Share of each milestone's episodes that is held out for validation; at least one of two or more, unless 0."""
    total_steps: Free[Count] = 100000
    """Training steps, each on one batch."""
    patience: Free[CountOrZero] = 0
    """Stop when so many evaluations in a row found no lower validation loss. 0 never stops early."""
    random_shift: CountOrZero = 0
    """Augmentation: shift each observation by up to so many pixels, at random (4 is usual). 0 for none."""
    change_weight: Positive = 1.0
    """Weight in the loss of steps whose label differs from the one before; more than 1 counters repeating buttons."""
    save_frequency: Free[CountOrZero] = 10000
    """Steps between the checkpoints that are kept, `{exp_name}_{step}.pth`. 0 for none."""
    eval_frequency: Free[CountOrZero] = 5000
    """Steps between evaluations (validation, and play). 0 for none."""
    milestone: str | None = None
    """Learn this milestone alone, and be evaluated on it. None: all demonstrations (if they share one, it is that)."""
    tier: Free[Literal["T0", "T1", "T2", "T3"] | None] = None
    """How hard the bundled game is in an evaluation. None takes the demonstrations' tier, or T1 if they have several."""
    worlds: Free[str | None] = None
    """Worlds that an evaluation is played in: 0, 7, 1000-1099, train, choose or test. None takes the demonstrations' worlds,
    or world 0 if they have several; and on tier T2 those to choose by (1000-1099) in training, and those to test in (from
    10000 on) with --eval-only."""
    start_states: Free[str | None] = None
    """Folder of `.state` files that episodes of evaluation start from. None lets the game draw where the milestone begins; for
    a game without worlds it takes recorded states, made if need be: those to learn from (`train`) in training, which chooses
    the best by them, and the held-out ones with --eval-only."""
    max_steps: Free[Count | None] = None
    """Steps after which an evaluation's episode is cut off. None takes the milestone's from --milestone-config, and for a game
    without milestones 400."""
    num_envs: Free[Few] = 8
    """Environments that play side by side in an evaluation."""
    eval_episodes: Free[CountOrZero] = 5
    """Episodes of play per evaluation. 0 only validates. Of a game without milestones one is filmed, and none counted."""


NOT_EVALUATED = ("worlds", "start_states", "max_steps", "eval_episodes", "video")
"""Flags that say how training evaluated; --eval-only doesn't take them from a checkpoint."""


def parse_args() -> Args:
    """Parse the command line; with --resume-from, the checkpoint's flags stand in for what was not given."""
    return parse_flags(Args, "bc_pokemon.py", __doc__, not_evaluated=NOT_EVALUATED, algorithm="bc")


if __name__ == "__main__":
    # Before torch is imported, which parse_args does to read a checkpoint. Threads that wait shall sleep: spinning on cores
    # that others need made training three times slower. Large pages for tensors: a quarter faster on a CPU, which saves
    # page faults.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    args = parse_args()

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.buffers import ReplayBuffer
from common.cloning_data import load_buffer, network_for, say_what_is_held_out, some, split_as_before
from common.demonstrations import (
    DemonstrationError,
    copies_held_out,
    limit_labels,
    select_episodes,
    split_episodes,
)
from common.evaluation import Evaluator
from common.learner import Learner, check_finite
from common.networks import PolicyNetwork, build_network, check_plays, network_arguments
from common.preprocessing import random_shift
from common.results import confusion_figure, results_table
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
    shown,
)
from common.runtime.device import seed_everything, select_device, set_threads
from common.runtime.files import sha256_of
from common.runtime.flag_types import FlagError
from common.runtime.logs import RunLog, finish_run, start_run
from common.runtime.main import Stopped, StopRequest, exit_code, run_main
from common.runtime.numbered_checkpoints import NumberedCheckpoints
from common.runtime.plain_names import is_plain_name
from common.runtime.progress import ProgressReport, print_table
from common.runtime.run_names import RUNS, only_trainer, resumed_run, run_folder
from common.runtime.seeding import EVAL_ONLY, EVALUATION
from common.selection import check_counts, check_records, is_better, play_candidate
from common.validation import validate
from pokemon_env.errors import PokemonEnvError
from pokemon_env.games import find_game
from pokemon_env.games.base import Game
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import Rom
from tasks.episode_starts import EpisodeStarts
from tasks.evaluation import evaluation_starts, how_played, make_evaluator

EVAL_ONLY_SEEDS = EVAL_ONLY.first - EVALUATION.first
"""From --eval-seed to the first seed of --eval-only, so that no network was chosen by those episodes."""


class BehaviouralCloning(Learner):
    """The learner with its data: the batches, their augmentation and their generators."""

    def __init__(self, args: Args, network: PolicyNetwork, data: ReplayBuffer, device: torch.device):
        super().__init__(network, device, learning_rate=args.learning_rate, weight_decay=args.weight_decay, bf16=args.bf16)
        self.args, self.data = args, data
        self.shift_rng = torch.Generator().manual_seed(args.seed)
        weights = np.where(data.action_changed(), args.change_weight, 1.0).astype(np.float32)
        self.weights = torch.from_numpy(weights).to(device)

    def sample(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A batch: pictures (B, C, h, w) uint8, the expert's buttons (B,) and their weights in the loss (B,)."""
        slots = self.data.sample_indices(self.args.batch_size)
        observations, actions = self.data.get_labelled(slots)
        observations = random_shift(observations, self.args.random_shift, self.shift_rng)
        return observations, actions, self.weights[torch.from_numpy(slots).to(self.device)]

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"sampler": self.data.state_dict(), "shift_rng": self.shift_rng.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.data.load_state_dict(state["sampler"])
        self.shift_rng.set_state(state["shift_rng"].cpu())
        super().load_state_dict(state)


def open_evaluator(
    args: Args, game: Game, milestone: str | None, starts: EpisodeStarts, buttons: list[str], device: torch.device, videos: Path
) -> Evaluator:
    """Open the environments of evaluations, as the flags say."""
    return make_evaluator(
        args, game, milestone, starts, n_episodes=max(args.eval_episodes, args.best_eval_episodes), max_steps=args.max_steps,
        frame_stack=args.frame_stack, buttons=buttons, device=device, videos=videos if args.video else None,
    )  # fmt: skip


def main(args: Args) -> dict[str, Any]:
    """Train (or only evaluate). Returns the run's name, the last step, and the records of the best and last network."""
    with ExitStack() as opened:  # closed again wherever it ends
        return run(args, opened)


def run(args: Args, opened: ExitStack) -> dict[str, Any]:
    """`main`; what is to be closed goes into `opened`."""
    device = select_device(args.cuda)
    seed_everything(args.seed, args.torch_deterministic)
    if args.eval_only:
        set_threads(args.num_threads)
        return evaluate_checkpoint(args, device)
    if args.patience and not args.eval_frequency:
        raise FlagError("--patience counts evaluations, but --eval-frequency 0 makes none: raise it, or give --patience 0")
    opened.enter_context(only_trainer(args.model_dir, args.exp_name))
    checkpoint = None if args.resume_from is None else load_checkpoint(args.resume_from)
    threads = set_threads(args.num_threads, saved_threads(checkpoint))

    # The expert's steps
    files, facts = select_episodes(args.expert_data_dir, args.milestone, args.max_expert_episodes)
    milestone, buttons, tier = facts["milestone"], facts.get("buttons"), args.tier or facts["tier"]
    # The worlds of demonstrations on T2 are those to learn from: who names another tier does not mean to be evaluated there.
    worlds = None if facts["tier"] == "T2" else facts.get("worlds")
    if buttons is None:
        raise DemonstrationError(f"{files[0]}: its metadata doesn't name the buttons; record it again")
    plays = args.eval_frequency > 0 and args.eval_episodes > 0
    rom = Rom.read(args.rom_path) if plays else None
    if plays and facts.get("rom_sha256") not in (None, rom.header.sha256):
        raise DemonstrationError(
            f"{args.expert_data_dir}: recorded with another ROM than {args.rom_path}, or another build of it; "
            f"record again, give the right one with --rom-path, or train without play: --eval-episodes 0"
        )
    game = find_game(rom) if plays else None
    if plays and list(buttons) != list(game.buttons):  # else it would press others than it learned, without a word
        raise DemonstrationError(
            f"{args.expert_data_dir}: its buttons are {shown(buttons)}, but those of {args.rom_path} {', '.join(game.buttons)}; "
            "record again, give the right ROM with --rom-path, or train without play: --eval-episodes 0"
        )
    files, last_steps = limit_labels(files, args.max_labels)
    steps_of = {} if last_steps is None else {files[-1]: last_steps}
    milestones = facts["milestones"][: len(files)]
    before = {} if checkpoint is None else saved_fields(checkpoint, args.resume_from, "progress", Progress)
    # A checkpoint from before the split was by milestone doesn't name what was held out: it goes on with its own split.
    old = checkpoint is not None and before.get("held_out") is None
    train_files, val_files = split_episodes(files, args.val_fraction, args.seed, None if old else milestones)
    if before.get("held_out") is not None:
        train_files, val_files = split_as_before(files, val_files, before.get("demonstrations", {}), before["held_out"])
    if not old and (copies := copies_held_out(train_files, val_files)):
        print(f"for training, as each is a copy of an episode that is: {some([path.name for path in copies])}")
        val_files = [path for path in val_files if path not in copies]
        train_files = [path for path in files if path not in val_files]
    network = network_for(args, files[0], len(buttons))
    reading = {"frame_stack": args.frame_stack, "seed": args.seed, "device": device}
    train_data = load_buffer(args.expert_data_dir, train_files, steps_of, network, len(buttons), **reading)
    if not len(train_data.labelled_slots()):
        raise DemonstrationError(
            f"{args.expert_data_dir}: no step of the {len(train_files)} episode(s) to train on ({train_files[0].name}, ...) has "
            f"a label, the expert abstained in all; record others"
        )
    if args.patience and not val_files:
        raise FlagError(
            "--patience waits for the validation loss, but no episode is held out: raise --val-fraction, or record at least two "
            "episodes of a milestone"
        )
    val_data = load_buffer(args.expert_data_dir, val_files, steps_of, network, len(buttons), **reading) if val_files else None
    if val_data is not None and not len(val_data.labelled_slots()):
        unlabelled = f"no step of the held-out episode(s) {', '.join(path.name for path in val_files)} has a label"
        if args.patience:
            raise FlagError(
                f"--patience waits for the validation loss, but {unlabelled}: raise --val-fraction, or choose another --seed"
            )
        print(f"{unlabelled}: no validation")
        val_data = None
    learner = BehaviouralCloning(args, network, train_data, device)

    # A new run, or an old one that goes on
    run_name = None
    progress = Progress(
        demonstrations={path.name: sha256_of(path) for path in files},
        held_out=[path.name for path in val_files],
        threads=threads,
    )
    if checkpoint is not None:
        if not {"training_state", "optimizer_state_dict", "progress"} <= checkpoint.keys():
            raise CheckpointError(f"{args.resume_from}: has only weights; training goes on from a _last.pth or _STEP.pth")
        check_fits(
            checkpoint,
            args.resume_from,
            algorithm="bc",
            network=network_arguments(learner.network),
            buttons=buttons,
            milestone=milestone,
        )
        with restoring(args.resume_from):
            learner.load_state_dict(checkpoint | checkpoint["training_state"])
        flags = saved_fields(checkpoint, args.resume_from, "args", Args)
        if flags.get("exp_name") == args.exp_name:
            run_name = saved_run_name(checkpoint, args.resume_from)
        now, progress = progress, Progress(**saved_fields(checkpoint, args.resume_from, "progress", Progress))
        with restoring(args.resume_from):
            check_records(progress.best, progress.last)
            check_counts(step=progress.step, evaluated_at=progress.evaluated_at, n_summed=progress.n_summed)
        if changes := what_changed(args, flags, progress, now):
            print(f"this will not be the same bit for bit as without the stop: {'; '.join(changes)}")
        progress.demonstrations, progress.threads = now.demonstrations, now.threads
        progress.held_out = None if old else now.held_out
        learner.check_finite(progress.step)
    models = {name: Path(args.model_dir) / f"{args.exp_name}_{name}.pth" for name in ("best", "last", "final")}
    check_not_of_another_run(list(models.values()), run_name, args.overwrite)
    if checkpoint is not None:
        check_not_behind([models["last"], models["final"]], args.resume_from, run_name, progress.step, args.overwrite)
    best_file = models["best"]
    if progress.best is not None:
        if run_name is None:  # under a new name: what was the best so far keeps the old one
            theirs = flags.get("exp_name")
            best_file = Path(args.resume_from).with_name(f"{theirs if is_plain_name(theirs) else 'its'}_best.pth")
        elif not best_file.is_file():  # the run was moved, and is written elsewhere from now on
            best_file = Path(args.resume_from).with_name(best_file.name)
        if not best_file.is_file():
            print(f"{best_file} is gone: the best network is looked for again from here")
            progress.best = None
    new = run_name is None
    name = run_folder(args.exp_name, args.seed) if new else resumed_run(run_name)
    run_name = opened.enter_context(name)
    numbered = NumberedCheckpoints(args.model_dir, f"{args.exp_name}_", run_name, args.keep_last)
    evaluator, played = None, ""
    if plays and not game.milestones and not args.video:  # nothing to count, and nothing to see
        played = "; a game without milestones, not played"
    elif plays:
        starts = evaluation_starts(args, game, milestone, tier, worlds, "choose")
        evaluator = open_evaluator(args, game, milestone, starts, buttons, device, RUNS / run_name / "videos")
        opened.callback(evaluator.close)
        played = f"; {how_played(evaluator, starts)}"
    last_good = args.resume_from

    def save(path: Path, record: dict[str, Any] | None = None) -> None:
        """Write a checkpoint: with a record, that of a finished network; without, one that training can go on from."""
        nonlocal last_good
        learner.check_finite(progress.step, last_good)
        state = learner.state_dict()
        content = {
            "algorithm": "bc",
            "model_state_dict": state.pop("model_state_dict"),
            "network": network_arguments(learner.network),
            "frame_stack": args.frame_stack,
            "args": plain_flags(args),
            "run_name": run_name,
            "global_step": progress.step,
            "metrics": record or progress.last or {},
            **{key: facts.get(key) for key in ("buttons", "game", "rom_sha256", "milestone")},
            "tier": tier,
            "worlds": worlds,
            "max_steps": evaluator.max_steps if evaluator is not None and evaluator.has_goal else None,
            "versions": package_versions(),
        }
        if record is None:
            content["optimizer_state_dict"] = state.pop("optimizer_state_dict")
            content |= {"training_state": state, "progress": asdict(progress)}
        save_checkpoint(path, content)
        last_good = path if record is None else last_good

    writer = start_run(
        run_name,
        args,
        track=args.track,
        project=args.wandb_project_name,
        entity=args.wandb_entity,
        resumed_at=None if new else progress.step,
    )
    opened.callback(finish_run, writer, args.track)
    if val_files:
        say_what_is_held_out(files, milestones, val_files)
    learned = milestone or ("all milestones" if any(milestones) else "the whole game")
    print(
        f"{run_name}: {learned}, {len(train_data):,} steps of {len(train_files)} episodes to "
        f"train on, {len(val_files)} episodes held out; {device}, {threads} thread(s), from step {progress.step:,}{played}"
    )
    stop = StopRequest()
    opened.callback(stop.restore)
    began, first_step, last_saved = time.monotonic(), progress.step, time.monotonic()
    with ProgressReport("training", args.total_steps, start=progress.step) as report:
        while True:
            # Evaluate: validation, and play
            if evaluation_is_due(args, progress):
                learner.check_finite(progress.step, last_good)
                record = evaluate_network(args, learner.network, val_data, evaluator, progress, buttons, writer, stop)
                if record is not None:
                    check_finite(learner.network, progress.step, record.get("val_loss", 0.0), args.learning_rate, last_good)
                    progress.evaluated_at, progress.last = progress.step, record
                    progress.note_validation(record)
                    report.print(f"step {progress.step:,}: {record['text']}")
                    if args.save_best and is_better(record, progress.best):
                        progress.best = record
                        best_file = models["best"]
                        save(best_file, record)
                        report.print(f"step {progress.step:,}: the best so far, saved as {models['best']}")

            # Save. A signal during the last evaluation leaves that for whoever goes on.
            learned = args.patience > 0 and progress.without_gain >= args.patience
            finished = learned or (progress.step >= args.total_steps and not evaluation_is_due(args, progress))
            ends = finished or stop()
            if args.save_frequency > 0 and progress.step % args.save_frequency == 0 and progress.step > first_step:
                save(numbered.path(progress.step))
                numbered.written(numbered.path(progress.step))
            if ends or time.monotonic() - last_saved >= args.last_interval:
                save(models["last"])
                last_saved = time.monotonic()
            if ends:
                break

            # ALGO LOGIC: imitate the expert on one batch
            rate = learner.set_learning_rate(progress.step / args.total_steps if args.lr_schedule == "cosine" else None)
            observations, actions, weight = learner.sample()
            metrics = learner.update(observations, actions, weight=weight)
            progress.step += 1

            # Log: the metrics stay on the device until here
            progress.add(metrics)
            if progress.step % 100 == 0 or progress.step == args.total_steps:
                means = progress.take_means()
                learner.check_finite(progress.step, last_good)
                for name, value in means.items():
                    writer.add_scalar(f"train/{name}", value, progress.step)
                writer.add_scalar("train/learning_rate", rate, progress.step)
                speed = (progress.step - first_step) / (time.monotonic() - began)
                writer.add_scalar("train/steps_per_second", speed, progress.step)
                report.update(progress.step, f"loss {means['bc_loss']:.4f}, accuracy {means['accuracy']:.3f}")

    stop.restore()
    results = {"run_name": run_name, "step": progress.step, "best": progress.best, "last": progress.last}
    if not finished:
        print(f"stopped at step {progress.step:,}; to go on: {resume_command('bc_pokemon.py', models['last'], args)}")
        return results | {"signal": stop.signal}
    save(models["final"], progress.last or {})
    rows = {"best": (progress.best, best_file), "final": (progress.last, models["final"])}
    print_table(results_table({name: row for name, row in rows.items() if row[0]}))
    return results | {"signal": None}


@dataclass
class Progress:
    """How far a run has come; checkpoints hold it."""

    demonstrations: dict[str, str] = field(default_factory=dict)
    """Name -> SHA-256 of each."""
    held_out: list[str] | None = None
    """Names of those for validation. None: a run from before the split was by milestone."""
    threads: int = 0
    step: int = 0
    evaluated_at: int = 0
    best: dict[str, Any] | None = None
    """Record of the best network so far."""
    last: dict[str, Any] | None = None
    """Record of the last evaluation."""
    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    """Metrics added up since they were last logged."""
    n_summed: int = 0
    lowest_val_loss: float | None = None
    without_gain: int = 0
    """Evaluations since the lowest validation loss."""

    def note_validation(self, record: dict[str, Any]) -> None:
        """Count the evaluations that found no lower validation loss."""
        loss = record.get("val_loss")
        if loss is None:
            return
        lower = self.lowest_val_loss is None or loss < self.lowest_val_loss
        self.lowest_val_loss = loss if lower else self.lowest_val_loss
        self.without_gain = 0 if lower else self.without_gain + 1

    def add(self, metrics: dict[str, torch.Tensor]) -> None:
        for name, value in metrics.items():
            self.sums[name] = self.sums[name].to(value.device) + value if name in self.sums else value
        self.n_summed += 1

    def take_means(self) -> dict[str, float]:
        """The means of what was added, as numbers; and begin anew."""
        means = {name: value.item() / self.n_summed for name, value in self.sums.items()}
        self.sums, self.n_summed = {}, 0
        return means


def what_changed(args: Args, flags: dict[str, Any], before: Progress, now: Progress) -> list[str]:
    """What keeps a run that goes on from being the one that it was, in words; `flags` are those that it had."""
    # Along a cosine the end of the run says how far each step is.
    changes = changed_flags(args, flags, also=("total_steps",) if args.lr_schedule == "cosine" else ())
    if before.threads != now.threads:
        changes.append(f"the number of threads was {before.threads} and is {now.threads}")
    old, new = before.demonstrations, now.demonstrations
    differences = {
        "new": [name for name in new if name not in old],
        "gone": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and new[name] != old[name]],
    }
    for what, names in differences.items():
        if names:
            changes.append(f"demonstrations {what}: {some(names)}")
    return changes


def evaluation_is_due(args: Args, progress: Progress) -> bool:
    """Whether the network as it is now is to be evaluated, and has not been."""
    step = progress.step
    if args.eval_frequency == 0 or step <= progress.evaluated_at:
        return False
    return step % args.eval_frequency == 0 or step >= args.total_steps


def evaluate_network(
    args: Args,
    network: PolicyNetwork,
    val_data: ReplayBuffer | None,
    evaluator: Evaluator | None,
    progress: Progress,
    buttons: list[str],
    writer: RunLog,
    should_stop: Callable[[], bool],
) -> dict[str, Any] | None:
    """Validate, play, and log both; whoever may be the best, and the last network, play the longer evaluation too.

    Returns a record in plain types (`thorough`: whether its results are the longer evaluation's), None if stopped.
    """
    step, best = progress.step, progress.best
    record: dict[str, Any] = {"step": step, "thorough": False}
    texts = []
    if val_data is not None:
        metrics, counts = validate(network, val_data, buttons)
        for name, value in metrics.items():
            writer.add_scalar(f"val/{name}", value, step)
        writer.add_figure("val/confusion", confusion_figure(counts, buttons, f"step {step}"), step)
        record |= {"val_loss": metrics["loss"], "val_accuracy": metrics["accuracy"]}
        texts.append(f"validation loss {metrics['loss']:.4f}, accuracy {metrics['accuracy']:.3f}")

    if evaluator is not None and not evaluator.has_goal:
        if step >= args.total_steps or (args.save_best and is_better(record, best)):
            n_films = len(evaluator.films)
            try:
                evaluator.play(network, 1, args.eval_seed, f"step{step}", should_stop)
            except Stopped:
                return None
            texts += [f"filmed as {film}" for film in evaluator.films[n_films:]]  # none on a full disk
    elif evaluator is not None:
        try:
            played, said = play_candidate(
                evaluator,
                network,
                step,
                best,
                writer,
                eval_episodes=args.eval_episodes,
                best_eval_episodes=args.best_eval_episodes,
                eval_seed=args.eval_seed,
                save_best=args.save_best,
                last=step >= args.total_steps,
                should_stop=should_stop,
            )
        except Stopped:
            return None
        record |= played
        texts += said
    record["text"] = "; ".join(texts) or "nothing to evaluate on"
    return record


def evaluate_checkpoint(args: Args, device: torch.device) -> dict[str, Any]:
    """Play --eval-episodes episodes with a checkpoint, on start states and seeds that no network was chosen by; film the
    first."""
    if args.resume_from is None:
        raise CheckpointError("--eval-only needs a checkpoint: give one with --resume-from")
    checkpoint = load_checkpoint(args.resume_from)
    milestone, buttons = args.milestone or checkpoint.get("milestone"), checkpoint.get("buttons")
    rom = Rom.read(args.rom_path)
    game = find_game(rom)
    check_fits(checkpoint, args.resume_from, rom_sha256=rom.header.sha256, buttons=list(game.buttons))
    if not game.milestones and not args.video:
        raise FlagError(f"--eval-only: {game.name} has no milestones, so there is only a film to be made: leave out --no-video")
    args.frame_stack = checkpoint.get("frame_stack", 1)
    network = build_network(checkpoint, args.resume_from)
    with PokemonEnv(args.rom_path) as env:
        shape, n_buttons = env.observation_space.shape, len(env.buttons)
    check_plays(network, args.resume_from, shape, n_buttons, args.frame_stack)
    network = network.to(device, memory_format=torch.channels_last)
    name = Path(args.resume_from).stem
    run_name = checkpoint.get("run_name")
    videos = RUNS / (run_name if is_plain_name(run_name) else name) / "videos"
    starts = evaluation_starts(args, game, milestone, args.tier or checkpoint.get("tier"), checkpoint.get("worlds"), "test")
    evaluator = open_evaluator(args, game, milestone, starts, buttons, device, videos)
    print(f"{args.resume_from}: {milestone or 'the whole game'}, {how_played(evaluator, starts)}")
    n_episodes = args.eval_episodes if evaluator.has_goal else 1
    result = evaluator.play(network, n_episodes, args.eval_seed + EVAL_ONLY_SEEDS, f"eval_{name}")
    evaluator.close()
    record = {"step": checkpoint.get("global_step")}
    if evaluator.has_goal:
        record |= result.record()
        print_table(results_table({"checkpoint": (record, args.resume_from)}))
    for film in evaluator.films:
        print(f"video: {film}")
    return {"run_name": run_name, "evaluation": record, "signal": None}


if __name__ == "__main__":
    run_main("bc_pokemon.py", lambda: exit_code(main(args)["signal"]), errors=(PokemonEnvError,))
