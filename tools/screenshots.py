#!/usr/bin/env python3
"""Play Tallgrass with its experts and draw nine of the screens into one picture.

python -m tools.screenshots
python -m tools.screenshots --worlds 7 --output world_7.png
"""
# ruff: noqa: E402 - the flags are parsed before anything slow is imported, so that --help answers at once

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.flag_groups import TierName
from common.runtime.flag_types import Seed, check_bounds
from common.runtime.flags import parse_command_line


@dataclass
class Args:
    output: str = "tallgrass/docs/screens.png"
    """The picture to write."""
    worlds: str = "0"
    """World to play in; of several, one is drawn."""
    tier: TierName | None = None
    """Difficulty tier of the game. None takes one by day, in which people walk about: T3 in world 0, T2 in the others."""
    seed: Seed = 4
    """Seed of the run."""


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)

import numpy as np
from PIL import Image

from agent.policy_expert import PolicyExpert
from benchmarks.folders import run_table
from common.runtime.files import atomic_write
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.splits import parse_worlds

SCALE, COLUMNS, GAP = 2, 3, 6


def wanted(state: dict) -> list[str]:
    """Return which of the nine pictures this state fits."""
    game, place = state["game"], state["player"]["location"]
    found = []
    if game["game_state"] == "title":
        found.append("title")
    if game["objective"] == "SET_CLOCK" and game["menu"] and game["menu"]["name"] == "clock":
        found.append("clock")
    near = [p for p in state["map"]["people"] if abs(p["x"] - state["player"]["position"]["x"]) < 4]
    if place == "TOWN" and game["game_state"] == "overworld" and len(near) >= 2:
        found.append("town")
    if place == "LAB" and game["menu"] and game["menu"]["name"] == "yes_no":
        found.append("lab")
    if game["game_state"] == "battle" and game["menu"] and game["menu"]["name"] == "moves":
        found.append("battle")
    if place == "ROUTE_1" and game["game_state"] == "overworld" and state["player"]["position"]["y"] < 19:
        found.append("grass")
    if place == "CENTER" and game["menu"] and game["menu"]["name"] == "yes_no":
        found.append("centre")
    if place == "ROUTE_2" and game["text"] and game["text"]["script"] == "T_TRAINER_ROUTE":
        found.append("trainer")
    if place == "GYM" and game["objective"] == "BEAT_GYM_TRAINER" and near and game["game_state"] == "overworld":
        found.append("gym")
    return found


def main(args: Args) -> int:
    check_bounds(args)
    tier = args.tier or ("T3" if 0 in parse_worlds(args.worlds) else "T2")
    env = PokemonEnv(tier=tier, worlds=args.worlds)
    picture, state = env.reset(seed=args.seed)
    pictures: dict[str, np.ndarray] = {}
    for milestone in env.milestones:
        expert = PolicyExpert((env.game.policy_dir, milestone.id), env.game)
        while not state["milestones"][milestone.id]["completed"]:
            for name in wanted(state):
                pictures.setdefault(name, picture)
            answer = expert.label(state)
            if answer.action is None:
                raise ValueError(f"the expert of {milestone.id} stopped: {answer.reason}; choose another --seed or --worlds")
            picture, _, _, _, state = env.step(answer.action)
    order = [name for name in ("title", "clock", "town", "lab", "battle", "grass", "centre", "trainer", "gym") if name in pictures]
    height, width = picture.shape[0] * SCALE + GAP, picture.shape[1] * SCALE + GAP
    sheet = Image.new("RGB", (COLUMNS * width - GAP, -(-len(order) // COLUMNS) * height - GAP), (110, 110, 110))
    for i, name in enumerate(order):
        image = Image.fromarray(pictures[name])
        image = image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST)
        sheet.paste(image, (i % COLUMNS * width, i // COLUMNS * height))
    with atomic_write(Path(args.output)) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)
    print(f"{args.output}: {', '.join(order)}")
    return 0


if __name__ == "__main__":
    run_table("screenshots.py", lambda: main(args))
