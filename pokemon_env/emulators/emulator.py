"""The interface of an emulator.

Everything above this module (the environment, the games) uses an emulator only through `Emulator`. To add an emulator for
another console, write a class with these methods and name it in `open_emulator.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from pokemon_env.emulators.window import Window


class Memory(Protocol):
    """The console's address space, as games read it."""

    def read(self, address: int, length: int) -> bytes:
        """Return `length` bytes from `address` on."""

    def write(self, address: int, data: bytes) -> None:
        """Write `data` from `address` on. Only a game's `seed` uses this."""


class Emulator(Memory, Protocol):
    """One running console with one ROM."""

    name: str  # "pyboy"; stored in the sidecar of each saved state, with the version and the mode
    version: str
    mode: str  # the emulated model, "dmg" or "cgb": states of one do not load in the other
    screen_shape: tuple[int, int, int]  # (H, W, 3)
    window: Window | None  # where a person plays; None: nothing is shown

    def power_on(self, cartridge_ram: bytes | None = None) -> None:
        """Return to the moment of power-on, with these bytes in the cartridge's RAM (zeros after them; None: zeros only).

        Nothing that ran before is left, and none of the game's own instructions has run. Nothing is drawn until the next
        `tick`. Raises EmulatorError if the cartridge has less RAM.
        """

    def press(self, button: str, hold_frames: int, release_frames: int) -> None:
        """Hold `button` (upper case, as in `Game.buttons`), release it, and continue; only the last frame is drawn."""

    def tick(self, frames: int) -> None:
        """Run `frames` (at least 1) frames without a button; only the last one is drawn."""

    def screen(self) -> np.ndarray:
        """Return the screen of the last drawn frame: (H, W, 3) uint8 RGB, the caller's own copy."""

    def save_state(self) -> bytes:
        """Return the whole state of the console."""

    def load_state(self, state: bytes) -> None:
        """Return to a state. Raises EmulatorError if these bytes are not a state; then another one must be loaded."""

    def poll_button(self) -> str | None:
        """Return the next button that the person at the window pressed or holds, if any. Raises WindowClosed."""

    def close(self) -> None:
        """Stop. May be called again; writes nothing to disk."""
