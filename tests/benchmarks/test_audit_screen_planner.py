"""The planner is shown what is on the screen and nothing else, and walks on that alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from agent.policy_expert import PolicyExpert
from benchmarks.audit.screen_planner import ScreenPlanner, head_for_the_edge, on_screen
from pokemon_env.games.base import empty_state
from pokemon_env.games.tallgrass.names import EVENTS
from pokemon_env.gym_env import PokemonEnv

STARTS = ("LAB_ENTERED", "CLOCK_SET", "STARTER_CHOSEN", "FIRST_CATCH", "GYM_TRAINER_BEATEN")


def expert_of(env: PokemonEnv, milestone: str) -> PolicyExpert:
    return PolicyExpert(env.game.policy_dir / f"{milestone}.py", env.game)


def played(milestone: str, seed: int = 0) -> Iterator[dict[str, Any]]:
    """The infos of an expert's episode."""
    with PokemonEnv(tier="T2", start_milestone=milestone, worlds="train") as env:
        expert = expert_of(env, milestone)
        _, info = env.reset(seed=seed)
        over = False
        while not over:
            yield info
            _, _, over, _, info = env.step(expert.label(info).action)


@pytest.fixture(scope="module")
def infos() -> list[dict[str, Any]]:
    return [info for milestone in STARTS for info in played(milestone)]


def elsewhere(info: dict[str, Any]) -> dict[str, Any]:
    """The same picture in another world: all that is not on the screen differs, and the view is one tile farther right."""
    info = deepcopy(info)
    game, world = info["game"], info["map"]
    left, top, right, bottom = world["view"]
    events = {name: not done for name, done in zip(EVENTS, game["events"].values(), strict=True)}
    game.update(events=events, items={"POTION": 9, "BALL": 9}, badges=1, world=7, tier_flags=3, wish="WAVE")
    info["player"].update(name="X", money=99, position={"x": 1, "y": 1}, location="NOWHERE")
    if not game["is_in_battle"]:
        info["player"]["party"] = []
    if game["menu"] is None:
        game["clock_target"] = 11

    def shift(rows, outside, beyond):
        return [
            [
                (row[x] if 0 <= x < len(row) else outside) if left <= x <= right and top <= y <= bottom else beyond
                for x in range(-1, len(row))
            ]
            for y, row in enumerate(rows)
        ]

    world["ascii_map"] = ["".join(row) for row in shift(world["ascii_map"], "#", ",")]
    world["tiles"] = shift(world["tiles"], 0xFF, 0x20)
    for key in ("warps", "people", "signs"):
        seen = [thing for thing in world[key] if left <= thing["x"] <= right and top <= thing["y"] <= bottom]
        world[key] = [thing | {"x": thing["x"] + 1} for thing in seen]
    for person in world["people"]:
        person.update(home=[0, 0], range=0, sight=0)
    for warp in world["warps"]:
        warp.update(to_x=0, to_y=0)
    mark = world["mark"]
    is_seen = mark is not None and left <= mark[0] <= right and top <= mark[1] <= bottom
    world.update(
        width=world["width"] + 1,
        player_coords=[world["player_coords"][0] + 1, world["player_coords"][1]],
        view=[left + 1, top, right + 1, bottom],
        gates=[],
        mark=[mark[0] + 1, mark[1]] if is_seen else None,
    )
    return info


def test_what_is_not_on_the_screen_is_not_shown(infos):
    for info in infos:
        assert on_screen(elsewhere(info)) == on_screen(info)


def test_what_is_on_the_screen_is_shown(infos):
    kinds = Counter()
    for info in infos:
        shown = on_screen(info)
        assert shown["game"]["dialog_text"] == info["game"]["dialog_text"] and shown["game"]["menu"] == info["game"]["menu"]
        if info["game"]["is_in_battle"]:
            kinds["battle"] += 1
            assert shown["player"]["party"] == info["player"]["party"] and not shown["map"]["ascii_map"]
            continue
        world, seen = info["map"], shown["map"]
        left, top, *_ = world["view"]
        assert [len(row) for row in seen["ascii_map"]] == [10] * 8 and seen["ascii_map"][4][4] == "@"
        assert not shown["player"]["party"]
        for y, row in enumerate(seen["ascii_map"]):
            for x, char in enumerate(row):
                on_map = 0 <= top + y < world["height"] and 0 <= left + x < world["width"]
                assert char == (world["ascii_map"][top + y][left + x] if on_map else "#")
                kinds["outside the map"] += not on_map
        for key in ("warps", "people", "signs"):
            kinds[key] += len(seen[key])
            places = {(thing["x"], thing["y"]) for thing in world[key]}
            assert {(thing["x"] + left, thing["y"] + top) for thing in seen[key]} <= places
            kinds[f"{key} out of view"] += len(world[key]) - len(seen[key])
    assert len(kinds) == 8 and min(kinds.values()) > 0


def test_the_state_that_is_given_stays_as_it_is(infos):
    before = deepcopy(infos[0])
    on_screen(infos[0])["map"]["people"].clear()
    assert infos[0] == before


def view(rows: list[str], compass: str | None) -> dict[str, Any]:
    """What is shown of a view drawn here."""
    state = empty_state()
    state["player"]["facing"] = "down"
    state["game"]["compass"] = compass
    x, y = next((row.index("@"), y) for y, row in enumerate(rows) if "@" in row)
    doors = [{"x": x, "y": y, "to": "LAB"} for y, row in enumerate(rows) for x, char in enumerate(row) if char == "D"]
    state["map"].update(location="TOWN", ascii_map=rows, player_coords=[x, y], width=len(rows[0]), height=len(rows), warps=doors)
    return state


def headed(rows: list[str], compass: str | None, draws: int = 200) -> Counter[str | None]:
    rng = np.random.default_rng(0)
    return Counter(head_for_the_edge(view(rows, compass), rng) for _ in range(draws))


FLOOR = ".........."
OPEN = [*[FLOOR] * 4, "....@.....", *[FLOOR] * 3]
WALL = [*[FLOOR] * 2, "########..", FLOOR, "....@.....", *[FLOOR] * 3]
ROOM = [*["##########"] * 2, "####..####", "##......##", "##..@...##", *["##########"] * 3]


@pytest.mark.parametrize(
    ("compass", "ways"),
    [
        ("N", {"up"}), ("E", {"right"}), ("S", {"down"}), ("W", {"left"}),
        ("NE", {"up", "right"}), ("SW", {"down", "left"}), ("NW", {"up", "left"}), ("SE", {"down", "right"}),
    ],
)  # fmt: skip
def test_in_the_open_it_goes_where_the_compass_points(compass, ways):
    counts = headed(OPEN, compass)
    assert sum(counts[way] for way in ways) > 0.8 * counts.total() and set(counts) <= {"up", "down", "left", "right"}


def test_it_goes_around_what_it_sees():
    counts = headed(WALL, "N")
    assert counts["right"] + counts["up"] > 0.7 * counts.total() > 5 * counts["down"]
    shut = [FLOOR, FLOOR, "##########", *WALL[3:]]
    counts = headed(shut, "N")
    assert counts["left"] + counts["up"] > 0.7 * counts.total() > 10 * counts["down"]  # the nearer end, out of view


def test_without_a_compass_or_a_way_out_it_does_not_know():
    assert set(headed(OPEN, None, 5)) == {None} and set(headed(ROOM, "N", 5)) == {None}
    assert set(headed([ROOM[0], "####D#####", *ROOM[2:]], "N", 5)) == {None}  # a door that it does not look for


def test_it_does_not_always_choose_the_same():
    assert len(headed(OPEN, "N")) > 1  # though one tile at the edge is nearer than all others


def test_it_goes_straight_to_what_it_sees():
    with PokemonEnv(tier="T2", start_milestone="GYM_ENTERED", worlds="train") as env:
        planner, expert, compared = ScreenPlanner("GYM_ENTERED", env.game), expert_of(env, "GYM_ENTERED"), 0
        for seed in range(4):
            screen, info = env.reset(seed=seed)
            planner.start_episode(0, seed)
            over = False
            while not over:
                left, top, right, bottom = info["map"]["view"]
                gyms = [warp for warp in info["map"]["warps"] if warp["to"] == "GYM"]
                action = expert.label(info).action
                if planner.rules.label(on_screen(info)).action is not None:
                    assert planner.act([0], [screen], [info]) == [action]
                    compared += 1
                else:
                    assert not any(left <= warp["x"] <= right and top <= warp["y"] <= bottom for warp in gyms)
                screen, _, over, _, info = env.step(action)
    assert compared > 10


@pytest.mark.parametrize("milestone", ["CLOCK_SET", "STARTER_CHOSEN", "RIVAL_BATTLE_WON", "ROUTE_1"])
def test_it_gets_there(milestone):
    with PokemonEnv(tier="T2", start_milestone=milestone, worlds="train") as env:
        planner, over = ScreenPlanner(milestone, env.game), False
        screen, info = env.reset(seed=2)
        planner.start_episode(0, 2)
        for _ in range(100):
            screen, _, over, _, info = env.step(planner.act([0], [screen], [info])[0])
            if over:
                break
    assert over and set(planner.rules.abstention_kinds) <= {"none"}, "the policy misses something that it is not shown"
