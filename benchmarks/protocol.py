"""How results of Tallgrass-v1 are made: the frozen episodes, the recipes that may play them, and what stands beside each result."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.episodes import Evaluation
from common.runtime.device import autocast
from common.runtime.main import UserError
from pokemon_env.games.tallgrass import GAME, frozen
from pokemon_env.rom import BUNDLED_ROM
from tasks.episode_starts import choose_starts
from tasks.play import SeededPlay


class TrialOnTestError(UserError):
    """Something that was not fixed before is to play the test's episodes; the text says what to do."""


@dataclass(frozen=True)
class Recipe:
    """What a student is made with, and how that was chosen."""

    name: str
    settings: dict[str, Any]
    """Network, lengths, rates: whatever decides what is learned from given labels."""
    chosen: str
    """By which episodes and data the settings were chosen. Never by the test's."""

    def record(self) -> dict[str, Any]:
        """Return it in plain types, for a result's file."""
        return asdict(self)


def check_trial(purpose: frozen.Split, recipe: Recipe, registered: Sequence[Recipe]) -> None:
    """Raise TrialOnTestError for a recipe that plays the test's episodes without being one of those that were fixed before."""
    if purpose == "test" and recipe not in registered:
        raise TrialOnTestError(
            f"{recipe.name}: a trial plays the episodes to choose by: say --purpose choose. What is chosen is written into the "
            "benchmark's recipe, and then it may play the test's"
        )


class FrozenPlay(SeededPlay):
    """Open environments for the frozen episodes of a milestone; see `SeededPlay`.

    Args:
        milestone, tier, split: which episodes.
        n_episodes: only the first of them; None for all.
        n_envs, num_threads, state_in_info: as for `SeededPlay`.
    """

    def __init__(
        self,
        milestone: str,
        tier: str,
        split: frozen.Split,
        *,
        n_episodes: int | None = None,
        n_envs: int = 4,
        num_threads: int | None = None,
        state_in_info: bool = False,
    ):
        limits = frozen.limits(milestone, tier, split)[:n_episodes]
        super().__init__(
            BUNDLED_ROM, milestone, choose_starts(GAME, milestone, BUNDLED_ROM, purpose=split, tier=tier),
            n_episodes=len(limits), seed=frozen.FIRST_SEEDS[split], max_steps=max(limits), n_envs=n_envs, num_threads=num_threads,
            state_in_info=state_in_info,
        )  # fmt: skip
        self.episodes = [replace(episode, max_steps=limit) for episode, limit in zip(self.episodes, limits, strict=True)]


def measured(bf16: bool = True) -> dict[str, Any]:
    """Return what stands beside a result: threads, CPU, torch, and whether networks compute in bfloat16 here, as `bf16` asks."""
    ones = torch.ones(2, 2)
    with autocast(torch.device("cpu"), bf16)():
        half = (ones @ ones).dtype == torch.bfloat16
    return {"threads": torch.get_num_threads(), "bf16": half, "cpu": cpu_name(), "torch": torch.__version__}


def cpu_name() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def score(result: Evaluation, milestone: str, tier: str, split: frozen.Split) -> dict[str, Any]:
    """Return what a file holds of one policy's frozen episodes, in plain types."""
    n = result.n_episodes
    return {
        "milestone": milestone, "tier": tier, "split": split, "seeds": [episode.seed for episode in result.episodes],
        "successes": [episode.success for episode in result.episodes], "lengths": [episode.length for episode in result.episodes],
        "limits": list(frozen.limits(milestone, tier, split)[:n]),
        "optimal_steps": [episode.optimal_steps for episode in result.episodes], "spl": result.spl,
    }  # fmt: skip


def success_rate(row: dict[str, Any]) -> float:
    """Return a result's share of successes."""
    return float(np.mean(row["successes"]))
