"""ROMs that hang or end the emulator are found in a process of their own."""

import os
import time
from pathlib import Path

import pytest

from pokemon_env.emulators import first_start
from pokemon_env.errors import EmulatorError
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import BUNDLED_ROM, Rom

ENTRY, CHECKSUM, HEADER = 0x100, 0x14D, slice(0x134, 0x14D)
ILLEGAL = 0xD3


def other_build(path: Path, entry: int | None = None, change_at: int = 0x3000) -> Path:
    """The bundled ROM with a byte changed, and with another first instruction."""
    data = bytearray(BUNDLED_ROM.read_bytes())
    data[change_at] ^= 1
    if entry is not None:
        data[ENTRY] = entry
    data[CHECKSUM] = sum(-byte - 1 for byte in data[HEADER]) & 0xFF
    path.write_bytes(data)
    return path


def test_a_rom_that_hangs_the_emulator_is_refused(tmp_path, monkeypatch):
    """An instruction that the processor does not have: PyBoy's tick came back never."""
    monkeypatch.setattr(first_start, "SECONDS", 4)
    began = time.monotonic()
    with pytest.raises(EmulatorError, match=r"hangs.gb hangs PyBoy: its first 120 frames were not over after 4 s"):
        PokemonEnv(other_build(tmp_path / "hangs.gb", entry=ILLEGAL))
    assert time.monotonic() - began < 30


def test_a_rom_that_ends_the_emulator_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(first_start, "_PROGRAM", "import os; os.abort()")
    with pytest.raises(EmulatorError, match="ends PyBoy with signal 6 in its first frames"):
        first_start.check_starts(Rom.read(other_build(tmp_path / "ends.gb")))


def test_no_file_of_the_folder_is_run_in_which_a_rom_lies(tmp_path, monkeypatch):
    """The other process imported what lay in the working folder: a stranger's pyboy.py beside his ROM."""
    monkeypatch.chdir(tmp_path)
    for name in ("pyboy.py", "io.py", "resource.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    first_start.check_starts(Rom.read(other_build(tmp_path / "theirs.gb", change_at=0x3002)))
    assert not (tmp_path / "ran").exists()


def test_a_job_that_is_suspended_blames_no_rom(tmp_path, monkeypatch):
    """Only the time was looked at: a ROM was damaged if the job stood still for a minute while it started."""
    monkeypatch.setattr(first_start, "SECONDS", 2)
    monkeypatch.setattr(first_start, "_PROGRAM", f"import time; time.sleep(3)\n{first_start._PROGRAM}")
    first_start.check_starts(Rom.read(other_build(tmp_path / "slow.gb", change_at=0x3003)))


def test_each_rom_is_started_once_and_the_bundled_one_never(tmp_path, monkeypatch):
    commands, run = [], first_start.subprocess.run
    monkeypatch.setattr(first_start.subprocess, "run", lambda command, **more: commands.append(command) or run(command, **more))
    path = other_build(tmp_path / "other.gb")
    for _ in range(2):
        first_start.check_starts(Rom.read(path))
    first_start.check_starts(Rom.read(BUNDLED_ROM))
    assert len(commands) == 1 and commands[0][-2] in ("dmg", "cgb")
    first_start.check_starts(Rom.read(other_build(tmp_path / "third.gb", change_at=0x3001)))
    assert len(commands) == 2 and not [name for name in os.listdir(tmp_path) if name.endswith(".ram")]
