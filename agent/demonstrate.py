"""Play an episode with an expert, and record it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from agent.open_expert import SandboxedExpert
from agent.oracle import Answer
from agent.policy_expert import PolicyExpert, optimal_buttons, with_set
from common.demonstrations import NO_LABEL, Episode
from common.runtime.seeding import episode_rng
from pokemon_env.gym_env import PokemonEnv


def play_episode(
    env: PokemonEnv,
    expert: PolicyExpert | SandboxedExpert,
    seed: int,
    start_state: Path | None,
    max_steps: int,
    noise: float = 0.0,
    on_abstention: Callable[[int, Answer], None] | None = None,
) -> Episode:
    """Play until the environment terminates, or for max_steps, and record the expert's label at each step.

    With `noise`, the pressed button is a random one with that probability, but the label stays the expert's. So the expert
    shows how to recover from states that it would not visit (DART: Laskey et al., "DART: Noise Injection for Robust
    Imitation Learning", 2017). Where the expert abstains there is no label (`NO_LABEL`), and a random button is pressed so
    that play continues. The label set is recorded where the game knows it and the label is in it.

    Args:
        env: with state in its infos.
        expert: opened for `env` (`agent.open_expert.open_policy`).
        seed: for the game, for noise and random presses.
        start_state: a .state file; None leaves the start to the environment.
        on_abstention: called with the step and the expert's answer.

    `metadata` of the episode holds `success`, `abstentions`, `seed`, `noise`, `start_state` and `world` (None for a game
    without worlds).
    """
    rng = episode_rng(seed, "noise")
    n_actions = len(env.buttons)
    observation, info = env.reset(seed=seed, options=None if start_state is None else {"load_state": start_state})
    world = info["game"].get("world")
    observations, labels, sets, pressed, rewards, dones = [observation], [], [], [], [], []
    terminated = False
    for step in range(max_steps):
        optimal = optimal_buttons(info, env.game)  # before a policy may change the state
        answer = with_set(expert.label(info), optimal)
        if answer.action is None and on_abstention is not None:
            on_abstention(step, answer)
        # Always drawn, so that an episode's noise does not depend on the expert's answers.
        random_action, is_random = int(rng.integers(n_actions)), rng.random() < noise
        action = random_action if is_random or answer.action is None else answer.action
        observation, reward, terminated, _, info = env.step(action)
        observations.append(observation)
        labels.append(NO_LABEL if answer.action is None else answer.action)
        sets.append(sum(1 << button for button in answer.optimal or ()))
        pressed.append(action)
        rewards.append(reward)
        dones.append(terminated)
        if terminated:
            break
    return Episode(
        observations=np.stack(observations),
        actions=np.array(labels, np.int64),
        executed_actions=np.array(pressed, np.int64),
        rewards=np.array(rewards, np.float32),
        dones=np.array(dones, bool),
        optimal=np.array(sets, np.int64) if any(sets) else None,
        metadata={
            "success": bool(terminated),
            "abstentions": labels.count(NO_LABEL),
            "seed": seed,
            "noise": noise,
            "start_state": None if start_state is None else str(start_state),
            "world": world,
        },
    )
