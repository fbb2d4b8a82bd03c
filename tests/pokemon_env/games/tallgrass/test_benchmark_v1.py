"""Tallgrass-v1's frozen specification against the real thing."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from benchmarks import expert_steps
from common.runtime.seeding import BENCHMARK_CHOOSE, BENCHMARK_TEST
from pokemon_env.games.tallgrass import benchmark_v1, frozen
from pokemon_env.games.tallgrass.expert import own_policy, steps_to_goal
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
        ("SPLITS", {"train": (1, 1000), "choose": (1000, 1099), "test": (10500, 11000)}),
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
    with pytest.raises(benchmark_v1.NotTallgrassV1, match="SCORED names NOWHERE, which the game does not have"):
        benchmark_v1.check()


# The frozen episodes


def test_every_set_of_frozen_episodes_is_there():
    for tier in ("T1", "T2", "T4"):
        for split in ("choose", "test"):
            for milestone in benchmark_v1.MILESTONES:
                steps = frozen.expert_steps(milestone, tier, split)
                assert len(steps) == benchmark_v1.EPISODES == len(frozen.seeds(split))
                assert all(taken is None or 1 <= taken <= 2000 for taken in steps)
                assert sum(taken is not None for taken in steps) >= 90, f"{tier}/{split}/{milestone}"
    assert frozen.expert_steps("ROUTE_1", "T4", "test") == frozen.expert_steps("ROUTE_1", "T2", "test")
    with pytest.raises(KeyError):
        frozen.expert_steps("ROUTE_1", "T3", "test")


def test_seeds_are_of_the_register():
    for split, block in (("test", BENCHMARK_TEST), ("choose", BENCHMARK_CHOOSE)):
        assert frozen.seeds(split) == range(block.first, block.first + block.count)


def test_a_limit_is_twice_the_experts_steps_and_where_it_fails_twice_the_median(monkeypatch):
    assert frozen.limit_of(7, (7, 9)) == 14 and frozen.limit_of(None, (3, None, 5, 100)) == 10
    assert frozen.limit_of(7, (), factor=1.5) == 11
    monkeypatch.setattr(frozen, "expert_steps", lambda *which: (4, None, 6))
    assert frozen.limits("BADGE", "T2", "test") == (8, 10, 12) and frozen.limits("BADGE", "T2", "test", 4) == (16, 20, 24)
    assert frozen.mean_steps("BADGE", "T2") == 5 and benchmark_v1.step_limit("BADGE", "T2") == 10


def test_the_table_is_what_the_expert_does():
    """Some of the episodes; `python -m benchmarks.expert_steps --check` plays more of them, on both tiers."""
    assert expert_steps.main(expert_steps.Args(check=True, check_episodes=2, milestones=("LAB_ENTERED", "HEALED"), parallel=1)) == 0


def test_a_wrong_table_is_found(monkeypatch, capsys):
    right = frozen.expert_steps("CLOCK_SET", "T1", "test")
    shipped = frozen.expert_steps
    wrong = lambda *which: (right[0] + 1, *right[1:]) if which == ("CLOCK_SET", "T1", "test") else shipped(*which)  # noqa: E731
    monkeypatch.setattr(frozen, "expert_steps", wrong)
    assert expert_steps.main(expert_steps.Args(check=True, check_episodes=1, milestones=("CLOCK_SET",), parallel=1)) == 1
    told = capsys.readouterr()
    assert told.err == "T1/test/CLOCK_SET: other steps than in frozen_steps.json\n" and "3 of 4 sets" in told.out


# The environment


@pytest.mark.parametrize("compass", [True, False])
def test_the_benchmarks_environment(compass):
    with gymnasium.make("Tallgrass-v1", milestone="LAB_ENTERED", compass=compass) as env:
        seed = frozen.seeds("test")[3]
        screen, info = env.reset(seed=seed)
        steps = frozen.expert_steps("LAB_ENTERED", "T2", "test")[3]
        assert info["expert_steps"] == steps and info["step_limit"] == 2 * steps and 1 <= info["optimal_steps"] <= steps
        assert info.keys() == {"expert_steps", "step_limit", "optimal_steps"} and screen.shape == (144, 160, 3)
        with PokemonEnv(
            tier="T2" if compass else "T4", worlds="test", start_milestone="LAB_ENTERED", target_milestone="LAB_ENTERED"
        ) as plain:
            assert np.array_equal(plain.reset(seed=seed)[0], screen)
        for number in range(1, 2 * steps + 1):
            _, reward, terminated, truncated, info = env.step(7)
            assert (reward, terminated, truncated) == (0, False, number == 2 * steps)
            assert info.keys() - {"success"} == {"step_limit"}
        assert info["success"] is False


def test_the_expert_succeeds_in_the_benchmarks_environment():
    with benchmark_v1.make("LEAVE_HOUSE") as env:
        _, info = env.reset(seed=frozen.seeds("test")[0])
        assert steps_to_goal(env.env, own_policy("LEAVE_HOUSE"), 100) == info["expert_steps"]


def test_elsewhere_the_expert_plays_first_and_the_generator_is_left_alone():
    """The same world, start and timing as without it, and the steps that a frozen episode of the same seed has."""
    with benchmark_v1.make("LAB_ENTERED", "train") as env, PokemonEnv(
        tier="T2", worlds="train", start_milestone="LAB_ENTERED", target_milestone="LAB_ENTERED", state_in_info=False
    ) as plain:
        for seed in (5, None, None):
            screen, info = env.reset(seed=seed)
            other, _ = plain.reset(seed=seed)
            assert np.array_equal(screen, other) and env.env.snapshot() == plain.snapshot()
            assert np.array_equal(env.step(4)[0], plain.step(4)[0])
            assert env.unwrapped.np_random.bit_generator.state == plain.np_random.bit_generator.state
            assert info["step_limit"] == 2 * info["expert_steps"]
    with benchmark_v1.make("LAB_ENTERED", "choose") as env:
        first = frozen.seeds("choose")[0]
        _, known = env.reset(seed=first)
        steps, _ = env._expert_steps(first + frozen.EPISODES, None)
        assert known["expert_steps"] == frozen.expert_steps("LAB_ENTERED", "T2", "choose")[0] and steps
        env._expert_env.reset(seed=first)
        assert steps_to_goal(env._expert_env, own_policy("LAB_ENTERED"), 200) == known["expert_steps"]


def test_wrong_arguments():
    with pytest.raises(ValueError, match="no split 'spent': choose train"):
        benchmark_v1.make("BADGE", "spent")
    with pytest.raises(ValueError, match="no milestone 'NOWHERE'"):
        benchmark_v1.make("NOWHERE")


def test_an_episode_has_no_options():
    with benchmark_v1.make("BADGE") as env, pytest.raises(ValueError, match=r"no options, but \['world'\] were given"):
        env.reset(seed=1, options={"world": 7})
