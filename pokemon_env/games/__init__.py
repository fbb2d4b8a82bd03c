"""The known games: every module in this folder with a `GAME` is one.

To add a game, add a module: nothing else has to change (see `base.Game` for its contents, `tallgrass` for an example).
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings

from pokemon_env.games.base import Game
from pokemon_env.games.picture_only import PictureOnly
from pokemon_env.rom import Rom


def known_games() -> list[Game]:
    """Return all games, in the order of their modules' names."""
    games = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        game = getattr(importlib.import_module(f"{__name__}.{module.name}"), "GAME", None)
        if game is not None:
            games.append(game)
    return games


def find_game(rom: Rom) -> Game:
    """Return the game that this ROM's header belongs to; an unknown ROM is played by its screen alone."""
    for game in known_games():
        if game.system == rom.header.system and game.matches(rom.header):
            return game
    game = PictureOnly(rom.header.system)
    warnings.warn(
        f"{rom.path} ({rom.header.title!r}) is no game that is known here: it runs by its picture alone, without "
        "state, milestones, rewards and seeds. Recording by hand and cloning work; to have more, add a module to "
        "pokemon_env/games/.",
        stacklevel=2,
    )
    return game
