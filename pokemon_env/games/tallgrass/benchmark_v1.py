"""Tallgrass-v1, the benchmark, frozen: a result counts as v1's if `check()` passes where it was measured.

A change of any of these figures makes another benchmark, with another version.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from pokemon_env import splits
from pokemon_env.emulators.pyboy_emulator import PyBoyEmulator
from pokemon_env.games.tallgrass import frozen
from pokemon_env.games.tallgrass.benchmark_env import BenchmarkEnv
from pokemon_env.games.tallgrass.worlds.generate import generate_world
from pokemon_env.games.tallgrass.worlds.image import pack
from pokemon_env.rom import BUNDLED_ROM
from pokemon_env.tiers import TIERS

ENV_ID = "Tallgrass-v1"
ROM_SHA256 = "82cc38cb3287d504b805988e36903cb67295f9dd9c11cf31462188c5f360483c"
EMULATOR, EMULATOR_VERSION = "pyboy", "2.8.1"

HOLD_FRAMES = 12
RELEASE_FRAMES = 12
RELEASE_FRAMES_RANGE = (12, 20)
IDLE_FRAMES_RANGE = (0, 60)
"""Frames of 1/60 s. The ranges, both ends included, are those of all tiers but T0."""

BUTTONS = ("A", "B", "START", "SELECT", "UP", "DOWN", "LEFT", "RIGHT")
SCREEN_SHAPE = (144, 160, 3)

SPLITS = {"train": (1, 999), "choose": (1000, 1099), "test": (10500, 10999)}
"""First and last world of each. World 0 is the one made by hand; 10000 to 10499 are spent: settings were once chosen by them."""
TIER_WORLDS = {"T0": "0", "T1": "0", "T2": "train", "T3": "0", "T4": "train"}
"""The worlds that a tier is played in where none are named; T2 and T4 are reported on "test"."""
TIER_RULES = {
    "T0": (False, False, False, 1.0, False, True),
    "T1": (True, True, True, 0.25, False, True),
    "T2": (True, True, False, 0.25, False, True),
    "T3": (True, True, False, 0.25, True, True),
    "T4": (True, True, False, 0.25, False, False),
}
"""Whether people move, timing jitters, light and grounds vary; the share of natural starts; whether the screen hides things, and
has a compass."""
WORLDS_SHA256 = "72dab7e420a81ef81cad3c7eab5bbbc63dee873e4ae4700b2899ee5926051ffb"
"""Hash of the images of the first and last world of each split, concatenated: it shows that the generator is unchanged."""

MILESTONES = (
    "GAME_RUNNING", "PLAYER_NAME_SET", "INTRO_CUTSCENE_COMPLETE", "PLAYER_BEDROOM", "CLOCK_SET", "GO_DOWNSTAIRS_TO_1F",
    "LEAVE_HOUSE", "RIVAL_HOUSE", "RIVAL_BEDROOM", "EXIT_RIVAL_HOUSE", "LAB_ENTERED", "STARTER_CHOSEN",
    "RIVAL_BATTLE_WON", "EXIT_LAB", "ROUTE_1", "FIRST_CATCH", "SECOND_TOWN", "HEALED", "ROUTE_2", "TRAINER_BEATEN",
    "GYM_ENTERED", "GYM_TRAINER_BEATEN", "LEADER_BEATEN", "BADGE",
)  # fmt: skip
SCORED: tuple[str, ...] = tuple(
    name
    for name in MILESTONES
    if name not in {
        "GAME_RUNNING", "PLAYER_NAME_SET", "INTRO_CUTSCENE_COMPLETE", "PLAYER_BEDROOM", "GO_DOWNSTAIRS_TO_1F", "RIVAL_BEDROOM",
        "EXIT_LAB",
    }
)  # fmt: skip
"""The milestones that count: a trivial policy solves the others by nature."""

FROZEN_STEPS_SHA256 = "84a88fcb125ad73017399f62995f97f16fd57beeda557dfff1a6df8c944cf422"
"""Of `frozen_steps.json`: the expert's steps in each frozen episode, from which the limits follow."""
EPISODES = 100
"""Episodes of each milestone, in the test and to choose by."""
FIRST_SEEDS = {"choose": 110_000, "test": 100_000}
SUCCESS_WITHIN = 2
"""An episode succeeds if it reaches its milestone within so many times the steps that the expert takes from the same seed."""
LABEL_BUDGETS = (250, 1_000, 10_000)
"""Labels for which results are reported: steps of demonstrations with a label, and queries. Networks and gradient steps are free,
and reported."""


def step_limit(milestone: str, tier: str, factor: float = SUCCESS_WITHIN) -> int:
    """Return a limit for the rollouts and demonstrations of a milestone: `factor` times the expert's mean steps.

    Episodes that count have limits of their own (`frozen.limits`). Raises KeyError for an unknown milestone.
    """
    return math.ceil(factor * frozen.mean_steps(milestone, tier))


def make(milestone: str, split: str = "test", compass: bool = True, **settings: Any) -> BenchmarkEnv:
    """Return the benchmark's environment for a milestone; `gymnasium.make("Tallgrass-v1", milestone=...)` makes the same."""
    return BenchmarkEnv(milestone, split, compass, **settings)


class NotTallgrassV1(RuntimeError):
    """What is installed here differs from the benchmark's specification."""


def measured() -> dict[str, Any]:
    """Return the actual values, under the names of this module's constants."""
    from pokemon_env.games.tallgrass import GAME

    return {
        "ROM_SHA256": hashlib.sha256(BUNDLED_ROM.read_bytes()).hexdigest(),
        "EMULATOR": PyBoyEmulator.name,
        "EMULATOR_VERSION": PyBoyEmulator.version,
        "HOLD_FRAMES": GAME.hold_frames,
        "RELEASE_FRAMES": GAME.release_frames,
        "RELEASE_FRAMES_RANGE": GAME.release_frames_range,
        "IDLE_FRAMES_RANGE": GAME.idle_frames_range,
        "BUTTONS": GAME.buttons,
        "SCREEN_SHAPE": PyBoyEmulator.screen_shape,
        "SPLITS": {name: _ends(splits.parse_worlds(name)) for name in SPLITS},
        "TIER_WORLDS": {name: tier.worlds for name, tier in TIERS.items()},
        "TIER_RULES": {
            name: (tier.people_move, tier.jitter, tier.looks_vary, tier.natural_share, tier.hides, tier.compass)
            for name, tier in TIERS.items()
        },
        "WORLDS_SHA256": hashlib.sha256(
            b"".join(pack(generate_world(world)) for ends in SPLITS.values() for world in ends)
        ).hexdigest(),
        "MILESTONES": tuple(milestone.id for milestone in GAME.milestones),
        "FROZEN_STEPS_SHA256": hashlib.sha256(frozen.PATH.read_bytes()).hexdigest(),
        "EPISODES": frozen.EPISODES,
        "FIRST_SEEDS": frozen.FIRST_SEEDS,
        "SUCCESS_WITHIN": frozen.FACTOR,
    }


def check() -> None:
    """Raise NotTallgrassV1, which names all differences, unless everything here is as specified."""
    differences = [
        f"{name} is {value!r}, specified is {globals()[name]!r}" for name, value in measured().items() if value != globals()[name]
    ]
    if unknown := set(SCORED) - set(MILESTONES):
        differences.append(f"SCORED names {', '.join(sorted(unknown))}, which the game does not have")
    if differences:
        raise NotTallgrassV1(
            f"this is not {ENV_ID}: {'; '.join(differences)}. Check out the version whose results are compared with, and install "
            "its requirements.txt; or call what is measured by another name."
        )


def _ends(worlds: range) -> tuple[int, int]:
    return worlds[0], worlds[-1]
