"""What a model is told of a failure: grouped, three in detail, equal steps as one line; and what is cut is said."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from agent.llm.policy_prompts import Part, code_of, shortened
from trainer.feedback import Attempt, chosen_failures, feedback_parts, grouped, run_lengths
from trainer.policy_writer import next_parent
from trainer.trial import Episode, Picture, Step, Trial


def step(number, button="up", *, place="TOWN", position=(3, 4), text="", menu="", drawn=False, abstained="", log=()):
    return Step(number, place, position, "down", text, menu, button, drawn, abstained, tuple(log))


def failed(kind, reason, noisy=False, steps=(), **further):
    return Episode(1, noisy, False, len(steps), kind, reason, last=list(steps), **further)


def won(steps=10, noisy=False):
    return Episode(2, noisy, True, steps)


def tried(number, episodes, planned=None, parent=None, error="", confirmed=None, code=None):
    trial = None if error else Trial(list(episodes), planned or len(episodes))
    confirmed = None if confirmed is None else Trial(list(confirmed), len(confirmed))
    return Attempt(number, f"plan {number}", code or f"code of {number}", error, trial, confirmed, parent)


def text_of(parts):
    return "\n".join(part.content for part in parts if isinstance(part.content, str))


def test_failures_are_grouped_by_reason_the_most_frequent_first():
    episodes = [
        won(), failed("stuck", "at TOWN (1, 2)"), failed("exception", "KeyError: 'a' (line 2)"),
        failed("exception", "KeyError: 'b' (line 9)"), failed("stuck", "at LAB (5, 6)"), failed("stuck", "at LAB (5, 7)"),
    ]  # fmt: skip
    # Where one is stuck differs from episode to episode, and an exception is one only if its line and text are.
    assert grouped(episodes) == [
        ("stuck: at TOWN (1, 2)", 3), ("exception: KeyError: 'a' (line 2)", 1), ("exception: KeyError: 'b' (line 9)", 1),
    ]  # fmt: skip


def test_three_failures_are_told_and_of_each_reason_one_before_a_second():
    same = [failed("stuck", "here", steps=[step(number)]) for number in range(1, 5)]
    other = failed("circle", "there", steps=[step(9)])
    told = chosen_failures([won(), *same, other])
    assert [episode.reason for episode in told] == ["here", "there", "here"] and told[0] is same[0] and told[1] is other
    assert len(chosen_failures([won(), same[0]])) == 1 and chosen_failures([won()]) == []


def test_equal_steps_are_one_line_and_all_that_differs_is_told():
    steps = [
        step(1), step(2), step(3, position=(3, 5)), step(4, position=(3, 5), text="Hello\nyou"),
        step(5, menu="yes_no 1", button="a"), step(6, button="left", drawn=True),
        step(7, button="left", drawn=True, abstained="none: answered None"),
        step(8, position=None, place="title"),
    ]  # fmt: skip
    assert run_lengths(steps) == [
        "1-2 TOWN (3, 4) down: up",
        "3 TOWN (3, 5) down: up",
        "4 TOWN (3, 5) down, Hello / you: up",
        "5 TOWN (3, 4) down, yes_no 1: a",
        "6 TOWN (3, 4) down: left, drawn by chance",
        "7 TOWN (3, 4) down: no answer (none: answered None), so left",
        "8 title down: up",
    ]


def test_a_failure_is_told_with_noise_abstentions_log_state_and_screens():
    screens = [Picture(number, "up" if number < 3 else "", np.full((4, 4, 3), number, np.uint8)) for number in (1, 2, 3)]
    bad = failed(
        "stuck", "nothing changed", True, [step(1, log=["I see 5"]), step(2)], pictures=screens, abstentions={"none": 3},
    )  # fmt: skip
    parts = feedback_parts(tried(2, [won(12), bad], planned=8), [tried(1, [], error="SyntaxError (line 3)")], pictures=2)
    text = text_of(parts)
    for told in (
        "# Your policy, attempt 2\nYour plan: plan 2\n```python\ncode of 2\n```",
        "in 1 of 8 episodes from the trial's starts, in 12 steps",
        "after 2 it was ended", "- stuck: nothing changed: in 1 episode\n", "# Failure 1: stuck (some presses drawn by chance)",
        "Without an answer: none 3", "1-2 TOWN (3, 4) down: up", "step 1: I see 5", "Step 2, before up was pressed:",
        "Step 3, the last one:", "# Earlier attempts\n1: could not be loaded: SyntaxError (line 3)",
    ):  # fmt: skip
        assert told in text + "\n", told
    pictures = [part.content for part in parts if not isinstance(part.content, str)]
    assert [(one.shape, int(one[0, 0, 0])) for one in pictures] == [((8, 8, 3), 2), ((8, 8, 3), 3)]
    assert "Step 1" not in text
    without = feedback_parts(tried(2, [bad]), [], pictures=0)
    assert not any(isinstance(part.content, np.ndarray) for part in without)


def test_an_attempt_that_was_confirmed_is_told_by_its_failures_there():
    first, later = failed("stuck", "in the trial", steps=[step(1)]), failed("circle", "later", steps=[step(1)])
    text = text_of(feedback_parts(tried(1, [won(), first], confirmed=[won(), later, later]), [], 0))
    assert "from the trial's starts" in text and "in 1 of 3 episodes from other starts, to confirm it" in text
    assert "circle: later" in text and "in the trial" not in text


def test_what_could_not_be_loaded_is_told_without_episodes():
    text = text_of(feedback_parts(tried(1, [], error="policy.py: is not Python (line 4)"), [], 9))
    assert "It could not be loaded: policy.py: is not Python (line 4)" in text and "episodes" not in text


def test_what_is_too_long_is_cut_by_rank_and_said():
    parts = [Part("kept" * 100), Part("a" * 700, "the states", 2), Part("b" * 700, "the screens", 4), Part("c" * 350, "the log", 2)]
    whole = shortened(parts, 1000)
    assert whole == [part.content for part in parts]
    one = shortened(parts, 420)
    assert one[:-1] == [parts[0].content, parts[1].content, parts[3].content] and one[-1] == "\n(Left out for length: the screens.)"
    # Of equal ranks the longest is cut first, and what has no name never.
    assert shortened(parts, 250)[1:] == ["c" * 350, "\n(Left out for length: the screens, the states.)"]
    assert shortened(parts, 10)[0] == "kept" * 100


def test_a_screen_is_cut_with_its_caption_and_said_once():
    screens = [Part("Step 1:", "screens", 4), Part(np.zeros((2, 2, 3)), "screens", 4)] * 4
    assert shortened([Part("kept"), *screens], 500) == ["kept", "\n(Left out for length: screens.)"]
    winners = [Part(name * 350, f"the policy of {name}", 4) for name in "abc"]
    assert shortened(winners, 200)[-1] == "\n(Left out for length: the policy of c.)"


def test_the_better_one_is_the_parent_and_of_equals_the_latest():
    bad, half = tried(1, [failed("stuck", "x")] * 2), tried(2, [won(), failed("stuck", "x")], parent=1)
    broken, again = tried(3, [], error="SyntaxError", parent=2), tried(3, [won(), failed("circle", "y")], parent=2)
    quicker = tried(4, [won(5), failed("circle", "y")], parent=2)
    confirmed = tried(5, [won()], confirmed=[failed("stuck", "x")], parent=2)
    assert next_parent([]) is None and next_parent([bad]) is bad and next_parent([bad, half]) is half
    assert next_parent([bad, half, broken]) is half and next_parent([bad, half, again]) is again
    assert next_parent([bad, half, again, quicker]) is quicker and next_parent([bad, half, again, confirmed]) is confirmed


def test_three_attempts_without_progress_are_followed_by_a_fresh_beginning():
    def row(*scores):
        """The first is written afresh; a score is the number of successes of 4."""
        episodes = [[won()] * score + [failed("stuck", "x")] * (4 - score) for score in scores]
        return [tried(number, some, parent=number - 1 or None) for number, some in enumerate(episodes, 1)]

    assert next_parent(row(1, 0, 0)) is not None
    assert next_parent(row(1, 0, 0, 0)) is None
    assert next_parent(row(1, 1, 1, 1)) is None  # as good is no progress
    assert next_parent(row(0, 0, 0, 1)).number == 4
    # After a fresh beginning its own attempts are counted; the best of all is the parent.
    history = row(2, 0, 0, 0)
    for number in itertools.count(5):
        history.append(tried(number, [failed("stuck", "x")], parent=None if number == 5 else 1))
        if next_parent(history) is None:
            break
        assert next_parent(history).number == 1
    assert number == 8


def test_scores_prefer_the_confirmed_then_successes_then_fewer_steps():
    ranked = [
        tried(1, [], error="no"), tried(2, [failed("stuck", "x")]), tried(3, [won(9), failed("stuck", "x")]),
        tried(4, [won(5), failed("stuck", "x")]), tried(5, [won()], confirmed=[failed("stuck", "x")]),
        tried(6, [won()], confirmed=[won()]),
    ]  # fmt: skip
    scores = [attempt.score for attempt in ranked]
    assert scores == sorted(scores) and len(set(scores)) == 6
    assert tried(1, [failed("stuck", "x")]).score == (0.0, -math.inf)


@pytest.mark.parametrize(
    "text, code",
    [
        ("Plan.\n```python\ndef run(state):\n    return 'a'\n```\nDone.", "def run(state):\n    return 'a'\n"),
        ("```\ndef run(state): return 'a'\n```\nbetter:\n```py\ndef run(state): return 'b'\n```", "def run(state): return 'b'\n"),
        ("```python\ndef run(state): return 'a'\n```\nused as\n```python\nrun({})\n```", "def run(state): return 'a'\n"),
        ("```python\nrun = lambda state: 'a'\n```", "run = lambda state: 'a'\n"),
        ("Press a.", None),
        ("```python\ndef policy(state): return 'a'\n```", None),
        ("```python\ndef run(state):\n    return 'a'", None),
    ],
)
def test_the_last_block_that_defines_run_is_the_policy(text, code):
    found = code_of(text)
    assert (None if found is None else found[0]) == code
