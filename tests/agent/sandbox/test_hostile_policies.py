"""Policies of a second round that try to get round the check that answers can be repeated, to stall whoever asks, or to be shown.

Files of that round are in `tests/scripts/test_hostile_files.py`.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest

from agent.oracle import Situation
from agent.sandbox.oracle import PolicyOracle
from pokemon_env.games.tallgrass import GAME
from tests.sandboxed import distinct_situations

OS = "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0].__init__.__globals__"
MODULES = f"{OS}['sys'].modules"
LOOP = f"""
import math, random, re
def caller(name):
    frame = {OS}['sys']._getframe(1)
    while name not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals[name]
def write(data):
    {OS}['write'](caller('answers'), data)
def times():
    math.n = getattr(math, 'n', 0) + 1
    return math.n
"""
QUICK = {"call_seconds": 0.5, "load_seconds": 3.0, "memory_mb": 64}


def policy(*lines: str, before: str = "") -> str:
    return LOOP + before + "\ndef run(state):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.fixture(scope="module")
def situations() -> list[Situation]:
    return distinct_situations(128)


@pytest.fixture
def oracle_of(tmp_path):
    opened = []

    def make(source: str, **limits) -> PolicyOracle:
        (tmp_path / "POLICY.py").write_text(source)
        opened.append(PolicyOracle(tmp_path / "POLICY.py", GAME, **QUICK | limits))
        return opened[-1]

    yield make
    for oracle in opened:
        oracle.close()


def asked(oracle, situations) -> list:
    answers = [answer for start in range(0, 128, 32) for answer in oracle.label_batch(situations[start : start + 32])]
    oracle.check()
    return answers


@pytest.mark.parametrize("end", [f"{OS}['_exit'](1)", f"{OS}['abort']()", "write(b'nonsense' * 10)"])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_one_that_dies_where_it_is_asked_again_is_found_out(oracle_of, situations, share, end):
    """It knows batches of 32 from those of the check. What it draws at some states is another answer each time."""
    source = policy(
        f"if random.random() < {share}:",  # seeded from the state: always the same ones
        "    if len(caller('tokens')) != 32:",
        f"        {end}",
        "    return random.Random().choice(['up', 'down', 'left', 'right'])",
        "return 'up'",
    )
    oracle = oracle_of(source)
    asked(oracle, situations)
    assert oracle.withdrawn and oracle.withdrawn == oracle.stopped and "depend on more than the state" in oracle.stopped


def test_one_that_dies_at_a_few_answers_is_found_out_in_the_end(oracle_of, situations):
    source = policy(
        "if random.random() < 0.02:",
        "    if len(caller('tokens')) != 32:",
        f"        {OS}['_exit'](1)",
        "    return 'down'",
        "return 'up'",
    )
    oracle = oracle_of(source)
    for _ in range(4):
        asked(oracle, situations)
    assert oracle.withdrawn


def test_a_machine_that_was_slow_once_is_not_held_against_a_policy(oracle_of, situations, monkeypatch):
    """Some answers of a check come too late, and are there at the next one."""
    oracle = oracle_of(policy("return 'up'"), max_deaths=20)
    oracle.label_batch(situations[:32])
    again = oracle._kept[:4]
    late = [{"kind": "timeout", "reason": "did not answer"}] * 4
    for _ in range(2):
        oracle._note_broken(again, late)
    assert oracle.stopped is None
    asked(oracle, situations)  # and these ask them again
    assert oracle.stopped is None and not oracle._doubtful
    for _ in range(3):
        oracle._note_broken(again, late)
    assert oracle.withdrawn


FOUND = {
    "only after fifty answers of one child": ["return 'down' if times() > 50 else 'up'"],
    "the first question of a child": ["return 'down' if times() == 1 else 'up'"],
    "the order of a set of its objects": [
        "objects = {type('A', (), {})() for _ in range(9)}", "return ['up', 'down'][hash(next(iter(objects))) >> 4 & 1]"
    ],
    "what the log keeps": ["kept = log.__func__", "return 'down' if times() % 10 == 0 else 'up'"],
    "the states that it was given": [
        "math.states = [*getattr(math, 'states', []), state]", "return 'down' if len(math.states) % 10 == 0 else 'up'"
    ],
    "strings that are interned": [
        "text = ''.join(['zz', str(state['player'])])", f"new = {MODULES}['sys'].intern(text) is text",
        "math.kept = [*getattr(math, 'kept', []), text]", "return 'up' if new else 'down'",
    ],
    "the cache of regular expressions": [
        "n = len(re._cache)", "re.compile('a' + str(n))", "return 'down' if n % 10 == 0 else 'up'"
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_else_answers_can_depend_on_is_found(oracle_of, situations, name):
    oracle = oracle_of(policy(*FOUND[name]))
    asked(oracle, situations)
    assert oracle.withdrawn


# What is the same in all processes here: labels can be repeated, and the policy isn't given up.
SAME = {
    "recursion depth": [
        f"frame, n = {OS}['sys']._getframe(0), 0", "while frame:", "    frame, n = frame.f_back, n + 1",
        "return ['up', 'down'][n & 1]",
    ],
    "hashes of texts": ["return ['up', 'down'][hash(str(state['player'])) & 1]"],
    "the order of a set of words": ["return next(iter({'up', 'down', 'left', 'right'}))"],
    "a class's attribute": ["S.n += 1", "return S('up' if S.n == 1 else 'down')"],
    "causes in a circle": ["a, b = ValueError('a'), ValueError('b')", "a.__cause__, b.__cause__ = b, a", "raise a"],
    "odd blanks around a word": ["return '\\u2003UP\\x1f\\n'"],
    "a dotted capital i": ["return 'R\\u0130GHT'"],
    "stops its process": [f"signal = {MODULES}['signal']", "signal.raise_signal(signal.SIGSTOP)", "return 'up'"],
    "two words in one answer": [
        "words = '\",\"word\":\"up\",\"word\":\"down\"}'",
        f"{MODULES}['__main__']._encode = lambda c: '{{\"token\":\"' + c['token'] + (words if 'word' in c else '\"}}')",
        "return 'up'",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_is_always_the_same_is_let_be(oracle_of, situations, name):
    before = "class S(str):\n    n = 0\n" if "S.n" in "".join(SAME[name]) else ""
    oracle = oracle_of(policy(*SAME[name], before=before))
    answers = asked(oracle, situations)
    assert oracle.stopped is None and answers == asked(oracle, situations)
    assert {answer.kind for answer in answers} <= {None, "exception", "unknown word"}


STALLING = {
    "a frame that never ends": (["write((250_000).to_bytes(4, 'little'))", "while True: write(b' ')"], {"protocol", "timeout"}),
    "a frame that comes slowly": (
        ["write((250_000).to_bytes(4, 'little'))", f"time = {MODULES}['time']", "while True:", "    end = time.monotonic() + 0.01",
         "    while time.monotonic() < end: pass", "    write(b' ')"],
        {"timeout"},
    ),
    "numbers that are none": (
        [f"{MODULES}['__main__']._encode = lambda c: '{{\"token\":' + '9' * 5000 + ',\"word\":NaN}}'", "return 'up'"], {"protocol"}
    ),
    "a pipe that is full": (["write(b'\\0' * 100_000)", "return 'up'"], {"protocol"}),
}  # fmt: skip


@pytest.mark.parametrize("name", STALLING)
def test_whoever_asks_is_not_stalled(oracle_of, situations, name):
    lines, kinds = STALLING[name]
    oracle = oracle_of(policy(*lines), max_deaths=2)
    begin = time.monotonic()
    answers = oracle.label_batch(situations[:4])
    assert time.monotonic() - begin < 2 * 0.5 + 6
    assert {answer.kind for answer in answers} <= kinds | {"stopped"} and answers[0].kind in kinds


TEXTS = {
    "logs": ["for _ in range(20): log('\\U0001F600\\x1b[2J\\u202e\\n' * 1000)", "return 'up'"],
    "an error": ["raise ValueError('\\U0001F600\\u202e\\x1b[2J\\0' * 10_000)"],
    "an error's class": ["raise type('\\u202eE\\n' * 1000, (Exception,), {})('x')"],
    "an answer": ["return '\\u202e\\x1b[2J\\n' * 1000"],
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_said_of_it_can_be_printed(oracle_of, situations, caplog, name):
    oracle = oracle_of(policy(*TEXTS[name]))
    answers = oracle.label_batch(situations[:32])
    assert oracle.stopped is None and len(Counter(answer.kind for answer in answers)) == 1
    assert all(record.getMessage().isprintable() and len(record.getMessage()) < 1000 for record in caplog.records)
    assert sum(map(len, oracle.messages)) <= 1000 * 1000 and all(message.encode() for message in oracle.messages)


def test_memory_that_is_kept_between_questions_is_an_abstention(oracle_of, situations):
    """Only where it comes to too much: a counter would be found out."""
    oracle = oracle_of(policy("return 'up'", before="math.kept = [*getattr(math, 'kept', []), bytearray(10_000_000)]\n"))
    answers = asked(oracle, situations)
    assert {answer.kind for answer in answers} == {None, "memory"}


@pytest.mark.parametrize("line", [
    "return 'down' if 'other' in __file__ + __name__ else 'up'",
    "return 'down' if 'other' in run.__code__.co_filename else 'up'",
    f"return 'down' if 'other' in str({MODULES}['sys'].argv) else 'up'",
    "return 'down' if 'other' in str(caller('config')['path']) else 'up'",
])  # fmt: skip
def test_answers_do_not_depend_on_where_the_policy_lies(tmp_path, situations, line):
    """Its identity is the same there, and so are the answers in the cache."""
    found = []
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "POLICY.py"
        path.write_text(policy(line))
        with PolicyOracle(path, GAME, **QUICK) as oracle:
            found.append((oracle.identity, [answer.action for answer in oracle.label_batch(situations[:2])]))
    assert found[0] == found[1]
