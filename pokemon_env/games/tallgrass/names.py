"""The meaning of the numbers in Tallgrass's memory. Tests compare these tables with the game's own data."""

from __future__ import annotations

from pokemon_env.games.tallgrass.worlds.story import CONNECTIONS, EVENTS, FACINGS, MAPS, SPRITES, TRAINERS

__all__ = [
    "BATTLES", "BEATS", "COMPASS", "CONNECTIONS", "EVENTS", "FACINGS", "MAPS", "MENUS", "MOVES", "OBJECTIVES", "SCRIPTS",
    "SPECIES", "SPRITES", "TRAINERS", "WISHES", "name_of",
]  # fmt: skip

MENUS = (None, "name_grid", "clock", "yes_no", "start", "party", "bag", "battle", "moves", "battle_bag", "title")
WISHES = ("LEAF", "EMBER", "WAVE")
BATTLES = (None, "wild", "trainer")
COMPASS = (None, "N", "NE", "E", "SE", "S", "SW", "W", "NW")
OBJECTIVES = (
    "NONE", "PRESS_START", "ENTER_NAME", "READ_ON", "GET_UP", "SET_CLOCK", "GO_DOWN", "TALK_MOM", "GO_OUT",
    "VISIT_RIVAL", "GO_UPSTAIRS", "TALK_RIVAL", "LEAVE_RIVAL", "GO_LAB", "TAKE_LEAF", "TAKE_EMBER", "TAKE_WAVE",
    "BATTLE_RIVAL", "LEAVE_LAB", "GO_NORTH", "CATCH_ONE", "GET_BALLS", "ALL_DONE", "GO_TOWN_2", "HEAL", "GO_ROUTE_2",
    "BEAT_TRAINER", "GO_GYM", "BEAT_GYM_TRAINER", "BEAT_LEADER", "GET_BADGE", "TAKE_ASKED", "READ_SIGN",
)  # fmt: skip
SPECIES = (  # (name, type); ids from 1
    ("SPROUTLE", "LEAF"), ("CINDKIT", "EMBER"), ("PUDDLEP", "WAVE"), ("NIBBIT", "NORMAL"), ("FLITTER", "LEAF"),
    ("GLOWBUG", "EMBER"), ("MUDFIN", "WAVE"), ("BOULDRAM", "NORMAL"),
)  # fmt: skip
MOVES = (  # (name, type, power, accuracy in percent); ids from 1
    ("BUMP", "NORMAL", 20, 95), ("VINE", "LEAF", 40, 95), ("SPARK", "EMBER", 40, 95), ("SPRAY", "WAVE", 40, 95),
    ("SLAM", "NORMAL", 70, 55), ("GROWL", "NORMAL", 0, 100), ("REST", "NORMAL", 0, 100), ("FLAIL", "NORMAL", 30, 100),
)  # fmt: skip
BEATS = {"LEAF": "WAVE", "WAVE": "EMBER", "EMBER": "LEAF"}
"""The type that a type does double damage to; in the opposite direction the damage is half."""
SCRIPTS = (
    None,
    "T_INTRO", "T_WAKE_UP", "T_CLOCK", "T_CLOCK_WRONG", "T_CLOCK_DONE", "T_CLOCK_ALREADY", "T_MOM", "T_MOM_LATER",
    "T_MOM_HEAL", "T_RIVAL", "T_RIVAL_AGAIN", "T_RIVAL_MOM", "T_PROF", "T_PROF_AFTER", "T_PROF_GIFT", "T_PROF_BALLS",
    "T_PROF_LATER", "T_BALL_LEAF", "T_BALL_EMBER", "T_BALL_WAVE", "T_BALL_PROMISED", "T_BALL_GOT", "T_RIVAL_LAB",
    "T_RIVAL_CHALLENGE", "T_RIVAL_BEATEN", "T_RIVAL_DONE", "T_LOST", "T_CAUGHT_END", "T_BAG_NO_EFFECT", "T_NOTHING",
    "T_SIGN_TOWN", "T_SIGN_HOME", "T_SIGN_RIVAL", "T_SIGN_LAB", "T_SIGN_NORTH", "T_SIGN_POND", "T_SIGN_ROUTE",
    "T_SIGN_CLOSED", "T_TOWN_WOMAN", "T_TOWN_MAN", "T_TOWN_KID", "T_TOWN_ELDER", "T_AIDE_1", "T_AIDE_2", "T_ROUTE_MAN",
    "T_ROUTE_KID", "T_SHELF", "T_TV", "T_FRIDGE", "T_TABLE", "T_MACHINE", "T_LAB_SHELF", "T_TOYS", "T_ASK_LEAF",
    "T_ASK_EMBER", "T_ASK_WAVE", "T_NURSE", "T_NURSE_HEALED", "T_NURSE_NO", "T_LOST_CENTER", "T_TRAINER_ROUTE",
    "T_TRAINER_ROUTE_WON", "T_TRAINER_ROUTE_DONE", "T_TRAINER_GYM", "T_TRAINER_GYM_WON", "T_TRAINER_GYM_DONE",
    "T_LEADER", "T_LEADER_WON", "T_LEADER_DONE", "T_GUIDE", "T_GUIDE_BADGE", "T_GUIDE_DONE", "T_BADGE_GOT", "T_ENDING",
    "T_SIGN_FORK", "T_SIGN_GYM", "T_SIGN_REED", "T_SIGN_REED_NORTH", "T_SIGN_CENTER", "T_REED_WOMAN", "T_REED_KID",
    "T_REED_MAN", "T_CENTER_ELDER", "T_CENTER_TABLE", "T_ROUTE_2_MAN", "T_STATUE",
)  # fmt: skip
"""A person's or sign's action is the id of a text: SCRIPTS[id], or None if the game has no text of that id."""


def name_of(names: tuple, number: int, kind: str) -> str:
    """Return names[number]; for a number that has no name, one made of `kind` and the number."""
    return names[number] if number < len(names) else f"{kind}_{number}"
