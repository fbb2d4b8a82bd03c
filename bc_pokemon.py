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

from common.flag_groups import CloningFlags, EvaluationFlags, GameFlags, NetworkFlags, RunFlags
from common.runtime.flag_types import Count, CountOrZero, Few, Free, Once, Positive
from common.runtime.flags import changed_flags, parse_flags, resume_command


@dataclass
class Args(RunFlags, GameFlags, CloningFlags, NetworkFlags, EvaluationFlags):
    exp_name: Free[str] = "bc_pokemon"
    """Name of the experiment: checkpoints and the run's folder begin with it."""
    eval_only: Once[bool] = False
    """Only evaluate (and film) the checkpoint given with --resume-from, over --eval-episodes episodes, from held-out start
    states. --worlds, --start-states, --max-steps, --eval-episodes and --video are then not taken from the checkpoint."""
    total_steps: Free[Count] = 100000
    """Training steps, each on one batch."""
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
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.buffers import ReplayBuffer
from common.cloning_data import (
    CloningData,
    load_cloning_data,
    say_what_is_held_out,
    say_which_tier,
    some,
)
from common.demonstrations import (
    DemonstrationError,
    select_episodes,
)
from common.evaluation import Evaluator
from common.learner import Learner, check_finite
from common.networks import PolicyNetwork, build_network, check_plays, network_arguments
from common.preprocessing import random_shift
from common.results import confusion_figure, results_table
from common.runtime.checkpoints import (
    CheckpointError,
    check_fits,
    load_checkpoint,
    restoring,
    shown,
)
from common.runtime.device import seed_everything, select_device, set_threads
from common.runtime.files import sha256_of
from common.runtime.flag_types import FlagError
from common.runtime.main import Stopped, exit_code, run_main
from common.runtime.plain_names import is_plain_name
from common.runtime.progress import ProgressReport, print_table
from common.runtime.run import TrainingRun
from common.runtime.run_names import RUNS
from common.runtime.seeding import EVAL_ONLY, EVALUATION
from common.selection import check_counts, check_numbers, check_records, is_better, play_candidate, say_what_judged_the_best
from common.validation import validate
from pokemon_env.errors import PokemonEnvError
from pokemon_env.games import find_game
from pokemon_env.games.base import Game
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import Rom
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
    args: Args, game: Game | None, facts: dict[str, Any], buttons: list[str], device: torch.device
) -> tuple[Evaluator | None, str]:
    """Open the environments of evaluations. Returns what plays in them, None if nothing does, and a text that says so."""
    if game is None:
        return None, ""
    if not game.milestones and not args.video:  # nothing to count, and nothing to see
        return None, "; a game without milestones, not played"
    purpose: Literal["choose", "test"] = "test" if args.eval_only else "choose"
    where = where_learned(args, facts)
    starts = evaluation_starts(args, game, facts["milestone"], where["tier"], where["worlds"], purpose)
    evaluator = make_evaluator(
        args, game, facts["milestone"], starts, n_episodes=max(args.eval_episodes, args.best_eval_episodes),
        max_steps=args.max_steps, frame_stack=args.frame_stack, buttons=buttons, device=device, videos=None,
    )  # fmt: skip
    return evaluator, f"; {how_played(evaluator, starts)}"


def main(args: Args) -> dict[str, Any]:
    """Train (or only evaluate). Returns the run's name, the last step, and the records of the best and last network."""
    if args.eval_only:
        return evaluate_checkpoint(args)
    if args.patience and not args.eval_frequency:
        raise FlagError("--patience counts evaluations, but --eval-frequency 0 makes none: raise it, or give --patience 0")
    with TrainingRun(args, "bc") as run:
        return clone(args, run)


def clone(args: Args, run: TrainingRun) -> dict[str, Any]:
    """Behavioural cloning: evaluate, save, imitate the expert on one batch, and again."""
    files, facts = select_episodes(args.expert_data_dir, args.milestone, args.max_expert_episodes)
    say_which_tier(facts["tiers"], args.tier or facts["tier"])
    game = check_game(args, files, facts)
    before = None if run.checkpoint is None else run.saved("progress", Progress)
    data = load_cloning_data(args, args, files, facts, seed=args.seed, device=run.device, before=before)
    network, buttons = data.network, facts["buttons"]
    cloning = BehaviouralCloning(args, network, data.train, run.device)
    progress = restore(args, run, data, cloning)
    evaluator, played = open_evaluator(args, game, facts, buttons, run.device)
    run.callback(evaluator.close if evaluator is not None else lambda: None)

    run.begin(progress.step)
    if evaluator is not None and args.video:
        evaluator.videos = run.videos
    if data.val_files:
        say_what_is_held_out(data.files, data.milestones, data.val_files)
    print(
        f"{run.name}: {data.learned}, {len(data.train):,} steps of {len(data.train_files)} episodes to train on, "
        f"{len(data.val_files)} episodes held out; {run.device}, {run.threads} thread(s), from step {progress.step:,}{played}"
    )
    about = {
        "network": network_arguments(network), "frame_stack": args.frame_stack,
        **{key: facts.get(key) for key in ("buttons", "game", "rom_sha256", "milestone")}, **where_learned(args, facts),
        "max_steps": evaluator.max_steps if evaluator is not None and evaluator.has_goal else None,
    }  # fmt: skip
    began, first_step, last_saved = time.monotonic(), progress.step, time.monotonic()
    with ProgressReport("training", args.total_steps, start=progress.step) as report:
        while True:
            # Evaluate: validation, and play
            if evaluation_is_due(args, progress):
                cloning.check_finite(progress.step, run.last_good)
                record = evaluate_network(args, network, data.val, evaluator, progress, buttons, run)
                if record is not None:
                    check_finite(network, progress.step, record.get("val_loss", 0.0), args.learning_rate, run.last_good)
                    progress.note(record)
                    report.print(f"step {progress.step:,}: {record['text']}")
                    if args.save_best and is_better(record, progress.best):
                        progress.best = record
                        run.write(run.files["best"], finished_network(cloning, progress, record, run) | about)
                        report.print(f"step {progress.step:,}: the best so far, saved as {run.files['best']}")

            # Save. After a signal during the last evaluation, that is left to the run which resumes this one.
            finished = progress.is_done(args) and not evaluation_is_due(args, progress)
            ends = finished or run.stop()
            if args.save_frequency > 0 and progress.step % args.save_frequency == 0 and progress.step > first_step:
                run.write_numbered(progress.step, state_of_training(cloning, progress, run) | about)
            if ends or time.monotonic() - last_saved >= args.last_interval:
                run.write(run.files["last"], state_of_training(cloning, progress, run) | about)
                last_saved = time.monotonic()
            if ends:
                break

            # ALGO LOGIC: imitate the expert on one batch
            rate = cloning.set_learning_rate(progress.step / args.total_steps if args.lr_schedule == "cosine" else None)
            observations, actions, weight = cloning.sample()
            metrics = cloning.update(observations, actions, weight=weight)
            progress.step += 1

            # Log: the metrics stay on the device until here
            progress.add(metrics)
            if progress.step % 100 == 0 or progress.step == args.total_steps:
                means = progress.take_means()
                cloning.check_finite(progress.step, run.last_good)
                for name, value in means.items():
                    run.log.add_scalar(f"train/{name}", value, progress.step)
                run.log.add_scalar("train/learning_rate", rate, progress.step)
                speed = (progress.step - first_step) / (time.monotonic() - began)
                run.log.add_scalar("train/steps_per_second", speed, progress.step)
                report.update(progress.step, f"loss {means['bc_loss']:.4f}, accuracy {means['accuracy']:.3f}")

    run.stop.restore()
    results = {"run_name": run.name, "step": progress.step, "best": progress.best, "last": progress.last}
    if not finished:
        print(f"stopped at step {progress.step:,}; to go on: {resume_command('bc_pokemon.py', run.files['last'], args)}")
        return results | {"signal": run.stop.signal}
    run.write(run.files["final"], finished_network(cloning, progress, progress.last or {}, run) | about)
    rows = {"best": (progress.best, run.best_file), "final": (progress.last, run.files["final"])}
    print_table(results_table({name: row for name, row in rows.items() if row[0]}))
    return results | {"signal": None}


def check_game(args: Args, files: list[Path], facts: dict[str, Any]) -> Game | None:
    """Return the game that evaluations play, None if there are none. Raises DemonstrationError if it is not the demonstrations'."""
    buttons = facts.get("buttons")
    if buttons is None:
        raise DemonstrationError(f"{files[0]}: its metadata doesn't name the buttons; record it again")
    if not (args.eval_frequency > 0 and args.eval_episodes > 0):
        return None
    rom = Rom.read(args.rom_path)
    if facts.get("rom_sha256") not in (None, rom.header.sha256):
        raise DemonstrationError(
            f"{args.expert_data_dir}: recorded with another ROM than {args.rom_path}, or another build of it; "
            f"record again, give the right one with --rom-path, or train without play: --eval-episodes 0"
        )
    game = find_game(rom)
    if list(buttons) != list(game.buttons):  # else it would press others than it learned, without a word
        raise DemonstrationError(
            f"{args.expert_data_dir}: its buttons are {shown(buttons)}, but those of {args.rom_path} {', '.join(game.buttons)}; "
            "record again, give the right ROM with --rom-path, or train without play: --eval-episodes 0"
        )
    return game


def where_learned(args: Args, facts: dict[str, Any]) -> dict[str, str | None]:
    """Return the tier and worlds of the demonstrations, which evaluations are played in if no flag says another."""
    # The worlds of demonstrations on T2 are those to learn from: who names another tier does not mean to be evaluated there.
    return {"tier": args.tier or facts["tier"], "worlds": None if facts["tier"] == "T2" else facts.get("worlds")}


def restore(args: Args, run: TrainingRun, data: CloningData, cloning: BehaviouralCloning) -> Progress:
    """Put back what the run is resumed from, and say what will not be as without the stop. Returns how far it has come."""
    now = Progress({path.name: sha256_of(path) for path in data.files}, [path.name for path in data.val_files], run.threads)
    if run.checkpoint is None:
        return now
    milestone, buttons = data.facts["milestone"], data.facts["buttons"]
    wanted = {"network": network_arguments(cloning.network), "buttons": buttons, "milestone": milestone}
    check_fits(run.checkpoint, args.resume_from, **wanted)
    with restoring(args.resume_from):
        cloning.load_state_dict(run.checkpoint | run.checkpoint["training_state"])
    progress = Progress(**run.saved("progress", Progress))
    with restoring(args.resume_from):
        check_records(progress.best, progress.last)
        check_counts(step=progress.step, evaluated_at=progress.evaluated_at, n_summed=progress.n_summed)
        check_counts(without_gain=progress.without_gain)
        check_numbers(*progress.sums.values(), progress.lowest_val_loss)
    if changes := what_changed(args, run.flags_before, progress, now):
        print(f"this will not be the same bit for bit as without the stop: {'; '.join(changes)}")
    old = progress.held_out is None  # from before the split was by milestone
    progress.demonstrations, progress.threads = now.demonstrations, now.threads
    progress.held_out = None if old else now.held_out
    cloning.check_finite(progress.step)
    progress.best = run.best_if_there(progress.best)
    say_what_judged_the_best(progress.best, run.best_file, args, run.flags_before, run.checkpoint)
    return progress


def finished_network(cloning: BehaviouralCloning, progress: Progress, record: dict[str, Any], run: TrainingRun) -> dict[str, Any]:
    """Return what a checkpoint of a network to play with holds. Raises DivergedError if it is not finite."""
    cloning.check_finite(progress.step, run.last_good)
    weights = cloning.state_dict()["model_state_dict"]
    return {"model_state_dict": weights, "global_step": progress.step, "metrics": record or progress.last or {}}


def state_of_training(cloning: BehaviouralCloning, progress: Progress, run: TrainingRun) -> dict[str, Any]:
    """Return what a checkpoint holds that training goes on from. Raises DivergedError if the network is not finite."""
    state = {key: value for key, value in cloning.state_dict().items() if key != "model_state_dict"}
    resumable = {"optimizer_state_dict": state.pop("optimizer_state_dict"), "training_state": state, "progress": progress.saved()}
    return finished_network(cloning, progress, {}, run) | resumable


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

    def saved(self) -> dict[str, Any]:
        """What checkpoints hold of it."""
        return asdict(self)

    def is_done(self, args: Args) -> bool:
        """Whether there is no further step: at the last one, or with --patience used up."""
        return (args.patience > 0 and self.without_gain >= args.patience) or self.step >= args.total_steps

    def note(self, record: dict[str, Any]) -> None:
        """Remember an evaluation, and count those that found no lower validation loss."""
        self.evaluated_at, self.last = self.step, record
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
    run: TrainingRun,
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
            run.log.add_scalar(f"val/{name}", value, step)
        run.log.add_figure("val/confusion", confusion_figure(counts, buttons, f"step {step}"), step)
        record |= {"val_loss": metrics["loss"], "val_accuracy": metrics["accuracy"]}
        texts.append(f"validation loss {metrics['loss']:.4f}, accuracy {metrics['accuracy']:.3f}")

    if evaluator is not None and not evaluator.has_goal:
        if step >= args.total_steps or (args.save_best and is_better(record, best)):
            n_films = len(evaluator.films)
            try:
                evaluator.play(network, 1, args.eval_seed, f"step{step}", run.stop)
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
                run.log,
                eval_episodes=args.eval_episodes,
                best_eval_episodes=args.best_eval_episodes,
                eval_seed=args.eval_seed,
                save_best=args.save_best,
                last=step >= args.total_steps,
                should_stop=run.stop,
            )
        except Stopped:
            return None
        record |= played
        texts += said
    record["text"] = "; ".join(texts) or "nothing to evaluate on"
    return record


def evaluate_checkpoint(args: Args) -> dict[str, Any]:
    """Play --eval-episodes episodes with a checkpoint, on start states and seeds that no network was chosen by; film the
    first."""
    device = select_device(args.cuda)
    seed_everything(args.seed, args.torch_deterministic)
    set_threads(args.num_threads)
    if args.resume_from is None:
        raise CheckpointError("--eval-only needs a checkpoint: give one with --resume-from")
    checkpoint = load_checkpoint(args.resume_from)
    game = find_game(rom := Rom.read(args.rom_path))
    check_fits(checkpoint, args.resume_from, rom_sha256=rom.header.sha256, buttons=list(game.buttons))
    if not game.milestones and not args.video:
        raise FlagError(f"--eval-only: {game.name} has no milestones, so there is only a film to be made: leave out --no-video")
    args.frame_stack = checkpoint.get("frame_stack", 1)
    network = build_network(checkpoint, args.resume_from)
    with PokemonEnv(args.rom_path) as env:
        check_plays(network, args.resume_from, env.observation_space.shape, len(env.buttons), args.frame_stack)
    network = network.to(device, memory_format=torch.channels_last)
    facts = {"milestone": args.milestone or checkpoint.get("milestone"), "tier": checkpoint.get("tier")}
    # On T2 evaluation_starts takes no worlds but a flag's.
    evaluator, played = open_evaluator(args, game, facts | {"worlds": checkpoint.get("worlds")}, checkpoint.get("buttons"), device)
    name, run_name = Path(args.resume_from).stem, checkpoint.get("run_name")
    evaluator.videos = RUNS / (run_name if is_plain_name(run_name) else name) / "videos" if args.video else None
    print(f"{args.resume_from}: {facts['milestone'] or 'the whole game'}, {played.removeprefix('; ')}")
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
