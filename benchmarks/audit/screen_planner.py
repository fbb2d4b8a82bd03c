"""A player that plans on what is on the screen now, and remembers nothing: about what a policy without memory can reach.

It is told more than a picture tells at once, namely what each thing on the screen is: where a door leads, who somebody is. It is
no upper bound: where what it looks for is not in view, it goes by the compass alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agent.policy_expert import PolicyExpert
from common.policies import RandomPolicy, draw
from pokemon_env.games.base import Game, empty_state
from pokemon_env.path_finding import distances_to, path_length, shortest_path_actions

State = Mapping[str, Any]

_OUTSIDE = 0xFF  # a solid metatile
_SHOWN = ("game_state", "is_in_battle", "dialog_text", "text", "menu", "objective", "compass", "battle_info")
_CLOCK_MENUS = ("clock", "yes_no")
_FAR, _MARGIN = 10, 8  # tiles from the player to where the compass may point, and of what is not seen around the view
_WALKED_ON = ".,"  # in the ascii map; a door that is not what is looked for is no way


def on_screen(state: State) -> dict[str, Any]:
    """Return the part of a state that is on the screen, as a state whose map is the 10 x 8 tiles of the view.

    What is outside the view is nowhere: its doors, people and signs are left out, and their homes and the mark with them. The
    player is at (4, 4), and what lies beyond the map's edge is solid. Events, the bag, the world's number and the party are left
    out, but the party in a battle, whose moves are in its menu. In a battle there is no map.
    """
    game, player = state["game"], state["player"]
    menu = game["menu"]
    in_battle = game["is_in_battle"]
    shown: dict[str, Any] = empty_state()
    shown["player"].update({"facing": player["facing"], "party": player["party"] if in_battle else []})
    shown["game"].update({key: game[key] for key in _SHOWN if key in game})
    shown["game"]["clock_target"] = game.get("clock_target") if menu and menu["name"] in _CLOCK_MENUS else None
    shown["game"]["wish"] = None
    if state["map"]["location"] and not in_battle:
        shown["map"].update(_view(state["map"]))
    return shown


def _view(world: State) -> dict[str, Any]:
    left, top, right, bottom = world["view"]

    def moved(things: Sequence[State], *kept: str) -> list[dict[str, Any]]:
        """Those of the things that are in view, with their places in it, and nothing but what is kept."""
        return [
            {"x": thing["x"] - left, "y": thing["y"] - top, **{key: thing[key] for key in kept}}
            for thing in things
            if left <= thing["x"] <= right and top <= thing["y"] <= bottom
        ]

    def cut(rows: Sequence[Sequence[Any]], outside: Any) -> list[list[Any]]:
        return [
            [rows[y][x] if 0 <= y < len(rows) and 0 <= x < len(rows[y]) else outside for x in range(left, right + 1)]
            for y in range(top, bottom + 1)
        ]

    x, y = world["player_coords"]
    mark = world["mark"]
    return {
        "location": world["location"],
        "player_coords": [x - left, y - top],
        "width": right - left + 1,
        "height": bottom - top + 1,
        "ascii_map": ["".join(row) for row in cut(world["ascii_map"], "#")],
        "tiles": cut(world["tiles"], _OUTSIDE),
        "warps": moved(world["warps"], "to"),
        "people": moved(world["people"], "sprite", "facing", "script_name"),
        "signs": moved(world["signs"], "script_name"),
        "mark": [mark[0] - left, mark[1] - top] if mark and left <= mark[0] <= right and top <= mark[1] <= bottom else None,
    }


def head_for_the_edge(shown: dict[str, Any], rng: np.random.Generator) -> str | None:
    """Return a first press toward a tile at the view's edge, drawn from those that can be walked to inside the view.

    A tile is the likelier the fewer presses lead there and on to a place far off in the compass's direction, if all that is not
    seen can be walked on: one press more makes it e times less likely. Whoever always takes the best goes to and fro for ever
    where two places each make the other look better. None without a compass or such a tile.

    shown: what `on_screen` returns.
    """
    world, compass = shown["map"], shown["game"]["compass"]
    if compass is None:
        return None
    x0, y0 = world["player_coords"]
    dx, dy = ("E" in compass) - ("W" in compass), ("S" in compass) - ("N" in compass)
    rest = distances_to(_with_surroundings(shown), [(_MARGIN + x0 + _FAR * dx, _MARGIN + y0 + _FAR * dy)])
    tiles, presses = [], []
    for y, row in enumerate(world["ascii_map"]):
        for x, tile in enumerate(row):
            if tile in _WALKED_ON and (x in (0, len(row) - 1) or y in (0, len(world["ascii_map"]) - 1)):
                length = path_length(shown, x, y)
                if length is not None:
                    tiles.append((x, y))
                    presses.append(length + rest[_MARGIN + y][_MARGIN + x])
    if not tiles:
        return None
    weights = np.exp(np.min(presses) - np.array(presses, np.float64))
    first = shortest_path_actions(shown, *tiles[draw(weights, rng)])
    return first[int(rng.integers(len(first)))]


def _with_surroundings(shown: State) -> dict[str, Any]:
    """The view amid free floor, `_MARGIN` tiles on each side."""
    world = shown["map"]
    side, above = "." * _MARGIN, ["." * (world["width"] + 2 * _MARGIN)] * _MARGIN
    x, y = world["player_coords"]
    return {
        "map": {
            "ascii_map": [*above, *(f"{side}{row}{side}" for row in world["ascii_map"]), *above],
            "player_coords": [x + _MARGIN, y + _MARGIN],
            "warps": [{"x": warp["x"] + _MARGIN, "y": warp["y"] + _MARGIN} for warp in world["warps"]],
        }
    }


class ScreenPlanner(RandomPolicy):
    """Plays by the game's own policy of a milestone, which is shown only what is on the screen.

    Where that has no answer, because what it looks for is not in view or cannot be walked to inside the view, it heads for the
    view's edge; and where there is none, it presses any button. Texts, menus and battles are the policy's: all that it decides by
    there is on the screen.

    Args:
        milestone: which is played.
        game: the ROM's. Policies that users put in the place of its own are not asked: they may read what is not shown.
    """

    def __init__(self, milestone: str, game: Game):
        super().__init__(len(game.buttons))
        assert game.policy_dir is not None  # Tallgrass brings its policies
        self.game = game
        self.rules = PolicyExpert(game.policy_dir / f"{milestone}.py", game)

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[State]) -> list[int]:
        return [self._press(slot, screen, info) for slot, screen, info in zip(slots, screens, infos, strict=True)]

    def _press(self, slot: int, screen: np.ndarray, info: State) -> int:
        shown = on_screen(info)
        answer = self.rules.label(shown).action
        if answer is not None:
            return answer
        toward = head_for_the_edge(shown, self._rngs[slot])
        if toward is not None:
            return self.game.buttons.index(toward.upper())
        return super().act([slot], [screen], [info])[0]
