"""Fixtures for all tests: the bundled game, ROMs made from it, and a saved state in the game's world."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Small work on a machine that may be busy: one thread, in the scripts that tests start as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell that starts the suite in the background lets it ignore Ctrl-C, and so the scripts that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the project is run from its root, not installed

from pokemon_env.gym_env import PokemonEnv  # noqa: E402
from pokemon_env.rom import BUNDLED_ROM  # noqa: E402


@pytest.fixture(scope="session")
def rom_path() -> Path:
    """The bundled game."""
    assert BUNDLED_ROM.is_file(), f"{BUNDLED_ROM} is missing: `make rom` builds it"
    return BUNDLED_ROM


@pytest.fixture(scope="session")
def rom_titled(rom_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a copy of the game under another title: to the environment another game, and another ROM."""

    def make(title: str) -> Path:
        data = bytearray(rom_path.read_bytes())
        data[0x134:0x144] = title.encode().ljust(16, b"\0")
        data[0x14D] = -sum(data[0x134:0x14D]) - 0x19 & 0xFF
        path = tmp_path_factory.mktemp("rom") / f"{title}.gb"
        path.write_bytes(data)
        return path

    return make


@pytest.fixture(scope="session")
def bedroom_state(rom_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved state in which the player is free to walk: the bedroom, right after the introduction."""
    with PokemonEnv(rom_path) as env:
        press = {name: action for action, name in enumerate(env.buttons)}
        _, info = env.reset(seed=0)
        for _ in range(100):
            game, menu = info["game"], info["game"]["menu"]
            if game["game_state"] == "overworld":
                return env.save_state(tmp_path_factory.mktemp("states") / "bedroom.state")
            button = "START" if game["game_state"] == "title" else "A"
            if info["player"]["name"] and menu is not None and menu["cursor"] < 27:
                button = "RIGHT" if menu["cursor"] >= 21 else "DOWN"
            info = env.step(press[button])[-1]
    raise AssertionError(f"the bedroom was not reached: {info}")


@pytest.fixture
def forked_scripts(request: pytest.FixtureRequest):
    """Scripts that the test starts are forked (see tests/forked.py), unless it wants `from_nothing`."""
    from tests.forked import Forked

    with pytest.MonkeyPatch.context() as patch:
        if "from_nothing" not in request.fixturenames:
            patch.setattr(subprocess, "Popen", Forked)
        yield


@pytest.fixture
def from_nothing() -> None:
    """Scripts that the test starts are new processes, as a person starts them, where its file forks them otherwise."""


@pytest.fixture
def env(rom_path: Path):
    """An environment of the bundled game, from power-on."""
    with PokemonEnv(rom_path) as env:
        yield env
