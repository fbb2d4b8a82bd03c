"""Intervals for what a handful of episodes can tell."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, for example of a success rate.

    Unlike the textbook interval it stays inside [0, 1] and has a width at 0 of n and n of n. Without
    trials it is (0, 1).

    Raises ValueError unless 0 <= successes <= trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / trials
    middle = p + z * z / (2 * trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # At the ends the exact bound is 0 or 1, and rounding must not say 0.9999.
    low = 0.0 if successes == 0 else (middle - half) / scale
    high = 1.0 if successes == trials else (middle + half) / scale
    return low, high


def percent(fraction: float) -> str:
    """0.934 -> '93 %'."""
    return f"{100 * fraction:.0f} %"


def rate_text(successes: int, trials: int) -> str:
    """'18/20 = 90 % [70, 97]': a success rate with its 95 % interval, for tables."""
    if trials == 0:
        return "0/0"
    low, high = wilson_interval(successes, trials)
    return f"{successes}/{trials} = {percent(successes / trials)} [{100 * low:.0f}, {100 * high:.0f}]"
