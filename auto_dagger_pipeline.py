#!/usr/bin/env python3
"""Train a student for every milestone, unattended: evaluate the expert, run DAgger, test the student.

    python auto_dagger_pipeline.py                                      # all milestones; the same command resumes after a stop
    python auto_dagger_pipeline.py --milestone RIVAL_HOUSE              # that one alone
    python auto_dagger_pipeline.py --resume-from ROUTE_1 --skip-milestones HEALED LEADER_BEATEN
    python auto_dagger_pipeline.py --parallel-milestones 2 --no-record-video

Writes `{output_dir}/pipeline_results.csv` and `.json` (a record per milestone), `report.html`, the students in
`models/{ID}/dagger_{ID}_best.pth` and `_final.pth`, films in `expert_eval_videos/` and `dagger_videos/`, and DAgger's output in
`logs/`. DAgger runs in a process of its own for each milestone: if one fails, its record says why, and the others continue.
"""
# ruff: noqa: E402 - the flags are parsed before torch and the emulator are imported, so that --help answers at once

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Literal

from common.flag_groups import TierName
from common.runtime.flag_types import Amount, AtLeastOne, Count, Few, Seed, Share, check_bounds
from common.runtime.flags import as_flags, parse_command_line, plain_flags


@dataclass
class Args:
    eval_episodes: Count = 5
    """Episodes in which the expert is evaluated."""
    step_multiplier: AtLeastOne = 2.0
    """Step limit of a student's episodes, as a multiple of the expert's mean steps."""
    min_success_rate: Share = 0.6
    """Minimum success rate of the expert. Below it the milestone is recorded as failed, and no student is trained."""
    dagger_iterations: Count = 10
    """Iterations of DAgger: roll out, label, train."""
    episodes_per_iter: Count = 10
    """Episodes of a rollout."""
    train_steps_per_iter: Count = 2000
    """Training steps of an iteration."""
    batch_size: Count = 64
    """Observations per batch."""
    learning_rate: Amount = 3e-4
    """Adam's learning rate."""
    hidden_dim: Count = 256
    """Width of the layer before the logits."""
    milestone_config: str = "milestone_config.json"
    """The milestones in their order, with their limits."""
    state_dir: str = ".milestone_trainer_cache/milestone_states"
    """Folder of the start states {PREV}_completed.state, for --recorded-starts and games without worlds. Missing states are made by
    playing the experts up to them."""
    policy_dir: str = ".milestone_trainer_cache/successful_policies"
    """Folder of policies, {MILESTONE_ID}.py. For a milestone without a file there, the game's own policy is the expert."""
    output_dir: str = "dagger_pipeline_results"
    """Folder for records, report, students and films. Only one pipeline at a time may use it."""
    milestone: str | None = None
    """Work on this milestone alone; --resume-from and --skip-milestones are then ignored. None works on all."""
    resume_from: str | None = None
    """The milestone to begin at. Those before it stay as they are. None begins at the first."""
    skip_milestones: tuple[str, ...] = ()
    """Milestones to leave out."""
    track: bool = False
    """Mirror all runs to Weights & Biases, in one group (WANDB_MODE=offline keeps them on this machine)."""
    wandb_project: str = "pokemon-dagger-pipeline"
    """W&B project."""
    wandb_entity: str | None = None
    """W&B entity (user or team)."""
    record_video: bool = True
    """Film the expert, the first episode of each rollout, and the student."""
    cuda: bool = True
    """Train on a GPU if there is one."""

    # Further flags
    seed: Seed = 1
    """Seed of the students' weights, rollouts and batches."""
    network: Literal["impala", "tiles", "tiles-small"] = "tiles"
    """The students' network. impala: 84x84 RGB observations. tiles: convolutions over whole tiles of the grey screen, three times
    as fast. tiles-small: half as many channels, for students that are to be passed on."""
    lr_schedule: Literal["constant", "cosine"] = "cosine"
    """Keep the learning rate constant, or let it fall to 0 along a cosine in each iteration."""
    label_set: bool = True
    """Accept every button that the expert says is on a shortest path, instead of only the one that it would press."""
    label_share: Share = 0.1
    """With --label-set, the share in the loss of the button that the expert would press; see dagger_pokemon.py."""
    query_rate: Share = 1.0
    """Share of the visited states that are queried."""
    query_by: Literal["random", "novelty", "disagreement"] = "random"
    """Which states are queried if --query-rate is less than 1; see dagger_pokemon.py."""
    stochastic_students: bool = True
    """In rollouts and tests, draw the students' buttons from their probabilities instead of pressing the likeliest: they get stuck
    less often."""
    handover_share: Share = 0.25
    """Share of a rollout's episodes that begin as in the whole game: where the previous milestone's expert has just reached its
    goal, not where the game draws a start. For games with worlds."""
    cutoff_share: Share = 0.25
    """Share of a rollout's episodes that begin where an episode of the previous rollout was cut off, if there are any: after a
    defeat or a wrong turn."""
    target_success_rate: Share | None = None
    """End a milestone's training when the lower bound of the student's success on 50 fixed seeds passes this share of the
    expert's. None never ends it early."""
    best_eval_episodes: Count = 20
    """Episodes by which the best network of a milestone is chosen."""
    test_episodes: Count = 50
    """Episodes that test the best student, and the expert on the same seeds. Neither training nor the choice of the best used
    them."""
    tier: TierName | None = None
    """Difficulty tier of the bundled game. None is T1."""
    worlds: str | None = None
    """Worlds to train and test in. None takes the tier's."""
    recorded_starts: bool = False
    """Begin every episode at {PREV}_completed.state of --state-dir, instead of where the game draws a start."""
    rom_path: str = "tallgrass/tallgrass.gb"
    """The game's ROM; the default is the bundled game."""
    num_envs: Few = 8
    """Environments that play in parallel."""
    parallel_milestones: Count = 1
    """Milestones that are worked on in parallel. Each gets its share of the cores."""
    num_threads: Few | None = None
    """CPU threads for torch, for each milestone. None: the free cores divided by --parallel-milestones, and for a resumed milestone
    as many as it began with."""
    unsafe_policies: bool = False
    """Run policies without a sandbox, for platforms that have none. Only for files that you trust as your own."""
    overwrite: bool = False
    """Delete what the output folder holds of a pipeline, and begin again. With --milestone, only what it holds of that one."""


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see bc_pokemon.py
    args = parse_command_line(Args, __doc__)

import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from agent.open_expert import UNSAFE_NOTICE
from agent.sandbox.oracle import probe
from common.runtime.checkpoints import load_checkpoint, saved_run_name
from common.runtime.files import clear_temporaries
from common.runtime.logs import finish_run, start_run
from common.runtime.main import Stopped, StopRequest, run_main
from common.runtime.progress import print_table
from common.runtime.run_names import resumed_run, run_folder
from common.runtime.scripts import ScriptFailed, last_lines, run_script
from common.runtime.seeding import TEST
from common.runtime.threads import free_cores
from dagger_pokemon import Args as DaggerArgs
from pipeline.expert import expert_result
from pipeline.failures import REASONS, MilestoneFailed
from pipeline.folder import (
    FILMS,
    SCRIPT,
    SECONDS_FOR_ORPHANS,
    PipelineError,
    claim,
    films,
    forget,
    locked,
    log_of,
    orphans_work,
    pipeline_to_continue,
)
from pipeline.plan import check_names, plan
from pipeline.progress import PipelineProgress
from pipeline.records import PipelineRecords, Record, now
from pipeline.report import write_report
from pipeline.students import check_student, run_name_of, students_gone
from pipeline.work import Work, play_expert, play_student, starts_of
from pokemon_env.errors import PokemonEnvError
from pokemon_env.games import find_game
from pokemon_env.games.base import Game
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import Rom
from tasks.episode_starts import choose_starts
from tasks.milestone_config import MilestoneEntry, load_milestone_config, not_of_game

TEST_SEED = TEST.first
"""First seed of the test episodes. DAgger chooses the best network by others."""
MAY_CHANGE = (
    "milestone", "resume_from", "skip_milestones", "track", "wandb_project", "wandb_entity", "record_video", "cuda",
    "min_success_rate", "num_envs", "parallel_milestones", "num_threads", "unsafe_policies", "overwrite", "output_dir",
)  # fmt: skip
"""Flags that a resumed pipeline may change. If any other changed, the students in a folder would not be from one pipeline."""


def check_flags(args: Args, entries: dict[str, MilestoneEntry], game: Game) -> None:
    """Raise PipelineError for flags that cannot be used, before anything is written."""
    ids = list(entries)
    check_bounds(args)
    if args.handover_share + args.cutoff_share > 1:  # DAgger refuses it, too, but would do so for each milestone
        raise PipelineError("--handover-share and --cutoff-share are more than 1 together; lower one of them")
    check_names(ids, args.milestone_config, args.milestone, args.resume_from, args.skip_milestones)
    if args.recorded_starts and (args.worlds or args.tier):
        raise PipelineError("--recorded-starts: a recorded state holds its own world and tier; leave out --worlds and --tier")
    try:  # invalid worlds, and worlds that the tier is not played in
        if game.has_worlds or args.worlds or args.tier:
            starts = choose_starts(game, ids[0], args.rom_path, purpose="test", kind="worlds", tier=args.tier, worlds=args.worlds)
            PokemonEnv(args.rom_path, target_milestone=ids[0], state_in_info=False, **starts.settings).close()
    except ValueError as error:
        raise PipelineError(str(error)) from error
    if late := [name for name in ids[1:] if not game.has_worlds and entries[name].starting_state is None]:
        raise PipelineError(f"{args.milestone_config}: {', '.join(late)} begins at power-on, which only the first milestone can")


def dagger_flags(args: Args, work: Work, entry: MilestoneEntry, limit: int, last: Path) -> dict[str, Any]:
    """Return DAgger's flags for one milestone. If the checkpoint `last` exists, DAgger resumes from it.

    Flags that may change between starts are always given: a resumed run would otherwise take them from its checkpoint.
    """
    videos = str(work.output / "dagger_videos" / entry.id) if args.record_video else None
    flags: dict[str, Any] = dict(
        milestone=entry.id, exp_name=f"dagger_{entry.id}", model_dir=str(last.parent), seed=args.seed,
        n_iterations=args.dagger_iterations, episodes_per_iter=args.episodes_per_iter,
        train_steps_per_iter=args.train_steps_per_iter, batch_size=args.batch_size, learning_rate=args.learning_rate,
        lr_schedule=args.lr_schedule, hidden_dim=args.hidden_dim, network=args.network, label_set=args.label_set,
        label_share=args.label_share, stochastic_rollouts=args.stochastic_students, stochastic_eval=args.stochastic_students,
        cutoff_share=args.cutoff_share, query_rate=args.query_rate, query_by=args.query_by,
        best_eval_episodes=args.best_eval_episodes, target_success_rate=args.target_success_rate,
        max_episode_steps=limit, eval_max_steps=limit, policy_dir=args.policy_dir, unsafe_policies=args.unsafe_policies,
        answer_cache=str(work.output / "answers.sqlite"), milestone_config=args.milestone_config, rom_path=args.rom_path,
        num_envs=args.num_envs, cuda=args.cuda, save_iterations=False, video=False, json_events=True, rollout_videos=videos,
        track=args.track, wandb_project_name=args.wandb_project, wandb_entity=args.wandb_entity,
    )  # fmt: skip
    if args.num_threads or not last.is_file():  # otherwise as many as it began with, so that it continues bit for bit
        flags["num_threads"] = work.threads
    if work.game.has_worlds and not args.recorded_starts:
        flags |= {"tier": args.tier or "T1", "handover_share": args.handover_share}
        flags |= {"worlds": args.worlds} if args.worlds else {}
    elif entry.starting_state is not None:  # otherwise DAgger, too, begins at power-on
        flags["start_states"] = str(starts_of(work, entry, "train").files[0])
    return flags | ({"resume_from": str(last)} if last.is_file() else {"overwrite": True})


def train_student(args: Args, work: Work, entry: MilestoneEntry, limit: int) -> Path:
    """Run DAgger for one milestone in a process of its own, or resume it. Returns the best checkpoint.

    Raises MilestoneFailed if DAgger fails, CheckpointError if the milestone's checkpoints do not fit, and Stopped.
    PipelineError means that a killed pipeline's DAgger still works there.
    """
    models = work.output / "models" / entry.id
    best, last, final = (models / f"dagger_{entry.id}_{which}.pth" for which in ("best", "last", "final"))
    with locked(models / ".lock", SECONDS_FOR_ORPHANS, orphans_work(models), work.should_stop) as lock:
        for folder in (models, work.output / "dagger_videos" / entry.id):
            clear_temporaries(folder)
        if best.is_file() and final.is_file():
            check_student(best, final, entry.id, work.game, work.rom_sha256)
            return best
        flags = as_flags(DaggerArgs, **dagger_flags(args, work, entry, limit, last))
        log = work.output / "logs" / f"{entry.id}.log"
        with log_of(log) as file:
            print(f"--- {now()}", file=file, flush=True)
        try:
            run_script(
                "dagger_pokemon.py", *flags, log=log, append=True, on_command=lambda text: None,
                locks=[lock.fileno()], on_line=lambda line: work.progress.heard(entry.id, line), should_stop=work.should_stop,
            )  # fmt: skip
        except ScriptFailed as error:
            if work.should_stop():
                raise Stopped from error
            said = last_lines(log, 1)
            raise MilestoneFailed(f"{error}: {said[0].strip()}" if said else str(error)) from error
        last.unlink(missing_ok=True)  # not needed any more, and three times as large as the network
    return best


def learn(args: Args, work: Work, entry: MilestoneEntry, index: int) -> Record:
    """Work on one milestone: evaluate the expert, run DAgger, test the student. Returns its record. Raises only Stopped."""
    began, known, output = time.monotonic(), {}, work.output
    try:
        work.progress.at(entry.id, "the expert plays")
        known = expert_result(work, entry, args.eval_episodes, args.step_multiplier, keep_from=args.min_success_rate)
        if known["max_episode_steps"] is None or known["expert_success_rate"] < args.min_success_rate:
            raise MilestoneFailed(
                f"the expert succeeds in {known['expert_success_rate']:.0%} of {known['expert_episodes']} episodes, wanted "
                f"{args.min_success_rate:.0%} (--min-success-rate)"
            )
        limit = known["max_episode_steps"]
        work.progress.at(entry.id, f"the expert succeeds in {known['expert_mean_steps']:.1f} steps; DAgger with at most {limit}")
        best = train_student(args, work, entry, limit)

        work.progress.at(entry.id, f"{args.test_episodes} test episodes")
        content = load_checkpoint(best)
        student = play_student(work, entry, best, args.test_episodes, TEST_SEED, limit)
        expert = play_expert(work, entry, args.test_episodes, TEST_SEED, limit)
        low, high = student.success_interval
        final = load_checkpoint(best.with_name(f"dagger_{entry.id}_final.pth"))
        known |= {
            "dagger_final_success_rate": student.success_rate,
            "student_success_low": low,
            "student_success_high": high,
            "student_mean_steps": student.mean_success_length if student.successes else None,
            "expert_test_success_rate": expert.success_rate,
            "test_episodes": student.n_episodes,
            "labels": final["labels"]["labels"],
            "training_steps": final["global_step"],
            "student": str(best.relative_to(output)),
            "run_name": saved_run_name(content, best),
        }
        status, reason = "completed", None
    except REASONS as error:
        status, reason = "failed", str(error) or type(error).__name__
    except Stopped:
        raise
    except Exception as error:  # an error in one milestone does not stop the others: its record says what, its log where
        status, reason = "failed", f"{type(error).__name__}: {error}"
        with log_of(output / "logs" / f"{entry.id}.log") as file:
            traceback.print_exc(file=file)
    videos = [str(path.relative_to(output)) for folder in FILMS for path in films(output / folder / entry.id)]
    minutes = (time.monotonic() - began) / 60
    known.setdefault("run_name", run_name_of(output / "models" / entry.id / f"dagger_{entry.id}_last.pth"))
    return Record(entry.id, index, now(), status, **known, reason=reason, minutes=minutes, videos=tuple(videos))


def main(args: Args) -> int:
    entries = load_milestone_config(args.milestone_config)
    rom = Rom.read(args.rom_path)
    game = find_game(rom)
    if not game.milestones:
        raise PipelineError(
            f"{args.rom_path} ({game.name}) has no milestones, and so no experts: clone recordings of it with bc_pokemon.py"
        )
    if unknown := not_of_game(entries, game):
        raise PipelineError(f"{args.milestone_config}: {args.rom_path} ({game.name}) has no milestone {', '.join(unknown)}")
    check_flags(args, entries, game)
    if args.unsafe_policies:
        print(UNSAFE_NOTICE, flush=True)
    else:
        probe(game)
    output = Path(args.output_dir)
    refusal = f"another pipeline works in {output}: wait for its end, stop it, or choose another --output-dir"
    with locked(output / ".lock", refusal=refusal), ExitStack() as opened:
        return run(args, entries, game, rom, output, opened)


def run(args: Args, entries: dict[str, MilestoneEntry], game: Game, rom: Rom, output: Path, opened: ExitStack) -> int:
    """Run the pipeline, once `main` has locked its folder. What must be closed at the end goes into `opened`."""
    ids = list(entries)
    flags = plain_flags(args)
    settings = {key: value for key, value in flags.items() if key not in MAY_CHANGE} | {"rom_sha256": rom.header.sha256}
    before = pipeline_to_continue(output, settings, overwrite=args.overwrite and args.milestone is None)
    if before is None:
        name = opened.enter_context(run_folder(SCRIPT, args.seed))
    else:
        name = opened.enter_context(resumed_run(before))
    os.environ["WANDB_RUN_GROUP"] = name
    resumed_at = None if before is None else len(ids)  # nothing in its logs is replaced
    writer = start_run(name, args, track=args.track, project=args.wandb_project, entity=args.wandb_entity, resumed_at=resumed_at)
    opened.callback(finish_run, writer, args.track)
    if before is None:
        claim(output, name, settings)
    records = PipelineRecords(output)
    if args.milestone is not None and args.overwrite:
        records.drop([args.milestone])
        forget(output, args.milestone)
    for folder in (output, output / "expert_evaluations"):
        clear_temporaries(folder)
    todo, skipped = plan(ids, records, milestone=args.milestone, resume_from=args.resume_from, skip_milestones=args.skip_milestones)
    threads = args.num_threads or max(1, free_cores() // args.parallel_milestones)
    torch.set_num_threads(threads)
    stop, stopped = StopRequest(), threading.Event()
    records.rewrite()  # a killed pipeline may have written only one of the two files
    for milestone, reason in skipped.items():
        records.put(Record(milestone, ids.index(milestone), now(), "skipped", reason=reason))
    started = time.monotonic()
    at_once = f"{args.parallel_milestones} at once with {threads} thread(s) each"
    print(f"{name}: {len(todo)} of {len(ids)} milestones to do, {at_once}; {output}")
    for line in students_gone(records, output):
        print(line)

    def report() -> None:
        """Write the report. An error in it costs no milestone."""
        try:
            write_report(output, name, args, records, {key: entry.description for key, entry in entries.items()})
        except Exception as error:
            print(f"report.html cannot be written ({type(error).__name__}: {error}); the records are complete", file=sys.stderr)

    def finish(record: Record) -> None:
        """Write what is known of a milestone as soon as it ends."""
        records.put(record)
        for key in ("dagger_final_success_rate", "expert_test_success_rate", "student_mean_steps", "minutes", "labels"):
            if (value := getattr(record, key)) is not None:
                writer.add_scalar(f"pipeline/{key}", value, record.index)
        writer.add_scalar("pipeline/completed", sum(one.status == "completed" for one in records), len(records))
        writer.flush()
        report()
        progress.done(record)

    pool = ThreadPoolExecutor(args.parallel_milestones, thread_name_prefix="milestone")
    try:
        with PipelineProgress(todo, args.dagger_iterations) as progress:
            work = Work(
                output, game, args.rom_path, rom.header.sha256,
                tier=args.tier, worlds=args.worlds, recorded_starts=args.recorded_starts, state_dir=args.state_dir,
                policy_dir=args.policy_dir, unsafe_policies=args.unsafe_policies, num_envs=args.num_envs, cuda=args.cuda,
                record_video=args.record_video, threads=threads, progress=progress,
                should_stop=lambda: stop() or stopped.is_set(),
            )  # fmt: skip
            futures = [pool.submit(learn, args, work, entries[milestone], ids.index(milestone)) for milestone in todo]
            try:
                for future in as_completed(futures):
                    finish(future.result())
            except Stopped:
                pass
            finally:
                stopped.set()
                pool.shutdown(cancel_futures=True)
            # Keep the records of milestones that ended while the others were being stopped.
            for future in futures:
                if future.done() and not future.cancelled() and not future.exception():
                    record = future.result()
                    if records.get(record.milestone_id) != record:
                        finish(record)
    finally:
        stop.restore()
        report()
    print_table(progress.table(records))
    print(f"{output / 'report.html'}; {(time.monotonic() - started) / 60:.1f} minutes")
    if stop():
        print("stopped; to resume, run the same command again")
        return 128 + stop.signal
    return 0 if all(record.status != "failed" for record in records if record.milestone_id in todo) else 1


if __name__ == "__main__":
    run_main("auto_dagger_pipeline.py", lambda: main(args), errors=(PokemonEnvError,))
