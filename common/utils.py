"""Preprocessing, the environment, seeds, and evaluation as one call."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from common.evaluation import NetworkPolicy, evaluate, seeded_episodes
from common.preprocessing import preprocess_observation, preprocess_uint8, random_shift
from common.runtime.stop_request import StopRequest
from common.runtime.threads import free_cores

__all__ = [
    "StopRequest",
    "autocast",
    "evaluate_policy",
    "make_env",
    "preprocess_observation",
    "preprocess_uint8",
    "random_shift",
    "seed_everything",
    "select_device",
    "set_threads",
    "sha256_of",
]

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
    """Play whole episodes with a network and report how they went.

    Args:
        env: one environment, or a vector of them made by `pokemon_env.vector_env.make_vector_env`, which is faster; its
            observations are (H, W, 3) uint8 screens.
        policy_net: takes (B, 3, 84, 84) uint8 pictures, returns (B, actions) logits. It is in its old mode afterwards.
        n_episodes: how many.
        device: where the network is.
        max_steps: an episode ends there at the latest.
        deterministic: press the likeliest button, or else draw from the softmax.
        seed: episodes are reset with seed, seed+1, ...; without it the environment goes on drawing from its own
            generator.
        frame_stack: pictures per input, as in training.

    Returns:
        Mean and standard deviation of the return, and a dict: `episode_lengths`, `mean_length`, `milestones_reached`
        (per episode), `mean_milestones`; further `episode_returns`, `successes` (the episode terminated: its target
        was reached), `success_rate`, `success_interval` (Wilson, 95 %), `seeds` and `steps_per_second`.
    """
    policy = NetworkPolicy(policy_net, device, deterministic=deterministic, frame_stack=frame_stack)
    result = evaluate(env, policy, seeded_episodes(n_episodes, seed), max_steps)
    return result.mean_return, result.std_return, result.as_info()


def make_env(rom_path: str | os.PathLike | None = None, headless: bool = True, **settings: Any) -> PokemonEnv:
    """One PokemonEnv. Without a ROM's path, the game that is bundled; `settings` go to PokemonEnv as they are."""
    from pokemon_env.gym_env import PokemonEnv  # only who plays needs an emulator

    if rom_path is not None:
        settings["rom_path"] = rom_path
    return PokemonEnv(headless=headless, **settings)


def seed_everything(seed: int, torch_deterministic: bool = True) -> None:
    """Seed Python, numpy and torch; with `torch_deterministic` choose reproducible GPU kernels, too."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if torch_deterministic:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        if torch.cuda.is_available():
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS wants it for reproducible sums
            torch.use_deterministic_algorithms(True, warn_only=True)


def select_device(cuda: bool = True) -> torch.device:
    """The GPU if it is wanted and there is one, else the CPU."""
    return torch.device("cuda" if cuda and torch.cuda.is_available() else "cpu")


def set_threads(n_threads: int | None, begun_with: int | None = None) -> int:
    """Let torch compute on this many CPU threads. Returns their number.

    Args:
        n_threads: None for as many as a resumed run began with, which repeats it bit for bit; and for a new one as many as
            cores are free (`common.runtime.threads.free_cores`), at most torch's own choice.
        begun_with: the threads of the run that is resumed; None for a new one.

    Raises ValueError for less than 1.
    """
    if n_threads is None:
        most = torch.get_num_threads()
        n_threads = min(begun_with, os.cpu_count() or 1) if begun_with else min(most, free_cores() if most > 1 else 1)
    if n_threads < 1:
        raise ValueError(f"{n_threads} threads: choose at least 1")
    torch.set_num_threads(n_threads)
    return n_threads


def autocast(device: torch.device, enabled: bool = True) -> Callable[[], torch.autocast]:
    """A maker of the autocast context for training on this device: bfloat16 on a GPU and on CPUs that compute in it,
    else nothing.

    On other CPUs bfloat16 is emulated, and slower than float32.
    """
    if device.type == "cpu":
        enabled = enabled and bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16"))
    elif device.type == "cuda":
        enabled = enabled and torch.cuda.is_bf16_supported()
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def sha256_of(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    import hashlib

    with open(Path(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
