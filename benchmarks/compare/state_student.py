"""The student that reads the game's state instead of its picture: about as much as can be learned from these demonstrations.

No strict bound: a student that asks about states of its own choice may come further. It sees what matters without having to
learn to see: the map around the player, menus and texts by their names, the numbers of a battle. It is cloned from the same
demonstrations as the others, whose states are found again by playing them once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from common.demonstrations import NO_LABEL, limit_labels, load_episode
from common.learner import check_finite
from common.policies import Policy, draw
from common.runtime.seeding import episode_rng
from pokemon_env.games.tallgrass.names import (
    BATTLES,
    BEATS,
    COMPASS,
    EVENTS,
    FACINGS,
    MAPS,
    MENUS,
    MOVES,
    OBJECTIVES,
    SCRIPTS,
    SPECIES,
    SPRITES,
    WISHES,
)
from pokemon_env.gym_env import PokemonEnv

REACH_X, REACH_Y = 5, 4
"""Tiles of the map that are seen to each side of the player: a little more than the screen shows."""
GROUND = "#,vD"
"""What the map's letters say, each a channel; the rest is floor. Beyond the map all is solid."""
BALLS = tuple(f"T_BALL_{wish}" for wish in WISHES)
TYPES = ("NORMAL", *WISHES)
CHANNELS = len(GROUND) + len(SPRITES) + len(BALLS) + 3
MOST_NUMBER = 40
"""Cursors, values, pages and coordinates are told apart up to this."""
HIDDEN = 256
_AHEAD = dict(zip(FACINGS, ((0, 1), (0, -1), (-1, 0), (1, 0)), strict=True))
_MOVE = {name: (kind, power, accuracy) for name, kind, power, accuracy in MOVES}
_NO_MONSTER: dict[str, Any] = {
    "current_hp": 0,
    "max_hp": 1,
    "level": 0,
    "types": [],
    "species_name": "",
    "moves": [],
    "move_pp": [],
}


def features(info: Mapping[str, Any]) -> np.ndarray:
    """The state in an environment's info as (D,) float32 numbers, D the same for all states."""
    player, game, place = info["player"], info["game"], info["map"]
    menu, battle = game["menu"] or {"name": None, "cursor": 0, "value": 0}, game["battle_info"]
    text, party = game["text"] or {"script": None, "page": 0}, player["party"]
    own, enemy = (party[battle["active"]] if battle and battle["active"] < len(party) else (party or [_NO_MONSTER])[0]), _NO_MONSTER
    if battle is not None:
        enemy = battle["enemy"]
    x, y = player["position"]["x"], player["position"]["y"]
    objective, dialog = game["objective"], game["dialog_text"] or ""
    parts = [
        _window(info),
        *(_one_hot(value, names) for value, names in (
            (player["location"], MAPS), (player["facing"], FACINGS), (objective, OBJECTIVES), (game["compass"], COMPASS),
            (game["wish"], WISHES), (menu["name"], MENUS), (text["script"], SCRIPTS), (battle and battle["kind"], BATTLES),
        )),
        *(_one_hot(value, range(MOST_NUMBER)) for value in (
            x, y, menu["cursor"], menu["value"], text["page"], game["clock_target"],
        )),
        [game["events"][name] for name in EVENTS],
        [name in dialog for name, _ in SPECIES],
        [
            game["dialog_text"] is not None,
            game["is_in_battle"],
            game["menu"] is not None and menu["value"] == game["clock_target"],
            len(player["name"]) / 8,
            len(party) / 6,
            *(value for count in game["items"].values() for value in (count > 0, count / 10)),
        ],
        *(_bearing(x, y, [w for w in place.get("warps", ()) if w["to"] == name]) for name in MAPS),
        *(_bearing(x, y, [p for p in place.get("people", ()) if p["sprite"] == name]) for name in SPRITES),
        *(_bearing(x, y, [p for p in place.get("people", ()) if p["script_name"] == name]) for name in BALLS),
        *(_monster(monster) for monster in (own, enemy)),
        *(_move(own, slot, enemy) for slot in range(4)),
    ]  # fmt: skip
    return np.concatenate([np.asarray(part, np.float32).ravel() for part in parts])


def _one_hot(value: Any, names: Sequence[Any]) -> np.ndarray:
    """(len(names),) with a 1 at the value's place; all 0 for a value that is none of them."""
    return np.array([value == name for name in names], np.float32)


def _window(info: Mapping[str, Any]) -> np.ndarray:
    """(CHANNELS, 2 * REACH_Y + 1, 2 * REACH_X + 1) around the player and, after it, (CHANNELS,) of the tile ahead."""
    place, x, y = info["map"], info["player"]["position"]["x"], info["player"]["position"]["y"]
    height, width = 2 * REACH_Y + 1, 2 * REACH_X + 1
    window = np.zeros((CHANNELS, height, width), np.float32)
    if not place.get("ascii_map"):
        return np.zeros(CHANNELS * height * width + CHANNELS, np.float32)

    def mark(channel: int, at_x: int, at_y: int) -> None:
        column, row = at_x - x + REACH_X, at_y - y + REACH_Y
        if 0 <= column < width and 0 <= row < height:
            window[channel, row, column] = 1

    rows = place["ascii_map"]
    for row in range(y - REACH_Y, y + REACH_Y + 1):
        for column in range(x - REACH_X, x + REACH_X + 1):
            inside = 0 <= row < len(rows) and 0 <= column < len(rows[row])
            channel = GROUND.find(rows[row][column] if inside else "#")
            if channel >= 0:
                mark(channel, column, row)
    first = len(GROUND)
    for person in place["people"]:
        if person["sprite"] in SPRITES:
            mark(first + SPRITES.index(person["sprite"]), person["x"], person["y"])
        if person["script_name"] in BALLS:
            mark(first + len(SPRITES) + BALLS.index(person["script_name"]), person["x"], person["y"])
    first += len(SPRITES) + len(BALLS)
    for sign in place["signs"]:
        mark(first, sign["x"], sign["y"])
    for gate in place["gates"]:
        if not gate["open"]:
            mark(first + 1, gate["x"], gate["y"])
    if place["mark"] is not None:
        mark(first + 2, *place["mark"])
    dx, dy = _AHEAD.get(info["player"]["facing"], (0, 0))
    return np.concatenate([window.ravel(), window[:, REACH_Y + dy, REACH_X + dx]])


def _bearing(x: int, y: int, things: Sequence[Mapping[str, Any]]) -> list[float]:
    """Whether there is such a thing on the map, and how far the nearest is to the right and below, in 10 tiles."""
    if not things:
        return [0, 0, 0]
    dx, dy = min(((thing["x"] - x, thing["y"] - y) for thing in things), key=lambda way: abs(way[0]) + abs(way[1]))
    return [1, dx / 10, dy / 10]


def _monster(monster: Mapping[str, Any]) -> list[float]:
    share = monster["current_hp"] / max(monster["max_hp"], 1)
    kinds = [kind in monster["types"] for kind in TYPES]
    return [share, share < 0.25, share < 0.5, monster["current_hp"] / 50, monster["level"] / 20, *kinds, *(
        monster["species_name"] == name for name, _ in SPECIES
    )]  # fmt: skip


def _move(own: Mapping[str, Any], slot: int, enemy: Mapping[str, Any]) -> list[float]:
    """The strength of a move against the enemy, its accuracy, and whether it can be used."""
    if slot >= len(own["moves"]):
        return [0, 0, 0]
    kind, power, accuracy = _MOVE.get(own["moves"][slot], ("NORMAL", 0, 0))
    double = any(BEATS.get(kind) == other for other in enemy["types"])
    half = any(BEATS.get(other) == kind for other in enemy["types"])
    return [power / 40 * (2 if double else 0.5 if half else 1), accuracy / 100, own["move_pp"][slot] > 0]


def replay(files: Sequence[Path], max_labels: int, rom_path: Path, milestone: str) -> tuple[np.ndarray, np.ndarray]:
    """Play demonstrations again, button by button, for the states that they went through.

    Args:
        files: `episode_*.npz` of the milestone, recorded in the game's own worlds.
        max_labels: the first so many labels are taken.

    Returns (n, D) float32 features and (n,) int64 labels. Raises ValueError if an episode does not repeat.
    """
    files, last_steps = limit_labels(list(files), max_labels)
    visited: list[np.ndarray] = []
    labels: list[int] = []
    env, settings = None, None
    try:
        for path in files:
            episode = load_episode(path)
            wanted = {key: episode.metadata[key] for key in ("tier", "worlds", "start_milestone")}
            if wanted != settings:
                if env is not None:
                    env.close()
                env, settings = PokemonEnv(rom_path=rom_path, target_milestone=milestone, **wanted), wanted
            screen, info = env.reset(seed=episode.metadata["seed"])
            steps = last_steps if last_steps is not None and path == files[-1] else len(episode.actions)
            pressed = episode.actions if episode.executed_actions is None else episode.executed_actions
            for step in range(steps):
                if not np.array_equal(screen, episode.observations[step]):
                    raise ValueError(f"{path}: played again, step {step} looks otherwise; record it anew with this version")
                if episode.actions[step] != NO_LABEL:
                    visited.append(features(info))
                    labels.append(int(episode.actions[step]))
                screen, _, _, _, info = env.step(int(pressed[step]))
    finally:
        if env is not None:
            env.close()
    return np.stack(visited), np.array(labels, np.int64)


def train_on_states(
    states: np.ndarray, labels: np.ndarray, n_actions: int, *, steps: int, batch_size: int, learning_rate: float, seed: int
) -> nn.Module:
    """Clone (n, D) states with their (n,) labels into a small network, (B, D) -> (B, n_actions) logits.

    The learning rate falls to 0 along a cosine.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(states.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, n_actions)
        )
    optimizer = torch.optim.Adam(network.parameters(), learning_rate, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    inputs, targets = torch.from_numpy(states), torch.from_numpy(labels)
    for _ in range(steps):
        batch = torch.randint(len(targets), (batch_size,), generator=generator)
        loss = F.cross_entropy(network(inputs[batch]), targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    check_finite(network, steps, loss.item(), learning_rate)
    return network.eval()


class StateStudent(Policy):
    """Draws buttons from the probabilities of a network that reads states, as the students do that it is compared with."""

    def __init__(self, network: nn.Module):
        self.network = network
        self._rngs: dict[int, np.random.Generator] = {}

    def start_episode(self, slot: int, seed: int | None) -> None:
        self._rngs[slot] = episode_rng(seed, "sampled actions")

    def act(self, slots: Sequence[int], screens: Sequence[np.ndarray], infos: Sequence[Mapping[str, Any]]) -> list[int]:
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(np.stack([features(info) for info in infos])))
        probabilities = torch.softmax(logits.double(), dim=-1).numpy()
        return [draw(p, self._rngs[slot]) for slot, p in zip(slots, probabilities, strict=True)]
