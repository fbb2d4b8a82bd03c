"""The game itself, in the emulator: its header, its memory's layout, its manners."""

from __future__ import annotations

import hashlib
import re
import struct
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pokemon_env.emulators.pyboy_emulator import PyBoyEmulator
from pokemon_env.games.tallgrass import names as tallgrass_names
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import Rom
from tasks.recorded_starts import ensure_start_states

FOLDER = Path(__file__).resolve().parents[2] / "tallgrass"
GOLDEN = "89681e452fee29f6fde26e577f3b0cdc098391fc7a428b3350da855a4a8537d8"
"""Hash of the pictures of `test_golden_frames`, with PyBoy 2.8.1."""
SIZES = {"uint8_t": 1, "uint16_t": 2, "uint32_t": 4, "char": 1, "Monster": 24, "Warp": 6, "Person": 12, "Sign": 3, "Gate": 4}


def test_header(rom_path: Path) -> None:
    rom = rom_path.read_bytes()
    assert len(rom) == 128 * 1024
    assert rom[0x134:0x13D] == b"TALLGRASS"
    assert set(rom[0x104:0x134]) <= {0x00, 0xFF}, "no logo belongs in the header"
    assert rom[0x147] == 0x1B, "MBC5 with RAM and battery"
    checksum = 0
    for byte in rom[0x134:0x14D]:
        checksum = (checksum - byte - 1) & 0xFF
    assert rom[0x14D] == checksum


def documented() -> dict[str, tuple[int, int]]:
    """Name -> (address, bytes), from the table in tallgrass/README.md."""
    rows = re.findall(r"^\| ([0-9A-F]{4}) \| (\d+) \| (\w+) \|", (FOLDER / "README.md").read_text(), re.M)
    return {name: (int(address, 16), int(size)) for address, size, name in rows}


def test_memory_table_is_that_of_the_source() -> None:
    source = (FOLDER / "src" / "wram.h").read_text()
    found = {}
    pattern = r"^WRAM (?:volatile )?(\w+) __at\(0x([0-9A-F]{4})\) (\w+)(?:\[(\d+)\])?;"
    for kind, address, name, count in re.findall(pattern, source, re.M):
        if 0xC100 <= int(address, 16) < 0xD000:
            found[name] = (int(address, 16), SIZES[kind] * int(count or 1))
    assert documented() == found


def test_state_is_read_where_the_table_says(env: PokemonEnv) -> None:
    env.reset(seed=3)
    snapshot = bytearray(env.snapshot())
    place = {name: address - 0xC100 for name, (address, _) in documented().items()}
    snapshot[place["mode"]] = 4
    snapshot[place["map"]], snapshot[place["player_x"]], snapshot[place["player_y"]] = 2, 7, 9
    snapshot[place["facing"]] = 2
    snapshot[place["player_name"] : place["player_name"] + 4] = b"ADA\0"
    snapshot[place["bag"] : place["bag"] + 2] = bytes([3, 4])
    snapshot[place["money"] : place["money"] + 2] = bytes([0x34, 0x12])
    snapshot[place["map_w"]], snapshot[place["map_h"]] = 10, 10
    state = env.decode_state(bytes(snapshot))
    assert state["player"]["position"] == {"x": 7, "y": 9}
    assert state["player"]["location"] == "TOWN" and state["player"]["facing"] == "left"
    assert state["player"]["name"] == "ADA" and state["player"]["money"] == 0x1234
    assert state["game"]["items"] == {"POTION": 3, "BALL": 4}


def test_names_are_those_of_the_game_data() -> None:
    monsters = tomllib.loads((FOLDER / "data" / "monsters.toml").read_text())
    story = tomllib.loads((FOLDER / "data" / "story.toml").read_text())
    assert tallgrass_names.SPECIES == tuple((s["id"], s["type"]) for s in monsters["species"])
    names = {"STRUGGLE": "FLAIL"}  # shown so, for its length
    assert tallgrass_names.MOVES == tuple(
        (names.get(m["id"], m["id"]), m["type"], m["power"], m["accuracy"]) for m in monsters["move"]
    )
    assert tallgrass_names.BEATS == monsters["beats"]
    assert tallgrass_names.EVENTS == tuple(story["events"])
    assert tallgrass_names.MAPS == tuple(story["maps"])
    assert tallgrass_names.SPRITES == tuple(story["sprites"])
    assert tallgrass_names.OBJECTIVES == tuple(objective["id"] for objective in story["objective"])
    texts = tomllib.loads((FOLDER / "data" / "text.toml").read_text())
    assert tallgrass_names.SCRIPTS == (None, *texts)


def play(env: PokemonEnv, seed: int, actions: list[int], state: Path | None = None) -> tuple[str, list[tuple[int, int]]]:
    """A hash of all pictures, and the player's places."""
    picture, info = env.reset(seed=seed, options={"load_state": state})
    digest, places = hashlib.sha256(picture.tobytes()), []
    for action in actions:
        picture, _, _, _, info = env.step(action)
        digest.update(picture.tobytes())
        places.append((info["player"]["position"]["x"], info["player"]["position"]["y"]))
    return digest.hexdigest(), places


@pytest.fixture(scope="module")
def town_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outside the door, people about."""
    folder = tmp_path_factory.mktemp("states")
    states = ensure_start_states("RIVAL_HOUSE", n_train=0, n_heldout=0, state_dir=folder, start_states_dir=folder / "sets")
    return states.first


def test_same_seed_and_presses_same_frames(town_state: Path) -> None:
    actions = np.random.default_rng(0).integers(8, size=60).tolist()
    with PokemonEnv() as one, PokemonEnv() as other:
        assert play(one, 5, actions, town_state) == play(other, 5, actions, town_state)
        assert play(one, 6, actions, town_state) != play(other, 5, actions, town_state)


def test_seeds_give_different_trajectories_in_town(town_state: Path) -> None:
    walk = "RIGHT RIGHT DOWN DOWN RIGHT RIGHT RIGHT UP RIGHT RIGHT DOWN LEFT LEFT DOWN RIGHT RIGHT RIGHT UP UP LEFT".split()
    with PokemonEnv(randomize_release_frames=False, idle_frames_range=(0, 0)) as env:
        actions = [env.buttons.index(button) for button in walk]
        hashes = {play(env, seed, actions, town_state)[0] for seed in range(50)}
    assert len(hashes) >= 45


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_at_rest_after_every_press(seed: int) -> None:
    """24 frames after any press the game waits for the next one, whatever has happened; and numbers stay in their bounds."""
    rng = np.random.default_rng(seed)
    place = {name: address - 0xC100 for name, (address, _) in documented().items()}
    seen = set()
    with PokemonEnv(state_in_info=False, randomize_release_frames=False) as env:
        weights = np.array([5, 1, 0.3, 0.3, 2, 2, 2, 2])
        env.reset(seed=seed)
        for _ in range(6000):
            env.step(int(rng.choice(8, p=weights / weights.sum())))
            memory = env.snapshot()
            assert memory[place["busy"]] == 0
            seen.add((memory[place["mode"]], memory[place["map"]]))
            for i in range(memory[place["party_count"]]):
                hp, most = memory[place["party"] + 24 * i + 2 : place["party"] + 24 * i + 4]
                assert hp <= most
            if memory[place["mode"]] == 4:
                assert memory[place["player_x"]] < memory[place["map_w"]]
                assert memory[place["player_y"]] < memory[place["map_h"]]
    assert len(seen) >= 4


def test_a_press_is_one_tile_or_one_cursor_position(town_state: Path) -> None:
    with PokemonEnv() as env:
        _, info = env.reset(seed=1, options={"load_state": town_state})
        rng = np.random.default_rng(1)
        for _ in range(200):
            before = info
            _, _, _, _, info = env.step(int(rng.integers(4, 8)))
            if info["game"]["game_state"] != "overworld" or info["player"]["location"] != before["player"]["location"]:
                continue
            (x0, y0), (x1, y1) = (i["player"]["position"].values() for i in (before, info))
            moved = abs(x1 - x0) + abs(y1 - y0)
            hopped = before["map"]["ascii_map"][y0 + 1][x0] == "v" and (x1, y1) == (x0, y0 + 2)
            assert moved <= 1 or hopped
        for _ in range(20):  # the START menu
            _, _, _, _, info = env.step(env.buttons.index("START"))
            if info["game"]["menu"]:
                break
        for cursor in (1, 2, 2):
            _, _, _, _, info = env.step(env.buttons.index("DOWN"))
            assert info["game"]["menu"]["cursor"] == cursor


def test_the_environment_writes_the_seed_and_nothing_else(env: PokemonEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    emulator = type(env._emulator)
    original = emulator.write

    def write(self, address: int, data: bytes) -> None:
        written.append((address, len(data)))
        original(self, address, data)

    monkeypatch.setattr(emulator, "write", write)
    env.reset(seed=1)
    for action in range(8):
        env.step(action)
    assert written == [(0xC120, 4)]


def test_golden_frames() -> None:
    """The first presses of the game; a change of ROM, emulator or timing shows here."""
    presses = ["START", *3 * ["A"], *2 * ["RIGHT"], *3 * ["DOWN"], *7 * ["RIGHT"], *9 * ["A"], "DOWN", "LEFT", "UP"]
    with PokemonEnv() as env:
        assert play(env, 7, [env.buttons.index(button) for button in presses])[0] == GOLDEN


def test_sources_lie_in_layers() -> None:
    """No file of the program needs one that needs it: a module's own header and body count as one."""
    needs = {}
    for file in sorted((FOLDER / "src").glob("*.[ch]")):
        needs.setdefault(file.stem, set()).update(re.findall(r'^#include "(\w+)\.h"', file.read_text(), re.M))
    needs = {name: (found & set(needs)) - {name} for name, found in needs.items()}
    while needs:
        bottom = {name for name, found in needs.items() if not found}
        assert bottom, f"these need each other: {needs}"
        needs = {name: found - bottom for name, found in needs.items() if name not in bottom}


# The cartridge-RAM image. It is packed by hand here, so that these tests hold the ROM against its documentation.

STORY = tomllib.loads((FOLDER / "data" / "story.toml").read_text())
TEXTS = tuple(tomllib.loads((FOLDER / "data" / "text.toml").read_text()))
EVENT = {name: number for number, name in enumerate(STORY["events"], 1)}
BEFORE_LAB = STORY["events"][:12]
BEFORE_TOWN_2 = [*STORY["events"][:18], "ASKED"]
BEFORE_ROUTE_2 = [*BEFORE_TOWN_2, "SECOND_TOWN", "HEALED"]
BEFORE_GYM = [*BEFORE_ROUTE_2, "ROUTE_2", "FORK_LEFT", "TRAINER_BEATEN", "GYM_ENTERED"]
STILL, HIDE, STAGE, MAPS = 1, 2, 4, 8
SPROUTLE = struct.pack("<8BH12B2x", 1, 8, 40, 40, 30, 30, 30, 0, 0, 2, 1, 4, 6, 15, 25, 15, 20, 15, 25, 15, 20)


def image(flags: int = 0, world: int = 0, stage: bytes = b"", head: bytes = bytes(0x4C), blobs: bytes = b"") -> bytearray:
    """An image; `head` is what stands at 0014..005F."""
    body = struct.pack("<BBHI", flags | (STAGE if stage else 0), 0, 0, world) + head + stage.ljust(208, b"\0") + blobs
    return bytearray(b"TGWORLD1" + struct.pack("<HH", 12 + len(body), sum(body) & 0xFFFF) + body)


def stage(place: str, x: int, y: int, events: list[str], facing: int = 1, wish: int = 1) -> bytes:
    """A start on the map `place`, with one monster in the party."""
    block = bytearray(208)
    block[0x05:0x09] = STORY["maps"].index(place), x, y, facing
    block[0x10:0x12] = 3, wish
    for event in events:
        block[0x18 + EVENT[event] // 8] |= 1 << EVENT[event] % 8
    block[0x24:0x27], block[0x2D], block[0x30], block[0x31:0x34] = b"ADA", 5, 1, bytes([1, 2, 2])
    block[0x40:0x58] = SPROUTLE
    return bytes(block)


class Console:
    """The game in the emulator, with its memory by the names of the documentation."""

    def __init__(self, rom: Path) -> None:
        self.emulator = PyBoyEmulator(Rom.read(rom))
        self.place = documented()

    def power_on(self, ram: bytes, seed: int = 1, frames: int = 60) -> None:
        self.emulator.power_on(bytes(ram))
        self.emulator.tick(frames)
        self.emulator.write(0xC120, struct.pack("<I", seed))

    def press(self, *buttons: str) -> None:
        """Press each; 24 frames later the game must be at rest."""
        for button in buttons:
            self.emulator.press(button, 12, 12)
            assert self["busy"] == 0, button

    def __getitem__(self, name: str) -> int:
        address, size = self.place[name]
        return int.from_bytes(self.emulator.read(address, size), "little")

    def bytes(self, name: str) -> bytes:
        return self.emulator.read(*self.place[name])

    def event(self, name: str) -> bool:
        return bool(self["events"] >> EVENT[name] & 1)

    @property
    def objective(self) -> str:
        return STORY["objective"][self["objective"]]["id"]

    @property
    def text(self) -> str | None:
        return TEXTS[self["text_id"] - 1] if self["text_open"] else None


@pytest.fixture(scope="module")
def console(rom_path: Path) -> Iterator[Console]:
    console = Console(rom_path)
    yield console
    console.emulator.close()


def test_a_stage_starts_play_where_it_says(console: Console) -> None:
    console.power_on(image(world=0x01020304, stage=stage("TOWN_2", 6, 13, BEFORE_TOWN_2, facing=3)), frames=30)
    assert (console["mode"], console["busy"], console["text_open"]) == (4, 0, 0)
    assert (console["map"], console["player_x"], console["player_y"], console["facing"]) == (7, 6, 13, 3)
    assert console["image_flags"] == STAGE and console["world_number"] == 0x01020304
    assert console.bytes("player_name")[:4] == b"ADA\0" and console.bytes("party")[:24] == SPROUTLE
    assert console.event("SECOND_TOWN"), "as if one had just come in"
    assert console.objective == "HEAL" and console["compass"] == 8
    console.press("RIGHT")
    assert console["player_x"] == 7


def spoil(name: str) -> bytearray:
    ram = image(flags=STILL, world=5, stage=stage("TOWN_2", 6, 13, BEFORE_TOWN_2))
    if name == "checksum":
        ram[0x0A] ^= 1
    elif name == "content":
        ram[-1] ^= 0x80
    elif name == "magic":
        ram[7] = ord("2")
    elif name == "length":
        ram[0x08:0x0A] = struct.pack("<H", 0x2001)
    return ram


@pytest.mark.parametrize("spoilt", ["checksum", "content", "magic", "length"])
def test_a_spoilt_image_is_ignored(console: Console, spoilt: str) -> None:
    console.power_on(spoil("nothing"))
    assert console["mode"] == 4 and console["world_number"] == 5
    console.power_on(spoil(spoilt))
    assert console["mode"] == 1 and console["image_flags"] == 0 and console["world_number"] == 0


@pytest.mark.parametrize("extra", [0, 1, 0xDB, 0xDC, 0xDD, 0x1CC0])
def test_an_image_of_any_length_is_summed(console: Console, extra: int) -> None:
    ram = image(stage=stage("TOWN_2", 6, 13, BEFORE_TOWN_2), blobs=b"\xa5" * extra)
    console.power_on(ram)
    assert console["mode"] == 4, "lengths of which the low byte is 0 or 255 among them"
    ram[-1] ^= 1
    console.power_on(ram)
    assert console["mode"] == 1


@pytest.mark.parametrize(("wanted", "palette"), [(0, 0xE4), (0xF9, 0xF9)])
def test_an_image_may_bring_another_light(console: Console, wanted: int, palette: int) -> None:
    ram = image(stage=stage("TOWN_2", 6, 13, BEFORE_TOWN_2))
    ram[0x0D], ram[0x0A:0x0C] = wanted, struct.pack("<H", (sum(ram[0x0C:]) + wanted) & 0xFFFF)
    console.power_on(ram)
    assert console["mode"] == 4 and console.emulator.read(0xFF47, 1) == bytes([palette])


def test_maps_of_an_image_take_the_place_of_the_roms(console: Console, rom_path: Path) -> None:
    """A town of its own, beside maps that the image leaves to the ROM."""
    rom = rom_path.read_bytes()[0x10000:]
    at = struct.unpack_from("<16H", rom)[2]
    width, height = rom[at : at + 2]
    mine = bytearray(rom[at : at + 2500])
    mine[12 + 9 * width + 9] = 0x02  # flowers on the grass
    mine[10:12] = 7, 9
    table = [0] * 16
    table[2] = 0x130
    head = bytes([3, 5, 1, 4, 4, 0, 0, 0, 2, 0, 0, 0]) + bytes([8, 30, 30, 0] * 8) + struct.pack("<16H", *table)
    console.power_on(image(MAPS, 9, stage("TOWN", 9, 10, BEFORE_TOWN_2), head, bytes(mine)))
    assert (console["map_w"], console["map_h"], console["mark_x"], console["mark_y"]) == (width, height, 7, 9)
    mine[12] = 0x40
    layout = console.bytes("layout")
    assert layout[9 * width + 9] == 0x02 and layout[: 9 * width] == bytes(rom[at + 12 : at + 12 + 9 * width])
    # The rival takes the same type with this world's shifts, and what lives in the grass is this world's.
    console.power_on(image(MAPS, 9, stage("LAB", 4, 5, [*BEFORE_LAB, "ASKED", "LAB_ENTERED", "GOT_STARTER"]), head, bytes(mine)))
    console.press("A", "A", "A")
    assert console["mode"] == 5 and console["battle_with"] == 1
    species, own = console.bytes("enemy")[0], console.bytes("party")[0]
    assert species == own + 2, "shift 2"
    console.power_on(image(MAPS, 9, stage("ROUTE_1", 6, 11, BEFORE_TOWN_2), head, bytes(mine)))
    for _ in range(200):
        console.press("LEFT", "RIGHT")
        if console["battle_kind"]:
            break
    assert console.bytes("enemy")[:2] == bytes([8, 30])


def test_a_new_game_starts_where_the_image_says(console: Console) -> None:
    head = bytes([5, 5, 1, 4, 4, 0, 0, 0, 1, 2, 0, 1]) + bytes(64)
    console.power_on(image(MAPS, 1, head=head), frames=60)
    console.press("START", "A")
    while console["mode"] == 2:
        console.press("RIGHT" if console["cursor"] % 7 < 6 else "DOWN" if console["cursor"] < 27 else "A")
    while console["mode"] == 3:
        console.press("A")
    assert (console["map"], console["player_x"], console["player_y"]) == (0, 5, 5)
    assert (console["heal_map"], console["heal_x"], console["heal_y"]) == (1, 4, 4)


@pytest.mark.parametrize("flags", [0, STILL])
def test_people_stand_still_if_told_to(console: Console, flags: int) -> None:
    console.power_on(image(flags, stage=stage("TOWN_2", 10, 12, BEFORE_TOWN_2)))
    seen = set()
    for _ in range(30):
        console.press("B")
        seen.add(console.bytes("people"))
    assert (len(seen) == 1) == bool(flags)


@pytest.mark.parametrize("flags", [0, HIDE])
def test_what_was_asked_for_is_said_and_then_hidden(console: Console, flags: int) -> None:
    console.power_on(image(flags, stage=stage("LAB", 4, 7, BEFORE_LAB)))
    assert console.text == "T_PROF", "the professor speaks first"
    console.press("A")
    assert console.text == "T_ASK_EMBER" and b"EMBER" in console.bytes("text")
    console.press("A")
    assert console.text is None and console.event("ASKED")
    assert console.objective == ("TAKE_ASKED" if flags else "TAKE_EMBER")
    console.power_on(image(flags, stage=stage("LAB", 5, 3, [*BEFORE_LAB, "ASKED"])))
    assert console.text is None
    console.press("A")
    assert console.text == "T_ASK_EMBER", "he says it again"


@pytest.mark.parametrize("flags", [0, HIDE])
def test_the_fork(console: Console, flags: int) -> None:
    """One gap is open, which is drawn; the sign says which; the compass shows it, unless it is hidden."""
    drawn = set()
    for seed in range(12):
        console.power_on(image(flags | STILL, stage=stage("TOWN_2", 10, 1, BEFORE_ROUTE_2)), seed)
        console.press("UP")
        assert console["map"] == 9 and console.event("ROUTE_2")
        left, right = console.event("FORK_LEFT"), console.event("FORK_RIGHT")
        assert left != right
        drawn.add("LEFT" if left else "RIGHT")
        gates = {(g[0], g[1]): g[2:] for g in struct.iter_unpack("4B", console.bytes("gates")[: 4 * console["n_gates"]])}
        layout, width = console.bytes("layout"), console["map_w"]
        for (x, y), (event, closed) in gates.items():
            if STORY["events"][event - 1].startswith("FORK"):
                assert (layout[y * width + x] == closed) != console.event(STORY["events"][event - 1])
        console.press(*["UP"] * 7, "LEFT")  # to (12, 19), below the sign
        assert (console["player_x"], console["player_y"]) == (12, 19)
        assert console["compass"] == (1 if flags else 8 if left else 2)
        assert console.objective == ("READ_SIGN" if flags else "BEAT_TRAINER")
        console.press("UP", "A")
        assert console.text == "T_SIGN_FORK"
        assert (b"GO LEFT!" if left else b"GO RIGHT!") in console.bytes("text")
        console.press("A")
        assert console.event("SIGN_READ") and console.objective == "BEAT_TRAINER"
        assert console["compass"] == (2 if flags else 8 if left else 2), "hidden: to the trainer"
    assert drawn == {"LEFT", "RIGHT"}


def test_who_is_seen_has_to_fight(console: Console) -> None:
    events = [*BEFORE_ROUTE_2, "ROUTE_2", "FORK_LEFT"]
    console.power_on(image(stage=stage("ROUTE_2", 11, 14, events)))
    console.press("UP")
    assert console.text is None, "one row below the line"
    console.press("UP")
    assert console.text == "T_TRAINER_ROUTE", "open and at rest after the step into the line"
    console.press("A")
    assert console["mode"] == 5 and console["battle_kind"] == 2 and console["battle_with"] == 2
    for x in (9, 17):  # out of reach, behind the back
        console.power_on(image(stage=stage("ROUTE_2", x, 13, events)))
        console.press("UP", "B")
        assert console.text is None
    console.power_on(image(stage=stage("ROUTE_2", 11, 13, [*events, "TRAINER_BEATEN"])))
    console.press("UP", "B")
    assert console.text is None, "who is beaten looks away"


def fight(console: Console, weak: str) -> None:
    """Fight until the battle is over; `weak` is the monster that has one HP left."""
    address = console.place[weak][0] + 2
    while console["mode"] == 5:
        if console["menu"] == 8:
            console.emulator.write(address, b"\1")
            slots = console.bytes("party")[10:14]
            console.press(*(["RIGHT"] if slots[0] in (6, 0) else []))
        console.press("A")


def test_a_won_battle_heals_and_a_lost_one_leads_back(console: Console) -> None:
    events = [*BEFORE_ROUTE_2, "ROUTE_2", "FORK_LEFT"]
    block = bytearray(stage("ROUTE_2", 11, 13, events))
    block[0x42] = 20
    console.power_on(image(stage=bytes(block)))
    console.press("UP", "A")
    fight(console, "enemy")
    assert console.event("TRAINER_BEATEN") and console.text == "T_TRAINER_ROUTE_WON"
    hp, most = console.bytes("party")[2:4]
    assert hp == most and console.bytes("party")[14:18] == console.bytes("party")[18:22]
    block[0x31:0x34] = 8, 4, 3
    console.power_on(image(stage=bytes(block)), seed=2)
    console.press("UP", "A")
    fight(console, "party")
    assert not console.event("TRAINER_BEATEN") and console["battle_result"] == 2
    assert (console["map"], console["player_x"], console["player_y"]) == (8, 4, 3)
    assert console.bytes("party")[2] == console.bytes("party")[3]


def test_the_nurse_heals_if_asked_to(console: Console) -> None:
    block = bytearray(stage("CENTER", 4, 4, [*BEFORE_TOWN_2, "SECOND_TOWN"]))
    block[0x42] = 7
    console.power_on(image(stage=bytes(block)))
    console.press("UP", "A")
    assert console.text == "T_NURSE" and console["cursor"] == 1
    console.press("A", "A")
    assert not console.event("HEALED") and console.bytes("party")[2] == 7
    console.press("A", "UP", "A")
    assert console.event("HEALED") and console.bytes("party")[2] == 40 and console.text == "T_NURSE_HEALED"
    assert (console["heal_map"], console["heal_x"], console["heal_y"]) == (8, 4, 3)


def test_the_badge_ends_the_story(console: Console) -> None:
    events = [*BEFORE_GYM, "GYM_TRAINER_BEATEN", "LEADER_BEATEN"]
    console.power_on(image(STILL, stage=stage("GYM", 7, 13, events, facing=3)))
    assert console.objective == "GET_BADGE" and console["compass"] == 3
    console.press("A", "A")
    assert not console.event("BADGE"), "the cursor starts on NO"
    console.press("A", "UP", "A")
    assert console.event("BADGE") and console["badges"] == 1
    console.press("A")
    assert console["mode"] == 6 and console.text == "T_ENDING" and console.objective == "ALL_DONE"
    console.press("A", "A", "B")
    assert console["mode"] == 6 and console["text_open"] == 0
    console.press("START")
    assert console["mode"] == 4
    console.power_on(image(STILL, stage=stage("GYM", 7, 13, BEFORE_GYM, facing=3)))
    console.press("A")
    assert console.text == "T_GUIDE", "no badge before the leader is beaten"


def test_the_compass_points_from_the_player_to_the_target(console: Console) -> None:
    """Walking about in a town with one thing to find: all directions occur, and each is right."""
    console.power_on(image(stage=stage("TOWN", 12, 12, BEFORE_LAB)))
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(400):
        console.press(("UP", "DOWN", "LEFT", "RIGHT")[rng.integers(4)])
        if console["map"] != 2:
            console.power_on(image(stage=stage("TOWN", 12, 12, BEFORE_LAB)))
            continue
        dx, dy = np.sign(16 - console["player_x"]), np.sign(16 - console["player_y"])
        names = {(0, -1): 1, (1, -1): 2, (1, 0): 3, (1, 1): 4, (0, 1): 5, (-1, 1): 6, (-1, 0): 7, (-1, -1): 8}
        assert console["compass"] == names[dx, dy]
        seen.add(console["compass"])
    assert {2, 3, 4} <= seen
    console.press("START")
    assert console["compass"], "an open menu leaves it"


def test_a_starters_moves_come_in_any_order(console: Console) -> None:
    first = set()
    for seed in range(12):
        console.power_on(image(STILL, stage=stage("LAB", 7, 4, [*BEFORE_LAB, "ASKED"])), seed)
        console.press("A", "UP", "A")
        assert console["party_count"] == 1
        moves = console.bytes("party")[10:14]
        assert sorted(moves) == sorted([1, 3, 2, 6]) and console.bytes("party")[14:18] == console.bytes("party")[18:22]
        first.add(moves[0])
    assert len(first) >= 3


def test_the_first_catch_opens_the_way_north(console: Console) -> None:
    before = [event for event in BEFORE_TOWN_2 if event != "FIRST_CATCH"]
    for events, opened in ((before, False), (BEFORE_TOWN_2, True)):
        console.power_on(image(STILL, stage=stage("ROUTE_1", 7, 1, events)))
        console.press("UP")
        assert (console["map"] == 7) == opened == console.event("SECOND_TOWN")
