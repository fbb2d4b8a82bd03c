"""Game Boy and Game Boy Color through PyBoy."""

from __future__ import annotations

import io
import os
import warnings
from importlib.metadata import version

import cv2
import numpy as np

from pokemon_env.emulators.window import Window
from pokemon_env.errors import EmulatorError
from pokemon_env.rom import Rom

with warnings.catch_warnings():
    # PySDL2 announces at import which copy of SDL it uses, which is noise here.
    warnings.filterwarnings("ignore", message="Using SDL2 binaries")
    from pyboy import PyBoy
    from pyboy.utils import PyBoyException

_MEMORY_END = 0x10000
_RAM_START, _RAM_BANK = 0xA000, 0x2000
_RAM_SIZES = {1: 0x800, 2: 0x2000, 3: 0x8000, 4: 0x20000, 5: 0x10000}  # by the header's code; none for any other
_BOOT_LENGTH = 0x100  # bytes of the ROM's start that the console's own boot program hides while it runs
_MOST_BOOT_FRAMES = 600


class PyBoyEmulator:
    """See `pokemon_env.emulators.emulator.Emulator`.

    Without a window a step is one call into PyBoy for all of its frames. It draws only the last one, without sound, and
    takes 13 microseconds a frame for a game that HALTs while it waits, outside of Python. With a window each frame is
    drawn and lasts as long as on the console, and less while presses wait (`pokemon_env.emulators.window`).
    """

    name = "pyboy"
    version = version("pyboy")
    screen_shape = (144, 160, 3)

    def __init__(self, rom: Rom, window: bool = False, window_speed: float = 1) -> None:
        self.mode = "cgb" if rom.header.color else "dmg"
        self._closed = False
        if window:
            _require_display()
        try:
            self._pyboy = PyBoy(
                io.BytesIO(rom.data),  # given a path, PyBoy would read and write saves next to the ROM
                window="SDL2" if window else "null",
                scale=4,
                sound_emulated=False,
                no_input=True,  # keys must become steps of the environment, not go directly to the game
                log_level="ERROR",
                cgb=rom.header.color,
            )
        except PyBoyException as error:
            raise EmulatorError(f"PyBoy {self.version} does not start {rom.path}: {error}.") from error
        self._pyboy.set_emulation_speed(0)  # the window paces itself: PyBoy only has whole multiples of the console's speed
        self.window = Window(rom.header.title or rom.path.stem, window_speed) if window else None
        self._memory = self._pyboy.memory
        self._rom_start = rom.data[:_BOOT_LENGTH]
        self._ram_size = _RAM_SIZES.get(rom.header.ram_size_code, 0)
        self._just_created = self.save_state()
        self._before_the_game: bytes | None = None

    def power_on(self, cartridge_ram: bytes | None = None) -> None:
        ram = cartridge_ram or b""
        if len(ram) > self._ram_size:
            raise EmulatorError(f"{len(ram)} bytes do not fit into this cartridge's RAM, which has {self._ram_size}.")
        if self._before_the_game is None:
            self._before_the_game = self._boot()
        self.load_state(self._before_the_game)  # with the cartridge's RAM, which nothing has written yet
        for start in range(0, len(ram), _RAM_BANK):
            part = ram[start : start + _RAM_BANK]
            # The bank is named, because the game has not switched its RAM on: plain writes would be lost.
            self._memory[start // _RAM_BANK, _RAM_START : _RAM_START + len(part)] = part

    def press(self, button: str, hold_frames: int, release_frames: int) -> None:
        self._pyboy.button(button, hold_frames)
        self.tick(hold_frames + release_frames)

    def tick(self, frames: int) -> None:
        if self.window is None:
            self._pyboy.tick(frames, True, False)
            return
        at_once = frames if self.window.fast_forward else 1
        for _ in range(0, frames, at_once):
            self._pyboy.tick(at_once, True, False)
            self.window.frame_shown()
        self.window.step_shown()

    def screen(self) -> np.ndarray:
        # A copy that drops alpha: the array is a live view of the console's screen.
        return cv2.cvtColor(self._pyboy.screen.ndarray, cv2.COLOR_RGBA2RGB)

    def read(self, address: int, length: int) -> bytes:
        return bytes(self._memory[address : address + length])

    def write(self, address: int, data: bytes) -> None:
        if not 0 <= address <= _MEMORY_END - len(data):
            raise EmulatorError(f"cannot write {len(data)} bytes at 0x{address:X}: the memory ends at 0x{_MEMORY_END:X}.")
        for offset, byte in enumerate(data):
            self._memory[address + offset] = byte

    def save_state(self) -> bytes:
        buffer = io.BytesIO()
        self._pyboy.save_state(buffer)
        return buffer.getvalue()

    def load_state(self, state: bytes) -> None:
        # PyBoy reads a state of another cartridge without complaint as long as there are bytes; the length, which
        # depends on the cartridge's RAM and the mode only, gives most of those away.
        if len(state) != len(self._just_created):
            raise EmulatorError(
                f"it has {len(state)} bytes, and a state of this ROM in PyBoy {self.version} has {len(self._just_created)}"
            )
        # The first byte is the format's number. PyBoy accepts all older ones, whose fields lie elsewhere: read as such, bytes of
        # today's layout make cycle counters that a tick never reaches.
        if state[0] != self._just_created[0]:
            raise EmulatorError(f"its format is number {state[0]}, and PyBoy {self.version} writes {self._just_created[0]}")
        try:
            self._pyboy.load_state(io.BytesIO(state))
        except PyBoyException as error:
            raise EmulatorError(f"PyBoy {self.version} refuses it: {error}") from error

    def poll_button(self) -> str | None:
        if self.window is None:
            raise EmulatorError("there is no window to read keys from: open the environment with render_mode='human'.")
        return self.window.next_button()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._pyboy.stop(save=False)

    def _boot(self) -> bytes:
        """Return the state one frame before the console's boot program (about a second long) starts the game."""
        self.load_state(self._just_created)
        frames = 0
        while self.read(0, _BOOT_LENGTH) != self._rom_start and frames < _MOST_BOOT_FRAMES:
            self._pyboy.tick(1, False, False)
            frames += 1
        self.load_state(self._just_created)
        if 1 < frames < _MOST_BOOT_FRAMES:
            self._pyboy.tick(frames - 1, False, False)
        return self.save_state()


def _require_display() -> None:
    """Raise EmulatorError if SDL finds no desktop: it would fall back to drawing nowhere, and the game would be invisible."""
    import sdl2

    started = sdl2.SDL_InitSubSystem(sdl2.SDL_INIT_VIDEO) == 0
    reason = sdl2.SDL_GetError().decode()
    driver = sdl2.SDL_GetCurrentVideoDriver() if started else None
    if started:
        sdl2.SDL_QuitSubSystem(sdl2.SDL_INIT_VIDEO)
    if started and (driver not in (b"offscreen", b"dummy", b"evdev") or os.environ.get("SDL_VIDEODRIVER")):
        return
    raise EmulatorError(
        f"no window can be opened here ({reason or 'SDL found no desktop'}). Run headless (headless=True, "
        "render_mode=None or 'rgb_array'), on a machine with a desktop, or under a virtual one (`xvfb-run -a python "
        "...`)."
    )
