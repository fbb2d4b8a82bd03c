"""Asking an expert for many labels: from the cache first, in batches, several at once, and no more than the budget."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from agent.answer_cache import AnswerCache, AnswerCacheError, CachedAnswer, answer_key
from agent.oracle import ExpertOracle, LabelsWithdrawn, Situation
from common.picture_codec import picture_key

MOST_AT_ONCE = 32
"""Questions of a batch. What was answered is kept batch by batch, so a run that is killed loses no more than this."""


@dataclass
class LabelCounts:
    """What labelling has cost so far; a checkpoint holds it."""

    labels: int = 0
    """Questions, whoever answered: the axis on which methods are compared. The cache's answers count, abstentions too."""
    asked: int = 0
    """Questions that the expert was asked himself."""
    cached: int = 0
    """Questions that the cache answered."""
    answered: int = 0
    """Questions that have a button for an answer."""
    abstained: dict[str, int] = field(default_factory=dict)
    """Kind of abstention -> how many."""
    seconds: float = 0.0
    """Waited for answers."""
    withdrawn: int = 0
    """Those of `labels` whose expert was found out; the budget may be spent on them again."""

    def scalars(self) -> dict[str, float]:
        """What is logged, under the names that it has in TensorBoard (within a group such as `labels/`)."""
        counts = {key: value for key, value in asdict(self).items() if key != "abstained"}
        return counts | {f"abstained_{kind.replace(' ', '_')}": count for kind, count in sorted(self.abstained.items())}

    def __str__(self) -> str:
        text = f"{self.labels:,} labels ({self.asked:,} asked, {self.cached:,} from the cache"
        if self.abstained:
            text += "; abstained: " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.abstained.items()))
        return f"{text}; {self.seconds:.1f} s)"


class Labeller:
    """The expert as the training loop sees it.

    Equal questions of one call are asked once; each of them counts as a label.

    Args:
        oracle: the expert.
        cache: answers from before, of this and other runs; None asks for everything.
        budget: labels at most, in all calls together; None for no limit.

    Attributes: oracle, counts, budget.
    """

    def __init__(self, oracle: ExpertOracle, cache: AnswerCache | None = None, budget: int | None = None):
        self.oracle, self.cache, self.budget = oracle, cache, budget
        self.counts = LabelCounts()

    @property
    def left(self) -> float:
        """Labels that may still be asked for."""
        used = self.counts.labels - self.counts.withdrawn
        return float("inf") if self.budget is None else max(self.budget - used, 0)

    def label(self, situations: Sequence[Situation]) -> list[Label | None]:
        """One label (or abstention) for each situation, in order; None where the budget is used up.

        Raises LabelsWithdrawn if the expert is found out, and the cache knows it then.
        """
        began = time.monotonic()
        wanted = list(situations[: int(min(self.left, len(situations)))])
        keys = [self._key(situation) for situation in wanted]
        known = {} if self.cache is None else self.cache.get_many(keys, self.oracle.identity)
        answers: dict[bytes, CachedAnswer] = dict(known)
        missing = {key: situation for key, situation in zip(keys, wanted, strict=True) if key not in answers}
        answers |= self._ask(missing)
        self._raise_if_withdrawn()
        labels = [self._as_label(answers[key], key in known) for key in keys]

        counts = self.counts
        counts.labels += len(labels)
        counts.asked += len(missing)
        counts.cached += sum(key in known for key in keys)
        counts.answered += sum(label.action is not None for label in labels)
        kinds = Counter(counts.abstained) + Counter(label.kind for label in labels if label.action is None)
        counts.abstained = dict(kinds)
        counts.seconds += time.monotonic() - began
        return [*labels, *[None] * (len(situations) - len(labels))]

    def check(self) -> None:
        """Make sure of the answers so far. Raises LabelsWithdrawn if the expert is found out."""
        self.oracle.check()
        self._raise_if_withdrawn()

    def state_dict(self) -> dict[str, Any]:
        """The counts, in plain types."""
        return asdict(self.counts)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counts = LabelCounts(**state)

    def _raise_if_withdrawn(self) -> None:
        if self.oracle.withdrawn is not None:
            found_out = LabelsWithdrawn(self.oracle.withdrawn)
            if self.cache is not None:
                try:
                    self.cache.withdraw(self.oracle.identity, self.oracle.withdrawn)
                except AnswerCacheError as error:  # the data set must learn of it all the same
                    raise found_out from error
            raise found_out

    def _key(self, situation: Situation) -> bytes:
        picture = picture_key(situation.frame) if self.oracle.needs_frame else b""
        return answer_key(self.oracle.identity, situation.snapshot, situation.prev_action, picture)

    def _ask(self, missing: dict[bytes, Situation]) -> dict[bytes, CachedAnswer]:
        """Ask the expert, as many batches at once as it takes, and keep each batch's answers when they come."""
        keys = list(missing)
        size = max(1, min(MOST_AT_ONCE, -(-len(keys) // self.oracle.concurrency)))
        batches = [keys[start : start + size] for start in range(0, len(keys), size)]

        def ask(batch: list[bytes]) -> dict[bytes, CachedAnswer]:
            replies = self.oracle.label_batch([missing[key] for key in batch])
            answers = {
                key: CachedAnswer(reply.action, reply.kind, reply.reason, reply.optimal)
                for key, reply in zip(batch, replies, strict=True)
            }
            if self.cache is not None:
                self.cache.put_many(answers)
            return answers

        if len(batches) < 2 or self.oracle.concurrency == 1:
            parts = map(ask, batches)
            return {key: answer for part in parts for key, answer in part.items()}
        with ThreadPoolExecutor(self.oracle.concurrency, thread_name_prefix="labeller") as pool:
            return {key: answer for part in pool.map(ask, batches) for key, answer in part.items()}

    def _as_label(self, answer: CachedAnswer, cached: bool) -> Label:
        return Label(answer.action, self.oracle.identity, answer.kind, answer.optimal, cached)


@dataclass(frozen=True, slots=True)
class Label:
    """What an expert said to one row."""

    action: int | None
    """Its button, or None if it abstained."""
    expert: str
    """Who said it, exactly: the hash of a policy's code, or a model and its prompt."""
    kind: str | None = None
    """The kind of reason for which it abstained; None with an action."""
    optimal: tuple[int, ...] | None = None
    """All buttons that are as good as `action`, with it; None if the expert doesn't say."""
    cached: bool = False
    """Whether the answer was known from before, and the expert not asked again."""
