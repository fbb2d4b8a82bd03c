"""An SDL window for a person: the presses that they typed, in order, and a title that shows the next ones."""

from __future__ import annotations

import time
from collections import deque

from pokemon_env.errors import WindowClosed

CAPACITY = 128
"""Presses that may wait. At 8 a second for 10 seconds, about 60 wait where the game cannot be shown any faster."""
HOLD_SECONDS = 0.25
"""A key that has been down for this long is pressed again: longer than a tap, shorter than a step at the console's speed."""
_FRAME_SECONDS = 1 / 60
_SHOWN = 3  # waiting presses that the title shows


class Window:
    """Input typed in the newest SDL window of this process.

    A press is sent by the keyboard when a key goes down; the repetitions that the desktop sends while it is held are ignored.
    A key that is held is pressed again when no other press waits (`HOLD_SECONDS`), so that the person can walk. Keys: arrows,
    A = A, S = B, Return = START, Backspace = SELECT; Delete drops the waiting presses; Escape closes, after those that were
    typed before it.

    Attributes:
        waiting: the presses that were typed and not returned yet, the oldest first; at most `CAPACITY`.
        refused: how many presses were refused so far because `CAPACITY` presses waited already.
        fast_forward: while it is set, no frame waits for its time, only a step's last is shown, and keys are ignored.
    """

    def __init__(self, name: str, speed: float):
        """Read keys from now on.

        name: the title begins with it. speed: 1 is the console's own, 0 as fast as possible.
        """
        import sdl2

        self._sdl = sdl2
        self._buttons = {
            sdl2.SDLK_UP: "UP",
            sdl2.SDLK_DOWN: "DOWN",
            sdl2.SDLK_LEFT: "LEFT",
            sdl2.SDLK_RIGHT: "RIGHT",
            sdl2.SDLK_a: "A",
            sdl2.SDLK_s: "B",
            sdl2.SDLK_RETURN: "START",
            sdl2.SDLK_BACKSPACE: "SELECT",
        }
        self.waiting: deque[str] = deque()
        self.refused = 0
        self.fast_forward = False
        self._name, self._speed = name, speed
        self._held: dict[str, float] = {}  # button -> since when its key is down, the latest last
        self._pressed: str | None = None  # what was returned last
        self._asked = False  # whether presses are polled at all
        self._closed = False
        self._ignored_lately = 0  # keys refused since the last time that nothing waited
        self._due = 0.0  # when the next frame is to be shown
        self._id = 0
        self._read()

    def next_button(self) -> str | None:
        """Return the next press, if any. Raises WindowClosed when all that were typed before the closing have been returned."""
        self._asked = True
        self._read()
        self._pressed = self._next()
        self._show_title()
        return self._pressed

    def frame_shown(self) -> None:
        """Handle events, and wait until the next frame is due: sooner the more presses wait, so that the game keeps pace."""
        self._read()
        self._show_title()
        if self._speed and not self.fast_forward:
            now = time.monotonic()
            # A late frame delays those after it: none is hurried to make up for it.
            self._due = max(now, self._due + _FRAME_SECONDS / (self._speed * (1 + len(self.waiting))))
            time.sleep(self._due - now)

    def step_shown(self) -> None:
        """Raise WindowClosed if the window was closed and presses are not polled, which would raise it in its turn."""
        if self._closed and not self._asked:
            raise WindowClosed("the emulator's window was closed.")

    def clear(self) -> int:
        """Drop the waiting presses and the keys that are down; return how many presses waited."""
        self._read()
        dropped = len(self.waiting)
        self.waiting.clear()
        self._held.clear()
        self._pressed, self._ignored_lately = None, 0
        return dropped

    def _next(self) -> str | None:
        if self.waiting:
            return self.waiting.popleft()
        self._ignored_lately = 0
        if self._closed:
            raise WindowClosed("the emulator's window was closed.")
        held = next(reversed(self._held), None)
        return held if held and time.monotonic() - self._held[held] >= HOLD_SECONDS else None

    def _read(self) -> None:
        """Handle the window's events since the last call."""
        from sdl2.ext import get_events

        sdl2 = self._sdl
        for event in get_events():
            if event.type == sdl2.SDL_QUIT:
                self._closed = True
            elif event.type == sdl2.SDL_WINDOWEVENT:
                self._id = event.window.windowID
            elif event.type == sdl2.SDL_KEYUP:
                if button := self._buttons.get(event.key.keysym.sym):
                    self._held.pop(button, None)
            elif event.type == sdl2.SDL_KEYDOWN and not event.key.repeat:
                self._key_down(event.key.keysym.sym)

    def _key_down(self, key: int) -> None:
        if key == self._sdl.SDLK_ESCAPE:
            self._closed = True
        elif self._closed or self.fast_forward:
            return
        elif key == self._sdl.SDLK_DELETE:
            self.waiting.clear()
        elif button := self._buttons.get(key):
            self._held.pop(button, None)
            self._held[button] = time.monotonic()
            if len(self.waiting) < CAPACITY:
                self.waiting.append(button)
            else:
                self.refused += 1
                self._ignored_lately += 1

    def _show_title(self) -> None:
        """Set the title, which the emulator also sets now and then; leave it alone if presses are not polled."""
        window = self._sdl.SDL_GetWindowFromID(self._id)
        if not window or not (self._asked or self.fast_forward):
            return
        title = self._title().encode()
        if self._sdl.SDL_GetWindowTitle(window) != title:
            self._sdl.SDL_SetWindowTitle(window, title)

    def _title(self) -> str:
        if self.fast_forward:
            return f"{self._name}: one moment"
        shown = [self._pressed] if self._pressed else []
        if self.waiting:
            shown += ["next " + ", ".join(list(self.waiting)[:_SHOWN])]
            if len(self.waiting) > _SHOWN:
                shown[-1] += f" and {len(self.waiting) - _SHOWN} more (Delete drops them)"
        if self._ignored_lately:
            shown.insert(0, f"FULL, {self._ignored_lately} keys ignored")
        return f"{self._name}: {' | '.join(shown) if shown else 'press a key'}"
