#!/usr/bin/env python3
"""Measure how the four trainer battles go: moves drawn at random, and moves chosen by type.

    python tallgrass/tools/measure_battles.py --worlds 0 --battles 100

Every battle starts as in a real run: at the milestone before it, from the game's own start (start_milestone of the
environment), walked to and fought with the party that one has there. "Random" draws evenly among the moves that have PP
left. A battle counts once, at its first try. The rows are by trainer, shift (how the types lie, see data/monsters.toml)
and starter.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # pokemon_env is used from the checkout

from pokemon_env import PokemonEnv  # noqa: E402
from pokemon_env.games.tallgrass import tools  # noqa: E402

BATTLES = {
    "RIVAL": ("RIVAL_BATTLE_WON", "T_RIVAL_LAB", "LAB"),
    "ROUTE": ("TRAINER_BEATEN", "T_TRAINER_ROUTE", "ROUTE_2"),
    "GYM": ("GYM_TRAINER_BEATEN", "T_TRAINER_GYM", "GYM"),
    "LEADER": ("LEADER_BEATEN", "T_LEADER", "GYM"),
}
TYPES = ("LEAF", "EMBER", "WAVE")
LONGEST = 600


def play(env: PokemonEnv, trainer: str, seed: int, rng: np.random.Generator | None) -> tuple[str, int, bool, int] | None:
    """One battle -> (starter, shift, won, presses in it); None if the trainer was not reached."""
    milestone, script, where = BATTLES[trainer]
    info = env.reset(seed=seed)[1]
    slot, found, presses = None, None, 0
    for _ in range(LONGEST):
        game = info["game"]
        battle = game["battle_info"]
        if game["events"][env.milestone_events[milestone]] or (found and not battle):
            return *found, game["events"][env.milestone_events[milestone]], presses
        if battle and battle["kind"] == "trainer":
            presses += 1
            own, other = info["player"]["party"][0]["types"][0], battle["enemy"]["types"][0]
            found = found or (own, (TYPES.index(other) - TYPES.index(own)) % 3)
            action = tools.battle_action(info)
            menu = game["menu"] and game["menu"]["name"]
            if rng is not None and menu == "battle":
                slot = int(rng.choice(legal(info, battle["active"]) or [0]))
            elif rng is not None and menu == "moves":
                action = tools.move_cursor(info, slot, columns=2)
        else:
            action = tools.close_what_is_open(info) or tools.talk_to(info, script, where)
        info = env.step(env.buttons.index((action or "b").upper()))[-1]
    return None


def legal(info: dict, active: int) -> list[int]:
    return [slot for slot, pp in enumerate(info["player"]["party"][active]["move_pp"]) if pp]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", default="0", help="worlds to draw from, for example 0 or 1-40")
    parser.add_argument("--battles", type=int, default=100, help="of each trainer and way to choose")
    arguments = parser.parse_args()
    print("| trainer | shift | starter | random moves won | moves by type won | presses (by type) |\n|-|-|-|-|-|-|")
    for trainer, (milestone, _, _) in BATTLES.items():
        rows = defaultdict(lambda: ([], [], []))
        for chosen in (0, 1):
            with PokemonEnv(worlds=arguments.worlds, start_milestone=milestone) as env:
                env.milestone_events = {"RIVAL_BATTLE_WON": "RIVAL_BEATEN"} | {m: m for m, _, _ in list(BATTLES.values())[1:]}
                for seed in range(arguments.battles):
                    done = play(env, trainer, seed, None if chosen else np.random.default_rng(seed))
                    if done is None:
                        continue
                    starter, shift, won, presses = done
                    rows[shift, starter][chosen].append(won)
                    if chosen:
                        rows[shift, starter][2].append(presses)
        every = tuple(sum((row[i] for row in rows.values()), []) for i in range(3))
        for (shift, starter), row in [*sorted(rows.items()), (("all", "all"), every)]:
            cells = [f"{sum(won)}/{len(won)} = {np.mean(won):.0%}" if won else "-" for won in row[:2]]
            print(f"| {trainer} | {shift} | {starter} | {' | '.join(cells)} | {np.mean(row[2] or [0]):.0f} |", flush=True)


if __name__ == "__main__":
    main()
