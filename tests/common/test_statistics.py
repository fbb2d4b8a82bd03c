"""Interquartile means and their bootstrap intervals."""

import numpy as np
import pytest

from common.statistics import (
    bootstrap_difference,
    bootstrap_iqm,
    bootstrap_iqm_difference,
    bootstrap_mean,
    holm,
    interquartile_mean,
    level_for_few,
    t_quantile,
    t_tail,
    task_difference,
)


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


# Few tasks


def test_student_s_t_is_as_in_the_tables():
    for freedom, value in ((1, 12.706), (2, 4.303), (3, 3.182), (6, 2.447), (7, 2.365), (30, 2.042)):
        assert t_quantile(0.975, freedom) == pytest.approx(value, abs=6e-4)
        assert t_tail(value, freedom) == pytest.approx(0.025, abs=2e-5)
    assert t_tail(0, 4) == 0.5 and t_tail(-1, 5) == pytest.approx(1 - t_tail(1, 5))
    with pytest.raises(ValueError, match="0 degrees of freedom"):
        t_tail(1, 0)
    with pytest.raises(ValueError, match="the probability is 1"):
        t_quantile(1, 5)


def test_holm_as_in_r():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # p.adjust(..., "holm")
    assert holm([0.5, 0.4, 0.9]) == [1, 1, 1] and holm([0.2]) == [0.2] and holm([]) == []


def test_intervals_over_few_tasks_hold_what_they_should():
    """The truth is a difference of 5 points in the mean over tasks, which differ from each other: 5 of them were drawn."""
    rng, truth, times = np.random.default_rng(0), 0.05, 120
    ours_held = plain_held = 0
    for _ in range(times):
        level, effect = rng.uniform(0.2, 0.7, (5, 1, 1)), rng.normal(truth, 0.12, (5, 1, 1))
        theirs = rng.random((5, 3, 100)) < level
        ours = rng.random((5, 3, 100)) < level + effect
        found = task_difference(ours, theirs, rng, resamples=120)
        ours_held += found.low <= truth <= found.high
        _, low, high = bootstrap_difference(ours, theirs, rng, resamples=120)
        plain_held += low <= truth <= high
    assert ours_held / times >= 0.94
    assert plain_held / times < 0.94  # what is made good


def test_a_difference_that_is_not_there_is_seldom_found():
    rng, found = np.random.default_rng(1), 0
    for _ in range(120):
        effect = rng.normal(0, 0.12, (5, 1, 1))
        theirs = rng.random((5, 2, 60)) < 0.5
        ours = rng.random((5, 2, 60)) < 0.5 + effect
        found += task_difference(ours, theirs, rng, resamples=100).p < 0.05
    assert found / 120 <= 0.06


def test_a_difference_of_few_tasks():
    theirs = np.zeros((7, 3, 50), bool)
    ours = theirs.copy()
    ours[:, :, :10] = True
    found = task_difference(ours, theirs, np.random.default_rng(0), resamples=300)
    assert found.value == pytest.approx(0.2) and found.low < 0.2 < found.high and found.p < 0.001
    back = task_difference(theirs, ours, np.random.default_rng(0), resamples=300)
    assert (back.value, back.low, back.high, back.p) == pytest.approx((-0.2, -found.high, -found.low, found.p))
    same = task_difference(ours, ours, np.random.default_rng(0), resamples=20)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    one = task_difference(ours[:1], theirs[:1], np.random.default_rng(0))
    assert (one.value, one.low, one.high, one.p) == (0.2, -1, 1, 1)  # what is one task among others?
    # The interval ends at zero where p is 0.05.
    spread = ours.copy()
    spread[:4] = False
    found = task_difference(spread, theirs, np.random.default_rng(0), resamples=300)
    assert (found.low > 0) == (found.p < 0.05)


def test_percentiles_are_taken_further_out_for_few_tasks():
    assert level_for_few(0.95, 7) == pytest.approx(0.9918, abs=1e-4)
    assert level_for_few(0.95, 1000) == pytest.approx(0.95, abs=1e-3) and level_for_few(0.95, 1) == 1
