"""Types of flags: which values they take, and what a resumed run may do with them.

    n_iterations: Count = 10                    # at least 1
    query_rate: Share = 1.0                     # 0 to 1
    video: Free[bool] = True                    # a resumed run may change it and still learn the same
    overwrite: Once[bool] = False               # holds for one call; never taken from a checkpoint

A flag that is neither `Free` nor `Once` is part of a run's identity: a resumed run that changes it is another run.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from common.runtime.main import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Bounds:
    """The values that a number may have, both ends included."""

    least: float = -math.inf
    most: float = math.inf


class Mark(enum.Enum):
    """What a flag means for a run that is resumed."""

    FREE = "may change"
    ONCE = "holds for one call"


Free = Annotated[T, Mark.FREE]
Once = Annotated[T, Mark.ONCE]

Count = Annotated[int, Bounds(1)]
CountOrZero = Annotated[int, Bounds(0)]
Few = Annotated[int, Bounds(1, 4096)]
"""Most threads or environments that a flag accepts: no machine has more."""
Seed = Annotated[int, Bounds(0, 2**32 - 1)]
Share = Annotated[float, Bounds(0, 1)]
ShareBelowOne = Annotated[float, Bounds(0, math.nextafter(1, 0))]
Amount = Annotated[float, Bounds(0)]
Positive = Annotated[float, Bounds(1e-6)]
AtLeastOne = Annotated[float, Bounds(1)]

_ANY = Bounds()


class FlagError(UserError, ValueError):
    """A flag's value cannot be used; the text names the flag, and says what to do."""


def marked(kind: type, mark: Mark) -> frozenset[str]:
    """Return the names of the fields of a dataclass of flags that carry `mark`."""
    return frozenset(name for name, notes in _notes(kind).items() if mark in notes)


def check_bounds(args: Any) -> None:
    """Raise FlagError, naming the flag, if a number in a dataclass of flags is out of its type's bounds or not finite."""
    kind: type = type(args)
    notes = _notes(kind)
    for item in fields(args):
        bounds = next((note for note in notes[item.name] if isinstance(note, Bounds)), _ANY)
        values = getattr(args, item.name)
        for value in values if isinstance(values, tuple | list) else [values]:
            if complaint := out_of_range(item.name, value, bounds):
                raise FlagError(complaint)


def out_of_range(name: str, value: Any, bounds: Bounds = _ANY) -> str | None:
    """Return what is wrong with the value of the flag of this field; None if nothing is, or it is no number."""
    flag = f"--{name.replace('_', '-')}"
    least, most = bounds.least, bounds.most
    if isinstance(value, int):
        most = min(most, 2**63 - 1)
    elif isinstance(value, float):
        most = min(most, 1e15)  # so that what it is multiplied with stays finite
    if isinstance(value, float) and not math.isfinite(value):
        return f"{flag} is {value}, but must be a finite number"
    if isinstance(value, int | float) and value < least:
        return f"{flag} is {value}, but must be at least {least}"
    if isinstance(value, int | float) and value > most:
        return f"{flag} is {value}, but must be {'less than 1' if 0.5 < most < 1 else f'at most {most}'}"
    return None


@functools.cache
def _notes(kind: type) -> dict[str, frozenset[Any]]:
    """Return field -> the annotations of its type (`Annotated`), at any depth."""
    hints = get_type_hints(kind, include_extras=True)
    return {item.name: frozenset(_notes_of(hints[item.name])) for item in fields(kind)}


def _notes_of(hint: Any) -> Iterator[Any]:
    yield from getattr(hint, "__metadata__", ())
    for part in get_args(hint):
        if part is not hint and not isinstance(part, Mark | Bounds | str | int):
            yield from _notes_of(part)
