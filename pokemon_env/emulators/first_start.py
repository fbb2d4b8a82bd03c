"""The first start of a ROM in a process of its own: a faulty one can hang the emulator for ever, in a call that nothing ends."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from functools import cache

from pokemon_env.errors import EmulatorError
from pokemon_env.rom import BUNDLED_ROM, Rom

SECONDS = 60
"""CPU time for the other process, which needs one. Time on the clock would also pass while a job is suspended."""
FRAMES = 120
"""Frames of 1/60 s that it plays."""

_PROGRAM = f"""
import io, resource, sys
limits = resource.getrlimit(resource.RLIMIT_CPU)
seconds = min([int(sys.argv[2]), *(limit for limit in limits if limit != resource.RLIM_INFINITY)])
resource.setrlimit(resource.RLIMIT_CPU, (seconds, limits[1]))
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
    # -P: else Python would take a stranger's pyboy.py from the folder that the script is started in.
    command = [sys.executable, "-P", "-c", _PROGRAM, "cgb" if rom.header.color else "dmg", str(SECONDS)]
    done = subprocess.run(command, input=rom.data, capture_output=True)
    if done.returncode == -signal.SIGXCPU:
        raise EmulatorError(
            f"{rom.path} hangs PyBoy: its first {FRAMES} frames were not over after {SECONDS} s. The file is damaged, or no game."
        )
    if done.returncode < 0:
        raise EmulatorError(
            f"{rom.path} ends PyBoy with signal {-done.returncode} in its first frames: the file is damaged, or no game."
        )
    _started.add(sha256)  # what PyBoy refuses with words, it refuses again in this process
