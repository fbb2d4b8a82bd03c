"""The shipped experts, on the real game."""

from __future__ import annotations

import ast
import builtins
import copy
import json
from pathlib import Path

import numpy as np
import pytest

from agent.policy_expert import PolicyExpert
from common.milestone_config import load_milestone_config
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv

ROOT = Path(__file__).resolve().parent.parent
IDS = [milestone.id for milestone in GAME.milestones]
LIMITS = {name: entry.max_steps for name, entry in load_milestone_config(ROOT / "milestone_config.json").items()}


@pytest.fixture(scope="module")
def experts():
    return {name: PolicyExpert(GAME.policy_dir / f"{name}.py", GAME) for name in IDS}


def play_to(env, experts, last: str, seed: int, noise: float = 0.0):
    """From power-on to the end of a milestone; yields (milestone, state, label) at each step, and returns the last
    info.
    """
    rng = np.random.default_rng(seed)
    _, info = env.reset(seed=seed)
    for name in IDS[: IDS.index(last) + 1]:
        for _ in range(10 * LIMITS[name]):
            if info["milestones"][name]["completed"]:
                break
            answer = experts[name].label(info)
            assert answer.action is not None, answer.reason
            yield name, info, answer.action
            action = int(rng.integers(8)) if rng.random() < noise else answer.action
            info = env.step(action)[-1]
        assert info["milestones"][name]["completed"], f"{name} was not reached with seed {seed}"


@pytest.fixture(scope="module")
def visited(rom_path, experts):
    """States on the way through the whole game, with noise: (milestone, state, label)."""
    with PokemonEnv(rom_path) as env:
        return [step for seed in range(3) for step in play_to(env, experts, IDS[-1], seed, noise=0.25)]


def test_one_for_each_milestone_and_no_other():
    assert sorted(path.stem for path in GAME.policy_dir.glob("*.py")) == sorted(IDS)


@pytest.mark.parametrize("seed", [0, 1])
def test_all_milestones_in_order_from_power_on(env, experts, seed):
    steps = [name for name, _, _ in play_to(env, experts, IDS[-1], seed)]
    assert list(dict.fromkeys(steps)) == IDS
    for name in IDS:
        assert steps.count(name) <= 2 * LIMITS[name]  # how often within it is measured by benchmarks/expert_table.py


@pytest.mark.parametrize("name", IDS)
def test_from_wherever_random_presses_lead(rom_path, experts, name):
    """A small sample of what benchmarks/expert_table.py measures."""
    with PokemonEnv(rom_path) as env:
        for seed in range(2):
            for _ in play_to(env, experts, IDS[IDS.index(name) - 1], seed + 10) if name != IDS[0] else ():
                pass
            if name == IDS[0]:
                env.reset(seed=seed)
            info = env.get_state()
            rng = np.random.default_rng(seed)
            for action in rng.integers(8, size=int(rng.integers(60))):
                if not info["milestones"][name]["completed"]:
                    info = env.step(int(action))[-1]
            for _ in range(2 * LIMITS[name]):
                if info["milestones"][name]["completed"]:
                    break
                answer = experts[name].label(info)
                assert answer.action is not None, answer.reason
                info = env.step(answer.action)[-1]
            assert info["milestones"][name]["completed"], f"seed {seed}"


def test_labels_are_functions_of_the_state(visited, experts):
    for name, state, label in visited:
        before = copy.deepcopy(state)
        assert experts[name].label(state).action == label  # asked out of order, after all others
        assert state == before, "a policy changed its state"
        assert experts[name].label(json.loads(json.dumps(state))).action == label


def test_labels_do_not_depend_on_what_is_not_on_the_screen(visited, experts):
    for name, state, label in visited:
        hidden = copy.deepcopy(state)
        hidden["prev_action"] = "no_op"
        hidden["player"]["money"] += 50
        hidden["game"]["events"] = {event: not done for event, done in hidden["game"]["events"].items()}
        hidden["game"]["badges"] += 1
        hidden["game"]["items"] = {item: 7 - count for item, count in hidden["game"]["items"].items()}
        if hidden["game"]["menu"] is None or hidden["game"]["menu"]["name"] not in ("clock", "yes_no"):
            hidden["game"]["clock_target"] = None
        hidden["game"]["wish"] = None  # it is in the objective
        hidden["milestones"] = {}
        if not hidden["game"]["is_in_battle"]:
            for monster in hidden["player"]["party"]:
                monster |= {"current_hp": 1, "move_pp": [0] * len(monster["move_pp"])}
        world = hidden["map"]
        if world["location"]:
            left, top, right, bottom = world["view"]
            unseen = [p for p in world["people"] if not (left <= p["x"] <= right and top <= p["y"] <= bottom)]
            for person in unseen:
                row = world["ascii_map"][person["y"]]
                world["ascii_map"][person["y"]] = f"{row[: person['x']]}.{row[person['x'] + 1 :]}"
                person |= {"x": person["home"][0], "y": person["home"][1], "facing": "up"}
        assert experts[name].label(hidden).action == label, (name, state["game"], state["map"]["player_coords"])


@pytest.mark.parametrize("path", sorted(GAME.policy_dir.glob("*.py")), ids=lambda path: path.stem)
def test_policies_are_short_plain_and_use_only_the_tools_offered(path):
    source = path.read_text()
    tree = ast.parse(source)
    assert len(source.splitlines()) <= 40
    assert ast.get_docstring(tree), "say what it does"
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom | ast.Global)]
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    assert used - stored - defined - arguments <= GAME.tools().keys() | set(dir(builtins)) | {"log"}


def battle(pp=(25, 15, 15, 20), enemy_hp=20, kind="wild", menu="moves", cursor=0, objective="CATCH_ONE"):
    monster = {
        "species_name": "SPROUTLE", "current_hp": 20, "max_hp": 20, "types": ["LEAF"],
        "moves": ["BUMP", "VINE", "SPRAY", "GROWL"], "move_pp": list(pp),
    }  # fmt: skip
    enemy = {
        "species_name": "CINDKIT",
        "current_hp": enemy_hp,
        "max_hp": 20,
        "types": ["EMBER"],
        "moves": ["BUMP"],
        "move_pp": [9],
    }
    return {
        "player": {"party": [monster]},
        "game": {
            "is_in_battle": True,
            "objective": objective,
            "dialog_text": None,
            "menu": menu and {"name": menu, "cursor": cursor, "items": 4, "value": 0},
            "battle_info": {"kind": kind, "active": 0, "enemy": enemy},
        },
        "map": {"location": "ROUTE_1"},
    }


@pytest.mark.parametrize(
    "name, state, button",
    [
        ("RIVAL_BATTLE_WON", battle(kind="trainer", menu="battle", cursor=0), "A"),  # FIGHT
        ("RIVAL_BATTLE_WON", battle(kind="trainer", menu="battle", cursor=3), "UP"),
        (
            "RIVAL_BATTLE_WON",
            battle(kind="trainer", cursor=0),
            "DOWN",
        ),  # SPRAY beats EMBER; it stands in the second row
        ("RIVAL_BATTLE_WON", battle(kind="trainer", cursor=2), "A"),
        ("RIVAL_BATTLE_WON", battle(kind="trainer", pp=(25, 15, 0, 20)), "A"),  # BUMP is better than VINE on EMBER
        ("RIVAL_BATTLE_WON", battle(kind="trainer", pp=(0, 0, 0, 20)), "DOWN"),  # nothing but GROWL is left: GROWL
        ("RIVAL_BATTLE_WON", battle(kind="trainer", pp=(0, 0, 0, 20), cursor=3), "A"),
        ("RIVAL_BATTLE_WON", battle(kind="trainer", menu="battle_bag"), "B"),
        ("RIVAL_BATTLE_WON", battle(kind="trainer", menu=None), "A"),
        ("FIRST_CATCH", battle(menu="battle"), "A"),
        ("FIRST_CATCH", battle(menu="battle", enemy_hp=10), "DOWN"),  # CATCH
        ("FIRST_CATCH", battle(menu="battle", enemy_hp=10, cursor=2), "A"),
        ("FIRST_CATCH", battle(enemy_hp=10), "B"),  # out of the moves again
        ("FIRST_CATCH", battle(cursor=0), "RIGHT"),  # VINE hurts EMBER least
        ("FIRST_CATCH", battle(menu="battle", objective="GET_BALLS"), "DOWN"),  # RUN
        ("FIRST_CATCH", battle(menu="battle", objective="GET_BALLS", cursor=3), "A"),
    ],
)
def test_battles(experts, name, state, button):
    assert GAME.buttons[experts[name].label(state).action] == button
