"""Tallgrass, the bundled game."""

from pokemon_env.games.tallgrass.game import GAME as GAME
