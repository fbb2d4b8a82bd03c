"""Tallgrass-v1's frozen specification against the real thing."""

from __future__ import annotations

import pytest

from pokemon_env.games.tallgrass import benchmark_v1
from pokemon_env.gym_env import PokemonEnv


def test_what_is_here_is_what_is_specified():
    benchmark_v1.check()


def test_an_environment_is_made_as_specified():
    with PokemonEnv(tier="T1") as env:
        assert env.identity.rom_sha256 == benchmark_v1.ROM_SHA256
        assert (env.identity.emulator, env.identity.emulator_version) == (benchmark_v1.EMULATOR, benchmark_v1.EMULATOR_VERSION)
        assert env.buttons == benchmark_v1.BUTTONS and env.observation_space.shape == benchmark_v1.SCREEN_SHAPE
        assert (env.hold_frames, env.release_frames) == (benchmark_v1.HOLD_FRAMES, benchmark_v1.RELEASE_FRAMES)
        assert env.release_frames_range == benchmark_v1.RELEASE_FRAMES_RANGE
        assert env.idle_frames_range == benchmark_v1.IDLE_FRAMES_RANGE
        assert tuple(env.reset(seed=0)[1]["milestones"]) == benchmark_v1.MILESTONES


def test_splits_are_disjoint():
    ranges = [range(first, last + 1) for first, last in benchmark_v1.SPLITS.values()]
    assert 0 not in [world for worlds in ranges for world in worlds]
    assert len(set().union(*ranges)) == sum(map(len, ranges))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROM_SHA256", "0" * 64),
        ("EMULATOR_VERSION", "9.9"),
        ("HOLD_FRAMES", 3),
        ("SPLITS", {"train": (1, 1000), "choose": (1000, 1099), "test": (10000, 10999)}),
        ("MILESTONES", ("BADGE",)),
        ("TIER_WORLDS", {}),
    ],
)
def test_every_difference_is_named(monkeypatch, name, value):
    monkeypatch.setattr(benchmark_v1, name, value)
    with pytest.raises(benchmark_v1.NotTallgrassV1, match=f"not Tallgrass-v1: .*{name} is .*specified is"):
        benchmark_v1.check()


def test_milestones_that_do_not_exist_are_named(monkeypatch):
    monkeypatch.setattr(benchmark_v1, "SCORED", ("BADGE", "NOWHERE"))
    monkeypatch.setattr(benchmark_v1, "EXPERT_STEPS", {"T1": {"NOBODY": 3.0}})
    with pytest.raises(benchmark_v1.NotTallgrassV1, match=r"SCORED names NOWHERE.*EXPERT_STEPS\['T1'\] names NOBODY"):
        benchmark_v1.check()


def test_step_limits(monkeypatch):
    monkeypatch.setattr(benchmark_v1, "EXPERT_STEPS", {"T1": {"BADGE": 10.2}})
    assert benchmark_v1.step_limit("BADGE", "T1") == 21 and benchmark_v1.step_limit("BADGE", "T1", 4) == 41
    for tier, milestones in benchmark_v1.EXPERT_STEPS.items():
        assert tier in benchmark_v1.TIER_WORLDS and set(milestones) <= set(benchmark_v1.MILESTONES)
