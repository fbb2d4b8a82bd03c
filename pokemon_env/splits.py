"""Which worlds are for training, for choosing and for testing; and how a command line names them."""

from __future__ import annotations

import re

from pokemon_env.tiers import TIERS

TRAIN = range(1, 1000)
CHOOSE = range(1000, 1100)
TEST = range(10500, 11000)
"""Worlds from 10000 on are for tests only; the word "test" means these."""
SPENT = range(10000, 10500)
"""Test worlds that settings were once chosen by, before the benchmark was frozen: no result is reported on them."""

LAST_WORLD = 2**32 - 1
_NAMED = {"train": TRAIN, "choose": CHOOSE, "test": TEST, "spent": SPENT}

Worlds = range
"""World numbers, in order: a sequence without gaps."""


def parse_worlds(text: str) -> Worlds:
    """Read "0", "7", "1-999", "train", "choose" or "test"; raises ValueError that says what is wrong."""
    text = text.strip()
    if text in _NAMED:
        return _NAMED[text]
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if match is None:
        raise ValueError(f"worlds {text!r}: give a number (0), a range (1-999), or one of {', '.join(_NAMED)}")
    first = int(match[1])
    last = int(match[2]) if match[2] is not None else first
    if last < first:
        raise ValueError(f"worlds {text!r}: the range ends before it begins; {last}-{first} is meant?")
    if last > LAST_WORLD:
        raise ValueError(f"worlds {text!r}: the last world is {LAST_WORLD}")
    return range(first, last + 1)


def has_splits(tier: str | None) -> bool:
    """Return whether a tier has worlds of its own for training, choosing and testing; None, for no tier, has not.

    Nor has one that there is not, which a file may name: whoever plays it says so.
    """
    return tier in TIERS and TIERS[tier].has_splits
