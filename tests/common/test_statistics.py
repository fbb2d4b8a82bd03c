"""Interquartile means and their bootstrap intervals."""

import numpy as np
import pytest

from common.statistics import bootstrap_iqm, bootstrap_iqm_difference, bootstrap_mean, interquartile_mean


def test_the_middle_half_counts():
    assert interquartile_mean(np.array([0, 0, 1, 2, 3, 4, 100, 1000])) == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert interquartile_mean(np.array([5.0])) == 5
    # Of 6 scores the quartiles cut through the second and the fifth: each counts half.
    assert interquartile_mean(np.array([[9, 1, 2], [3, 4, -9]])) == pytest.approx((0.5 * 1 + 2 + 3 + 0.5 * 4) / 3)


def test_the_interval_holds_the_value_and_shrinks_with_episodes():
    rng = np.random.default_rng(0)
    widths = []
    for episodes in (5, 500):
        successes = rng.random((14, 3, episodes)) < 0.7
        value, low, high = bootstrap_iqm(successes, np.random.default_rng(1), resamples=300)
        assert low < value < high and value == interquartile_mean(successes.mean(-1))
        widths.append(high - low)
    assert widths[1] < widths[0] / 3
    same = bootstrap_iqm(successes, np.random.default_rng(1), resamples=300)
    assert same == (value, low, high)


def test_without_any_spread_the_interval_is_a_point():
    successes = np.ones((4, 2, 10), bool)
    assert bootstrap_iqm(successes, np.random.default_rng(0), resamples=20) == (1.0, 1.0, 1.0)
    # Milestones that differ spread the interval, though no episode of any varies.
    successes[:2] = False
    value, low, high = bootstrap_iqm(successes, np.random.default_rng(0), resamples=200)
    assert value == 0.5 and low < 0.2 and high > 0.8


def test_a_means_interval_is_over_milestones_and_episodes():
    rng = np.random.default_rng(0)
    alike = rng.random((10, 200)) < 0.5
    value, low, high = bootstrap_mean(alike, np.random.default_rng(1), resamples=300)
    assert low < value < high and value == alike.mean() and high - low < 0.1
    differing = np.repeat([[0.0] * 50, [1.0] * 50], 5, axis=0)
    value, low, high = bootstrap_mean(differing, np.random.default_rng(1), resamples=300)
    assert (value, low, high) == (0.5, pytest.approx(0.2, abs=0.1), pytest.approx(0.8, abs=0.1))
    one = np.array([[1.0, 0.0] * 50])
    value, low, high = bootstrap_mean(one, np.random.default_rng(1), resamples=300)
    assert value == 0.5 and 0.35 < low < 0.45 and 0.55 < high < 0.65
    assert bootstrap_mean(np.ones((4, 10)), np.random.default_rng(0), resamples=20) == (1.0, 1.0, 1.0)


def test_a_mean_with_seeds_is_over_them_too():
    seeds_differ = np.zeros((1, 2, 10))
    seeds_differ[:, 0] = 1.0
    value, low, high = bootstrap_mean(seeds_differ, np.random.default_rng(1), resamples=200)
    assert (value, low, high) == (0.5, 0.0, 1.0)
    flat = np.random.default_rng(0).integers(2, size=(3, 20))
    same = [bootstrap_mean(values, np.random.default_rng(2), resamples=50) for values in (flat, flat[:, None])]
    assert same[0] == same[1]


def test_a_difference_of_interquartile_means_is_paired():
    theirs = np.random.default_rng(0).random((17, 3, 100)) < np.linspace(0.1, 0.7, 17)[:, None, None]
    ours = theirs.copy()
    ours[:, :, :25] = True
    value, low, high = bootstrap_iqm_difference(ours, theirs, np.random.default_rng(1), resamples=300)
    assert value == interquartile_mean(ours.mean(2)) - interquartile_mean(theirs.mean(2)) and low <= value <= high
    _, *ends = bootstrap_iqm(ours, np.random.default_rng(1), resamples=300)
    assert high - low < 0.5 * (ends[1] - ends[0])  # unpaired it would be wider than either's own
    assert bootstrap_iqm_difference(ours, ours, np.random.default_rng(1), resamples=20) == (0, 0, 0)
