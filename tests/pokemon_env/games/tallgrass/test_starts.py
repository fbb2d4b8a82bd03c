"""Worlds, tiers and starts at a milestone, on the real emulator."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from pokemon_env import tiers
from pokemon_env.errors import MilestoneAlreadyCompleted
from pokemon_env.games.tallgrass import GAME
from pokemon_env.games.tallgrass import starts as tallgrass_starts
from pokemon_env.games.tallgrass.worlds.generate import generate_world
from pokemon_env.games.tallgrass.worlds.image import HIDE, STILL
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.vector_env import make_vector_env

ROOT = Path(__file__).resolve().parents[4]
A, B, START, SELECT, UP, DOWN, LEFT, RIGHT = range(8)
IDS = [milestone.id for milestone in GAME.milestones]
STRIP = np.s_[128:]  # the objective and the compass, at the foot of the picture


def play(env, seed, actions, **reset):
    """Reset and press; return a digest of every picture and info on the way."""
    digest = hashlib.sha256()
    for observation, *rest in [env.reset(seed=seed, **reset), *map(env.step, actions)]:
        digest.update(observation.tobytes())
        digest.update(json.dumps(rest).encode())
    return digest.hexdigest()


def random_actions(seed, n=40):
    return np.random.default_rng(seed).integers(0, 8, n).tolist()


@pytest.fixture(scope="module")
def world_env():
    """No worlds of its own: the tests name them."""
    with PokemonEnv() as env:
        yield env


@pytest.mark.parametrize(
    ("settings", "worlds", "tier"),
    [
        ({"worlds": "7"}, [7], "T1"),
        ({"worlds": 7}, [7], "T1"),
        ({"worlds": 0}, [0], "T1"),
        ({"worlds": np.int64(3), "tier": "T2"}, [3], "T2"),
        ({"worlds": [3, 5]}, [3, 5], "T1"),
        ({"worlds": np.array([3, 5])}, [3, 5], "T1"),
        ({"tier": "T0"}, [0], "T0"),
        ({"tier": "T2"}, list(range(1, 1000)), "T2"),
        ({"tier": "T2", "worlds": "choose"}, list(range(1000, 1100)), "T2"),
        ({"tier": "T3", "start_milestone": "ROUTE_2"}, [0], "T3"),
        ({}, None, None),
    ],
)
def test_what_is_left_out_follows_from_the_rest(settings, worlds, tier):
    with PokemonEnv(**settings) as env:
        assert (env.worlds if env.worlds is None else list(env.worlds)) == worlds and env.tier == tier


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tier": "T9"}, "no tier 'T9': choose one of T0, T1, T2, T3"),
        ({"worlds": "everything"}, "worlds 'everything'"),
        ({"worlds": []}, "worlds is empty"),
        ({"worlds": [-1]}, "worlds.*-1"),
        ({"worlds": -1}, "worlds.*-1"),
        ({"worlds": 1.5}, "worlds.*1.5"),
        ({"worlds": ["7"]}, "worlds.*'7'"),
        ({"tier": "T2", "worlds": "0-5"}, "T2 is played in other worlds than world 0"),
        ({"start_milestone": "NOWHERE"}, "no milestone 'NOWHERE'; it has GAME_RUNNING, "),
    ],
)
def test_wrong_settings_are_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        PokemonEnv(**settings)


def test_a_saved_state_has_its_own_world(bedroom_state, world_env):
    with pytest.raises(ValueError, match="start_state and worlds exclude each other"):
        PokemonEnv(start_state=bedroom_state, worlds="0")
    with pytest.raises(ValueError, match="load_state and world exclude each other"):
        world_env.reset(options={"load_state": bedroom_state, "world": 3})
    with pytest.raises(ValueError, match="no milestone 'NOWHERE'"):
        world_env.reset(options={"start_milestone": "NOWHERE"})


@pytest.mark.filterwarnings("ignore:.*by its picture alone")
def test_games_without_worlds_say_so(rom_titled):
    rom = rom_titled("WORLDLESS")
    for settings in ({"worlds": "0"}, {"tier": "T1"}, {"start_milestone": "CLOCK_SET"}):
        with pytest.raises(ValueError, match=f"unknown game .*has no worlds: leave out {next(iter(settings))}"):
            PokemonEnv(rom, **settings)
    with PokemonEnv(rom) as env, pytest.raises(ValueError, match="has no worlds: leave out world"):
        env.reset(options={"world": 1})


def test_worlds_are_drawn_from_the_environments_generator():
    with PokemonEnv(worlds="3-6") as env:
        seen = [env.reset(seed=seed)[1]["game"]["world"] for seed in range(20)]
        assert set(seen) == {3, 4, 5, 6}
        assert [env.reset(seed=seed)[1]["game"]["world"] for seed in range(20)] == seen
        env.reset(seed=4)
        onward = [env.reset()[1]["game"]["world"] for _ in range(10)]
        env.reset(seed=4)
        assert len(set(onward)) > 1 and [env.reset()[1]["game"]["world"] for _ in range(10)] == onward
        assert env.reset(seed=1, options={"world": 12})[1]["game"]["world"] == 12


def bedroom(env, seed, world):
    return env.reset(seed=seed, options={"world": world, "start_milestone": "CLOCK_SET"})[1]


def test_the_game_is_played_in_the_worlds_maps(rom_path):
    for world in (1, 2, 10000):
        with PokemonEnv(rom_path, tier="T2", worlds=[world], start_milestone="CLOCK_SET") as env:
            state = env.reset(seed=0)[1]
        expected = generate_world(world).maps["BEDROOM"]
        assert state["game"]["world"] == world and state["map"]["location"] == "BEDROOM"
        gates = {(gate["x"], gate["y"]) for gate in state["map"]["gates"]}
        for y, row in enumerate(state["map"]["tiles"]):
            for x, tile in enumerate(row):
                assert tile == expected.at(x, y) or (x, y) in gates, (world, x, y)


def test_worlds_differ_and_each_is_always_the_same(world_env):
    def tiles(world, start):
        return json.dumps(world_env.reset(seed=1, options={"world": world, "start_milestone": start})[1]["map"]["tiles"])

    for start in ("RIVAL_HOUSE", "FIRST_CATCH", "ROUTE_2", "TRAINER_BEATEN", "LEADER_BEATEN"):
        seen = [tiles(world, start) for world in (0, 1, 2, 3)]
        assert len(set(seen)) == 4
        assert [tiles(world, start) for world in (0, 1, 2, 3)] == seen


def test_same_seed_and_actions_give_the_same_episode_whatever_came_before(world_env, bedroom_state):
    settings = {"worlds": "1-5", "tier": "T2", "start_milestone": "RIVAL_HOUSE"}
    cases = {seed: random_actions(seed) for seed in range(3)}
    with PokemonEnv(**settings) as one, PokemonEnv(**settings) as other:
        first = {seed: play(one, seed, actions) for seed, actions in cases.items()}
        assert len(set(first.values())) == 3
        other.reset(seed=9, options={"world": 20, "start_milestone": "LEADER_BEATEN"})
        other.step(A)
        other.reset(options={"load_state": bedroom_state})
        for env in (one, other):
            assert {seed: play(env, seed, cases[seed]) for seed in reversed(cases)} == dict(reversed(first.items()))


def test_no_world_is_left_in_the_cartridge(world_env, bedroom_state):
    def digests():
        power_on = play(world_env, 5, [START, *random_actions(0)])
        loaded = play(world_env, 5, random_actions(0), options={"load_state": bedroom_state})
        image_without_maps = play(world_env, 5, [START, *random_actions(0)], options={"world": 0})
        return power_on, loaded, image_without_maps

    before = digests()
    for start in (None, "LEADER_BEATEN"):
        play(world_env, 1, random_actions(1, 10), options={"world": 8, "start_milestone": start})
        assert digests() == before


def test_a_saved_state_goes_on_in_its_world(tmp_path, world_env):
    bedroom(world_env, 3, 5)
    path = world_env.save_state(tmp_path / "five.state")
    bedroom(world_env, 3, 6)
    with PokemonEnv(start_state=path) as fresh:
        for env in (world_env, fresh):
            _, info = env.reset(seed=0, options={"load_state": path})
            assert info["game"]["world"] == 5
            assert info["milestones"]["PLAYER_BEDROOM"]["completed"] and not info["milestones"]["CLOCK_SET"]["completed"]
        assert play(fresh, 2, random_actions(3)) == play(world_env, 2, random_actions(3), options={"load_state": path})


@pytest.mark.parametrize("name", IDS)
def test_an_episode_starts_at_its_milestone(name):
    before = IDS[: IDS.index(name)]
    for tier, worlds in (("T0", "0"), ("T1", "0"), ("T2", "10000-10004"), ("T3", "0")):
        with PokemonEnv(tier=tier, worlds=worlds, start_milestone=name) as env:
            pictures = set()
            for seed in range(4):
                observation, info = env.reset(seed=seed)
                pictures.add(observation.tobytes())
                completed = [milestone for milestone, entry in info["milestones"].items() if entry["completed"]]
                assert completed == before, (tier, seed)
                assert env.game.at_rest(env._emulator)
                _, reward, terminated, _, info = env.step(SELECT)
                assert reward == float(terminated) == 0 and info["milestones"][before[-1] if before else name]
            assert len(pictures) > 1 or tier == "T0" or name in ("GAME_RUNNING", "PLAYER_BEDROOM")


def test_the_milestone_that_is_started_at_is_the_target():
    with PokemonEnv(start_milestone="PLAYER_BEDROOM", tier="T0") as env:
        _, info = env.reset(seed=0)
        for action in [B, *[UP, DOWN, LEFT, RIGHT] * 2]:
            _, reward, terminated, _, info = env.step(action)
            if info["milestones"]["PLAYER_BEDROOM"]["completed"]:
                break
        assert (reward, terminated) == (1.0, True)
    with PokemonEnv(start_milestone="CLOCK_SET", target_milestone="PLAYER_BEDROOM") as env:
        with pytest.raises(MilestoneAlreadyCompleted, match="PLAYER_BEDROOM is completed already in a start at CLOCK_SET"):
            env.reset(seed=0)
        env.reset(seed=0, options={"start_milestone": "PLAYER_BEDROOM"})
        assert env.reset(seed=0, options={"start_milestone": None})[1]["game"]["objective"] == "PRESS_START"


def test_natural_starts_are_one_in_four_and_all_on_t0(monkeypatch):
    drawn = []
    stage_block = tallgrass_starts.stage_block

    def recorded(world, name, rng, natural):
        drawn.append(natural)
        return stage_block(world, name, rng, natural)

    monkeypatch.setattr(tallgrass_starts, "stage_block", recorded)
    for tier, low, high in (("T0", 60, 60), ("T1", 5, 27)):
        with PokemonEnv(tier=tier, start_milestone="RIVAL_HOUSE") as env:
            for seed in range(60):
                env.reset(seed=seed)
        assert len(drawn) == 60 and low <= sum(drawn) <= high
        drawn.clear()


def people(info):
    return [(person["x"], person["y"], person["facing"]) for person in info["map"]["people"]]


def test_people_stand_still_on_t0_and_move_on_t1():
    for tier, flags, moved in (("T0", STILL, False), ("T1", 0, True), ("T3", HIDE, True)):
        with PokemonEnv(tier=tier, start_milestone="RIVAL_HOUSE") as env:
            _, info = env.reset(seed=0)
            assert info["game"]["tier_flags"] & (STILL | HIDE) == flags
            assert len(info["map"]["people"]) >= 3
            first = people(info)
            later = [people(env.step(B)[-1]) for _ in range(40)]
            assert any(where != first for where in later) == moved


def test_timing_is_steady_on_t0(monkeypatch):
    for tier, releases in (("T0", {12}), ("T1", set(range(12, 21)))):
        with PokemonEnv(tier=tier, start_milestone="RIVAL_HOUSE") as env:
            pressed, ticks = [], []
            env.reset(seed=0)
            press, tick = env._emulator.press, env._emulator.tick
            monkeypatch.setattr(env._emulator, "press", lambda *args, press=press, to=pressed: (to.append(args), press(*args)))
            for _ in range(120):
                env.step(B)
            assert {release for _, _, release in pressed} == releases
            monkeypatch.setattr(env._emulator, "tick", lambda frames, tick=tick, to=ticks: (to.append(frames), tick(frames)))
            idle = []
            for seed in range(30):
                ticks.clear()
                env.reset(seed=seed)
                idle.append(ticks[-1])
            assert (set(idle) == {1}) == (tier == "T0")


def read_on(env, info):
    """Close the text that is open, if any; return the picture and the state."""
    observation = None
    for _ in range(12):
        if info["game"]["dialog_text"] is None and observation is not None:
            return observation, info
        observation, *_, info = env.step(A if info["game"]["dialog_text"] is not None else SELECT)
    raise AssertionError(info["game"])


@pytest.mark.parametrize(("tier", "strips"), [("T1", 3), ("T3", 1)])
def test_what_the_professor_asked_for_is_hidden_on_t3(tier, strips, monkeypatch):
    monkeypatch.setitem(tiers.TIERS, tier, replace(tiers.TIERS[tier], natural_share=1.0))
    seen = {}
    with PokemonEnv(tier=tier, start_milestone="STARTER_CHOSEN") as env:
        for seed in range(30):
            _, info = env.reset(seed=seed)
            observation, info = read_on(env, info)
            seen.setdefault(info["game"]["wish"], observation[STRIP].tobytes())
            assert (info["game"]["objective"] == "TAKE_ASKED") == (tier == "T3")
    assert set(seen) == {"LEAF", "EMBER", "WAVE"} and len(set(seen.values())) == strips


@pytest.mark.parametrize(("tier", "strips"), [("T1", 2), ("T3", 1)])
def test_which_gap_is_open_is_hidden_on_t3(tier, strips, monkeypatch):
    monkeypatch.setitem(tiers.TIERS, tier, replace(tiers.TIERS[tier], natural_share=1.0))
    seen, views = {}, {}
    for world in (0, 10001):
        seen.clear()
        with PokemonEnv(tier=tier, worlds=[world], start_milestone="TRAINER_BEATEN") as env:
            for seed in range(20):
                observation, info = env.reset(seed=seed)
                fork = "LEFT" if info["game"]["events"]["FORK_LEFT"] else "RIGHT"
                assert info["game"]["events"]["FORK_RIGHT"] == (fork == "RIGHT")
                seen[fork] = observation[STRIP].tobytes()
                views[fork] = info["map"]["player_coords"]
                assert (info["game"]["objective"] == "READ_SIGN") == (tier == "T3")
        assert set(seen) == {"LEFT", "RIGHT"} and len(set(seen.values())) == strips


def test_resets_are_quick():
    with PokemonEnv(worlds="1-3", tier="T2", start_milestone="GYM_ENTERED") as env:
        for seed in range(20):
            env.reset(seed=seed)
        state = env._emulator.save_state()
        pairs = [(seconds(env.reset), seconds(lambda: env._emulator.load_state(state))) for _ in range(30)]
    reset, load = map(min, zip(*pairs, strict=True))
    assert reset < 4 * load  # where nobody else computes, about 10 ms, of which loading a state of the emulator is half


def seconds(function):
    start = time.thread_time()  # of this thread alone: the machine may be busy
    function()
    return time.thread_time() - start


def test_environments_in_a_vector_have_worlds_too():
    settings = {"worlds": "1-9", "tier": "T2", "start_milestone": "RIVAL_HOUSE"}
    vector = gymnasium.make_vec("Tallgrass-v0", num_envs=3, **settings)
    observations, infos = vector.reset(seed=[4, 5, 6], options={"per_env": [None, {"world": 0}, {"start_milestone": "ROUTE_2"}]})
    states = infos["per_env"]
    assert states[1]["game"]["world"] == 0 and states[2]["map"]["location"] in ("TOWN_2", "CENTER")
    results = vector.step(np.array([UP, A, DOWN]))
    with PokemonEnv(**settings) as env:
        assert np.array_equal(env.reset(seed=4)[0], observations[0])
        assert np.array_equal(env.step(UP)[0], results[0][0])
    vector.close()
    with pytest.raises(ValueError, match="no tier 'T7'"):
        make_vector_env(2, tier="T7")


def benchmark(folder, module, *flags):
    command = [sys.executable, "-m", module, *map(str, flags)]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("tools.screenshots --worlds garbage", "screenshots.py: worlds 'garbage': give a number"),
        ("tools.screenshots --tier T2 --worlds 0", "screenshots.py: tier T2 is played in other worlds than world 0"),
        ("benchmarks.speed.vector_env --worlds 5-1", "vector_env_speed.py: worlds '5-1': the range ends before it begins"),
    ],
)
def test_wrong_flags_of_a_benchmark_are_told_in_one_line(tmp_path, rom_path, command, message, forked_scripts):
    name, *flags = command.split()
    done = benchmark(tmp_path, name, *flags, *(["--rom-path", rom_path] if name == "benchmarks.speed.vector_env" else []))
    assert done.returncode == 1 and done.stderr.startswith(message) and done.stderr.count("\n") == 1, done.stderr


def test_a_benchmark_of_a_game_without_its_milestone_says_so(tmp_path, rom_titled):
    done = benchmark(tmp_path, "benchmarks.speed.vector_env", "--rom-path", rom_titled("WORLDLESS"))
    assert done.returncode == 1 and "vector_env_speed.py: unknown game has no milestone 'BADGE'" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_gymnasium_makes_it():
    with gymnasium.make("Tallgrass-v0", tier="T2", worlds="test") as env:
        assert env.reset(seed=0)[1]["game"]["world"] >= 10500
    assert {"Tallgrass-v0", "Tallgrass-v1"} <= gymnasium.registry.keys()


def test_tier_4_is_tier_2_without_the_arrow():
    """Everything else on the screen, and all of the memory but the flag, is the same from press to press."""
    settings = dict(worlds="10000-10000", start_milestone="ROUTE_1", target_milestone="ROUTE_1")
    with PokemonEnv(tier="T2", **settings) as with_arrow, PokemonEnv(tier="T4", **settings) as without:
        (screen, info), (other, blind) = with_arrow.reset(seed=3), without.reset(seed=3)
        arrows = set()
        for button in [3, 4, 5, 6, 7, 5, 5, 7]:
            same = screen == other
            assert same[:128].all() and same[128:, :144].all()  # the strip's last two tiles of eight pixels hold it
            assert (other[128:, 144:] == other[-1, -1]).all() and not same.all()
            assert info["game"]["compass"] and blind["game"]["compass"] is None and blind["game"]["tier_flags"] & 16
            arrows.add(info["game"]["compass"])
            assert info["player"] == blind["player"] and info["map"] == blind["map"]
            screen, *_, info = with_arrow.step(button)
            other, *_, blind = without.step(button)
        assert len(arrows) > 1
    with pytest.raises(ValueError, match="tier T4 is played in other worlds than world 0"):
        PokemonEnv(tier="T4", worlds="0")
