"""Confidence intervals for results of few episodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, for example of a success rate.

    Unlike the textbook interval it stays inside [0, 1] and has a width at 0 of n and n of n. With no trials it is (0, 1).

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
    # At the ends the exact bound is 0 or 1, and rounding must not make it 0.9999.
    low = 0.0 if successes == 0 else (middle - half) / scale
    high = 1.0 if successes == trials else (middle + half) / scale
    return low, high


def percent(fraction: float) -> str:
    """Format a fraction: 0.934 -> '93 %'."""
    return f"{100 * fraction:.0f} %"


def rate_text(successes: int, trials: int) -> str:
    """Format a success rate with its 95 % interval, for tables: '18/20 = 90 % [70, 97]'."""
    if trials == 0:
        return "0/0"
    low, high = wilson_interval(successes, trials)
    return f"{successes}/{trials} = {percent(successes / trials)} [{100 * low:.0f}, {100 * high:.0f}]"


def interquartile_mean(scores: np.ndarray) -> float:
    """Return the mean of the middle half of the scores (any shape).

    Scores below the first quartile or above the third do not count, and scores that the quartiles cut through count in part.

    Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", 2021.
    """
    ordered = np.sort(np.asarray(scores, np.float64), axis=None)
    n = len(ordered)
    edges = np.arange(n + 1)
    weights = np.clip(np.minimum(edges[1:], 0.75 * n) - np.maximum(edges[:-1], 0.25 * n), 0, None)
    return float(ordered @ weights / weights.sum())


def bootstrap_iqm(
    successes: np.ndarray, rng: np.random.Generator, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the interquartile mean of success rates, and its bootstrap interval over milestones, seeds and episodes.

    Args:
        successes: (M, S, E) bool, of each milestone, training seed and episode. A score is the mean over the episodes of
            one milestone and seed. All seeds of a milestone play the same test episodes.
        rng: draws the resamples: of the milestones, and for each milestone of its seeds and of its episodes.
        resamples: how many.
        level: the share of the resamples that the interval holds.

    Returns the interquartile mean, and the lower and upper end.
    """
    return _bootstrap(np.asarray(successes, bool), lambda drawn: interquartile_mean(drawn.mean(axis=-1)), rng, resamples, level)


def bootstrap_mean(
    values: np.ndarray, rng: np.random.Generator, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of what was measured, and its bootstrap interval over milestones, seeds and episodes.

    Where no milestone, seed and episode differs from another, the interval is a point.

    Args:
        values: (M, E), of each milestone and episode: its success, or a share; or (M, S, E) with training seeds.
        rng: draws the resamples: of the milestones, and for each milestone of its seeds and of its episodes.
        resamples: how many.
        level: the share of the resamples that the interval holds.

    Returns the mean, and the lower and upper end.
    """
    values = np.asarray(values, float)
    values = values[:, None] if values.ndim == 2 else values
    return _bootstrap(values, lambda drawn: float(drawn.mean()), rng, resamples, level)


def bootstrap_difference(
    ours: np.ndarray, theirs: np.ndarray, rng: np.random.Generator, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean difference of two methods' success rates, and its paired bootstrap interval.

    The interval is over milestones, seeds and episodes.

    Args:
        ours, theirs: (M, S, E) bool of the same milestones, seeds and test episodes, as for `bootstrap_iqm`.
        rng: draws the resamples, the same milestones, seeds and episodes for both.

    Returns the mean of ours - theirs, and the lower and upper end.
    """
    differences = np.asarray(ours, float) - np.asarray(theirs, float)
    return _bootstrap(differences, lambda drawn: float(drawn.mean()), rng, resamples, level)


def bootstrap_iqm_difference(
    ours: np.ndarray, theirs: np.ndarray, rng: np.random.Generator, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the difference of two methods' interquartile means, and its paired bootstrap interval.

    Args:
        ours, theirs: (M, S, E) bool of the same milestones, seeds and test episodes, as for `bootstrap_iqm`.
        rng: draws the resamples, the same milestones, seeds and episodes for both.

    Returns ours - theirs, and the lower and upper end.
    """

    def difference(drawn: np.ndarray) -> float:
        scores = drawn.mean(axis=2)
        return interquartile_mean(scores[..., 0]) - interquartile_mean(scores[..., 1])

    return _bootstrap(np.stack([ours, theirs], axis=-1).astype(bool), difference, rng, resamples, level)


def _bootstrap(
    values: np.ndarray, statistic: Callable[[np.ndarray], float], rng: np.random.Generator, resamples: int, level: float
) -> tuple[float, float, float]:
    """Return a statistic of (M, S, E, ...) values, and its interval over milestones, seeds, and the episodes that seeds share."""
    n_milestones, n_seeds, n_episodes = values.shape[:3]
    drawn = np.empty(resamples)
    for i in range(resamples):
        milestones = rng.integers(n_milestones, size=(n_milestones,))[:, None, None]
        seeds = rng.integers(n_seeds, size=(n_milestones, n_seeds))[:, :, None]
        episodes = rng.integers(n_episodes, size=(n_milestones, 1, n_episodes))
        drawn[i] = statistic(values[milestones, seeds, episodes])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return statistic(values), float(low), float(high)
