"""The public interface of `common`: an environment, preprocessing, and evaluation in one call."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from common.episodes import seeded_episodes
from common.evaluation import evaluate
from common.policies import NetworkPolicy
from common.preprocessing import preprocess_observation, preprocess_uint8, random_shift

__all__ = ["evaluate_policy", "make_env", "preprocess_observation", "preprocess_uint8", "random_shift"]

if TYPE_CHECKING:
    import gymnasium as gym

    from pokemon_env.gym_env import PokemonEnv


def evaluate_policy(
    env: gym.Env | gym.vector.VectorEnv,
    policy_net: torch.nn.Module,
    n_episodes: int,
    device: torch.device | str,
    max_steps: int = 10000,
    deterministic: bool = True,
    *,
    seed: int | None = None,
    frame_stack: int = 1,
) -> tuple[float, float, dict[str, Any]]:
    """Play whole episodes with a network and return their results.

    Args:
        env: one environment, or a vector of them made by `pokemon_env.vector_env.make_vector_env`, which is faster; its
            observations are (H, W, 3) uint8 screens.
        policy_net: takes (B, 3, 84, 84) uint8 observations, returns (B, actions) logits. Its mode is left as it was.
        n_episodes: how many.
        device: where the network is.
        max_steps: an episode ends there at the latest.
        deterministic: press the likeliest button, or else draw from the softmax.
        seed: episodes are reset with seed, seed+1, ... Without it the environment continues drawing from its own
            generator.
        frame_stack: observations per input, as in training.

    Returns:
        Mean and standard deviation of the return, and a dict: `episode_lengths`, `mean_length`, `milestones_reached`
        (per episode), `mean_milestones`; further `episode_returns`, `successes` (the episode terminated: its target
        was reached), `success_rate`, `success_interval` (Wilson, 95 %), `seeds` and `steps_per_second`.
    """
    policy = NetworkPolicy(policy_net, device, deterministic=deterministic, frame_stack=frame_stack)
    result = evaluate(env, policy, seeded_episodes(n_episodes, seed), max_steps)
    return result.mean_return, result.std_return, result.as_info()


def make_env(rom_path: str | os.PathLike | None = None, headless: bool = True, **settings: Any) -> PokemonEnv:
    """Return one PokemonEnv, of the bundled game if no ROM's path is given; `settings` are passed to PokemonEnv."""
    from pokemon_env.gym_env import PokemonEnv  # late: other users of this module need no emulator

    if rom_path is not None:
        settings["rom_path"] = rom_path
    return PokemonEnv(headless=headless, **settings)
