"""Texts that may be a stranger's, for a terminal: what can't be printed moves its cursor, clears it, or hides what stands there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LONGEST_TEXT = 4096
"""Characters of a text in a checkpoint or a demonstration, at most."""
_LONGEST = 2000


def printable(text: str) -> str:
    """The text in one line: other blanks are spaces, and what can't be printed is written as Python would."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else ascii(char)[1:-1] for char in text)


def in_one_line(error: Any) -> str:
    """What an error says, as a script's last words: in one line that can be printed, and no longer than bearable."""
    text = printable(str(error)[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def some(names: Sequence[str]) -> str:
    """Return the first three names, and how many more there are."""
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' * (len(names) > 3)}"
