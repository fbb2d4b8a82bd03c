"""The first start of a ROM in a process of its own: a faulty one can hang the emulator for ever, in a call that nothing ends."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from functools import cache

from pokemon_env.errors import EmulatorError
from pokemon_env.rom import BUNDLED_ROM, Rom

SECONDS = 60
"""Time for the other process, which needs one on an idle machine."""
FRAMES = 120
"""Frames of 1/60 s that it plays."""

_PROGRAM = f"""
import io, sys
from pyboy import PyBoy
rom, color = io.BytesIO(sys.stdin.buffer.read()), sys.argv[1] == "cgb"
PyBoy(rom, window="null", sound_emulated=False, no_input=True, log_level="ERROR", cgb=color).tick({FRAMES}, False, False)
"""

_started: set[str] = set()


@cache
def _bundled() -> str:
    return hashlib.sha256(BUNDLED_ROM.read_bytes()).hexdigest() if BUNDLED_ROM.is_file() else ""


def check_starts(rom: Rom) -> None:
    """Raise EmulatorError for a ROM whose first frames never end, or end the process. Each but the bundled one is tried once."""
    sha256 = rom.header.sha256
    if sha256 in _started or sha256 == _bundled() or not sys.executable:
        return
    command = [sys.executable, "-c", _PROGRAM, "cgb" if rom.header.color else "dmg"]
    try:
        done = subprocess.run(command, input=rom.data, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise EmulatorError(
            f"{rom.path} hangs PyBoy: its first {FRAMES} frames were not over after {SECONDS} s. The file is damaged, or no game."
        ) from None
    if done.returncode < 0:
        raise EmulatorError(
            f"{rom.path} ends PyBoy with signal {-done.returncode} in its first frames: the file is damaged, or no game."
        )
    _started.add(sha256)  # what PyBoy refuses with words, it refuses again in this process
