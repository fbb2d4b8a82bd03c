"""Asking an expert: from the cache first, several at once, each answer at its question, and no more than the budget."""

import sqlite3
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from agent.answer_cache import AnswerCache, AnswerCacheError
from agent.labelling import MOST_AT_ONCE, LabelCounts, Labeller
from agent.open_expert import open_policy_oracle
from agent.oracle import ExpertAnswer, ExpertOracle, LabelsWithdrawn, PolicyError, Situation
from benchmarks.compare.latency import SlowOracle
from pokemon_env.gym_env import PokemonEnv


class Counting(ExpertOracle):
    """Answers with the situation's own number, so that a label at another row is seen; and remembers what it was asked."""

    identity = "counting"

    def __init__(self, concurrency: int = 1, pause: float = 0.0, abstains: Sequence[int] = (), kind: str = "none"):
        self.concurrency, self.pause, self.abstains, self.kind = concurrency, pause, set(abstains), kind
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self._lock = threading.Lock()

    def label_batch(self, situations):
        numbers = [int.from_bytes(situation.snapshot, "big") for situation in situations]
        with self._lock:
            self.batches.append(numbers)
            self.threads.add(threading.get_ident())
        time.sleep(self.pause * (numbers[0] % 3))  # so that later batches come back before earlier ones
        return [ExpertAnswer(None, "why", self.kind) if n in self.abstains else ExpertAnswer(n % 8) for n in numbers]


def situations(numbers) -> list[Situation]:
    return [Situation(number.to_bytes(4, "big"), "up") for number in numbers]


def actions(labels) -> list[int | None]:
    return [label.action for label in labels]


def test_labels_and_what_they_cost():
    labeller = Labeller(Counting(abstains=[3, 4]))
    labels = labeller.label(situations(range(6)))
    assert actions(labels) == [0, 1, 2, None, None, 5]
    assert {label.expert for label in labels} == {"counting"} and labels[3].kind == "none" and not labels[0].cached
    counts = labeller.counts
    assert (counts.labels, counts.asked, counts.cached, counts.answered, counts.abstained) == (6, 6, 0, 4, {"none": 2})
    assert counts.scalars()["abstained_none"] == 2 and counts.seconds > 0
    assert str(counts).startswith("6 labels (6 asked, 0 from the cache; abstained: none 2; ")
    assert labeller.label([]) == [] and counts.labels == 6


def test_equal_questions_of_one_call_are_asked_once_and_count_each():
    oracle = Counting()
    labeller = Labeller(oracle)
    assert actions(labeller.label(situations([1, 2, 1, 1]))) == [1, 2, 1, 1]
    assert oracle.batches == [[1, 2]] and (labeller.counts.labels, labeller.counts.asked) == (4, 2)
    # The button before belongs to the question, the picture only where the expert sees it.
    labeller.label([Situation(b"\1", "up"), Situation(b"\1", "down")])
    assert labeller.counts.asked == 4


def test_the_budget_is_never_passed():
    oracle = Counting()
    labeller = Labeller(oracle, budget=5)
    assert actions(labeller.label(situations(range(3)))) == [0, 1, 2] and labeller.left == 2
    labels = labeller.label(situations(range(10, 14)))
    assert actions(labels[:2]) == [2, 3] and labels[2:] == [None, None]
    assert labeller.left == 0 and labeller.label(situations([9])) == [None]
    assert sum(map(len, oracle.batches)) == labeller.counts.labels == 5
    again = Labeller(oracle, budget=4)  # whoever goes on with a lower budget has none left
    again.load_state_dict(labeller.state_dict())
    assert again.left == 0 and again.label(situations([9])) == [None]


def test_hits_count_as_labels(tmp_path):
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        Labeller(Counting(abstains=[2]), cache).label(situations(range(4)))
        oracle = Counting()
        labeller = Labeller(oracle, cache, budget=4)
        labels = labeller.label(situations(range(6)))
    assert actions(labels[:4]) == [0, 1, None, 3] and labels[4:] == [None, None] and labels[2].kind == "none"
    assert all(label.cached for label in labels[:4]) and oracle.batches == []
    counts = labeller.counts
    assert (counts.labels, counts.asked, counts.cached, counts.answered) == (4, 0, 4, 3)


def test_accidents_are_asked_again(tmp_path):
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        Labeller(Counting(abstains=[1], kind="timeout"), cache).label(situations([0, 1]))
        labels = Labeller(Counting(), cache).label(situations([0, 1]))
    assert actions(labels) == [0, 1] and [label.cached for label in labels] == [True, False]


def test_another_expert_or_picture_is_another_question(tmp_path):
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        Labeller(Counting(), cache).label(situations([1]))
        other, seeing = Counting(), Counting()
        other.identity, seeing.needs_frame = "another", True
        labeller = Labeller(other, cache)
        labeller.label(situations([1]))
        assert labeller.counts.asked == 1
        labeller = Labeller(seeing, cache)
        screens = [np.full((144, 160, 3), value, np.uint8) for value in (0, 1, 1)]
        labeller.label([Situation(b"\1", "up", screen) for screen in screens])
        assert (labeller.counts.labels, labeller.counts.asked) == (3, 2)


def test_labels_from_several_threads_arrive_at_their_questions():
    oracle = Counting(concurrency=4, pause=0.01)
    numbers = [*range(300), *range(50)]
    labels = Labeller(oracle).label(situations(numbers))
    assert actions(labels) == [n % 8 for n in numbers]
    assert len(oracle.threads) > 1 and max(map(len, oracle.batches)) <= MOST_AT_ONCE
    assert sorted(n for batch in oracle.batches for n in batch) == list(range(300))


def test_what_was_answered_before_a_failure_is_kept(tmp_path):
    """A killed process, or one whose expert fails for good, has paid for no batch but the one that was under way."""

    class Failing(Counting):
        def label_batch(self, situations):
            if len(self.batches) == 2:
                raise OSError("the network is gone")
            return super().label_batch(situations)

    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        labeller = Labeller(Failing(), cache)
        with pytest.raises(OSError, match="network is gone"):
            labeller.label(situations(range(3 * MOST_AT_ONCE)))
        assert len(cache) == 2 * MOST_AT_ONCE and labeller.counts == LabelCounts()
        labeller = Labeller(Counting(), cache)
        labeller.label(situations(range(3 * MOST_AT_ONCE)))
        assert labeller.counts.asked == MOST_AT_ONCE


def test_counts_go_on():
    labeller = Labeller(Counting(abstains=[1]))
    labeller.label(situations([0, 1]))
    other = Labeller(Counting(abstains=[1]))
    other.load_state_dict(labeller.state_dict())
    other.label(situations([1]))
    assert (other.counts.labels, other.counts.abstained) == (3, {"none": 2}) and labeller.counts.abstained == {"none": 1}


@pytest.mark.slow
def test_a_slow_expert_is_asked_twenty_times_faster_than_one_by_one(rom_path):
    """250 ms for each answer, 32 questions under way at once, and the real sandboxed policy behind them."""
    with PokemonEnv(rom_path, start_milestone="RIVAL_HOUSE", tier="T1", worlds="0", state_in_info=False) as env:
        seen: dict[Situation, None] = {}
        game, rng, words = env.game, np.random.default_rng(0), [name.lower() for name in env.buttons]
        for seed in range(100):
            env.reset(seed=seed)
            for _ in range(8):
                seen[Situation(env.snapshot(), words[rng.integers(8)])] = None
                env.step(int(rng.integers(4, 8)))
        wanted = list(seen)[:200]
    assert len(wanted) == 200
    with open_policy_oracle((None, "RIVAL_HOUSE"), game) as plain:
        right = actions(Labeller(plain).label(wanted))
    oracle = open_policy_oracle((None, "RIVAL_HOUSE"), game)
    oracle.start()
    with SlowOracle(oracle, 0.25, concurrency=32) as slow:
        began = time.perf_counter()
        for situation in wanted[:4]:
            slow.label_batch([situation])
        one_by_one = (time.perf_counter() - began) / 4 * 200
        began = time.perf_counter()
        labels = Labeller(slow).label(wanted)
        together = time.perf_counter() - began
    assert actions(labels) == right and one_by_one / together >= 20, (one_by_one, together)


def test_a_policy_that_can_t_be_loaded_is_told_before_the_first_question(rom_path, tmp_path):
    (tmp_path / "CLOCK_SET.py").write_text("def run(state:\n")
    with PokemonEnv(rom_path) as env, open_policy_oracle((tmp_path, "CLOCK_SET"), env.game) as oracle:
        with pytest.raises(PolicyError, match="CLOCK_SET.py: .*not Python"):
            oracle.start()
        with SlowOracle(oracle, 0.0) as slow, pytest.raises(PolicyError):
            slow.start()


class FoundOut(Counting):
    """One whose answers are seen to depend on more than the situation: at the third batch, or when they are checked."""

    def label_batch(self, situations):
        answers = super().label_batch(situations)
        if len(self.batches) == 3:
            self.withdrawn = "A.py: depends on a clock"
        return answers

    def check(self):
        self.withdrawn = "A.py: depends on a clock"


@pytest.mark.parametrize("concurrency", [1, 2])
def test_an_expert_that_is_found_out_ends_labelling_and_the_cache_forgets_it(tmp_path, concurrency):
    with AnswerCache(tmp_path / "cache.sqlite") as cache:
        labeller = Labeller(SlowOracle(FoundOut(), 0.0, concurrency), cache)
        labels = labeller.label(situations(range(MOST_AT_ONCE)))
        with pytest.raises(LabelsWithdrawn, match="depends on a clock"):
            labeller.label(situations(range(500)))
        assert len(cache) > 0 and len(labels) == MOST_AT_ONCE
        honest = Labeller(Counting(), cache)
        honest.label(situations(range(10)))
        assert (honest.counts.cached, honest.counts.asked) == (0, 10)  # by its identity, whoever has it
    with pytest.raises(LabelsWithdrawn):
        Labeller(FoundOut()).check()
    Labeller(Counting()).check()


def test_a_cache_that_can_t_be_written_keeps_nobody_from_hearing_that_labels_are_withdrawn(tmp_path, monkeypatch):
    monkeypatch.setattr("agent.answer_cache._BUSY_SECONDS", 0.1)
    with AnswerCache(tmp_path / "cache.sqlite") as cache, sqlite3.connect(tmp_path / "cache.sqlite") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LabelsWithdrawn, match="depends on a clock") as found:
            Labeller(FoundOut(), cache).check()
        assert isinstance(found.value.__cause__, AnswerCacheError)


def test_the_budget_of_withdrawn_labels_may_be_spent_again():
    labeller = Labeller(Counting(), budget=10)
    labeller.label(situations(range(10)))
    assert labeller.left == 0
    labeller.counts.withdrawn = 4
    assert labeller.left == 4
    restored = Labeller(Counting(), budget=10)
    restored.load_state_dict({key: value for key, value in labeller.state_dict().items() if key != "withdrawn"})  # an older one
    assert restored.left == 0 and restored.counts.withdrawn == 0
