"""Checks whether plain values, as files hold them, have the types that a program expects."""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin


def is_of_type(value: Any, kind: Any) -> bool:
    """Return whether `value` has the annotated type: a class, a Literal, or a union.

    Of containers, only the items of lists and tuples of one type are checked.
    """
    origin = get_origin(kind)
    if origin is Literal:
        return value in get_args(kind)
    if origin in (Union, UnionType):
        return any(is_of_type(value, one) for one in get_args(kind))
    if origin is list or (origin is tuple and get_args(kind)[1:] == (...,)):
        return type(value) is origin and all(is_of_type(item, get_args(kind)[0]) for item in value)
    if kind is float:
        return type(value) in (int, float)
    return type(value) is (origin or kind)  # not isinstance: a bool is no number
