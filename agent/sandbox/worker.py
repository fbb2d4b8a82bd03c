"""The locked side of `agent.sandbox.oracle`, a program of its own: it never runs in the process that sends the queries.

    python -m agent.sandbox.worker CONTROL_IN CONTROL_OUT QUESTIONS ANSWERS LABEL     (descriptors; LABEL is for `ps`)

The worker imports what policies need, locks itself down and waits for orders on CONTROL_IN. F forks a child that loads the
policy and answers queries, and K kills it. I means that no query is coming now: the child may prepare for the next one, and is
stopped after PREPARE_SECONDS. A means that a query is coming, and the child continues. The worker runs no policy itself and
reads nothing that a policy wrote, so a fresh child costs 2 ms instead of a start of Python. The child exchanges queries and
answers with the host; it is locked further before it sees the policy. A policy can harm its own child only, and the host does
not trust what the child writes.

Messages on all pipes: 4 bytes of length, little-endian, then JSON; the snapshots follow the queries' JSON.
"""

from __future__ import annotations

import builtins
import gc
import importlib
import json
import os
import random
import resource
import select
import signal
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from types import CodeType
from typing import Any

from agent.policy_expert import describe_error, judge_answer, policy_namespace
from agent.sandbox import lockdown
from pokemon_env.games import known_games
from pokemon_env.games.base import Game
from pokemon_env.games.picture_only import PictureOnly

ALLOWED_IMPORTS = frozenset(
    (
        "__future__",
        "bisect",
        "collections",
        "collections.abc",
        "copy",
        "dataclasses",
        "enum",
        "functools",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "random",
        "re",
        "string",
        "typing",
    )
)
"""What a policy may import. This check only fails early with a clear message; the lock is the kernel's."""

# Modules that Python itself may import later, when no file can be opened any more.
_ALSO_NEEDED = ("encodings.ascii", "encodings.latin_1", "linecache", "tokenize", "unicodedata")

PREPARE_SECONDS = 0.1
"""How long a policy may compute without a query; then its process is stopped until one comes."""

LOG_MESSAGES = 10
"""Of one query; more are dropped."""
LOG_CHARACTERS = 1000
"""Of one message."""


def main() -> None:
    control_in, control_out, questions, answers = map(int, sys.argv[1:5])
    # The host ends a worker by closing CONTROL_IN; Ctrl-C in a terminal is for the host.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = json.loads(read_frame(control_in))
    game = _find_game(config["game"], config["system"])
    for name in (*ALLOWED_IMPORTS, *_ALSO_NEEDED):
        importlib.import_module(name)
    warnings.simplefilter("ignore")
    with open("/proc/self/statm") as statm:
        address_space = int(statm.read().split()[0]) * resource.getpagesize() + config["memory_bytes"]
    modules = sorted(sys.modules)
    lockdown.forget_environment()
    gc.collect()
    gc.freeze()  # so that a child's collections do not touch, and so copy, memory shared with the worker
    try:
        layers = lockdown.confine(config["empty_folder"])
    except OSError as error:
        write_frame(control_out, {"event": "refused", "reason": str(error)})
        return
    write_frame(control_out, {"event": "ready", "layers": layers, "modules": modules})

    def start_child() -> int:
        pid = os.fork()
        if pid == 0:
            try:
                _be_child(config, game, questions, answers, address_space)
            finally:
                os._exit(1)
        return pid

    cpu_limit = lockdown.lower_limit(resource.RLIMIT_CPU, config["cpu_seconds"])
    _obey(control_in, control_out, questions, start_child, cpu_limit if cpu_limit < config["cpu_seconds"] else None)


def _obey(control_in: int, control_out: int, questions: int, start_child: Callable[[], int], cpu_limit: int | None = None) -> None:
    """Start and kill children until the host goes away.

    Args:
        cpu_limit: seconds of CPU time after which a child is killed, if this limit is set from outside and is not ours.
    """
    child: int | None = None
    watch: int | None = None
    stop_at: float | None = None  # when the child is stopped, of time.monotonic()
    stopped = False
    orders = select.poll()
    orders.register(control_in, select.POLLIN)

    def bury(event: str) -> None:
        nonlocal child, watch, stop_at, stopped
        status, spent = None, False
        if child is not None:
            os.kill(child, signal.SIGKILL)
            _, code, used = os.wait4(child, 0)
            status = os.waitstatus_to_exitcode(code)
            if cpu_limit is not None and status in (-signal.SIGKILL, -signal.SIGXCPU):
                # The kernel compares the limit with its ticks, which may run ahead of the time that it reports.
                spent = used.ru_utime + used.ru_stime > 0.8 * cpu_limit
            assert watch is not None  # each child is watched
            orders.unregister(watch)
            os.close(watch)
            child = watch = stop_at = None
            stopped = False
        if event == "killed":
            _empty(questions)
        write_frame(control_out, {"event": event, "status": status, "cpu_limit": cpu_limit if spent else None})

    while True:
        ready = dict(orders.poll(None if stop_at is None else max(0.0, 1000 * (stop_at - time.monotonic()))))
        if not ready:
            assert child is not None  # without one there is no `stop_at`
            os.kill(child, signal.SIGSTOP)
            stop_at, stopped = None, True
            continue
        if control_in not in ready:
            bury("died")
            continue
        order = os.read(control_in, 1)
        if order == b"F" and child is None:
            child = start_child()
            watch = os.pidfd_open(child)
            orders.register(watch, select.POLLIN)
        elif order == b"K":
            bury("killed")
        elif order == b"I":
            stop_at = None if child is None else time.monotonic() + PREPARE_SECONDS
        elif order == b"A":
            if stopped:
                assert child is not None
                os.kill(child, signal.SIGCONT)
            stop_at, stopped = None, False
        else:  # the host closed the pipe
            if child is not None:
                os.kill(child, signal.SIGKILL)
            return


def _be_child(config: dict[str, Any], game: Game, questions: int, answers: int, address_space: int) -> None:
    short_of_memory = lockdown.lower_limit(resource.RLIMIT_AS, address_space) < address_space
    try:
        lockdown.imprison(questions, answers, address_space, config["cpu_seconds"])
    except OSError as error:
        write_frame(answers, {"locked": False, "reason": str(error)})
        return
    write_frame(answers, {"locked": True})
    random._urandom = _no_system_generator  # type: ignore[attr-defined]  # the stubs leave private names out
    sys.stdin, sys.stdout, sys.stderr = None, _Nowhere(), _Nowhere()
    policy = _Policy(config["source"], config["path"], game)
    if short_of_memory:
        policy.too_much += ", which is less than usual here: `ulimit -v` is too low"
    problem = policy.load()
    write_frame(answers, {"loaded": problem is None, "reason": problem})
    while problem is None:
        frame = read_frame(questions)
        header_length = int.from_bytes(frame[:4], "little")
        header = json.loads(frame[4 : 4 + header_length])
        *tokens, end = header["tokens"]
        start = 4 + header_length
        for token, size, prev_action in zip(tokens, header["sizes"], header["prev_actions"], strict=True):
            verdict = policy.ask(frame[start : start + size], prev_action)
            start += size
            message = _framed({"token": token, **verdict})
            if token == tokens[-1]:
                message += _framed({"token": end})
            _write_all(answers, message)
        policy.prepare()


class _Policy:
    """A policy's code. Its text is run again for every query, in a namespace of its own.

    So whatever a policy stores in its globals, default arguments or attributes of its functions is gone at the next query.
    """

    def __init__(self, source: str, path: str, game: Game):
        self.too_much = "wanted more memory than it may have"
        self._source = source
        self._path = path
        self._game = game
        self._actions = {name.lower(): number for number, name in enumerate(game.buttons)}
        self._words = {number: word for word, number in self._actions.items()}
        self._messages: list[str] = []
        self._builtins = {**vars(builtins), "__import__": _import}
        self._code: CodeType | None = None
        self._seed = random.seed
        self._prepared: dict[str, Any] | None = None

    def load(self) -> str | None:
        """Compile and run it once. Return why that fails; None if it succeeds."""
        try:
            self._code = compile(self._source, self._path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            return f"is not Python ({error}); correct it"
        except (RecursionError, MemoryError) as error:
            return f"cannot be compiled ({type(error).__name__}); make it simpler"
        try:
            namespace = self._namespace()
        except BaseException as error:
            return f"fails while it is loaded: {describe_error(error, self._path)}; correct it"
        if not callable(namespace.get("run")):
            return "has no function run(state); add one that returns a button's name"
        return None

    def prepare(self) -> None:
        """Run the text for the next query in advance, while the host does something else."""
        try:
            self._prepared = self._namespace()
        except BaseException:
            self._prepared = None  # the next query tries again, and reports what is wrong

    def ask(self, snapshot: bytes, prev_action: str) -> dict[str, Any]:
        """Return the verdict on one state: {"word"} or {"kind", "reason"}, and {"log"} if there were messages."""
        self._messages.clear()
        verdict = self._ask(snapshot, prev_action)
        return {**verdict, "log": self._messages} if self._messages else verdict

    def _ask(self, snapshot: bytes, prev_action: str) -> dict[str, Any]:
        try:
            state = self._game.decode_state(snapshot, prev_action)
        except (ValueError, LookupError, TypeError) as error:
            return {"kind": "bad state", "reason": f"the snapshot cannot be decoded: {error}"}
        namespace: dict[str, Any] = {}
        try:
            namespace = self._prepared or self._namespace()
            self._prepared = None
            # A policy that draws random numbers draws the same ones at the same state.
            self._seed(zlib.crc32(prev_action.encode(), zlib.crc32(snapshot)))
            answer = namespace["run"](state)
            judged = judge_answer(answer, self._actions)
            if judged.action is not None:
                return {"word": self._words[judged.action]}
            return {"kind": judged.kind, "reason": judged.reason}
        except MemoryError:
            return {"kind": "memory", "reason": self.too_much}
        except BaseException as error:
            return {"kind": "exception", "reason": describe_error(error, self._path)}
        finally:
            namespace.clear()  # its functions refer to it: else it would wait for the garbage collector

    def _namespace(self) -> dict[str, Any]:
        more = {"__builtins__": dict(self._builtins), "log": self._log}
        namespace = policy_namespace(self._path, {**more, **self._game.tools()})
        self._seed(0)
        assert self._code is not None  # it was compiled by `load`
        exec(self._code, namespace)
        return namespace

    def _log(self, message: Any) -> None:
        text = str(message)[:LOG_CHARACTERS]
        if len(self._messages) < LOG_MESSAGES:
            self._messages.append(text)


class _Nowhere:
    """Standard output and error of a policy: `print` works, and its output is dropped."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def _no_system_generator(size: int) -> bytes:
    """Replace `os.urandom` in `random`: the lock refuses it in any case, but would not say what to do."""
    raise PermissionError("a policy cannot use the system's generator: call random.random(), which is seeded from the state")


def _import(name: str, scope: Any = None, local_scope: Any = None, names: Any = (), level: int = 0) -> Any:
    if level or name not in ALLOWED_IMPORTS:
        raise ImportError(f"a policy cannot import {'.' * level}{name}, only {', '.join(sorted(ALLOWED_IMPORTS))}")
    return importlib.__import__(name, scope, local_scope, names, level)


def _find_game(name: str, system: str) -> Game:
    for game in known_games():
        if (game.id, game.system) == (name, system):
            return game
    return PictureOnly(system)


def _empty(fd: int) -> None:
    """Drop the content of a pipe that nothing writes to now."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(0) and os.read(fd, 1 << 20):
        pass


def read_frame(fd: int) -> bytes:
    """Return the next message's content, from a blocking pipe. Ends this process if the other side is gone."""
    return _read_exactly(fd, int.from_bytes(_read_exactly(fd, 4), "little"))


def write_frame(fd: int, content: dict[str, Any]) -> None:
    _write_all(fd, _framed(content))


_encode = json.JSONEncoder(separators=(",", ":")).encode


def _framed(content: dict[str, Any]) -> bytes:
    data = _encode(content).encode("ascii")
    return len(data).to_bytes(4, "little") + data


def _read_exactly(fd: int, length: int) -> bytes:
    parts = []
    while length:
        part = os.read(fd, min(length, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


if __name__ == "__main__":
    main()
