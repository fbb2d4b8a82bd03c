"""A person at the keyboard, in the emulator's window."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from common.demonstrations import Episode
from pokemon_env.emulator import WindowClosed
from pokemon_env.gym_env import PokemonEnv

POLL_SECONDS = 1 / 60


def play_by_hand(env: PokemonEnv, seed: int, start_state: Path | None, max_steps: int) -> tuple[Episode, bool]:
    """Let a person play until the environment terminates, for max_steps, or until they close the window.

    Each press is one step, with the same timing as a policy's; a key that is held down is pressed again when the step
    is over. Between steps the game stands still, as it does for a policy, so that the pictures are of the same kind.

    Args:
        env: with render_mode "human".
        seed: for the game.
        start_state: a .state file; None leaves the start to the environment.
        max_steps: the longest episode.

    Returns the episode (of no steps, if there was no press) and whether the window was closed. Its `metadata` holds
    `success` (None for a game without milestones), `seed`, `noise` (0) and `start_state`.
    """
    observation, _ = env.reset(seed=seed, options=None if start_state is None else {"load_state": start_state})
    observations, actions, rewards, dones = [observation], [], [], []
    closed = terminated = False
    while len(actions) < max_steps and not terminated:
        try:
            while (action := env.poll_button()) is None:
                time.sleep(POLL_SECONDS)
            observation, reward, terminated, _, _ = env.step(action)
        except WindowClosed:
            closed = True
            break
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
        dones.append(terminated)
    return Episode(
        observations=np.stack(observations),
        actions=np.array(actions, np.int64),
        rewards=np.array(rewards, np.float32),
        dones=np.array(dones, bool),
        metadata={
            "success": bool(terminated) if env.milestones else None,
            "seed": seed,
            "noise": 0.0,
            "start_state": None if start_state is None else str(start_state),
        },
    ), closed
