"""Tallgrass-v1, the benchmark, frozen: a result counts as v1's if `check()` passes where it was measured.

A change of any of these figures makes another benchmark, with another version.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from pokemon_env import splits
from pokemon_env.emulators.pyboy_emulator import PyBoyEmulator
from pokemon_env.games.tallgrass.worlds.generate import generate_world
from pokemon_env.games.tallgrass.worlds.image import pack
from pokemon_env.rom import BUNDLED_ROM
from pokemon_env.tiers import TIERS

ENV_ID = "Tallgrass-v1"
ROM_SHA256 = "d94e991694def581a668869fe6d9d95404db4e63d716d7c5486fde9c7d734ee3"
EMULATOR, EMULATOR_VERSION = "pyboy", "2.8.1"

HOLD_FRAMES = 12
RELEASE_FRAMES = 12
RELEASE_FRAMES_RANGE = (12, 20)
IDLE_FRAMES_RANGE = (0, 60)
"""Frames of 1/60 s. The ranges, both ends included, are those of all tiers but T0."""

BUTTONS = ("A", "B", "START", "SELECT", "UP", "DOWN", "LEFT", "RIGHT")
SCREEN_SHAPE = (144, 160, 3)

SPLITS = {"train": (1, 999), "choose": (1000, 1099), "test": (10000, 10999)}
"""First and last world of each. World 0 is the one made by hand."""
TIER_WORLDS = {"T0": "0", "T1": "0", "T2": "train", "T3": "0"}
"""The worlds that a tier is played in if none are named; T2 is reported on "test"."""
TIER_RULES = {
    "T0": (False, False, False, 1.0, False),
    "T1": (True, True, True, 0.25, False),
    "T2": (True, True, False, 0.25, False),
    "T3": (True, True, False, 0.25, True),
}
"""Whether people move, timing jitters, and light and grounds vary; the share of natural starts; whether the screen hides things."""
WORLDS_SHA256 = "f87815390d5cb761465d8ceaf01b01ef942c71a99474b9443aa252eddc6d3865"
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

EXPERT_STEPS: dict[str, dict[str, float]] = {
    "T1": {
        "GAME_RUNNING": 1.0,
        "PLAYER_NAME_SET": 5.74,
        "INTRO_CUTSCENE_COMPLETE": 4.26,
        "PLAYER_BEDROOM": 1.0,
        "CLOCK_SET": 13.72,
        "GO_DOWNSTAIRS_TO_1F": 5.5,
        "LEAVE_HOUSE": 12.78,
        "RIVAL_HOUSE": 17.12,
        "RIVAL_BEDROOM": 7.14,
        "EXIT_RIVAL_HOUSE": 23.96,
        "LAB_ENTERED": 15.2,
        "STARTER_CHOSEN": 10.32,
        "RIVAL_BATTLE_WON": 32.46,
        "EXIT_LAB": 5.98,
        "ROUTE_1": 18.32,
        "FIRST_CATCH": 36.54,
        "SECOND_TOWN": 16.94,
        "HEALED": 19.72,
        "ROUTE_2": 21.96,
        "TRAINER_BEATEN": 54.5,
        "GYM_ENTERED": 11.04,
        "GYM_TRAINER_BEATEN": 46.54,
        "LEADER_BEATEN": 44.26,
        "BADGE": 20.42,
    },
    "T2": {
        "GAME_RUNNING": 1.0,
        "PLAYER_NAME_SET": 6.24,
        "INTRO_CUTSCENE_COMPLETE": 4.48,
        "PLAYER_BEDROOM": 1.0,
        "CLOCK_SET": 14.38,
        "GO_DOWNSTAIRS_TO_1F": 6.02,
        "LEAVE_HOUSE": 14.9,
        "RIVAL_HOUSE": 12.98,
        "RIVAL_BEDROOM": 6.82,
        "EXIT_RIVAL_HOUSE": 19.44,
        "LAB_ENTERED": 14.86,
        "STARTER_CHOSEN": 9.96,
        "RIVAL_BATTLE_WON": 35.08,
        "EXIT_LAB": 7.02,
        "ROUTE_1": 16.42,
        "FIRST_CATCH": 35.7,
        "SECOND_TOWN": 16.48,
        "HEALED": 22.96,
        "ROUTE_2": 23.88,
        "TRAINER_BEATEN": 59.06,
        "GYM_ENTERED": 8.16,
        "GYM_TRAINER_BEATEN": 46.68,
        "LEADER_BEATEN": 42.3,
        "BADGE": 22.16,
    },
}
"""Tier -> milestone -> the expert's mean steps from the tier's starts, over its successes of 50 (`python -m benchmarks.audit
--audits expert`)."""
SUCCESS_WITHIN, ALSO_REPORTED_WITHIN = 2, 4
"""An episode succeeds if it reaches its milestone within this multiple of the expert's mean steps. The second is reported in
addition to the first."""


def step_limit(milestone: str, tier: str, factor: float = SUCCESS_WITHIN) -> int:
    """Return the number of steps within which an episode must reach the milestone; raises KeyError for an unknown one."""
    return math.ceil(factor * EXPERT_STEPS[tier][milestone])


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
            name: (tier.people_move, tier.jitter, tier.looks_vary, tier.natural_share, tier.hides) for name, tier in TIERS.items()
        },
        "WORLDS_SHA256": hashlib.sha256(
            b"".join(pack(generate_world(world)) for ends in SPLITS.values() for world in ends)
        ).hexdigest(),
        "MILESTONES": tuple(milestone.id for milestone in GAME.milestones),
    }


def check() -> None:
    """Raise NotTallgrassV1, which names all differences, unless everything here is as specified."""
    differences = [
        f"{name} is {value!r}, specified is {globals()[name]!r}" for name, value in measured().items() if value != globals()[name]
    ]
    for name, milestones in (("SCORED", SCORED), *((f"EXPERT_STEPS[{tier!r}]", steps) for tier, steps in EXPERT_STEPS.items())):
        if unknown := set(milestones) - set(MILESTONES):
            differences.append(f"{name} names {', '.join(sorted(unknown))}, which the game does not have")
    if differences:
        raise NotTallgrassV1(
            f"this is not {ENV_ID}: {'; '.join(differences)}. Check out the version whose results are compared with, and install "
            "its requirements.txt; or call what is measured by another name."
        )


def _ends(worlds: range) -> tuple[int, int]:
    return worlds[0], worlds[-1]
