"""A player that goes where the compass points: it sees the screen alone, and understands nothing else on it.

What it knows of the game's pictures is the art of the arrow, of a panel's corner and of the cursor, in any light.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from common.policies import Policy
from common.runtime.scripts import ROOT
from common.runtime.seeding import episode_rng

ART = ROOT / "tallgrass" / "art"

TILE = 16
_MAP_HEIGHT = 8 * TILE  # the strip is below it
_PLAYER = (4, 4)  # row and column of the tile on which the player always stands
_PANEL_CORNER = (slice(136, 144), slice(0, 8))
_LOWER_CURSOR = (slice(128, 136), slice(8, 16))
"""Where the cursor is on NO, or on the second row of a battle's menus; one row above is YES, or the first."""

STOOD_STILL = 4
"""If at most so many of the map's 80 tiles differ after a press, the player has not moved. A person's step changes two tiles. The
player's own changes more: 5 at least, in the tests' walks."""
LONGEST_DETOUR = 4

_WORDS = {"N": "UP", "E": "RIGHT", "S": "DOWN", "W": "LEFT"}
_DIRECTIONS = tuple(_WORDS.values())


def read_arrow(screen: np.ndarray) -> str | None:
    """Return where the arrow at the right end of the strip points, "N" to "NW"; None where there is none.

    screen: (144, 160, 3) uint8, without a panel: that moves the strip up.
    """
    return _arrows().get(_pattern(screen[128:144, 144:160, 0]))


def is_panel_open(screen: np.ndarray) -> bool:
    """Whether a text, a question or a menu stands below the strip."""
    return _pattern(screen[*_PANEL_CORNER, 0]) == _pattern(_pictures("ui.txt")["87_box_bottom_left"])


def is_cursor_low(screen: np.ndarray) -> bool:
    """Whether an open menu's cursor is on its second row: on NO, in a question."""
    return _pattern(screen[*_LOWER_CURSOR, 0]) == _pattern(_pictures("ui.txt")["8A_cursor"])


def stood_still(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two screens of the map show the same place, but for people's steps and the player's own turn."""
    changed = (_map_tiles(before) != _map_tiles(after)).any(axis=(2, 3))
    changed[_PLAYER] = False
    return bool(changed.sum() <= STOOD_STILL)


@dataclass
class _Walk:
    rng: np.random.Generator
    before: np.ndarray | None = None
    """The screen on which `pressed`, a direction, was pressed; None if the last press was no direction."""
    pressed: str = ""
    blocked: set[str] = field(default_factory=set)
    """Directions in which the player cannot go from where it stands."""
    has_asked: bool = False
    """Whether A was pressed here."""
    detour: deque[str] = field(default_factory=deque)


class CompassFollower(Policy):
    """Steps where the arrow points; on a diagonal along either axis, at random.

    Where that way is blocked it tries the arrow's other axis, or, if the arrow has one only, presses A once: whoever it points
    at may stand there. Then it takes 1 to 4 steps in a direction drawn from those not known to be blocked, and follows the arrow
    again. In a text it presses A, to a question it says YES, and in a battle A picks the first move. It remembers its last
    screen, and what was blocked since its last step.
    """

    def __init__(self, buttons: Sequence[str]):
        self.buttons = buttons
        self._walks: dict[int, _Walk] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self._walks[slot] = _Walk(episode_rng(seed, "compass follower"))

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        pressed = [_press(self._walks[slot], screen) for slot, screen in zip(slots, screens, strict=True)]
        return [self.buttons.index(button) for button in pressed]


def _press(walk: _Walk, screen: np.ndarray) -> str:
    arrow = None if is_panel_open(screen) else read_arrow(screen)
    if arrow is None:
        walk.before = None
        return "UP" if is_panel_open(screen) and is_cursor_low(screen) else "A"
    if walk.before is not None:
        if stood_still(walk.before, screen):
            walk.blocked.add(walk.pressed)
            walk.detour.clear()
        else:
            walk.blocked.clear()
            walk.has_asked = False
    button = _choose(walk, arrow)
    walk.before, walk.pressed = (None if button == "A" else screen), button
    return button


def _choose(walk: _Walk, arrow: str) -> str:
    if walk.detour:
        return walk.detour.popleft()
    toward = [direction for letter in arrow if (direction := _WORDS[letter]) not in walk.blocked]
    if toward:
        return _any(walk, toward)
    ways = [direction for direction in _DIRECTIONS if direction not in walk.blocked]
    if not ways or (len(arrow) == 1 and not walk.has_asked):
        walk.has_asked = True
        if not ways:
            walk.blocked.clear()  # people all around, who may have gone on
        return "A"
    walk.detour.extend([_any(walk, ways)] * int(walk.rng.integers(1, LONGEST_DETOUR + 1)))
    return walk.detour.popleft()


def _any(walk: _Walk, directions: Sequence[str]) -> str:
    return directions[int(walk.rng.integers(len(directions)))]


def _map_tiles(screen: np.ndarray) -> np.ndarray:
    """The map's part of a screen as (8, 10, 16, 16) tiles, of one of the three channels, for the console has only greys."""
    return screen[:_MAP_HEIGHT, :, 0].reshape(8, TILE, 10, TILE).swapaxes(1, 2)


def _pattern(picture: np.ndarray) -> bytes:
    """What a picture of one channel is but for its shades: equal for two in which the same pixels are alike."""
    _, first, kinds = np.unique(picture, return_index=True, return_inverse=True)
    return first.argsort().argsort()[kinds].astype(np.uint8).tobytes()


@lru_cache(maxsize=1)
def _arrows() -> dict[bytes, str]:
    """What each arrow looks like. The art holds north and north-east, of which the others are turned by the compiler."""
    art = _pictures("compass.txt")
    straight, diagonal = art["NORTH"], art["NORTH_EAST"]
    arrows = {}
    for turns, (one, other) in enumerate((("N", "NE"), ("E", "SE"), ("S", "SW"), ("W", "NW"))):
        arrows[_pattern(np.rot90(straight, -turns))] = one
        arrows[_pattern(np.rot90(diagonal, -turns))] = other
    return arrows


@lru_cache(maxsize=2)
def _pictures(name: str) -> dict[str, np.ndarray]:
    """The pictures of a file of the game's art: `@ name`, and rows of a letter for each pixel; ';' starts a comment."""
    rows: dict[str, list[bytes]] = {}
    for line in (ART / name).read_text(encoding="ascii").splitlines():
        if line.startswith("@"):
            rows[line[1:].strip()] = []
        elif line.strip() and not line.startswith(";"):
            rows[next(reversed(rows))].append(line.strip().encode())
    return {name: np.array([list(row) for row in picture], np.uint8) for name, picture in rows.items()}
