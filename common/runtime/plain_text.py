"""A stranger's texts, made safe for a terminal: unprintable characters could move its cursor, clear it, or hide other text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LONGEST_TEXT = 4096
"""Characters of a text in a checkpoint or a demonstration, at most."""
_LONGEST = 2000


def printable(text: str) -> str:
    """Return the text in one line: any white space becomes a space, and unprintable characters are escaped as Python does."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else ascii(char)[1:-1] for char in text)


def in_one_line(error: Any) -> str:
    """Return an error's text for a script's last line: one printable line of limited length."""
    text = printable(str(error)[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def some(names: Sequence[str]) -> str:
    """Return the first three names, and how many more there are."""
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' * (len(names) > 3)}"
