"""Shortest paths over a state's map, for any game whose state has one.

A state's "map" holds `ascii_map`, one string per row, and `warps`, a list of {"x", "y", ...}. In the ascii map

    #  ~   solid                       P   a person: solid, too
    v < >  a ledge: one press from the tile before it hops over it (down, left, right) to the tile beyond it; it
           cannot be entered or crossed in any other direction
    others can be walked on: floor, grass, warps, the player's own tile

Every press costs the same, so a breadth-first search from the goal finds the same paths as A*, for all tiles at once. A
press toward a free tile turns and steps; toward a solid one it only turns.
Ties are broken in one fixed order (up, down, left, right: vertical first), so that an expert gives the same label for
the same screen.

- A warp takes the player away from the map, so no path leads across one, unless it is the goal.
- `map["view"]` = [left, top, right, bottom], if present, says which tiles are on the screen. People on the screen are where
  they are seen. Others are taken to be at their "home", if `map["people"]` has it and the screen does not show it without
  them, and otherwise to be nowhere. So a label depends only on what can be seen, and on what is always true.
- Where people block every path, the path leads through them as if they were not there: the press is a wait in front of
  them. It does not lead through people whose "range" is 0: they never move, and count as walls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Tile = tuple[int, int]
State = dict[str, Any]
Found = tuple[int, list[str]]  # the number of presses, and the possible first ones

_DIRECTIONS = ("up", "down", "left", "right")  # ties are broken in this order
_BLOCKED, _FLOOR, _PERSON = ord("#"), ord("."), ord("P")
_HOPS = {"up": -1, "down": ord("v"), "left": ord("<"), "right": ord(">")}  # the ledge that each direction hops over
_CODES = bytes(code if chr(code) in "#Pv<>" else _BLOCKED if chr(code) == "~" or code > 127 else _FLOOR for code in range(256))
_STANDABLE = {
    people_block: bytes(code == _FLOOR or (code == _PERSON and not people_block) for code in range(256))
    for people_block in (True, False)
}


def find_path_action(state: State, x: int, y: int) -> str | None:
    """Return the first press of a shortest path to the tile (x, y): 'up', 'down', 'left' or 'right'.

    If the tile is solid (a person, a sign, a wall), the path leads next to it, and there the press is toward it.
    None if the player is at the goal already, or no path leads there even without people.
    Raises ValueError if there is no map or the tile is not on it.
    """
    actions = shortest_path_actions(state, x, y)
    return actions[0] if actions else None


def shortest_path_actions(state: State, x: int, y: int) -> list[str]:
    """Return all presses that begin a shortest path to the tile (x, y), in the fixed order; [] where `find_path_action`
    returns None."""
    return shortest_path_actions_to_any(state, [(x, y)])


def find_path_action_to_any(state: State, tiles: Iterable[Tile]) -> str | None:
    """Return `find_path_action` to the nearest of several tiles. None also if there are no tiles."""
    actions = shortest_path_actions_to_any(state, tiles)
    return actions[0] if actions else None


def shortest_path_actions_to_any(state: State, tiles: Iterable[Tile]) -> list[str]:
    """Return `shortest_path_actions` to the nearest of several tiles."""
    grid = _Grid(state)
    goals = [grid.index(tile) for tile in tiles]
    found = grid.around_people(lambda people_block: grid.actions_to(goals, people_block))
    return found[1] if found is not None else []


def face_and_press(state: State, x: int, y: int, button: str = "a") -> str | None:
    """Walk next to the tile (x, y), turn toward it, and then press `button`. None if no path leads there.

    Raises ValueError if there is no map or the tile is not on it.
    """
    actions = shortest_actions_to_face(state, x, y)
    if actions is None:
        return None
    return actions[0] if actions else button


def shortest_actions_to_face(state: State, x: int, y: int) -> list[str] | None:
    """Return all presses that begin a shortest path to stand next to the tile (x, y) and face it, in the fixed order.

    A player who arrives by a step toward the tile faces it already; otherwise one more press turns the player. [] if the
    player faces it, None if no path leads there.
    """
    grid = _Grid(state)
    goal = grid.index((x, y))
    grid.cells[goal] = _BLOCKED  # even if nobody stands there: the path leads next to it
    facing = state["player"]["facing"]
    found = grid.around_people(lambda people_block: grid.actions_to_face(goal, facing, people_block))
    return found[1] if found is not None else None


def distances_to(state: State, tiles: Iterable[Tile], people_block: bool = True) -> list[list[int]]:
    """Return for each tile how many presses lead from there to the nearest of `tiles`, as rows: [y][x], -1 for no path.

    A solid tile among `tiles` is reached next to it. People block as in `find_path_action`, or not at all.
    """
    grid = _Grid(state)
    ends, _ = grid.ends([grid.index(tile) for tile in tiles], people_block)
    distance = grid.distances(ends, people_block)
    stride = grid.stride
    return [distance[row * stride + 1 : row * stride + 1 + grid.width] for row in range(1, grid.height + 1)]


def path_length(state: State, x: int, y: int) -> int | None:
    """Return how many presses lead to the tile (x, y), or next to it if it is solid; None if there is no path at all."""
    grid = _Grid(state)
    goal = grid.index((x, y))
    found = grid.around_people(lambda people_block: grid.actions_to([goal], people_block))
    return found[0] if found is not None else None


def nearest(state: State, tiles: Sequence[Tile]) -> Tile | None:
    """Return the tile of `tiles` that the fewest presses lead to (the first of equals); None if there is no path."""
    lengths = [path_length(state, *tile) for tile in tiles]
    reachable = [(length, place) for place, length in enumerate(lengths) if length is not None]
    if not reachable:
        return None
    x, y = tiles[min(reachable)[1]]
    return x, y


def find_tiles(state: State, kind: str) -> list[Tile]:
    """Return all tiles (x, y) that are `kind` in the ascii map, row by row."""
    return [(x, y) for y, row in enumerate(state["map"]["ascii_map"]) for x, char in enumerate(row) if char == kind]


def in_view(state: State, x: int, y: int) -> bool:
    """Return whether the tile (x, y) is on the screen; always True if the state has no view."""
    view = state["map"].get("view")
    return view is None or (view[0] <= x <= view[2] and view[1] <= y <= view[3])


class _Grid:
    """The map as one flat list of codes with a border of blocked tiles, so that a step is one addition.

    Public functions use tiles (x, y); here a cell is an index into `cells`.
    """

    def __init__(self, state: State) -> None:
        world = state["map"]
        rows = world["ascii_map"]
        if not rows or world["player_coords"] is None:
            raise ValueError("there is no map here to find a path on: the game is not in its world now.")
        self.width = len(rows[0])
        self.height = len(rows)
        self.stride = self.width + 2
        edge = "#" * self.stride
        self.cells = bytearray(f"{edge}#{'##'.join(rows)}#{edge}".encode("ascii").translate(_CODES))
        self.offsets = {"up": -self.stride, "down": self.stride, "left": -1, "right": 1}
        self.start = self.index(world["player_coords"])
        self.cells[self.start] = _FLOOR
        self.warps = {self.index((warp["x"], warp["y"])) for warp in world["warps"]} - {self.start}
        person = self.cells.find(_PERSON)
        while person >= 0:
            if not in_view(state, person % self.stride - 1, person // self.stride - 1):
                self.cells[person] = _FLOOR
            person = self.cells.find(_PERSON, person + 1)
        for person in world.get("people", ()):
            place = person["x"], person["y"]
            if not in_view(state, *place):
                place = person.get("home", place)
                if in_view(state, *place) and person.get("range", 1):
                    continue  # visibly not at home
            cell = self.index(place)
            if cell != self.start and self.cells[cell] in (_FLOOR, _PERSON):
                self.cells[cell] = _PERSON if person.get("range", 1) else _BLOCKED

    def index(self, tile: Sequence[int]) -> int:
        x, y = tile
        if not (0 <= x < self.width and 0 <= y < self.height):
            raise ValueError(f"there is no tile ({x}, {y}) on this map of {self.width} x {self.height} tiles.")
        return (y + 1) * self.stride + x + 1

    def ends(self, goals: list[int], people_block: bool) -> tuple[set[int], dict[int, list[str]]]:
        """Return where paths to `goals` may end, and for ends next to a solid goal the presses toward it."""
        ends: set[int] = set()
        toward: dict[int, list[str]] = {}
        for goal in goals:
            # A person who is the goal stays solid, also when paths lead through people.
            if self.cells[goal] == _FLOOR:
                ends.add(goal)
                continue
            for action in _DIRECTIONS:
                beside = goal - self.offsets[action]
                if _STANDABLE[people_block][self.cells[beside]] and beside not in self.warps:
                    ends.add(beside)
                    toward.setdefault(beside, []).append(action)
        return ends, toward

    def distances(self, ends: Iterable[int], people_block: bool, stop_at: int = -1) -> list[int]:
        """Return the presses from each cell to the nearest end, -1 for none; cells beyond `stop_at` are left out."""
        cells = self.cells
        standable = bytearray(cells.translate(_STANDABLE[people_block]))
        distance = [-1] * len(cells)
        frontier = sorted(ends)
        for cell in frontier:
            distance[cell] = 0
        for cell in self.warps:
            standable[cell] = 0  # an end may be a warp, but no path leads across one
        moves = [(self.offsets[action], _HOPS[action]) for action in _DIRECTIONS]
        steps = 0
        while frontier and distance[stop_at] < 0:
            steps += 1
            reached = []
            for cell in frontier:
                # Backward over the moves that end here: a step from the tile before, or a hop over a ledge before.
                can_land = standable[cell]
                for offset, hop in moves:
                    source = cell - offset
                    if can_land and cells[source] == hop:
                        source -= offset
                    if standable[source] and distance[source] < 0:
                        distance[source] = steps
                        reached.append(source)
            frontier = reached
        return distance

    def around_people(self, search: Callable[[bool], Found | None]) -> Found | None:
        """Return what `search(people_block)` finds: around people if there is a path, else through them."""
        around = search(True)
        return search(False) if around is None else around

    def actions_to(self, goals: list[int], people_block: bool) -> Found | None:
        """Return how many presses lead to a goal, and the first presses of all shortest paths; None without a path.

        Next to a solid goal the presses are those toward it; at a goal that is not solid there are none.
        """
        ends, toward = self.ends(goals, people_block)
        if self.start in ends:
            return 0, toward.get(self.start, [])
        return self.first_steps(ends, people_block)

    def actions_to_face(self, goal: int, facing: str, people_block: bool) -> Found | None:
        """Return the same as `actions_to`, but to stand next to a solid cell and face it; no presses where the player does."""
        ends, toward = self.ends([goal], people_block)
        if facing in toward.get(self.start, ()):
            return 0, []
        # One press is left next to the goal, to turn, and also where one step leads next to it in the right direction.
        last = {end: list(actions) for end, actions in toward.items()}
        for end, actions in toward.items():
            for action in actions:
                offset = self.offsets[action]
                before = end - offset
                if self.cells[before] == _HOPS[action]:
                    before -= offset
                if _STANDABLE[people_block][self.cells[before]] and before not in self.warps:
                    last.setdefault(before, []).append(action)
        if self.start in last:
            return 1, [action for action in _DIRECTIONS if action in last[self.start]]
        found = self.first_steps(last, people_block)
        return None if found is None else (found[0] + 1, found[1])

    def first_steps(self, ends: Iterable[int], people_block: bool) -> Found | None:
        """Return the same as `actions_to`, for `ends` at none of which the player is."""
        distance = self.distances(ends, people_block, stop_at=self.start)
        length = distance[self.start]
        if length < 0:
            return None
        actions = []
        for action in _DIRECTIONS:
            offset = self.offsets[action]
            target = self.start + offset
            if self.cells[target] == _HOPS[action]:
                target += offset
                if target in self.warps:
                    continue
            if distance[target] == length - 1:
                actions.append(action)
        return length, actions


TOOLS: dict[str, Callable[..., Any]] = {
    tool.__name__: tool
    for tool in (
        find_path_action,
        find_path_action_to_any,
        shortest_path_actions,
        shortest_actions_to_face,
        face_and_press,
        path_length,
        nearest,
        find_tiles,
        in_view,
    )
}
"""The functions of this module that expert policies may call; each takes the state first."""
