"""Intervals for what a handful of episodes can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev


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


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and its confidence interval: (mean, low, high), from Student's t.

    With fewer than two values the interval is infinite; without any, the mean is nan.
    """
    if not values:
        return math.nan, -math.inf, math.inf
    mean = fmean(values)
    if len(values) == 1:
        return mean, -math.inf, math.inf
    half = student_t_quantile(0.5 + confidence / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def student_t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t with `degrees` degrees of freedom, for 0 < probability < 1.

    By bisection over the closed form that the distribution has for whole degrees (Abramowitz and Stegun 26.7.3
    and 26.7.4).
    """
    if not 0 < probability < 1 or degrees < 1:
        raise ValueError(f"no quantile for probability {probability} and {degrees} degrees of freedom")
    if probability < 0.5:
        return -student_t_quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while _student_t_cdf(high, degrees) < probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_t_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _student_t_cdf(t: float, degrees: int) -> float:
    """P(T <= t) for t >= 0."""
    angle = math.atan2(t, math.sqrt(degrees))
    cosine = math.cos(angle)
    total, term = 0.0, cosine if degrees % 2 else 1.0
    for k in range(2 if not degrees % 2 else 3, degrees + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    if degrees % 2:
        inside = 2 / math.pi * (angle + math.sin(angle) * total)
    else:
        inside = math.sin(angle) * total
    return 0.5 + inside / 2


def percent(fraction: float) -> str:
    """0.934 -> '93 %'."""
    return f"{100 * fraction:.0f} %"


def rate_text(successes: int, trials: int) -> str:
    """'18/20 = 90 % [70, 97]': a success rate with its 95 % interval, for tables."""
    if trials == 0:
        return "0/0"
    low, high = wilson_interval(successes, trials)
    return f"{successes}/{trials} = {percent(successes / trials)} [{100 * low:.0f}, {100 * high:.0f}]"
