"""Command lines: flags that are checked before anything slow begins, and that a checkpoint can stand in for."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import tyro

from common.lasting_output import outlive_output
from common.plain_names import is_plain_name
from common.plain_text import in_one_line

T = TypeVar("T")

NEVER_FROM_FILE = ("policy_dir", "unsafe_policies", "expert", "expert_model", "track", "wandb_project_name", "wandb_entity")
"""Flags that a checkpoint, which may be a stranger's, never stands in for: they choose the code that runs, take its sandbox away,
spend money, or say to whom something is sent."""
WRITTEN = ("model_dir", "answer_cache", "rollout_videos")
"""Flags that name what is written. A checkpoint's are taken over only if they lie where its run can be expected to write."""
_ROOT = Path(__file__).resolve().parent.parent
_SHIPPED = ("tallgrass/tallgrass.gb", "milestone_config.json")
"""Files that flags name by default, by their place in the repository."""
_MOST = {"num_threads": 4096, "num_envs": 4096}
"""Of any script."""
_LONGEST = 4096
"""Characters of a flag that a checkpoint stands in for: as many as a path has at most."""
_WORDS = {**dict.fromkeys(("true", "yes", "on", "1"), True), **dict.fromkeys(("false", "no", "off", "0"), False)}


def parse_command_line(kind: type[T], description: str | None = None, **tyro_settings: Any) -> T:
    """The command line as a dataclass, by `tyro.cli`. A switch may be given a word, too: `--video False` is `--no-video`.

    A default that names a file of the repository (the bundled ROM, its milestones) is found from any folder: where the folder
    that the script was started in holds no such file, the value becomes the repository's own. A path that begins with `~/` is
    below the home folder, also where the shell leaves that as it is (`--model-dir=~/models`).

    Output that can't be written, or shown, ends no script from here on (`common.lasting_output`).
    """
    args = tyro.cli(kind, args=_without_words(kind, sys.argv[1:]), description=description, **tyro_settings)
    outlive_output()
    here = {item.name: getattr(args, item.name) for item in fields(args)}
    found = {
        name: type(value)(_ROOT / value)
        for name, value in here.items()
        if isinstance(value, str | Path) and str(value) in _SHIPPED and not Path(value).exists()
    }
    found |= {
        name: type(value)(os.path.expanduser(value))
        for name, value in here.items()
        if isinstance(value, str | Path) and str(value).startswith("~/")
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

    What is taken over is printed. NEVER_FROM_FILE is not: what of it the run was begun with and was not given again is printed,
    too, and `not_given_again` tells it. Nor is a path of WRITTEN that leads elsewhere than below the working folder or the
    checkpoint's, or into a hidden folder.

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
    if args.resume_from is not None:
        evaluates = getattr(args, "eval_only", False)
        args = _taken_over(args, script, description, not_resumed, not_evaluated if evaluates else (), algorithm, evaluates)
    for name, value in asdict(args).items():
        if (complaint := out_of_range(name, value, least.get(name, -math.inf), most.get(name, math.inf))) is not None:
            sys.exit(f"{script}: {complaint}")
    return args


def _taken_over(
    said: T,
    script: str,
    description: str | None,
    not_resumed: Sequence[str],
    not_evaluated: Sequence[str],
    algorithm: str | None,
    evaluates: bool,
) -> T:
    """The flags with a checkpoint's in the place of those that were not said; see `parse_flags`."""
    from common.checkpoints import CheckpointError, check_fits, load_checkpoint, saved_fields

    kind, path = type(said), said.resume_from
    try:
        checkpoint = load_checkpoint(path)
        if not evaluates:
            check_fits(checkpoint, path, algorithm=algorithm)
        saved = saved_fields(checkpoint, path, "args", kind, strict=checkpoint.get("algorithm") in (None, algorithm))
    except CheckpointError as error:
        sys.exit(f"{script}: {in_one_line(error)}")
    for name in (*not_resumed, *not_evaluated):
        saved.pop(name, None)
    for name, value in saved.items():
        if isinstance(value, str) and name not in WRITTEN and (len(value) > _LONGEST or "\0" in value):
            sys.exit(f"{script}: {path}: in its 'args', {name} is {ascii(value)[:40]}..., which is no text; use another checkpoint")
    if said.start_states is not None:  # they hold their own world and tier: only who names those here contradicts it
        saved = {name: value for name, value in saved.items() if name not in ("worlds", "tier")}
    args = parse_command_line(kind, description, default=kind(**saved))
    # A flag that was said has the same value in both; another differs where the checkpoint's is not the default.
    taken = {name: value for name, value in asdict(args).items() if value != getattr(said, name)}
    missing = {name: taken.pop(name) for name in NEVER_FROM_FILE if name in taken}
    args = replace(args, **{name: getattr(said, name) for name in missing})
    if not evaluates:  # which writes nothing there
        for name in WRITTEN:
            if name in taken and not _is_in_place(taken[name], Path(path)):
                sys.exit(
                    f"{script}: {path}: its run wrote to {as_typed({name: taken[name]})}, which lies neither below this folder nor "
                    "below the checkpoint's, or is hidden; say that flag again to have it written there"
                )
        if "exp_name" in taken and not is_plain_name(args.exp_name):
            sys.exit(f"{script}: {path}: its exp_name is {args.exp_name!r}, which is no plain name; say --exp-name")
    if taken:
        print(f"taken over from {path}: {as_typed(taken)}", flush=True)  # before what goes to standard error
    if missing and not evaluates:
        vars(args)[_NOT_GIVEN_AGAIN] = missing
        text = "not taken over, as it is never taken from a file"
        print(f"{text}: {as_typed(missing)}. Where it is still meant, give it again", flush=True)
    return args


_NOT_GIVEN_AGAIN = "_not_given_again"


def not_given_again(args: Any) -> dict[str, Any]:
    """What of NEVER_FROM_FILE the run of --resume-from was begun with, and the command line did not say again."""
    return vars(args).get(_NOT_GIVEN_AGAIN, {})


def as_typed(values: Mapping[str, Any]) -> str:
    """Fields of a dataclass of flags as they are typed in a shell. What can't be printed is escaped."""
    words = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            text = str(value)
            words.append(f"--{flag} {shlex.quote(text) if text.isprintable() else ascii(text)}")
    return " ".join(words)


def resume_command(script: str, checkpoint: str | os.PathLike, args: Any) -> str:
    """What a user types to go on from a checkpoint: with those flags that would not be taken from it and have no default value."""
    defaults, place = type(args)(), Path(checkpoint)
    again = {name: getattr(args, name) for name in (*NEVER_FROM_FILE, *WRITTEN) if hasattr(args, name)}
    again = {name: value for name, value in again.items() if value != getattr(defaults, name)}
    again = {name: value for name, value in again.items() if name not in WRITTEN or not _is_in_place(value, place)}
    return " ".join(filter(None, ("python", script, "--resume-from", shlex.quote(str(checkpoint)), as_typed(again))))


def _is_in_place(path: str | None, checkpoint: Path) -> bool:
    """Whether a path that a checkpoint names for writing is none, or lies below the working folder or the checkpoint's."""
    if not path:
        return True
    if not path.isprintable():
        return False
    place = Path(os.path.realpath(path))
    return any(
        place.is_relative_to(folder) and not any(part.startswith(".") for part in place.relative_to(folder).parts)
        for folder in map(os.path.realpath, (Path.cwd(), checkpoint.parent))
    )


def out_of_range(name: str, value: Any, least: float, most: float) -> str | None:
    """What is wrong with the value of the flag of this field; None if nothing is, or it is no number."""
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, int):
        most = min(most, _MOST.get(name, 2**63 - 1))
    if isinstance(value, float) and not math.isfinite(value):
        return f"{flag} is {value}, but must be a finite number"
    if isinstance(value, int | float) and value < least:
        return f"{flag} is {value}, but must be at least {least}"
    if isinstance(value, int | float) and value > most:
        return f"{flag} is {value}, but must be {'less than 1' if 0.5 < most < 1 else f'at most {most}'}"
    return None
