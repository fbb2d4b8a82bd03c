"""Querying an expert for labels: from the cache first, in concurrent batches, and within the budget."""

from __future__ import annotations

import itertools
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from agent.answer_cache import AnswerCache, AnswerCacheError, answer_key
from agent.oracle import ANSWER_KINDS, MOST_AT_ONCE, Answer, ExpertOracle, LabelsWithdrawn, Situation, storable
from common.picture_codec import picture_key
from common.runtime.main import Stopped
from common.runtime.plain_text import LONGEST_TEXT
from common.runtime.scripts import never

CHECKED_FIRST, CHECKED_LATER = 64, 32
"""In each run, this many first answers of the cache are verified by a new query, and later one in this many."""

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
    tokens: int = 0
    """What a language model read and wrote for its answers."""
    dollars: float = 0.0
    """What they cost, as far as prices are known."""

    def scalars(self) -> dict[str, float]:
        """Return the values to log, under their names in TensorBoard (within a group such as `labels/`)."""
        counts = {key: value for key, value in self.plain().items() if key != "abstained"}
        return counts | {f"abstained_{kind.replace(' ', '_')}": count for kind, count in sorted(self.abstained.items())}

    def __str__(self) -> str:
        text = f"{self.labels:,} labels ({self.asked:,} asked, {self.cached:,} from the cache"
        if self.abstained:
            text += "; abstained: " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.abstained.items()))
        if self.tokens:
            each = 1000 * self.dollars / max(self.labels, 1)
            text += f"; {self.tokens:,} tokens, ${self.dollars:.2f}, ${each:.2f} per 1,000 labels"
        return f"{text}; {self.seconds:.1f} s)"

    def plain(self) -> dict[str, Any]:
        """Return the counts in plain types. Those of a language model are left out where there is none."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("tokens", "dollars")}


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
        self._spent = oracle.spent  # as far as it is counted
        self._own: set[bytes] = set()  # queries that were sent here
        self._n_known = 0  # the cache's answers to other queries, so far
        self._draw = secrets.SystemRandom()

    @property
    def left(self) -> float:
        """Labels left in the budget, and of the expert."""
        used = self.counts.labels - self.counts.withdrawn
        return min(self.oracle.left, math.inf if self.budget is None else max(self.budget - used, 0))

    def label(self, situations: Sequence[Situation]) -> list[Label | None]:
        """Return one label (or abstention) for each situation, in order; None where the budget is used up.

        Raises what `label_each` raises, except Stopped.
        """
        labels: list[Label | None] = [None] * len(situations)
        before = replace(self.counts)
        try:
            for group in self.label_each(situations):
                for number, label in group.items():
                    labels[number] = label
        except BaseException:
            self.counts = before  # nobody receives these labels
            raise
        return labels

    def label_each(
        self, situations: Iterable[Situation], should_stop: Callable[[], bool] = never
    ) -> Iterator[dict[int, Label]]:
        """Yield groups of labels as they come, each under the number of its situation (from 0 on).

        Situations are taken when they can soon be queried. Those beyond the budget, and those that the expert no longer answers,
        have none.

        Raises LabelsWithdrawn if the expert's answers are withdrawn, which the cache then records. Raises AnswerCacheError if the
        cache holds another answer than the expert gives. Raises Stopped if `should_stop()` is true and situations are left.
        """
        query = _Query(self, situations, should_stop)
        wanted: Iterable[Situation] = query.missing()
        if isinstance(situations, Sequence):
            wanted = list(wanted)  # an oracle shares a few among its workers
        groups = iter(self.oracle.label_each(wanted, should_stop))
        while True:
            began = time.monotonic()
            group = next(groups, None)
            self._raise_if_withdrawn()
            labels = query.take(group or {})
            self._count(labels, query.n_asked, time.monotonic() - began)
            if labels:
                yield labels
            if group is None:
                break
        if should_stop() and not query.took_all:
            raise Stopped

    def _count(self, labels: dict[int, Label], asked: int, seconds: float) -> None:
        counts, spent = self.counts, self.oracle.spent
        counts.labels += len(labels)
        counts.asked += asked
        counts.cached += sum(label.cached for label in labels.values())
        counts.answered += sum(label.action is not None for label in labels.values())
        kinds = Counter(str(label.kind) for label in labels.values() if label.action is None)  # an abstention has a kind
        counts.abstained = dict(Counter(counts.abstained) + kinds)
        counts.seconds += seconds
        counts.tokens += spent.tokens - self._spent.tokens
        counts.dollars += (spent.dollars or 0.0) - (self._spent.dollars or 0.0)
        self._spent = spent

    def check(self) -> None:
        """Verify the answers so far. Raises LabelsWithdrawn if the expert's answers are withdrawn."""
        self.oracle.check()
        self._raise_if_withdrawn()

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, in plain types."""
        return self.counts.plain()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the counts. Raises ValueError or TypeError for impossible ones: the budget depends on them."""
        counts = LabelCounts(**state)
        numbers = {name: value for name, value in asdict(counts).items() if name not in ("abstained", "seconds", "dollars")}
        if not isinstance(counts.abstained, dict) or not all(map(_is_kind, counts.abstained)):
            raise ValueError(f"abstained is {str(counts.abstained)[:40]}, wanted kinds of abstentions with their numbers")
        for name, value in (numbers | counts.abstained).items():
            if type(value) is not int or not 0 <= value < 1 << 53:
                raise ValueError(f"{name} is {str(value)[:40]}, wanted a number of labels")
        for name, amount in (("seconds", counts.seconds), ("dollars", counts.dollars)):
            if type(amount) not in (int, float) or not 0 <= amount < math.inf:
                raise ValueError(f"{name} is {str(amount)[:40]}")
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


class _Query:
    """The situations of one call: which are known, which have to be queried, and whose answers have come.

    Args:
        labeller: whose cache is looked in, and whose budget holds.
        situations: taken one chunk after another.
        should_stop: whether no more are taken.

    Attributes:
        n_asked: answers of the expert in the last `take`.
        took_all: there are no more situations, or no budget for them.
    """

    def __init__(self, labeller: Labeller, situations: Iterable[Situation], should_stop: Callable[[], bool]):
        self.labeller, self.should_stop = labeller, should_stop
        self.n_asked, self.took_all = 0, False
        self._numbered = enumerate(situations)
        self._asked: list[bytes] = []  # in the order in which `missing` yielded them
        self._waiting: dict[bytes, list[int]] = {}  # key -> numbers of equal situations
        self._answered: dict[bytes, Answer] = {}  # of this call
        self._known: dict[int, Label] = {}  # labels that nobody has taken yet
        self._n_taken = 0

    def missing(self) -> Iterator[Situation]:
        """Yield the situations that have to be queried. Takes further ones only when it is asked for them."""
        labeller, left = self.labeller, self.labeller.left
        while not self.should_stop():
            room = int(min(MOST_AT_ONCE, left - self._n_taken, labeller.oracle.left))
            if not room or not (chunk := list(itertools.islice(self._numbered, room))):
                self.took_all = True
                return
            self._n_taken += len(chunk)
            keys = [labeller._key(situation) for _, situation in chunk]
            known = {} if labeller.cache is None else labeller.cache.get_many(keys, labeller.oracle.identity)
            # Answers to queries that were sent here are checked by the oracle itself.
            foreign = {key: answer for key, answer in known.items() if key not in labeller._own}
            labeller._check_cache(foreign, {key: situation for key, (_, situation) in zip(keys, chunk, strict=True)})
            for key, (number, situation) in zip(keys, chunk, strict=True):
                if key in known:
                    self._known[number] = labeller._as_label(known[key], True)
                elif key in self._answered:
                    self._known[number] = labeller._as_label(self._answered[key], False)
                elif key in self._waiting:
                    self._waiting[key].append(number)
                else:
                    self._waiting[key] = [number]
                    self._asked.append(key)
                    yield situation

    def take(self, group: dict[int, Answer]) -> dict[int, Label]:
        """Return labels: of answers of the expert, under their numbers in `missing`, which are kept first; and of known ones."""
        answers = {self._asked[place]: _storable(answer) for place, answer in group.items()}
        if answers and self.labeller.cache is not None:
            self.labeller.cache.put_many(answers)
        self.labeller._own.update(answers)
        self.n_asked = len(answers)
        labels, self._known = self._known, {}
        for key, answer in answers.items():
            self._answered[key] = answer
            labels |= {number: self.labeller._as_label(answer, False) for number in self._waiting.pop(key)}
        return labels


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
