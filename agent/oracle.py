"""What a student may ask: the one interface to experts, whatever stands behind it.

    with open_policy_oracle((None, "CLOCK_SET"), env.game) as oracle:    # agent.policy_oracle
        answers = oracle.label_batch([Situation(env.snapshot(), info["prev_action"], None)])

A situation is kept as bytes, so that it can be asked hours after it was visited. An oracle answers in batches, and says
for each situation a button, or that it abstains and why: a failed answer is never an exception and never a label.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from agent.policy_expert import ExpertAnswer, PolicyError, PolicyExpert, PolicySource, find_policy
from pokemon_env.games.base import Game

_GAME_SOURCE = Path(__file__).resolve().parent.parent / "pokemon_env"


@dataclass(frozen=True)
class Situation:
    """What an expert may look at, at one step."""

    snapshot: bytes
    """The game's memory (`PokemonEnv.snapshot()`)."""
    prev_action: str
    """The press before it in lower case, "no_op" after a reset (`info["prev_action"]`)."""
    frame: np.ndarray | None = None
    """The screen, (H, W, 3) uint8 RGB; None where the expert needs none (`ExpertOracle.needs_frame`)."""


class LabelsWithdrawn(PolicyError):  # noqa: N818 - what became of the labels
    """An expert's answers depend on more than the situation, so none of its labels counts; the text says how that showed."""


class ExpertOracle(ABC):
    """An expert that is asked in batches. A context manager: `close` ends what it started.

    Attributes:
        identity: where its labels come from. Stable from run to run, and another one whenever labels may differ.
        concurrency: how many batches may be asked at once, from as many threads.
        needs_frame: whether situations must hold the frame.
        asks_freely: whether a question that was answered before may be asked again: it costs little, and the answer is the same.
        withdrawn: why none of its labels can be trusted, those that it gave before included; None while they can.
    """

    identity: str
    concurrency: int = 1
    needs_frame: bool = False
    asks_freely: bool = False
    withdrawn: str | None = None

    @abstractmethod
    def label_batch(self, situations: Sequence[Situation]) -> list[ExpertAnswer]:
        """One answer for each situation, in order. Never raises for an answer that fails: it abstains, with reason and
        kind.
        """

    def start(self) -> None:  # noqa: B027 - most have nothing to start
        """Be ready now, and not only at the first question. Raises what would make all questions vain, for example PolicyError
        for a policy that can't be loaded."""

    def check(self) -> None:  # noqa: B027 - most have nothing to check
        """Make sure of the answers that were given so far, before something is built on them; `withdrawn` says what was found."""

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """End what this oracle started. May be called again; nothing can be asked afterwards."""

    def __enter__(self):
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class InProcessOracle(ExpertOracle):
    """A policy file that runs in this process: see `PolicyExpert` for what that means.

    Raises PolicyError if the file is missing or can't be loaded.
    """

    def __init__(self, policy: str | os.PathLike | tuple[str | os.PathLike | None, str], game: Game, with_optimal: bool = False):
        self.expert = PolicyExpert(policy, game)
        self.identity = policy_identity(self.expert.source, game, f"in-process optimal={with_optimal}")
        self._game = game
        self._with_optimal = with_optimal

    def label_batch(self, situations: Sequence[Situation]) -> list[ExpertAnswer]:
        return [self._label(situation) for situation in situations]

    def _label(self, situation: Situation) -> ExpertAnswer:
        try:
            state = self._game.decode_state(situation.snapshot, situation.prev_action)
        except (ValueError, LookupError, TypeError) as error:
            return ExpertAnswer(None, f"the snapshot can't be decoded: {error}", "bad state")
        answer = self.expert.label(state)
        # The state may have been changed by the policy, so it is decoded again.
        return add_optimal(answer, situation, self._game) if self._with_optimal else answer


def add_optimal(answer: ExpertAnswer, situation: Situation, game: Game) -> ExpertAnswer:
    """The answer with all right buttons. Without them where the game does not know them or could not be, where the expert
    abstained, and where it chose a button that is not among them: then one of the two is wrong, and the set must not overrule it.
    """
    if answer.action is None:
        return answer
    try:
        words = game.optimal_actions(game.decode_state(situation.snapshot, situation.prev_action))
    except (LookupError, TypeError, ValueError):  # a state of a stranger's file, which the game could not be in
        return answer
    optimal = tuple(number for number, name in enumerate(game.buttons) if name.lower() in (words or ()))
    return replace(answer, optimal=optimal) if answer.action in optimal else answer


def policy_path(policy: str | os.PathLike | tuple[str | os.PathLike | None, str], game: Game) -> Path:
    """The file that a `policy` argument means. Raises PolicyError for a milestone without one."""
    if isinstance(policy, tuple):
        folder, milestone = policy
        return find_policy(milestone, folder, game.policy_dir)
    return Path(policy)


def policy_identity(policy: PolicySource, game: Game, how: str) -> str:
    """Where a policy's labels come from: "policy:{name}:{16 hex digits}".

    The digits hash all that decides an answer: the policy's text, the source of `pokemon_env` (states, tools, the worlds and
    the ROM of which optimal buttons are found), and `how` it is asked.
    """
    digest = hashlib.sha256(f"{how}\0{game.id}\0{game.system}\0".encode())
    sources = sorted(_GAME_SOURCE.rglob("*.py"))
    if game.policy_dir is not None:
        sources += sorted(game.policy_dir.parent.glob("*.gb"))
    for content in (policy.data, *(source.read_bytes() for source in sources)):
        digest.update(hashlib.sha256(content).digest())
    return f"policy:{policy.path.stem}:{digest.hexdigest()[:16]}"


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

    def label_batch(self, situations: Sequence[Situation]) -> list[ExpertAnswer]:
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
