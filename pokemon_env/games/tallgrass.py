"""Tallgrass, the bundled game: its memory as a state, its milestones, and tools for its expert policies.

The game keeps all that matters in one block of work RAM at fixed addresses, documented in tallgrass/README.md. A
snapshot is that block; offsets below are relative to its start.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from struct import Struct
from typing import Any

from pokemon_env import path_finding
from pokemon_env.emulator import Memory, RomHeader
from pokemon_env.games.base import Game, empty_state
from pokemon_env.milestones import Milestone

State = dict[str, Any]

BLOCK = 0xC100
BLOCK_LENGTH = 0x700
WATCH_LENGTH = 0x20  # up to and with the event flags
LAYOUT_VERSION = 1

_EVENTS = 0x18
_RNG = 0x20
_NAME = 0x24
_BAG = 0x2C
_PARTY_COUNT = 0x30
_PARTY = 0x40
_BATTLE = 0xD0
_ENEMY = 0xD8
_MAP = 0x100
_WARPS = 0x110
_PEOPLE = 0x160
_SIGNS = 0x1E0
_GATES = 0x210
_TEXT = 0x230
_LAYOUT = 0x300

# The head of the block: magic, layout version, mode, ..., objective; and a monster.
_HEAD = Struct("<2s 16B H B H B").unpack_from
_MONSTER_BYTES = 24
_MONSTER = Struct("<8B H 4B 4B 4B 2x").unpack_from

_MODE_TITLE, _MODE_NAME, _MODE_INTRO, _MODE_OVERWORLD, _MODE_BATTLE = 1, 2, 3, 4, 5
_NOT_DRAWN = 0xFF
_MENUS = (None, "name_grid", "clock", "yes_no", "start", "party", "bag", "battle", "moves", "battle_bag", "title")
_FACINGS = ("down", "up", "left", "right")
_WISHES = ("LEAF", "EMBER", "WAVE")
_BATTLES = (None, "wild", "trainer")

MAPS = (
    "BEDROOM", "HOUSE_1F", "TOWN", "RIVAL_1F", "RIVAL_2F", "LAB", "ROUTE_1", "TOWN_2", "CENTER", "ROUTE_2", "GYM",
)  # fmt: skip
EVENTS = (
    "GAME_STARTED", "NAME_SET", "INTRO_DONE", "OUT_OF_BED", "CLOCK_SET", "WENT_DOWNSTAIRS", "TALKED_MOM", "LEFT_HOUSE",
    "RIVAL_HOUSE", "RIVAL_BEDROOM", "MET_RIVAL", "EXIT_RIVAL_HOUSE", "LAB_ENTERED", "GOT_STARTER", "RIVAL_BEATEN",
    "EXIT_LAB", "ROUTE_1", "FIRST_CATCH",
)  # fmt: skip
"""Event n (from 1) is EVENTS[n - 1], bit n % 8 of byte n // 8 of the flags."""
OBJECTIVES = (
    "NONE", "PRESS_START", "ENTER_NAME", "READ_ON", "GET_UP", "SET_CLOCK", "GO_DOWN", "TALK_MOM", "GO_OUT",
    "VISIT_RIVAL", "GO_UPSTAIRS", "TALK_RIVAL", "LEAVE_RIVAL", "GO_LAB", "TAKE_LEAF", "TAKE_EMBER", "TAKE_WAVE",
    "BATTLE_RIVAL", "LEAVE_LAB", "GO_NORTH", "CATCH_ONE", "GET_BALLS", "ALL_DONE",
)  # fmt: skip
SPRITES = (
    "PLAYER", "MOM", "RIVAL", "PROF", "MAN", "WOMAN", "KID", "ELDER", "BALL", "NURSE", "LEADER", "TRAINER",
)  # fmt: skip
SPECIES = (  # (name, type); ids from 1
    ("SPROUTLE", "LEAF"), ("CINDKIT", "EMBER"), ("PUDDLEP", "WAVE"), ("NIBBIT", "NORMAL"), ("FLITTER", "LEAF"),
    ("GLOWBUG", "EMBER"), ("MUDFIN", "WAVE"), ("BOULDRAM", "NORMAL"),
)  # fmt: skip
MOVES = (  # (name, type, power, accuracy in percent); ids from 1
    ("BUMP", "NORMAL", 35, 95), ("VINE", "LEAF", 40, 95), ("SPARK", "EMBER", 40, 95), ("SPRAY", "WAVE", 40, 95),
    ("SLAM", "NORMAL", 70, 55), ("GROWL", "NORMAL", 0, 100), ("REST", "NORMAL", 0, 100), ("FLAIL", "NORMAL", 30, 100),
)  # fmt: skip
BEATS = {"LEAF": "WAVE", "WAVE": "EMBER", "EMBER": "LEAF"}
"""The type that a type does double damage to; the other way round it does half."""
CONNECTIONS = {
    "BEDROOM": ("HOUSE_1F",),
    "HOUSE_1F": ("BEDROOM", "TOWN"),
    "TOWN": ("HOUSE_1F", "RIVAL_1F", "LAB", "ROUTE_1"),
    "RIVAL_1F": ("TOWN", "RIVAL_2F"),
    "RIVAL_2F": ("RIVAL_1F",),
    "LAB": ("TOWN",),
    "ROUTE_1": ("TOWN",),
}
"""Which maps one gets to from which by one warp."""

LEGEND = {
    ".": "floor",
    ",": "tall grass: monsters live here",
    "v": "ledge: hopped over from above, never climbed",
    "D": "warp: door, stairs, mat, road",
    "#": "solid",
    "P": "person: solid",
    "@": "the player",
}
# Metatile ids say what they are: 00-1F floor, 20-27 grass, 28-2F ledge, 30-3F warp, from 40 on solid.
_ASCII = bytes(
    ord("." if code < 0x20 else "," if code < 0x28 else "v" if code < 0x30 else "D" if code < 0x40 else "#") for code in range(256)
)


def _milestone(name: str, event: str, description: str) -> Milestone:
    """A milestone that is reached when the game sets an event's flag."""
    number = EVENTS.index(event) + 1
    place, bit = _EVENTS + number // 8, 1 << number % 8

    def completed(before: bytes | None, now: bytes) -> bool:
        return bool(now[place] & bit) and (before is None or not before[place] & bit)

    return Milestone(name, description, completed)


class Tallgrass(Game):
    """See the module."""

    id = "tallgrass"
    name = "Tallgrass"
    boot_frames = 240
    settle_frames = 60
    policy_dir = Path(__file__).resolve().parents[2] / "tallgrass" / "policies"
    milestones = (
        _milestone("GAME_RUNNING", "GAME_STARTED", "Press START on the title screen."),
        _milestone("PLAYER_NAME_SET", "NAME_SET", "Enter a name of at least one letter and confirm it."),
        _milestone("INTRO_CUTSCENE_COMPLETE", "INTRO_DONE", "Read the professor's welcome to its end."),
        _milestone("PLAYER_BEDROOM", "OUT_OF_BED", "Get out of bed, upstairs in the player's house."),
        _milestone("CLOCK_SET", "CLOCK_SET", "Set the clock on the bedroom's wall to the hour that the sun shows."),
        _milestone("GO_DOWNSTAIRS_TO_1F", "WENT_DOWNSTAIRS", "Go down the stairs."),
        _milestone("LEAVE_HOUSE", "LEFT_HOUSE", "Talk to Mom, then leave the house by the mat."),
        _milestone("RIVAL_HOUSE", "RIVAL_HOUSE", "Enter the house of Bram, the rival."),
        _milestone("RIVAL_BEDROOM", "RIVAL_BEDROOM", "Go up to Bram's room."),
        _milestone("EXIT_RIVAL_HOUSE", "EXIT_RIVAL_HOUSE", "Talk to Bram, then leave his house."),
        _milestone("LAB_ENTERED", "LAB_ENTERED", "Enter the laboratory."),
        _milestone("STARTER_CHOSEN", "GOT_STARTER", "Take the monster that the strip asks for, of three on the table."),
        _milestone("RIVAL_BATTLE_WON", "RIVAL_BEATEN", "Challenge Bram in the laboratory and beat his monster."),
        _milestone("EXIT_LAB", "EXIT_LAB", "Leave the laboratory."),
        _milestone("ROUTE_1", "ROUTE_1", "Take the road north out of the town."),
        _milestone("FIRST_CATCH", "FIRST_CATCH", "Catch a monster in the tall grass."),
    )

    def matches(self, header: RomHeader) -> bool:
        return header.title == "TALLGRASS"

    def at_rest(self, memory: Memory) -> bool:
        head = memory.read(BLOCK, 5)
        return head[:2] == b"TG" and head[3] != 0 and head[4] == 0

    def watch(self, memory: Memory) -> bytes:
        return memory.read(BLOCK, WATCH_LENGTH)

    def snapshot(self, memory: Memory) -> bytes:
        return memory.read(BLOCK, BLOCK_LENGTH)

    def seed(self, memory: Memory, seed: int) -> None:
        memory.write(BLOCK + _RNG, (seed & 0xFFFFFFFF).to_bytes(4, "little"))

    def decode(self, snapshot: bytes) -> State:
        """Return the state in a snapshot; raises ValueError if it is none.

        Beyond what every game has, "game" holds `objective` (what the strip says), `clock_target`, `wish` and `events`
        {name: bool}; "map" holds `tiles` (metatile ids by row), `gates`, and `view`, the part of the map that is on
        the screen as [left, top, right, bottom]. All people of the map are listed, seen or not, with their `home`.
        """
        if len(snapshot) != BLOCK_LENGTH:
            raise ValueError(f"a snapshot of Tallgrass has {BLOCK_LENGTH} bytes, this one has {len(snapshot)}.")
        (magic, version, mode, _, place, x, y, facing, text_open, _, _, menu, cursor, menu_items, menu_value,
         clock_target, wish, money, badges, _, objective) = _HEAD(snapshot)  # fmt: skip
        if magic != b"TG":
            return empty_state()  # the game has not set itself up yet
        if version != LAYOUT_VERSION:
            raise ValueError(f"memory layout {version} of Tallgrass is not known here, only {LAYOUT_VERSION}: update both.")
        location = _name(MAPS, place, "MAP") if mode >= _MODE_OVERWORLD else ""
        in_battle = mode == _MODE_BATTLE
        menu_name = _MENUS[menu] if menu < len(_MENUS) else f"menu_{menu}"
        flags = int.from_bytes(snapshot[_EVENTS : _EVENTS + 8], "little")
        return {
            "player": {
                "name": _text(snapshot[_NAME : _NAME + 8]),
                "position": {"x": x, "y": y},
                "location": location,
                "facing": _name(_FACINGS, facing, "facing"),
                "money": money,
                "party": [_monster(snapshot, _PARTY + _MONSTER_BYTES * i) for i in range(min(snapshot[_PARTY_COUNT], 6))],
            },
            "game": {
                "game_state": _game_state(mode, menu_name, text_open),
                "is_in_battle": in_battle,
                "dialog_text": _dialog(snapshot) if text_open else None,
                "badges": badges.bit_count(),
                "items": {"POTION": snapshot[_BAG], "BALL": snapshot[_BAG + 1]},
                "battle_info": _battle(snapshot) if in_battle else None,
                "menu": menu_name and {"name": menu_name, "cursor": cursor, "items": menu_items, "value": menu_value},
                "objective": _name(OBJECTIVES, objective, "OBJECTIVE"),
                "clock_target": None if clock_target == _NOT_DRAWN else clock_target,
                "wish": None if wish == _NOT_DRAWN else _name(_WISHES, wish, "WISH"),
                "events": {name: bool(flags >> number & 1) for number, name in enumerate(EVENTS, start=1)},
            },
            "map": _map(snapshot, location, x, y, flags) if location else empty_state()["map"],
        }

    def tools(self, state: State | None = None) -> dict[str, Callable[..., Any]]:
        own = (go_to_map, talk_to, close_what_is_open, answer, move_cursor, battle_action, pace_in_grass)
        return {**path_finding.TOOLS, **{tool.__name__: tool for tool in own}}


def _name(names: tuple[str, ...], number: int, kind: str) -> str:
    return names[number] if number < len(names) else f"{kind}_{number}"


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii", "replace")


def _dialog(snapshot: bytes) -> str:
    """The page of text on the screen: one line, or two with a line break between them."""
    lines = snapshot[_TEXT : _TEXT + 40].split(b"\0")[:2]
    return b"\n".join(filter(None, lines)).decode("ascii", "replace")


def _game_state(mode: int, menu: str | None, text_open: int) -> str:
    if mode == _MODE_BATTLE:
        return "battle"
    if mode <= _MODE_TITLE:
        return "title"
    if menu is not None or mode == _MODE_NAME:
        return "menu"  # also under a text that asks something: the next press belongs to the menu
    if text_open:
        return "dialog"
    return "title" if mode == _MODE_INTRO else "overworld"


def _monster(snapshot: bytes, offset: int) -> dict[str, Any]:
    (species, level, hp, max_hp, attack, defense, speed, status, xp, *slots) = _MONSTER(snapshot, offset)
    name, kind = SPECIES[species - 1] if 1 <= species <= len(SPECIES) else (f"SPECIES_{species}", "NORMAL")
    used = [i for i in range(4) if slots[i]]
    return {
        "species_name": name,
        "level": level,
        "current_hp": hp,
        "max_hp": max_hp,
        "status": "OK" if status == 0 else f"STATUS_{status}",
        "types": [kind],
        "moves": [MOVES[slots[i] - 1][0] if slots[i] <= len(MOVES) else f"MOVE_{slots[i]}" for i in used],
        "move_pp": [slots[4 + i] for i in used],
        "move_max_pp": [slots[8 + i] for i in used],
        "nickname": name,
        "attack": attack,
        "defense": defense,
        "speed": speed,
        "xp": xp,
    }


def _battle(snapshot: bytes) -> dict[str, Any]:
    kind, trainer, active = snapshot[_BATTLE : _BATTLE + 3]
    return {
        "kind": _name(_BATTLES, kind, "battle"),
        "trainer": trainer,
        "active": active,
        "enemy": _monster(snapshot, _ENEMY),
    }


def _map(snapshot: bytes, location: str, x: int, y: int, flags: int) -> dict[str, Any]:
    width, height, _, _, _, _, n_warps, n_people, n_signs, n_gates = snapshot[_MAP : _MAP + 10]
    # The limits keep what a damaged block says inside its arrays.
    layout = snapshot[_LAYOUT : _LAYOUT + min(width * height, 1024)]
    rows = list(_rows(layout, width))
    people = []
    for i in range(min(n_people, 10)):
        px, py, sprite, facing, movement, reach, script, _, home_x, home_y, visible, _ = snapshot[
            _PEOPLE + 12 * i : _PEOPLE + 12 * i + 12
        ]
        if visible:
            people.append(
                {
                    "x": px,
                    "y": py,
                    "sprite": _name(SPRITES, sprite, "SPRITE"),
                    "facing": _name(_FACINGS, facing, "facing"),
                    "script": script,
                    "home": [home_x, home_y],
                    "range": reach if movement == 1 else 0,
                }
            )
            _put(rows, px, py, "P")
    _put(rows, x, y, "@")
    return {
        "location": location,
        "player_coords": [x, y],
        "width": width,
        "height": len(rows),
        "ascii_map": rows,
        "legend": LEGEND.copy(),
        "warps": [
            {"x": wx, "y": wy, "to": _name(MAPS, to, "MAP"), "to_x": to_x, "to_y": to_y}
            for wx, wy, to, to_x, to_y, _ in _records(snapshot, _WARPS, 6, min(n_warps, 12))
        ],
        "people": people,
        "signs": [{"x": sx, "y": sy, "script": script} for sx, sy, script in _records(snapshot, _SIGNS, 3, min(n_signs, 12))],
        "gates": [
            {"x": gx, "y": gy, "opened_by": _name(EVENTS, event - 1, "EVENT"), "open": bool(flags >> event & 1)}
            for gx, gy, event, _ in _records(snapshot, _GATES, 4, min(n_gates, 8))
        ],
        "tiles": [list(row) for row in _split(layout, width)],
        # The screen shows 10 x 8 tiles, the player in the fifth column of the fifth row.
        "view": [x - 4, y - 4, x + 5, y + 3],
    }


@lru_cache(maxsize=64)
def _rows(layout: bytes, width: int) -> tuple[str, ...]:
    """A layout as ascii rows, without people: the same for as long as no gate opens."""
    return tuple(row.decode("ascii") for row in _split(layout.translate(_ASCII), width))


def _split(layout: bytes, width: int) -> list[bytes]:
    return [layout[start : start + width] for start in range(0, len(layout), max(width, 1))]


def _put(rows: list[str], x: int, y: int, char: str) -> None:
    if y < len(rows) and x < len(rows[y]):
        rows[y] = f"{rows[y][:x]}{char}{rows[y][x + 1 :]}"


def _records(snapshot: bytes, offset: int, length: int, count: int) -> list[bytes]:
    return [snapshot[start : start + length] for start in range(offset, offset + length * count, length)]


# Tools for policies, beside path_finding's. Each takes the state and returns an action, or None if there is none.


def close_what_is_open(state: State) -> str | None:
    """Read on in a text, leave a menu, play on in a battle. None if the player can walk."""
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
    """Walk toward the map of that name, through others where need be. None if one is there, or no way leads there."""
    target = _next_map(state["map"]["location"], name)
    return path_finding.find_path_action_to_any(
        state, [(warp["x"], warp["y"]) for warp in state["map"]["warps"] if warp["to"] == target]
    )


@lru_cache(maxsize=256)
def _next_map(location: str, name: str) -> str | None:
    """The first map on the shortest way from one map to another."""
    first = {location: None}
    queue = [location]
    for here in queue:
        for there in CONNECTIONS.get(here, ()):
            if there not in first:
                first[there] = there if here == location else first[here]
                queue.append(there)
    return first.get(name)


def talk_to(state: State, sprite: str, map_name: str) -> str | None:
    """Go to the person of that sprite on that map and speak to them; where they are out of sight, look near their home.

    None if there is no such person on the map now.
    """
    if state["map"]["location"] != map_name:
        return go_to_map(state, map_name)
    for person in state["map"]["people"]:
        if person["sprite"] == sprite:
            if path_finding.in_view(state, person["x"], person["y"]):
                return path_finding.face_and_press(state, person["x"], person["y"])
            return path_finding.find_path_action(state, *person["home"])
    return None


def pace_in_grass(state: State) -> str | None:
    """Go into the nearest tall grass and walk to and fro in it. None if none can be reached."""
    x, y = state["map"]["player_coords"]
    tiles = state["map"]["tiles"]
    rows = state["map"]["ascii_map"]
    if 0x20 <= tiles[y][x] < 0x28:
        for action, dx, dy in (("up", 0, -1), ("down", 0, 1), ("left", -1, 0), ("right", 1, 0)):
            if 0 <= x + dx < len(rows[0]) and 0 <= y + dy < len(rows) and rows[y + dy][x + dx] == ",":
                return action
    return path_finding.find_path_action_to_any(state, path_finding.find_tiles(state, ","))


def battle_action(state: State, catch: bool = False) -> str | None:
    """Play a turn: against a trainer the move that hurts most; run from a wild monster, or with `catch` catch it.

    Before that it is weakened, with the move that hurts it least, until no more than half of its HP is left.
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
    fight, ball, run = 0, 2, 3
    command = fight
    if wild and not catch:
        command = run
    elif wild and 2 * enemy["current_hp"] <= enemy["max_hp"]:
        command = ball
    if menu == "battle":
        return move_cursor(state, command, columns=2)
    if command != fight:
        return "b"
    slot = _best_move(state["player"]["party"][game["battle_info"]["active"]], enemy, gently=wild)
    return "b" if slot is None else move_cursor(state, slot, columns=2)


def _best_move(monster: dict[str, Any], enemy: dict[str, Any], gently: bool) -> int | None:
    """The slot of the move that should hurt the enemy most (`gently`: least), of those that do and have PP.

    If none of these does, the first with PP: when all PP are gone, the game fights on without them. None if there are none.
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


GAME = Tallgrass()
