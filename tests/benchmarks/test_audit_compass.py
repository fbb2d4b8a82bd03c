"""The compass follower reads real screens rightly, in any light, and does what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.policy_expert import PolicyExpert
from benchmarks.audit.compass import CompassFollower, is_cursor_low, is_panel_open, read_arrow, stood_still
from pokemon_env.games.base import GB_BUTTONS
from pokemon_env.games.tallgrass import starts
from pokemon_env.games.tallgrass.names import COMPASS
from pokemon_env.games.tallgrass.worlds.looks import LIGHTS, draw_look
from pokemon_env.gym_env import PokemonEnv

STEPS = {"UP": (0, -1), "DOWN": (0, 1), "LEFT": (-1, 0), "RIGHT": (1, 0)}


def walk(tier: str, milestone: str, seed: int, presses: int):
    """Press random directions, and A now and then; yield each step's screen, info and button."""
    rng = np.random.default_rng(seed)
    with PokemonEnv(tier=tier, start_milestone=milestone, worlds="train") as env:
        screen, info = env.reset(seed=seed)
        yield screen, info, None
        for number in range(presses):
            if number % 3 == 0:
                button = ("A", *STEPS)[rng.integers(5)]
            screen, _, over, _, info = env.step(env.buttons.index(button))
            yield screen, info, button
            if over:
                return


def is_walking(info) -> bool:
    return info["game"]["game_state"] == "overworld"


@pytest.fixture(scope="module")
def walked():
    """Of walks in two towns, in many worlds: screens, infos and the button that led there."""
    return [list(walk("T2", name, seed, 60)) for name in ("LAB_ENTERED", "GYM_ENTERED") for seed in range(4)]


@pytest.fixture(scope="module")
def arrows(walked):
    """A screen with each arrow."""
    return {info["game"]["compass"]: screen for steps in walked for screen, info, _ in steps if is_walking(info)}


def test_every_arrow_is_read_on_real_screens(walked, arrows):
    for steps in walked:
        for screen, info, _ in steps:
            if is_walking(info):
                assert read_arrow(screen) == info["game"]["compass"]
    assert set(arrows) >= set(COMPASS[1:])


def test_without_a_compass_there_is_no_arrow():
    assert {read_arrow(screen) for screen, _, _ in walk("T4", "GYM_ENTERED", 0, 20)} == {None}


@pytest.mark.parametrize("light", LIGHTS)
def test_it_reads_the_screen_in_any_light(light, monkeypatch):
    monkeypatch.setattr(starts, "draw_look", lambda world, rng: replace(draw_look(world, rng), light=light))
    with PokemonEnv(tier="T1", start_milestone="STARTER_CHOSEN", worlds="0") as env:
        answers, over = take_starter(env, seed=1)
    assert over and set(answers) == {("yes_no", 1, "UP"), ("yes_no", 0, "A")}


def take_starter(env: PokemonEnv, seed: int) -> tuple[list[tuple[str, int, str]], bool]:
    """Let the follower play; return each menu's name and cursor with what it pressed there, and whether it got there."""
    policy, answers, over = CompassFollower(env.buttons), [], False
    screen, info = env.reset(seed=seed)
    policy.start_episode(0, seed)
    for _ in range(60):
        (action,) = policy.act([0], [screen], [{}])
        if (menu := info["game"]["menu"]) is not None:
            answers.append((menu["name"], menu["cursor"], env.buttons[action]))
        elif info["game"]["dialog_text"] is not None:
            assert env.buttons[action] == "A"
        else:
            assert read_arrow(screen) == info["game"]["compass"]
        screen, _, over, _, info = env.step(action)
        if over:
            break
    return answers, over


def test_panels_and_cursors_are_seen_where_they_are():
    seen = set()
    for milestone in ("STARTER_CHOSEN", "RIVAL_BATTLE_WON", "CLOCK_SET"):
        with PokemonEnv(tier="T2", start_milestone=milestone, worlds="train") as env:
            expert = PolicyExpert(env.game.policy_dir / f"{milestone}.py", env.game)
            screen, info = env.reset(seed=0)
            over = False
            while not over:
                game, menu = info["game"], info["game"]["menu"]
                is_open = game["dialog_text"] is not None or menu is not None
                assert is_panel_open(screen) == is_open
                low = {"yes_no": 1, "battle": 2, "moves": 2}
                is_low = menu is not None and menu["cursor"] == low.get(menu["name"])
                assert not is_open or is_cursor_low(screen) == is_low
                seen.add((menu and menu["name"], is_low))
                screen, _, over, _, info = env.step(expert.label(info).action)
    assert seen >= {(None, False), ("yes_no", True), ("yes_no", False), ("clock", False), ("moves", False), ("battle", False)}


def test_a_bump_is_told_from_a_step(walked):
    counts = {True: 0, False: 0}
    for steps in walked:
        for (before, was, _), (after, now, button) in zip(steps, steps[1:], strict=False):
            same_map = was["map"]["location"] == now["map"]["location"]
            if button in STEPS and is_walking(was) and is_walking(now) and same_map:
                bumped = was["map"]["player_coords"] == now["map"]["player_coords"]
                assert stood_still(before, after) == bumped
                counts[bumped] += 1
    assert min(counts.values()) > 30


def presses(screens, seed: int = 0, slot: int = 0) -> list[str]:
    """What the follower presses on these screens, one after the other."""
    policy = CompassFollower(GB_BUTTONS)
    policy.start_episode(slot, seed)
    return [GB_BUTTONS[policy.act([slot], [screen], [{}])[0]] for screen in screens]


@pytest.mark.parametrize(
    ("arrow", "ways"),
    [
        ("N", {"UP"}), ("NE", {"UP", "RIGHT"}), ("E", {"RIGHT"}), ("SE", {"DOWN", "RIGHT"}),
        ("S", {"DOWN"}), ("SW", {"DOWN", "LEFT"}), ("W", {"LEFT"}), ("NW", {"UP", "LEFT"}),
    ],
)  # fmt: skip
def test_it_steps_where_the_arrow_points(arrow, ways, arrows):
    assert {presses([arrows[arrow]], seed)[0] for seed in range(20)} == ways


def test_where_a_straight_way_is_blocked_it_presses_a_and_then_goes_round(arrows):
    for seed in range(5):
        pressed = presses([arrows["N"]] * 7, seed)  # nothing ever moves
        assert pressed[:2] == ["UP", "A"] and set(pressed[2:5]) == {"LEFT", "RIGHT", "DOWN"} and pressed[5:] == ["A", "UP"]


def test_where_a_diagonal_is_blocked_it_takes_the_other_axis(arrows):
    for seed in range(5):
        pressed = presses([arrows["NE"]] * 6, seed)
        assert set(pressed[:2]) == {"UP", "RIGHT"} and set(pressed[2:4]) == {"LEFT", "DOWN"} and pressed[4] == "A"


def test_a_detour_is_1_to_4_steps_and_then_it_follows_the_arrow(arrows):
    away = np.roll(arrows["N"], 40, axis=1)
    away[128:] = arrows["N"][128:]
    lengths = set()
    for seed in range(40):
        pressed = presses([arrows["N"]] * 3 + [away, arrows["N"]] * 4, seed)[2:]  # UP, A, and steps that lead on from here
        lengths.add(next(number for number, button in enumerate(pressed) if button == "UP"))
        assert len(set(pressed[: pressed.index("UP")])) == 1
    assert lengths == {1, 2, 3, 4}


def test_chance_follows_from_the_seed_and_not_from_the_slot(arrows):
    screens = [arrows["NE"]] * 12
    assert presses(screens, seed=4) == presses(screens, seed=4, slot=3)
    assert len({tuple(presses(screens, seed)) for seed in range(10)}) > 1
