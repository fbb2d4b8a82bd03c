"""Confidence intervals for results of few episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    drawn = _resampled(values, statistic, rng, resamples)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return statistic(values), float(low), float(high)


def _resampled(
    values: np.ndarray, statistic: Callable[[np.ndarray], float], rng: np.random.Generator, resamples: int
) -> np.ndarray:
    """Return a statistic of each of `resamples` resamples of (M, S, E, ...) values: (resamples,) float."""
    n_milestones, n_seeds, n_episodes = values.shape[:3]
    drawn = np.empty(resamples)
    for i in range(resamples):
        milestones = rng.integers(n_milestones, size=(n_milestones,))[:, None, None]
        seeds = rng.integers(n_seeds, size=(n_milestones, n_seeds))[:, :, None]
        episodes = rng.integers(n_episodes, size=(n_milestones, 1, n_episodes))
        drawn[i] = statistic(values[milestones, seeds, episodes])
    return drawn


# Few tasks


@dataclass(frozen=True)
class Difference:
    """How much better one method is than another: the mean, its interval, and the p-value of there being no difference."""

    value: float
    low: float
    high: float
    p: float


def task_difference(
    ours: np.ndarray, theirs: np.ndarray, rng: np.random.Generator, resamples: int = 2000, level: float = 0.95
) -> Difference:
    """Return the mean difference of two methods' success rates, with an interval and a p-value that respect the number of tasks.

    A hierarchical bootstrap gives the standard error: tasks are resampled, for each task its seeds, and its episodes, which the
    seeds share. With M tasks the bootstrap's variance is too small by (M - 1) / M, which is made good, and the difference is
    held against Student's t with M - 1 degrees of freedom. Percentiles of so few tasks would be too narrow (Hesterberg, "What
    Teachers Should Know About the Bootstrap", 2015, section 3). The error counts the spread of seeds and episodes twice, in the
    tasks' means and below them, so it is on the safe side (Davison and Hinkley, "Bootstrap Methods", 1997, section 3.8).

    Args:
        ours, theirs: (M, S, E) bool of the same tasks, seeds and test episodes.
        rng: draws the resamples, the same tasks, seeds and episodes for both.

    With one task nothing is known of others: the interval is [-1, 1] and p is 1.
    """
    differences = np.asarray(ours, float) - np.asarray(theirs, float)
    value, tasks = float(differences.mean()), len(differences)
    if tasks < 2:
        return Difference(value, -1.0, 1.0, 1.0)
    drawn = _resampled(differences, lambda some: float(some.mean()), rng, resamples)
    error = float(drawn.std(ddof=1)) * math.sqrt(tasks / (tasks - 1))
    if error == 0:
        return Difference(value, value, value, float(value == 0))
    half = t_quantile((1 + level) / 2, tasks - 1) * error
    return Difference(value, max(value - half, -1.0), min(value + half, 1.0), 2 * t_tail(abs(value) / error, tasks - 1))


def level_for_few(level: float, tasks: int) -> float:
    """Return the level at which a percentile interval over few tasks holds the true value about as often as `level` says.

    With 7 tasks 95 % becomes 99.2 %. Hesterberg's expanded percentiles (see `task_difference`): the normal distribution's
    quantile becomes Student's, times the root of M / (M - 1). With one task it is 1, the whole range of the resamples.
    """
    if tasks < 2:
        return 1.0
    z = t_quantile((1 + level) / 2, tasks - 1) * math.sqrt(tasks / (tasks - 1))
    return 2 * NormalDist().cdf(z) - 1


def t_tail(t: float, freedom: int) -> float:
    """Return the probability that Student's t with `freedom` degrees of freedom, a whole number, is above `t`.

    Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.
    """
    if freedom < 1:
        raise ValueError(f"{freedom} degrees of freedom, but there must be at least 1")
    angle = math.atan(t / math.sqrt(freedom))
    odd, cosine = freedom % 2, math.cos(angle)
    term, total = 1.0, 0.0
    for k in range(1 + odd, freedom, 2):  # the term of cos^(k - 1)
        total += term * cosine ** (k - 1)
        term *= k / (k + 1)
    middle = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return (1 - middle) / 2


def t_quantile(probability: float, freedom: int) -> float:
    """Return the value below which Student's t lies with this probability, from 0.5 to below 1."""
    if not 0.5 <= probability < 1:
        raise ValueError(f"the probability is {probability}, but must be at least 0.5 and below 1")
    low, high = 0.0, 1.0
    while t_tail(high, freedom) > 1 - probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, freedom) > 1 - probability else (low, middle)
    return (low + high) / 2


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the same order: below 0.05 is significant at a family-wise error of 5 %.

    The smallest of n is multiplied by n, the next by n - 1, and so on; none is below one before it, or above 1.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted
