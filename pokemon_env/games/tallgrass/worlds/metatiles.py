"""The metatiles of the two tilesets by name, and the classes of their ids."""

from __future__ import annotations

OUTDOOR_TILESET, INDOOR_TILESET = 0, 1

OUTDOOR = {
    "ground": 0x00, "path": 0x01, "flowers": 0x02, "heath": 0x03, "leaves": 0x04, "loam": 0x05,
    "tall_grass": 0x20, "ledge": 0x28, "house_door": 0x30, "lab_door": 0x31,
    "road_north": 0x32, "road_south": 0x33, "tree": 0x40, "fence": 0x41, "water": 0x42, "sign": 0x43,
    "roof_top_left": 0x44,
    "roof_top": 0x45, "roof_top_right": 0x46, "roof_left": 0x47, "roof": 0x48, "roof_right": 0x49, "wall_left": 0x4A,
    "wall_window": 0x4B, "wall_right": 0x4C, "lab_roof_left": 0x4D, "lab_roof": 0x4E, "lab_roof_right": 0x4F,
    "lab_wall_left": 0x50, "lab_window": 0x51, "lab_wall_right": 0x52, "lab_wall": 0x53, "barrier": 0x54,
    "lab_door_shut": 0x55, "water_nw": 0x56, "water_n": 0x57, "water_ne": 0x58, "water_w": 0x59, "water_e": 0x5A,
    "water_sw": 0x5B, "water_s": 0x5C, "water_se": 0x5D, "centre_sign": 0x5E,
    "gym_sign": 0x5F, "rock": 0x60,
}  # fmt: skip
INDOOR = {
    "floor": 0x00, "lab_floor": 0x01, "bed_pillow": 0x02, "rug_nw": 0x03, "rug_n": 0x04, "rug_ne": 0x05, "rug_sw": 0x06,
    "rug_s": 0x07, "rug_se": 0x08, "gym_floor": 0x09, "boards": 0x0A, "slate": 0x0B,
    "stairs_up": 0x30, "stairs_down": 0x31, "mat": 0x32,
    "wall": 0x40, "window": 0x41,
    "clock": 0x42, "picture": 0x43, "shelf": 0x44, "table": 0x45, "tv": 0x46, "toy_box": 0x47, "plant": 0x48,
    "shut_door": 0x49, "void": 0x4A, "machine": 0x4B, "lab_table": 0x4C, "bed_foot": 0x4D, "fridge": 0x4E, "stove": 0x4F,
    "stool": 0x50, "front_wall": 0x51, "table_left": 0x52, "table_right": 0x53, "counter": 0x54,
    "healer": 0x55, "gym_wall": 0x56, "statue": 0x57,
}  # fmt: skip
TILESETS = {"outdoor": OUTDOOR, "indoor": INDOOR}


def is_grass(metatile: int) -> bool:
    return 0x20 <= metatile < 0x28


def is_ledge(metatile: int) -> bool:
    """Return whether it is a ledge: hopped over from above, to the tile below it; a wall from everywhere else."""
    return 0x28 <= metatile < 0x30


def is_warp(metatile: int) -> bool:
    return 0x30 <= metatile < 0x40


def is_solid(metatile: int) -> bool:
    return metatile >= 0x40
