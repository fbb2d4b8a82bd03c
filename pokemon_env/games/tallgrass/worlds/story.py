"""The ids used in maps and stages, as the game numbers them (tallgrass/data; a test keeps both equal)."""

from __future__ import annotations

MAPS = (
    "BEDROOM", "HOUSE_1F", "TOWN", "RIVAL_1F", "RIVAL_2F", "LAB", "ROUTE_1", "TOWN_2", "CENTER", "ROUTE_2", "GYM",
)  # fmt: skip
MAP_ID = {name: number for number, name in enumerate(MAPS)}
CONNECTIONS = {
    "BEDROOM": ("HOUSE_1F",),
    "HOUSE_1F": ("BEDROOM", "TOWN"),
    "TOWN": ("HOUSE_1F", "RIVAL_1F", "LAB", "ROUTE_1"),
    "RIVAL_1F": ("TOWN", "RIVAL_2F"),
    "RIVAL_2F": ("RIVAL_1F",),
    "LAB": ("TOWN",),
    "ROUTE_1": ("TOWN", "TOWN_2"),
    "TOWN_2": ("ROUTE_1", "CENTER", "ROUTE_2"),
    "CENTER": ("TOWN_2",),
    "ROUTE_2": ("TOWN_2", "GYM"),
    "GYM": ("ROUTE_2",),
}
"""Map -> the maps that one warp leads to: the same in every world."""

EVENTS = (
    "GAME_STARTED", "NAME_SET", "INTRO_DONE", "OUT_OF_BED", "CLOCK_SET", "WENT_DOWNSTAIRS", "TALKED_MOM", "LEFT_HOUSE",
    "RIVAL_HOUSE", "RIVAL_BEDROOM", "MET_RIVAL", "EXIT_RIVAL_HOUSE", "LAB_ENTERED", "GOT_STARTER", "RIVAL_BEATEN",
    "EXIT_LAB", "ROUTE_1", "FIRST_CATCH", "SECOND_TOWN", "HEALED", "ROUTE_2", "TRAINER_BEATEN", "GYM_ENTERED",
    "GYM_TRAINER_BEATEN", "LEADER_BEATEN", "BADGE", "ASKED", "SIGN_READ", "FORK_LEFT", "FORK_RIGHT",
)  # fmt: skip
EVENT_ID = {name: number for number, name in enumerate(EVENTS, start=1)}
"""Event n is bit n % 8 of byte n // 8 of the flags."""

MILESTONES = {
    "GAME_RUNNING": "GAME_STARTED", "PLAYER_NAME_SET": "NAME_SET", "INTRO_CUTSCENE_COMPLETE": "INTRO_DONE",
    "PLAYER_BEDROOM": "OUT_OF_BED", "CLOCK_SET": "CLOCK_SET", "GO_DOWNSTAIRS_TO_1F": "WENT_DOWNSTAIRS",
    "LEAVE_HOUSE": "LEFT_HOUSE", "RIVAL_HOUSE": "RIVAL_HOUSE", "RIVAL_BEDROOM": "RIVAL_BEDROOM",
    "EXIT_RIVAL_HOUSE": "EXIT_RIVAL_HOUSE", "LAB_ENTERED": "LAB_ENTERED", "STARTER_CHOSEN": "GOT_STARTER",
    "RIVAL_BATTLE_WON": "RIVAL_BEATEN", "EXIT_LAB": "EXIT_LAB", "ROUTE_1": "ROUTE_1", "FIRST_CATCH": "FIRST_CATCH",
    "SECOND_TOWN": "SECOND_TOWN", "HEALED": "HEALED", "ROUTE_2": "ROUTE_2", "TRAINER_BEATEN": "TRAINER_BEATEN",
    "GYM_ENTERED": "GYM_ENTERED", "GYM_TRAINER_BEATEN": "GYM_TRAINER_BEATEN", "LEADER_BEATEN": "LEADER_BEATEN",
    "BADGE": "BADGE",
}  # fmt: skip
"""Milestone -> the event that completes it, in the story's order."""

FACINGS = ("down", "up", "left", "right")
DOWN, UP, LEFT, RIGHT = range(4)
STEPS = ((0, 1), (0, -1), (-1, 0), (1, 0))
"""dx, dy of a step in each facing."""

STILL, WANDER, LOOK, SIGHT = range(4)
"""How a person moves: not at all; within a square around home; turning on the spot; watching the tiles ahead for a battle."""

SPRITES = (
    "PLAYER", "MOM", "RIVAL", "PROF", "MAN", "WOMAN", "KID", "ELDER", "BALL", "NURSE", "LEADER", "TRAINER",
)  # fmt: skip
SPRITE_ID = {name: number for number, name in enumerate(SPRITES)}

SCRIPT_ID = {
    "T_CLOCK": 3, "T_MOM": 7, "T_RIVAL": 10, "T_RIVAL_MOM": 12, "T_PROF": 13, "T_BALL_LEAF": 18, "T_BALL_EMBER": 19,
    "T_BALL_WAVE": 20, "T_RIVAL_LAB": 23, "T_SIGN_HOME": 32, "T_SIGN_RIVAL": 33, "T_SIGN_LAB": 34, "T_SIGN_NORTH": 35,
    "T_SIGN_POND": 36, "T_SIGN_ROUTE": 37, "T_SIGN_CLOSED": 38, "T_TOWN_WOMAN": 39, "T_TOWN_MAN": 40, "T_TOWN_KID": 41,
    "T_TOWN_ELDER": 42, "T_AIDE_1": 43, "T_AIDE_2": 44, "T_ROUTE_MAN": 45, "T_ROUTE_KID": 46, "T_SHELF": 47, "T_TV": 48,
    "T_FRIDGE": 49, "T_TABLE": 50, "T_MACHINE": 51, "T_LAB_SHELF": 52, "T_TOYS": 53,
    "T_NURSE": 57, "T_TRAINER_ROUTE": 61, "T_TRAINER_GYM": 64, "T_LEADER": 67, "T_GUIDE": 70, "T_SIGN_FORK": 75,
    "T_SIGN_GYM": 76, "T_SIGN_REED": 77, "T_SIGN_REED_NORTH": 78, "T_SIGN_CENTER": 79, "T_REED_WOMAN": 80, "T_REED_KID": 81,
    "T_REED_MAN": 82, "T_CENTER_ELDER": 83, "T_CENTER_TABLE": 84, "T_ROUTE_2_MAN": 85, "T_STATUE": 86,
}  # fmt: skip
"""What people and signs do: the id of a text is its position in tallgrass/data/text.toml, from 1."""

TRAINERS = ("RIVAL", "ROUTE", "GYM", "LEADER")
ENCOUNTER_TABLES = ("ROUTE_1", "ROUTE_2")
