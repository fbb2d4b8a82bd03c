"""Builds of a ROM that play alike: what one recorded or learned holds for the other."""

from __future__ import annotations

_SAME_AS = {
    # Tallgrass before its image could hide the compass: three bytes of code, of the same length and time, and the checksum.
    # Screens and memory are equal over the experts' episodes: python -m tools.compare_roms OLD tallgrass/tallgrass.gb
    "d94e991694def581a668869fe6d9d95404db4e63d716d7c5486fde9c7d734ee3":
        "82cc38cb3287d504b805988e36903cb67295f9dd9c11cf31462188c5f360483c",
}  # fmt: skip
"""SHA-256 of an older build -> that of the newest one which plays alike. Their addresses are the same, too, for saved states."""

_SHOWS_COMPASS = frozenset({"d94e991694def581a668869fe6d9d95404db4e63d716d7c5486fde9c7d734ee3"})
"""Builds that show the compass whatever their image says."""


def can_hide_compass(sha256: str) -> bool:
    """Return whether a tier without the compass can be played with this build. One that cannot would show it without a word."""
    return sha256 not in _SHOWS_COMPASS


def same_builds(sha256: str) -> frozenset[str]:
    """Return the SHA-256 of all builds that play like this one, itself included."""
    newest = _SAME_AS.get(sha256, sha256)
    return frozenset({sha256, newest, *(old for old, new in _SAME_AS.items() if new == newest)})


def plays_alike(one: object, other: object) -> bool:
    """Return whether what was made with one build holds for the other, by the SHA-256 that files name; equal values always do."""
    return one == other or (isinstance(one, str) and isinstance(other, str) and other in same_builds(one))
