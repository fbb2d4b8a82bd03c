"""Command lines: flags are checked before anything slow begins, and a checkpoint can supply those that are not given."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from common.runtime.flag_types import FlagError, Mark, check_bounds, marked
from common.runtime.interrupts import heed_interrupts
from common.runtime.lasting_output import outlive_output
from common.runtime.plain_names import is_plain_name
from common.runtime.plain_text import in_one_line
from common.runtime.value_types import is_of_type

T = TypeVar("T")


NEVER_FROM_FILE = (
    "policy_dir", "unsafe_policies", "expert", "expert_model", "expert_backend", "expert_base_url", "expert_key_env", "max_cost",
    "prices", "model_calls", "replay", "track", "wandb_project_name", "wandb_entity",
)  # fmt: skip
"""Flags that are never taken from a checkpoint, which may be a stranger's: they choose the code that runs, remove its sandbox,
spend money, or name a recipient of data or of a key."""
WRITTEN = ("model_dir", "answer_cache", "rollout_videos")
"""Flags that name what is written. A checkpoint's values are used only if they lie where its run can be expected to write."""
_ROOT = Path(__file__).resolve().parents[2]
_SHIPPED = ("tallgrass/tallgrass.gb", "milestone_config.json")
"""Files that flags name by default, by their place in the repository."""
_LONGEST = 4096
"""Characters of a flag from a checkpoint, at most: the longest path."""
_WORDS = {**dict.fromkeys(("true", "yes", "on", "1"), True), **dict.fromkeys(("false", "no", "off", "0"), False)}


def parse_command_line(kind: type[T], description: str | None = None, **tyro_settings: Any) -> T:
    """Parse the command line into a dataclass, by `tyro.cli`. A switch may also be given a word: `--video False` is `--no-video`.

    A default that names a file of the repository (the bundled ROM, its milestones) is found from any folder: if the working
    folder holds no such file, the value becomes the repository's own. A path that begins with `~/` is below the home folder, also
    where the shell does not expand it (`--model-dir=~/models`).

    From here on, output that cannot be written or shown ends no script (`common.runtime.lasting_output`), and an interrupt prints
    no traceback (`common.runtime.interrupts`).
    """
    heed_interrupts()
    outlive_output(silent=True)  # a reader that closes --help early has seen enough
    import tyro  # takes a third of a second, in which Ctrl-C can be pressed

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
    """Return the command line with switches as tyro knows them: `--name` and `--no-name`, without a word after them."""
    switches = {name.replace("_", "-") for name, hint in get_type_hints(kind).items() if hint is bool}
    rest, found = list(arguments), []
    while rest:
        argument = rest.pop(0)
        flag, equals, word = argument.partition("=")
        name = flag.replace("_", "-").removeprefix("--")
        switch = name if name in switches else name.removeprefix("no-")
        if flag.startswith("--") and switch in switches:
            if not equals and rest and rest[0].lower() in _WORDS:
                equals, word = "=", rest.pop(0)
            if equals and word.lower() in _WORDS:
                argument = f"--{switch}" if _WORDS[word.lower()] == (switch == name) else f"--no-{switch}"
        found.append(argument)
    return found


def plain_flags(args: Any) -> dict[str, Any]:
    """Return the flags in plain types, for a file that another machine may read; files of the repository as by `by_place`."""
    return {name: by_place(value) for name, value in asdict(args).items()}


def by_place(value: Any) -> Any:
    """Return a flag's value; for a file of the repository, its path within the repository."""
    return next((place for place in _SHIPPED if isinstance(value, str) and Path(value) == _ROOT / place), value)


def parse_flags(
    kind: type[T],
    script: str,
    description: str | None,
    *,
    not_evaluated: Sequence[str] = (),
    algorithm: str | None = None,
) -> T:
    """Parse the command line's flags; with --resume-from, the checkpoint supplies those that were not given.

    Values taken from the checkpoint are printed. Flags of NEVER_FROM_FILE are not taken: those that the run was begun with and
    that were not given again are printed, too, and `not_given_again` returns them. A path of WRITTEN is not taken if it leads
    outside the working folder and the checkpoint's, or into a hidden folder.

    Ends the process with one line if a flag or the checkpoint cannot be used.

    Args:
        kind: a dataclass with the fields `resume_from`, `start_states`, `worlds`, `tier`. Its types say the bounds of numbers,
            and which flags hold for one call (`common.runtime.flag_types`).
        script: its file's name, for messages.
        description: for --help.
        not_evaluated: flags that --eval-only does not take from a checkpoint.
        algorithm: what the script's checkpoints name. Those of another algorithm can be evaluated, but not resumed.
    """
    args: Any = parse_command_line(kind, description)
    if args.resume_from is not None:
        evaluates = getattr(args, "eval_only", False)
        args = _taken_over(args, script, description, not_evaluated if evaluates else (), algorithm, evaluates)
    try:
        check_bounds(args)
    except FlagError as error:
        sys.exit(f"{script}: {error}")
    return args


def _taken_over(
    said: Any,
    script: str,
    description: str | None,
    not_evaluated: Sequence[str],
    algorithm: str | None,
    evaluates: bool,
) -> Any:
    """Return the flags, with a checkpoint's values for those that were not given; see `parse_flags`."""
    from common.runtime.checkpoints import CheckpointError, check_fits, load_checkpoint, saved_fields

    kind, path = type(said), said.resume_from
    try:
        checkpoint = load_checkpoint(path)
        if not evaluates:
            check_fits(checkpoint, path, algorithm=algorithm)
        saved = saved_fields(checkpoint, path, "args", kind, strict=checkpoint.get("algorithm") in (None, algorithm))
    except CheckpointError as error:
        sys.exit(f"{script}: {in_one_line(error)}")
    for name in (*marked(kind, Mark.ONCE), *not_evaluated):
        saved.pop(name, None)
    for name, value in saved.items():
        if isinstance(value, str) and name not in WRITTEN and (len(value) > _LONGEST or "\0" in value):
            sys.exit(f"{script}: {path}: in its 'args', {name} is {ascii(value)[:40]}..., which is no text; use another checkpoint")
    if said.start_states is not None:  # they hold their own world and tier: only naming those here contradicts them
        saved = {name: value for name, value in saved.items() if name not in ("worlds", "tier")}
    args = parse_command_line(kind, description, default=kind(**saved))
    # A flag that was given has the same value in both; another differs where the checkpoint's is not the default.
    taken = {name: value for name, value in asdict(args).items() if value != getattr(said, name)}
    missing = {name: taken.pop(name) for name in NEVER_FROM_FILE if name in taken}
    args = replace(args, **{name: getattr(said, name) for name in missing})
    if not evaluates:  # evaluating writes nothing there
        for name in WRITTEN:
            if name in taken and not _is_in_place(taken[name], Path(path)):
                sys.exit(
                    f"{script}: {path}: its run wrote to {as_typed({name: taken[name]})}, which lies neither below this folder nor "
                    "below the checkpoint's, or is hidden; give that flag again to have it written there"
                )
        if "exp_name" in taken and not is_plain_name(args.exp_name):
            sys.exit(f"{script}: {path}: its exp_name is {args.exp_name!r}, which is no plain name; give --exp-name")
    if taken:
        print(f"taken over from {path}: {as_typed(taken)}", flush=True)  # before what goes to standard error
    if missing and not evaluates:
        vars(args)[_NOT_GIVEN_AGAIN] = missing
        text = "not taken over, as it is never taken from a file"
        print(f"{text}: {as_typed(missing)}. Where it is still meant, give it again", flush=True)
    return args


_NOT_GIVEN_AGAIN = "_not_given_again"


def not_given_again(args: Any) -> dict[str, Any]:
    """Return the flags of NEVER_FROM_FILE that the run of --resume-from was begun with, and that were not given again."""
    return vars(args).get(_NOT_GIVEN_AGAIN, {})


def as_typed(values: Mapping[str, Any]) -> str:
    """Return fields of a dataclass of flags as they are typed in a shell. Unprintable characters are escaped."""
    words = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            text = str(value)
            words.append(f"--{flag} {quoted(text) if _is_plain(text) else ascii(text)}")
    return " ".join(words)


def quoted(text: str) -> str:
    """Return a word as it is typed in a shell. It may hold bytes that are not UTF-8, as paths can."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = (chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}" for byte in os.fsencode(text))
    return f"$'{''.join(escaped)}'"


def _is_plain(text: str) -> bool:
    """Return whether a text is printable, apart from bytes that are not UTF-8."""
    try:
        return os.fsencode(text).decode(errors="ignore").isprintable()
    except UnicodeEncodeError:  # surrogates that stand for no bytes
        return False


def resume_command(script: str, checkpoint: str | os.PathLike, args: Any) -> str:
    """Return the command that resumes from a checkpoint.

    It names the flags that are not taken from the checkpoint and whose values are not the defaults.
    """
    defaults, place = type(args)(), Path(checkpoint)
    again = {name: getattr(args, name) for name in (*NEVER_FROM_FILE, *WRITTEN) if hasattr(args, name)}
    again = {name: value for name, value in again.items() if value != getattr(defaults, name)}
    again = {name: value for name, value in again.items() if name not in WRITTEN or not _is_in_place(value, place)}
    return " ".join(filter(None, ("python", script, "--resume-from", quoted(str(checkpoint)), as_typed(again))))


def _is_in_place(path: str | None, checkpoint: Path) -> bool:
    """Return whether a path for writing lies below the working folder or the checkpoint's, and not hidden; True for none."""
    if not path:
        return True
    if not _is_plain(path):
        return False
    place = Path(os.path.realpath(path))
    return any(
        place.is_relative_to(folder) and not any(part.startswith(".") for part in place.relative_to(folder).parts)
        for folder in map(os.path.realpath, (Path.cwd(), checkpoint.parent))
    )


def changed_flags(args: Any, before: Mapping[str, Any], also: Sequence[str] = ()) -> list[str]:
    """Return which flags make a resumed run another run than it was, as one text each.

    Args:
        args: the flags as they are now. Those that their types call `Free` or `Once` may change.
        before: the flags that the run had. A flag that did not exist then has not changed.
        also: names of `Free` flags that are part of this run's identity.
    """
    ignored = (marked(type(args), Mark.FREE) | marked(type(args), Mark.ONCE)) - set(also)
    now = {name: value for name, value in asdict(args).items() if name not in ignored}
    return [
        f"--{name.replace('_', '-')} was {before[name]} and is {value}"
        for name, value in now.items()
        if before.get(name, value) != value
    ]


def as_flags(kind: type, **values: Any) -> list[str]:
    """Return the command line, as a list of words, that gives a script's flags these values.

    Args:
        kind: the script's `Args`.
        values: field -> value. Flags that are not named keep their defaults.

    Raises FlagError for a value that the flag's type does not allow, TypeError for an unknown field.
    """
    args = kind(**values)
    hints = get_type_hints(kind)
    for name, value in values.items():
        if not is_of_type(value, hints[name]):
            raise FlagError(f"--{name.replace('_', '-')} is {value!r}, but must be {_in_words(hints[name])}")
    check_bounds(args)
    words = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple | list) else [value])]
    return words


def _in_words(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
