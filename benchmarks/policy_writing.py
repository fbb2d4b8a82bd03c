#!/usr/bin/env python3
"""Does the trainer tell a model what it needs? All milestones by a scripted model, and again with one kind of feedback left out.

    python -m benchmarks.policy_writing                          # all 24, and for each kind what its lack would mean
    python -m benchmarks.policy_writing --ablation played        # the same with all policies played again (about 20 minutes)
    python -m benchmarks.policy_writing --milestones CLOCK_SET ROUTE_1 --ablation played

The scripted model (tools/scripted_model.py) writes wrong policies first, and a better one only where the prompt tells what that
needs. So each milestone takes exactly as many attempts as its script has; and without one kind of feedback exactly those milestones
that need it stay without a policy. `prompts` asks it again about the attempts that were played, with prompts that lack the kind: a
policy that is written again plays as it did, so that nothing need be played. `played` plays all of it.

Prints two tables. Exits with 1 if a milestone took other attempts than its script has, or the lack of a kind hit others.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.runtime.flag_types import Count, Seed, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    milestones: tuple[str, ...] = ()
    """The milestones to write; all by default."""
    ablation: Literal["none", "prompts", "played"] = "prompts"
    """What is done for each kind of feedback without it: nothing, only asked, or played too."""
    kinds: tuple[str, ...] = ()
    """The kinds to leave out, one after another; all by default."""
    backend: Literal["anthropic", "openai"] = "anthropic"
    """The API that the server is asked by."""
    trial_episodes: Count = 8
    """Episodes in which each policy is tried."""
    confirm_episodes: Count = 20
    """Episodes that confirm a policy."""
    seed: Seed = 1
    """Seed of the trainer; the scripts are made for 1."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import contextlib
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

import milestone_trainer
from agent.llm.policy_prompts import Part, code_of
from benchmarks.folders import run_table
from common.runtime.flag_types import FlagError
from common.runtime.progress import print_table
from pokemon_env.rom import BUNDLED_ROM
from tools import scripted_model
from tools.model_server import Asked, ModelServer
from trainer import policy_writer
from trainer.attempts import folder_of, load_attempt
from trainer.feedback import Attempt, feedback_parts
from trainer.policy_writer import next_parent
from trainer.trial import Episode, Trial

CONFIG = BUNDLED_ROM.parents[1] / "milestone_config.json"
LEFT_OUT = "left out"
_STUCK = ("stuck", "circle", "out of time")


def lacking(kind: str, attempt: Attempt) -> Attempt:
    """Return an attempt as a trainer without one kind of feedback would tell it.

    kind: of `tools.scripted_model.KINDS`.
    """
    trial, confirmed = (None if one is None else _cut(kind, one) for one in (attempt.trial, attempt.confirmed))
    error = LEFT_OUT if attempt.error and kind == "exception" else attempt.error
    return replace(attempt, error=error, trial=trial, confirmed=confirmed)


def _cut(kind: str, trial: Trial) -> Trial:
    episodes = trial.episodes
    if kind == "noise":
        episodes = [one for one in episodes if one.success or not one.noisy]
    elif kind == "seed":
        episodes = [one for place, one in enumerate(episodes) if one.success or one.noisy or not place]
    else:
        episodes = [one if one.success else _CUTS[kind](one) for one in episodes]
    return Trial(episodes, trial.planned)


def _without_exception(one: Episode) -> Episode:
    steps = [replace(step, abstained=step.abstained.split(":")[0]) for step in one.last]
    return replace(one, last=steps, reason=LEFT_OUT if one.kind == "exception" else one.reason)


def _without_answers(one: Episode) -> Episode:
    steps = [replace(step, abstained=LEFT_OUT if step.abstained else "") for step in one.last]
    return replace(one, last=steps, abstentions={}, reason=LEFT_OUT if one.kind in ("no answer", "limit") else one.reason)


def _without_log(one: Episode) -> Episode:
    return replace(one, last=[replace(step, log=()) for step in one.last])


def _without_place(one: Episode) -> Episode:
    steps = [replace(step, place="", position=None, facing="", text="", menu="") for step in one.last]
    return replace(one, last=steps, state={}, reason=LEFT_OUT if one.kind in _STUCK else one.reason)


def _without_picture(one: Episode) -> Episode:
    return replace(one, pictures=[])


_CUTS: dict[str, Callable[[Episode], Episode]] = {
    "exception": _without_exception, "answers": _without_answers, "log": _without_log, "place": _without_place,
    "picture": _without_picture,
}  # fmt: skip


@contextlib.contextmanager
def telling_no(kind: str | None) -> Iterator[None]:
    """Let the trainer leave out one kind of feedback; None leaves out nothing."""

    def told(attempt: Attempt, earlier: Sequence[Attempt], pictures: int) -> list[Part]:
        assert kind is not None
        return feedback_parts(lacking(kind, attempt), [lacking(kind, one) for one in earlier], pictures)

    if kind is not None:
        policy_writer.feedback_parts = told
    try:
        yield
    finally:
        policy_writer.feedback_parts = feedback_parts


def write_policies(args: Args, milestones: Sequence[str], folder: Path, kind: str | None = None) -> dict[str, Any]:
    """Let the scripted model write policies, into a new folder. Returns milestone -> record, with "seconds"."""
    config = json.loads(CONFIG.read_text())
    config["stop_on_failure"] = False
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    records: dict[str, Any] = {}
    with ModelServer(answer=scripted_model.answer) as server, telling_no(kind):
        for milestone in milestones:
            begun = time.monotonic()
            flags = milestone_trainer.Args(
                expert_base_url=server.url + ("/v1" if args.backend == "openai" else ""), expert_backend=args.backend,
                milestone_config=str(folder / "config.json"), output_dir=str(folder), policy_dir=str(folder / "policies"),
                state_dir=str(folder / "states"), model_calls=str(folder / "calls.sqlite"), milestone=milestone, seed=args.seed,
                trial_episodes=args.trial_episodes, confirm_episodes=args.confirm_episodes,
            )  # fmt: skip
            with contextlib.redirect_stdout(io.StringIO()), contextlib.chdir(folder):  # its logs of the run go there
                milestone_trainer.main(replace(flags, rom_path=str(BUNDLED_ROM)))
            records[milestone] = json.loads((folder / "records.json").read_text())[milestone]
            records[milestone]["seconds"] = time.monotonic() - begun
            name = milestone if kind is None else f"without {kind}: {milestone}"
            print(f"{name}: {records[milestone]['status']}, {len(records[milestone]['attempts'])} attempts", flush=True)
    return records


def unsolved_by_prompts(folder: Path, milestones: Sequence[str], kind: str) -> list[str]:
    """Return the milestones whose next policy the scripted model would not write, if one kind were not told of the last one."""
    found = []
    for milestone in milestones:
        attempts: list[Attempt] = []
        while (attempt := load_attempt(folder_of(folder, milestone, len(attempts) + 1))) is not None:
            attempts.append(attempt)
        for place in range(1, len(attempts)):
            parent = next_parent(attempts[:place])
            assert parent is not None  # scripts are too short for a fresh beginning
            earlier = [one for one in attempts[:place] if one is not parent]
            if asked_again(milestone, lacking(kind, parent), [lacking(kind, one) for one in earlier]) != attempts[place].code:
                found.append(milestone)
                break
    return found


def asked_again(milestone: str, parent: Attempt, earlier: Sequence[Attempt]) -> str:
    """Return the policy that the scripted model writes when it is told of an attempt."""
    parts: list[str | bytes] = [f"# The milestone {milestone}"]
    for part in feedback_parts(parent, earlier, 9):
        parts.append(part.content if isinstance(part.content, str) else _png(part.content))
    text = scripted_model.answer(Asked("anthropic", "", "", tuple(parts), None, "", 1))
    found = code_of(text)
    return "" if found is None else found[0]


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def attempts_table(records: dict[str, Any]) -> tuple[Table, bool]:
    """Return a table of what was written, and whether all is as the scripts say."""
    table = Table("milestone", "status", "attempts", "scripted", "confirmed", "tokens in", "tokens out", "seconds")
    right = True
    for milestone, record in records.items():
        best = next((one for one in record["attempts"] if one["number"] == record["best"]), None)
        confirmed = (best or {}).get("confirmed")
        confirmed = "" if confirmed is None else f"{confirmed[0]} of {confirmed[1]}"
        scripted, count = scripted_model.attempts_of(milestone), len(record["attempts"])
        right &= record["status"] == "won" and count == scripted
        table.add_row(
            milestone, record["status"], str(count), str(scripted), confirmed,
            f"{record['tokens_in']:,}", f"{record['tokens_out']:,}", f"{record['seconds']:.0f}",
        )  # fmt: skip
    return table, right


def main(args: Args) -> int:
    """Print the tables; return 0 if all is as the scripts say."""
    check_bounds(args)
    if unknown := [name for name in args.milestones if name not in scripted_model.STORY]:
        raise FlagError(f"--milestones: there is no script for {', '.join(unknown)}")
    if unknown := [name for name in args.kinds if name not in scripted_model.KINDS]:
        raise FlagError(f"--kinds: {', '.join(unknown)} is none of {', '.join(scripted_model.KINDS)}")
    milestones = args.milestones or tuple(scripted_model.STORY)
    kinds = [] if args.ablation == "none" else args.kinds or tuple(scripted_model.KINDS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        begun = time.monotonic()
        records = write_policies(args, milestones, folder / "all")
        table, right = attempts_table(records)
        print_table(table)
        print(
            f"{sum(len(record['attempts']) for record in records.values())} attempts in {time.monotonic() - begun:.0f} s, ", end=""
        )
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        table = Table("without", "needed by", "without a policy")
        for kind in kinds:
            if args.ablation == "played":
                played = write_policies(args, milestones, folder / kind, kind)
                unsolved = [name for name, record in played.items() if record["status"] != "won"]
            else:
                unsolved = unsolved_by_prompts(folder / "all", milestones, kind)
            needed = [name for name in scripted_model.needing(kind) if name in milestones]
            right &= unsolved == needed
            table.add_row(kind, ", ".join(needed), "the same" if unsolved == needed else ", ".join(unsolved) or "none")
        if kinds:
            print_table(table)
    return 0 if right else 1


if __name__ == "__main__":
    run_table("policy_writing", lambda: main(args))
