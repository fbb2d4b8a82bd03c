"""Querying an expert for labels: from the cache first, in concurrent batches, and within the budget."""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from agent.answer_cache import AnswerCache, AnswerCacheError, answer_key
from agent.oracle import ANSWER_KINDS, Answer, ExpertOracle, LabelsWithdrawn, Situation, storable
from common.picture_codec import picture_key
from common.runtime.plain_text import LONGEST_TEXT

CHECKED_FIRST, CHECKED_LATER = 64, 32
"""In each run, this many first answers of the cache are verified by a new query, and later one in this many."""

MOST_AT_ONCE = 32
"""Queries of a batch. Answers are stored batch by batch, so a killed run loses no more than this."""


@dataclass
class LabelCounts:
    """The cost of labelling so far; a checkpoint holds it."""

    labels: int = 0
    """All queries: the axis on which methods are compared. Answers from the cache count, and so do abstentions."""
    asked: int = 0
    """Queries sent to the expert, i.e. not answered from the cache."""
    cached: int = 0
    """Queries answered from the cache."""
    answered: int = 0
    """Queries whose answer is a button."""
    abstained: dict[str, int] = field(default_factory=dict)
    """Kind of abstention -> how often."""
    seconds: float = 0.0
    """Time spent waiting for answers."""
    withdrawn: int = 0
    """Those of `labels` that were withdrawn; the budget may be spent on them again."""

    def scalars(self) -> dict[str, float]:
        """Return the values to log, under their names in TensorBoard (within a group such as `labels/`)."""
        counts = {key: value for key, value in asdict(self).items() if key != "abstained"}
        return counts | {f"abstained_{kind.replace(' ', '_')}": count for kind, count in sorted(self.abstained.items())}

    def __str__(self) -> str:
        text = f"{self.labels:,} labels ({self.asked:,} asked, {self.cached:,} from the cache"
        if self.abstained:
            text += "; abstained: " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.abstained.items()))
        return f"{text}; {self.seconds:.1f} s)"


def _is_kind(name: Any) -> bool:
    return isinstance(name, str) and name.isprintable() and len(name) <= LONGEST_TEXT


class Labeller:
    """The expert as the training loop sees it.

    Equal queries of one call are sent once; each of them counts as a label.

    Args:
        oracle: the expert.
        cache: earlier answers, of this and other runs. None sends every query to the expert.
        budget: labels at most, in all calls together; None for no limit.

    Attributes: oracle, counts, budget.
    """

    def __init__(self, oracle: ExpertOracle, cache: AnswerCache | None = None, budget: int | None = None):
        self.oracle, self.cache, self.budget = oracle, cache, budget
        self.counts = LabelCounts()
        self._own: set[bytes] = set()  # queries that were sent here
        self._n_known = 0  # the cache's answers to other queries, so far
        self._draw = secrets.SystemRandom()

    @property
    def left(self) -> float:
        """Labels left in the budget."""
        used = self.counts.labels - self.counts.withdrawn
        return float("inf") if self.budget is None else max(self.budget - used, 0)

    def label(self, situations: Sequence[Situation]) -> list[Label | None]:
        """Return one label (or abstention) for each situation, in order; None where the budget is used up.

        Raises LabelsWithdrawn if the expert's answers are withdrawn, which the cache then records. Raises AnswerCacheError if the
        cache holds another answer than the expert gives.
        """
        began = time.monotonic()
        wanted = list(situations[: int(min(self.left, len(situations)))])
        keys = [self._key(situation) for situation in wanted]
        known = {} if self.cache is None else self.cache.get_many(keys, self.oracle.identity)
        answers: dict[bytes, Answer] = dict(known)
        missing = {key: situation for key, situation in zip(keys, wanted, strict=True) if key not in answers}
        answers |= self._ask(missing)
        self._raise_if_withdrawn()
        # Answers to queries that were sent here are checked by the oracle itself.
        foreign = {key: answer for key, answer in known.items() if key not in self._own}
        self._check_cache(foreign, dict(zip(keys, wanted, strict=True)))
        self._own.update(missing)
        labels = [self._as_label(answers[key], key in known) for key in keys]

        counts = self.counts
        counts.labels += len(labels)
        counts.asked += len(missing)
        counts.cached += sum(key in known for key in keys)
        counts.answered += sum(label.action is not None for label in labels)
        kinds: Counter[str] = Counter()
        for label in labels:
            if label.action is None:
                assert label.kind is not None  # an abstention has a kind
                kinds[label.kind] += 1
        counts.abstained = dict(Counter(counts.abstained) + kinds)
        counts.seconds += time.monotonic() - began
        return [*labels, *[None] * (len(situations) - len(labels))]

    def check(self) -> None:
        """Verify the answers so far. Raises LabelsWithdrawn if the expert's answers are withdrawn."""
        self.oracle.check()
        self._raise_if_withdrawn()

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, in plain types."""
        return asdict(self.counts)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the counts. Raises ValueError or TypeError for impossible ones: the budget depends on them."""
        counts = LabelCounts(**state)
        numbers = {name: value for name, value in asdict(counts).items() if name not in ("abstained", "seconds")}
        if not isinstance(counts.abstained, dict) or not all(map(_is_kind, counts.abstained)):
            raise ValueError(f"abstained is {str(counts.abstained)[:40]}, wanted kinds of abstentions with their numbers")
        for name, value in (numbers | counts.abstained).items():
            if type(value) is not int or not 0 <= value < 1 << 53:
                raise ValueError(f"{name} is {str(value)[:40]}, wanted a number of labels")
        if type(counts.seconds) not in (int, float) or not 0 <= counts.seconds < math.inf:
            raise ValueError(f"seconds is {str(counts.seconds)[:40]}")
        self.counts = counts

    def _raise_if_withdrawn(self) -> None:
        if self.oracle.withdrawn is not None:
            found_out = LabelsWithdrawn(self.oracle.withdrawn)
            if self.cache is not None:
                try:
                    self.cache.withdraw(self.oracle.identity, self.oracle.withdrawn)
                except AnswerCacheError as error:  # the data set must be told in any case
                    raise found_out from error
            raise found_out

    def _key(self, situation: Situation) -> bytes:
        picture = b""
        if self.oracle.needs_frame:
            assert situation.frame is not None
            picture = picture_key(situation.frame)
        return answer_key(self.oracle.identity, situation.snapshot, situation.prev_action, picture)

    def _ask(self, missing: dict[bytes, Situation]) -> dict[bytes, Answer]:
        """Query the expert, in as many concurrent batches as it allows, and store each batch's answers when they arrive."""
        keys = list(missing)
        size = max(1, min(MOST_AT_ONCE, -(-len(keys) // self.oracle.concurrency)))
        batches = [keys[start : start + size] for start in range(0, len(keys), size)]

        def ask(batch: list[bytes]) -> dict[bytes, Answer]:
            replies = self.oracle.label_batch([missing[key] for key in batch])
            answers = {key: _storable(reply) for key, reply in zip(batch, replies, strict=True)}
            if self.cache is not None:
                self.cache.put_many(answers)
            return answers

        if len(batches) < 2 or self.oracle.concurrency == 1:
            parts = map(ask, batches)
            return {key: answer for part in parts for key, answer in part.items()}
        with ThreadPoolExecutor(self.oracle.concurrency, thread_name_prefix="labeller") as pool:
            return {key: answer for part in pool.map(ask, batches) for key, answer in part.items()}

    def _check_cache(self, known: dict[bytes, Answer], asked: dict[bytes, Situation]) -> None:
        """Verify some of the cache's answers with the expert, if queries to it are free.

        The file may be a stranger's, and nothing in it proves whose answers it holds.

        Raises AnswerCacheError if an answer differs.
        """
        if self.cache is None or not self.oracle.asks_freely:
            return
        numbered = enumerate(known, self._n_known)
        again = [key for number, key in numbered if number < CHECKED_FIRST or not self._draw.randrange(CHECKED_LATER)]
        self._n_known += len(known)
        for start in range(0, len(again), MOST_AT_ONCE):
            batch = again[start : start + MOST_AT_ONCE]
            replies = self.oracle.label_batch([asked[key] for key in batch])
            self._raise_if_withdrawn()
            for key, reply in zip(batch, replies, strict=True):
                kept, now = ((one.action, one.kind, one.optimal or None) for one in (known[key], reply))
                if now != kept and (reply.kind is None or reply.kind in ANSWER_KINDS):  # other kinds may be accidents
                    self.check()  # it may be the expert that differs
                    raise AnswerCacheError(
                        f"{self.cache.path}: holds {_said(kept)} where {self.oracle.identity} answers {_said(now)}: it was "
                        "changed, or those answers depend on more than the state. Delete it; if this run took answers from it "
                        "before, start the run over, too"
                    )

    def _as_label(self, answer: Answer, cached: bool) -> Label:
        return Label(answer.action, answer.kind, answer.reason, answer.optimal, expert=self.oracle.identity, cached=cached)


def _said(answer: tuple[int | None, str | None, tuple[int, ...] | None]) -> str:
    action, kind, optimal = answer
    words = f"none, for {kind}" if action is None else f"button {action}"
    return words if optimal is None else f"{words} of {' '.join(map(str, optimal))}"


def _storable(answer: Answer) -> Answer:
    """Return the answer with a reason that the cache and the data set can store: its text is a policy's or a model's."""
    return answer if answer.reason is None else replace(answer, reason=storable(answer.reason))


@dataclass(frozen=True, slots=True)
class Label(Answer):
    """The expert's answer for one row."""

    expert: str = field(kw_only=True)
    """The exact identity of the expert: the hash of a policy's code, or a model and its prompt."""
    cached: bool = field(default=False, kw_only=True)
    """Whether the answer was known before, and the expert not queried again."""
