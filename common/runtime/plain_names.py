"""Names that are read from files, and may become part of a path."""

from __future__ import annotations

from typing import Any, TypeGuard

LONGEST_NAME = 200
"""In bytes: file systems allow 255, and suffixes are appended to the name."""


def is_plain_name(name: Any) -> TypeGuard[str]:
    """Return whether `name` names one file or folder inside another, and nothing else.

    That is printable text of 1 to LONGEST_NAME bytes that holds no slash and does not begin with a dot.
    """
    if not isinstance(name, str) or not name.isprintable() or "/" in name or name.startswith("."):
        return False
    return 0 < len(name.encode()) <= LONGEST_NAME
