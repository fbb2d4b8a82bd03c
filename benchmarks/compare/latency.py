"""How fast a slow expert labels a student's rollout: in batches, many questions at once, against one question at each step."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from agent.answer_cache import AnswerCache
from agent.labelling import Labeller
from agent.open_expert import open_policy_oracle
from agent.oracle import Answer, ExpertOracle, Situation
from benchmarks.folders import NUMBER
from common.episodes import EpisodeSpec, seeded_episodes
from common.policies import Policy
from common.runtime.seeding import LATENCY_ROLLOUT
from dagger.data import DaggerData
from dagger.rollout import roll_out, situations_of, unanswered
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv
from pokemon_env.rom import BUNDLED_ROM
from pokemon_env.vector_env import make_vector_env
from tasks.episode_starts import choose_starts

ROLLOUT_SEED = LATENCY_ROLLOUT.first

RESULT = dict.fromkeys(
    (
        "expert_seconds", "concurrency", "loop_labels", "loop_seconds", "loop_rate", "labels", "batch_seconds", "batch_rate",
        "cached_asked", "cached_labels", "cached_seconds", "ratio", "ratio_with_play", "rows", "play_seconds",
    ), NUMBER,
)  # fmt: skip
"""The types of what is measured, for `check_kept`."""



def measure(
    student: Policy,
    milestone: str,
    tier: str,
    *,
    seconds: float,
    concurrency: int,
    episodes: int,
    max_steps: int,
    loop_steps: int,
    unsafe: bool = False,
) -> dict[str, Any]:
    """Label a rollout in batches; once more, now that all answers are known; and play on with one question at each step.

    Args:
        student: plays.
        seconds: that the expert takes for an answer.
        concurrency: queries that it takes at once.
        episodes, max_steps: of the rollout.
        loop_steps: how far the loop plays.
        unsafe: the policy without a sandbox, where the platform has none.

    Returns rows, labels and seconds of each part, and their ratios, in plain types.
    """
    starts = choose_starts(GAME, milestone, BUNDLED_ROM, purpose="train", tier=tier)
    settings = {"rom_path": BUNDLED_ROM, "target_milestone": milestone, "state_in_info": False, **starts.settings}
    specs = seeded_episodes(episodes, ROLLOUT_SEED, starts.files)
    oracle = SlowOracle(open_policy_oracle((GAME.policy_dir, milestone), GAME, unsafe), seconds, concurrency)
    with oracle, tempfile.TemporaryDirectory() as folder:
        # What a policy needs once, such as the game's maps, is not the way of asking that is measured.
        with PokemonEnv(**settings) as env:
            _, info = env.reset(seed=ROLLOUT_SEED)
            oracle.label_batch([Situation(env.snapshot(), info["prev_action"])])
        result = _in_batches(student, settings, specs, oracle, Path(folder), milestone, max_steps)
        result |= _one_by_one(student, settings, specs, oracle, max_steps, loop_steps)
    batches, loop = result["batch_seconds"] / result["labels"], result["loop_seconds"] / result["loop_labels"]
    played = (result["play_seconds"] + result["batch_seconds"]) / result["labels"]
    return result | {
        "expert_seconds": seconds,
        "concurrency": concurrency,
        "batch_rate": 1 / batches,
        "loop_rate": 1 / loop,
        "ratio": result["loop_wait_seconds"] / result["loop_labels"] / batches,
        "ratio_with_play": loop / played,
    }


def _in_batches(
    student: Policy,
    settings: dict[str, Any],
    specs: list[EpisodeSpec],
    oracle: SlowOracle,
    folder: Path,
    milestone: str,
    limit: int,
) -> dict[str, Any]:
    """What dagger_pokemon.py does: play first, then ask for all that was visited; and ask again, of the cache."""
    envs = make_vector_env(min(8, len(specs)), **settings)
    data = DaggerData(folder / "data.sqlite", "create", milestone=milestone, buttons=list(GAME.buttons))
    cache = AnswerCache(folder / "answers.sqlite")
    try:
        labeller = Labeller(oracle, cache)
        began = time.monotonic()
        rollout = roll_out(data, envs, student, labeller, specs, limit, beta=0.0, iteration=0)
        played = time.monotonic()
        asked = unanswered(data, rollout.ids)
        labeller.label(list(situations_of(data, asked, oracle.needs_frame)))
        labelled = time.monotonic()
        again = Labeller(oracle, cache)
        again.label(list(situations_of(data, asked, oracle.needs_frame)))
        ended = time.monotonic()
    finally:
        cache.close()
        data.close()
        envs.close()
    return {
        "rows": len(rollout.ids),
        "labels": len(asked),
        "play_seconds": played - began,
        "batch_seconds": labelled - played,
        "cached_labels": again.counts.cached,
        "cached_asked": again.counts.asked,
        "cached_seconds": ended - labelled,
    }


def _one_by_one(
    student: Policy, settings: dict[str, Any], specs: list[EpisodeSpec], oracle: SlowOracle, limit: int, steps: int
) -> dict[str, Any]:
    """The plain loop: the student's button, the expert's answer, the next step."""
    rows: list[tuple[np.ndarray, int | None]] = []
    waited = 0.0
    with PokemonEnv(**settings) as env:
        began = time.monotonic()
        waiting, length, over = iter(specs * steps), 0, True
        while len(rows) < steps:
            if over:
                spec, length = next(waiting), 0
                options = None if spec.start_state is None else {"load_state": str(spec.start_state)}
                screen, info = env.reset(seed=spec.seed, options=options)
                student.start_episode(0, spec.seed)
            (action,) = student.act([0], [screen], [info])
            asked_at = time.monotonic()
            (answer,) = oracle.label_batch([Situation(env.snapshot(), info["prev_action"])])
            waited += time.monotonic() - asked_at
            rows.append((screen, answer.action))
            screen, _, terminated, _, info = env.step(int(action))
            length += 1
            over = terminated or length >= limit
        elapsed = time.monotonic() - began
    return {"loop_labels": len(rows), "loop_seconds": elapsed, "loop_wait_seconds": waited}


class SlowOracle(ExpertOracle):
    """Another oracle behind a simulated network: each question takes `seconds`, and `concurrency` are under way at most.

    Batches from several threads share the limit, as requests to one account do.
    """

    def __init__(self, oracle: ExpertOracle, seconds: float, concurrency: int = 1):
        if concurrency < 1 or seconds < 0:
            raise ValueError(f"seconds is {seconds} and concurrency {concurrency}, but must be at least 0 and 1.")
        self.identity = oracle.identity
        self.needs_frame = oracle.needs_frame
        self.concurrency = concurrency
        self.seconds = seconds
        self._oracle = oracle
        self._lines = ThreadPoolExecutor(concurrency, thread_name_prefix="slow_oracle")
        self._oracle_free = threading.BoundedSemaphore(oracle.concurrency)

    def label_batch(self, situations: Sequence[Situation]) -> list[Answer]:
        for waited in [self._lines.submit(time.sleep, self.seconds) for _ in situations]:
            waited.result()
        with self._oracle_free:
            return self._oracle.label_batch(situations)

    @property
    def withdrawn(self) -> str | None:
        return self._oracle.withdrawn

    def start(self) -> None:
        self._oracle.start()

    def check(self) -> None:
        with self._oracle_free:
            self._oracle.check()

    def close(self) -> None:
        self._lines.shutdown()
        self._oracle.close()
