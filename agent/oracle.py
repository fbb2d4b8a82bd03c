"""The interface to experts, whatever their kind.

    with open_policy_oracle((None, "CLOCK_SET"), env.game) as oracle:    # agent.open_expert
        answers = oracle.label_batch([Situation(env.snapshot(), info["prev_action"], None)])

A situation is stored as bytes, so that it can be queried hours after it was visited. An oracle answers in batches. For each
situation it returns a button, or an abstention with its reason: a failed answer is never an exception and never a label.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from common.runtime.main import UserError

ANSWER_KINDS = ("exception", "none", "no_op", "not text", "unknown word")
"""Kinds of abstention for which a policy's own answer, or the lack of one, is the reason. The same query gives the same again.
Kinds that are not listed here ("timeout", "died", ...) may be accidents: no cache keeps them, and the expert is queried again.
"""

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
    """

    identity: str
    concurrency: int = 1
    needs_frame: bool = False
    asks_freely: bool = False
    withdrawn: str | None = None

    @abstractmethod
    def label_batch(self, situations: Sequence[Situation]) -> list[Answer]:
        """Return one answer for each situation, in order. A failed answer raises nothing: it is an abstention with a reason."""

    def start(self) -> None:  # noqa: B027 - most have nothing to start
        """Get ready now, not only at the first query. Raises errors that would make every query fail, for example PolicyError
        for a policy that cannot be loaded."""

    def check(self) -> None:  # noqa: B027 - most have nothing to check
        """Verify the answers so far, before they are used; `withdrawn` then holds the result."""

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """End what this oracle started. May be called again; the oracle cannot be queried afterwards."""

    def __enter__(self):
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
