"""Saved emulator states: `X.state`, and next to it `X.state.json`, which says what it belongs to.

The .state file is the emulator's own state, gzipped when written here (PyBoy's plain files are read as well). The
sidecar

    {"format": 1, "game": "tallgrass", "rom_title": "...", "rom_sha256": "...",
     "emulator": "pyboy", "emulator_version": "2.8.1", "mode": "dmg",
     "state_sha256": "... of the unzipped state", "milestones": ["ID", ...], "details": {...}}

makes it possible to refuse a damaged or foreign state with a reason: an emulator would load it and run nonsense.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tempfile
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pokemon_env.bounded_files import read_file
from pokemon_env.builds import plays_alike
from pokemon_env.errors import StateFileError

FORMAT = 1
_GZIP_MAGIC = b"\x1f\x8b"
_MOST_BYTES = 1 << 26
"""Bytes of a state, at most: an emulator's has about 200 kB. Half a megabyte of gzip can be half a gigabyte."""
_MOST_SIDECAR = 1 << 24
_VERSION = re.compile(r"[0-9a-z.+-]{1,40}")


@dataclass(frozen=True)
class StateIdentity:
    """What a state belongs to: it loads only where all of this is equal."""

    game: str
    rom_title: str
    rom_sha256: str
    emulator: str
    emulator_version: str
    mode: str


@dataclass(frozen=True)
class SavedState:
    """A state file's contents, checked."""

    path: Path
    data: bytes = field(repr=False)  # what the emulator loads
    milestones: tuple[str, ...] = ()  # ids that were completed when it was saved
    details: dict[str, Any] = field(default_factory=dict)  # whatever the writer added


def sidecar_path(path: str | Path) -> Path:
    """Return the path of the sidecar that belongs to a state file."""
    return Path(f"{path}.json")


def write_state(
    path: str | Path,
    data: bytes,
    identity: StateIdentity,
    milestones: Iterable[str] = (),
    details: dict[str, Any] | None = None,
) -> Path:
    """Write a state file and its sidecar, each whole or not at all. Returns the path.

    Both are written under temporary names before either is renamed, so a full disk leaves the old pair. Only a process killed
    between the two renames leaves a pair that does not match, which `read_state` then reports.

    data: the emulator's state. milestones: ids completed so far. details: anything else to store, as JSON data.
    Raises StateFileError if the files cannot be written.
    """
    path = Path(path)
    sidecar = {"format": FORMAT, **vars(identity), "state_sha256": hashlib.sha256(data).hexdigest()}
    sidecar |= {"milestones": list(milestones), "details": details or {}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The sidecar first, so that a state that exists has its sidecar, too.
        _write_together(
            {
                sidecar_path(path): (json.dumps(sidecar, indent=2) + "\n").encode(),
                path: gzip.compress(data, compresslevel=6, mtime=0),
            }
        )
    except OSError as error:
        raise StateFileError(f"cannot write the state {path}: {error.strerror or error}.") from error
    return path


def read_state(path: str | Path, identity: StateIdentity) -> SavedState:
    """Read a state file and compare it with what is running.

    A state without a sidecar is returned with a warning, because nothing can be checked.
    Raises StateFileError if the file is missing, damaged, or belongs to another ROM, emulator, version or mode.
    """
    path = Path(path)
    data = _read_data(path)
    sidecar = _read_sidecar(path)
    if sidecar is None:
        warnings.warn(
            f"the state {path} has no sidecar {sidecar_path(path).name}: whether it belongs to this ROM and this "
            "emulator cannot be checked. Save it again with PokemonEnv.save_state to have one.",
            stacklevel=2,
        )
        return SavedState(path, data)
    if not plays_alike(sidecar["rom_sha256"], identity.rom_sha256):
        raise StateFileError(
            f"the state {path} was saved with another ROM ({sidecar['rom_title'][:40]!r}, SHA-256 "
            f"{_shown(sidecar['rom_sha256'][:12])}...); running is {identity.rom_title!r} ({identity.rom_sha256[:12]}...). "
            "Use the state's own ROM, or record it again."
        )
    if sidecar["mode"] != identity.mode:
        raise StateFileError(
            f"the state {path} was saved in {_shown(sidecar['mode'])} mode, and this emulator runs in {identity.mode} mode. "
            "Record it again."
        )
    theirs = (sidecar["emulator"], sidecar["emulator_version"])
    ours = (identity.emulator, identity.emulator_version)
    if theirs != ours:
        # A stranger's file must not name what to install, except another version of what runs here.
        known = theirs[0] == ours[0] and _VERSION.fullmatch(theirs[1])
        raise StateFileError(
            f"the state {path} was saved by {_shown(' '.join(theirs))}, and this is {' '.join(ours)}. "
            + (f"Install {theirs[0]}=={theirs[1]}, or record it again." if known else "Record it again.")
        )
    if hashlib.sha256(data).hexdigest() != sidecar["state_sha256"]:
        raise StateFileError(
            f"the state {path} is damaged: its SHA-256 is not the one in {sidecar_path(path).name}. Restore both "
            "files, or record it again."
        )
    return SavedState(path, data, tuple(sidecar["milestones"]), sidecar["details"])


def find_states(source: str | os.PathLike | Sequence[str | os.PathLike]) -> list[Path]:
    """Return the state files given by one path, a folder of them (sorted by name), or a list of paths.

    Raises StateFileError if one is missing, or there is none.
    """
    if not isinstance(source, (str, os.PathLike)):
        paths = [Path(path) for path in source]
        if not paths:
            raise StateFileError("the list of start states is empty: give at least one, or None to start at power-on.")
    elif Path(source).is_dir():
        paths = sorted(Path(source).glob("*.state"))
        if not paths:
            raise StateFileError(f"there is no .state file in the folder {source}: record some there, or give another folder.")
    else:
        paths = [Path(source)]
    for path in paths:
        if not path.is_file():
            raise StateFileError(f"there is no state file {path}: check the path, or record it first.")
    return paths


def _read_data(path: Path) -> bytes:
    try:
        data = read_file(path, _MOST_BYTES)
    except FileNotFoundError:
        raise StateFileError(f"there is no state file {path}: check the path, or record it first.") from None
    except OSError as error:
        raise StateFileError(f"the state file {path} cannot be read: {error.strerror}.") from error
    if data.startswith(_GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(_MOST_BYTES + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise StateFileError(
                f"the state {path} is damaged or cut off (gzip: {error}). Copy it again, or record it again."
            ) from error
        if len(data) > _MOST_BYTES:
            raise StateFileError(f"the state {path} is no emulator's: it has more than {_MOST_BYTES:,} bytes. Record it again.")
    if not data:
        raise StateFileError(f"the state {path} is empty. Copy it again, or record it again.")
    return data


def _read_sidecar(path: Path) -> dict[str, Any] | None:
    sidecar = sidecar_path(path)
    try:
        content = json.loads(read_file(sidecar, _MOST_SIDECAR))
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        if content.get("format") != FORMAT:
            raise ValueError(f"its format is {content.get('format')!r}, known is {FORMAT}")
        texts = ("rom_title", "rom_sha256", "emulator", "emulator_version", "mode", "state_sha256")
        wrong = [key for key in texts if not isinstance(content.get(key), str)]
        wrong += [key for key, kind in (("milestones", list), ("details", dict)) if not isinstance(content.get(key), kind)]
        if not wrong and not all(isinstance(name, str) for name in content["milestones"]):
            wrong = ["milestones"]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: missing, or not of the right type")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise StateFileError(
            f"the sidecar {sidecar} of the state {path} cannot be read ({error}). Restore it, or delete it to load "
            "the state unchecked."
        ) from error
    return content


def _shown(text: str) -> str:
    """Return a text of a file, for a message: printable, and of limited length."""
    shown = text if text.isprintable() else repr(text)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _write_together(files: dict[Path, bytes]) -> None:
    """Write all files under temporary names, and only then rename them, in order."""
    temporaries: dict[Path, str] = {}
    try:
        for path, content in files.items():
            handle, temporaries[path] = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporaries[path], 0o644)  # mkstemp makes files that only their owner can read
        for path in files:
            os.replace(temporaries[path], path)
            del temporaries[path]
    finally:
        for temporary in temporaries.values():
            os.unlink(temporary)
