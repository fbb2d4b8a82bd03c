"""PokemonEnv on the real emulator with the bundled game."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import pokemon_env  # noqa: F401  (registers the environments)
from pokemon_env.errors import EmulatorError, MilestoneAlreadyCompleted
from pokemon_env.gym_env import PokemonEnv

A, B, START, SELECT, UP, DOWN, LEFT, RIGHT = range(8)
WORK_RAM = 0xC000, 0x2000


def play(env, seed, actions, **reset):
    """Reset and press; return a digest of every picture and info on the way."""
    digest = hashlib.sha256()
    results = [env.reset(seed=seed, **reset)]
    results += [env.step(action) for action in actions]
    for observation, *rest in results:
        digest.update(observation.tobytes())
        digest.update(json.dumps(rest).encode())
    return digest.hexdigest()


def actions(seed, n=40):
    return np.random.default_rng(seed).integers(0, 8, n).tolist()


def test_defaults_are_those_promised(env):
    assert env.buttons == ("A", "B", "START", "SELECT", "UP", "DOWN", "LEFT", "RIGHT")
    assert (env.hold_frames, env.release_frames, env.release_frames_range) == (12, 12, (12, 20))
    assert env.randomize_release_frames and env.state_in_info
    assert env.max_episode_steps is None and env.target_milestone is None and env.render_mode is None
    assert env.action_space == gymnasium.spaces.Discrete(8)
    assert env.observation_space == gymnasium.spaces.Box(0, 255, (144, 160, 3), np.uint8)


def test_gymnasium_accepts_it(rom_path):
    with PokemonEnv(rom_path, render_mode="rgb_array") as env, warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)  # the others open windows


def test_registered_with_gymnasium():
    with gymnasium.make("Tallgrass-v0", max_episode_steps=2) as env:
        observation, _ = env.reset(seed=1)
        assert observation.shape == (144, 160, 3)
        assert not env.step(A)[3] and env.step(A)[3]


def test_same_seed_and_actions_give_the_same_episode(rom_path, bedroom_state):
    with PokemonEnv(rom_path) as one, PokemonEnv(rom_path) as other:
        power_on = play(one, 5, [START, *actions(0)])
        from_state = play(one, 5, actions(0), options={"load_state": bedroom_state})
        assert play(one, 6, [START, *actions(0)]) != power_on
        assert play(one, 6, actions(1), options={"load_state": bedroom_state}) != from_state
        assert play(one, 5, [START, *actions(0)]) == power_on, "after other episodes"
        assert play(other, 5, actions(0), options={"load_state": bedroom_state}) == from_state, "in another instance"
        assert play(other, 5, [START, *actions(0)]) == power_on, "after a loaded state"


def test_start_state_argument_and_reset_option_are_the_same(rom_path, bedroom_state):
    with PokemonEnv(rom_path) as one, PokemonEnv(rom_path, start_state=bedroom_state) as other:
        digest = play(one, 3, actions(0, 10), options={"load_state": bedroom_state})
        assert play(other, 3, actions(0, 10)) == digest
        power_on = play(one, 3, [START, A])
        assert play(other, 3, [START, A], options={"load_state": None}) == power_on


def test_reset_without_a_seed_goes_on_with_the_generator(env):
    first = [play(env, seed, [START, A, A]) for seed in (7, None, None)]
    assert len(set(first)) == 3
    assert [play(env, seed, [START, A, A]) for seed in (7, None, None)] == first


def presses(env, monkeypatch):
    """Record the frames of each press."""
    seen = []
    press = env._emulator.press
    monkeypatch.setattr(env._emulator, "press", lambda *args: (seen.append(args), press(*args)))
    return seen


def test_jitter_comes_from_the_environments_generator(env, monkeypatch):
    seen = presses(env, monkeypatch)
    play(env, 1, [B] * 120)
    np.random.seed(0)
    play(env, 1, [B] * 120)
    assert seen[:120] == seen[120:]
    assert {hold for _, hold, _ in seen} == {12}
    assert {release for _, _, release in seen} == set(range(12, 21))
    assert env.frames == sum(hold + release for _, hold, release in seen[120:])  # of the last episode


def test_timings_can_be_chosen(rom_path, monkeypatch):
    with PokemonEnv(rom_path, hold_frames=5, release_frames=30, randomize_release_frames=False) as env:
        seen = presses(env, monkeypatch)
        env.reset(seed=0)
        env.step(DOWN)
    assert seen == [("DOWN", 5, 30)]


def test_a_reset_writes_the_seed_and_nothing_else(env):
    env._emulator.load_state(env._power_on)
    before = env._emulator.read(*WORK_RAM)
    env.reset(seed=12)
    after = env._emulator.read(*WORK_RAM)
    different = [place for place in range(len(before)) if before[place] != after[place]]
    assert different and set(different) <= {0x120, 0x121, 0x122, 0x123}
    env.reset(seed=13)
    assert env._emulator.read(*WORK_RAM)[0x120:0x124] != after[0x120:0x124]


def test_milestones_reward_and_end_the_episode(rom_path):
    with PokemonEnv(rom_path, target_milestone="PLAYER_NAME_SET") as env:
        _, info = env.reset(seed=0)
        assert not any(milestone["completed"] for milestone in info["milestones"].values())
        assert list(info["milestones"])[:2] == ["GAME_RUNNING", "PLAYER_NAME_SET"] and len(info["milestones"]) == 24
        assert env.step(A)[1:4] == (0.0, False, False)
        _, reward, terminated, truncated, info = env.step(START)
        assert (reward, terminated, truncated) == (1.0, False, False)
        assert info["milestones"]["GAME_RUNNING"] == {"completed": True}
        env.step(A)  # a letter
        for _ in range(20):
            cursor = env.get_state()["game"]["menu"]["cursor"]
            action = A if cursor == 27 else RIGHT if cursor >= 21 else DOWN
            _, reward, terminated, truncated, info = env.step(action)
            if terminated:
                break
        assert (reward, terminated, truncated) == (1.0, True, False)
        assert info["milestones"]["PLAYER_NAME_SET"]["completed"]


def test_episodes_are_truncated(rom_path):
    with PokemonEnv(rom_path, max_episode_steps=3) as env:
        for _ in range(2):
            env.reset(seed=0)
            assert [env.step(B)[3] for _ in range(3)] == [False, False, True]


def test_target_completed_at_reset_is_an_error(rom_path, bedroom_state):
    with PokemonEnv(rom_path, start_state=bedroom_state, target_milestone="PLAYER_NAME_SET") as env:
        with pytest.raises(MilestoneAlreadyCompleted, match=f"PLAYER_NAME_SET.*{bedroom_state.name}"):
            env.reset()
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(A)


def test_info_has_the_promised_shape(env):
    results = [env.reset(seed=0), env.step(START), env.step(A)]
    for *_, info in results:
        assert list(info) == ["player", "game", "map", "milestones", "prev_action"]
        assert {"name", "position", "location", "facing", "money", "party"} <= info["player"].keys()
        assert {
            "game_state", "is_in_battle", "dialog_text", "badges", "items", "battle_info", "menu",
        } <= info["game"].keys()  # fmt: skip
        assert {"location", "player_coords", "ascii_map", "legend", "warps"} <= info["map"].keys()
        assert json.loads(json.dumps(info)) == info
        assert type(info["player"]) is dict
    assert [info["prev_action"] for *_, info in results] == ["no_op", "start", "a"]
    assert env.reset()[1]["prev_action"] == "no_op"


def test_state_is_decoded_only_when_asked_for(rom_path, monkeypatch):
    with PokemonEnv(rom_path, state_in_info=False) as env:
        decode = env.game.decode
        monkeypatch.setattr(type(env.game), "decode", lambda *_: pytest.fail("decoded"))
        monkeypatch.setattr(type(env.game), "snapshot", lambda *_: pytest.fail("read"))
        _, info = env.reset(seed=0)
        assert list(info) == ["milestones", "prev_action"]
        info = env.step(START)[-1]
        assert info["milestones"]["GAME_RUNNING"]["completed"] and info["prev_action"] == "start"
        monkeypatch.undo()
        assert env.get_state()["game"] == decode(env.snapshot())["game"]


def test_a_snapshot_decodes_to_the_live_state(env, bedroom_state):
    live, snapshots = [], []
    env.reset(seed=2, options={"load_state": bedroom_state})
    for action in actions(3):
        live.append(env.step(action)[-1])
        snapshots.append(env.snapshot())
    assert [env.decode_state(snapshot, state["prev_action"]) for snapshot, state in zip(snapshots, live, strict=True)] == live


def test_the_game_is_at_rest_whenever_a_picture_is_taken(env, bedroom_state):
    for seed in range(3):
        env.reset(seed=seed, options={"load_state": bedroom_state})
        for action in actions(seed, 60):
            assert env.game.at_rest(env._emulator)
            env.step(action)


def test_start_states_are_drawn_from_a_folder(rom_path, bedroom_state, tmp_path):
    with PokemonEnv(rom_path) as env:
        for name, action in (("a", RIGHT), ("b", A)):
            env.reset(seed=0, options={"load_state": bedroom_state})
            env.step(action)
            env.save_state(tmp_path / f"{name}.state")
    with PokemonEnv(rom_path, start_state=tmp_path) as env:
        seen = [env.reset(seed=seed)[1]["player"]["position"]["x"] for seed in range(12)]
        assert len(set(seen)) == 2
        assert [env.reset(seed=seed)[1]["player"]["position"]["x"] for seed in range(12)] == seen
    with PokemonEnv(rom_path, start_state=[tmp_path / "a.state", str(tmp_path / "b.state")]) as env:
        assert [env.reset(seed=seed)[1]["player"]["position"]["x"] for seed in range(12)] == seen


def test_idle_frames_pass_after_a_loaded_state(rom_path, bedroom_state, monkeypatch):
    with PokemonEnv(rom_path, start_state=bedroom_state) as env:
        ticks = []
        monkeypatch.setattr(env._emulator, "tick", ticks.append)
        for seed in range(200):
            env.reset(seed=seed)
        assert min(ticks) == 1 and max(ticks) == 60
        ticks.clear()
        env.reset(options={"idle_frames": 33})
        assert ticks == [33]
        ticks.clear()
        env.reset(options={"load_state": None})
        assert ticks == []


def test_render_returns_the_picture(rom_path):
    with PokemonEnv(rom_path, render_mode="rgb_array") as env:
        observation, _ = env.reset(seed=0)
        assert np.array_equal(env.render(), observation)
        observation, *_ = env.step(START)
        assert np.array_equal(env.render(), observation)
    with PokemonEnv(rom_path) as env:
        env.reset(seed=0)
        assert env.render() is None


def test_observations_are_not_overwritten(env):
    first, _ = env.reset(seed=0)
    kept = first.copy()
    env.step(START)
    assert np.array_equal(first, kept)


def test_close_may_be_called_again_and_nothing_is_written(rom_path, tmp_path):
    rom = shutil.copy(rom_path, tmp_path / "game.gb")
    env = PokemonEnv(rom)
    env.reset(seed=0)
    env.step(START)
    env.close()
    env.close()
    assert [path.name for path in tmp_path.iterdir()] == ["game.gb"]
    with pytest.raises(EmulatorError, match="closed"):
        env.step(A)
    with pytest.raises(EmulatorError, match="closed"):
        env.reset()


def test_wrong_calls_are_errors(env):
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.step(A)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action is 8"):
        env.step(8)
    with pytest.raises(ValueError, match="unknown reset options.*load_stat"):
        env.reset(options={"load_stat": None})
    with pytest.raises(EmulatorError, match="no window"):
        env.poll_button()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_milestone": "NOWHERE"}, "no milestone 'NOWHERE'; it has GAME_RUNNING, "),
        ({"render_mode": "ascii"}, "render_mode is 'ascii'"),
        ({"hold_frames": 0}, "hold_frames is 0"),
        ({"release_frames": 0}, "release_frames is 0"),
        ({"release_frames_range": (20, 12)}, "release_frames_range is 20 to 12"),
        ({"idle_frames_range": (-1, 3)}, "idle_frames_range is -1 to 3"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0"),
    ],
)
def test_wrong_settings_are_errors(rom_path, settings, message):
    with pytest.raises(ValueError, match=message):
        PokemonEnv(rom_path, **settings)


def test_unknown_rom_runs_by_its_picture(rom_titled, tmp_path):
    rom = rom_titled("OTHERGAME")
    with pytest.warns(UserWarning, match="OTHERGAME.*by its picture alone"):
        env = PokemonEnv(rom, max_episode_steps=4)
    with env:
        assert env.game.id == "picture_only" and env.milestones == ()
        observation, info = env.reset(seed=0)
        assert observation.shape == (144, 160, 3) and observation.std() > 0
        assert list(info) == ["player", "game", "map", "milestones", "prev_action"]
        assert info["milestones"] == {} and info["player"]["party"] == [] and info["map"]["ascii_map"] == []
        assert json.loads(json.dumps(info)) == info
        results = [env.step(START) for _ in range(4)]
        assert [result[1:4] for result in results] == [(0.0, False, False)] * 3 + [(0.0, False, True)]
        assert env.snapshot() == b"" and env.decode_state(b"")["player"] == info["player"]
        state = env.save_state(tmp_path / "x.state")
        env.reset(options={"load_state": state})
    with PokemonEnv() as known:
        assert known.reset(seed=0)[1]["player"].keys() >= info["player"].keys()
        assert known.get_state()["game"].keys() >= info["game"].keys()
        assert known.get_state()["map"].keys() >= info["map"].keys()


def run_python(code, launcher=(), **environment):
    variables = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(
        [*launcher, sys.executable, "-c", code],
        env=variables | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_window_without_a_desktop_is_an_error():
    code = "from pokemon_env import PokemonEnv; PokemonEnv(headless=False)"
    result = run_python(code)
    assert result.returncode == 1 and "no window can be opened here" in result.stderr


HUMAN = """
import sdl2
from pokemon_env import PokemonEnv
from pokemon_env.errors import WindowClosed

env = PokemonEnv({arguments}, window_speed=0)
env.reset(seed=0)
assert env.render_mode == "human" and env.render() is None
assert env.poll_button() is None

def key(kind, symbol):
    event = sdl2.SDL_Event()
    event.type = kind
    event.key.keysym.sym = symbol
    sdl2.SDL_PushEvent(event)

key(sdl2.SDL_KEYDOWN, sdl2.SDLK_RETURN)
key(sdl2.SDL_KEYUP, sdl2.SDLK_RETURN)
action = env.poll_button()
assert env.buttons[action] == "START", action
assert env.poll_button() is None
observation, reward, *_ = env.step(action)
assert reward == 1.0
headless = PokemonEnv()
headless.reset(seed=0)
assert (headless.step(action)[0] == observation).all()
key(sdl2.SDL_KEYDOWN, sdl2.SDLK_ESCAPE)
try:
    env.poll_button()
except WindowClosed:
    print("closed")
env.close()
"""


@pytest.mark.parametrize("arguments", ["render_mode='human'", "headless=False"])
def test_a_person_plays_in_the_window(arguments):
    if shutil.which("xvfb-run") is None:
        pytest.skip("xvfb-run is not installed")
    result = run_python(HUMAN.format(arguments=arguments), ("xvfb-run", "-a"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["closed"]


HELD = """
import subprocess, time
from pokemon_env import PokemonEnv

def xdotool(*arguments):
    result = subprocess.run(["xdotool", *arguments], check=True, capture_output=True, text=True)
    time.sleep(0.2)
    return result.stdout.split()

def presses(seconds):
    found = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        action = env.poll_button()
        found += [] if action is None else [env.buttons[action]]
        time.sleep(0.02)
    return found

env = PokemonEnv(render_mode="human", window_speed=0)
env.reset(seed=0)
time.sleep(0.5)
env.poll_button()
xdotool("windowfocus", xdotool("search", "--onlyvisible", ".")[0])
xdotool("keydown", "Down")
held = presses(1)
print(len(held) > 2, set(held))
env.step(5)
print(env.buttons[env.poll_button()])
xdotool("keyup", "Down")
print(env.poll_button())
xdotool("key", "s")
print(presses(0.5))
xdotool("keydown", "Up", "sleep", "0.1", "keyup", "Up")
print(presses(0.5))
"""


def test_a_key_that_is_held_goes_on():
    if shutil.which("xvfb-run") is None or shutil.which("xdotool") is None:
        pytest.skip("xvfb-run or xdotool is not installed")
    result = run_python(HELD, ("xvfb-run", "-a"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["True {'DOWN'}", "DOWN", "None", "['B']", "['UP']"]


QUEUE = """
import sdl2, time
from pokemon_env import PokemonEnv
from pokemon_env.errors import WindowClosed

env = PokemonEnv(render_mode="human", window_speed=0.5)
env.reset(seed=0)
keys = {"A": sdl2.SDLK_a, "B": sdl2.SDLK_s, "LEFT": sdl2.SDLK_LEFT, "DEL": sdl2.SDLK_DELETE, "ESC": sdl2.SDLK_ESCAPE}

def type_keys(*names):
    for name in names:
        for kind in (sdl2.SDL_KEYDOWN, sdl2.SDL_KEYUP):
            event = sdl2.SDL_Event()
            event.type = kind
            event.key.keysym.sym = keys[name]
            sdl2.SDL_PushEvent(event)

def step():
    action = env.poll_button()
    began = time.perf_counter()
    env.step(action)
    return env.buttons[action], time.perf_counter() - began

def title():
    return sdl2.SDL_GetWindowTitle(sdl2.SDL_GetWindowFromID(1)).decode()

assert env.poll_button() is None and title() == "TALLGRASS: press a key", title()
type_keys("A")
_, alone = step()
assert alone > 0.7, alone  # 24 frames at least, at half the console's speed
type_keys("A", "B", "LEFT", "LEFT", "A", "B")
assert step()[0] == "A" and title() == "TALLGRASS: A | next B, LEFT, LEFT and 2 more (Delete drops them)", title()
name, accompanied = step()
assert name == "B" and accompanied < alone / 2, (alone, accompanied)
type_keys("DEL")
assert env.poll_button() is None and title() == "TALLGRASS: press a key", title()

type_keys(*["A", "B"] * 64, "LEFT", "LEFT")  # two more than can wait
assert env.buttons[env.poll_button()] == "A" and env.window.refused == 2 and len(env.window.waiting) == 127
assert title() == "TALLGRASS: FULL, 2 keys ignored | A | next B, A, B and 124 more (Delete drops them)", title()
type_keys("ESC", "A")
rest = []
try:
    while True:
        rest.append(env.buttons[env.poll_button()])
except WindowClosed:
    print(rest == ["B", *["A", "B"] * 63])  # Escape in its turn, and nothing after it
env.close()

env = PokemonEnv(render_mode="human", window_speed=0)
env.reset(seed=0)
type_keys("ESC")
try:
    env.step(0)
except WindowClosed:  # nobody asked for presses, so that nobody else would say it
    print("closed")
env.close()
"""


def test_presses_wait_in_their_order():
    if shutil.which("xvfb-run") is None:
        pytest.skip("xvfb-run is not installed")
    result = run_python(QUEUE, ("xvfb-run", "-a"))
    assert result.returncode == 0 and result.stdout.split() == ["True", "closed"], result.stderr
