"""Random streams: derived from a seed and words, and blocks of episodes' seeds that do not overlap by accident."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SeedBlock:
    """Seeds `first`, `first` + 1, ... of the episodes of one purpose."""

    first: int
    count: int
    """The most seeds that the purpose needs, with the flags' usual values."""
    purpose: str


CHAIN = SeedBlock(0, 1000, "benchmarks.chain: whole games by the experts, from power-on")
EVALUATION = SeedBlock(1_000, 1_000, "the trainers' evaluations (--eval-seed)")
AUDIT_DEMONSTRATIONS = SeedBlock(10_000, 1_000, "benchmarks.audit: demonstrations to be replayed and looked up")
CANDIDATES = SeedBlock(11_000, 1_000, "the trainers: candidates for the best network, and --target-success-rate")
EXPERT_TABLE = SeedBlock(20_000, 1_000, "benchmarks.expert_table: every expert")
EVAL_ONLY = SeedBlock(21_000, 1_000, "bc_pokemon.py --eval-only: no network was chosen by them")
PIPELINE_EXPERT = SeedBlock(30_000, 1_000, "auto_dagger_pipeline.py: the expert, which sets a milestone's limit")
AUDIT_PICTURES = SeedBlock(30_000, 1_000, "benchmarks.audit: the observations of experts")
TEST = SeedBlock(50_000, 1_000, "the tests of the pipeline and of the benchmarks' tables")
BUILDS = SeedBlock(70_000, 1_000, "tools.compare_roms: experts on two builds of the game")
PLAY = SeedBlock(70_000, 1_000, "play.py: whole games by the students, from power-on")
LATENCY_ROLLOUT = SeedBlock(90_000, 1_000, "benchmarks.compare: the rollout that a slow expert labels")
BENCHMARK_TEST = SeedBlock(100_000, 100, "Tallgrass-v1: its frozen test episodes")
BENCHMARK_CHOOSE = SeedBlock(110_000, 100, "Tallgrass-v1: its frozen episodes to choose by")
FIRST_START = SeedBlock(1, 999, "recorded states: the first one of a milestone")
TRAIN_STARTS = SeedBlock(1_000_000, 1_000_000, "recorded states to learn from")
HELDOUT_STARTS = SeedBlock(2_000_000, 1_000_000, "recorded states that are held out")

MEANT_TO_OVERLAP = (
    (CHAIN, FIRST_START),  # neither is compared with anything that learns
    (PIPELINE_EXPERT, AUDIT_PICTURES),  # experts both times; nothing is trained on them
    (BUILDS, PLAY),  # one milestone each, and the whole game
)
"""Blocks that share seeds, and why this does no harm."""


def derive(seed: int, *words: str | int) -> np.random.SeedSequence:
    """Return the seed sequence of `seed` and these words and numbers, independent of that of any others."""
    return np.random.SeedSequence([seed, *(zlib.crc32(word.encode()) if isinstance(word, str) else word for word in words)])


def derived_seed(seed: int, *words: str | int) -> int:
    """Return one seed of `derive`, of 31 bits, which any `reset` accepts."""
    return int(derive(seed, *words).generate_state(1)[0] >> 1)


def episode_rng(seed: int | None, purpose: str) -> np.random.Generator:
    """Return a generator for one purpose in an episode: the same for the same seed, and independent of any other purpose.

    `default_rng(seed)` would not do: Gymnasium makes an environment's own generator like this, so that noise drawn from
    it would be correlated with the game's seed and the jitter of the release.

    Args:
        seed: the episode's; None draws one.
        purpose: any words, for example "noise".
    """
    return np.random.default_rng(None if seed is None else derive(seed, purpose))
