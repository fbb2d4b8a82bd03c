"""Hostile and broken policies in the sandbox: each ends as abstentions, and nothing outside it notices.

What a policy must not reach is really there to be reached: a canary to read, a folder to write to, a socket that listens.
Where an attack does no harm, the same file is also run in this process, and there it must succeed.
"""

from __future__ import annotations

import builtins
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from agent.oracle import PolicyError, Situation
from agent.policy_expert import InProcessOracle, PolicyExpert
from agent.sandbox import lockdown as sandbox_lockdown
from agent.sandbox import oracle as sandbox
from agent.sandbox.oracle import PolicyOracle, SandboxError, probe
from agent.sandbox.worker import LOG_MESSAGES
from pokemon_env.games.base import Game
from pokemon_env.games.tallgrass import GAME
from pokemon_env.gym_env import PokemonEnv

ROOT = Path(__file__).resolve().parents[3]
QUICK = {"call_seconds": 0.4, "load_seconds": 3.0, "max_deaths": 2, "memory_mb": 64}

# The ways from a policy to modules that it can't import.
OS = "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0].__init__.__globals__"
SYS = f"{OS}['sys']"
MODULES = f"{SYS}.modules"
# The frames of the loop that asks: the policy's caller's caller, and so on.
FRAMES = f"""
def frames():
    frame = {SYS}._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
"""
# What the pipe for answers is called where the child runs.
PIPE = FRAMES + "\ndef pipe():\n    return next(f.f_locals['answers'] for f in frames() if 'answers' in f.f_locals)\n"


def returning(expression: str) -> str:
    return f"def run(state):\n    return {expression}\n"


def doing(*lines: str, before: str = "") -> str:
    return before + "\ndef run(state):\n" + "".join(f"    {line}\n" for line in lines) + "    return 'up'\n"


# name -> (source, kinds that its questions may end as); CANARY, NEW and PORT are put in.
REACHING_OUT = {
    "reads a file by open": (doing("assert 'secret' in open(CANARY).read()"), {"exception"}),
    "reads a file by subclasses": (doing(f"{OS}['open'](CANARY, 0)"), {"exception"}),
    "reads a file by the loader": (
        doing(
            "loader = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'FileLoader'][0]",
            "loader('x', CANARY).get_data(CANARY)",
        ),
        {"exception"},
    ),
    "writes a file": (doing("open(NEW, 'w').write('x')"), {"exception"}),
    "writes a file by os": (doing(f"o = {OS}", "o['write'](o['open'](NEW, 0o102), b'x')"), {"exception"}),
    "deletes a file": (doing(f"{OS}['unlink'](VICTIM)"), {"exception"}),
    "lists a folder": (doing(f"assert 'canary.txt' in {OS}['listdir'](FOLDER)"), {"exception"}),
    "os.system": (doing(f"assert {OS}['system']('touch ' + NEW) == 0"), {"exception"}),
    "a program by subprocess": (
        doing(f"importlib = {MODULES}['importlib']", "importlib.import_module('subprocess').run(['touch', NEW], check=True)"),
        {"exception"},
    ),
    "a socket": (
        doing(
            f"socket = {MODULES}['importlib'].import_module('socket')",
            "socket.create_connection(('127.0.0.1', PORT), 1).send(b'x')",
        ),
        {"exception"},
    ),
    "a socket by ctypes": (
        doing(f"libc = {MODULES}['importlib'].import_module('ctypes').CDLL(None)", "assert libc.socket(2, 1, 0) >= 0"),
        {"exception"},
    ),
}
HOSTILE = {
    "endless loop": (doing("while True: pass"), {"timeout"}),
    "endless loop that catches all": (
        doing("while True:", "    try:", "        while True: pass", "    except BaseException: pass"),
        {"timeout"},
    ),
    "sleeps": (doing(f"{MODULES}['time'].sleep(1000)"), {"timeout", "exception"}),
    "slow regular expression": (doing("import re", "re.match('(a+)+$', 'a' * 60 + 'b')"), {"timeout"}),
    "memory bomb": (doing("x = []", "while True: x.append(bytearray(1 << 20))"), {"memory"}),
    "one huge list": (doing("[0] * 10**10"), {"memory"}),
    "memory bomb that catches": (
        doing("x = []", "while True:", "    try: x.append([0] * 100000)", "    except MemoryError: pass"),
        {"timeout", "memory", "died"},
    ),
    "huge number": (doing("9 ** 9 ** 9"), {"timeout", "memory"}),
    "fork bomb": (doing(f"while True: {OS}['fork']()"), {"exception"}),
    "fork bomb that catches": (doing("while True:", f"    try: {OS}['fork']()", "    except OSError: pass"), {"timeout"}),
    "fork by a plain system call": (doing(f"assert {MODULES}['ctypes'].CDLL(None).syscall(57) >= 0"), {"exception"}),
    "thread bomb": (
        doing(f"while True: {MODULES}['_thread'].start_new_thread(print, ())"),
        {"exception"},
    ),
    "recursion": (doing("run(state)"), {"exception"}),
    "recursion without a limit": (
        doing(f"{SYS}.setrecursionlimit(10**9)", "f = lambda f: f(f)", "f(f)"),
        {"died", "memory", "timeout"},
    ),
    "nested brackets": (doing("eval('(' * 100000 + ')' * 100000)"), {"exception", "memory", "died"}),
    "crash by ctypes": (doing(f"{MODULES}['ctypes'].string_at(0)"), {"died"}),
    "endless output": (doing("while True: print('x' * 10000)"), {"timeout"}),
    "endless log": (doing("while True: log('x' * 10000)"), {"timeout"}),
    "sys.exit": (doing(f"{SYS}.exit(0)"), {"exception"}),
    "os._exit": (doing(f"{OS}['_exit'](0)"), {"died"}),
    "kills its parent": (doing(f"o = {OS}", "o['kill'](o['getppid'](), 9)"), {"exception"}),
    "kills everything": (doing(f"{OS}['kill'](-1, 9)"), {"exception"}),
    "kills itself": (doing(f"{OS}['abort']()"), {"exception", "died"}),
    "traces its parent": (doing(f"assert {MODULES}['ctypes'].CDLL(None).ptrace(16, 1, 0, 0) == 0"), {"exception"}),
    "opens executable memory": (doing(f"{MODULES}['importlib'].import_module('mmap').mmap(-1, 4096, prot=7)"), {"exception"}),
    "reads the next questions": (doing(f"{OS}['read'](0, 1)"), {"exception"}),
    "writes garbage to its pipe": (doing(f"{OS}['write'](pipe(), b'garbage' * 10)", before=PIPE), {"protocol"}),
    "writes endless frames": (doing(f"while True: {OS}['write'](pipe(), b'\\x02\\0\\0\\0{{}}' * 1000)", before=PIPE), {"protocol"}),
    "promises a huge frame": (doing(f"{OS}['write'](pipe(), b'\\xff\\xff\\xff\\x7f')", before=PIPE), {"protocol"}),
    "answers half": (doing(f"{OS}['write'](pipe(), b'\\x10\\0\\0\\0')", f"{OS}['_exit'](0)", before=PIPE), {"died"}),
    "nested JSON": (
        doing("x = b'[' * 100000", f"{OS}['write'](pipe(), len(x).to_bytes(4, 'little') + x)", before=PIPE),
        {"protocol"},
    ),
    "forges answers to all questions": (
        doing(
            "import json",
            "f = next(f for f in frames() if 'tokens' in f.f_locals)",
            "for token in f.f_locals['tokens']:",
            "    x = json.dumps({'token': token, 'word': 'up'}).encode()",
            f"    {OS}['write'](pipe(), len(x).to_bytes(4, 'little') + x)",
            before=PIPE,
        ),
        {"protocol"},
    ),
    "answers with a button that is none": (
        doing(
            "import json",
            "f = next(f for f in frames() if 'token' in f.f_locals)",
            "x = json.dumps({'token': f.f_locals['token'], 'word': 99}).encode()",
            f"{OS}['write'](pipe(), len(x).to_bytes(4, 'little') + x)",
            before=PIPE,
        ),
        {"protocol"},
    ),
    "patches what judges it": (
        doing(
            f"Answer = {MODULES}['agent.oracle'].Answer",
            f"{MODULES}['__main__'].judge_answer = lambda answer, actions: Answer(None, 'explode', 'why')",
        ),
        {"protocol"},
    ),
    "patches json": (doing(f"{MODULES}['__main__']._encode = lambda content: '[]'"), {"protocol"}),
    "deletes builtins": (
        doing(f"b = {MODULES}['builtins']", "[delattr(b, n) for n in list(vars(b)) if n not in ('delattr', 'list', 'vars')]"),
        {"exception", "died"},
    ),
    "breaks its globals": (doing("__builtins__.clear()", "len(state)"), {"exception"}),
    "imports os": ("import os\n" + returning("'up'"), {"load"}),
    "imports relatively": ("from . import os\n" + returning("'up'"), {"load"}),
    "imports os later": (doing("import os"), {"exception"}),
    "raises while it loads": ("1 / 0\n" + returning("'up'"), {"load"}),
    "loops while it loads": ("while True: pass\n", {"load"}),
    "exits while it loads": (f"{OS}['_exit'](0)\n", {"load"}),
    "bombs while it loads": ("x = [0] * 10**10\n" + returning("'up'"), {"load"}),
    "is not Python": ("def run(state:\n", {"load"}),
    "has no run": ("def walk(state):\n    return 'up'\n", {"load"}),
    "huge answer": (returning("'up' * 50_000_000"), {"memory", "unknown word"}),
    "long answer": (returning("'up' * 100_000"), {"unknown word"}),
    "half a surrogate": (returning("'\\ud800\\n\\x1b[2J'"), {"unknown word"}),
    "no answer": (returning("None"), {"none"}),
    "no_op": (returning("' No_Op '"), {"no_op"}),
    "a list": (returning("['up']"), {"not text"}),
    "a number": (returning("4"), {"not text"}),
    "bytes": (returning("b'up'"), {"not text"}),
    "a generator": ("def run(state):\n    yield 'up'\n", {"not text"}),
    "evil __str__": (
        "class Evil:\n    def __str__(self):\n        while True: pass\n    __repr__ = __hash__ = __eq__ = __str__\n"
        + returning("Evil()"),
        {"not text"},
    ),
    "says that it is text": (
        "class Evil:\n    __class__ = str\n    def strip(self):\n        while True: pass\n" + returning("Evil()"),
        {"not text"},
    ),
    "evil text": (
        "class Evil(str):\n    def strip(self):\n        while True: pass\n"
        "    lower = __hash__ = __eq__ = __str__ = __repr__ = strip\n" + returning("Evil('jump')"),
        {"unknown word"},
    ),
    "evil exception": (
        "class Evil(BaseException):\n    def __str__(self):\n        raise Evil()\n" + doing("raise Evil()"),
        {"exception"},
    ),
    "evil class": (
        "class Meta(type):\n    __name__ = property(lambda cls: 1 / 0)\nclass Evil(metaclass=Meta): pass\n" + returning("Evil()"),
        {"not text"},
    ),
    "half a surrogate in an exception and the log": (doing("log('\\ud800')", "raise ValueError('\\ud800')"), {"exception"}),
    "endless exception": (
        "class Evil(Exception):\n    def __str__(self):\n        return 'x\\n' * 1_000_000\n" + doing("raise Evil()"),
        {"exception"},
    ),
}


@pytest.fixture(scope="module")
def situations() -> list[Situation]:
    """States of several milestones' experts, with random presses among theirs."""
    rng = random.Random(0)
    found = []
    for milestone in ("CLOCK_SET", "STARTER_CHOSEN", "RIVAL_BATTLE_WON", "FIRST_CATCH"):
        with PokemonEnv(start_milestone=milestone, target_milestone="BADGE") as env:
            expert = PolicyExpert((None, milestone), GAME)
            _, info = env.reset(seed=1)
            for _ in range(60):
                found.append(Situation(env.snapshot(), info["prev_action"]))
                action = expert.label(info).action
                info = env.step(rng.randrange(8) if action is None or rng.random() < 0.2 else action)[-1]
    return found


@pytest.fixture(scope="module")
def good():
    """An oracle that all hostile ones live beside."""
    with PolicyOracle((None, "STARTER_CHOSEN"), GAME) as oracle:
        yield oracle


@pytest.fixture(scope="module")
def good_labels(situations):
    return InProcessOracle((None, "STARTER_CHOSEN"), GAME).label_batch(situations[:20])


@pytest.fixture
def oracle_of(tmp_path):
    opened = []

    def make(source: str, **limits) -> PolicyOracle:
        path = tmp_path / f"POLICY_{os.getpid()}.py"
        path.write_text(source)
        opened.append(PolicyOracle(path, GAME, **limits))
        return opened[-1]

    yield make
    for oracle in opened:
        oracle.close()


def processes(name: str) -> list[int]:
    """The processes whose command line has this word: workers hold their policy's name, and their children theirs."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue  # it has ended
            if name.encode() in words and state != "Z":
                found.append(int(folder.name))
    return found


def gone(name: str, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while processes(name) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not processes(name)


def check_hostile(oracle, situations, kinds, caplog):
    """Ask twice, and check the answers and what the log says."""
    with caplog.at_level(logging.WARNING, logger="agent.sandbox.oracle"):
        answers = oracle.label_batch(situations[:3]) + oracle.label_batch(situations[3:4])
    assert [answer.action for answer in answers] == [None] * 4
    assert {answer.kind for answer in answers} <= kinds | {"stopped"}
    assert answers[0].kind in kinds
    assert all(answer.reason.encode() and oracle.path.name in answer.reason and len(answer.reason) < 3000 for answer in answers)
    assert (oracle.answers, oracle.abstentions, oracle.abstention_kinds.total()) == (4, 4, 4)
    lines = [record.getMessage() for record in caplog.records]
    # One for each kind, however often, and one when it is given up.
    warned = {answer.kind for answer in answers} - {"load", "stopped"}
    assert [record.levelname for record in caplog.records].count("WARNING") == len(warned)
    assert len(lines) == len(warned) + (oracle.stopped is not None)
    assert all(oracle.path.name in line and line.isprintable() and len(line) < 1000 for line in lines)
    oracle.close()
    assert gone(oracle.path.stem)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_policy_abstains_and_nothing_else_notices(name, oracle_of, situations, good, good_labels, caplog):
    source, kinds = HOSTILE[name]
    before = (dict(vars(builtins)), json.dumps, json.loads, dict(GAME.tools()))
    check_hostile(oracle_of(source, **QUICK), situations, kinds, caplog)
    assert (dict(vars(builtins)), json.dumps, json.loads, dict(GAME.tools())) == before
    assert good.label_batch(situations[:20]) == good_labels


@pytest.fixture
def outside(tmp_path):
    """Things outside the sandbox; returns (what puts them into a policy's text, whether they are untouched)."""
    (tmp_path / "canary.txt").write_text("secret")
    (tmp_path / "victim.txt").write_text("alive")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        names = {
            "CANARY": repr(str(tmp_path / "canary.txt")),
            "VICTIM": repr(str(tmp_path / "victim.txt")),
            "NEW": repr(str(tmp_path / "new.txt")),
            "FOLDER": repr(str(tmp_path)),
            "PORT": str(server.getsockname()[1]),
        }

        def insert(source: str) -> str:
            return "".join(f"{name} = {value}\n" for name, value in names.items()) + source

        def untouched() -> bool:
            try:
                server.accept()[0].close()
                return False
            except TimeoutError:
                return not (tmp_path / "new.txt").exists() and (tmp_path / "victim.txt").exists()

        yield insert, untouched


@pytest.mark.parametrize("name", REACHING_OUT)
def test_nothing_outside_can_be_reached(name, oracle_of, outside, situations, good, good_labels, caplog):
    insert, untouched = outside
    source, kinds = REACHING_OUT[name]
    oracle = oracle_of(insert(source), **QUICK)
    path = oracle.path
    check_hostile(oracle, situations, kinds, caplog)
    assert untouched()
    assert good.label_batch(situations[:20]) == good_labels
    # The attack is a real one: without a sandbox it succeeds.
    assert InProcessOracle(path, GAME).label_batch(situations[:1])[0].action == GAME.buttons.index("UP")
    writes = any(word in source for word in ("NEW", "VICTIM", "PORT"))
    assert untouched() is not writes


def test_the_environment_of_the_host_is_not_told(oracle_of, situations, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "xyzzy")
    oracle = oracle_of(doing(f"assert {OS}['environ'] or {OS}['environb'], 'empty'"))
    assert "empty" in oracle.label_batch(situations[:1])[0].reason


@pytest.mark.parametrize("milestone", ["CLOCK_SET", "STARTER_CHOSEN", "RIVAL_BATTLE_WON", "FIRST_CATCH"])
def test_labels_are_those_of_the_policy_in_this_process(milestone, situations):
    expected = InProcessOracle((None, milestone), GAME, with_optimal=True).label_batch(situations)
    with PolicyOracle((None, milestone), GAME, with_optimal=True, workers=2) as oracle:
        assert oracle.label_batch(situations) == expected
        backwards = oracle.label_batch(situations[::-1])[::-1]
        one_by_one = [oracle.label_batch([situation])[0] for situation in situations[:40]]
    assert backwards == expected and one_by_one == expected[:40]
    assert sum(answer.action is not None for answer in expected) > 100
    assert len({answer.action for answer in expected}) > 3


COUNTER = "n = 0\ndef run(state, seen=[]):\n    global n\n    n += 1\n    seen.append(n)\n    run.n = getattr(run, 'n', 0) + 1\n"


def test_what_a_policy_keeps_between_calls_is_forgotten(oracle_of, situations):
    source = COUNTER + "    return 'up' if (n, len(seen), run.n) == (1, 1, 1) else 'down'\n"
    answers = oracle_of(source).label_batch(situations)
    assert {answer.action for answer in answers} == {GAME.buttons.index("UP")}


def test_lots_are_drawn_from_the_state(oracle_of, situations):
    source = "import random\n" + returning("random.choice(['up', 'down', 'left', 'right', 'a', 'b'])")
    first = oracle_of(source, workers=2).label_batch(situations)
    assert oracle_of(source).label_batch(situations[::-1])[::-1] == first
    assert len({answer.action for answer in first}) == 6


@pytest.mark.parametrize(
    "source",
    [
        "import math\ndef run(state):\n    math.n = getattr(math, 'n', 0) + 1\n    return 'up' if math.n < 9 else 'down'\n",
        "def run(state):\n    t = face_and_press\n    t.n = getattr(t, 'n', 0) + 1\n    return 'up' if t.n < 9 else None\n",
    ],
)
def test_a_hidden_counter_is_found_out(oracle_of, situations, source, caplog):
    oracle = oracle_of(source)
    answers = oracle.label_batch(situations)
    assert {(answer.action, answer.kind) for answer in answers} == {(None, "not repeatable")}
    assert "'up'" in oracle.withdrawn and oracle.withdrawn == oracle.stopped and not caplog.records
    one_by_one = oracle_of(source)
    kinds = [one_by_one.label_batch([situation])[0].kind for situation in situations + situations[:60]]
    assert kinds[-1] == "not repeatable"


def test_one_bad_state_spoils_no_other(oracle_of, situations):
    source = doing(
        "if state['prev_action'] == 'hang':", "    while True: pass", f"if state['prev_action'] == 'die': {OS}['_exit'](3)"
    )
    asked = [Situation(situations[0].snapshot, word) for word in ("up", "hang", "up", "die", "die", "up")]
    asked.append(Situation(b"nonsense", "up"))
    answers = oracle_of(source, **QUICK | {"max_deaths": 5}).label_batch(asked + asked[:1])
    assert [answer.kind for answer in answers] == [None, "timeout", None, "died", "died", None, "bad state", None]
    assert "exit status 3" in answers[3].reason and "0.4 s" in answers[1].reason


def test_after_some_deaths_it_is_not_asked_any_more(oracle_of, situations, caplog):
    oracle = oracle_of(doing(f"{OS}['_exit'](0)"), **QUICK | {"max_deaths": 3})
    kinds = [answer.kind for answer in oracle.label_batch(situations)]
    assert kinds == ["died"] * 3 + ["stopped"] * (len(situations) - 3)
    assert [record.levelname for record in caplog.records].count("ERROR") == 1 and len(caplog.records) == 2
    assert "3 times in its last 3 queries" in oracle.stopped


def test_deaths_count_although_answers_lie_between(oracle_of, situations):
    """A policy that wastes its time limit at each third question, and is never twice in a row killed."""
    source = doing("if state['prev_action'] == 'hang':", "    while True: pass")
    asked = [Situation(situations[0].snapshot, word) for word in ("up", "up", "hang") * 30]
    oracle = oracle_of(source, **QUICK | {"max_deaths": 3})
    kinds = [oracle.label_batch([situation])[0].kind for situation in asked]
    assert kinds == [None, None, "timeout"] * 3 + ["stopped"] * 81 and "3 times in its last 9 queries" in oracle.stopped
    oracle = oracle_of(source, **QUICK | {"max_deaths": 2})
    kinds = [answer.kind for answer in oracle.label_batch(([asked[2]] + asked[:2] * 10) * 3)]
    assert kinds == ["timeout", *[None] * 20] * 3


def cpu_seconds(name: str) -> float:
    """Of the processes whose command line has this word."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in processes(name)]
    return sum(int(field) for of in fields for field in of[11:13]) / os.sysconf("SC_CLK_TCK")


SPINNING = """
import math
math.n = getattr(math, 'n', 0) + 1
if math.n > 2:
    while True: pass
def run(state):
    return 'up'
"""


@pytest.mark.parametrize("asked", [0, 1])
def test_a_policy_that_is_not_asked_stands_still(oracle_of, situations, asked):
    """It spins where it prepares for the next question."""
    if asked:
        source = SPINNING
    else:  # it says that it is loaded, and spins where it waits for the first question
        main = f"{MODULES}['__main__']"
        source = f"{main}.read_frame = lambda fd: any(iter(int, 1))\ndef run(state):\n    return 'up'\n"
    oracle = oracle_of(source, **QUICK)
    oracle.start()
    assert [answer.action for answer in oracle.label_batch(situations[:asked])] == [GAME.buttons.index("UP")] * asked
    time.sleep(0.3)
    before = cpu_seconds(oracle.path.stem)
    time.sleep(0.7)
    assert cpu_seconds(oracle.path.stem) - before < 0.1
    assert oracle.label_batch(situations[:1])[0].kind == "timeout"


def test_one_that_stood_still_goes_on_when_it_is_asked(oracle_of, situations):
    oracle = oracle_of(returning("'up'"))
    oracle.start()
    for pause in (0.3, 0.0, 0.1, 0.2):  # the limit is 0.1 s
        time.sleep(pause)
        assert oracle.label_batch(situations[:1])[0].action == GAME.buttons.index("UP")
    assert oracle.abstentions == 0


def test_an_answer_that_was_written_before_its_question_is_refused(oracle_of, situations):
    """Where it prepares for the next question, it writes what all it has seen of the last one lets expect for an answer."""
    source = PIPE + textwrap.dedent(f"""
        import json, math
        def write(content):
            x = json.dumps(content).encode()
            {OS}['write'](pipe(), len(x).to_bytes(4, 'little') + x)
        math.n = getattr(math, 'n', 0) + 1
        if math.n == 3:
            time = {MODULES}['time']
            end = time.monotonic() + 0.03  # after the host has seen the end of the batch
            while time.monotonic() < end:
                pass
            seen = next(f.f_locals for f in frames() if 'header' in f.f_locals)
            token = seen['tokens'][0] if 'tokens' in seen else seen['token'] + 1
            more = {{}} if 'tokens' in seen else {{'number': 0}}
            write({{'token': token, 'word': 'down'}} | more)
            write({{'token': token, 'end': True}} if more else {{'token': seen['end']}})
        def run(state):
            return 'up'
        """)
    oracle = oracle_of(source, **QUICK)
    assert oracle.label_batch(situations[:1])[0].action == GAME.buttons.index("UP")
    time.sleep(0.2)
    answer = oracle.label_batch(situations[1:2])[0]
    assert (answer.action, answer.kind) == (None, "protocol")


def labels_under(limit: str, value: int, source: str, path: Path, more: str = "") -> list:
    """(button, kind, reason) of three questions, asked by a process with a hard limit of its own."""
    path.write_text(source)
    program = f"""
        import json, resource
        resource.setrlimit(resource.{limit}, ({value}, {value}))
        from agent.oracle import Situation
        from agent.sandbox.oracle import PolicyOracle
        from pokemon_env.games.tallgrass import GAME
        with PolicyOracle({str(path)!r}, GAME{more}) as oracle:
            answers = [oracle.label_batch([Situation(bytes(0x700), word)])[0] for word in ("up", "down", "up")]
        print(json.dumps([(answer.action, answer.kind, answer.reason) for answer in answers]))
        """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


DECODED = "def run(state):\n    return 'up'\n"


@pytest.mark.parametrize("limit, value", [("RLIMIT_CPU", 900), ("RLIMIT_AS", 1 << 30), ("RLIMIT_NOFILE", 64)])
def test_hard_limits_that_are_lower_than_ours_are_respected(tmp_path, limit, value):
    answers = labels_under(limit, value, DECODED, tmp_path / "A.py", ", memory_mb=4000")
    assert len(answers) == 3 and {kind for _, kind, _ in answers} <= {None, "bad state"}, answers


def test_a_policy_is_not_blamed_for_a_low_cpu_limit(tmp_path):
    spin = f"time = {MODULES}['time']", "end = time.process_time() + 1.2", "while time.process_time() < end: pass"
    answers = labels_under("RLIMIT_CPU", 3, doing(*spin), tmp_path / "A.py", ", call_seconds=20")
    assert [action for action, _, _ in answers] == [GAME.buttons.index("UP")] * 3, answers
    answers = labels_under("RLIMIT_CPU", 3, doing("while True: pass"), tmp_path / "B.py", ", call_seconds=20, max_deaths=1")
    assert answers[0][1] == "died" and "`ulimit -t` allows here, which is too low" in answers[0][2]


def test_the_environment_of_the_host_is_not_on_the_stack(oracle_of, situations, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/xyzzy")  # which the worker is started with
    source = doing(
        f"ctypes = {MODULES}['ctypes']",
        "word = ctypes.c_size_t",
        "place = word.in_dll(ctypes.CDLL(None), '__libc_stack_end').value",  # argc; argv, NULL and what points to the environment
        "place += 8 * (word.from_address(place).value + 2)",
        "found = b''",
        "while pointer := word.from_address(place).value:",
        "    found, place = found + ctypes.string_at(pointer), place + 8",
        "assert found, 'nothing'",
    )
    assert "AssertionError: nothing" in oracle_of(source).label_batch(situations[:1])[0].reason
    assert "nothing" in oracle_of(doing(f"assert {MODULES}['posix'].environ, 'nothing'")).label_batch(situations[:1])[0].reason


@pytest.mark.parametrize("call", ["clock_gettime", "clock_getres"])
def test_cpu_clocks_of_other_processes_are_closed(oracle_of, situations, call):
    other = (~os.getpid() << 3) | 2  # what clock_getcpuclockid gives for this process
    source = doing(
        f"ctypes = {MODULES}['ctypes']",
        "libc, time = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(16)",
        f"assert [libc.{call}(own, time) for own in (0, 1, 2, 3, 4, 7, 11)] == [0] * 7",
        f"assert libc.{call}({other}, time) == 0, ctypes.get_errno()",
    )
    assert "AssertionError: 1 " in oracle_of(source).label_batch(situations[:1])[0].reason


def test_folders_of_hosts_that_were_killed_are_deleted(oracle_of, situations, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    program = f"""
        import sys, tempfile
        from agent.sandbox import oracle as sandbox
        tempfile.tempdir = {str(tmp_path / "temp")!r}
        with sandbox._root_folder() as folder:
            print(folder, flush=True)
            sys.stdin.read()
        """
    hosts = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        killed, alive = (Path(host.stdout.readline().decode().strip()) for host in hosts)
        hosts[0].kill()
        hosts[0].wait()
        (tmp_path / "temp" / "sandbox_root_full").mkdir()
        (tmp_path / "temp" / "sandbox_root_full" / "file").write_text("not ours")
        for folder in (killed, alive, tmp_path / "temp" / "sandbox_root_full"):
            os.utime(folder, (0, 0))
        oracle_of(returning("'up'")).start()
        assert sorted((tmp_path / "temp").iterdir()) == sorted([alive, tmp_path / "temp" / "sandbox_root_full"])
    finally:
        for host in hosts:
            host.kill()
            host.communicate()


def test_a_million_failures_are_few_lines(oracle_of, situations, caplog):
    oracle_of(returning("None")).label_batch(situations[:120])
    assert len(caplog.records) == 3  # the 1st, the 10th, the 100th


def test_the_log_is_told_and_bounded(oracle_of, situations):
    oracle = oracle_of(doing("for n in range(100): log(n)", "log('\\U0001f600' * 5000)"))
    assert oracle.label_batch(situations[:1])[0].action is not None
    assert list(oracle.messages) == [str(n) for n in range(LOG_MESSAGES)]


def test_start_tells_a_policy_that_cannot_be_loaded(oracle_of):
    with pytest.raises(PolicyError, match="ZeroDivisionError.*line 1"):
        oracle_of("1 / 0\n").start()
    with pytest.raises(PolicyError, match="cannot import socket, only"):
        oracle_of("import socket\n").start()


def test_a_missing_policy_is_an_error(tmp_path):
    with pytest.raises(PolicyError, match="no_such"):
        PolicyOracle(tmp_path / "no_such.py", GAME)


def test_a_closed_oracle_cannot_be_asked(oracle_of, situations):
    oracle = oracle_of(returning("'up'"))
    oracle.close()
    oracle.close()
    with pytest.raises(ValueError, match="closed"):
        oracle.label_batch(situations[:1])


def test_identity_changes_with_the_policys_text(oracle_of):
    one, two = oracle_of(returning("'up'")).identity, oracle_of(returning("'down'")).identity
    assert one != two and one.rpartition(":")[0] == two.rpartition(":")[0]
    assert one == oracle_of(returning("'up'")).identity
    assert one != oracle_of(returning("'up'"), with_optimal=True).identity


def test_all_that_may_be_imported_can_be_used(oracle_of, situations):
    source = """
        from __future__ import annotations
        import bisect, collections.abc, copy, dataclasses, enum, functools, heapq, itertools, json, math, operator, random, re
        import string, typing
        from collections import Counter, deque

        @dataclasses.dataclass
        class Point:
            x: int
            y: int = 0

        class Button(str, enum.Enum):
            UP = "up"

        @functools.lru_cache
        def f(x):
            return json.loads(json.dumps(x)) + math.floor(1.5)

        def run(state):
            assert f(1) == 2 and Point(1) == copy.deepcopy(Point(1)) and re.sub("a", "b", "\\N{LATIN SMALL LETTER A}") == "b"
            print("this goes nowhere")
            return Button.UP
        """
    (answer,) = oracle_of(textwrap.dedent(source)).label_batch(situations[:1])
    assert answer.action == GAME.buttons.index("UP"), answer.reason


def test_the_probe_tells_the_layers():
    layers = probe(GAME)
    assert set(layers) == {"namespaces", "empty root", "landlock"}
    assert "active" in (layers["empty root"], layers["landlock"])


def test_a_worker_starts_without_what_is_slow_and_with_its_pipes_alone(oracle_of, situations):
    oracle = oracle_of(returning("'up'"))
    leak = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        oracle.start()
    finally:
        os.close(leak)
    process = oracle._workers[0]._process
    assert not {"torch", "pyboy", "cv2", "matplotlib"} & set(process.modules)
    for pid in processes(oracle.path.stem):
        files = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [file for file in files if not file.startswith(("pipe:", "anon_inode:", "/dev/null", "/tmp/#"))], files
        if pid != process.pid:
            assert len(files) == 2 and all(file.startswith("pipe:") for file in files)


def test_a_worker_that_is_killed_is_replaced(oracle_of, situations):
    oracle = oracle_of(returning("'up'"))
    oracle.start()
    os.kill(oracle._workers[0]._process.pid, signal.SIGKILL)
    time.sleep(0.2)
    kinds = [answer.kind for answer in oracle.label_batch(situations[:3])]
    assert kinds == ["died", None, None]


def test_nothing_is_left_when_the_host_is_killed(tmp_path, situations):
    path = tmp_path / f"ORPHAN_{os.getpid()}.py"
    path.write_text(doing("while True: pass"))
    program = f"""
        from agent.oracle import Situation
        from agent.sandbox.oracle import PolicyOracle
        from pokemon_env.games.tallgrass import GAME
        oracle = PolicyOracle({str(path)!r}, GAME, call_seconds=100)
        oracle.start()
        print("started", flush=True)
        oracle.label_batch([Situation(bytes(0x700), "up")])
        """
    host = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert host.stdout.readline() == b"started\n"
        time.sleep(0.2)
        assert len(processes(path.stem)) == 2  # the worker and its child
    finally:
        host.kill()
        host.wait()
        host.stdout.close()
    assert gone(path.stem)


def test_where_there_is_no_sandbox_it_refuses_and_names_the_flag(monkeypatch, oracle_of):
    monkeypatch.setattr(sandbox_lockdown.sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="darwin.*--unsafe-policies"):
        oracle_of(returning("'up'"))


@pytest.fixture
def with_less(monkeypatch):
    """Have the workers start with something of the lock's replaced, as on a platform that lacks it."""
    real = subprocess.Popen

    def replace(change: str) -> None:
        program = f"from agent.sandbox import lockdown as s, worker as w\n{change}\nw.main()"

        def start(command, **more):
            return real([command[0], "-c", program, *command[3:]], **more)

        monkeypatch.setattr(sandbox.subprocess, "Popen", start)

    return replace


@pytest.mark.parametrize(
    "change, words",
    [
        ("s._landlock = s._enter = lambda _: s.os.close(-1)", "neither Landlock .*Bad file.* nor an empty root"),
        ("s._filter = lambda *_: s.struct.pack('=HBBI', 6, 0, 0, 0x7FFF0000)", "opening a file is not refused"),
        ("s._filter = lambda *_: b''", "Invalid argument"),
        ("import no_such_module", "no_such_module"),
    ],
)
def test_a_worker_that_cannot_lock_itself_refuses(with_less, oracle_of, situations, change, words):
    with_less(change)
    with pytest.raises(SandboxError, match=f"(?s){words}.*--unsafe-policies"):
        oracle_of(returning("'up'")).label_batch(situations[:1])


@pytest.mark.parametrize("layer, function", [("landlock", "_landlock"), ("empty root", "_enter")])
def test_one_of_the_layers_around_files_is_enough(with_less, oracle_of, situations, layer, function):
    with_less(f"s.{function} = lambda _: s.os.close(-1)")
    oracle = oracle_of(doing("open('/etc/passwd')"))
    assert "Operation not permitted" in oracle.label_batch(situations[:1])[0].reason
    assert "Bad file" in oracle.layers[layer] and "active" in oracle.layers.values()


def test_a_game_that_the_worker_cannot_find_is_an_error(tmp_path):
    class Unknown(Game):
        id = name = "unknown"

    path = tmp_path / "A.py"
    path.write_text(returning("'up'"))
    with pytest.raises(ValueError, match="unknown"):
        PolicyOracle(path, Unknown())


@pytest.mark.parametrize("limit", ["workers", "memory_mb", "max_deaths"])
def test_limits_must_be_sensible(oracle_of, limit):
    with pytest.raises(ValueError, match=limit):
        oracle_of(returning("'up'"), **{limit: 0})


def test_the_benchmark_of_its_cost_runs():
    from benchmarks.speed.sandbox import Args, measure

    rates, ratios = measure("CLOCK_SET", Args(steps=20, rounds=1))
    assert len(rates) == len(ratios) == 3 and ratios[0] == 1 and min(rates) > 0
