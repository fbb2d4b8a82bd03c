#!/usr/bin/env python3
"""Print the contents of a data set: rows and labels, buttons, experts, iterations, worlds, pictures.

    python -m tools.describe_data runs/.../data.sqlite
    python -m tools.describe_data expert_data --json
    python -m tools.describe_data models/dagger_pokemon_data.sqlite --reasons 20    # a page with pictures

The path is the file of a DAgger run, or a folder of demonstrations.
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from common.runtime.flag_types import CountOrZero, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    path: tyro.conf.Positional[str]
    """A data set's .sqlite, or a folder with episode_*.npz."""
    json: bool = False
    """Print JSON instead of tables."""
    reasons: CountOrZero = 0
    """Write a page next to the data set, {PATH}.html, with so many labelled rows that have a reason: screen, label, reason."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import numpy as np
from rich.table import Table

from common.demonstrations import NO_LABEL, episode_files, load_episode
from common.picture_codec import picture_key
from common.runtime.main import run_main
from common.runtime.progress import print_table
from dagger.data import COLUMNS, DEMONSTRATION_ITERATION, NOT_RECORDED, DaggerData, DaggerDataError, Source, Status
from tools.reasons_page import write_reasons_page

SHOWN_REASONS = 3
"""How many reasons of abstentions are shown, the most frequent ones: each abstention may have another reason."""

STATUS_NAMES = {
    Status.VALID: "valid", Status.ABSTAINED: "abstained", Status.NOT_ASKED: "not asked", Status.WITHDRAWN: "withdrawn"
}  # fmt: skip


def describe(path: str | Path) -> dict[str, Any]:
    """Return a description of the file or folder, as JSON data.

    Raises DaggerDataError or DemonstrationError if it is not a data set, or cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        if (data_sets := sorted(path.glob("*.sqlite"))) and not any(path.glob("episode_*.npz")):
            raise DaggerDataError(f"{path}: is a folder without demonstrations; name the data set in it, such as {data_sets[0]}")
        facts, columns, names = _read_demonstrations(path)
    else:
        with DaggerData(path, "read") as data:
            columns, names = data.columns(COLUMNS), data.names
            facts = {
                "kind": "DAgger",
                "milestones": [data.milestone],
                "buttons": data.buttons,
                "bytes_on_disk": data.bytes_on_disk(),
            }
    return {"path": str(path), **_summary(facts, columns, names)}


def _read_demonstrations(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], list[str]]:
    """Return facts, the columns of `DaggerData` that the files contain, and names. One episode at a time is in memory."""
    parts: dict[str, list[np.ndarray]] = {}
    names: dict[str, int] = {NOT_RECORDED: 0}
    frames: dict[bytes, int] = {}
    milestones: dict[str | None, None] = {}
    buttons: list[str] = []
    size = 0
    for number, path in enumerate(episode_files(folder)):
        episode = load_episode(path)
        metadata, steps = episode.metadata, len(episode)
        milestones[metadata.get("milestone")] = None
        buttons = max(buttons, list(metadata.get("buttons", ())), key=len)
        size += path.stat().st_size
        expert = names.setdefault(f"demonstrations by {metadata.get('recorder', 'somebody')}", len(names))
        seen = [frames.setdefault(picture_key(picture), len(frames)) for picture in episode.observations[:-1]]
        abstained = episode.actions == NO_LABEL
        world, seed = metadata.get("world"), metadata.get("seed")
        columns = {
            "frame": np.array(seen),
            "previous": np.arange(steps) - (np.arange(steps) > 0) + sum(map(len, parts.get("frame", []))),
            "action": episode.pressed,
            "label": episode.actions,
            "status": np.where(abstained, Status.ABSTAINED, Status.VALID),
            "kind": np.where(abstained, 0, -1),
            "reason": np.full(steps, -1),
            "expert": np.full(steps, expert),
            "episode": np.full(steps, number),
            "iteration": np.full(steps, DEMONSTRATION_ITERATION),
            "beta": np.ones(steps),
            "world": np.full(steps, -1 if world is None else world),
            "seed": np.full(steps, -1 if seed is None else seed),
            "cached": np.zeros(steps, bool),
            "optimal": np.zeros(steps, np.int64) if episode.optimal is None else episode.optimal,
            "source": np.full(steps, Source.DEMONSTRATION),
        }
        for name, values in columns.items():
            parts.setdefault(name, []).append(values)
    facts = {"kind": "demonstrations", "milestones": list(milestones), "buttons": buttons, "bytes_on_disk": size}
    return facts, {name: np.concatenate(values) for name, values in parts.items()}, list(names)


def _summary(facts: dict[str, Any], columns: dict[str, np.ndarray], names: list[str]) -> dict[str, Any]:
    rows = len(columns["frame"])
    status, label = columns["status"], columns["label"]
    valid = status == Status.VALID
    distinct = len(np.unique(columns["frame"]))
    own = np.arange(rows)
    same_as_before = (columns["frame"] == columns["frame"][columns["previous"]]) & (columns["previous"] != own)
    n_buttons = max(len(facts["buttons"]), int(columns["action"].max(initial=-1)) + 1, int(label.max(initial=-1)) + 1)
    labels = np.bincount(label[valid], minlength=n_buttons)
    pressed = np.bincount(columns["action"], minlength=n_buttons)
    buttons = {}
    for action in range(n_buttons):
        name = facts["buttons"][action] if action < len(facts["buttons"]) else str(action)
        buttons[name] = {
            "labels": int(labels[action]),
            "share": _share(labels[action], valid.sum()),
            "pressed": int(pressed[action]),
            "pressed_share": _share(pressed[action], rows),
        }
    worlds = np.unique(columns["world"][columns["world"] >= 0])
    reasons = _counts(columns["reason"][status == Status.ABSTAINED], names)
    return {
        **{key: facts[key] for key in ("kind", "milestones", "bytes_on_disk")},
        "rows": rows,
        "bytes_per_row": _share(facts["bytes_on_disk"], rows),
        "status": {name: int((status == value).sum()) for value, name in STATUS_NAMES.items()},
        "sources": {source.name.lower(): int((columns["source"] == source).sum()) for source in Source},
        "abstained_by_kind": _counts(columns["kind"], names),
        "reasons_of_abstentions": dict(list(reasons.items())[:SHOWN_REASONS]),
        "with_reason": int((columns["reason"] >= 0).sum()),
        "experts": _counts(columns["expert"], names),
        "cached": int(columns["cached"].sum()),
        "with_optimal_set": int((columns["optimal"] != 0).sum()),
        "other_than_label_pressed": int((valid & (label != columns["action"])).sum()),
        "buttons": buttons,
        "iterations": [_iteration(number, columns) for number in np.unique(columns["iteration"]).tolist()],
        "episodes": len(np.unique(columns["episode"])),
        "worlds": {"distinct": len(worlds), "lowest": _int(worlds, 0), "highest": _int(worlds, -1)},
        "distinct_pictures": distinct,
        "labelled_pictures": len(np.unique(columns["frame"][valid])),
        "labelled_pictures_by_episode": len(np.unique(np.stack([columns["episode"], columns["frame"]])[:, valid], axis=1).T),
        "seen_before_share": _share(rows - distinct, rows),
        "same_as_step_before_share": _share(same_as_before.sum(), rows),
    }


def _iteration(number: int, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    within = columns["iteration"] == number
    return {
        "iteration": number,
        "beta": sorted(set(columns["beta"][within].tolist())),
        "rows": int(within.sum()),
        "episodes": len(np.unique(columns["episode"][within])),
        **{name: int((columns["status"][within] == value).sum()) for value, name in STATUS_NAMES.items()},
        "cached": int(columns["cached"][within].sum()),
    }


def _counts(numbers: np.ndarray, names: list[str]) -> dict[str, int]:
    """Return name -> how often it occurs, the most frequent first."""
    found, counts = np.unique(numbers[numbers >= 0], return_counts=True)
    return {names[found[i]]: int(counts[i]) for i in np.argsort(-counts, kind="stable")}


def _share(part: float, whole: float) -> float | None:
    return None if not whole else float(part / whole)


def _int(values: np.ndarray, place: int) -> int | None:
    return int(values[place]) if len(values) else None


def print_description(found: dict[str, Any]) -> None:
    """Print what `describe` returned as tables."""
    facts = Table("", "", title=found["path"], show_header=False)
    worlds, status = found["worlds"], found["status"]
    span = f" ({worlds['lowest']} to {worlds['highest']})" if worlds["distinct"] else ""
    for name, value in (
        ("kind", found["kind"]),
        ("milestones", ", ".join(str(milestone or "(whole game)") for milestone in found["milestones"])),
        ("rows", f"{found['rows']:,}"),
        *((f"rows, {name}", f"{count:,}") for name, count in status.items()),
        *((f"abstained: {name}", f"{count:,}") for name, count in found["abstained_by_kind"].items()),
        *((f"why: {_one_line(text)}", f"{count:,}") for text, count in found["reasons_of_abstentions"].items()),
        ("with a reason in words", f"{found['with_reason']:,}"),
        *((f"expert: {name}", f"{count:,}") for name, count in found["experts"].items()),
        *((f"source: {name}", f"{count:,}") for name, count in found["sources"].items()),
        ("answers from the cache", f"{found['cached']:,}"),
        ("with a set of optimal actions", f"{found['with_optimal_set']:,}"),
        ("another button than the label pressed", f"{found['other_than_label_pressed']:,}"),
        ("episodes", f"{found['episodes']:,}"),
        ("worlds", f"{worlds['distinct']:,}{span}"),
        ("distinct pictures", f"{found['distinct_pictures']:,}"),
        ("distinct pictures with a label", f"{found['labelled_pictures']:,}"),
        ("distinct pictures with a label, by episode", f"{found['labelled_pictures_by_episode']:,}"),
        ("rows whose picture is in others too", _percent(found["seen_before_share"])),
        ("rows whose picture is that of the step before", _percent(found["same_as_step_before_share"])),
        ("MB on disk", f"{found['bytes_on_disk'] / 1e6:.1f}"),
    ):
        facts.add_row(name, value)
    print_table(facts)
    buttons = Table("button", "labels", "share", "pressed", "share")
    for name, counts in found["buttons"].items():
        shares = (_percent(counts["share"]), _percent(counts["pressed_share"]))
        buttons.add_row(name, f"{counts['labels']:,}", shares[0], f"{counts['pressed']:,}", shares[1])
    print_table(buttons)
    iterations = Table("iteration", "beta", "rows", "episodes", *STATUS_NAMES.values(), "cached")
    for entry in found["iterations"]:
        number = "demonstrations" if entry["iteration"] == DEMONSTRATION_ITERATION else str(entry["iteration"])
        betas = " ".join(f"{beta:g}" for beta in entry["beta"])
        counts = (f"{entry[name]:,}" for name in ("rows", "episodes", *STATUS_NAMES.values(), "cached"))
        iterations.add_row(number, betas, *counts)
    print_table(iterations)


def _one_line(text: str) -> str:
    """Return a policy's or a model's text, for a table: printable and short."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return line if len(line) <= 100 else line[:97] + "..."


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def main(args: Args) -> None:
    check_bounds(args)
    found = describe(args.path)
    if args.reasons:
        if Path(args.path).is_dir():
            raise DaggerDataError(f"{args.path}: demonstrations have no reasons; name the data set of a DAgger run")
        print(write_reasons_page(Path(args.path), Path(f"{args.path}.html"), args.reasons))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print_description(found)


if __name__ == "__main__":
    run_main("describe_data.py", lambda: main(args))
