"""The game itself, in the emulator: its header, its memory's layout, its manners."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from agent.start_states import ensure_start_states
from pokemon_env.games import tallgrass
from pokemon_env.gym_env import PokemonEnv

FOLDER = Path(__file__).resolve().parent.parent / "tallgrass"
GOLDEN = "867156697d37c4c3ad42b71aa74257275ce2b330c63b9579c17da9528f8ff60d"
"""Hash of the pictures of `test_golden_frames`, with PyBoy 2.8.1."""
SIZES = {"uint8_t": 1, "uint16_t": 2, "char": 1, "Monster": 24, "Warp": 6, "Person": 12, "Sign": 3, "Gate": 4}


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
    assert tallgrass.SPECIES == tuple((s["id"], s["type"]) for s in monsters["species"])
    names = {"STRUGGLE": "FLAIL"}  # shown so, for its length
    assert tallgrass.MOVES == tuple(
        (names.get(m["id"], m["id"]), m["type"], m["power"], m["accuracy"]) for m in monsters["move"]
    )
    assert tallgrass.BEATS == monsters["beats"]
    assert tallgrass.EVENTS == tuple(story["events"])


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
