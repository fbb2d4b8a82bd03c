"""The interface to experts, whatever their kind.

    with open_policy_oracle((None, "CLOCK_SET"), env.game) as oracle:    # agent.open_expert
        answers = oracle.label_batch([Situation(env.snapshot(), info["prev_action"], None)])

A situation is stored as bytes, so that it can be queried hours after it was visited. An oracle answers in batches. For each
situation it returns a button, or an abstention with its reason: a failed answer is never an exception and never a label.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from common.runtime.main import UserError
from common.runtime.scripts import never

ANSWER_KINDS = (
    "exception", "none", "no_op", "not text", "unknown word",
    "unsure", "refusal", "cut off", "malformed", "rejected",
)  # fmt: skip
"""Kinds of abstention for which the expert's own answer, or the lack of one, is the reason: a policy's, and then a language
model's, which has been paid. The same query gives the same again.
Kinds that are not listed here ("timeout", "died", ...) may be accidents: no cache keeps them, and the expert is queried again.
"""

MOST_AT_ONCE = 32
"""Queries of a batch. Answers are stored batch by batch, so a killed run loses no more than this."""

MOST_BUTTONS = 62
"""The most buttons whose set fits into one integer."""


@dataclass(frozen=True)
class Situation:
    """What an expert may see at one step."""

    snapshot: bytes
    """The game's memory (`PokemonEnv.snapshot()`)."""
    prev_action: str
    """The previous press in lower case, "no_op" after a reset (`info["prev_action"]`)."""
    frame: np.ndarray | None = None
    """The screen, (H, W, 3) uint8 RGB; None if the expert needs none (`ExpertOracle.needs_frame`)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An expert's answer to one situation."""

    action: int | None
    """Index of its button, or None if it abstained."""
    kind: str | None = None
    """Why it abstained, as a word to count by: one of `ANSWER_KINDS`, or a further kind of the oracle
    (`agent.sandbox.oracle.PolicyOracle` lists its own). None with an action.
    """
    reason: str | None = None
    """Why, in words. An expert may also give a reason with an action: a policy file does not, a language model may."""
    optimal: tuple[int, ...] | None = None
    """All buttons as good as `action`, including it, in rising order; None if the expert does not know them."""


@dataclass(frozen=True)
class Spent:
    """What an expert's answers have cost."""

    tokens: int = 0
    dollars: float | None = 0.0
    """None if a price is not known."""


def storable(text: str) -> str:
    """Return a text that can be printed and stored: lone surrogates, which JSON can hold and UTF-8 cannot, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class PolicyError(UserError, ValueError):
    """A policy file that is missing or cannot be loaded; the text names the file and what to do."""


class LabelsWithdrawn(PolicyError):  # noqa: N818 - named after what happened to the labels
    """An expert's answers depend on more than the situation, so none of its labels counts; the text gives the evidence."""


class ExpertOracle(ABC):
    """An expert that is queried in batches. A context manager: `close` ends what it started.

    Attributes:
        identity: where its labels come from. Stable from run to run, and different whenever labels may differ.
        concurrency: how many batches may be queried at once, from as many threads.
        needs_frame: whether situations must hold the screen.
        asks_freely: whether an answered query may be repeated: it costs little, and the answer is the same.
        withdrawn: why none of its labels can be trusted, including earlier ones; None while they can.
        left: how many queries it can still answer, infinite for most. An expert that costs money may run out of it.
        spent: what its answers have cost.
    """

    identity: str
    concurrency: int = 1
    needs_frame: bool = False
    asks_freely: bool = False
    withdrawn: str | None = None

    @property
    def left(self) -> float:
        return math.inf

    @property
    def spent(self) -> Spent:
        return Spent()

    @abstractmethod
    def label_batch(self, situations: Sequence[Situation]) -> list[Answer]:
        """Return one answer for each situation, in order. A failed answer raises nothing: it is an abstention with a reason."""

    def label_each(
        self, situations: Iterable[Situation], should_stop: Callable[[], bool] = never
    ) -> Iterator[dict[int, Answer]]:
        """Yield groups of answers as they come, each answer under the number of its situation (from 0 on).

        Situations are taken when they can soon be queried, so that not all of them need to be in memory at once. Those that are not
        queried any more, because `should_stop()` is true or `left` is 0, have no answer.
        """
        numbered, size = enumerate(situations), MOST_AT_ONCE
        if isinstance(situations, Sequence):  # so that a few are shared among all
            size = max(1, min(size, -(-len(situations) // self.concurrency)))
        batches = iter(lambda: list(itertools.islice(numbered, size)), [])
        if self.concurrency == 1:
            while not should_stop() and (batch := next(batches, None)) is not None:
                yield self._label_numbered(batch)
            return
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="oracle") as pool:
            under_way: set[Future[dict[int, Answer]]] = set()
            while True:
                while len(under_way) < self.concurrency and not should_stop() and (batch := next(batches, None)) is not None:
                    under_way.add(pool.submit(self._label_numbered, batch))
                if not under_way:
                    return
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()

    def _label_numbered(self, batch: Sequence[tuple[int, Situation]]) -> dict[int, Answer]:
        answers = self.label_batch([situation for _, situation in batch])
        return {number: answer for (number, _), answer in zip(batch, answers, strict=True)}

    def start(self) -> None:  # noqa: B027 - most have nothing to start
        """Get ready now, not only at the first query. Raises errors that would make every query fail, for example PolicyError
        for a policy that cannot be loaded."""

    def begin(self, run: str) -> None:  # noqa: B027 - most cost nothing
        """Count what is asked from now on as the cost of the run of this name."""

    def summary(self) -> list[str]:
        """Return lines for the user at a run's end: what a language model cost, and whether its prompts were cached."""
        return []

    def check(self) -> None:  # noqa: B027 - most have nothing to check
        """Verify the answers so far, before they are used; `withdrawn` then holds the result."""

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """End what this oracle started. May be called again; the oracle cannot be queried afterwards."""

    def __enter__(self):
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
