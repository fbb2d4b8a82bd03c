"""Choosing the emulator for a console's ROMs."""

from __future__ import annotations

from pokemon_env.emulators.emulator import Emulator
from pokemon_env.emulators.first_start import check_starts
from pokemon_env.errors import EmulatorError
from pokemon_env.rom import Rom


def open_emulator(rom: Rom, window: bool = False, window_speed: float = 1) -> Emulator:
    """Start the emulator for this ROM's console.

    window: show the game on the desktop and read the keyboard there; otherwise nothing is shown and nothing waits.
    window_speed: with a window, 1 is the console's own speed, 2 twice that, 0 as fast as possible.
    Raises EmulatorError if there is no emulator for this console, or it does not start.
    """
    if rom.header.system == "gb":
        # Imported here, because PyBoy takes a third of a second to load and scripts must answer --help at once.
        from pokemon_env.emulators.pyboy_emulator import PyBoyEmulator

        check_starts(rom)
        return PyBoyEmulator(rom, window, window_speed)
    raise EmulatorError(
        f"{rom.path} is a ROM for the system {rom.header.system!r} ({rom.header.title}), and there is no emulator "
        "for it here yet: only Game Boy ROMs (.gb, .gbc) can be played."
    )
