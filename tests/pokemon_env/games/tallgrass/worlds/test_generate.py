"""Worlds: their bytes, their splits, the generator, and the proof that each can be played."""

from __future__ import annotations

import hashlib
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from pokemon_env.games.tallgrass.worlds import image, metatiles, monsters, story
from pokemon_env.games.tallgrass.worlds.generate import generate_world
from pokemon_env.games.tallgrass.worlds.image import Gate, MapData, Person, Sign, Warp, World, WorldError, pack, rom_world, unpack
from pokemon_env.games.tallgrass.worlds.solve import check_world
from pokemon_env.splits import CHOOSE, TEST, TRAIN, parse_worlds

GAME = Path(__file__).resolve().parents[5] / "tallgrass"
FROZEN = {
    1: "859c4441a3fcd6d8",
    999: "5581a8e1fd4a4fc5",
    1000: "77d954b90cfd49d3",
    10000: "8537102ebdd8afb4",
    4294967295: "7481cb44bd39ace6",
}
"""Hashes of the images of a few worlds: the generator must not change within a version of the benchmark."""


def data(name: str) -> dict:
    return tomllib.loads((GAME / "data" / name).read_text())


@pytest.fixture(scope="module")
def home(rom_path: Path) -> World:
    """World 0."""
    return rom_world(rom_path.read_bytes())


# Names and numbers are the game's own.


def test_names_are_those_of_the_game() -> None:
    source = data("story.toml")
    assert story.MAPS == tuple(source["maps"])
    assert story.EVENTS == tuple(source["events"])
    assert story.SPRITES == tuple(source["sprites"])
    texts = {name: number for number, name in enumerate(data("text.toml"), start=1)}
    assert story.SCRIPT_ID == {name: texts[name] for name in story.SCRIPT_ID}
    assert set(story.MILESTONES.values()) <= set(story.EVENTS)
    assert tuple(source["start"]["at"]) == image.HOME_WORLD_START and source["start"]["map"] == "BEDROOM"
    assert (story.MAP_ID[source["heal"]["map"]], *source["heal"]["at"]) == image.HOME_WORLD_HEAL


def test_metatiles_are_those_of_the_art() -> None:
    source = tomllib.loads((GAME / "art" / "metatiles.toml").read_text())
    for name, ids in metatiles.TILESETS.items():
        assert ids == {entry["name"]: entry["id"] for entry in source[name]}


def test_monsters_are_those_of_the_game() -> None:
    source = data("monsters.toml")
    moves = {move["id"]: number for number, move in enumerate(source["move"], start=1)}
    assert monsters.MOVE_PP == tuple(move["pp"] for move in source["move"])
    assert monsters.SPECIES == tuple(
        (s["hp"], s["attack"], s["defense"], s["speed"], tuple(moves[move] for move in s["moves"])) for s in source["species"]
    )
    trainers = {trainer["id"]: trainer for trainer in source["trainer"]}
    assert story.TRAINERS == tuple(trainers)
    assert monsters.TRAINER_ABOVE == {name: tuple(trainer["above"]) for name, trainer in trainers.items()}
    assert monsters.TRAINER_MONEY == {name: trainer["money"] for name, trainer in trainers.items()}
    assert image.HOME_WORLD_SHIFTS == tuple(trainer["shift"] for trainer in trainers.values())
    species = {entry["id"]: number for number, entry in enumerate(source["species"], start=1)}
    assert image.HOME_WORLD_ENCOUNTERS == tuple(
        tuple(image.Slot(species[s["species"]], s["min"], s["max"], s["weight"]) for s in table["slots"])
        for table in source["encounters"]
    )
    assert story.ENCOUNTER_TABLES == tuple(table["id"] for table in source["encounters"])


# Splits


def test_splits_are_disjoint() -> None:
    splits = [set(split) for split in (TRAIN, CHOOSE, TEST)]
    assert not splits[0] & splits[1] and not splits[1] & splits[2] and not splits[0] & splits[2]
    assert not any(0 in split for split in splits)


@pytest.mark.parametrize(
    ("text", "worlds"),
    [("0", range(1)), (" 7 ", range(7, 8)), ("1-999", TRAIN), ("train", TRAIN), ("choose", CHOOSE), ("test", range(10500, 11000)),
     ("spent", range(10000, 10500))],
)
def test_parse_worlds(text: str, worlds: range) -> None:
    assert parse_worlds(text) == worlds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "give a number"),
        ("-3", "give a number"),
        ("valid", "train, choose, test"),
        ("9-3", "3-9"),
        ("0-99999999999", "last world"),
    ],
)
def test_parse_worlds_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_worlds(text)


# Bytes


def test_map_blob_round_trip() -> None:
    layout = bytes([0x40] * 3 + [0x00, 0x20, 0x30] + [0x40] * 3)
    game_map = MapData(
        3, 3, 0, 0x40, 36, 1, (1, 1), layout,
        [Warp(2, 1, 5, 4, 3, 1)], [Person(0, 1, 1, 2, 1, 2, 7, 0x8C)], [Sign(0, 0, 32)], [Gate(2, 1, 5, 0x54)],
    )  # fmt: skip
    blob = game_map.blob()
    assert len(blob) == 12 + 9 + 6 + 8 + 3 + 4
    assert MapData.parse(blob + b"more") == game_map
    with pytest.raises(WorldError, match=r"needs at least \d+ bytes"):
        MapData.parse(blob[:-1])
    with pytest.raises(WorldError, match="at most 8 fit"):
        replace(game_map, gates=[Gate(2, 1, 5, 0x54)] * 9).blob()
    with pytest.raises(WorldError, match="at most 32x32"):
        replace(game_map, height=33).blob()


def test_image_round_trip() -> None:
    world = generate_world(12)
    stage = bytes(range(208))
    packed = pack(world, image.STILL | image.HIDE, stage)
    assert len(packed) == image.IMAGE_BYTES
    read = unpack(packed)
    assert read.flags == image.STILL | image.HIDE | image.STAGE | image.MAPS_PRESENT
    assert World(read.number, dict(read.maps), read.start, read.heal, read.shifts, read.encounters) == world
    assert read.stage == stage
    damaged = bytearray(packed)
    damaged[0x200] ^= 1
    with pytest.raises(WorldError, match="damaged"):
        unpack(bytes(damaged))
    with pytest.raises(WorldError, match="TGWORLD1"):
        unpack(bytes(8192))
    with pytest.raises(WorldError, match="208 bytes"):
        pack(world, stage=b"short")
    with pytest.raises(WorldError, match="by hand"):
        pack(world, image.STAGE)


def test_home_world_comes_from_the_rom(home: World, rom_path: Path) -> None:
    check_world(home)
    read = unpack(pack(home))
    assert (read.number, read.flags, read.maps) == (0, 0, {})
    rom = rom_path.read_bytes()
    for game_map in home.maps.values():
        assert game_map.blob() in rom
    with pytest.raises(WorldError, match="make rom"):
        rom_world(bytes(128 * 1024))
    with pytest.raises(WorldError, match="make rom"):
        rom_world(bytes(32 * 1024))


# The generator


@pytest.mark.parametrize("number", [0, -1, 2**32])
def test_no_world_of_that_number(number: int) -> None:
    with pytest.raises(WorldError, match="from 1 to"):
        generate_world(number)


def test_frozen_worlds() -> None:
    assert {number: hashlib.sha256(pack(generate_world(number))).hexdigest()[:16] for number in FROZEN} == FROZEN


@pytest.mark.slow
def test_a_thousand_worlds_are_playable_and_differ() -> None:
    """`generate_world` proves each solvable (check_world); all fit, all differ, in every map."""
    numbers = [*range(1, 961), *range(10000, 10040)]
    start = time.process_time()
    worlds = [generate_world(number) for number in numbers]
    assert time.process_time() - start < 60, "the generator has become slow"
    assert len({pack(world) for world in worlds}) == len(worlds)
    for name in story.MAPS:
        layouts = {world.maps[name].blob() for world in worlds}
        assert len(layouts) > 990, name
        assert len({(world.maps[name].width, world.maps[name].height) for world in worlds}) >= 8, name
    assert len({world.shifts for world in worlds}) == 81
    balls = set()
    for world in worlds:
        found = [p for p in world.maps["LAB"].people if p.sprite == story.SPRITE_ID["BALL"]]
        balls.add(tuple(person.script for person in sorted(found, key=lambda person: (person.x, person.y))))
        for table in world.encounters:
            assert sum(slot.weight for slot in table) == 256 and all(0 < slot.weight < 256 for slot in table)
            assert all(4 <= slot.species <= 8 and 2 <= slot.min_level <= slot.max_level <= 6 for slot in table)
            assert len({slot.species for slot in table}) == 4
    assert len(balls) == 6


def test_doors_stand_elsewhere_in_other_worlds() -> None:
    """Where one comes from and where one goes to: no way through any map is the same in many worlds."""
    worlds = [generate_world(number) for number in range(1, 101)]
    for name, ways in story.CONNECTIONS.items():
        for to in ways:
            seen = {next((w.x, w.y) for w in world.maps[name].warps if w.to == story.MAP_ID[to]) for world in worlds}
            # Mats and roads lie on an edge: they can only move along it.
            assert len(seen) >= 7, (name, to)


def test_the_gaps_of_the_fork_are_out_of_sight_of_each_other() -> None:
    for number in range(1, 60):
        route = generate_world(number).maps["ROUTE_2"]
        left, right = (gate for gate in route.gates if gate.event >= story.EVENT_ID["FORK_LEFT"])
        sign = next(sign for sign in route.signs if sign.script == story.SCRIPT_ID["T_SIGN_FORK"])
        # The screen shows 4 columns to the left of the player and 5 to the right; one may stand beside the sign.
        assert sign.x - 1 - left.x > 4 and right.x - (sign.x + 1) > 5
        assert left.y == right.y < sign.y


# The proof: what it must refuse.


def changed(world: World, name: str, **changes) -> World:
    return replace(world, maps={**world.maps, name: replace(world.maps[name], **changes)})


def with_tiles(world: World, name: str, tiles: dict[tuple[int, int], int]) -> World:
    layout = bytearray(world.maps[name].layout)
    for (x, y), metatile in tiles.items():
        layout[y * world.maps[name].width + x] = metatile
    return changed(world, name, layout=bytes(layout))


def test_check_refuses_a_walled_up_door(home: World) -> None:
    door = next(warp for warp in home.maps["TOWN"].warps if warp.to == story.MAP_ID["RIVAL_1F"])
    sides = {(door.x + dx, door.y + 2): metatiles.OUTDOOR["tree"] for dx in (-1, 0, 1)}
    sides |= {(door.x + dx, door.y + 1): metatiles.OUTDOOR["tree"] for dx in (-1, 1)}
    with pytest.raises(WorldError, match=r"TOWN: from .* one cannot get back|RIVAL_1F cannot be reached"):
        check_world(with_tiles(home, "TOWN", sides))


def test_check_refuses_a_pit_under_a_ledge(home: World) -> None:
    tree, ledge, ground = (metatiles.OUTDOOR[name] for name in ("tree", "ledge", "ground"))
    pit = {(x, y): tree for x in (11, 12, 13) for y in (9, 10, 11)} | {(12, 9): ledge, (12, 10): ground}
    with pytest.raises(WorldError, match=r"ROUTE_1: from \(12, 10\) one cannot get back"):
        check_world(with_tiles(changed(home, "ROUTE_1", people=[]), "ROUTE_1", pit))


@pytest.mark.parametrize(
    ("name", "event", "words"),
    [
        ("BEDROOM", "CLOCK_SET", "HOUSE_1F can be reached before CLOCK_SET"),
        ("TOWN", "MET_RIVAL", "LAB can be reached before MET_RIVAL"),
        ("ROUTE_1", "FIRST_CATCH", "TOWN_2 can be reached before FIRST_CATCH"),
        ("ROUTE_2", "FORK_LEFT", "FORK"),
        ("GYM", "GYM_TRAINER_BEATEN", "T_LEADER before GYM_TRAINER_BEATEN"),
    ],
)
def test_check_refuses_a_gate_that_is_missing(home: World, name: str, event: str, words: str) -> None:
    gates = [gate for gate in home.maps[name].gates if gate.event != story.EVENT_ID[event]]
    with pytest.raises(WorldError, match=words):
        check_world(changed(home, name, gates=gates))


def test_check_refuses_people_in_the_way(home: World) -> None:
    house = home.maps["HOUSE_1F"]
    mother = next(person for person in house.people if person.script == story.SCRIPT_ID["T_MOM"])
    with pytest.raises(WorldError, match="can stand where one arrives"):
        check_world(changed(home, "HOUSE_1F", people=[mother._replace(reach=6)]))
    with pytest.raises(WorldError, match="can stand where one arrives"):
        check_world(changed(home, "HOUSE_1F", people=[mother._replace(x=7, y=1, movement=story.STILL)]))
    gym = home.maps["GYM"]
    gate = next(gate for gate in gym.gates if gate.event == story.EVENT_ID["GYM_TRAINER_BEATEN"])
    walker = mother._replace(x=gate.x, y=gate.y - 1, reach=1)
    with pytest.raises(WorldError, match="GYM: the person .* can cut the way"):
        check_world(changed(home, "GYM", people=[*gym.people, walker]))


def test_check_refuses_maps_that_do_not_fit_together(home: World) -> None:
    town = home.maps["TOWN"]
    with pytest.raises(WorldError, match="TOWN must lead to"):
        check_world(changed(home, "TOWN", warps=town.warps[1:]))
    with pytest.raises(WorldError, match="look like warps"):
        check_world(with_tiles(home, "TOWN", {(2, 2): metatiles.OUTDOOR["house_door"]}))
    with pytest.raises(WorldError, match="not on a solid tile"):
        check_world(changed(home, "TOWN", signs=[*town.signs, Sign(11, 8, 1)]))
    with pytest.raises(WorldError, match="does not close"):
        check_world(changed(home, "TOWN", gates=[*town.gates, Gate(0, 0, 5, 0x54)]))
    with pytest.raises(WorldError, match="not in tall grass"):
        check_world(changed(home, "ROUTE_1", mark=(7, 1)))
    with pytest.raises(WorldError, match="the start leads to"):
        check_world(replace(home, start=(0, 0)))
    with pytest.raises(WorldError, match="at most 10 fit"):
        check_world(changed(replace(home, number=5), "TOWN", people=town.people * 3))
