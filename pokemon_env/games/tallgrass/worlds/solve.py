"""Proof that a world can be played: the whole story can be walked, nobody is trapped, and nobody blocks a path."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from pokemon_env.games.tallgrass.worlds.board import Board, Tile
from pokemon_env.games.tallgrass.worlds.image import MapData, Person, Sign, World, WorldError, pack
from pokemon_env.games.tallgrass.worlds.metatiles import is_grass, is_ledge, is_solid, is_warp
from pokemon_env.games.tallgrass.worlds.story import CONNECTIONS, EVENT_ID, MAP_ID, MAPS, SCRIPT_ID, SIGHT, WANDER

# The story on foot: what has to be reached (a script on a map, or a map), and the events that are set when it has been.
_Step = tuple[str, tuple[str, ...], tuple[str, ...]]
_STORY: tuple[_Step, ...] = (
    ("BEDROOM", ("T_CLOCK",), ("OUT_OF_BED", "CLOCK_SET")),
    ("HOUSE_1F", ("T_MOM",), ("WENT_DOWNSTAIRS", "TALKED_MOM")),
    ("TOWN", (), ("LEFT_HOUSE",)),
    ("RIVAL_1F", (), ("RIVAL_HOUSE",)),
    ("RIVAL_2F", ("T_RIVAL",), ("RIVAL_BEDROOM", "MET_RIVAL")),
    ("TOWN", (), ("EXIT_RIVAL_HOUSE",)),
    ("LAB", ("T_BALL_LEAF", "T_BALL_EMBER", "T_BALL_WAVE", "T_PROF"), ("LAB_ENTERED", "ASKED", "GOT_STARTER")),
    ("LAB", ("T_RIVAL_LAB",), ("RIVAL_BEATEN",)),
    ("TOWN", (), ("EXIT_LAB",)),
    ("ROUTE_1", ("mark",), ("ROUTE_1", "FIRST_CATCH")),
    ("TOWN_2", (), ("SECOND_TOWN",)),
    ("CENTER", ("T_NURSE",), ("HEALED",)),
    ("ROUTE_2", ("T_SIGN_FORK",), ("ROUTE_2",)),
    ("ROUTE_2", ("T_TRAINER_ROUTE",), ("SIGN_READ", "TRAINER_BEATEN")),
    ("GYM", ("T_TRAINER_GYM",), ("GYM_ENTERED", "GYM_TRAINER_BEATEN")),
    ("GYM", ("T_LEADER",), ("LEADER_BEATEN",)),
    ("GYM", ("T_GUIDE",), ("BADGE",)),
)
_BEFORE_FORK = next(number for number, step in enumerate(_STORY) if step[0] == "ROUTE_2")
# The event that opens each map: before it the map cannot be reached, after it it can.
_OPENED_BY = {
    "BEDROOM": None, "HOUSE_1F": "CLOCK_SET", "TOWN": "TALKED_MOM", "RIVAL_1F": "TALKED_MOM", "RIVAL_2F": "TALKED_MOM",
    "LAB": "MET_RIVAL", "ROUTE_1": "EXIT_LAB", "TOWN_2": "FIRST_CATCH", "CENTER": "FIRST_CATCH", "ROUTE_2": "HEALED",
    "GYM": "TRAINER_BEATEN",
}  # fmt: skip
_FIRST_MET = {"T_TRAINER_ROUTE": ("FORK_LEFT", "FORK_RIGHT"), "T_LEADER": ("GYM_TRAINER_BEATEN",)}
"""People that cannot be reached before one of these events."""

_MOST_SPRITES = 8
_FORK_DISTANCE = 5


class Ways:
    """Boards of a world by map and by the events that matter there, made on demand."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._boards: dict[tuple[str, frozenset[int]], Board] = {}
        self._reached: dict[tuple[Board, int], int] = {}
        self._matters = {
            name: frozenset({gate.event for gate in game_map.gates} | {p.flag & 0x7F for p in game_map.people})
            for name, game_map in world.maps.items()
        }

    def board(self, name: str, events: frozenset[int]) -> Board:
        key = (name, events & self._matters[name])
        if key not in self._boards:
            self._boards[key] = Board(self.world.maps[name], events)
        return self._boards[key]

    def everywhere(self, events: frozenset[int], start: tuple[str, int, int]) -> dict[str, int]:
        """Return for each map the set of tiles that can be reached on foot from a place, warps included."""
        name, x, y = start
        reached = {name: 0}
        todo = [(name, self.board(name, events).bit(x, y))]
        while todo:
            name, tile = todo.pop()
            if tile & reached.get(name, 0):
                continue
            board = self.board(name, events)
            before = reached.get(name, 0)
            if (board, tile) not in self._reached:
                self._reached[board, tile] = board.reach(tile)
            reached[name] = before | self._reached[board, tile]
            for warp in board.map.warps:
                if board.bit(warp.x, warp.y) & reached[name] & ~before:
                    to = MAPS[warp.to]
                    todo.append((to, self.board(to, events).bit(warp.to_x, warp.to_y)))
        return reached


def story_places(game_map: MapData, board: Board, script: str) -> int:
    """Return the tiles from which a script of this map is triggered (for "mark": the mark itself); empty if it is not there."""
    if script == "mark":
        return board.bit(*game_map.mark) if game_map.mark else 0
    number, found = SCRIPT_ID[script], 0
    entries: list[Person | Sign] = [*board.people, *game_map.signs]
    for entry in entries:
        if entry.script == number:
            found |= board.beside(entry.x, entry.y)
    return found & board.stand


def check_world(world: World) -> None:
    """Raise WorldError, with the map and the place, unless the world can be played to its end.

    Every step of the story can be made from every place where the player may be then, and none too early. No ledge leads into
    a place without an exit. Wherever one wandering person stands, no tile is cut off, and wherever two stand, no exit. Warps,
    arrivals, signs and gates are on suitable tiles. The image fits.
    """
    pack(world)
    _check_maps(world)
    ways = Ways(world)
    _check_fork(world.maps["ROUTE_2"])
    done: set[tuple[Board, int]] = set()
    events: frozenset[int] = frozenset()
    for step in _STORY[:_BEFORE_FORK]:
        events = _check_step(ways, events, step, done)
    _check_step(ways, events, ("ROUTE_2", (), ()), done)  # before the fork is drawn
    for fork in ("FORK_LEFT", "FORK_RIGHT"):
        after = events | {EVENT_ID[fork]}
        for step in _STORY[_BEFORE_FORK:]:
            after = _check_step(ways, after, step, done)
        _check_all_can_be_met(ways, after)


def _check_step(ways: Ways, events: frozenset[int], step: _Step, done: set[tuple[Board, int]]) -> frozenset[int]:
    """Check one step of the story: the goal can be reached from every possible place, and not too early. Return the events then."""
    goal, scripts, then = step
    world = ways.world
    reached = ways.everywhere(events, ("BEDROOM", *world.start))
    for name, event in _OPENED_BY.items():
        is_open = event is None or EVENT_ID[event] in events
        if is_open != (name in reached):
            raise WorldError(f"{name} {'cannot be reached after' if is_open else 'can be reached before'} {event}")
    for name, tiles in reached.items():
        board = ways.board(name, events)
        if (board, tiles) not in done:
            done.add((board, tiles))
            _check_no_trap(name, board, tiles)
            _check_people(name, board, tiles)
        for script, openers in _FIRST_MET.items():
            places = story_places(board.map, board, script) & tiles
            if places and not any(EVENT_ID[event] in events for event in openers):
                raise WorldError(f"{name}: one can get to {script} before {' or '.join(openers)}")
    if goal not in reached:
        raise WorldError(f"{goal} cannot be reached when it has to be")
    board = ways.board(goal, events)
    for person in board.people:
        watching = person.movement == SIGHT and any(SCRIPT_ID[script] == person.script for script in scripts)
        if watching and not board.sight(person) & reached[goal]:
            raise WorldError(f"{goal}: nobody can walk past the person at ({person.x}, {person.y}), who looks out")
    for script in scripts:
        places = story_places(board.map, board, script)
        missing = reached[goal] & ~board.warps & ~board.sources(places)
        if not places or missing:
            where = next(board.tiles(missing), "anywhere")
            raise WorldError(f"{goal}: one cannot get to {script} from {where}")
    return events | {EVENT_ID[event] for event in then}


def _check_fork(route: MapData) -> None:
    """Check that the sign stands between the two gaps, below the wall, and that neither gap is in sight from it."""
    gaps = {gate.event: gate for gate in route.gates}
    sign = next((sign for sign in route.signs if sign.script == SCRIPT_ID["T_SIGN_FORK"]), None)
    left, right = (gaps.get(EVENT_ID[event]) for event in ("FORK_LEFT", "FORK_RIGHT"))
    if sign is None or left is None or right is None:
        raise WorldError("ROUTE_2 needs the sign T_SIGN_FORK and the gates FORK_LEFT and FORK_RIGHT")
    if left.y != right.y or sign.y <= left.y or min(sign.x - left.x, right.x - sign.x) < _FORK_DISTANCE:
        raise WorldError(f"ROUTE_2: the gaps must be at least {_FORK_DISTANCE} columns to each side of the sign, above it")


def _check_no_trap(name: str, board: Board, tiles: int) -> None:
    """Check that each open exit can be reached from every possible place on this map."""
    for to, exits in _exits(board).items():
        if exits & tiles:
            missing = tiles & ~board.warps & ~board.sources(exits & tiles)
            if missing:
                raise WorldError(f"{name}: from {next(board.tiles(missing))} one cannot get back to {MAPS[to]}")


def _exits(board: Board) -> dict[int, int]:
    """Return the tiles that lead to each map."""
    found: dict[int, int] = {}
    for warp in board.map.warps:
        found[warp.to] = found.get(warp.to, 0) | board.bit(warp.x, warp.y)
    return found


def _check_people(name: str, board: Board, tiles: int) -> None:
    """Check that no wandering person cuts off a tile, and no two cut off an exit. Ledges count as walls here."""
    walkers = [(person, board.square(person)) for person in board.people if person.movement == WANDER]
    if not walkers:
        return
    start = tiles & ~board.warps
    taken = 0
    for _, square in walkers:
        taken |= square
    calm = start & ~taken
    if not calm:
        raise WorldError(f"{name}: people can walk everywhere")
    home = calm & -calm
    whole = board.reach(home, hops=False)
    exits = [exit_tiles & whole for exit_tiles in _exits(board).values() if exit_tiles & whole]
    narrow = []
    for person, square in walkers:
        narrow.append(board.tight(square & whole))
        cut = board.cut_by(person, whole)
        if cut is not None:
            raise WorldError(f"{name}: the person at ({person.x}, {person.y}) can cut the way by standing at {cut}")
    for (one, one_tight), (other, other_tight) in combinations(zip(walkers, narrow, strict=True), 2):
        # Two people who cannot touch cut a path only where each stands between walls; two who can make a wall together.
        one_tiles = one_tight | one[1] & board.grown(other[1])
        other_tiles = other_tight | other[1] & board.grown(one[1])
        for tile in board.tiles(one_tiles):
            for other_tile in board.tiles(other_tiles):
                seen = board.reach(home, board.bit(*tile) | board.bit(*other_tile), hops=False)
                if not all(exit_tiles & seen for exit_tiles in exits):
                    raise WorldError(f"{name}: people at {tile} and {other_tile} can cut the way together")


def _check_all_can_be_met(ways: Ways, events: frozenset[int]) -> None:
    """Check that at the end everybody can be talked to, and every sign read."""
    reached = ways.everywhere(events, ("BEDROOM", *ways.world.start))
    for name, tiles in reached.items():
        board = ways.board(name, events)
        entries: list[Person | Sign] = [*board.people, *board.map.signs]
        for entry in entries:
            if not board.beside(entry.x, entry.y) & tiles & ~board.warps:
                raise WorldError(f"{name}: one cannot get beside what is at ({entry.x}, {entry.y})")


def _arrivals(world: World) -> Iterator[tuple[str, str, Tile]]:
    """Yield (what leads there, map, tile) of every place where the player can appear."""
    yield "the start", "BEDROOM", world.start
    yield "the place to wake up", MAPS[world.heal[0]], world.heal[1:]
    for nurse in world.maps["CENTER"].people:
        if nurse.script == SCRIPT_ID["T_NURSE"]:
            yield "the nurse", "CENTER", (nurse.x, nurse.y + 1)
    for name, game_map in world.maps.items():
        for warp in game_map.warps:
            yield f"{name}'s warp at ({warp.x}, {warp.y})", MAPS[warp.to], (warp.to_x, warp.to_y)


def _check_maps(world: World) -> None:
    """Check each map by itself, and the graph of all maps."""
    if set(world.maps) != set(MAPS):
        raise WorldError(f"the maps must be {', '.join(MAPS)}")
    appear: dict[str, list[Tile]] = {name: [] for name in MAPS}
    for label, name, (x, y) in _arrivals(world):
        game_map = world.maps[name]
        inside = x < game_map.width and y < game_map.height
        if not inside or is_solid(game_map.at(x, y)) or is_ledge(game_map.at(x, y)) or is_warp(game_map.at(x, y)):
            raise WorldError(f"{label} leads to ({x}, {y}) in {name}, which is solid, a ledge, a warp or outside")
        appear[name].append((x, y))
    everything = frozenset(EVENT_ID.values())
    for name, game_map in world.maps.items():
        _check_map(name, game_map)
        board = Board(game_map, everything)
        busy = board.mask(appear[name]) | board.warps
        for person in game_map.people:
            tiles = board.square(person) if person.movement == WANDER else board.bit(person.x, person.y)
            if tiles & busy:
                raise WorldError(f"{name}: the person at ({person.x}, {person.y}) can stand where one arrives or leaves")


def _check_map(name: str, game_map: MapData) -> None:
    warps = {(warp.x, warp.y) for warp in game_map.warps}
    if {MAPS[warp.to] for warp in game_map.warps} != set(CONNECTIONS[name]):
        raise WorldError(f"{name} must lead to {', '.join(CONNECTIONS[name])}")
    doors = {(i % game_map.width, i // game_map.width) for i, metatile in enumerate(game_map.layout) if is_warp(metatile)}
    if doors != warps:
        raise WorldError(f"{name}: {sorted(doors ^ warps)} are warps or look like warps, but not both")
    for sign in game_map.signs:
        if not is_solid(game_map.at(sign.x, sign.y)):
            raise WorldError(f"{name}: the sign at ({sign.x}, {sign.y}) is not on a solid tile")
    for gate in game_map.gates:
        if is_solid(game_map.at(gate.x, gate.y)) or not is_solid(gate.closed):
            raise WorldError(f"{name}: the gate at ({gate.x}, {gate.y}) does not close anything")
    for person in game_map.people:
        if person.movement == WANDER and is_solid(game_map.at(person.x, person.y)):
            raise WorldError(f"{name}: the person at ({person.x}, {person.y}) wanders and stands on a solid tile")
    if len({person.sprite for person in game_map.people}) > _MOST_SPRITES:
        raise WorldError(f"{name}: more than {_MOST_SPRITES} kinds of people")
    for kind, entries in (("people", game_map.people), ("signs", game_map.signs), ("gates", game_map.gates)):
        if len({(entry.x, entry.y) for entry in entries}) != len(entries):
            raise WorldError(f"{name}: two {kind} are in one place")
    if game_map.mark is not None and not is_grass(game_map.at(*game_map.mark)):
        raise WorldError(f"{name}: the mark {game_map.mark} is not in tall grass")
    north = {"TOWN": "ROUTE_1", "ROUTE_1": "TOWN_2", "TOWN_2": "ROUTE_2"}.get(name)
    if any(warp.y for warp in game_map.warps if north is not None and warp.to == MAP_ID[north]):
        raise WorldError(f"{name}: one must leave to {north} at the top edge")
