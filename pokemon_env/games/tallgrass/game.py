"""Tallgrass, the bundled game: its memory as a state, and its milestones.

The game keeps everything relevant in one block of work RAM at fixed addresses, documented in tallgrass/README.md. A
snapshot is that block; the offsets below are relative to its start.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np

from pokemon_env import path_finding
from pokemon_env.emulators.emulator import Emulator, Memory
from pokemon_env.games.base import Game, empty_state
from pokemon_env.games.tallgrass import starts, tools
from pokemon_env.games.tallgrass.names import (
    BATTLES,
    COMPASS,
    EVENTS,
    FACINGS,
    MAPS,
    MENUS,
    MOVES,
    OBJECTIVES,
    SCRIPTS,
    SPECIES,
    SPRITES,
    TRAINERS,
    WISHES,
    name_of,
)
from pokemon_env.games.tallgrass.worlds.image import NO_COMPASS, STILL
from pokemon_env.milestones import Milestone
from pokemon_env.rom import Rom, RomHeader
from pokemon_env.tiers import Tier

State = dict[str, Any]

BLOCK = 0xC100
BLOCK_LENGTH = 0x700
WATCH_LENGTH = 0x20  # up to and including the event flags
LAYOUT_VERSION = 1

_EVENTS = 0x18
_RNG = 0x20
_NAME = 0x24
_BAG = 0x2C
_PARTY_COUNT = 0x30
_COMPASS = 0x34
_TIER_FLAGS = 0x35
_WORLD = 0x36
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
_NO_MARKS = ((0, 0), (0xFF, 0xFF))
_WANDERS, _WATCHES = 1, 3  # how people move
_QUICK_FRAMES = 3  # a press that is not part of an episode

LEGEND = {
    ".": "floor",
    ",": "tall grass: monsters live here",
    "v": "ledge: hopped over from above, never climbed",
    "D": "warp: door, stairs, mat, road",
    "#": "solid",
    "P": "person: solid",
    "@": "the player",
}
# The class of a metatile follows from its id: 00-1F floor, 20-27 grass, 28-2F ledge, 30-3F warp, from 40 on solid.
_ASCII = bytes(
    ord("." if code < 0x20 else "," if code < 0x28 else "v" if code < 0x30 else "D" if code < 0x40 else "#") for code in range(256)
)


def _milestone(name: str, event: str, description: str) -> Milestone:
    """Return a milestone that is reached when the game sets an event's flag."""
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
    has_worlds = True
    policy_dir = Path(__file__).resolve().parents[3] / "tallgrass" / "policies"
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
        _milestone("SECOND_TOWN", "SECOND_TOWN", "Take the road through the grass to the second town."),
        _milestone("HEALED", "HEALED", "Have the nurse in the second town's centre look after the monsters."),
        _milestone("ROUTE_2", "ROUTE_2", "Leave the second town by the road north."),
        _milestone("TRAINER_BEATEN", "TRAINER_BEATEN", "Pass the wall by its open gap and beat the trainer behind it."),
        _milestone("GYM_ENTERED", "GYM_ENTERED", "Enter the gym."),
        _milestone("GYM_TRAINER_BEATEN", "GYM_TRAINER_BEATEN", "Beat the trainer in the gym's maze."),
        _milestone("LEADER_BEATEN", "LEADER_BEATEN", "Beat the gym's leader."),
        _milestone("BADGE", "BADGE", "Receive the badge from the guide at the gym's entrance."),
    )

    def matches(self, header: RomHeader) -> bool:
        return header.title == "TALLGRASS"

    def at_rest(self, memory: Memory) -> bool:
        head = memory.read(BLOCK, 5)
        return head[:2] == b"TG" and head[3] != 0 and head[4] == 0

    def watch(self, memory: Memory) -> bytes:
        return memory.read(BLOCK, WATCH_LENGTH)

    def snapshot(self, memory: Memory) -> bytes:
        block = bytearray(memory.read(BLOCK, BLOCK_LENGTH))
        # The random generator advances in every frame, and `decode` does not read it. With it no two snapshots would be equal, and
        # no cached answer of an expert could be found again.
        block[_RNG : _RNG + 4] = bytes(4)
        return bytes(block)

    def seed(self, memory: Memory, seed: int) -> None:
        memory.write(BLOCK + _RNG, (seed & 0xFFFFFFFF).to_bytes(4, "little"))

    def cartridge_ram(self, rom: Rom, world: int, tier: Tier, start_milestone: str | None, rng: np.random.Generator) -> bytes:
        return starts.cartridge_ram(rom, world, tier, start_milestone, rng)

    def play_opening(self, emulator: Emulator, tier: Tier, start_milestone: str, rng: np.random.Generator) -> None:
        def press(button: str) -> None:
            emulator.press(button, _QUICK_FRAMES, _QUICK_FRAMES)
            for _ in range(self.settle_frames):
                if self.at_rest(emulator):
                    break
                emulator.tick(1)

        starts.play_opening(press, emulator, tier, start_milestone, rng)

    def decode(self, snapshot: bytes) -> State:
        """Return the state in a snapshot; raises ValueError if it is not one.

        In addition to the keys of every game, "game" holds `objective` and `compass` (as on the strip; "N" to "NW", or
        None), `clock_target`, `wish`, `events` {name: bool}, `text` ({"script": name, "page": n} of the open text, or None),
        `world` (its number) and `tier_flags` (of its image: 1 people stand still, 2 hides, 16 no
        compass). "map" holds `tiles` (metatile ids
        by row), `gates`, `mark` (a place in tall grass, or None), and `view`, the part of the map that is on the screen as
        [left, top, right, bottom]. All people of the map are listed, visible or not, with their `home`, the `range` of their
        wandering (0 for people that never move) and how many tiles ahead they watch (`sight`). People and signs have the
        number and the name of their script.
        """
        if len(snapshot) != BLOCK_LENGTH:
            raise ValueError(f"a snapshot of Tallgrass has {BLOCK_LENGTH} bytes, this one has {len(snapshot)}.")
        (magic, version, mode, _, place, x, y, facing, text_open, text_id, text_page, menu, cursor, menu_items, menu_value,
         clock_target, wish, money, badges, _, objective) = _HEAD(snapshot)  # fmt: skip
        if magic != b"TG":
            return empty_state()  # the game has not set itself up yet
        if version != LAYOUT_VERSION:
            raise ValueError(f"memory layout {version} of Tallgrass is not known here, only {LAYOUT_VERSION}: update both.")
        location = name_of(MAPS, place, "MAP") if mode >= _MODE_OVERWORLD else ""
        in_battle = mode == _MODE_BATTLE
        menu_name = MENUS[menu] if menu < len(MENUS) else f"menu_{menu}"
        flags = int.from_bytes(snapshot[_EVENTS : _EVENTS + 8], "little")
        return {
            "player": {
                "name": _text(snapshot[_NAME : _NAME + 8]),
                "position": {"x": x, "y": y},
                "location": location,
                "facing": name_of(FACINGS, facing, "facing"),
                "money": money,
                "party": [_monster(snapshot, _PARTY + _MONSTER_BYTES * i) for i in range(min(snapshot[_PARTY_COUNT], 6))],
            },
            "game": {
                "game_state": _game_state(mode, menu_name, text_open),
                "is_in_battle": in_battle,
                "dialog_text": _dialog(snapshot) if text_open else None,
                "text": {"script": _script(text_id), "page": text_page} if text_open else None,
                "badges": badges.bit_count(),
                "items": {"POTION": snapshot[_BAG], "BALL": snapshot[_BAG + 1]},
                "battle_info": _battle(snapshot) if in_battle else None,
                "menu": menu_name and {"name": menu_name, "cursor": cursor, "items": menu_items, "value": menu_value},
                "objective": name_of(OBJECTIVES, objective, "OBJECTIVE"),
                "clock_target": None if clock_target == _NOT_DRAWN else clock_target,
                "compass": None if snapshot[_TIER_FLAGS] & NO_COMPASS else _compass(snapshot[_COMPASS]),
                "wish": None if wish == _NOT_DRAWN else name_of(WISHES, wish, "WISH"),
                "events": {name: bool(flags >> number & 1) for number, name in enumerate(EVENTS, start=1)},
                "world": int.from_bytes(snapshot[_WORLD : _WORLD + 4], "little"),
                "tier_flags": snapshot[_TIER_FLAGS],
            },
            "map": _map(snapshot, location, x, y, flags) if location else empty_state()["map"],
        }

    def optimal_actions(self, state: State) -> frozenset[str] | None:
        # Imported here, because few callers need it and it makes worlds.
        from pokemon_env.games.tallgrass import optimal

        return optimal.optimal_actions(state)

    def tools(self, state: State | None = None) -> dict[str, Callable[..., Any]]:
        return {**path_finding.TOOLS, **tools.TOOLS}


def _script(number: int) -> str | None:
    return SCRIPTS[number] if number < len(SCRIPTS) else None


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii", "replace")


def _compass(direction: int) -> str | None:
    return COMPASS[direction] if direction < len(COMPASS) else None


def _dialog(snapshot: bytes) -> str:
    """Return the page of text on the screen: one line, or two with a line break between them."""
    lines = snapshot[_TEXT : _TEXT + 40].split(b"\0")[:2]
    return b"\n".join(filter(None, lines)).decode("ascii", "replace")


def _game_state(mode: int, menu: str | None, text_open: int) -> str:
    if mode == _MODE_BATTLE:
        return "battle"
    if mode <= _MODE_TITLE:
        return "title"
    if menu is not None or mode == _MODE_NAME:
        return "menu"  # also while a text asks a question: the next press belongs to the menu
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
        "kind": name_of(BATTLES, kind, "battle"),
        "trainer": trainer,
        "trainer_name": TRAINERS[trainer - 1] if 0 < trainer <= len(TRAINERS) else None,
        "active": active,
        "enemy": _monster(snapshot, _ENEMY),
    }


def _map(snapshot: bytes, location: str, x: int, y: int, flags: int) -> dict[str, Any]:
    width, height, _, _, _, _, n_warps, n_people, n_signs, n_gates, mark_x, mark_y = snapshot[_MAP : _MAP + 12]
    # The limits keep indices of a damaged block inside its arrays.
    layout = snapshot[_LAYOUT : _LAYOUT + min(width * height, 1024)]
    rows = list(_rows(layout, width))
    still = snapshot[_TIER_FLAGS] & STILL
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
                    "sprite": name_of(SPRITES, sprite, "SPRITE"),
                    "facing": name_of(FACINGS, facing, "facing"),
                    "script": script,
                    "script_name": _script(script),
                    "home": [home_x, home_y],
                    "range": reach if movement == _WANDERS and not still else 0,
                    "sight": reach if movement == _WATCHES else 0,
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
            {"x": wx, "y": wy, "to": name_of(MAPS, to, "MAP"), "to_x": to_x, "to_y": to_y}
            for wx, wy, to, to_x, to_y, _ in _records(snapshot, _WARPS, 6, min(n_warps, 12))
        ],
        "people": people,
        "signs": [
            {"x": sx, "y": sy, "script": script, "script_name": _script(script)}
            for sx, sy, script in _records(snapshot, _SIGNS, 3, min(n_signs, 12))
        ],
        "gates": [
            {"x": gx, "y": gy, "opened_by": name_of(EVENTS, event - 1, "EVENT"), "open": bool(flags >> event & 1)}
            for gx, gy, event, _ in _records(snapshot, _GATES, 4, min(n_gates, 8))
        ],
        "mark": None if (mark_x, mark_y) in _NO_MARKS else [mark_x, mark_y],
        "tiles": [list(row) for row in _split(layout, width)],
        # The screen shows 10 x 8 tiles, the player in the fifth column of the fifth row.
        "view": [x - 4, y - 4, x + 5, y + 3],
    }


@lru_cache(maxsize=64)
def _rows(layout: bytes, width: int) -> tuple[str, ...]:
    """Return a layout as ascii rows, without people: the same as long as no gate opens."""
    return tuple(row.decode("ascii") for row in _split(layout.translate(_ASCII), width))


def _split(layout: bytes, width: int) -> list[bytes]:
    return [layout[start : start + width] for start in range(0, len(layout), max(width, 1))]


def _put(rows: list[str], x: int, y: int, char: str) -> None:
    if y < len(rows) and x < len(rows[y]):
        rows[y] = f"{rows[y][:x]}{char}{rows[y][x + 1 :]}"


def _records(snapshot: bytes, offset: int, length: int, count: int) -> list[bytes]:
    return [snapshot[start : start + length] for start in range(offset, offset + length * count, length)]


GAME = Tallgrass()
