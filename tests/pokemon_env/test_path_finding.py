"""Path finding against a plain search that plays the rules forward."""

from __future__ import annotations

import random
import time
from collections import deque

import pytest

from pokemon_env.path_finding import (
    distances_to,
    face_and_press,
    find_path_action,
    find_path_action_to_any,
    find_tiles,
    in_view,
    nearest,
    path_length,
    shortest_actions_to_face,
    shortest_path_actions,
)

MOVES = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
LEDGES = {"down": "v", "left": "<", "right": ">"}


def make_state(rows, warps=(), view=None, facing="down"):
    rows = [row.replace(" ", "") for row in rows]
    player = next([x, y] for y, row in enumerate(rows) for x, char in enumerate(row) if char == "@")
    world = {"ascii_map": rows, "player_coords": player, "warps": [{"x": x, "y": y} for x, y in warps]}
    if view is not None:
        world["view"] = view
    return {"player": {"facing": facing}, "map": world}


def random_state(rng, people=True, view=False):
    width, height = rng.randint(1, 12), rng.randint(1, 12)
    kinds = ".......,,,##~v<>" + "P" * people
    cells = [[rng.choice(kinds) for _ in range(width)] for _ in range(height)]
    warps = [(rng.randrange(width), rng.randrange(height)) for _ in range(rng.randint(0, 3))]
    for x, y in warps:
        cells[y][x] = rng.choice("DD#")  # a shut door is solid
    x, y = rng.randrange(width), rng.randrange(height)
    cells[y][x] = "@"
    window = [x - 2, y - 2, x + 3, y + 1] if view else None
    return make_state(["".join(row) for row in cells], warps, window)


def steps_from(state, x, y, goal, people_block=True):
    """All (action, place) that one press from (x, y) leads to, by the rules of the game."""
    world = state["map"]
    warps = {(warp["x"], warp["y"]) for warp in world["warps"]} - {tuple(world["player_coords"])}

    def char(x, y):
        rows = world["ascii_map"]
        if not (0 <= y < len(rows) and 0 <= x < len(rows[0])):
            return "#"
        if rows[y][x] == "P" and (not people_block or not in_view(state, x, y)) and (x, y) != goal:
            return "."
        return rows[y][x]

    def free(x, y):
        seen = char(x, y) == "P" and not in_view(state, x, y)
        return (char(x, y) not in "#~v<>P" or seen) and (x, y) not in warps - {goal}

    for action, (dx, dy) in MOVES.items():
        nx, ny = x + dx, y + dy
        if LEDGES.get(action) == char(nx, ny):
            nx, ny = nx + dx, ny + dy
            if (nx, ny) in warps:
                continue  # one does not hop into a door
        if free(nx, ny):
            yield action, (nx, ny)


def search(state, start, goal, people_block=True):
    """The fewest presses from start to goal, None if there is no way. A plain search, forward."""
    distance = {start: 0}
    queue = deque([start])
    while queue:
        place = queue.popleft()
        if place == goal:
            return distance[place]
        for _, there in steps_from(state, *place, goal, people_block):
            if there not in distance:
                distance[there] = distance[place] + 1
                queue.append(there)
    return None


def walkable(state, x, y):
    char = state["map"]["ascii_map"][y][x]
    return char not in "#~v<>P" or (char == "P" and not in_view(state, x, y))


@pytest.mark.parametrize("seed", range(150))
def test_ways_are_shortest_ways(seed):
    rng = random.Random(seed)
    state = random_state(rng, view=seed % 2 == 1)
    rows, (px, py) = state["map"]["ascii_map"], state["map"]["player_coords"]
    for _ in range(8):
        goal = x, y = rng.randrange(len(rows[0])), rng.randrange(len(rows))
        if not walkable(state, x, y):
            continue
        for people_block in (True, False):
            length = search(state, (px, py), goal, people_block)
            if length is not None:
                break
        actions = shortest_path_actions(state, x, y)
        expected = [
            action
            for action, place in steps_from(state, px, py, goal, people_block)
            if length and search(state, place, goal, people_block) == length - 1
        ]
        assert actions == expected, (goal, *rows)
        assert find_path_action(state, x, y) == (expected[0] if expected else None)
        assert path_length(state, x, y) == length


@pytest.mark.parametrize("seed", range(40))
def test_distances_are_those_of_a_plain_search(seed):
    rng = random.Random(seed)
    state = random_state(rng)
    rows = state["map"]["ascii_map"]
    goal = tuple(state["map"]["player_coords"])
    for people_block in (True, False):
        distance = distances_to(state, [goal], people_block)
        for y, row in enumerate(rows):
            for x, char in enumerate(row):
                if char not in "#~v<>P" and (x, y) not in {(warp["x"], warp["y"]) for warp in state["map"]["warps"]}:
                    found = search(state, (x, y), goal, people_block)
                    assert distance[y][x] == (-1 if found is None else found)


def test_following_the_actions_leads_to_the_goal():
    rng = random.Random(0)
    for _ in range(60):
        state = random_state(rng, people=False)
        rows, start = state["map"]["ascii_map"], tuple(state["map"]["player_coords"])
        goal = rng.randrange(len(rows[0])), rng.randrange(len(rows))
        if not walkable(state, *goal) or search(state, start, goal) is None:
            continue
        place = start
        for _ in range(search(state, start, goal)):
            action = find_path_action({**state, "map": {**state["map"], "player_coords": list(place)}}, *goal)
            place = dict(steps_from(state, *place, goal))[action]
        assert place == goal


def test_ledges_are_hopped_down_and_not_climbed():
    rows = [
        ". @ . . .",
        "v v v v #",
        ". . . . .",
    ]
    assert find_path_action(make_state(rows), 1, 2) == "down"
    assert path_length(make_state(rows), 1, 2) == 1
    below = make_state([". . . . .", "v v v v #", ". @ . . ."])
    assert find_path_action(below, 1, 0) is None
    assert find_path_action(below, 1, 1) == "up"  # toward it, as toward anything solid
    assert find_path_action(make_state(["@", "v", "v", "."]), 0, 3) is None  # beyond a ledge must be ground
    assert find_path_action(make_state(["@", "v", "P", "."]), 0, 3) == "down"  # as if nobody stood there


def test_side_ledges():
    assert find_path_action(make_state(["@>."]), 2, 0) == "right"
    assert find_path_action(make_state([".>@"]), 0, 0) is None
    assert find_path_action(make_state([".<@"]), 0, 0) == "left"


def test_warps_are_avoided_unless_they_are_the_goal():
    rows = ["@ D .", ". . ."]
    state = make_state(rows, warps=[(1, 0)])
    assert find_path_action(state, 1, 0) == "right"
    assert path_length(state, 2, 0) == 4 and find_path_action(state, 2, 0) == "down"
    assert find_path_action(make_state(["@ D ."], warps=[(1, 0)]), 2, 0) is None
    assert find_path_action(make_state(["@ D ."]), 2, 0) == "right"  # a mat that leads nowhere is floor


def test_a_solid_goal_is_gone_beside_and_faced():
    rows = [". . #", "@ . .", ". . ."]
    state = make_state(rows)
    assert find_path_action(state, 2, 0) == "up"
    assert path_length(state, 2, 0) == 2
    assert find_path_action(make_state([". @ #"]), 2, 0) == "right"
    assert find_path_action(make_state(["@ # #"]), 2, 0) is None


def test_at_the_goal_there_is_nothing_to_do():
    state = make_state(["@ ."])
    assert find_path_action(state, 0, 0) is None and shortest_path_actions(state, 0, 0) == []
    assert path_length(state, 0, 0) == 0


def test_ties_have_a_fixed_order_and_all_are_given():
    rows = [". . .", ". @ .", ". . ."]
    assert shortest_path_actions(make_state(rows), 0, 0) == ["up", "left"]
    assert shortest_path_actions(make_state(rows), 2, 2) == ["down", "right"]
    assert find_path_action(make_state(rows), 0, 2) == "down"


def test_people_block_where_they_are_seen_and_are_waited_for():
    rows = ["@ P .", ". . ."]
    assert find_path_action(make_state(rows), 2, 0) == "down"
    assert find_path_action(make_state(rows, view=[0, 0, 0, 1]), 2, 0) == "right"  # not on the screen
    assert find_path_action(make_state(["@ P ."]), 2, 0) == "right"  # a wait in front of them
    assert find_path_action(make_state(["@ . P ."]), 2, 0) == "right"
    assert path_length(make_state(["@ . P ."]), 2, 0) == 1  # beside the person
    assert path_length(make_state(["@ P . P"]), 3, 0) == 2  # through one person, beside the other


def test_the_nearest_of_several():
    state = make_state(["@ . . #", ". . . .", "v v v v", ". . . ."])
    assert nearest(state, [(2, 3), (2, 1), (1, 1)]) == (1, 1)
    assert nearest(state, [(1, 1), (2, 0)]) == (1, 1)  # of equals the first
    assert nearest(state, []) is None
    assert find_path_action_to_any(state, [(2, 3), (3, 1), (2, 0)]) == "right"
    assert find_path_action_to_any(state, []) is None
    assert find_tiles(state, "#") == [(3, 0)]


def test_face_and_press():
    assert face_and_press(make_state([". @ . #"]), 3, 0) == "right"
    assert face_and_press(make_state([". . @ #"], facing="down"), 3, 0) == "right"
    assert face_and_press(make_state([". . @ #"], facing="right"), 3, 0) == "a"
    assert face_and_press(make_state([". . @ #"], facing="right"), 3, 0, button="b") == "b"
    assert face_and_press(make_state([". @ ."], facing="right"), 2, 0) == "a"  # also toward an open tile
    assert face_and_press(make_state(["@ # #"], facing="right"), 2, 0) is None
    # A ledge between is no place to stand on, and a hop over it is none toward.
    assert face_and_press(make_state(["@", "v", "#"], facing="down"), 0, 2) is None


@pytest.mark.parametrize("seed", range(60))
def test_facing_takes_no_press_more_than_it_must(seed):
    """Against a plain search over (place, facing), forward."""
    rng = random.Random(seed)
    state = random_state(rng, people=False)
    rows, start = state["map"]["ascii_map"], tuple(state["map"]["player_coords"])
    for _ in range(6):
        goal = rng.randrange(len(rows[0])), rng.randrange(len(rows))
        if goal == start:
            continue
        x, y = goal
        rows_now = [*rows[:y], f"{rows[y][:x]}#{rows[y][x + 1 :]}", *rows[y + 1 :]]
        state["player"]["facing"] = facing = rng.choice(list(MOVES))
        now = {**state, "map": {**state["map"], "ascii_map": rows_now}}
        length = presses_to_face(now, start, facing, goal)
        expected = None
        if length is not None:
            expected = [
                action
                for action in MOVES
                if length and presses_to_face(now, *pressed(now, *start, action, goal), goal) == length - 1
            ]
        assert shortest_actions_to_face(state, *goal) == expected, (goal, *rows)
        assert face_and_press(state, *goal) == (expected[0] if expected else None if expected is None else "a")


def pressed(state, x, y, action, goal):
    """Where a press leads, and that the player faces there."""
    return dict(steps_from(state, x, y, goal)).get(action, (x, y)), action


def presses_to_face(state, start, facing, goal):
    distance = {(start, facing): 0}
    queue = deque(distance)
    while queue:
        place, facing = queue.popleft()
        dx, dy = MOVES[facing]
        if (place[0] + dx, place[1] + dy) == goal:
            return distance[place, facing]
        for action in MOVES:
            after = pressed(state, *place, action, goal)
            if after not in distance:
                distance[after] = distance[place, facing] + 1
                queue.append(after)
    return None


def test_who_never_moves_is_a_wall():
    wandering, still = ([{"x": 1, "y": 0, "home": [1, 0], "range": reach}] for reach in (2, 0))
    for people, action in ((wandering, "right"), (still, None)):
        state = make_state(["@ P .", "# # ."])
        state["map"]["people"] = people
        assert find_path_action(state, 2, 0) == action
        assert find_path_action(state, 1, 0) == "right"  # toward them, as toward anything solid


def test_people_out_of_sight_are_at_home():
    rows = ["@ . . P #", ". # # . .", ". . . . ."]
    # Where a home is in sight and nobody there, nobody is.
    for home, right, action in (([1, 0], 0, "down"), ([1, 0], 2, "right"), ([4, 1], 2, "right"), ([0, 0], 2, "right")):
        state = make_state(rows, view=[0, 0, right, 2])
        state["map"]["people"] = [{"x": 3, "y": 0, "home": home, "range": 3}]
        assert find_path_action(state, 3, 0) == action, (home, right)
    state["map"]["view"] = [0, 0, 4, 2]
    assert path_length(state, 3, 0) == 2 and path_length(state, 3, 1) == 6


def test_goals_off_the_map_and_no_map_are_errors():
    with pytest.raises(ValueError, match=r"no tile \(2, 0\) on this map of 2 x 1"):
        find_path_action(make_state(["@ ."]), 2, 0)
    with pytest.raises(ValueError, match="no map here"):
        find_path_action({"map": {"ascii_map": [], "player_coords": None, "warps": []}}, 0, 0)


def test_it_is_quick():
    rng = random.Random(0)
    rows = [["." if rng.random() < 0.8 else "#" for _ in range(24)] for _ in range(24)]
    rows[0][0], rows[23][23] = "@", "."
    state = make_state(["".join(row) for row in rows])
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        find_path_action(state, 23, 23)
        best = min(best, time.perf_counter() - start)
    assert best < 0.001  # about 0.2 ms where nobody else computes
