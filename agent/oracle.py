"""What a student may ask: the one interface to experts, whatever stands behind it.

    with open_policy_oracle((None, "CLOCK_SET"), env.game) as oracle:    # agent.open_expert
        answers = oracle.label_batch([Situation(env.snapshot(), info["prev_action"], None)])

A situation is kept as bytes, so that it can be asked hours after it was visited. An oracle answers in batches, and says
for each situation a button, or that it abstains and why: a failed answer is never an exception and never a label.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from common.runtime.main import UserError

ANSWER_KINDS = ("exception", "none", "no_op", "not text", "unknown word")
"""Why a policy's own answer, or its lack of one, is no label."""

MOST_BUTTONS = 62
"""As many buttons as a set of them has room for in one integer."""


@dataclass(frozen=True)
class Situation:
    """What an expert may look at, at one step."""

    snapshot: bytes
    """The game's memory (`PokemonEnv.snapshot()`)."""
    prev_action: str
    """The press before it in lower case, "no_op" after a reset (`info["prev_action"]`)."""
    frame: np.ndarray | None = None
    """The screen, (H, W, 3) uint8 RGB; None where the expert needs none (`ExpertOracle.needs_frame`)."""


@dataclass(frozen=True)
class ExpertAnswer:
    """The expert's label for one state."""

    action: int | None
    """Index of the button, or None if the expert abstained."""
    reason: str | None = None
    """Why it abstained, in words; None with an action."""
    kind: str | None = None
    """The reason's class, to count by: 'exception', 'none', 'no_op', 'not text' or 'unknown word', and further ones of the
    oracle that was asked (`agent.sandbox.oracle.PolicyOracle` lists its own); None with an action.
    """
    optimal: tuple[int, ...] | None = None
    """All buttons that are right here, `action` among them, in rising order; None where the expert does not tell."""


class PolicyError(UserError, ValueError):
    """A policy file that is missing or can't be loaded; the text names the file and what to do."""


class LabelsWithdrawn(PolicyError):  # noqa: N818 - what became of the labels
    """An expert's answers depend on more than the situation, so none of its labels counts; the text says how that showed."""


class ExpertOracle(ABC):
    """An expert that is asked in batches. A context manager: `close` ends what it started.

    Attributes:
        identity: where its labels come from. Stable from run to run, and another one whenever labels may differ.
        concurrency: how many batches may be asked at once, from as many threads.
        needs_frame: whether situations must hold the frame.
        withdrawn: why none of its labels can be trusted, those that it gave before included; None while they can.
    """

    identity: str
    concurrency: int = 1
    needs_frame: bool = False
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
