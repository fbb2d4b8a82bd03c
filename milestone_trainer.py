#!/usr/bin/env python3
"""Let a language model write the policies of all milestones: write, try, tell what went wrong, write again, keep what holds.

    python milestone_trainer.py                          # all milestones; the same command goes on after a stop or a kill
    python milestone_trainer.py --milestone RIVAL_HOUSE  # that one alone
    python milestone_trainer.py --preview                # what it will cost
    python milestone_trainer.py --expert-base-url http://127.0.0.1:8787 --expert-backend anthropic    # a server of your own

Writes `{policy_dir}/{ID}.py`, `{state_dir}/{ID}_completed.state`, and in `{output_dir}` `records.json`, `report.html` and all
attempts, with what was asked, what came, and what was seen. What a model wrote runs in the sandbox only. Afterwards
`auto_dagger_pipeline.py` trains students with these policies.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from common.flag_groups import ModelFlags, TierName
from common.runtime.flag_types import Bounds, Count, FlagError, Seed, Share, check_bounds
from common.runtime.flags import parse_command_line, plain_flags


@dataclass
class Args(ModelFlags):
    expert_model: Annotated[str, tyro.conf.arg(aliases=["--model-name"])] = "claude-sonnet-5-5"
    """The language model."""
    expert_backend: Annotated[Literal["anthropic", "openai"] | None, tyro.conf.arg(aliases=["--backend"])] = None
    """Kind of server: anthropic or openai; see docs/language-model.md. None is openai with --expert-base-url, else anthropic."""
    expert_timeout: Annotated[float, Bounds(0.01)] = 600
    """Seconds for one try."""
    expert_effort: str | None = None
    """How much a model thinks, for those that can be told. None sends nothing."""
    expert_max_tokens: Count = 32_000
    """Tokens that an answer may have; what the model thinks counts."""

    milestone_config: str = "milestone_config.json"
    """The milestones in their order, with their limits: attempts, steps, seconds."""
    state_dir: str = ".milestone_trainer_cache/milestone_states"
    """Folder that {ID}_completed.state are written to."""
    policy_dir: str = ".milestone_trainer_cache/successful_policies"
    """Folder that the policies are written to. A file there that no trainer wrote is never replaced."""
    output_dir: str = "milestone_trainer_results"
    """Folder for records, report and attempts. Only one trainer at a time may use it."""
    milestone: str | None = None
    """Write this milestone's policy alone; --resume-from and --skip-milestones are then ignored. None writes all."""
    resume_from: str | None = None
    """The milestone to begin at. None begins at the first."""
    skip_milestones: tuple[str, ...] = ()
    """Milestones to leave out."""
    candidates: Annotated[int, Bounds(1, 100)] = 1
    """Answers that are asked for at once, for each attempt. The best counts."""
    trial_episodes: Count = 8
    """Episodes in which each policy is tried, on the same seeds."""
    confirm_episodes: Count = 20
    """Episodes on other seeds that confirm a policy."""
    min_success_rate: Share = 0.9
    """Success rate from which on a policy has won."""
    noise: Share = 0.1
    """Probability that a press is drawn by chance, in half of the episodes."""
    feedback_frames: Count = 9
    """Screens of a failure that the model is shown."""
    tier: TierName | None = None
    """Difficulty tier of the bundled game. None is T1."""
    worlds: str | None = None
    """Worlds to try policies in. None takes the tier's."""
    seed: Seed = 1
    """Seed of the starts and of chance."""
    rom_path: str = "tallgrass/tallgrass.gb"
    """The game's ROM; the default is the bundled game."""
    track: bool = False
    """Mirror the run to Weights & Biases (WANDB_MODE=offline keeps it on this machine)."""
    wandb_project: str = "pokemon-milestone-trainer"
    """W&B project."""
    wandb_entity: str | None = None
    """W&B entity (user or team)."""
    overwrite: bool = False
    """Delete what the output folder holds of a trainer, and begin again."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import hashlib
import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path

from rich.table import Table

from agent.llm.client import ModelClient, Question
from agent.llm.forecast import cost_table, forecast
from agent.open_model import open_client
from agent.sandbox.oracle import probe
from common.runtime.files import clear_temporaries, exclusive_lock, save_json
from common.runtime.kept_files import read_kept
from common.runtime.logs import RunLog, finish_run, start_run
from common.runtime.main import Stopped, StopRequest, run_main
from common.runtime.progress import print_table
from common.runtime.run_names import run_folder
from pipeline.plan import check_names
from pokemon_env.errors import PokemonEnvError
from pokemon_env.games import find_game
from pokemon_env.games.base import Game
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import Rom
from tasks.episode_starts import EpisodeStarts, choose_starts
from tasks.milestone_config import MilestoneEntry, load_milestone_config, not_of_game, stops_on_failure
from trainer.policy_writer import ASKED_AGAIN, OutOfMoney, PolicyWriter, Result, Writing
from trainer.records import RECORDS, SETTINGS, TrainerRecords, check_policy_dir, cost_of, has_kept, keep_policy
from trainer.report import write_report
from trainer.trial import Limits

MAY_CHANGE = (
    "milestone", "resume_from", "skip_milestones", "track", "wandb_project", "wandb_entity", "output_dir", "overwrite", "preview",
    "expert_timeout", "expert_tries", "expert_concurrency", "max_cost", "prices", "model_calls", "replay", "expert_base_url",
    "expert_key_env", "policy_dir", "state_dir",
)  # fmt: skip
"""Flags that a resumed trainer may change. If any other changed, the attempts in a folder would not be of one trainer."""


def main(args: Args) -> int:
    check_flags(args)
    rom = Rom.read(args.rom_path)
    game, entries = find_game(rom), load_milestone_config(args.milestone_config)
    if not game.milestones:
        raise FlagError(f"{args.rom_path} ({game.name}) has no milestones, so there is nothing to write policies for")
    if unknown := not_of_game(entries, game):
        raise FlagError(f"{args.milestone_config}: {args.rom_path} ({game.name}) has no milestone {', '.join(unknown)}")
    check_names(list(entries), args.milestone_config, args.milestone, args.resume_from, args.skip_milestones)
    todo = chosen(args, list(entries))
    check_policy_dir(Path(args.policy_dir), todo)
    probe(game)
    output = Path(args.output_dir)
    with ExitStack() as opened:
        client = open_client(args, run_name_of(args), opened)  # a wrong key or model leaves no files
        client.start(pictures=True)
        if args.preview:
            return preview(args, client, game, entries, todo)
        if args.max_cost is not None and not (output / SETTINGS).exists():
            check_money(args, client, first_question(args, client, game, entries, todo[0]))
        opened.enter_context(exclusive_lock(output / ".lock"))
        check_settings(args, output, rom)
        clear_temporaries(output)
        name = opened.enter_context(run_folder("milestone_trainer", args.seed))
        log = start_run(name, args, track=args.track, project=args.wandb_project, entity=args.wandb_entity)
        opened.callback(finish_run, log, args.track)
        stop = StopRequest()
        opened.callback(stop.restore)
        trainer = Trainer(args, game, entries, client, TrainerRecords(output, list(entries)), log, stop)
        try:
            ended = trainer.train(todo)
        except Stopped:
            ended = "stopped; the same command goes on"
        except OutOfMoney:
            ended = "--max-cost is used up; the same command goes on with a higher one"
        print_table(trainer.table())
        for line in [*client.summary(), str(output / "report.html")]:
            print(line)
        if ended:
            print(ended)
        if stop.signal is not None:
            return 128 + stop.signal
        return 0 if all(trainer.records.status(milestone) == "won" for milestone in todo) else 1


@dataclass
class Trainer:
    """What all milestones share."""

    args: Args
    game: Game
    entries: dict[str, MilestoneEntry]
    client: ModelClient
    records: TrainerRecords
    log: RunLog
    stop: StopRequest

    def train(self, todo: list[str]) -> str:
        """Write the policy of each milestone in turn. Returns why it ended before the last; "" if it did not."""
        args, records = self.args, self.records
        for milestone in todo:
            if records.status(milestone) == "won" and has_kept(milestone, Path(args.policy_dir), Path(args.state_dir)):
                continue
            # Write, try, tell what went wrong, write again
            result = self.write(milestone)
            # Keep what holds: the policy, and the states in which the next milestone begins
            keep_policy(result, milestone, args.expert_model, records.output, Path(args.policy_dir), Path(args.state_dir))
            self.note(milestone, result)
            self.report(milestone, result)
            if result.status == "failed" and (ended := self.cannot_go_on(milestone, todo)):
                return ended
        return ""

    def write(self, milestone: str) -> Result:
        """Let the model write one milestone's policy, until it holds or all attempts are used."""
        args, entry = self.args, self.entries[milestone]
        writing = Writing(
            1 + entry.max_retries, args.candidates, args.trial_episodes, args.confirm_episodes, args.min_success_rate, args.noise,
            args.feedback_frames, args.seed,
        )  # fmt: skip
        limits = Limits(entry.max_steps, entry.stuck_threshold, entry.timeout)
        starts = starts_of(args, self.game, self.entries, milestone)
        with PokemonEnv(args.rom_path, target_milestone=milestone, **starts.settings) as env:
            winners = self.records.winners(milestone)
            output = self.records.output
            writer = PolicyWriter(
                self.client, env, milestone, starts.files, limits, writing, output, winners=winners, should_stop=self.stop,
                on_attempt=lambda history: self.note(milestone, Result("under way", None, history)),
            )  # fmt: skip
            return writer.write()

    def cannot_go_on(self, milestone: str, todo: list[str]) -> str:
        """Return why nothing can follow a milestone that has failed; "" if something can, or nothing is to follow."""
        if milestone == todo[-1]:
            return ""
        if stops_on_failure(self.args.milestone_config):
            return f"{milestone} has failed, and {self.args.milestone_config} says stop_on_failure"
        if not self.game.has_worlds:
            return f"{milestone} has failed, and without its end there is no start for the next"
        return ""

    def note(self, milestone: str, result: Result) -> None:
        """Write what has come of a milestone so far into the records, and onto the page."""
        self.records.put(milestone, result, cost_of(self.client.calls, self.client.run, milestone))
        descriptions = {name: entry.description for name, entry in self.entries.items()}
        write_report(self.records, self.args.expert_model, descriptions)

    def report(self, milestone: str, result: Result) -> None:
        """Write the logs."""
        record, place = self.records.get(milestone) or {}, list(self.entries).index(milestone)
        self.log.add_scalar("trainer/attempts", len(result.attempts), place)
        self.log.add_scalar("trainer/won", float(result.status == "won"), place)
        for key in ("tokens_in", "tokens_out", "dollars"):
            if record.get(key) is not None:
                self.log.add_scalar(f"trainer/{key}", record[key], place)

    def table(self) -> Table:
        """Return a table of all milestones that were worked on."""
        table = Table("milestone", "status", "attempts", "confirmed", "tokens in", "tokens out", "dollars")
        for name, record in self.records:
            best = next((one for one in record["attempts"] if one["number"] == record["best"]), None)
            confirmed = "" if best is None or best["confirmed"] is None else "/".join(map(str, best["confirmed"]))
            dollars = "unknown" if record["dollars"] is None else f"${record['dollars']:.4f}"
            tokens = (f"{record[key]:,}" for key in ("tokens_in", "tokens_out"))
            table.add_row(name, record["status"], str(len(record["attempts"])), confirmed, *tokens, dollars)
        return table


def chosen(args: Args, ids: list[str]) -> list[str]:
    """Return the milestones to work on, in their order."""
    if args.milestone is not None:
        return [args.milestone]
    begin = 0 if args.resume_from is None else ids.index(args.resume_from)
    return [name for name in ids[begin:] if name not in args.skip_milestones]


def starts_of(args: Args, game: Game, entries: dict[str, MilestoneEntry], milestone: str) -> EpisodeStarts:
    """Return where a milestone's episodes begin: where the game draws a start, or in the end states of the milestone before.

    Raises FlagError if a game without worlds has no such state.
    """
    if game.has_worlds:
        return choose_starts(game, milestone, args.rom_path, purpose="train", kind="worlds", tier=args.tier, worlds=args.worlds)
    story = list(entries)
    if not story.index(milestone):
        return EpisodeStarts()
    before = story[story.index(milestone) - 1]
    first = Path(args.state_dir) / f"{before}_completed.state"
    if not first.is_file():
        raise FlagError(f"{first}: is not there, and {milestone} begins in it; work on {before} first, or name another --state-dir")
    return EpisodeStarts(files=(first, *sorted((Path(args.output_dir) / "start_states" / before).glob("*.state"))))


def run_name_of(args: Args) -> str:
    """Return the name by which the cost of this folder's trainer is counted, whenever it is started."""
    return f"milestone_trainer_{args.seed}_{hashlib.sha256(str(Path(args.output_dir).resolve()).encode()).hexdigest()[:8]}"


def check_flags(args: Args) -> None:
    """Raise FlagError for flags that cannot be used, before anything is asked or written."""
    check_bounds(args)
    if args.min_success_rate <= 0:
        raise FlagError("--min-success-rate is 0, which every policy has; it must be more")


def check_settings(args: Args, output: Path, rom: Rom) -> None:
    """Write what a folder's attempts are made with. Raises FlagError if it was begun with something else."""
    settings = {key: value for key, value in plain_flags(args).items() if key not in MAY_CHANGE} | {"rom_sha256": rom.header.sha256}
    settings = json.loads(json.dumps(settings))
    path = output / SETTINGS
    made = ("attempts", "start_states", RECORDS, "report.html")
    if not path.is_file() and (others := [name for name in made if os.path.lexists(output / name)]):
        there = others[0] + "/" * (output / others[0]).is_dir()
        raise FlagError(f"{output} holds {there} but no {SETTINGS}, so no trainer made it; choose another --output-dir")
    if args.overwrite:
        for name in (*made, SETTINGS):  # the settings last: a partly emptied folder is still known as a trainer's
            if (output / name).is_dir() and not (output / name).is_symlink():
                shutil.rmtree(output / name)
            else:
                (output / name).unlink(missing_ok=True)
    before = read_kept(path, {}, "put back the file that was there, or choose another --output-dir")
    before = settings if before is None else before
    if before != settings:
        changed = sorted(f"--{key.replace('_', '-')}" for key in {*before, *settings} if before.get(key) != settings.get(key))
        raise FlagError(
            f"{output} belongs to a trainer with other {', '.join(changed)}; give them as they were, give another --output-dir, or "
            "delete what is there by --overwrite"
        )
    save_json(path, settings)


def first_question(
    args: Args, client: ModelClient, game: Game, entries: dict[str, MilestoneEntry], milestone: str
) -> Question:
    """Return what is asked first of a milestone."""
    starts = starts_of(args, game, entries, milestone)
    with PokemonEnv(args.rom_path, target_milestone=milestone, **starts.settings) as env:
        limits, writing = Limits(1, 1, 1.0), Writing(1, seed=args.seed)
        return PolicyWriter(client, env, milestone, starts.files, limits, writing, Path(args.output_dir)).first_question()


def check_money(args: Args, client: ModelClient, question: Question) -> None:
    """Raise FlagError if `--max-cost` is not enough for one question, before anything is written for it."""
    assert args.max_cost is not None
    worst = client.worst_case(question)
    if worst is not None and worst > args.max_cost and not args.replay:
        raise FlagError(
            f"--max-cost {args.max_cost:g}: one request may cost ${worst:.4f}, so none can be sent; give at least that, or a lower "
            "--expert-max-tokens"
        )


def preview(args: Args, client: ModelClient, game: Game, entries: dict[str, MilestoneEntry], todo: list[str]) -> int:
    """Print what the policies will cost, by the first milestone's prompt. Asks nothing."""
    question = first_question(args, client, game, entries, todo[0])
    attempts = sum(1 + entries[name].max_retries for name in todo)
    numbers = {"likely": 2 * len(todo), "most": attempts * (1 + ASKED_AGAIN) * args.candidates}
    cases = {name: forecast(client, [question], number) for name, number in numbers.items()}
    print_table(cost_table(cases))
    print("\n".join(cases["likely"].notes()))
    print("Likely: two answers for each policy. Prompts after the first also hold a policy and what went wrong with it.")
    return 0


if __name__ == "__main__":
    run_main("milestone_trainer.py", lambda: main(args), errors=(PokemonEnvError, ValueError))
