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
from benchmarks.chain import play
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from tasks.milestone_config import load_milestone_config

ROOT = Path(__file__).resolve().parents[2]
IDS = [milestone.id for milestone in GAME.milestones]
LIMITS = {name: entry.max_steps for name, entry in load_milestone_config(ROOT / "milestone_config.json").items()}


@pytest.fixture(scope="module")
def experts():
    return {name: PolicyExpert(GAME.policy_dir / f"{name}.py", GAME) for name in IDS}


def play_story(env, experts, seed: int, world: int, noise: float = 0.0):
    """From power-on to the end; return the run, and (milestone, state, label) of each step."""
    rng = np.random.default_rng(seed)
    steps = []

    def on_step(name, state, label):
        steps.append((name, state, label))
        return int(rng.integers(8)) if rng.random() < noise else label

    run = play(env, experts, seed, world, max_steps=6000, milestone_steps=2000, on_step=on_step)
    assert run.stopped is None, f"world {world}, seed {seed}: {run.stopped}"
    return run, steps


@pytest.fixture(scope="module")
def visited(rom_path, experts):
    """States on the way through the whole game, with noise: (milestone, state, label)."""
    with PokemonEnv(rom_path) as env:
        return [step for seed, world in ((0, 0), (1, 10001)) for step in play_story(env, experts, seed, world, noise=0.25)[1]]


def test_one_for_each_milestone_and_no_other():
    assert sorted(path.stem for path in GAME.policy_dir.glob("*.py")) == sorted(IDS)


@pytest.mark.parametrize("world", [0, 10000])
def test_the_story_from_power_on_to_the_badge(env, experts, world):
    """A small sample of what benchmarks/chain.py measures."""
    run, steps = play_story(env, experts, 0, world)
    assert list(dict.fromkeys(name for name, _, _ in steps)) == list(run.steps_of) == IDS
    assert sum(run.steps_of.values()) == run.steps == len(steps)
    assert env.get_state()["game"]["badges"] == 1 and env.get_state()["game"]["objective"] == "ALL_DONE"


@pytest.mark.parametrize("world", [0, 10002])
def test_the_story_where_the_screen_does_not_say_all(rom_path, experts, world):
    with PokemonEnv(rom_path, tier="T3", worlds=[world]) as env:
        _, steps = play_story(env, experts, 2, world)
    objectives = {state["game"]["objective"] for _, state, _ in steps}
    assert {"TAKE_ASKED", "READ_SIGN"} <= objectives and not {"TAKE_LEAF", "TAKE_EMBER", "TAKE_WAVE"} & objectives


@pytest.mark.parametrize("name", IDS)
def test_from_wherever_random_presses_lead(rom_path, experts, name):
    """A small sample of what benchmarks/expert_table.py measures."""
    for seed, (tier, world) in enumerate((("T1", 0), ("T2", 10003), ("T3", 0))):
        with PokemonEnv(rom_path, tier=tier, worlds=[world], start_milestone=name) as env:
            _, info = env.reset(seed=seed)
            rng = np.random.default_rng(seed)
            for action in rng.integers(8, size=int(rng.integers(60))):
                if not info["milestones"][name]["completed"]:
                    info = env.step(int(action))[-1]
            for _ in range(4 * LIMITS[name]):  # how often within it is measured by benchmarks/expert_table.py
                if info["milestones"][name]["completed"]:
                    break
                answer = experts[name].label(info)
                assert answer.action is not None, answer.reason
                info = env.step(answer.action)[-1]
            assert info["milestones"][name]["completed"], f"{tier}, seed {seed}"


def test_after_a_lost_battle_the_way_is_found_again(rom_path, experts):
    """From home or the centre, where one wakes up, back to the battle."""
    for name in ("RIVAL_BATTLE_WON", "FIRST_CATCH", "TRAINER_BEATEN", "GYM_TRAINER_BEATEN", "LEADER_BEATEN"):
        lost = False
        for seed in range(5):
            with PokemonEnv(rom_path, tier="T2", worlds="10004", start_milestone=name) as env:
                _, info = env.reset(seed=seed)
                # Only moves that do no harm, until one wakes up elsewhere.
                for _ in range(400):
                    if info["game"]["dialog_text"] and info["game"]["dialog_text"].startswith("Your team is worn"):
                        lost = True
                        break
                    action = experts[name].label(info).action
                    if info["game"]["is_in_battle"] and info["game"]["menu"] is not None:
                        action = GAME.buttons.index(weakest(info).upper())
                    info = env.step(action)[-1]
                    if info["milestones"][name]["completed"]:
                        break
                for _ in range(6 * LIMITS[name] if lost else 0):
                    if info["milestones"][name]["completed"]:
                        break
                    info = env.step(experts[name].label(info).action)[-1]
                assert info["milestones"][name]["completed"] or not lost
            if lost:
                break
        assert lost, name


def weakest(state) -> str:
    """Fight with GROWL for as long as it lasts."""
    tools = GAME.tools()
    if state["game"]["menu"]["name"] == "battle":
        return tools["move_cursor"](state, 0, columns=2)
    if state["game"]["menu"]["name"] != "moves":
        return "b"
    monster = state["player"]["party"][state["game"]["battle_info"]["active"]]
    harmless = [slot for slot, move in enumerate(monster["moves"]) if move == "GROWL" and monster["move_pp"][slot]]
    slots = harmless or [slot for slot, pp in enumerate(monster["move_pp"]) if pp]
    return tools["move_cursor"](state, slots[0], columns=2)


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
        hidden["game"] |= {"world": 99, "tier_flags": 0, "text": None}
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
            if state["game"]["dialog_text"] is not None or state["game"]["is_in_battle"]:
                hidden["game"]["compass"] = None
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
        ("RIVAL_BATTLE_WON", battle(kind="trainer", pp=(25, 0, 0, 20)), "A"),  # BUMP is better than GROWL
        ("RIVAL_BATTLE_WON", battle(kind="trainer", pp=(0, 0, 0, 20)), "DOWN"),  # nothing but GROWL is left: GROWL
        ("RIVAL_BATTLE_WON", battle(kind="trainer", pp=(0, 0, 0, 20), cursor=3), "A"),
        ("RIVAL_BATTLE_WON", battle(kind="trainer", menu="battle_bag"), "B"),
        ("RIVAL_BATTLE_WON", battle(kind="trainer", menu=None), "A"),
        ("FIRST_CATCH", battle(menu="battle"), "A"),
        ("FIRST_CATCH", battle(menu="battle", enemy_hp=10), "DOWN"),  # CATCH
        ("FIRST_CATCH", battle(menu="battle", enemy_hp=10, cursor=2), "A"),
        ("FIRST_CATCH", battle(enemy_hp=10), "B"),  # out of the moves again
        ("FIRST_CATCH", battle(cursor=0, pp=(0, 15, 15, 20)), "RIGHT"),  # VINE hurts EMBER less than SPRAY
        ("FIRST_CATCH", battle(menu="battle", objective="GET_BALLS"), "DOWN"),  # RUN
        ("FIRST_CATCH", battle(menu="battle", objective="GET_BALLS", cursor=3), "A"),
    ],
)
def test_battles(experts, name, state, button):
    assert GAME.buttons[experts[name].label(state).action] == button
