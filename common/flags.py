"""Command lines: flags that are checked before anything slow begins, and that a checkpoint can stand in for."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import tyro

T = TypeVar("T")

_ROOT = Path(__file__).resolve().parent.parent
_SHIPPED = ("tallgrass/tallgrass.gb", "milestone_config.json")
"""Files that flags name by default, by their place in the repository."""
_WORDS = {**dict.fromkeys(("true", "yes", "on", "1"), True), **dict.fromkeys(("false", "no", "off", "0"), False)}


def parse_command_line(kind: type[T], description: str | None = None, **tyro_settings: Any) -> T:
    """The command line as a dataclass, by `tyro.cli`. A switch may be given a word, too: `--video False` is `--no-video`.

    A default that names a file of the repository (the bundled ROM, its milestones) is found from any folder: where the folder
    that the script was started in holds no such file, the value becomes the repository's own.
    """
    args = tyro.cli(kind, args=_without_words(kind, sys.argv[1:]), description=description, **tyro_settings)
    here = {item.name: getattr(args, item.name) for item in fields(args)}
    found = {
        name: type(value)(_ROOT / value)
        for name, value in here.items()
        if isinstance(value, str | Path) and str(value) in _SHIPPED and not Path(value).exists()
    }
    return replace(args, **found) if found else args


def _without_words(kind: type, arguments: Sequence[str]) -> list[str]:
    """The command line with switches as tyro knows them, `--name` and `--no-name`, without a word behind them."""
    switches = {item.name.replace("_", "-") for item in fields(kind) if item.type in (bool, "bool")}
    rest, found = list(arguments), []
    while rest:
        argument = rest.pop(0)
        flag, equals, word = argument.partition("=")
        name = flag.replace("_", "-").removeprefix("--")
        switch = name if name in switches else name.removeprefix("no-")
        if flag.startswith("--") and switch in switches:
            if not equals and rest and rest[0].lower() in _WORDS:
                equals, word = True, rest.pop(0)
            if equals and word.lower() in _WORDS:
                argument = f"--{switch}" if _WORDS[word.lower()] == (switch == name) else f"--no-{switch}"
        found.append(argument)
    return found


def plain_flags(args: Any) -> dict[str, Any]:
    """The flags in plain types, for a file that may be read on another machine: a file of the repository by its place in it."""
    return {name: by_place(value) for name, value in asdict(args).items()}


def by_place(value: Any) -> Any:
    """A flag's value; that of a file of the repository by its place in it."""
    return next((place for place in _SHIPPED if isinstance(value, str) and Path(value) == _ROOT / place), value)


def parse_flags(
    kind: type[T],
    script: str,
    description: str | None,
    *,
    least: Mapping[str, float],
    most: Mapping[str, float],
    not_resumed: Sequence[str] = (),
    not_evaluated: Sequence[str] = (),
    algorithm: str | None = None,
) -> T:
    """The command line's flags; with --resume-from, those of the checkpoint stand in for what was not given. Ends the
    process with one line if a flag or the checkpoint can't be used.

    Args:
        kind: a dataclass with the fields `resume_from`, `start_states`, `worlds`, `tier`.
        script: its file's name, for messages.
        description: for --help.
        least, most: bounds of flags that are numbers.
        not_resumed: flags that hold for one call, and are never taken from a checkpoint.
        not_evaluated: flags that --eval-only does not take from a checkpoint.
        algorithm: what the script's checkpoints name. Those of another can be evaluated, but not gone on with.
    """
    args = parse_command_line(kind, description)
    evaluates = getattr(args, "eval_only", False)
    if args.resume_from is not None:
        from common.checkpoints import CheckpointError, check_fits, load_checkpoint, saved_fields

        try:
            checkpoint = load_checkpoint(args.resume_from)
            if not evaluates:
                check_fits(checkpoint, args.resume_from, algorithm=algorithm)
            ours = checkpoint.get("algorithm") in (None, algorithm)
            saved = saved_fields(checkpoint, args.resume_from, "args", kind, strict=ours)
        except CheckpointError as error:
            sys.exit(f"{script}: {error}")
        for name in (*not_resumed, *(not_evaluated if evaluates else ())):
            saved.pop(name, None)
        if args.start_states is not None:  # they hold their own world and tier: only who names those here contradicts it
            saved = {name: value for name, value in saved.items() if name not in ("worlds", "tier")}
        args = parse_command_line(kind, description, default=kind(**saved))
    for name, value in asdict(args).items():
        if (complaint := out_of_range(name, value, least.get(name, -math.inf), most.get(name, math.inf))) is not None:
            sys.exit(f"{script}: {complaint}")
    return args


def out_of_range(name: str, value: Any, least: float, most: float) -> str | None:
    """What is wrong with the value of the flag of this field; None if nothing is, or it is no number."""
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{flag} is {value}, but must be a finite number"
    if isinstance(value, int | float) and value < least:
        return f"{flag} is {value}, but must be at least {least}"
    if isinstance(value, int | float) and value > most:
        return f"{flag} is {value}, but must be {'less than 1' if 0.5 < most < 1 else f'at most {most}'}"
    return None
