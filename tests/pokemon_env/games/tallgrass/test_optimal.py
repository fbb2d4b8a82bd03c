"""The shortest ways, held against the game itself: what they promise is pressed and counted in the emulator."""

from __future__ import annotations

import random
import statistics
import time
import tomllib
from collections import Counter

import pytest

from pokemon_env.games.tallgrass import GAME
from pokemon_env.games.tallgrass import optimal as tallgrass_optimal
from pokemon_env.games.tallgrass.optimal import goal_distance, optimal_actions, optimal_steps
from pokemon_env.games.tallgrass.worlds.story import EVENTS, FACINGS, MILESTONES
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import BUNDLED_ROM

WORLDS = (0, 1, 2, 10_007)
BY_CHANCE = ("CLOCK_SET", "RIVAL_BATTLE_WON", "FIRST_CATCH", "TRAINER_BEATEN", "GYM_TRAINER_BEATEN", "LEADER_BEATEN")
BUTTONS = [button.lower() for button in GAME.buttons]


@pytest.fixture(scope="module")
def still_env():
    """People stand still, and the timing is steady: the game as the shortest ways see it."""
    with PokemonEnv(tier="T0", worlds=WORLDS) as env:
        yield env


def start(env: PokemonEnv, milestone: str, world: int, seed: int = 0) -> dict:
    return env.reset(seed=seed, options={"start_milestone": milestone, "world": world})[1]


def press(env: PokemonEnv, button: str) -> dict:
    return env.step(BUTTONS.index(button))[-1]


def press_and_return(env: PokemonEnv, button: str, before: bytes) -> dict:
    """The state after a press in the emulator's state `before`, which is left unchanged."""
    env._emulator.load_state(before)
    env._emulator.press(button.upper(), env.hold_frames, env.release_frames)
    return env.decode_state(env.snapshot())


@pytest.mark.parametrize("milestone", [name for name in MILESTONES if name not in BY_CHANCE])
def test_optimal_presses_get_there_in_exactly_the_promised_number(still_env, milestone):
    rng = random.Random(milestone)
    arrived = 0
    for seed, world in enumerate(WORLDS):
        state = start(still_env, milestone, world, seed)
        promised = optimal_steps(state, milestone)
        assert promised >= 1
        for number in range(1, promised + 1):
            assert not state["milestones"][milestone]["completed"], (world, number)
            state = press(still_env, rng.choice(sorted(optimal_actions(state))))
            if state["game"]["is_in_battle"]:
                break  # a wild monster jumped out of the grass on the way
        else:
            assert state["milestones"][milestone]["completed"], (world, promised)
            arrived += 1
    assert arrived >= (1 if milestone == "SECOND_TOWN" else len(WORLDS))


@pytest.mark.parametrize("milestone", BY_CHANCE)
def test_where_chance_decides_the_steps_are_not_promised_but_the_way_is(still_env, milestone):
    state = start(still_env, milestone, 1)
    assert optimal_steps(state, milestone) is None
    for _ in range(goal_distance(state)):
        assert optimal_actions(state)
        state = press(still_env, min(optimal_actions(state)))
    x, y = state["map"]["player_coords"]
    if milestone == "CLOCK_SET":
        while state["game"]["text"]:
            assert optimal_actions(state) == {"a", "b"}
            state = press(still_env, "b")
        menu = state["game"]["menu"]
        assert menu["name"] == "clock" and optimal_steps(state) == abs(menu["value"] - state["game"]["clock_target"]) + 3
    elif milestone == "FIRST_CATCH":
        assert state["game"]["is_in_battle"] or 0x20 <= state["map"]["tiles"][y][x] < 0x28
    else:
        assert state["game"]["dialog_text"] and state["game"]["text"]["script"].startswith(("T_TRAINER", "T_LEADER", "T_RIVAL"))


def next_milestone(state: dict) -> str | None:
    return next((name for name, event in MILESTONES.items() if not state["game"]["events"][event]), None)


def left_after(now: dict, before: dict) -> int | None:
    """How many presses are left, where `before` was one or more away from where the way ends; None for a wild battle."""
    text, goal = now["game"]["text"], tallgrass_optimal._goals(before, None)
    if now["game"]["is_in_battle"]:
        return None
    if text and text["script"] in ("T_CLOCK", "T_RIVAL_CHALLENGE", "T_LEADER", "T_TRAINER_ROUTE", "T_TRAINER_GYM"):
        return 0
    if next_milestone(now) != next_milestone(before):
        return 0
    if goal and goal[0].kind == "grass" and now["map"]["player_coords"] != before["map"]["player_coords"]:
        x, y = now["map"]["player_coords"]
        if 0x20 <= now["map"]["tiles"][y][x] < 0x28:
            return None  # any tall grass ends the way, also on the way to the one that is marked
    return goal_distance(now)


@pytest.mark.slow
def test_each_button_brings_the_goal_nearer_exactly_if_it_is_optimal(still_env):
    """From states that optimal and random presses lead to, all eight buttons are tried in the emulator."""
    rng = random.Random(3)
    tried = Counter()
    for place, milestone in enumerate(list(MILESTONES)[1:]):
        world = WORLDS[place % len(WORLDS)]
        state = start(still_env, milestone, world, place)
        for _ in range(6):
            distance, best = goal_distance(state), optimal_actions(state)
            if distance is not None:
                before = still_env._emulator.save_state()
                left = {b: left_after(press_and_return(still_env, b, before), state) for b in BUTTONS}
                still_env._emulator.load_state(before)
                if None not in [left[b] for b in ("up", "down", "left", "right")]:
                    nearer = {button for button, rest in left.items() if rest == distance - 1}
                    assert nearer == best, (milestone, world, state["map"]["player_coords"], state["player"]["facing"], left)
                    assert all(rest is None or rest >= distance - 1 for rest in left.values())
                    tried[milestone] += 1
            button = rng.choice(sorted(best)) if best and rng.random() < 0.6 else rng.choice(BUTTONS)
            state = press(still_env, button)
            if state["milestones"][milestone]["completed"] or state["game"]["is_in_battle"]:
                break
    assert len(tried) >= 20 and tried.total() >= 70, tried


def test_menus_that_nobody_needs_are_closed_in_one_press(still_env):
    ways = {"start": ("start",), "start back": ("start", "down", "down"), "bag": ("start", "down", "a"),
            "bag balls": ("start", "down", "a", "down"), "bag back": ("start", "down", "a", "down", "down"),
            "party": ("start", "a")}  # fmt: skip
    best = {}
    for name, buttons in ways.items():
        state = start(still_env, "SECOND_TOWN", 0)
        for button in buttons:
            state = press(still_env, button)
        assert state["game"]["menu"]["name"] == name.split()[0]
        before = still_env._emulator.save_state()
        states = {button: press_and_return(still_env, button, before) for button in BUTTONS}
        best[name] = {b for b, s in states.items() if s["game"]["menu"] is None and s["game"]["dialog_text"] is None}
        assert optimal_actions(state) == best[name], name
        assert goal_distance(state) is None
    assert best["party"] == set(BUTTONS) and best["start"] == {"b"} and best["bag back"] == {"a", "b"}


def test_questions_have_a_right_answer(still_env):
    state = start(still_env, "STARTER_CHOSEN", 0)
    while state["game"]["menu"] is None:
        state = press(still_env, min(optimal_actions(state)))
    menu = state["game"]["menu"]
    assert menu["name"] == "yes_no" and menu["cursor"] == 1
    assert optimal_actions(state) == {"up"} and optimal_steps(state) == 2
    menu["cursor"] = 0
    assert optimal_actions(state) == {"a"} and optimal_steps(state) == 1
    state["game"]["wish"] = "LEAF" if state["game"]["wish"] != "LEAF" else "WAVE"
    assert optimal_actions(state) == {"b"} and optimal_steps(state) is None
    menu["cursor"] = 1
    assert optimal_actions(state) == {"a", "b"}


def test_what_has_no_best_press(still_env):
    state = start(still_env, "LEADER_BEATEN", 0)
    seen = Counter()
    for _ in range(60):
        game = state["game"]
        if game["is_in_battle"]:
            kind = "menu" if game["menu"] else "text"
            assert optimal_actions(state) == (None if kind == "menu" else {"a", "b"})
            assert optimal_steps(state) is goal_distance(state) is None
            seen[kind] += 1
        state = press(still_env, min(optimal_actions(state) or {"a"}))
    assert seen["menu"] > 3 and seen["text"] > 3


def test_people_on_all_sides_leave_no_way(still_env):
    state = start(still_env, "RIVAL_HOUSE", 0)
    assert optimal_actions(state)
    x, y = state["map"]["player_coords"]
    person = state["map"]["people"][0]
    state["map"]["people"] += [{**person, "x": x + dx, "y": y + dy} for dx, dy in ((0, 1), (0, -1), (1, 0), (-1, 0))]
    assert optimal_actions(state) is None and optimal_steps(state) is None


def test_on_the_hard_tier_the_sign_is_read_before_the_gap_is_gone_through():
    with PokemonEnv(tier="T3", start_milestone="TRAINER_BEATEN") as env:
        _, state = env.reset(seed=1)
        assert state["game"]["objective"] == "READ_SIGN"
        for _ in range(80):
            if state["game"]["events"]["SIGN_READ"]:
                break
            state = press(env, min(optimal_actions(state)))
        assert state["game"]["events"]["SIGN_READ"] and not state["game"]["is_in_battle"]
        while not state["game"]["is_in_battle"]:
            state = press(env, min(optimal_actions(state)))
        assert state["game"]["battle_info"]["trainer_name"] == "ROUTE"


def test_steps_to_a_later_milestone_go_over_all_between(still_env):
    state = start(still_env, "RIVAL_HOUSE", 1)
    promised = optimal_steps(state, "LAB_ENTERED")
    assert promised > optimal_steps(state, "EXIT_RIVAL_HOUSE") > optimal_steps(state, "RIVAL_HOUSE")
    still_env.target_milestone = "LAB_ENTERED"
    try:
        state = start(still_env, "RIVAL_HOUSE", 1)
        steps = 0
        while not state["milestones"]["LAB_ENTERED"]["completed"]:
            state = press(still_env, min(optimal_actions(state)))
            steps += 1
            assert steps <= promised + 10
    finally:
        still_env.target_milestone = None
    assert promised <= steps  # milestone by milestone it may be longer, never shorter
    assert optimal_steps(state, "RIVAL_HOUSE") == 0
    assert optimal_steps(state, "BADGE") is None
    with pytest.raises(ValueError, match="no milestone 'NO_SUCH'"):
        optimal_steps(state, "NO_SUCH")


def test_the_story_is_the_games():
    assert tallgrass_optimal._MILESTONES == tuple(milestone.id for milestone in GAME.milestones)
    last = {goal.milestone: goal.event for goal in tallgrass_optimal._STORY} | tallgrass_optimal._BEFORE_THE_BEDROOM
    assert last == MILESTONES
    assert {goal.event for goal in tallgrass_optimal._STORY} <= set(EVENTS)


def test_the_texts_on_the_way_have_as_many_pages_as_promised():
    texts = tomllib.loads((BUNDLED_ROM.parent / "data" / "text.toml").read_text())
    pages = {name: text.strip().count("\n\n") + 1 for name, text in texts.items()}
    pages["T_PROF"] += pages["T_ASK_LEAF"]
    assert {name: pages[name] for name in tallgrass_optimal._PAGES} == tallgrass_optimal._PAGES
    assert pages["T_NURSE"] == pages["T_GUIDE_BADGE"] == pages["T_BALL_LEAF"] == 1  # the question is on it


def test_cost(still_env):
    """Milliseconds, on a machine that may be busy: the promise is 2 and 100."""
    for milestone in ("LAB_ENTERED", "TRAINER_BEATEN", "EXIT_RIVAL_HOUSE", "BADGE"):
        state = start(still_env, milestone, 10_007)
        for function, limit in ((optimal_actions, 2), (optimal_steps, 100)):
            times = []
            for _ in range(9):
                began = time.perf_counter()
                function(state)
                times.append(1000 * (time.perf_counter() - began))
            assert statistics.median(times) < limit, (milestone, function.__name__)


def test_directions_are_named_as_in_the_state():
    assert set(FACINGS) <= set(BUTTONS)
