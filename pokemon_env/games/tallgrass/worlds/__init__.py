"""Worlds of Tallgrass: maps drawn from a number, proven playable, packed for the game's cartridge RAM."""
