"""Starts in the middle of the story, as bytes and booted in the game itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pokemon_env.emulators.emulator import Emulator
from pokemon_env.emulators.open_emulator import open_emulator
from pokemon_env.games.tallgrass import GAME
from pokemon_env.games.tallgrass.worlds import monsters, story
from pokemon_env.games.tallgrass.worlds.board import Board
from pokemon_env.games.tallgrass.worlds.generate import generate_world
from pokemon_env.games.tallgrass.worlds.image import World, pack, rom_world
from pokemon_env.games.tallgrass.worlds.stages import stage_block
from pokemon_env.rom import Rom

STAGED = tuple(story.MILESTONES)[3:]
OBJECTIVES = {
    "PLAYER_BEDROOM": {"GET_UP"}, "CLOCK_SET": {"SET_CLOCK"}, "GO_DOWNSTAIRS_TO_1F": {"GO_DOWN"}, "LEAVE_HOUSE": {"TALK_MOM"},
    "RIVAL_HOUSE": {"VISIT_RIVAL"}, "RIVAL_BEDROOM": {"GO_UPSTAIRS"}, "EXIT_RIVAL_HOUSE": {"TALK_RIVAL"},
    "LAB_ENTERED": {"GO_LAB"}, "STARTER_CHOSEN": {"TAKE_LEAF", "TAKE_EMBER", "TAKE_WAVE"},
    "RIVAL_BATTLE_WON": {"BATTLE_RIVAL"}, "EXIT_LAB": {"LEAVE_LAB"}, "ROUTE_1": {"GO_NORTH"}, "FIRST_CATCH": {"CATCH_ONE"},
    "SECOND_TOWN": {"GO_TOWN_2"}, "HEALED": {"HEAL"}, "ROUTE_2": {"GO_ROUTE_2"}, "TRAINER_BEATEN": {"BEAT_TRAINER"},
    "GYM_ENTERED": {"GO_GYM"}, "GYM_TRAINER_BEATEN": {"BEAT_GYM_TRAINER"}, "LEADER_BEATEN": {"BEAT_LEADER"},
    "BADGE": {"GET_BADGE"},
}  # fmt: skip
_OWN = {*range(0x00, 0x05), *range(0x09, 0x10), 0x17, *range(0x20, 0x24), *range(0x34, 0x40)}
COPIED = [i for i in range(208) if i not in _OWN]
"""Bytes of the block that the game takes over as they are; not texts, menus, the objective, random numbers, the compass."""


@pytest.fixture(scope="module")
def emulator(rom_path: Path):
    found = open_emulator(Rom.read(rom_path))
    yield found
    found.close()


@pytest.fixture(scope="module")
def worlds(rom_path: Path) -> list[World]:
    return [rom_world(rom_path.read_bytes()), *(generate_world(number) for number in (1, 7, 412, 1003, 10001))]


def boot(emulator: Emulator, world: World, block: bytes | None) -> int:
    """Switch on; return the frames until the game rests on the map."""
    emulator.power_on(pack(world, stage=block))
    for frames in range(1, 200):
        emulator.tick(1)
        if GAME.at_rest(emulator) and emulator.read(0xC103, 1)[0] == 4:
            return frames
    raise AssertionError("the game does not come to rest")


def press(emulator: Emulator, buttons: str) -> None:
    for button in buttons.split():
        emulator.press(button, 12, 12)


@pytest.mark.parametrize("natural", [True, False])
@pytest.mark.parametrize("milestone", STAGED)
def test_the_game_takes_a_start_over(emulator: Emulator, worlds: list[World], milestone: str, natural: bool) -> None:
    for number, world in enumerate(worlds):
        block = stage_block(world, milestone, np.random.default_rng(number), natural)
        assert boot(emulator, world, block) <= 60
        snapshot = GAME.snapshot(emulator)
        assert bytes(snapshot[i] for i in COPIED) == bytes(block[i] for i in COPIED)
        state = GAME.decode(snapshot)
        events = {name for name, is_set in state["game"]["events"].items() if is_set}
        done = [event for event in story.MILESTONES.values() if event in events]
        assert done == list(story.MILESTONES.values())[: list(story.MILESTONES).index(milestone)]
        assert state["game"]["objective"] in OBJECTIVES[milestone]
        expected = "dialog" if milestone == "STARTER_CHOSEN" else "overworld"
        assert state["game"]["game_state"] == expected
        emulator.tick(30)
        assert GAME.decode(GAME.snapshot(emulator))["game"]["game_state"] == expected, "something began by itself"


@pytest.mark.parametrize("milestone", STAGED)
def test_varied_starts_are_where_a_player_can_be(worlds: list[World], milestone: str) -> None:
    for world in worlds[:3]:
        places = set()
        for seed in range(60):
            block = stage_block(world, milestone, np.random.default_rng(seed), natural=False)
            number, x, y, facing = block[5:9]
            places.add((number, x, y))
            events = frozenset(n for n in range(64) if int.from_bytes(block[0x18:0x20], "little") >> n & 1)
            board = Board(world.maps[story.MAPS[number]], events)
            assert board.bit(x, y) & board.low
            assert not any((person.x, person.y) == (x, y) for person in board.people)
            assert facing < 4
            if milestone == "TRAINER_BEATEN":
                assert y > board.map.gates[0].y or y > max(gate.y for gate in board.map.gates)
        if milestone == "PLAYER_BEDROOM":
            assert places == {(0, *world.start)}
        else:
            assert len(places) > 15


def test_natural_starts_are_where_the_milestone_before_ends(worlds: list[World]) -> None:
    rng = np.random.default_rng(0)
    for world in worlds:
        for milestone, name, origin in (
            ("LEAVE_HOUSE", "HOUSE_1F", "BEDROOM"), ("STARTER_CHOSEN", "LAB", "TOWN"), ("ROUTE_1", "TOWN", "LAB"),
            ("TRAINER_BEATEN", "ROUTE_2", "TOWN_2"), ("GYM_TRAINER_BEATEN", "GYM", "ROUTE_2"),
        ):  # fmt: skip
            block = stage_block(world, milestone, rng, natural=True)
            arrivals = [w[3:6] for w in world.maps[origin].warps if w.to == story.MAP_ID[name]]
            assert block[5] == story.MAP_ID[name] and tuple(block[6:9]) in arrivals
        for milestone, name, script in (
            ("GO_DOWNSTAIRS_TO_1F", "BEDROOM", "T_CLOCK"), ("EXIT_LAB", "LAB", "T_RIVAL_LAB"), ("ROUTE_2", "CENTER", "T_NURSE"),
            ("BADGE", "GYM", "T_LEADER"),
        ):  # fmt: skip
            block = stage_block(world, milestone, rng, natural=True)
            dx, dy = story.STEPS[block[8]]
            entries = (*world.maps[name].people, *world.maps[name].signs)
            faced = next(entry for entry in entries if (entry.x, entry.y) == (block[6] + dx, block[7] + dy))
            assert faced.script == story.SCRIPT_ID[script]


def test_what_a_player_has_by_then(worlds: list[World]) -> None:
    """Party, bag, and what is drawn in the course of the story."""
    forks, wishes, names = set(), set(), set()
    for seed in range(80):
        for milestone in STAGED:
            block = stage_block(worlds[1], milestone, np.random.default_rng(seed), natural=bool(seed % 2))
            past = list(story.MILESTONES)[: list(story.MILESTONES).index(milestone)]
            clock, wish = block[0x10:0x12]
            assert (clock == 0xFF) == ("CLOCK_SET" not in past) and (clock == 0xFF or clock < 12)
            assert (wish == 0xFF) == ("LAB_ENTERED" not in past) and (wish == 0xFF or wish < 3)
            wishes.add(wish)
            flags = int.from_bytes(block[0x18:0x20], "little")
            left, right = (flags >> story.EVENT_ID[event] & 1 for event in ("FORK_LEFT", "FORK_RIGHT"))
            assert left + right == ("ROUTE_2" in past)
            forks.add((left, right))
            for event, last in (("ASKED", "STARTER_CHOSEN"), ("TALKED_MOM", "LEAVE_HOUSE"), ("MET_RIVAL", "EXIT_RIVAL_HOUSE")):
                assert flags >> story.EVENT_ID[event] & 1 == (last in past)
            assert flags >> story.EVENT_ID["SIGN_READ"] & 1 == ("TRAINER_BEATEN" in past)
            name = block[0x24:0x2C].rstrip(b"\0")
            assert 1 <= len(name) <= 7 and name.isalpha() and name.isupper()
            names.add(name)
            assert block[0x30] == ("STARTER_CHOSEN" in past) + ("FIRST_CATCH" in past)
            assert block[0x2C] <= 2 and block[0x2D] <= 5
            assert (block[0x2D] > 0) == ("RIVAL_BATTLE_WON" in past)
            for i in range(block[0x30]):
                monster = block[0x40 + 24 * i : 0x58 + 24 * i]
                species, level, hp, most = monster[:4]
                moves, pp, full_pp = monster[10:14], monster[14:18], monster[18:22]
                assert most == monsters.full_hp(species, level)
                assert hp * 100 >= most * (60 if i == 0 else 30) and hp <= most
                assert sorted(move for move in moves if move) == sorted(monsters.SPECIES[species - 1][4])
                assert all(now <= full for now, full in zip(pp, full_pp, strict=True))
                if i == 0:
                    assert species == wish + 1 and 6 <= level <= 12
            if "HEALED" in past:
                nurse = next(p for p in worlds[1].maps["CENTER"].people if p.script == story.SCRIPT_ID["T_NURSE"])
                assert tuple(block[0x31:0x34]) == (story.MAP_ID["CENTER"], nurse.x, nurse.y + 1)
            else:
                assert tuple(block[0x31:0x34]) == worlds[1].heal
    assert wishes == {0, 1, 2, 0xFF} and forks == {(0, 0), (0, 1), (1, 0)} and len(names) > 300


def test_a_start_is_the_same_for_the_same_seed(worlds: list[World]) -> None:
    one, same, other = (stage_block(worlds[1], "BADGE", np.random.default_rng(seed), False) for seed in (1, 1, 2))
    assert one == same != other


def test_before_the_map_there_is_no_start(worlds: list[World]) -> None:
    for milestone in ("GAME_RUNNING", "PLAYER_NAME_SET", "INTRO_CUTSCENE_COMPLETE"):
        assert stage_block(worlds[0], milestone, np.random.default_rng(0), True) is None
    with pytest.raises(ValueError, match="no milestone 'HEAL'.*HEALED"):
        stage_block(worlds[0], "HEAL", np.random.default_rng(0), True)


def without(block: bytes, event: str) -> bytearray:
    changed = bytearray(block)
    changed[0x18 + story.EVENT_ID[event] // 8] &= ~(1 << story.EVENT_ID[event] % 8)
    return changed


def test_the_starter_is_as_the_game_makes_it(emulator: Emulator, worlds: list[World]) -> None:
    for seed, world in enumerate(worlds[:4]):
        # In front of the right ball, before taking it.
        block = without(stage_block(world, "RIVAL_BATTLE_WON", np.random.default_rng(seed), True), "GOT_STARTER")
        block[0x30], block[0x40:0x58] = 0, bytes(24)
        boot(emulator, world, bytes(block))
        press(emulator, "A UP A A A")
        party = emulator.read(0xC130, 40)
        assert party[0] == 1, GAME.decode(GAME.snapshot(emulator))["game"]
        taken = party[0x10:0x28]
        assert taken == monsters.monster_bytes(block[0x11] + 1, monsters.STARTER_LEVEL, moves=taken[10:14])
        assert sorted(taken[10:14]) == sorted(monsters.SPECIES[block[0x11]][4])


def test_a_won_battle_makes_the_level_that_starts_have(emulator: Emulator, worlds: list[World]) -> None:
    for seed, world in enumerate(worlds[:4]):
        block = without(stage_block(world, "EXIT_LAB", np.random.default_rng(seed), True), "RIVAL_BEATEN")
        start = monsters.monster_bytes(block[0x40], monsters.STARTER_LEVEL, moves=block[0x4A:0x4E])
        won = bytes(block[0x40:0x58])
        block[0x40:0x58] = start
        boot(emulator, world, bytes(block))
        slot = next(i for i in range(4) if block[0x4A + i] != 6)  # not GROWL
        for _ in range(60):
            game = GAME.decode(GAME.snapshot(emulator))["game"]
            if game["events"]["RIVAL_BEATEN"]:
                break
            menu = game["menu"] or {"name": None}
            if menu["name"] == "battle":
                emulator.write(0xC1DA, b"\1")  # the enemy is all but beaten
            at = menu["cursor"] if menu["name"] == "moves" else slot
            press(emulator, "A" if at == slot else "RIGHT" if at % 2 != slot % 2 else "DOWN")
        assert emulator.read(0xC140, 24) == won
