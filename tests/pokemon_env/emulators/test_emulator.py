"""ROM headers, and the emulator behind its protocol."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pokemon_env.emulators.open_emulator import open_emulator
from pokemon_env.errors import EmulatorError, RomError
from pokemon_env.games.tallgrass.worlds.generate import generate_world
from pokemon_env.games.tallgrass.worlds.image import pack
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import Rom, RomHeader


@pytest.fixture
def emulator(rom_path):
    emulator = open_emulator(Rom.read(rom_path))
    emulator.tick(120)
    yield emulator
    emulator.close()


def gba_rom() -> bytes:
    data = bytearray(0x200)
    data[0xA0:0xB0] = b"POKEMON EMERBPEE"
    data[0xB2] = 0x96
    data[0xBD] = -sum(data[0xA0:0xBD]) - 0x19 & 0xFF
    return bytes(data)


def test_header_of_the_bundled_game(rom_path):
    header = Rom.read(rom_path).header
    assert (header.system, header.title, header.color) == ("gb", "TALLGRASS", False)
    assert (header.cartridge_type, header.ram_size_code) == (0x1B, 2)  # MBC5 with 8 KiB of RAM and a battery
    assert header.size == rom_path.stat().st_size == 128 * 1024
    assert len(header.sha256) == 64


def test_header_of_an_advance_rom():
    header = RomHeader.parse(gba_rom())
    assert (header.system, header.title, header.code) == ("gba", "POKEMON EMER", "BPEE")


def damaged(rom_path, **changes):
    data = bytearray(rom_path.read_bytes())
    for place, byte in changes.items():
        data[int(place[1:], 16)] = byte
    data[0x14D] = -sum(data[0x134:0x14D]) - 0x19 & 0xFF
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("short.gb", lambda rom: rom.read_bytes()[:1000], "too short for a Game Boy ROM: 1000 bytes"),
        ("text.gb", lambda rom: b"A" * 0x8000, "not a Game Boy ROM: its header checksum is 0x41"),
        ("cut.gb", lambda rom: rom.read_bytes()[:0x10000], "cut off: 65536 bytes, and its header says 131072"),
        ("size.gb", lambda rom: damaged(rom, x148=0x52), "unknown ROM size code in its header: 0x52"),
        ("ram.gb", lambda rom: damaged(rom, x149=0x77), "unknown RAM size code in its header: 0x77"),
        ("type.gb", lambda rom: damaged(rom, x147=0xEE), "PyBoy .* does not start .*type.gb"),
        ("odd.gb", lambda rom: rom.read_bytes() + b"!", "PyBoy .* does not start .*odd.gb"),
        ("bad.gba", lambda rom: b"A" * 0x8000, "no Game Boy Advance ROM"),
        ("good.gba", lambda rom: gba_rom(), "for the system 'gba' .*no emulator for it here yet"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*by its picture alone")
def test_what_is_no_rom_is_an_error(rom_path, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content(rom_path))
    with pytest.raises(EmulatorError, match=message) as error:
        PokemonEnv(path)
    assert name in str(error.value)


def test_missing_rom_is_an_error(tmp_path):
    with pytest.raises(RomError, match="no ROM file .*nothing.gb"):
        PokemonEnv(tmp_path / "nothing.gb")
    with pytest.raises(RomError, match="is a folder"):
        PokemonEnv(tmp_path)


def test_the_screen_is_rgb_and_a_copy(emulator):
    screen = emulator.screen()
    assert screen.shape == emulator.screen_shape == (144, 160, 3) and screen.dtype == np.uint8
    assert screen.flags.owndata and screen.flags.c_contiguous
    before = screen.copy()
    emulator.press("START", 12, 12)
    assert np.array_equal(screen, before) and not np.array_equal(emulator.screen(), before)


def test_memory_is_read_and_written(emulator):
    emulator.write(0xC120, b"\x01\x02\x03\x04")
    assert emulator.read(0xC11F, 6)[1:5] == b"\x01\x02\x03\x04"
    with pytest.raises(EmulatorError, match="0xFFFF"):
        emulator.write(0xFFFF, b"ab")


def test_a_state_restores_everything(emulator):
    emulator.press("START", 12, 12)
    state = emulator.save_state()
    memory, screen = emulator.read(0xC000, 0x2000), emulator.screen()
    emulator.press("A", 12, 12)
    after = emulator.screen()
    emulator.tick(100)
    emulator.load_state(state)
    assert emulator.read(0xC000, 0x2000) == memory and np.array_equal(emulator.screen(), screen)
    emulator.press("A", 12, 12)
    assert np.array_equal(emulator.screen(), after)


def test_what_is_no_state_is_refused_and_the_emulator_goes_on(emulator):
    state = emulator.save_state()
    for bad in (b"", state[:-1], state + b"x"):
        with pytest.raises(EmulatorError, match="bytes, and a state of this ROM"):
            emulator.load_state(bad)
        emulator.load_state(state)
    emulator.tick(1)


def test_a_state_of_another_format_is_refused_by_its_number(emulator):
    state = emulator.save_state()  # of the right length: some older numbers let PyBoy read counters that hang its next tick
    for number in range(256):
        if number != state[0]:
            with pytest.raises(EmulatorError, match=f"^its format is number {number}, and PyBoy .* writes {state[0]}$"):
                emulator.load_state(bytes([number]) + state[1:])
    emulator.load_state(state)
    emulator.tick(1)


def test_color_roms_run_in_color_mode(rom_path, tmp_path):
    path = tmp_path / "color.gb"
    path.write_bytes(damaged(rom_path, x143=0x80))
    emulator = open_emulator(Rom.read(path))
    assert emulator.mode == "cgb"
    emulator.close()
    emulator.close()


def world_in_memory(emulator) -> int:
    """The number of the world that the game found in the cartridge's RAM."""
    for _ in range(30):
        emulator.tick(4)
    assert emulator.read(0xC100, 2) == b"TG"
    return int.from_bytes(emulator.read(0xC136, 4), "little")


def test_power_on_with_what_the_game_reads_from_the_cartridge(emulator):
    image = pack(generate_world(7))
    emulator.power_on(image)
    assert emulator.read(0xC100, 2) == bytes(2), "none of the game has run yet"
    assert world_in_memory(emulator) == 7
    assert emulator.read(0xA000, len(image)) == image, "the game leaves it switched on"


def test_power_on_forgets_everything(emulator):
    emulator.power_on()
    assert world_in_memory(emulator) == 0
    fresh = emulator.save_state()
    emulator.power_on(pack(generate_world(7)))
    assert world_in_memory(emulator) == 7
    emulator.press("START", 12, 12)
    emulator.power_on(b"shorter")
    world_in_memory(emulator)
    assert emulator.read(0xA000, 0x2000) == b"shorter".ljust(0x2000, b"\0")
    emulator.power_on()
    assert world_in_memory(emulator) == 0
    assert emulator.save_state() == fresh
    emulator.load_state(fresh)
    assert emulator.read(0xA000, 0x2000) == bytes(0x2000)


def test_power_on_is_quick(emulator):
    image = pack(generate_world(7))
    state = emulator.save_state()

    def seconds(function, argument):
        start = time.perf_counter()
        function(argument)
        return time.perf_counter() - start

    pairs = [(seconds(emulator.power_on, image), seconds(emulator.load_state, state)) for _ in range(30)]
    power_on, load = map(min, zip(*pairs, strict=True))
    assert power_on < 3 * load  # where nobody else computes, both are about 5 ms


def test_what_does_not_fit_into_the_cartridge_is_refused(rom_path, tmp_path, emulator):
    with pytest.raises(EmulatorError, match="8193 bytes do not fit .* has 8192"):
        emulator.power_on(bytes(8193))
    path = tmp_path / "without.gb"
    path.write_bytes(damaged(rom_path, x147=0x19, x149=0))
    without = open_emulator(Rom.read(path))
    without.power_on()
    with pytest.raises(EmulatorError, match="which has 0"):
        without.power_on(b"x")
    without.close()
