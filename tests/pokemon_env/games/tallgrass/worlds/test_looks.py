"""Light, grounds and floors: they change the picture and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from pokemon_env.games.tallgrass.worlds.generate import generate_world
from pokemon_env.games.tallgrass.worlds.image import pack, rom_world, unpack
from pokemon_env.games.tallgrass.worlds.looks import LIGHTS, Look, apply_look, draw_look
from pokemon_env.games.tallgrass.worlds.metatiles import is_grass, is_ledge, is_solid, is_warp
from pokemon_env.gym_env import PokemonEnv

BGP = 0xFF47


def test_no_light_hides_anything():
    assert len(set(LIGHTS.values())) == len(LIGHTS)
    assert all(sorted(shades) == [0, 1, 2, 3] for shades in LIGHTS.values())
    assert Look("day", ()).palette == 0xE4 and Look("night", ()).palette == 0x1B


def test_covers_change_no_tile_s_class(rom_path):
    for world in (rom_world(rom_path.read_bytes()), generate_world(7)):
        changed = 0
        for cover in range(4):
            covered = apply_look(world, Look("day", (cover,) * len(world.maps)))
            for name, place in world.maps.items():
                after = covered.maps[name]
                for old, new in zip(place.layout, after.layout, strict=True):
                    assert all(kind(old) == kind(new) for kind in (is_grass, is_ledge, is_solid, is_warp))
                changed += place.layout != after.layout
                assert (place.people, place.warps, place.gates) == (after.people, after.warps, after.gates)
        assert changed > 2 * len(world.maps)


def test_every_look_is_drawn(rom_path):
    world = rom_world(rom_path.read_bytes())
    looks = [draw_look(world, np.random.default_rng(seed)) for seed in range(80)]
    assert {look.light for look in looks} == set(LIGHTS)
    assert all({look.covers[place] for look in looks} == {0, 1, 2, 3} for place in range(len(world.maps)))


def test_the_image_carries_it(rom_path):
    world = rom_world(rom_path.read_bytes())
    look = Look("moon", (3,) * len(world.maps))
    image = unpack(pack(apply_look(world, look), palette=look.palette, own_maps=True))
    assert image.number == 0 and image.palette == look.palette
    assert image.maps["TOWN"].layout != world.maps["TOWN"].layout
    assert not unpack(pack(world)).maps  # as it is in the ROM


@pytest.mark.parametrize(("tier", "varies"), [("T0", False), ("T1", True), ("T3", False)])
def test_which_tiers_it_is_for(rom_path, tier, varies):
    with PokemonEnv(rom_path, start_milestone="LAB_ENTERED", tier=tier) as env:
        palettes, grounds = set(), set()
        for seed in range(10):
            info = env.reset(seed=seed)[1]
            palettes.add(env._emulator.read(BGP, 1))
            grounds.add(min(tile for row in info["map"]["tiles"] for tile in row if tile != 1))
        assert (len(palettes) > 1) == varies and (len(grounds) > 1) == varies
        if not varies:
            assert palettes == {b"\xe4"}
        if varies:  # nothing of it is left for an episode without
            env.reset(seed=0, options={"load_state": None, "start_milestone": None})
    with PokemonEnv(rom_path) as env:
        env.reset(seed=0)
        assert env._emulator.read(BGP, 1) == b"\xe4"
