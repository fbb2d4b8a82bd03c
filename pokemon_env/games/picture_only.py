"""Any ROM of an unknown game: it can be played, recorded and cloned, and no more."""

from __future__ import annotations

from pokemon_env.games.base import GB_BUTTONS, GBA_BUTTONS, Game
from pokemon_env.rom import RomHeader


class PictureOnly(Game):
    """No state, no milestones, no seed: episodes end by truncation only, and differ by the release's jitter alone."""

    id = "picture_only"
    name = "unknown game"

    def __init__(self, system: str = "gb") -> None:
        self.system = system
        self.buttons = GBA_BUTTONS if system == "gba" else GB_BUTTONS

    def matches(self, header: RomHeader) -> bool:
        return False
