"""JSON files that a command keeps in its folder and reads again when it goes on: somebody may have edited, or half copied them."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from typing import Any

from common.runtime.main import UserError

_MOST_BYTES = 1 << 26


class KeptFileError(UserError, ValueError):
    """A file that a command has kept cannot be used any more; the text names it, and says what to do."""


def read_kept(path: str | os.PathLike, wanted: Any, instead: str = "remove it, and it is made again") -> Any:
    """Return the content of a JSON file that a command has kept; None if it is not there.

    Args:
        path: the file.
        wanted: its types, as in `wrong_in`.
        instead: what to do with a file that is another.

    Raises KeptFileError if it is no such file.
    """
    if not os.path.lexists(path):
        return None
    try:
        content = json.loads(read_kept_bytes(path))
    except OSError as error:
        raise KeptFileError(f"{path}: cannot be read ({error.strerror}); {instead}") from error
    except (ValueError, RecursionError) as error:
        raise KeptFileError(f"{path}: is not JSON ({error}); {instead}") from error
    if complaint := wrong_in(content, wanted, "it"):
        raise KeptFileError(f"{path}: {complaint}; {instead}")
    return content


def read_kept_bytes(path: str | os.PathLike) -> bytes:
    """Read a file, without waiting, as for a pipe's writer. Raises OSError, also for what is no file or has more than 64 MiB."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _MOST_BYTES:
            raise OSError(errno.EINVAL, "is no file, or too large", os.fspath(path))
        with open(fd, "rb", closefd=False) as file:
            return file.read(_MOST_BYTES)
    finally:
        os.close(fd)


def wrong_in(value: Any, wanted: Any, name: str) -> str | None:
    """Return what of a value has another type than wanted, in words; None if nothing has.

    wanted: a type or a tuple of types; a list with what each entry is; or a dictionary of key -> what its value is, for an object.
    A missing key counts as None, and the key "*" stands for all others. Numbers must be finite.
    """
    shown = f"{name[:40]} is {str(value)[:40]!r}"
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            return f"{shown}, wanted an object"
        kinds = {key: kind for key, kind in wanted.items() if key != "*"}
        if "*" in wanted:
            kinds = dict.fromkeys(value, wanted["*"]) | kinds
        return next((found for key, kind in kinds.items() if (found := wrong_in(value.get(key), kind, key))), None)
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return f"{shown}, wanted a list"
        return next((found for one in value if (found := wrong_in(one, wanted[0], f"an entry of {name}"))), None)
    types = wanted if isinstance(wanted, tuple) else (wanted,)
    if type(value) not in types:
        return f"{shown}, wanted {' or '.join(kind.__name__ for kind in types)}"
    return f"{shown}, wanted a finite number" if type(value) is float and not math.isfinite(value) else None
