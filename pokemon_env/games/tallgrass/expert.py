"""The game's own experts, played in this process: how many steps one takes from where an episode begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pokemon_env.games.tallgrass.game import GAME
from pokemon_env.gym_env import PokemonEnv


def own_policy(milestone: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return the policy that the game brings for a milestone: a decoded state -> a button's name in lower case."""
    assert GAME.policy_dir is not None
    path = GAME.policy_dir / f"{milestone}.py"
    namespace: dict[str, Any] = {"__file__": str(path), "log": lambda message: None, **GAME.tools()}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    return namespace["run"]


def steps_to_goal(
    env: PokemonEnv, policy: Callable[[Mapping[str, Any]], Any], max_steps: int, should_stop: Callable[[], bool] = lambda: False
) -> int | None:
    """Play on from where an environment was just reset, and return the number of steps to its target.

    None if the policy does not reach it within `max_steps`, has no answer, or `should_stop()` says so.
    """
    actions = {name.lower(): number for number, name in enumerate(env.buttons)}
    for step in range(1, max_steps + 1):
        action = actions.get(policy(env.get_state()))
        if action is None or should_stop():
            return None
        _, _, reached, _, _ = env.step(action)
        if reached:
            return step
    return None
