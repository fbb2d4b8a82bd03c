"""Random streams that belong to one episode and to one purpose."""

from __future__ import annotations

import zlib

import numpy as np


def episode_rng(seed: int | None, purpose: str) -> np.random.Generator:
    """A generator for one purpose in an episode: the same for the same seed, and independent of any other purpose.

    `default_rng(seed)` would not do: Gymnasium makes an environment's own generator in just that way, so that noise
    drawn from it would go hand in hand with the game's seed and the jitter of the release.

    Args:
        seed: the episode's; None draws one.
        purpose: any words, for example "noise".
    """
    return np.random.default_rng(None if seed is None else [seed, zlib.crc32(purpose.encode())])
