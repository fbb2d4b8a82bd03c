"""Errors of the environment that a user can fix. Each message names the file or value, and says what to do."""

from __future__ import annotations


class PokemonEnvError(Exception):
    """The base of all errors here that a user can fix."""


class EmulatorError(PokemonEnvError, RuntimeError):
    """The emulator could not be started, or refused a request."""


class RomError(EmulatorError):
    """A ROM file is missing, damaged, or not a ROM that can be played here."""


class WindowClosed(EmulatorError):
    """The person closed the emulator's window (or pressed Escape in it)."""


class StateFileError(EmulatorError):
    """A state file cannot be used; the message names it, says why, and what to do."""


class MilestoneAlreadyCompleted(PokemonEnvError, ValueError):
    """The episode's target is already reached in the state that it would start from."""
