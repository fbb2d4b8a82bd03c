"""What a trainer has made: its records, the policies that it kept, and the states in which they end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agent.llm.calls import CallFile
from agent.llm.prices import usage_of
from common.runtime.files import atomic_write, save_json, save_text
from common.runtime.flag_types import FlagError
from common.runtime.kept_files import KeptFileError, read_kept
from common.runtime.main import UserError
from trainer.attempts import folder_of
from trainer.feedback import Attempt
from trainer.policy_writer import RECORDER, Result

HEADER = "# Written by a language model for milestone_trainer.py"
"""The beginning of a policy's first line; a file without it is the user's."""
RECORDS, SETTINGS = "records.json", "settings.json"

_NONE = type(None)
_ATTEMPT = {"number": int, "parent": (int, _NONE), "error": str, "said": str, "trial": (list, _NONE), "confirmed": (list, _NONE)}
_RECORD = {
    "status": str, "attempts": [_ATTEMPT], "best": (int, _NONE), "answers": int, "tokens_in": int, "tokens_out": int,
    "dollars": (int, float, _NONE),
}  # fmt: skip


class TrainerRecords:
    """The results of the milestones that were worked on, in `{output}/records.json`, which is whole after each attempt.

    Args:
        output: the trainer's folder.
        story: all milestones, in their order.
    """

    def __init__(self, output: Path, story: list[str]):
        self.output, self.story = output, story
        path, instead = output / RECORDS, "remove it: finished attempts stay, and nothing is asked for again"
        self._records: dict[str, dict[str, Any]] = read_kept(path, {"*": _RECORD}, instead) or {}
        for name, record in self._records.items():
            numbers = [one["number"] for one in record["attempts"]]
            known = record["best"] in ([] if record["status"] == "won" else [None]) + numbers
            if not known or any(one["confirmed"] is not None and len(one["confirmed"]) != 2 for one in record["attempts"]):
                raise KeptFileError(f"{path}: its record of {name[:40]!r} cannot be; {instead}")

    def __iter__(self):
        return ((name, self._records[name]) for name in self.story if name in self._records)

    def get(self, milestone: str) -> dict[str, Any] | None:
        """Return a milestone's record: "status", "attempts", "best", "calls" and so on; None without one."""
        return self._records.get(milestone)

    def status(self, milestone: str) -> str | None:
        """Return "won", "weak", "failed" or "under way"; None for a milestone that was not worked on."""
        return self._records.get(milestone, {}).get("status")

    def put(self, milestone: str, result: Result, cost: Mapping[str, Any]) -> None:
        """Keep a result, and write all records."""
        best = result.best
        self._records[milestone] = {
            "status": result.status,
            "attempts": [_line(attempt) for attempt in result.attempts],
            "best": None if best is None else best.number,
            **cost,
        }
        save_json(self.output / RECORDS, self._records)

    def winners(self, milestone: str) -> list[tuple[str, str]]:
        """Return milestones before this one whose policies have won, with their text; the nearest first."""
        found = []
        for name in reversed(self.story[: self.story.index(milestone)]):
            record = self._records.get(name)
            if record is not None and record["status"] == "won":
                found.append((name, (folder_of(self.output, name, record["best"]) / "policy.py").read_text()))
        return found


def cost_of(calls: CallFile, run: str, milestone: str) -> dict[str, Any]:
    """Return what a milestone's answers have cost: "answers", "tokens_in", "tokens_out", "dollars" (None if unknown)."""
    found: dict[str, Any] = {"answers": 0, "tokens_in": 0, "tokens_out": 0, "dollars": 0.0}
    for row in calls.rows(run):
        if row["milestone"] != milestone or not row["usage"]:
            continue
        usage = usage_of(row["backend"], json.loads(row["usage"]))
        if usage is None:
            continue
        found["answers"] += 1
        found["tokens_in"] += usage.prompt
        found["tokens_out"] += usage.output
        found["dollars"] = None if None in (found["dollars"], row["dollars"]) else found["dollars"] + row["dollars"]
    return found


def _line(attempt: Attempt) -> dict[str, Any]:
    trials = {"trial": attempt.trial, "confirmed": attempt.confirmed}
    plain = {name: None if trial is None else [trial.successes, trial.planned] for name, trial in trials.items()}
    return {"number": attempt.number, "parent": attempt.parent, "error": attempt.error, **plain, "said": attempt.in_a_line()}


def check_policy_dir(folder: Path, milestones: Iterable[str]) -> None:
    """Raise FlagError for a file of the user's own where a policy would be written."""
    for name in milestones:
        path = folder / f"{name}.py"
        if path.is_symlink() or (path.exists() and not _is_ours(path)):
            raise FlagError(f"{path}: is not of milestone_trainer.py, and is never replaced; move it, or name another --policy-dir")


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER.encode()


def _may_replace_state(path: Path) -> bool:
    """Return whether there is no state, or one that a trainer has put there."""
    sidecar = Path(f"{path}.json")
    if not os.path.lexists(path) and not os.path.lexists(sidecar):
        return True
    with contextlib.suppress(UserError):
        kept = read_kept(sidecar, {"details": {"recorder": str}})
        return not path.is_symlink() and kept is not None and kept["details"]["recorder"] == RECORDER
    return False


def has_kept(milestone: str, policy_dir: Path, state_dir: Path) -> bool:
    """Return whether a milestone's policy and the state that it ends in are there."""
    return (policy_dir / f"{milestone}.py").is_file() and (state_dir / f"{milestone}_completed.state").is_file()


def keep_policy(result: Result, milestone: str, model: str, output: Path, policy_dir: Path, state_dir: Path) -> None:
    """Write the policy of a milestone that was won, or is weak, and the state in which a confirming episode ended.

    Further such states go into `{output}/start_states/{ID}`: the next milestone's episodes begin there, in a game without worlds.
    """
    best = result.best
    if result.status == "failed" or best is None or best.confirmed is None:
        return
    folder = folder_of(output, milestone, best.number)
    prompt = hashlib.sha256((folder / "prompt.md").read_bytes()).hexdigest()[:16]
    tried = "not tried" if best.trial is None else f"tried {best.trial.successes} of {best.trial.planned}"
    again = best.confirmed
    confirmed = f"confirmed {again.successes} of {again.planned}, {again.mean_steps:.1f} steps on average"
    weak = "" if result.status == "won" else " (weak)"
    header = f"{HEADER}: {model}, attempt {best.number}, prompt {prompt}, {tried}, {confirmed}{weak}.\n"
    states = sorted((folder / "states").glob("*/*.state"), key=lambda path: int(path.stem))
    starts = output / "start_states" / milestone
    first = state_dir / f"{milestone}_completed.state"
    if states and not _may_replace_state(first):
        print(f"{first}: is not of milestone_trainer.py, and stays; where its policy ended is in {starts}")
        first = starts / "000.state"
    for place, path in enumerate(states):
        target = starts / f"{place:03d}.state" if place else first
        for source, copy in ((Path(f"{path}.json"), Path(f"{target}.json")), (path, target)):
            with atomic_write(copy) as temporary:
                shutil.copyfile(source, temporary)
    save_text(policy_dir / f"{milestone}.py", header + best.code)
