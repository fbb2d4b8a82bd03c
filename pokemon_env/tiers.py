"""The tiers of difficulty in which a game with worlds is played."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tier:
    """What changes from one episode to the next, and how much of it the screen shows."""

    id: str
    description: str
    worlds: str  # played if none are named, as `pokemon_env.splits.parse_worlds` reads it
    people_move: bool = True
    jitter: bool = True  # the release frames are drawn for each step, and idle frames pass after a start
    looks_vary: bool = False  # light, grounds and floors are drawn for each episode
    natural_share: float = 0.25  # of the starts at a milestone: exactly where the one before ends; the others are varied
    hides: bool = False  # what was on the screen earlier decides, and is not repeated
    compass: bool = True  # the strip has an arrow that points to where the milestone is

    @property
    def has_splits(self) -> bool:
        """Whether it is played in generated worlds, of which training, choosing and testing have their own."""
        return self.worlds == "train"


TIERS = {
    tier.id: tier
    for tier in (
        Tier("T0", "world 0; people stand still, steady timing", "0", people_move=False, jitter=False, natural_share=1.0),
        # Its map never changes, so the light does: otherwise 50 demonstrations show nearly every possible screen.
        Tier("T1", "world 0; people move, timing jitters, starts, light and grounds vary", "0", looks_vary=True),
        Tier("T2", "other worlds, by day; people, timing and starts as in T1", "train"),
        Tier("T3", "world 0 by day, as T1, and what was on the screen a moment ago decides", "0", hides=True),
        Tier("T4", "as T2, and the screen has no compass", "train", compass=False),
    )
}
DEFAULT_TIER = "T1"


def find_tier(name: str) -> Tier:
    """Return the tier of that name; raises ValueError if there is none."""
    try:
        return TIERS[name]
    except KeyError:
        raise ValueError(f"there is no tier {name!r}: choose one of {', '.join(TIERS)}.") from None
