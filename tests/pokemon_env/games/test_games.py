"""The registry of games, milestones, and how Tallgrass's memory becomes a state."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path

import pytest

from pokemon_env import games
from pokemon_env.games import find_game, known_games, tallgrass
from pokemon_env.games.base import empty_state
from pokemon_env.games.tallgrass import names
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.milestones import Milestone, MilestoneTracker
from pokemon_env.rom import Rom

GAME = tallgrass.GAME
DATA = Path(__file__).resolve().parents[3] / "tallgrass"

NEW_GAME = """
from pokemon_env.games.base import Game
from pokemon_env.milestones import Milestone


class Clicker(Game):
    id = "clicker"
    name = "Clicker"
    hold_frames = 3
    release_frames_range = (4, 5)
    milestones = (Milestone("PRESSED", "Press anything.", lambda before, now: before is not None and before != now),)

    def matches(self, header):
        return header.title == "CLICKER"

    def watch(self, memory):
        return memory.read(0xC120, 4)

    def snapshot(self, memory):
        return self.watch(memory)

    def decode(self, snapshot):
        return {**super().decode(snapshot), "game": {"random": list(snapshot)}}


GAME = Clicker()
"""


def test_a_game_is_one_file(rom_titled, tmp_path, monkeypatch):
    (tmp_path / "clicker_of_a_test.py").write_text(NEW_GAME)
    monkeypatch.setattr(games, "__path__", [*games.__path__, str(tmp_path)])
    assert [game.id for game in known_games()] == ["clicker", "tallgrass"]
    with PokemonEnv(rom_titled("CLICKER")) as env:
        assert (env.game.id, env.hold_frames, env.release_frames_range) == ("clicker", 3, (4, 5))
        _, info = env.reset(seed=0)
        assert info["game"]["random"] and info["milestones"] == {"PRESSED": {"completed": False}}
        *_, reward, terminated, _, info = env.step(0)
        assert reward == 1.0 and terminated and info["milestones"]["PRESSED"]["completed"]
    with PokemonEnv() as env:
        assert env.game.id == "tallgrass"


@pytest.mark.filterwarnings("ignore:.*by its picture alone")
def test_unknown_games_are_picture_only(rom_titled):
    assert find_game(Rom.read(rom_titled("NOBODY"))).id == "picture_only"


def test_milestone_tracker():
    tracker = MilestoneTracker(
        [
            Milestone("UP", "", lambda before, now: now > (before or b"a")),
            Milestone("Z", "", lambda before, now: now == b"z"),
            Milestone("OLD", "", lambda before, now: False),
        ]
    )
    tracker.reset(b"a", already=["OLD", "of another game"])
    assert tracker.info() == {"UP": {"completed": False}, "Z": {"completed": False}, "OLD": {"completed": True}}
    assert tracker.update(b"a") == []
    assert tracker.update(b"c") == ["UP"]
    assert tracker.update(b"b") == [] and tracker.update(b"z") == ["Z"]  # each once
    assert all(milestone["completed"] for milestone in tracker.info().values())
    tracker.reset(b"b")
    assert tracker.completed == {"UP": True, "Z": False, "OLD": False}


def test_names_are_those_of_the_games_data():
    story = tomllib.loads((DATA / "data" / "story.toml").read_text())
    monsters = tomllib.loads((DATA / "data" / "monsters.toml").read_text())
    assert list(names.MAPS) == story["maps"]
    assert list(names.EVENTS) == story["events"]
    assert list(names.SPRITES) == story["sprites"]
    assert list(names.OBJECTIVES) == [objective["id"] for objective in story["objective"]]
    assert list(names.SPECIES) == [(species["id"], species["type"]) for species in monsters["species"]]
    assert list(names.MOVES) == [
        (move.get("name", move["id"]), move["type"], move["power"], move["accuracy"]) for move in monsters["move"]
    ]
    assert list(names.TRAINERS) == [trainer["id"] for trainer in monsters["trainer"]]
    assert names.BEATS == monsters["beats"]
    assert list(names.SCRIPTS) == [None, *tomllib.loads((DATA / "data" / "text.toml").read_text())]
    for name in story["maps"]:
        world = tomllib.loads((DATA / "maps" / f"{name.lower()}.toml").read_text())
        assert {warp["to"] for warp in world["warps"]} == set(names.CONNECTIONS[name]), name


def test_milestones_have_policies_and_descriptions():
    assert len(GAME.milestones) == 24
    for milestone in GAME.milestones:
        assert milestone.description.endswith(".")
        assert (GAME.policy_dir / f"{milestone.id}.py").is_file()


def test_milestones_are_decided_by_history():
    milestone = next(milestone for milestone in GAME.milestones if milestone.id == "CLOCK_SET")
    off, on = bytearray(32), bytearray(32)
    on[0x18] = 1 << 5
    assert milestone.completed(off, on) and milestone.completed(None, on)
    assert not milestone.completed(on, on) and not milestone.completed(on, off) and not milestone.completed(None, off)


@pytest.fixture(scope="module")
def walking(bedroom_state):
    """A snapshot in the bedroom."""
    with PokemonEnv() as env:
        env.reset(seed=0, options={"load_state": bedroom_state})
        return env.snapshot()


def changed(snapshot, *changes):
    """The snapshot with bytes changed: (address, bytes) each."""
    data = bytearray(snapshot)
    for address, content in changes:
        data[address - 0xC100 : address - 0xC100 + len(content)] = content
    return bytes(data)


def test_the_bedroom(walking):
    state = GAME.decode(walking)
    world = state["map"]
    assert world["location"] == state["player"]["location"] == "BEDROOM"
    x, y = world["player_coords"]
    assert state["player"]["position"] == {"x": x, "y": y} and world["ascii_map"][y][x] == "@"
    assert (world["width"], world["height"]) == (8, 7) == (len(world["ascii_map"][0]), len(world["ascii_map"]))
    assert world["ascii_map"][0] == "########" and {len(row) for row in world["tiles"]} == {8}
    assert world["warps"] == [{"x": 7, "y": 1, "to": "HOUSE_1F", "to_x": 7, "to_y": 1}]
    assert world["ascii_map"][1][7] == "#" and world["gates"] == [{"x": 7, "y": 1, "opened_by": "CLOCK_SET", "open": False}]
    assert [4, 0] in [[sign["x"], sign["y"]] for sign in world["signs"]]
    assert world["view"] == [x - 4, y - 4, x + 5, y + 3]
    assert state["game"]["objective"] == "GET_UP" and state["game"]["game_state"] == "overworld"
    assert state["game"]["events"]["INTRO_DONE"] and not state["game"]["events"]["OUT_OF_BED"]
    assert state["player"]["name"] and state["player"]["money"] == 100
    assert json.loads(json.dumps(state)) == state


def test_people_and_ledges_and_grass(walking):
    person = bytes([3, 2, 1, 2, 1, 2, names.SCRIPTS.index("T_MOM"), 0, 4, 2, 1, 24])
    hidden = bytes([2, 2, 2, 0, 0, 0, 78, 0, 2, 2, 0, 24])
    layout = bytes([0x00, 0x20, 0x27, 0x28, 0x2F, 0x30, 0x3F, 0x40]) + bytes([0] * 47) + b"\x7f"
    state = GAME.decode(changed(walking, (0xC207, b"\x02"), (0xC260, person + hidden), (0xC400, layout), (0xC106, b"\x05\x05")))
    assert state["map"]["people"] == [
        {
            "x": 3, "y": 2, "sprite": "MOM", "facing": "left", "script": 7, "script_name": "T_MOM", "home": [4, 2],
            "range": 2, "sight": 0,
        }
    ]  # fmt: skip
    assert state["map"]["ascii_map"][0] == ".,,vvDD#"
    assert state["map"]["ascii_map"][2] == "...P...."
    assert state["map"]["ascii_map"][5] == ".....@.." and state["map"]["ascii_map"][6][7] == "#"
    assert GAME.decode(walking)["map"]["people"] == [], "no cached row has changed"


def test_trainers_watch_and_marks_are_places(walking):
    trainer = bytes([3, 2, 11, 2, 3, 4, names.SCRIPTS.index("T_TRAINER_ROUTE"), 0, 3, 2, 1, 24])
    state = GAME.decode(changed(walking, (0xC207, b"\x01"), (0xC20A, b"\x05\x03"), (0xC260, trainer)))
    assert state["map"]["people"][0] | {"range": 0, "sight": 4, "script_name": "T_TRAINER_ROUTE"} == state["map"]["people"][0]
    assert state["map"]["mark"] == [5, 3]
    for none in (b"\0\0", b"\xff\xff"):
        assert GAME.decode(changed(walking, (0xC20A, none)))["map"]["mark"] is None


def test_what_the_image_and_the_compass_say(walking):
    game = GAME.decode(changed(walking, (0xC134, b"\x04\x02\x39\x05\x00\x00")))["game"]
    assert (game["compass"], game["tier_flags"], game["world"]) == ("SE", 2, 1337)
    assert [GAME.decode(changed(walking, (0xC134, bytes([i]))))["game"]["compass"] for i in (0, 1, 8, 9)] == [None, "N", "NW", None]


def test_texts_menus_and_modes(walking):
    text = b"Hello there,\0RED!".ljust(40, b"\0")
    reading = changed(walking, (0xC109, b"\x01"), (0xC330, text))
    assert GAME.decode(reading)["game"]["dialog_text"] == "Hello there,\nRED!"
    assert GAME.decode(reading)["game"]["game_state"] == "dialog"
    page = GAME.decode(changed(reading, (0xC10A, bytes([names.SCRIPTS.index("T_MOM"), 2]))))["game"]["text"]
    assert page == {"script": "T_MOM", "page": 2} and GAME.decode(walking)["game"]["text"] is None
    assert GAME.decode(changed(reading, (0xC109, b"\0")))["game"]["dialog_text"] is None
    asking = GAME.decode(changed(reading, (0xC10C, b"\x03\x01\x02\x00")))["game"]
    assert asking["game_state"] == "menu" and asking["dialog_text"]
    assert asking["menu"] == {"name": "yes_no", "cursor": 1, "items": 2, "value": 0}
    for mode, game_state in ((1, "title"), (2, "menu"), (3, "title"), (4, "overworld"), (5, "battle")):
        state = GAME.decode(changed(walking, (0xC103, bytes([mode]))))
        assert state["game"]["game_state"] == game_state
        assert bool(state["map"]["ascii_map"]) == bool(state["player"]["location"]) == (mode >= 4)


MONSTER = bytes([2, 6, 11, 21, 11, 10, 12, 0, 30, 1, 1, 3, 2, 6, 25, 15, 0, 20, 25, 15, 15, 20, 0, 0])


def test_monsters_and_battles(walking):
    enemy = bytes([3, 5, 9, 20, 9, 9, 9, 0, 0, 0, 1, 4, 0, 0, 20, 15, 0, 0, 25, 15, 0, 0, 0, 0])
    battle = changed(walking, (0xC103, b"\x05"), (0xC130, b"\x01"), (0xC140, MONSTER), (0xC1D0, b"\x02\x01\x00"), (0xC1D8, enemy))
    state = GAME.decode(battle)
    mine = state["player"]["party"][0]
    assert mine == {
        "species_name": "CINDKIT", "level": 6, "current_hp": 11, "max_hp": 21, "status": "OK", "types": ["EMBER"],
        "moves": ["BUMP", "SPARK", "VINE", "GROWL"], "move_pp": [25, 15, 0, 20], "move_max_pp": [25, 15, 15, 20],
        "nickname": "CINDKIT", "attack": 11, "defense": 10, "speed": 12, "xp": 286,
    }  # fmt: skip
    assert state["game"]["is_in_battle"]
    info = state["game"]["battle_info"]
    assert (info["kind"], info["trainer_name"], info["active"]) == ("trainer", "RIVAL", 0)
    assert info["enemy"]["species_name"] == "PUDDLEP"
    assert info["enemy"]["moves"] == ["BUMP", "SPRAY"]
    assert GAME.decode(walking)["game"]["battle_info"] is None


def test_snapshots_of_the_same_state_are_the_same(rom_path):
    with PokemonEnv(rom_path, tier="T0", worlds=0, start_milestone="CLOCK_SET", state_in_info=False) as env:
        env.reset(seed=1)
        before, memory = env.snapshot(), env._running().read(tallgrass.BLOCK, tallgrass.BLOCK_LENGTH)
        env.game.seed(env._running(), 12345)  # what happens later differs, not what is there now
        assert env._running().read(tallgrass.BLOCK, tallgrass.BLOCK_LENGTH) != memory
        assert env.snapshot() == before


def test_before_the_game_has_started_and_what_is_no_snapshot(walking):
    assert GAME.decode(bytes(0x700)) == empty_state()
    with pytest.raises(ValueError, match="1792 bytes, this one has 5"):
        GAME.decode(b"short")
    with pytest.raises(ValueError, match="memory layout 9"):
        GAME.decode(changed(walking, (0xC102, b"\x09")))


def test_any_bytes_decode_to_something(walking):
    """A snapshot from a wrong moment is no reason to crash in the middle of a rollout."""
    rng = random.Random(0)
    for i in range(300):
        json.dumps(GAME.decode(changed(walking, (0xC103, rng.randbytes(0x6FD)), (0xC200, bytes([i % 4, i % 3])))))


def tools_on(state):
    tools = GAME.tools(state)
    return lambda name, *args, **kwargs: tools[name](state, *args, **kwargs)


def test_tools_for_menus(walking):
    use = tools_on(GAME.decode(walking))
    assert use("close_what_is_open") is None and use("move_cursor", 3, 7) is None and use("answer", True) is None
    use = tools_on(GAME.decode(changed(walking, (0xC109, b"\x01"))))
    assert use("close_what_is_open") == "a"
    use = tools_on(GAME.decode(changed(walking, (0xC10C, b"\x03\x01\x02\x00"))))
    assert use("close_what_is_open") == "b"
    assert use("answer", True) == "up" and use("answer", False) == "a"
    use = tools_on(GAME.decode(changed(walking, (0xC10C, b"\x01\x09\x1c\x00"))))
    assert [use("move_cursor", target, 7) for target in (1, 16, 8, 12, 9)] == ["up", "down", "left", "right", "a"]


def test_tools_for_walking(walking):
    state = GAME.decode(changed(walking, (0xC118, b"\x3e"), (0xC400 + 15, b"\x31")))  # the clock is set, the way free
    use = tools_on(state)
    assert use("go_to_map", "BEDROOM") is None and use("go_to_map", "NOWHERE") is None
    assert use("go_to_map", "LAB") == use("find_path_action", 7, 1) in ("up", "right")
    assert use("talk_to", "PROF", "LAB") == use("go_to_map", "LAB")
    assert use("talk_to", "MOM", "BEDROOM") is None

    person = bytes([1, 5, 1, 0, 1, 2, names.SCRIPTS.index("T_MOM_LATER"), 0, 1, 5, 1, 24])
    near = changed(walking, (0xC207, b"\x01"), (0xC260, person), (0xC106, b"\x01\x04"))
    assert tools_on(GAME.decode(near))("talk_to", "MOM", "BEDROOM") == "a"  # she is below, and we face down
    assert tools_on(GAME.decode(changed(near, (0xC108, b"\x01"))))("talk_to", "MOM", "BEDROOM") == "down"
    assert tools_on(GAME.decode(near))("talk_to", "T_MOM_LATER", "BEDROOM") == "a"
    assert tools_on(GAME.decode(near))("talk_to", "T_MOM", "BEDROOM") is None
    far = changed(near, (0xC106, b"\x07\x02"))  # out of sight: to her home
    state = GAME.decode(far)
    assert not tools_on(state)("in_view", 1, 5)
    assert tools_on(state)("talk_to", "MOM", "BEDROOM") == tools_on(state)("find_path_action", 1, 5)


def test_tools_for_signs(walking):
    state = GAME.decode(walking)
    use = tools_on(state)
    clock = next(sign for sign in state["map"]["signs"] if sign["script_name"] == "T_CLOCK")
    assert use("read_sign", "T_CLOCK", "BEDROOM") == use("face_and_press", clock["x"], clock["y"])
    assert use("read_sign", "T_SIGN_FORK", "BEDROOM") is None
    assert use("read_sign", "T_SIGN_FORK", "TOWN") == use("go_to_map", "TOWN")


def test_stepping_aside(walking):
    beside = [(0xC106, b"\x03\x03"), (0xC400 + 8 * 2 + 2, b"\x40\x40\x40"), (0xC400 + 8 * 4 + 3, b"\x40")]
    use = tools_on(GAME.decode(changed(walking, *beside, (0xC400 + 8 * 3 + 2, b"\x00\x00\x40"))))
    assert use("step_aside") == "left"
    use = tools_on(GAME.decode(changed(walking, *beside, (0xC400 + 8 * 3 + 2, b"\x40\x00\x40"))))
    assert use("step_aside") is None


def test_tools_for_grass(walking):
    grass = bytes([0x20] * 3)
    state = GAME.decode(changed(walking, (0xC400 + 8 * 2 + 3, grass), (0xC106, b"\x02\x02")))
    assert tools_on(state)("pace_in_grass") == "right"
    state = GAME.decode(changed(walking, (0xC400 + 8 * 2 + 3, grass), (0xC106, b"\x04\x02")))
    assert tools_on(state)("pace_in_grass") == "left"
    assert tools_on(GAME.decode(walking))("pace_in_grass") is None
    # Not in grass yet: to the one that the compass points to, not to the nearest.
    two = (0xC400 + 8 * 3 + 1, b"\x20"), (0xC400 + 8 * 4 + 6, b"\x20\x20"), (0xC106, b"\x03\x03")
    assert tools_on(GAME.decode(changed(walking, *two)))("pace_in_grass") == "left"
    assert tools_on(GAME.decode(changed(walking, *two, (0xC20A, b"\x07\x04"))))("pace_in_grass") in ("down", "right")


def battle(walking, menu, cursor, kind=2, hp=20, monster=MONSTER):
    enemy = bytes([3, 5, hp, 20, 9, 9, 9, 0, 0, 0, 1, 4, 0, 0, 20, 15, 0, 0, 25, 15, 0, 0, 0, 0])
    return tools_on(
        GAME.decode(
            changed(
                walking,
                (0xC103, b"\x05"),
                (0xC10C, bytes([menu, cursor, 4])),
                (0xC130, b"\x01"),
                (0xC140, monster),
                (0xC1D0, bytes([kind, 1, 0])),
                (0xC1D8, enemy),
            )
        )
    )


def test_tools_for_battles(walking):
    assert tools_on(GAME.decode(walking))("battle_action") is None
    # Against a trainer: FIGHT, then the move that hurts most and has PP (VINE would, but has none left, as BUMP).
    without_bump = bytes([*MONSTER[:14], 0, *MONSTER[15:]])
    assert battle(walking, 0, 0)("battle_action") == "a"
    assert battle(walking, 7, 0)("battle_action") == "a"
    assert battle(walking, 7, 3)("battle_action") == "up"
    assert battle(walking, 9, 0)("battle_action") == "b"
    assert battle(walking, 8, 1, monster=without_bump)("battle_action") == "a"
    with_vine = bytearray(MONSTER)
    with_vine[16] = 5
    assert battle(walking, 8, 0, monster=bytes(with_vine))("battle_action") == "down"
    # A wild one is run from, or weakened gently (VINE is doubled, SPARK halved) and caught.
    assert battle(walking, 7, 2, kind=1)("battle_action") == "right"
    assert battle(walking, 7, 2, kind=1)("battle_action", catch=True) == "up"
    both = bytes([*without_bump[:16], 5, *without_bump[17:]])
    assert battle(walking, 8, 1, kind=1, monster=both)("battle_action", catch=True) == "a"
    assert battle(walking, 8, 1, monster=both)("battle_action") == "down"
    assert battle(walking, 7, 2, kind=1, hp=10)("battle_action", catch=True) == "a"
    assert battle(walking, 8, 1, kind=1, hp=10)("battle_action", catch=True) == "b"
    # Without any PP there is nothing to pick.
    empty = bytes([*MONSTER[:14], 0, 0, 0, 0, *MONSTER[18:]])
    assert battle(walking, 8, 1, monster=empty)("battle_action") == "b"
