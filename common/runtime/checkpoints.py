"""Checkpoints: one dictionary per file, written whole, readable with `torch.load`'s safe default.

Keys of a checkpoint, in addition to those that a script adds:

    model_state_dict      the weights
    network               its kind and its arguments (see `build_network`)
    frame_stack           pictures per input
    args                  the script's flags
    run_name, global_step, metrics
    buttons, game, rom_sha256, milestone       what the policy was trained for; None where unknown
    versions              package -> version
    optimizer_state_dict, training_state       only in checkpoints that training can be resumed from
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import pickle
import pickletools
import platform
import random
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch

from common.runtime.archives import open_archive, told_damage
from common.runtime.files import atomic_write
from common.runtime.main import UserError
from common.runtime.memory import available_memory
from common.runtime.plain_names import is_plain_name
from common.runtime.plain_text import LONGEST_TEXT
from common.runtime.value_types import is_of_type

_GLOBALS = {
    "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch Size", "torch device",
}  # fmt: skip
"""The globals that a checkpoint may name, in addition to the storage types of tensors. `torch.load` allows more; with some of them
(`bytearray`, `UntypedStorage`, `_codecs.encode`) a few bytes allocate gigabytes."""

_MOST_DESCRIPTION = 4 * 1024 * 1024
"""Bytes of a checkpoint that are not tensors, at most: each can become an object of a hundred bytes. A run's has about 20 kB."""

MOST_STACKED = 1000
"""Pictures per input at most."""

_TYPES: dict[str, Any] = {
    "model_state_dict": dict, "frame_stack": int, "deterministic": bool, "global_step": int, "metrics": dict, "buttons": list[str],
    "game": str, "rom_sha256": str, "milestone": str, "milestones": list[str], "tier": str, "worlds": str, "max_steps": int,
    "algorithm": str, "expert": str, "labels": dict, "versions": dict, "optimizer_state_dict": dict, "training_state": dict,
    "progress": dict,
}  # fmt: skip
"""Key of a checkpoint -> what it is, where it is there and not None."""

_HOLDS_OBJECTS = "holds Python objects, which are never loaded because they could run code; save tensors, numbers and text only"


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be used; the text names the file and what to do."""


def save_checkpoint(path: str | os.PathLike, checkpoint: Mapping[str, Any]) -> Path:
    """Write a checkpoint, whole or not at all. Numpy values, paths and dataclasses are converted to plain types first.

    Raises TypeError for a value that `torch.load` would refuse to read back, CheckpointError if the file cannot be
    written.
    """
    path = Path(path)
    plain = to_plain(checkpoint)
    try:
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            torch.save(plain, file)
    except (OSError, RuntimeError) as error:  # the cause, a full disk for example, is the context of torch's RuntimeError
        cause = next((one for one in (error, error.__context__) if isinstance(one, OSError)), error)
        reason = getattr(cause, "strerror", None) or str(cause).splitlines()[0]
        raise CheckpointError(f"{path}: cannot be written ({reason}); make room, or choose another folder") from error
    return path


def load_checkpoint(path: str | os.PathLike, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint, without running any code that it may hold.

    The file's checksums are compared with its content, which `torch.load` does not do.

    Raises CheckpointError if the file is missing, cut short, changed, holds pickled objects, asks for more memory than it has
    bytes, or is no checkpoint.
    """
    path = Path(path)
    content = _checked_bytes(path)
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {_HOLDS_OBJECTS}") from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise CheckpointError(f"{path}: broken or cut short ({error_text(error)}); use an earlier one") from error
    if any(tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes() for tensor in _tensors(checkpoint)):
        raise CheckpointError(f"{path}: has a tensor that is larger than what is kept of it; use another checkpoint")
    if not isinstance(checkpoint, dict) or "model_state_dict" not in checkpoint:
        raise CheckpointError(f"{path}: has no 'model_state_dict', so it is no checkpoint of these scripts")
    for key, kind in _TYPES.items():
        value = checkpoint.get(key)
        if value is not None and not is_of_type(dict(value) if isinstance(value, dict) else value, kind):
            wanted = getattr(kind, "__name__", str(kind))
            raise CheckpointError(f"{path}: its {key} is {shown(value)}, wanted {wanted}; use another checkpoint")
        for text in value if kind == list[str] and value else [value]:
            if isinstance(text, str) and not (text.isprintable() and len(text) <= LONGEST_TEXT):
                raise CheckpointError(f"{path}: its {key} is {shown(text)}, wanted printable text; use another checkpoint")
    if checkpoint.get("frame_stack") is not None and not 1 <= checkpoint["frame_stack"] <= MOST_STACKED:
        raise CheckpointError(f"{path}: its frame_stack is {checkpoint['frame_stack']}, wanted 1 to {MOST_STACKED}")
    return checkpoint


@contextlib.contextmanager
def restoring(path: str | os.PathLike) -> Iterator[None]:
    """Turn errors while a training state is restored into CheckpointError: the checkpoint is not what its run saved."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = error_text(error)
        raise CheckpointError(f"{path}: training cannot resume from what it holds ({reason}); use an earlier one") from error


def _checked_bytes(path: Path) -> bytes:
    """Return a checkpoint that torch may read: entries with correct checksums that name nothing but tensors.

    The entries are packed again, so that torch reads what was checked: its reader and Python's do not interpret a zip file alike.
    For example, torch does not read an entry that is marked as a folder.

    Raises CheckpointError.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder; name the .pth file in it")
    try:
        if not path.is_file():  # a pipe is refused, too: reading it would wait
            raise CheckpointError(f"{path}: no such checkpoint; see what is in {path.parent}/")
        size, available = path.stat().st_size, available_memory()
        if available is not None and 3 * size > available:  # the file, its entries, and the tensors in them
            raise CheckpointError(
                f"{path}: has {size / 1e9:.1f} GB, too much for the {available / 1e9:.1f} GB of memory that are free; use another"
            )
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); is it there, and yours to read?") from error
    try:
        with open_archive(io.BytesIO(content)) as archive, told_damage():
            entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        descriptions = [entry for name, entry in entries.items() if name.lower().endswith("/data.pkl")]
        if len(descriptions) != 1 or len(descriptions[0]) > _MOST_DESCRIPTION:
            raise CheckpointError(f"{path}: is a zip file, but not a checkpoint of these scripts; name another file")
        named: set[Any] = {value for code, value, _ in pickletools.genops(descriptions[0]) if code.name == "GLOBAL"}
    except ValueError as error:  # ArchiveError, and a description that is none
        reason = error_text(error)
        raise CheckpointError(f"{path}: is not a checkpoint, or broken or cut short ({reason}); use an earlier one") from error
    storages = {value for value in named if value.startswith("torch ") and value.endswith("Storage")} - {"torch UntypedStorage"}
    if named - _GLOBALS - storages:
        raise CheckpointError(f"{path}: {_HOLDS_OBJECTS}")
    with io.BytesIO() as checked:
        with zipfile.ZipFile(checked, "w") as archive:
            for name, entry in entries.items():
                archive.writestr(zipfile.ZipInfo(name), entry)  # without the time: a clock before 1980 cannot be written
        return checked.getvalue()


def _tensors(content: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in plain containers, at any depth."""
    left, seen = [content], set()
    while left:
        item = left.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, Mapping):
            left += item.values()
        elif isinstance(item, list | tuple):
            left += item


def saved_fields(
    checkpoint: Mapping[str, Any], path: str | os.PathLike, key: str, kind: type, *, strict: bool = True
) -> dict[str, Any]:
    """Return the fields of a dataclass that a checkpoint holds, checked: `kind(**saved_fields(...))` rebuilds the dataclass.

    Args:
        checkpoint: as loaded.
        path: its file, for the message.
        key: where the fields are, for example "args". Without that key the result is {}.
        kind: the dataclass. Names that it has no field for are left out: another version or script wrote them.
        strict: False also leaves out a value of another type: another script may use a name for something else.

    Raises CheckpointError if there is no dictionary, or a value is not of its field's type.
    """
    content = checkpoint.get(key, {})
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: its {key!r} is {shown(content)}, wanted a dictionary; use another checkpoint")
    types = get_type_hints(kind)
    found = {item.name: content[item.name] for item in dataclasses.fields(kind) if item.name in content}
    for name, value in found.items():
        if strict and not is_of_type(value, types[name]):
            wanted = getattr(types[name], "__name__", None) if isinstance(types[name], type) else str(types[name])
            raise CheckpointError(f"{path}: in its {key!r}, {name} is {shown(value)}, wanted {wanted}; use another checkpoint")
    return {name: value for name, value in found.items() if is_of_type(value, types[name])}


def saved_threads(checkpoint: Mapping[str, Any] | None) -> int | None:
    """Return the CPU threads that a checkpoint's run computed with; None for a new run, or if the checkpoint does not say."""
    progress = (checkpoint or {}).get("progress")
    threads = progress.get("threads") if isinstance(progress, Mapping) else None
    return threads if isinstance(threads, int) and threads > 0 else None


def saved_run_name(checkpoint: Mapping[str, Any], path: str | os.PathLike) -> str:
    """Return the name of the run that a checkpoint is of. It becomes a folder's name, so it must be a plain name.

    Args:
        checkpoint: as loaded.
        path: its file, for the message.

    Raises CheckpointError if it is missing or no plain name.
    """
    name = checkpoint.get("run_name")
    if not is_plain_name(name):
        words = _short(ascii(name)) if isinstance(name, str) else shown(name)
        raise CheckpointError(f"{path}: its run_name is {words}, which is no plain name; use another checkpoint")
    return name


def check_fits(checkpoint: Mapping[str, Any], path: str | os.PathLike, **wanted: Any) -> None:
    """Raise CheckpointError unless the checkpoint was made for what is wanted.

    Args:
        checkpoint: as loaded.
        path: its file, for the message.
        wanted: any of `buttons`, `game`, `rom_sha256`, `milestone`, `network`, `algorithm`. None, here or in the
            checkpoint, means unknown, and fits. Of a frozenset any member fits.
    """
    hints = {
        "algorithm": "another script made it, and only that one can resume it",
        "buttons": "its outputs would press other buttons than it learned; play the game that it was trained on",
        "game": "it was trained on another game; give that game's ROM with --rom-path",
        "rom_sha256": "it was trained on another build of the ROM; use that one, or train again",
        "milestone": "it was trained for another milestone; choose that one, or another checkpoint",
        "network": f"its weights don't fit; {_network_flags(checkpoint)}",
    }
    for key, value in wanted.items():
        has = checkpoint.get(key)
        if value is None or has is None:
            continue
        if key == "buttons":
            has, value = list(has), list(value)
        if isinstance(value, frozenset):
            if has in value:
                continue
            value = min(value)
        if not _same(has, value):
            if isinstance(has, Mapping) and isinstance(value, Mapping):  # the message names only what differs
                names = sorted((name for name in {*has, *value} if not _same(has.get(name), value.get(name))), key=str)
                names = ["kind"] if "kind" in names else names  # the rest means something else in each kind
                has, value = ({name: one.get(name) for name in names} for one in (has, value))
            raise CheckpointError(f"{path}: has {key} {shown(has)}, here it is {shown(value)}: {hints[key]}")


def _network_flags(checkpoint: Mapping[str, Any]) -> str:
    """Return advice on the flags that make the network the checkpoint's.

    A user who gave none of these flags cannot leave them as they were, and is told their values.
    """
    args = checkpoint.get("args")
    names = ("network", "hidden_dim", "frame_stack")
    if not isinstance(args, Mapping) or not all(type(args.get(name)) in (str, int) for name in names):
        return "leave --network, --hidden-dim and --frame-stack as they were"
    return "give " + " ".join(f"--{name.replace('_', '-')} {shown(args[name])}" for name in names) + ", as when it was trained"


def check_not_of_another_run(paths: Sequence[str | os.PathLike], run_name: str | None, overwrite: bool) -> None:
    """Refuse to replace the checkpoints of another run.

    Args:
        paths: files that will be written. Those that don't exist are fine.
        run_name: the run that will write them, if it is one that is resumed.
        overwrite: the user allowed that they are replaced.

    Raises CheckpointError, which names the first such file and what the user can do.
    """
    if overwrite:
        return
    for path in map(Path, paths):
        if not path.exists():
            continue
        owner = load_checkpoint(path).get("run_name", "an unknown run")
        if not _same(owner, run_name):
            last = path.with_name(path.name.rsplit("_", 1)[0] + "_last.pth")
            goes_on = f"continue that run with --resume-from {last}; " if last.is_file() else ""
            raise CheckpointError(
                f"{path} already exists (run {shown(owner)}). Choose another --exp-name or --model-dir; {goes_on}"
                f"or replace it with --overwrite"
            )


def check_not_behind(
    paths: Sequence[str | os.PathLike], resumed: str | os.PathLike, run_name: str | None, step: int, overwrite: bool
) -> None:
    """Refuse to replace what a run did after the checkpoint that it is resumed from.

    Args:
        paths: checkpoints that will be written. Those that don't exist, or are of another run, are fine.
        resumed: the checkpoint to resume from.
        run_name: the run that is resumed; None if it is a new one.
        step: that the checkpoint is of.
        overwrite: the user allowed that it is replaced.

    Raises CheckpointError, which names the first such file and what the user can do.
    """
    if overwrite or run_name is None:
        return
    for path in map(Path, paths):
        if not path.exists() or path.samefile(resumed):
            continue
        other = load_checkpoint(path)
        if other.get("run_name") == run_name and other.get("global_step", 0) > step:
            raise CheckpointError(
                f"{resumed}: is of step {step:,}, but {path} of step {other['global_step']:,} of the same run, which would be "
                f"replaced. Resume from the later one, or give --overwrite to discard what came after the earlier one"
            )


def rng_state() -> dict[str, Any]:
    """Return the state of Python's, numpy's and torch's global generators, in types that `torch.load` accepts."""
    numpy_state = np.random.get_state(legacy=False)
    state = {
        "python": random.getstate(),
        "numpy": {
            **numpy_state,
            "state": {**numpy_state["state"], "key": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64))},
        },
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Set all global generators back to where `rng_state` found them."""
    random.setstate(_tuples(state["python"]))
    inner = state["numpy"]["state"]
    if not 0 <= inner["pos"] <= len(inner["key"]):  # numpy would read memory that isn't its own
        raise ValueError(f"numpy's generator is at {shown(inner['pos'])} of {len(inner['key'])}")
    np.random.set_state({**state["numpy"], "state": {**inner, "key": inner["key"].numpy().astype(np.uint32)}})
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])


def package_versions(
    names: Sequence[str] = ("torch", "torchvision", "numpy", "pillow", "gymnasium", "pyboy"),
) -> dict[str, str]:
    """Return the version of Python, and of each package that is installed."""
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def changed_versions(checkpoint: Mapping[str, Any]) -> list[str]:
    """Say which packages have another version than when a checkpoint was written; those that it does not name have not changed."""
    before, now = checkpoint.get("versions") or {}, package_versions()
    return [f"{name} was {shown(before[name])} and is {now[name]}" for name in now if before.get(name, now[name]) != now[name]]


def to_plain(value: Any) -> Any:
    """Return `value` in types that `torch.load(weights_only=True)` accepts: tensors, numbers, text, None, and containers of
    them.

    Numpy scalars and arrays become numbers and tensors, paths text, dataclasses dictionaries. Raises TypeError for
    anything else.
    """
    if value is None or isinstance(value, bool | int | float | str | bytes | torch.Tensor):
        # Subclasses such as np.float64 (a float) and enums are refused by torch.load.
        if isinstance(value, np.generic):
            return value.item()
        return torch.Tensor(value.detach()) if type(value) is torch.nn.Parameter else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(to_plain(item) for item in value)
    if isinstance(value, list | set | frozenset):
        return [to_plain(item) for item in value]
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__} ({value!r}): convert it to numbers, text or tensors")


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def error_text(error: Exception) -> str:
    """Return an error's text in one short line. It may quote a file, whose characters need not be printable."""
    words = " ".join(str(error).split()) or type(error).__name__
    return _short("".join(char if char.isprintable() else ascii(char)[1:-1] for char in words[:1000]), 300)


def _same(one: Any, other: Any) -> bool:
    """Return whether two plain values are equal. A stranger's can be nested deeper than Python compares."""
    try:
        return bool(one == other)
    except (RecursionError, RuntimeError):
        return False


def shown(value: Any) -> str:
    """Return a value from a file as text for a message: one printable line of limited length."""
    try:
        return _short(value if isinstance(value, str) and value.isprintable() else ascii(value))
    except RecursionError:
        return f"a {type(value).__name__} nested too deep"


def _short(value: Any, most: int = 80) -> str:
    text = str(value)
    return text if len(text) <= most else text[: most - 3] + "..."
