"""The shortest paths through Tallgrass: the presses that a perfect player may make next, and how many presses are left.

    optimal_actions(state)          every button on a shortest path to the story's next milestone
    optimal_steps(state, milestone) the presses from here to a milestone

The perfect player knows the whole map, and the current positions of people. The story defines the goals: from the events so
far follow the goals up to the next milestone (talk to Mom, then leave the house), and the path is the shortest one through
all of them. A press of the d-pad moves one tile, hops over a ledge from above (two tiles), or only turns if the tile ahead is
taken; A acts on the tile faced. So a place is (x, y, facing), but facing matters in few places: next to a goal that is talked
to. Everywhere else the search is over tiles.

Not defined (None), because no single press is known to be optimal:

- the menus of a battle: the optimal action depends on random draws;
- where people block the path on all sides, and after the story's end.

By convention:

- In a text A and B both advance. An open question has one right answer, which is NO unless the story needs the YES. A menu that
  is not needed is closed.
- A path whose goal is a battle ends where the battle begins: next to the trainer or in sight, or in the tall grass to which the
  strip's compass points. In tall grass any step that ends in tall grass is as good as any other.
- The game draws where the clock's marker starts. So the path to the clock ends with its opening, and begins again there.
- A wild monster may interrupt a path through tall grass. It is counted as if none came.
- On maps that the player is not on, people stand at home, as they do when a map is entered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pokemon_env.games.tallgrass.starts import _world as _generated_world  # made once: where an episode begins, and here
from pokemon_env.games.tallgrass.tools import next_map
from pokemon_env.games.tallgrass.worlds.image import MapData, World, rom_world
from pokemon_env.games.tallgrass.worlds.metatiles import is_grass, is_ledge, is_solid
from pokemon_env.games.tallgrass.worlds.story import EVENT_ID, FACINGS, MAPS, SCRIPT_ID, SIGHT, SPRITES, STEPS

State = dict[str, Any]

_ROM = Path(__file__).resolve().parents[3] / "tallgrass" / "tallgrass.gb"

_FAR = 1 << 20
_DIRECTIONS = range(4)  # as FACINGS
_BLOCKED, _LEDGE, _FLOOR, _GRASS = range(4)
_DOWN = FACINGS.index("down")

_NAME_COLUMNS, _NAME_CELLS, _DELETE, _END = 7, 28, 26, 27
_ANY_BUTTON = frozenset(("a", "b", "start", "select", "up", "down", "left", "right"))
_READ_ON = frozenset("ab")


class _Goal(NamedTuple):
    """A goal of the story; done once `event` is set."""

    milestone: str
    event: str
    map: str
    kind: str
    """enter: reach the map; talk: to the person of sprite `target`; read: the sign with script `target`; meet: talk to the
    trainer or step into their sight; grass: stand in the tall grass that the map marks; step: make a step."""
    target: str = ""
    presses: int | None = 0
    """talk, read: presses after the first A until the event is set; None: the game decides how many."""


def _enter(milestone: str, place: str, event: str = "") -> _Goal:
    return _Goal(milestone, event or milestone, place, "enter")


_STORY = (
    _Goal("PLAYER_BEDROOM", "OUT_OF_BED", "BEDROOM", "step"),
    _Goal("CLOCK_SET", "CLOCK_SET", "BEDROOM", "read", "T_CLOCK", None),
    _enter("GO_DOWNSTAIRS_TO_1F", "HOUSE_1F", "WENT_DOWNSTAIRS"),
    _Goal("LEAVE_HOUSE", "TALKED_MOM", "HOUSE_1F", "talk", "MOM", 3),
    _enter("LEAVE_HOUSE", "TOWN", "LEFT_HOUSE"),
    _enter("RIVAL_HOUSE", "RIVAL_1F"),
    _enter("RIVAL_BEDROOM", "RIVAL_2F"),
    _Goal("EXIT_RIVAL_HOUSE", "MET_RIVAL", "RIVAL_2F", "talk", "RIVAL", 3),
    _enter("EXIT_RIVAL_HOUSE", "TOWN"),
    _enter("LAB_ENTERED", "LAB"),
    _Goal("STARTER_CHOSEN", "GOT_STARTER", "LAB", "read", "T_BALL_", 2),
    _Goal("RIVAL_BATTLE_WON", "RIVAL_BEATEN", "LAB", "talk", "RIVAL", None),
    _enter("EXIT_LAB", "TOWN"),
    _enter("ROUTE_1", "ROUTE_1"),
    _Goal("FIRST_CATCH", "FIRST_CATCH", "ROUTE_1", "grass", "", None),
    _enter("SECOND_TOWN", "TOWN_2"),
    _Goal("HEALED", "HEALED", "CENTER", "talk", "NURSE", 2),
    _enter("ROUTE_2", "ROUTE_2"),
    _Goal("TRAINER_BEATEN", "TRAINER_BEATEN", "ROUTE_2", "meet", "TRAINER", None),
    _enter("GYM_ENTERED", "GYM"),
    _Goal("GYM_TRAINER_BEATEN", "GYM_TRAINER_BEATEN", "GYM", "meet", "TRAINER", None),
    _Goal("LEADER_BEATEN", "LEADER_BEATEN", "GYM", "talk", "LEADER", None),
    _Goal("BADGE", "BADGE", "GYM", "talk", "ELDER", 2),
)
"""The goals from the bedroom on, in order. A milestone's event is that of its last goal."""

_GET_BALLS = _Goal("FIRST_CATCH", "", "LAB", "talk", "PROF", None)
_READ_SIGN = _Goal("TRAINER_BEATEN", "SIGN_READ", "ROUTE_2", "read", "T_SIGN_FORK", None)
_BEFORE_THE_BEDROOM = {"GAME_RUNNING": "GAME_STARTED", "PLAYER_NAME_SET": "NAME_SET", "INTRO_CUTSCENE_COMPLETE": "INTRO_DONE"}
_MILESTONES = (*_BEFORE_THE_BEDROOM, *dict.fromkeys(goal.milestone for goal in _STORY))
_ASKED = {EVENT_ID["ASKED"], EVENT_ID["GOT_STARTER"]}
"""Before one of these events the professor speaks to a player who enters the laboratory: T_PROF, and what is kept for them."""
_PAGES = {"T_INTRO": 6, "T_MOM": 3, "T_RIVAL": 3, "T_PROF": 2, "T_ASK_LEAF": 1, "T_ASK_EMBER": 1, "T_ASK_WAVE": 1}
"""How many pages the texts on the path have; T_PROF's with the one that follows."""
_ASK_YES = {"HEALED": ("NURSE", "CENTER"), "BADGE": ("ELDER", "GYM")}
"""Milestone -> the script whose question must be answered with YES."""


def optimal_actions(state: State, world: World | None = None) -> frozenset[str] | None:
    """Return every button ("a", "b", "start", "select", "up", "down", "left", "right") that lies on a shortest path to the
    story's next milestone; None where that is not defined (see the module).

    Args:
        state: as in PokemonEnv's infos.
        world: the one that is played; default is the one that the state names (world 0 is the bundled ROM's).
    """
    return _look(state, None, world)[1]


def goal_distance(state: State, world: World | None = None) -> int | None:
    """Return how many presses a shortest path has until the next milestone, or until its predictable part ends.

    That part ends at the start of a battle, at the tall grass, or at the clock's opening. None where `optimal_steps` is None for
    other reasons.
    """
    return _look(state, None, world)[0]


def optimal_steps(state: State, milestone: str | None = None, world: World | None = None) -> int | None:
    """Return the least number of presses from here until `milestone` (default: the story's next one) is completed.

    None where it depends on chance (a battle, a catch, the clock while it is not open), where there is no path, and in texts
    and menus that do not lie on the path. 0 if it is completed already.
    Raises ValueError for an unknown milestone.
    """
    if milestone is not None and milestone not in _MILESTONES:
        raise ValueError(f"Tallgrass has no milestone {milestone!r}; it has {', '.join(_MILESTONES)}.")
    steps, _, exact = _look(state, milestone, world)
    return steps if exact else None


_Answer = tuple[int | None, frozenset[str] | None, bool]
"""The number of presses, the buttons that may come next, and whether the number leads to the milestone's completion."""

_UNKNOWN: _Answer = (None, None, False)


def _look(state: State, milestone: str | None, world: World | None) -> _Answer:
    game = state["game"]
    if "events" not in game:
        return _UNKNOWN  # the game has not set itself up
    if game["is_in_battle"]:
        return _UNKNOWN if game["menu"] is not None else (None, _READ_ON, False)
    goals = _goals(state, milestone)
    if goals == [] and milestone is not None:
        return 0, None, True
    if game["menu"] is not None:
        return _menu(state, goals, milestone)
    if game["dialog_text"] is not None:
        return _text(state, goals, milestone, world)
    if not state["map"]["location"] or not goals:
        return _UNKNOWN
    return _Ways(state, goals, world).look()


def _goals(state: State, milestone: str | None) -> list[_Goal] | None:
    """Return the goals up to the milestone (None: up to the next one); None before the bedroom."""
    game = state["game"]
    events = game["events"]
    if not events["INTRO_DONE"]:
        return [] if milestone is not None and events.get(_BEFORE_THE_BEDROOM.get(milestone, ""), False) else None
    goals = [goal for goal in _STORY if not events.get(goal.event, False)]
    if milestone is None:
        milestone = goals[0].milestone if goals else None
    last = max((i for i, goal in enumerate(goals) if goal.milestone == milestone), default=-1)
    goals = goals[: last + 1]
    for place, goal in enumerate(goals):
        if goal.event == "GOT_STARTER":
            goals[place] = goal._replace(target=goal.target + (game["wish"] or ""))
    if goals and goals[0].event == "FIRST_CATCH" and not game["items"]["BALL"]:
        goals.insert(0, _GET_BALLS)
    if goals and game["objective"] == "READ_SIGN":
        goals.insert(0, _READ_SIGN)
    return goals


# Texts and menus


def _text(state: State, goals: list[_Goal] | None, milestone: str | None, world: World | None) -> _Answer:
    text = state["game"]["text"]
    pages = _PAGES.get(text["script"]) if text else None
    if pages is None:
        return None, _READ_ON, False
    pages -= text["page"]
    if goals is None:
        return pages, _READ_ON, milestone in (None, "INTRO_CUTSCENE_COMPLETE")
    if not goals:
        return None, _READ_ON, False
    ways = _Ways(state, goals, world)
    # The story advances when the text closes; a repeated text does not advance it.
    told = goals[0].kind == "talk" and text["script"] == f"T_{goals[0].target}" and goals[0].presses == _PAGES[text["script"]]
    rest = ways.from_here(int(told))
    return (None if rest >= _FAR else pages + rest), _READ_ON, ways.exact and rest < _FAR


def _menu(state: State, goals: list[_Goal] | None, milestone: str | None) -> _Answer:
    game = state["game"]
    menu = game["menu"]
    name, cursor, value = menu["name"], menu["cursor"], menu["value"]
    if name == "title":
        return 1, frozenset(["start"]), milestone in (None, "GAME_RUNNING")
    if name == "name_grid":
        steps, actions = _name_steps()[cursor, bool(state["player"]["name"])]
        return steps, actions, milestone in (None, "PLAYER_NAME_SET")
    last = goals is not None and len(goals) == 1  # whether this menu completes the last goal
    if name == "clock":
        away = game["clock_target"] - value
        if away:
            return abs(away) + 3, frozenset(["right" if away > 0 else "left"]), last
        return 3, frozenset("a"), last
    if name == "yes_no":
        if _is_yes_wanted(state, goals):
            return (2, frozenset(["up"]), last) if cursor else (1, frozenset("a"), last)
        return None, frozenset("ab") if cursor else frozenset("b"), False
    if name == "party":
        return None, _ANY_BUTTON, False
    # A list's last entry is BACK, and in the bag the balls cannot be used here.
    back = cursor == menu["items"] - 1 or (name == "bag" and cursor > 0)
    return None, frozenset("ab") if back else frozenset("b"), False


def _is_yes_wanted(state: State, goals: list[_Goal] | None) -> bool:
    """Return whether the story needs a YES to the open question."""
    game, menu = state["game"], state["game"]["menu"]
    if game["dialog_text"] is None:  # only the clock asks without a text
        return menu["value"] == game["clock_target"]
    if not goals:
        return False
    faced = _faced(state)
    for person in state["map"]["people"]:
        if (person["x"], person["y"]) == faced:
            if goals[0].event == "GOT_STARTER":
                return SCRIPT_ID.get(goals[0].target) == person["script"]
            return _ASK_YES.get(goals[0].event) == (person["sprite"], state["map"]["location"])
    return False


def _faced(state: State) -> tuple[int, int]:
    dx, dy = STEPS[FACINGS.index(state["player"]["facing"])]
    x, y = state["map"]["player_coords"]
    return x + dx, y + dy


@lru_cache(maxsize=1)
def _name_steps() -> dict[tuple[int, bool], tuple[int, frozenset[str]]]:
    """Return (cursor, whether the name has a letter) -> presses until it is confirmed, and the buttons that may come next."""

    def press(cell: int, named: bool, button: str) -> tuple[int, bool] | None:
        row, column = divmod(cell, _NAME_COLUMNS)
        if button == "a":
            return None if cell >= _DELETE else (cell, True)
        inside = {"up": row > 0, "down": cell + _NAME_COLUMNS < _NAME_CELLS, "left": column > 0, "right": column < 6}
        move = {"up": -_NAME_COLUMNS, "down": _NAME_COLUMNS, "left": -1, "right": 1}
        return (cell + move[button], named) if inside[button] else None

    places = [(cell, named) for cell in range(_NAME_CELLS) for named in (False, True)]
    buttons = ("a", "up", "down", "left", "right")
    distance: dict[tuple[int, bool] | None, int] = dict.fromkeys(places, _FAR)
    distance[_END, True] = 1
    for _ in places:  # no path is longer
        for place in places:
            for button in buttons:
                distance[place] = min(distance[place], 1 + distance.get(press(*place, button), _FAR))
    return {
        place: (
            distance[place],
            frozenset(b for b in buttons if distance.get(press(*place, b), _FAR) == distance[place] - 1)
            if place != (_END, True)
            else frozenset("a"),
        )
        for place in places
    }


# Ways


class _Level:
    """A map as one flat list of tile classes with a border of blocked ones, so that a step is one addition."""

    def __init__(self, width: int, height: int, warps: Iterable[tuple[int, int, str, int, int, int]]) -> None:
        self.width = width
        self.stride = width + 2
        self.cells = bytearray(self.stride * (height + 2))  # _BLOCKED
        self.offsets = [dx + dy * self.stride for dx, dy in STEPS]
        self.warps = {self.index(x, y): (to, to_x, to_y, toward) for x, y, to, to_x, to_y, toward in warps}
        self.mark = 0  # a blocked cell: none
        self.people: list[tuple[int, str, int, int, int]] = []
        """Cell, sprite, script, facing, tiles of sight."""
        self.signs: list[tuple[int, int]] = []
        """cell, script"""

    def index(self, x: int, y: int) -> int:
        return (y + 1) * self.stride + x + 1

    @classmethod
    def of_state(cls, state: State, opened: frozenset[str]) -> _Level:
        """Return the map that the player is on, with the gates of `opened` events open as well."""
        world = state["map"]
        warps = [(w["x"], w["y"], w["to"], w["to_x"], w["to_y"], -1) for w in world["warps"]]
        level = cls(world["width"], world["height"], warps)
        level.mark = level.index(*world["mark"]) if world["mark"] else 0
        for y, row in enumerate(world["tiles"]):
            level._row(y, row)
        for gate in world["gates"]:
            if gate["opened_by"] in opened:
                level.cells[level.index(gate["x"], gate["y"])] = _FLOOR
        for sign in world["signs"]:
            level.signs.append((level.index(sign["x"], sign["y"]), sign["script"]))
        for person in world["people"]:
            facing = FACINGS.index(person["facing"])
            level._person(person["x"], person["y"], person["sprite"], person["script"], facing, person["sight"])
        return level

    @classmethod
    def of_map(cls, data: MapData, events: frozenset[int]) -> _Level:
        """Return a map on which the player is not, with gates and people as after `events`."""
        warps = [(w.x, w.y, MAPS[w.to], w.to_x, w.to_y, w.facing) for w in data.warps]
        level = cls(data.width, data.height, warps)
        level.mark = level.index(*data.mark) if data.mark else 0
        for y in range(data.height):
            level._row(y, data.layout[y * data.width : (y + 1) * data.width])
        for gate in data.gates:
            if gate.event not in events:
                level.cells[level.index(gate.x, gate.y)] = _BLOCKED
        for sign in data.signs:
            level.signs.append((level.index(sign.x, sign.y), sign.script))
        for person in data.people:
            if person.visible(events):
                sight = person.reach if person.movement == SIGHT else 0
                level._person(person.x, person.y, SPRITES[person.sprite], person.script, person.facing, sight)
        return level

    def _row(self, y: int, metatiles: Sequence[int]) -> None:
        start = self.index(0, y)
        self.cells[start : start + self.width] = bytes(metatiles).translate(_CLASSES)

    def _person(self, x: int, y: int, sprite: str, script: int, facing: int, sight: int) -> None:
        cell = self.index(x, y)
        self.cells[cell] = _BLOCKED
        self.people.append((cell, sprite, script, facing, sight))

    def landing(self, cell: int, direction: int) -> int:
        """Return where a press in that direction leads from the cell; the cell itself if it only turns."""
        offset = self.offsets[direction]
        target = cell + offset
        kind = self.cells[target]
        if kind == _LEDGE and direction == _DOWN:
            target += offset
            return target if self.cells[target] >= _FLOOR and target not in self.warps else cell
        return target if kind >= _FLOOR else cell

    def sources(self, cell: int, direction: int) -> int:
        """Return the cell from which a press in that direction leads to this one (0, a blocked one, for none)."""
        offset = self.offsets[direction]
        source = cell - offset
        if direction == _DOWN and self.cells[source] == _LEDGE and cell not in self.warps:
            source -= offset
        return source if self.cells[source] >= _FLOOR and source not in self.warps else 0

    def grass(self) -> set[int]:
        """Return the tall grass around the map's mark that has room to walk in; without a mark any."""
        cells = {cell for cell, kind in enumerate(self.cells) if kind == _GRASS}
        patch, queue = set(), [self.mark] if self.mark in cells else []
        while queue:
            cell = queue.pop()
            if cell in cells and cell not in patch:
                patch.add(cell)
                queue += [cell + offset for offset in self.offsets]
        return {cell for cell in patch or cells if any(cell + offset in cells for offset in self.offsets)}

    def seen_by_trainers(self, sprite: str) -> set[int]:
        """Return the cells straight ahead of people of this sprite, up to what blocks their sight."""
        seen = set()
        for cell, who, _, facing, sight in self.people:
            for _ in range(sight if who == sprite else 0):
                cell += self.offsets[facing]
                if self.cells[cell] == _BLOCKED:
                    break
                seen.add(cell)
        return seen


_CLASSES = bytes(
    _BLOCKED if is_solid(code) else _LEDGE if is_ledge(code) else _GRASS if is_grass(code) else _FLOOR for code in range(256)
)


_OPEN = bytes(kind >= _FLOOR for kind in range(256))


class _Field(NamedTuple):
    """The distance of every place on one map to a goal, in presses."""

    level: _Level
    acts: dict[tuple[int, int], int]
    """(cell, direction faced) -> presses left where A is the next one"""
    enters: dict[int, int]
    """cell -> presses left once one stands on it: a warp, a place in sight"""
    distance: list[int]
    """cell -> presses left, standing there and facing nothing that matters"""

    def at(self, cell: int, direction: int) -> int:
        return min(self.acts.get((cell, direction), _FAR), self.distance[cell])

    def after(self, cell: int, direction: int) -> int:
        """Return the presses left after a press of the d-pad there."""
        to = self.level.landing(cell, direction)
        if to != cell and to in self.enters:
            return self.enters[to]
        return _FAR if to in self.level.warps else self.at(to, direction)


class _Ways:
    """The path from a state through its goals, one after the other, over the maps."""

    def __init__(self, state: State, goals: list[_Goal], world: World | None) -> None:
        self.state, self.goals, self.world = state, goals, world
        self.events = frozenset(EVENT_ID[name] for name, done in state["game"]["events"].items() if done)
        self.here = state["map"]["location"]
        self.exact = all(goal.presses is not None for goal in goals)
        self.levels: dict[tuple[str, frozenset[str]], _Level] = {}
        self.fields: dict[tuple[int, str], _Field] = {}

    def look(self) -> _Answer:
        level = self.level(self.here, 0)
        cell = level.index(*self.state["map"]["player_coords"])
        facing = FACINGS.index(self.state["player"]["facing"])
        goal = self.goals[0]
        if goal.kind == "step":
            actions = [direction for direction in _DIRECTIONS if level.landing(cell, direction) != cell]
            return (1, frozenset(FACINGS[d] for d in actions), len(self.goals) == 1) if actions else _UNKNOWN
        if goal.kind == "grass" and self.here == goal.map and level.cells[cell] == _GRASS:
            actions = [d for d in _DIRECTIONS if level.cells[to := level.landing(cell, d)] == _GRASS and to != cell]
            if actions:
                return 1, frozenset(FACINGS[d] for d in actions), False
        field = self.field(0, self.here, stop_at=cell)
        steps = field.at(cell, facing)
        if steps >= _FAR:
            return _UNKNOWN
        buttons = {FACINGS[d] for d in _DIRECTIONS if field.after(cell, d) == steps - 1}
        if field.acts.get((cell, facing)) == steps:
            buttons.add("a")
        return steps, frozenset(buttons), self.exact

    def from_here(self, number: int) -> int:
        """Return the presses left when goal `number` is the next, from where the player is."""
        x, y = self.state["map"]["player_coords"]
        return self.value(number, self.here, x, y, FACINGS.index(self.state["player"]["facing"]))

    def level(self, place: str, number: int) -> _Level:
        """Return a map as it is when goal `number` is the next."""
        done = frozenset(goal.event for goal in self.goals[:number] if goal.event)
        if (place, done) not in self.levels:
            if place == self.here:
                level = _Level.of_state(self.state, done)
            else:
                if self.world is None:
                    self.world = _world(self.state["game"]["world"])
                level = _Level.of_map(self.world.maps[place], self.events | {EVENT_ID[name] for name in done})
            self.levels[place, done] = level
        return self.levels[place, done]

    def arrival(self, number: int, place: str, x: int, y: int, direction: int) -> int:
        """Return the presses left from there when the player has just entered that map on the path to goal `number`."""
        if self.goals[number].kind == "enter" and self.goals[number].map == place:
            number += 1
        spoken_to = number < len(self.goals) and place == "LAB" and not self.events & _ASKED
        return self.value(number, place, x, y, direction) + spoken_to * _PAGES["T_PROF"]

    def value(self, number: int, place: str, x: int, y: int, direction: int) -> int:
        """Return the presses left from there when goal `number` is the next."""
        if number == len(self.goals):
            return 0
        if self.goals[number].kind == "step":
            return 1
        return self.field(number, place).at(self.level(place, number).index(x, y), direction)

    def field(self, number: int, place: str, stop_at: int = 0) -> _Field:
        """Return the field of goal `number` on a map; with `stop_at`, correct at that cell and nearer ones only."""
        key = (number, place)
        if key not in self.fields:
            level = self.level(place, number)
            acts: dict[tuple[int, int], int] = {}
            enters: dict[int, int] = {}
            goal = self.goals[number]
            if goal.map != place or goal.kind == "enter":
                toward = next_map(place, goal.map)
                for cell, (to, to_x, to_y, facing) in level.warps.items():
                    if to == toward and level.cells[cell] >= _FLOOR:
                        enters[cell] = self.arrival(number, to, to_x, to_y, facing)
            elif goal.kind == "grass":
                enters = dict.fromkeys(level.grass(), 0)
            else:
                for cell in self._targets(level, goal):
                    for direction in _DIRECTIONS:
                        beside = cell - level.offsets[direction]
                        if level.cells[beside] >= _FLOOR and beside not in level.warps:
                            y, x = divmod(beside, level.stride)
                            left = 0 if goal.presses is None else self.value(number + 1, place, x - 1, y - 1, direction)
                            acts[beside, direction] = 1 + (goal.presses or 0) + left
                if goal.kind == "meet":
                    enters = dict.fromkeys(level.seen_by_trainers(goal.target), 0)
            self.fields[key] = _Field(level, acts, enters, _distances(level, acts, enters, stop_at))
        return self.fields[key]

    def _targets(self, level: _Level, goal: _Goal) -> list[int]:
        """Return the cells of the people or signs that the goal is to talk to or read."""
        if goal.kind in ("talk", "meet"):
            return [cell for cell, sprite, *_ in level.people if sprite == goal.target]
        script = SCRIPT_ID.get(goal.target)
        things = [(cell, what) for cell, _, what, *_ in level.people] + level.signs
        return [cell for cell, what in things if what == script]


def _distances(level: _Level, acts: dict[tuple[int, int], int], enters: dict[int, int], stop_at: int) -> list[int]:
    """Return `_Field.distance`: a breadth-first search backward, from several ends with different presses left."""
    cells, warps = level.cells, level.warps
    distance = [_FAR] * len(cells)
    waiting: dict[int, list[int]] = {}
    for (cell, direction), left in acts.items():
        # A player who enters the cell in that direction faces the goal already; others turn to it first.
        waiting.setdefault(left + 1, []).extend((cell, level.sources(cell, direction)))
    for cell, left in enters.items():
        waiting.setdefault(left + 1, []).extend(level.sources(cell, direction) for direction in _DIRECTIONS)
    open_cells = cells.translate(_OPEN)
    for cell in warps:
        open_cells[cell] = 0
    offsets = level.offsets
    down = offsets[_DOWN]
    steps = min(waiting, default=0)
    frontier: list[int] = []
    while frontier or waiting:
        if not frontier:
            steps = min(waiting)
        frontier += waiting.pop(steps, ())
        reached = []
        for cell in frontier:
            if distance[cell] <= steps or not open_cells[cell]:
                continue
            distance[cell] = steps
            for offset in offsets:
                source = cell - offset
                if offset == down and cells[source] == _LEDGE:
                    source -= offset
                if open_cells[source] and distance[source] > steps + 1:
                    reached.append(source)
        if distance[stop_at] < _FAR:
            break
        frontier = reached
        steps += 1
    return distance


def _world(number: int) -> World:
    return _generated_world(number) if number else _bundled_world()


@lru_cache(maxsize=1)
def _bundled_world() -> World:
    return rom_world(_ROM.read_bytes())
