"""Tools for the expert policies of Tallgrass, in addition to those of path_finding.

Each takes the state and returns an action, or None if there is none. They find people, signs and doors by their identity,
never by their position, which differs between worlds. About people they use only what is on the screen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pokemon_env import path_finding
from pokemon_env.games.tallgrass.names import BEATS, CONNECTIONS, MOVES

State = dict[str, Any]

_FIGHT, _CATCH, _RUN = 0, 2, 3
_DIRECTIONS = (("up", 0, -1), ("down", 0, 1), ("left", -1, 0), ("right", 1, 0))


def close_what_is_open(state: State) -> str | None:
    """Advance a text, leave a menu, continue a battle. None if the player can walk."""
    game = state["game"]
    if game["is_in_battle"]:
        return battle_action(state)
    if game["menu"] is not None:
        return "start" if game["menu"]["name"] == "title" else "b"
    return "a" if game["dialog_text"] is not None else None


def move_cursor(state: State, target: int, columns: int = 1, button: str = "a") -> str | None:
    """Move the open menu's cursor to position `target`, then press `button`; `columns` is how many positions a row has.

    None if no menu is open.
    """
    if state["game"]["menu"] is None:
        return None
    row, column = divmod(state["game"]["menu"]["cursor"], columns)
    to_row, to_column = divmod(target, columns)
    if row != to_row:
        return "down" if row < to_row else "up"
    if column != to_column:
        return "right" if column < to_column else "left"
    return button


def answer(state: State, yes: bool) -> str | None:
    """Answer the open question (YES is above NO). None if no menu is open."""
    return move_cursor(state, 0 if yes else 1)


def go_to_map(state: State, name: str) -> str | None:
    """Walk toward the map of that name, through others if needed. None if the player is there, or no path leads there."""
    target = next_map(state["map"]["location"], name)
    return path_finding.find_path_action_to_any(
        state, [(warp["x"], warp["y"]) for warp in state["map"]["warps"] if warp["to"] == target]
    )


@lru_cache(maxsize=256)
def next_map(location: str, name: str) -> str | None:
    """Return the first map on the shortest path from one map to another."""
    first: dict[str, str | None] = {location: None}
    queue = [location]
    for here in queue:
        for there in CONNECTIONS.get(here, ()):
            if there not in first:
                first[there] = there if here == location else first[here]
                queue.append(there)
    return first.get(name)


def talk_to(state: State, who: str, map_name: str) -> str | None:
    """Go to a person on that map and speak to them; if they are out of sight, look near their home.

    who: the person's sprite ("MOM") or the name of their script ("T_MOM"), for example if several look alike.
    None if there is no such person on the map now.
    """
    if state["map"]["location"] != map_name:
        return go_to_map(state, map_name)
    for person in state["map"]["people"]:
        if who in (person["sprite"], person["script_name"]):
            if path_finding.in_view(state, person["x"], person["y"]):
                return path_finding.face_and_press(state, person["x"], person["y"])
            return path_finding.find_path_action(state, *person["home"])
    return None


def read_sign(state: State, script: str, map_name: str) -> str | None:
    """Go to the nearest sign on that map with the script of that name ("T_CLOCK") and read it. None if there is none."""
    if state["map"]["location"] != map_name:
        return go_to_map(state, map_name)
    signs = [(sign["x"], sign["y"]) for sign in state["map"]["signs"] if sign["script_name"] == script]
    sign = path_finding.nearest(state, signs)
    return None if sign is None else path_finding.face_and_press(state, *sign)


def step_aside(state: State) -> str | None:
    """Step onto any free tile next to the player. None if there is none, or the player cannot walk now."""
    if state["map"]["player_coords"] is None:
        return None
    x, y = state["map"]["player_coords"]
    return next((action for action, dx, dy in _DIRECTIONS if _tile(state, x + dx, y + dy) in ".,"), None)


def pace_in_grass(state: State) -> str | None:
    """Go into the tall grass that the compass points to and walk back and forth in it; without a compass into the nearest.

    None if none can be reached.
    """
    world = state["map"]
    x, y = world["player_coords"]
    if 0x20 <= world["tiles"][y][x] < 0x28:
        for action, dx, dy in _DIRECTIONS:
            if _tile(state, x + dx, y + dy) == ",":
                return action
    return path_finding.find_path_action_to_any(state, _marked_grass(state) or path_finding.find_tiles(state, ","))


def _marked_grass(state: State) -> list[tuple[int, int]]:
    """Return the tiles of tall grass around the map's mark that have grass next to them; none without a mark."""
    patch: set[tuple[int, int]] = set()
    queue = [] if state["map"]["mark"] is None else [tuple(state["map"]["mark"])]
    tiles = state["map"]["tiles"]
    while queue:
        x, y = queue.pop()
        if (x, y) not in patch and 0 <= y < len(tiles) and 0 <= x < len(tiles[y]) and 0x20 <= tiles[y][x] < 0x28:
            patch.add((x, y))
            queue += [(x + dx, y + dy) for _, dx, dy in _DIRECTIONS]
    return sorted((x, y) for x, y in patch if any((x + dx, y + dy) in patch for _, dx, dy in _DIRECTIONS))


def _tile(state: State, x: int, y: int) -> str:
    """Return what the ascii map shows there; solid outside it."""
    rows = state["map"]["ascii_map"]
    return rows[y][x] if 0 <= y < len(rows) and 0 <= x < len(rows[y]) else "#"


def battle_action(state: State, catch: bool = False) -> str | None:
    """Play a turn: against a trainer the move that hurts most; run from a wild monster, or with `catch` catch it.

    A monster to catch is first weakened, with the move that hurts it least, until no more than half of its HP is left.
    None if there is no battle.
    """
    game = state["game"]
    if not game["is_in_battle"]:
        return None
    menu = game["menu"]["name"] if game["menu"] is not None else None
    if menu not in ("battle", "moves"):
        return "a" if menu is None else "b"
    enemy = game["battle_info"]["enemy"]
    wild = game["battle_info"]["kind"] == "wild"
    command = _FIGHT
    if wild and not catch:
        command = _RUN
    elif wild and 2 * enemy["current_hp"] <= enemy["max_hp"]:
        command = _CATCH
    if menu == "battle":
        return move_cursor(state, command, columns=2)
    if command != _FIGHT:
        return "b"
    slot = _best_move(state["player"]["party"][game["battle_info"]["active"]], enemy, gently=wild)
    return "b" if slot is None else move_cursor(state, slot, columns=2)


def _best_move(monster: dict[str, Any], enemy: dict[str, Any], gently: bool) -> int | None:
    """Return the slot of the move that should hurt the enemy most (`gently`: least), of those that hurt it and have PP.

    If there is none, the first move with PP. When all PP are gone, the game continues without them. None if there are no moves.
    """
    kinds = {name: (kind, power * accuracy) for name, kind, power, accuracy in MOVES}
    harm = {}
    for slot, (move, pp) in enumerate(zip(monster["moves"], monster["move_pp"], strict=True)):
        kind, strength = kinds.get(move, ("NORMAL", 0))
        if pp and strength:
            against = enemy["types"][0]
            factor = 4 if BEATS.get(kind) == against else 1 if BEATS.get(against) == kind else 2
            harm[slot] = strength * factor * (3 if kind in monster["types"] else 2)
    if not harm:
        return next((slot for slot, pp in enumerate(monster["move_pp"]) if pp), None)
    return (min if gently else max)(harm, key=lambda slot: harm[slot])


TOOLS: dict[str, Callable[..., Any]] = {
    tool.__name__: tool
    for tool in (
        go_to_map,
        talk_to,
        read_sign,
        step_aside,
        close_what_is_open,
        answer,
        move_cursor,
        battle_action,
        pace_in_grass,
    )
}
"""The functions of this module that expert policies may call; each takes the state first."""
