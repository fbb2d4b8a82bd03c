"""Policies whose answers depend on more than the state: each is found out within its first hundred answers."""

from __future__ import annotations

import time

import pytest

from agent.oracle import Situation
from agent.sandbox.oracle import PolicyOracle
from pokemon_env.games.tallgrass import GAME
from tests.sandboxed import distinct_situations

OS = "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0].__init__.__globals__"
MODULES = f"{OS}['sys'].modules"
TENTH = "'down' if n % 10 == 0 else 'up'"


def counting(*lines: str, before: str = "", answer: str = TENTH) -> str:
    """A policy of which each tenth answer is another one; `lines` set n, the number of its call."""
    return before + "\ndef run(state):\n" + "".join(f"    {line}\n" for line in lines) + f"    return {answer}\n"


# What the loop that asks has for local variables.
LOOP = f"""
def loop():
    frame = {OS}['sys']._getframe(1)
    while 'tokens' not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals
"""
KINDS = {
    "a counter in a module": counting("math.n = n = getattr(math, 'n', 0) + 1", before="import math"),
    "a counter in a function's attribute": counting("f = copy.copy", "f.n = n = getattr(f, 'n', 0) + 1", before="import copy"),
    "a counter in a tool's attribute": counting("f = face_and_press", "f.n = n = getattr(f, 'n', 0) + 1"),
    "a counter in a default argument": counting(
        "seen = copy.deepcopy.__defaults__[1]", "seen.append(0)", "n = len(seen)", before="import copy"
    ),
    "an object in the builtins": counting(
        f"b = {MODULES}['builtins']", "b.kept = kept = getattr(b, 'kept', [])", "kept.append(0)", "n = len(kept)"
    ),
    "an object among the modules": counting(f"n = {MODULES}.setdefault('kept', [])", "n.append(0)", "n = len(n)"),
    "a class that refers to itself": counting(
        "found = [c for c in object.__subclasses__() if c.__name__ == 'Kept']",
        "kept = found[0] if found else type('Kept', (), {'calls': []})",
        f"{MODULES}['builtins'].kept = kept",
        "kept.calls.append(0)",
        "n = len(kept.calls)",
    ),
    "a closure in an exit handler": counting(
        f"atexit = {MODULES}['atexit']",
        "atexit.register(print)",
        "n = atexit._ncallbacks()",
    ),
    "a hint of the garbage collector": counting(
        f"n = {MODULES}['gc'].get_stats()[0]['collections']", f"{MODULES}['gc'].collect(0)"
    ),
    "a patched tool": counting(
        "def other(*args, **more):\n        return 'down'",
        "answer = 'up' if face_and_press.__code__.co_name != 'other' else 'down'",
        "face_and_press.__code__ = other.__code__ if random.random() < 0.2 else face_and_press.__code__",
        before="import random",
        answer="answer",
    ),
    "a patched library": counting(
        "n = math.floor(1.5)", "math.floor = (lambda old: lambda x: old(x) + 1)(math.floor)", before="import math"
    ),
    "an unseeded generator": counting("n = random.Random().randrange(10)", before="import random"),
    "a clock": counting(f"n = {MODULES}['time'].perf_counter_ns() // 1000"),
    "the clock of its own CPU time": counting(f"n = {MODULES}['time'].process_time_ns() // 1000"),
    "id() of the state": counting("n = id(state) // 16"),
    "id() of what lives longer": counting("n = hash((id(len), str(state['player']), str(state['map'])))"),
    "all but the last question of a batch": counting(
        f"{MODULES}['math'].n = n = getattr({MODULES}['math'], 'n', 0) + 1",
        "it = loop()",
        "n = 1 if it['token'] == it['tokens'][-1] else n",
        before=LOOP,
    ),
    "the last question of a batch": counting(
        f"{MODULES}['math'].n = getattr({MODULES}['math'], 'n', 0) + 1",
        "it = loop()",
        f"n = 10 if it['token'] == it['tokens'][-1] and {MODULES}['math'].n > 20 else 1",
        before=LOOP,
    ),
}


@pytest.fixture(scope="module")
def situations() -> list[Situation]:
    return distinct_situations(100)


@pytest.fixture
def oracle_of(tmp_path):
    opened = []

    def make(source: str, **limits) -> PolicyOracle:
        path = tmp_path / "POLICY.py"
        path.write_text(source)
        opened.append(PolicyOracle(path, GAME, **limits))
        return opened[-1]

    yield make
    for oracle in opened:
        oracle.close()


@pytest.mark.parametrize("size", [100, 7])
@pytest.mark.parametrize("name", KINDS)
def test_what_differs_in_a_tenth_is_found_within_a_hundred(name, size, oracle_of, situations):
    oracle = oracle_of(KINDS[name])
    answers = []
    for start in range(0, 100, size):
        answers += oracle.label_batch(situations[start : start + size])
    assert answers[-1].kind == "not repeatable", (answers[-1], {answer.action for answer in answers})
    assert oracle.withdrawn == oracle.stopped and "decide from the state alone" in oracle.stopped


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_honest_policies_are_never_found_out(workers, oracle_of, situations):
    source = """
import random
lots = {'up': 0.5, 'down': 0.5}
def run(state):
    if random.random() < 0.3:
        raise KeyError(state['prev_action'])
    return random.choice(['up', 'down', 'left', None])
"""
    oracle = oracle_of(source, workers=workers)
    first = oracle.label_batch(situations)
    for size in (1, 3, 31, 32, 33, 100):
        again = [answer for start in range(0, 100, size) for answer in oracle.label_batch(situations[start : start + size])]
        assert again == first
    oracle.check()
    assert oracle.stopped is None and oracle.withdrawn is None


def test_a_system_s_generator_is_refused_with_advice(oracle_of, situations):
    oracle = oracle_of(counting("n = random.SystemRandom().randrange(10)", before="import random"))
    answers = oracle.label_batch(situations)
    assert {answer.kind for answer in answers} == {"exception"} and "random.random(), which is seeded" in answers[0].reason


def test_a_generator_is_told_what_to_do_instead(oracle_of, situations):
    oracle = oracle_of(KINDS["an unseeded generator"])
    oracle.label_batch(situations)
    advice = "draw lots by random.random() or random.choice(), which are seeded from the state"
    assert advice in oracle.withdrawn and "\n" not in oracle.withdrawn


def test_one_that_differs_rarely_is_found_later(oracle_of, situations):
    oracle = oracle_of(counting("n = 10 if random.Random().random() < 0.01 else 1", before="import random"))
    for _ in range(40):  # misses it with a probability of 1 in 3,000
        oracle.label_batch(situations)
        if oracle.withdrawn:
            break
    assert oracle.withdrawn


def test_a_slow_clock_is_found_when_it_has_changed(oracle_of, situations):
    at = time.time() + 4
    oracle = oracle_of(counting(f"n = {MODULES}['time'].time() > {at}", answer="['up', 'down'][n]"))
    first = oracle.label_batch(situations[:40])
    assert time.time() < at and oracle.withdrawn is None and first[0].action == GAME.buttons.index("UP")
    time.sleep(max(0.0, at - time.time()))
    oracle.label_batch(situations)
    assert oracle.withdrawn


def test_a_few_answers_are_checked_when_that_is_asked_for(oracle_of, situations):
    oracle = oracle_of(KINDS["an unseeded generator"])
    answers = oracle.label_batch(situations[:20]) + oracle.label_batch(situations[20:31])
    assert {answer.kind for answer in answers} == {None}
    oracle.check()
    assert oracle.withdrawn


def test_answers_that_broke_a_limit_are_left_out(oracle_of, situations):
    """A machine that was too slow once is nobody's fault."""
    source = counting(
        f"time = {MODULES}['time']",
        f"if {MODULES}['random'].random() < 0.05:",  # seeded from the state: always the same ones
        f"    {OS}['_exit'](1) if {MODULES}['random'].Random().random() < 0.1 else None",
        "n = 1",
    )
    oracle = oracle_of(source, max_deaths=10)
    kinds = [answer.kind for answer in oracle.label_batch(situations)]
    assert set(kinds) <= {None, "died"} and oracle.withdrawn is None
