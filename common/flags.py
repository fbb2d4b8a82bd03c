"""Command lines: flags that are checked before anything slow begins, and that a checkpoint can stand in for."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import tyro

T = TypeVar("T")


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
    args = tyro.cli(kind, description=description)
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
        args = tyro.cli(kind, description=description, default=kind(**saved))
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
