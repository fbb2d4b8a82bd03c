"""Policy files in a locked process: an expert's code may be wrong or hostile, and this process continues.

    with PolicyOracle((None, "CLOCK_SET"), env.game, workers=2) as oracle:
        answers = oracle.label_batch(situations)

Each of the oracle's workers is a process that has locked itself down (`agent.sandbox.worker`, `agent.sandbox.lockdown`), and
that forks a child for the policy. Snapshots go in, and JSON of limited size comes out. None of it is trusted: a word that is no
button, an answer to another query or a byte too many is an abstention. A child that breaks a limit is killed. Its query is
abstained from, and another child gets the rest of the batch.

State: a policy must be a function of the situation. Its file is run again for every query, so that whatever it stores is
forgotten. This costs the time of its top level, about 10 microseconds for the shipped policies. `random` is seeded from the
situation. Answers may still depend on attributes of shared modules, patched tools, clocks, addresses, or generators of the
policy's own. To find this, some queries are repeated after each 32 answers, in another order, with a fresh child that has seen
no other query. All of the first 96 answers are repeated, and once more with a fresh process; later 4 for each 32 answers, drawn
from the system's generator so that no policy can predict them. If the answers differ, the policy is stopped and its labels are
withdrawn (`ExpertOracle.withdrawn`). Probability of detection, by the share of answers that differ when repeated:

    1 in 10: 0.99996 within its first 96 answers
    1 in 100: 0.62 within those, 0.98 within 2,500
    1 in 1,000: 0.09 within those, 0.50 within 5,000

A policy that breaks a limit at a repeated query, which it had answered before, is stopped as well: at the third check, or once
it is stopped for its deaths. An answer that depends on something that never changes within a process and its successor on the
same machine is not detected.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import math
import os
import queue
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.oracle import ANSWER_KINDS, Answer, ExpertOracle, PolicyError, Situation, storable
from agent.policy_expert import KEPT_MESSAGES, add_optimal, policy_identity, policy_path, read_policy
from agent.sandbox import lockdown
from agent.sandbox.worker import LOG_CHARACTERS, LOG_MESSAGES
from common.runtime.main import UserError
from common.runtime.plain_text import printable
from pokemon_env.games import known_games
from pokemon_env.games.base import Game
from pokemon_env.games.picture_only import PictureOnly

log = logging.getLogger(__name__)

LIMIT_KINDS = ("timeout", "memory", "died", "protocol")
"""Kinds of abstention where the child broke a limit: it was too slow, requested too much memory, ended or crashed, or wrote
something to its pipe that is no answer."""
STOPPED_KINDS = ("load", "not repeatable", "stopped")
"""Kinds of abstention after the policy was stopped: its file cannot be loaded, its answers depend on more than the state, or too
many children were killed."""

_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60.0  # for a worker's start, which takes a third of a second on an idle machine
_SUSPENDED_SECONDS = 1.0
"""A host that wakes later than planned by this much was not running meanwhile."""
_KILL_SECONDS = 5.0
_FOLDER_PREFIX = "sandbox_root_"
_UNLOCKED_SECONDS = 1.0  # a folder younger than this may not be locked yet
_MAX_FRAME = 256 * 1024
_MAX_REASON = 2000
_MAX_LINE = 500
_MAX_SNAPSHOT = 1 << 20
_CHUNK = 32  # queries that are sent at once; after about as many answers some are repeated
_EARLY = 96  # all of these first answers are repeated, and then once more with a fresh process
_AGAIN = 3  # repeated later for each _CHUNK: this many, the last included, and one that was given long before
_KEPT = 128  # size of the sample of all answers, for later repetition
_BROKEN_AGAIN = 3  # checks in which a repeated query may break a limit before it no longer counts as an accident
_FRESH_PROCESS = 4096  # answers from one fresh process to the next
_DEATH_WINDOW = 10  # deaths are counted among the last (this * max_deaths) queries
# The part of the environment by which a worker finds Python and the packages; it overwrites it before it runs a policy.
_PASSED_ON = ("HOME", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL")
# Sets in the same order in each worker; and one thread, because only such a process can be locked and forked.
_WORKER_ENVIRONMENT = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_CHILD_KINDS = frozenset((*ANSWER_KINDS, "memory", "bad state"))


_SCARCE = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


class SandboxError(UserError, RuntimeError):
    """No sandbox is available here; the text says what is missing and what to do."""


@dataclass(frozen=True)
class _Limits:
    call_seconds: float
    load_seconds: float
    memory_mb: int


_Answered = tuple[Situation, dict[str, Any]]
"""A query and the verdict on it."""


class _Broken(Exception):
    """A child broke a limit.

    Args:
        kind: one of `LIMIT_KINDS`.
        reason: what it did, in words.
        used_up: whether it may have done nothing but reach a limit, lower than ours, over its whole life.
    """

    def __init__(self, kind: str, reason: str, used_up: bool = False):
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.used_up = used_up


class _LoadFailed(Exception):
    """A policy cannot be loaded; the text is the reason."""


class PolicyOracle(ExpertOracle):
    """A policy file in a sandbox.

    Workers start when they are first needed, or in `start`.

    Args:
        policy: path of a policy file, or `(policy_dir, milestone)`, which is looked up with `find_policy`.
        game: the game that the policy plays, one of `pokemon_env.games`.
        workers: how many processes answer at once.
        call_seconds, load_seconds: wall-clock limits of one query and of loading the file.
        memory_mb: memory that a policy may use in addition to Python and the game.
        max_deaths: when this many children were killed among the last 10 * max_deaths queries, no more are started, and every
            query is abstained from.
        with_optimal: answers also hold all optimal actions, if the game knows them.

    Attributes:
        path, identity, concurrency, needs_frame, withdrawn: see `ExpertOracle`.
        answers, abstentions, abstention_kinds, messages: as `PolicyExpert` has them.
        stopped: why no query is sent any more; None while queries are.
        layers: {layer: "active" or why it is not}, once a worker has started.

    Raises PolicyError if the file is missing or not text, SandboxError if no sandbox is possible.
    """

    asks_freely = True

    def __init__(
        self,
        policy: str | os.PathLike | tuple[str | os.PathLike | None, str],
        game: Game,
        workers: int = 1,
        call_seconds: float = 2.0,
        load_seconds: float = 5.0,
        memory_mb: int = 256,
        max_deaths: int = 5,
        with_optimal: bool = False,
    ):
        for name, value in (("workers", workers), ("memory_mb", memory_mb), ("max_deaths", max_deaths)):
            if value < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1.")
        try:
            lockdown.check_platform()
        except OSError as error:
            raise _refusal(str(error)) from error
        self.path = policy_path(policy, game)
        source = read_policy(self.path)
        self.identity = policy_identity(source, game, f"sandbox 1 optimal={with_optimal}")
        self.concurrency = workers
        self.answers = 0
        self.abstentions = 0
        self.abstention_kinds: Counter[str] = Counter()
        self.messages: deque[str] = deque(maxlen=KEPT_MESSAGES)
        self.stopped: str | None = None
        self.layers: dict[str, str] = {}
        self._stopped_kind = ""
        self._game = game
        self._actions = {name.lower(): number for number, name in enumerate(game.buttons)}
        self._max_deaths = max_deaths
        self._died: deque[bool] = deque(maxlen=_DEATH_WINDOW * max_deaths)  # for each of the last queries, whether a child died
        self._draw = secrets.SystemRandom()
        self._n_answers = 0  # those whose queries can be repeated
        self._unchecked: list[_Answered] = []  # given since the last check
        self._kept: list[_Answered] = []  # a uniform sample of all answers
        self._doubtful: dict[int, tuple[_Answered, int]] = {}  # by id, with how often a limit was broken when it was repeated
        self._next_process = _EARLY
        self._was_loaded = False
        self._with_optimal = with_optimal
        if (game.id, game.system) not in [(known.id, known.system) for known in known_games()] and type(game) is not PictureOnly:
            raise ValueError(f"the game {game.name!r} is none of pokemon_env/games/, where a sandbox looks for it.")
        self._lock = threading.Lock()
        limits = _Limits(call_seconds, load_seconds, memory_mb)
        self._workers = [_Worker(self.path, source.text, game, limits) for _ in range(workers)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="sandbox") if workers > 1 else None
        self._checkers = ThreadPoolExecutor(workers, thread_name_prefix="sandbox_check")
        self._checks: list[Future] = []  # that run in parallel to the caller
        self._closed = False

    def start(self) -> None:
        """Start all workers and load the policy now. Raises SandboxError, or PolicyError if it cannot be loaded."""
        workers = [self._idle.get() for _ in self._workers]  # waits until all of them are idle
        try:
            for worker in workers:
                self._load(worker)
        finally:
            for worker in workers:
                self._idle.put(worker)
        if self.stopped is not None:
            raise PolicyError(self.stopped)

    def label_batch(self, situations: Sequence[Situation]) -> list[Answer]:
        """Return one answer for each situation, in order: the policy's, or an abstention with reason and kind.

        In addition to `PolicyExpert`'s kinds there are `LIMIT_KINDS`, `STOPPED_KINDS` and "bad state" (the snapshot is not of this
        game). Raises SandboxError if no worker can be started here, ValueError after `close`.
        """
        if self._closed:
            raise ValueError(f"the oracle of {self.path} was closed: open another one.")
        self._end_checks(wait_for_all=False)
        size = max(1, min(_CHUNK, -(-len(situations) // len(self._workers))))
        chunks = [situations[start : start + size] for start in range(0, len(situations), size)]
        parts = map(self._ask_idle, chunks) if self._threads is None else self._threads.map(self._ask_idle, chunks)
        verdicts = [verdict for part in parts for verdict in part]
        if len(situations) >= _CHUNK:
            self._check_idle(at_least=1)
        if self.withdrawn is not None:  # then none of them can be trusted
            verdicts = [_verdict(self._stopped_kind, self.stopped or "")] * len(verdicts)
        answers = [self._answer(verdict) for verdict in verdicts]
        if self._with_optimal:
            answers = [add_optimal(answer, asked, self._game) for answer, asked in zip(answers, situations, strict=True)]
        return answers

    def check(self) -> None:
        """Repeat some of the newest queries now, not only when there are 32; see `ExpertOracle.check`.

        Raises SandboxError if no worker can be started here.
        """
        if self._next_process == _EARLY and self._n_answers >= _CHUNK:  # there may never be more than these
            self._next_process = self._n_answers
        self._end_checks(wait_for_all=True)
        self._check_idle(at_least=1)

    def close(self) -> None:
        """End all workers and what they run."""
        self._closed = True
        for pool in (self._threads, self._checkers):
            if pool is not None:
                pool.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def _ask_idle(self, chunk: Sequence[Situation]) -> list[dict[str, Any]]:
        worker = self._idle.get()
        free = [worker]
        try:
            verdicts = self._ask(worker, chunk)
            with self._lock:
                for answered in zip(chunk, verdicts, strict=True):
                    self._keep(answered)
                if len(self._unchecked) >= _CHUNK > len(chunk) and self._n_answers > _EARLY + _CHUNK:
                    # Few answers were requested: the caller continues, and gets the result of the check at its next query.
                    self._checks.append(self._checkers.submit(self._check_and_free, free.pop(), _CHUNK))
            if free:
                self._check(worker, at_least=_CHUNK)
            return verdicts
        finally:
            for worker in free:
                self._idle.put(worker)

    def _ask(self, worker: _Worker, chunk: Sequence[Situation]) -> list[dict[str, Any]]:
        """Return a checked verdict for each situation, asked of this worker."""
        verdicts: list[dict[str, Any]] = []
        while len(verdicts) < len(chunk) and self._load(worker):
            rest = chunk[len(verdicts) :]
            before = len(verdicts)
            try:
                worker.ask(rest, self._actions, verdicts)
                self._count_answers(len(rest))
            except _Broken as broken:
                unfair = broken.used_up and worker.answered > 0  # then another child may answer the same query
                worker.kill_child()
                if unfair:
                    continue
                if broken.kind == "protocol":  # then any of them may be forged
                    verdicts[before:] = [_verdict("protocol", broken.reason) for _ in verdicts[before:]]
                else:
                    self._count_answers(len(verdicts) - before)
                if len(verdicts) == len(chunk):
                    verdicts.pop()  # it broke the limit after its last answer
                verdicts.append(_verdict(broken.kind, broken.reason))
                self._count_death(broken)
        missing = len(chunk) - len(verdicts)
        return verdicts + [_verdict(self._stopped_kind, self.stopped or "")] * missing

    def _keep(self, answered: _Answered) -> None:
        """Keep an answer for repetition: each new one until the next check, and a uniform sample of all.

        Answers that broke a limit are left out, because that may have been the machine's fault.
        """
        if answered[1].get("kind") in (*LIMIT_KINDS, *STOPPED_KINDS):
            return
        self._n_answers += 1
        self._unchecked.append(answered)
        if len(self._kept) < _KEPT:
            self._kept.append(answered)
        elif (place := self._draw.randrange(self._n_answers)) < _KEPT:
            self._kept[place] = answered

    def _check_idle(self, at_least: int) -> None:
        self._check_and_free(self._idle.get(), at_least)

    def _check_and_free(self, worker: _Worker, at_least: int) -> None:
        try:
            self._check(worker, at_least)
        finally:
            self._idle.put(worker)

    def _end_checks(self, wait_for_all: bool) -> None:
        """Raise the errors of the checks that have ended."""
        with self._lock:
            checks, self._checks = self._checks, []
        for check in checks:
            if wait_for_all or check.done():
                check.result()
            else:
                with self._lock:
                    self._checks.append(check)

    def _check(self, worker: _Worker, at_least: int) -> None:
        """Repeat some queries since the last check, if there are at least `at_least`, with a child that has seen no query."""
        with self._lock:
            fresh_process = self._n_answers >= self._next_process
            if self.stopped is not None or (len(self._unchecked) < at_least and not fresh_process):
                return
            given, self._unchecked = self._unchecked, []
            if self._n_answers - len(given) >= _EARLY:
                given = [*given[-1:], *self._draw.sample(given[:-1], min(_AGAIN, len(given)) - 1)]
            again = [*given, self._draw.choice(self._kept), *(answered for answered, _ in self._doubtful.values())]
            if fresh_process:  # with other addresses, and other differences of a new process
                self._next_process = self._n_answers + _FRESH_PROCESS
                again = [*self._kept, *again]
            self._draw.shuffle(again)
        if fresh_process:
            worker.close()
        else:
            worker.kill_child()
        verdicts = self._ask(worker, [situation for situation, _ in again])
        for (_, before), after in zip(again, verdicts, strict=True):
            first, second = (answer.get("word") or answer.get("kind") for answer in (before, after))
            if first != second and second not in (*LIMIT_KINDS, *STOPPED_KINDS):
                self._stop(
                    "not repeatable",
                    f"answered {first!r} and, when it was asked again, {second!r} at the same state: its answers depend on more "
                    "than the state (a clock, id(), what was asked before, or a generator of its own); let run(state) decide from "
                    "the state alone, and draw lots by random.random() or random.choice(), which are seeded from the state",
                )
        self._note_broken(again, verdicts)

    def _note_broken(self, again: Sequence[_Answered], verdicts: Sequence[dict[str, Any]]) -> None:
        """Stop the policy if it breaks limits only at repeated queries, as a policy with something to hide would.

        Once may be the machine's fault: such queries are repeated at the next checks, until they are answered or the limit is
        broken `_BROKEN_AGAIN` times. If the policy was stopped for its deaths before that, one of two things is enough: it broke a
        limit twice at a query that it had answered, or `max_deaths` of these deaths were not for slowness.
        """
        kinds = {id(answered): after.get("kind") for answered, after in zip(again, verdicts, strict=True)}
        broken = {id(answered): answered for answered in again if kinds[id(answered)] in LIMIT_KINDS}
        with self._lock:
            for key, answered in broken.items():
                self._doubtful[key] = answered, self._doubtful.get(key, (answered, 0))[1] + 1
            for key in kinds.keys() - broken.keys():
                if kinds[key] not in STOPPED_KINDS:
                    self._doubtful.pop(key, None)
            most = max((self._doubtful[key][1] for key in broken), default=0)
        died = sum(after.get("kind") in LIMIT_KINDS and after["kind"] != "timeout" for after in verdicts)
        if most >= _BROKEN_AGAIN or (self._stopped_kind == "stopped" and (most > 1 or died >= self._max_deaths)):
            self._stop(
                "not repeatable",
                f"broke a limit at {len(broken)} of {len(again)} states when it was asked again what it had answered before: its "
                "answers depend on more than the state; let run(state) decide from the state alone",
            )

    def _load(self, worker: _Worker) -> bool:
        """Make the worker ready for queries; return False if the oracle has stopped."""
        while self.stopped is None:
            try:
                worker.load()
                self.layers = worker.layers
                self._was_loaded = True
                return True
            except _LoadFailed as error:
                self._stop("load", str(error))
            except _Broken as broken:
                worker.kill_child()
                if worker.is_running and not self._was_loaded:
                    self._stop("load", f"fails while it is loaded: {broken.reason}; correct it")
                else:  # the worker is gone, or it took too long this time: perhaps not the policy's fault
                    self._count_death(broken)
        return False

    def _count_answers(self, number: int) -> None:
        with self._lock:
            self._died.extend([False] * number)

    def _count_death(self, broken: _Broken) -> None:
        with self._lock:
            self._died.append(True)
            deaths, questions = sum(self._died), len(self._died)
        if deaths >= self._max_deaths:
            self._stop(
                "stopped",
                f"was killed {deaths} times in its last {questions} queries, lastly because it {broken.reason}; correct it",
            )

    def _stop(self, kind: str, reason: str) -> None:
        with self._lock:
            if self.stopped is not None and (kind, self._stopped_kind) != ("not repeatable", "stopped"):
                return
            self._stopped_kind = kind
            self.stopped = f"{self.path}: {_one_line(reason)}"
            if kind == "not repeatable":  # raised as LabelsWithdrawn, so no log is needed
                self.withdrawn = self.stopped
                return
        log.error("%s. It is not queried any more, and abstains from everything (%s).", self.stopped, kind)

    def _answer(self, verdict: dict[str, Any]) -> Answer:
        with self._lock:
            self.answers += 1
            self.messages.extend(verdict.get("log", ()))
            if "word" in verdict:
                return Answer(self._actions[verdict["word"]])
            kind = verdict["kind"]
            self.abstentions += 1
            self.abstention_kinds[kind] += 1
            count = self.abstention_kinds[kind]
        reason = f"{self.path.name}: {verdict['reason']}" if kind not in STOPPED_KINDS else verdict["reason"]
        # Log the 1st, 10th, 100th, ...: a million failures are seven lines.
        if kind not in STOPPED_KINDS and str(count).strip("0") == "1":
            log.warning("%s [%s, abstention %d of this kind]", _one_line(reason), kind, count)
        return Answer(None, kind, reason)


def probe(game: Game) -> dict[str, str]:
    """Start a worker and return which layers of the sandbox are active here: {layer: "active" or why it is not}.

    Raises SandboxError if no sandbox is available.
    """
    worker = _Worker(Path("probe.py"), "def run(state):\n    return 'a'\n", game, _Limits(2.0, 5.0, 256))
    try:
        worker.load()
        return worker.layers
    except (_Broken, _LoadFailed) as error:
        raise _refusal(f"a process that was locked for a trial does not work: {error}") from error
    finally:
        worker.close()


class _Worker:
    """One worker process and its child, seen from the host. Only one thread may use it at a time."""

    def __init__(self, path: Path, source: str, game: Game, limits: _Limits):
        self.layers: dict[str, str] = {}
        self.answered = 0  # by the child that lives now
        self._path = path
        self._limits = limits
        self._config = {
            "source": source,
            "path": path.name,  # without its folder, which is not part of the identity: answers could depend on it
            "game": game.id,
            "system": game.system,
            "memory_bytes": limits.memory_mb << 20,
            # A backstop: the host enforces the time limits of queries.
            "cpu_seconds": int(limits.load_seconds + 2 * (_KEPT + 3 * _CHUNK) * limits.call_seconds) + 1,
        }
        self._process: _Process | None = None
        self._loaded = False

    @property
    def is_running(self) -> bool:
        """Whether there is a worker process that obeys orders."""
        return self._process is not None

    def load(self) -> None:
        """Have a child with the policy loaded. Raises SandboxError, _LoadFailed or _Broken."""
        if self._loaded:
            return
        if self._process is None:
            self._process = _Process(self._config)
            self.layers = self._process.layers
        self._process.order(b"F")
        first = _parsed(self._process.next_answer(self._limits.load_seconds))
        if first.get("locked") is not True:
            raise _refusal(str(first.get("reason")))
        message = _parsed(self._process.next_answer(self._limits.load_seconds))
        if message.get("loaded") is not True:
            raise _LoadFailed(printable(str(message.get("reason"))[:_MAX_REASON])[:_MAX_REASON])
        self._process.order(b"I")
        self._loaded = True

    def ask(self, situations: Sequence[Situation], actions: dict[str, int], verdicts: list[dict[str, Any]]) -> None:
        """Append a checked verdict for each situation to `verdicts`.

        Raises _Broken at the first whose child breaks a limit; the verdicts before it have been appended then.
        """
        # One for each answer and one for the end: none can be written before its query is sent.
        *tokens, end = (secrets.token_hex(8) for _ in range(len(situations) + 1))
        snapshots = [bytes(asked.snapshot)[:_MAX_SNAPSHOT] for asked in situations]
        header = {
            "tokens": [*tokens, end],
            "sizes": [len(snapshot) for snapshot in snapshots],
            "prev_actions": [str(asked.prev_action) for asked in situations],
        }
        head = json.dumps(header).encode("ascii")
        content = b"".join((len(head).to_bytes(4, "little"), head, *snapshots))
        seconds = self._limits.call_seconds
        assert self._process is not None  # it is loaded
        self._process.order(b"A")
        self._process.send(len(content).to_bytes(4, "little") + content, seconds)
        for token in tokens:
            message = _parsed(self._process.next_answer(seconds))
            if message.pop("token", None) != token:
                raise _Broken("protocol", "wrote something to its pipe that is no answer to the query")
            verdicts.append(_checked(message, actions))
            self.answered += 1
        if _parsed(self._process.next_answer(seconds)) != {"token": end} or self._process.has_more():
            raise _Broken("protocol", "wrote more to its pipe than its answers")
        self._process.order(b"I")

    def kill_child(self) -> None:
        """Kill the child if there is one, and discard what it wrote."""
        self._loaded = False
        self.answered = 0
        if self._process is not None and not self._process.kill_child():
            self.close()  # the worker itself is gone or does not obey; another is started when needed

    def close(self) -> None:
        self._loaded = False
        if self._process is not None:
            self._process.close()
            self._process = None


class _Process:
    """The pipes to a worker process. Its messages are bounded in size, and every wait for them has a limit.

    Raises SandboxError if the process does not start or cannot lock itself.
    """

    def __init__(self, config: dict[str, Any]):
        (control_in, self._control), (self._events, control_out), (questions, self._questions), (self._answers, answers) = (
            os.pipe() for _ in range(4)
        )
        theirs = (control_in, control_out, questions, answers)
        ours = (self._control, self._events, self._questions, self._answers)
        self._event_bytes, self._answer_bytes = bytearray(), bytearray()
        with _root_folder() as folder, tempfile.TemporaryFile() as complaints:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "agent.sandbox.worker", *map(str, theirs), Path(config["path"]).stem],
                    cwd=_ROOT,
                    env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _WORKER_ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=complaints,
                    pass_fds=theirs,
                    start_new_session=True,
                )
            except OSError as error:
                for fd in ours:
                    os.close(fd)
                if error.errno in _SCARCE:
                    raise _scarcity(f"cannot be started ({error.strerror})") from error
                raise _refusal(f"its process cannot be started ({error})") from error
            finally:
                for fd in theirs:
                    os.close(fd)
            self.pid = process.pid
            self.close = weakref.finalize(self, _end_process, process, ours)
            os.set_blocking(self._questions, False)
            try:
                _write_blocking(self._control, {**config, "empty_folder": folder})
                ready = self._next_event(_START_SECONDS)
            except (_Broken, OSError) as error:
                self.close()
                complaints.seek(0)
                words = complaints.read(1 << 16).decode("utf-8", "replace").strip()
                if process.returncode == -signal.SIGKILL and not words:  # by the kernel or a person: a sandbox is possible
                    raise _scarcity("was killed by the system while it started") from error
                raise _refusal(f"its process does not start ({error}): {words[-1000:] or 'it said nothing'}") from error
        if ready.get("event") != "ready":
            self.close()
            raise _refusal(str(ready.get("reason")))
        self.layers: dict[str, str] = ready["layers"]
        self.modules: list[str] = ready["modules"]

    def order(self, order: bytes) -> None:
        """Send an order. Raises _Broken if the worker is gone."""
        try:
            os.write(self._control, order)
        except OSError as error:
            raise _Broken("died", f"lost its sandbox ({error})") from error

    def send(self, data: bytes, seconds: float) -> None:
        """Write queries. Raises _Broken if they are not read in time, or the child is gone."""
        deadline = time.monotonic() + seconds
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._questions, view) :]
            except BlockingIOError:
                ready = _wait({self._questions: select.POLLOUT, self._events: select.POLLIN}, deadline)
                if self._events in ready:
                    self._raise_death()
                if not ready:
                    raise _Broken("timeout", f"did not take its queries within {seconds:g} s") from None
            except BrokenPipeError as error:
                raise _Broken("died", "lost its sandbox") from error

    def next_answer(self, seconds: float) -> bytes:
        """Return the content of the child's next message. Raises _Broken if there is none in time, or the child is dead."""
        deadline = time.monotonic() + seconds
        while (frame := _take_frame(self._answer_bytes)) is None:
            ready = _wait({self._answers: select.POLLIN, self._events: select.POLLIN}, deadline)
            # Answers that it wrote before it died count.
            if self._answers in ready and self._read_answers():
                continue
            if ready:
                self._raise_death()
            raise _Broken("timeout", f"did not answer within {seconds:g} s")
        return frame

    def has_more(self) -> bool:
        """Return whether the child has written more than was read."""
        return bool(self._answer_bytes) or self._answers in _wait({self._answers: select.POLLIN}, 0.0)

    def kill_child(self) -> bool:
        """Kill the child if there is one, and empty the pipes. Return False if the worker does not obey."""
        try:
            self.order(b"K")
            while self._next_event(_KILL_SECONDS).get("event") != "killed":
                pass  # it died on its own before
        except _Broken:
            return False
        while self._answers in _wait({self._answers: select.POLLIN}, 0.0) and self._read_answers():
            self._answer_bytes.clear()
        self._answer_bytes.clear()
        return True

    def _read_answers(self) -> bool:
        data = os.read(self._answers, 1 << 16)
        self._answer_bytes += data
        return bool(data)

    def _next_event(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (frame := _take_frame(self._event_bytes)) is None:
            if not _wait({self._events: select.POLLIN}, deadline):
                raise _Broken("died", "lost its sandbox, which does not answer")
            data = os.read(self._events, 1 << 16)
            if not data:
                raise _Broken("died", "lost its sandbox, which has ended")
            self._event_bytes += data
        return _parsed(frame)

    def _raise_death(self) -> None:
        event = self._next_event(_KILL_SECONDS)
        status = event.get("status")
        if event.get("cpu_limit") is not None:
            reason = f"used up the {event['cpu_limit']} s of CPU time that `ulimit -t` allows here, which is too low"
            raise _Broken("died", reason, used_up=True)
        if not isinstance(status, int):
            raise _Broken("died", "ended its process")
        if status >= 0:
            raise _Broken("died", f"ended its process (exit status {status})")
        names = {number.value: number.name for number in signal.Signals}
        raise _Broken("died", f"crashed its process or was killed by the system ({names.get(-status, f'signal {-status}')})")


@contextlib.contextmanager
def _root_folder() -> Iterator[str]:
    """Yield an empty folder, and delete it once a worker has made it its root: then not even an empty folder is left in it.

    Folders that killed hosts left are deleted, too: a running host holds a lock on its own.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, in use, or not empty and so not ours
            about = left.lstat()
            if about.st_uid == os.getuid() and time.time() - about.st_mtime > _UNLOCKED_SECONDS:
                with _locked_folder(left):
                    left.rmdir()
    with tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX) as folder, _locked_folder(folder):
        yield folder


@contextlib.contextmanager
def _locked_folder(folder: str | os.PathLike) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def _end_process(process: subprocess.Popen, fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)  # this tells the worker to kill its child and end
    try:
        process.wait(_KILL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # the kernel then kills its child, too
        process.wait()


def _wait(events: dict[int, int], deadline: float) -> dict[int, int]:
    """Wait for events until the deadline, of time.monotonic(), and return those that happened.

    If this process itself was suspended meanwhile (in a stopped job, and the child with it), it waits as long again.
    """
    poll = select.poll()
    for fd, event in events.items():
        poll.register(fd, event)
    milliseconds = max(0, math.ceil((deadline - time.monotonic()) * 1000))
    while True:
        began = time.monotonic()
        happened = poll.poll(milliseconds)
        overslept = time.monotonic() - began - milliseconds / 1000
        if happened or not milliseconds or overslept < _SUSPENDED_SECONDS:
            return dict(happened)


def _write_blocking(fd: int, content: dict[str, Any]) -> None:
    data = json.dumps(content).encode("ascii")
    data = len(data).to_bytes(4, "little") + data
    while data:
        data = data[os.write(fd, data) :]


def _take_frame(data: bytearray) -> bytes | None:
    """Remove the first message from `data` and return its content; None if it is incomplete. Raises _Broken if it is too long."""
    if len(data) < 4:
        return None
    end = 4 + int.from_bytes(data[:4], "little")
    if end > _MAX_FRAME:
        raise _Broken("protocol", "wrote something to its pipe that is no answer")
    if len(data) < end:
        return None
    frame = bytes(data[4:end])
    del data[:end]
    return frame


def _parsed(frame: bytes) -> dict[str, Any]:
    try:
        content = json.loads(frame)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _Broken("protocol", "wrote something to its pipe that is no answer")
    return content


def _checked(message: dict[str, Any], actions: dict[str, int]) -> dict[str, Any]:
    """Return the verdict in a message. Raises _Broken if it is none."""
    messages = message.pop("log", [])
    if not isinstance(messages, list) or not all(_is_text(text, LOG_CHARACTERS) for text in messages[: LOG_MESSAGES + 1]):
        raise _Broken("protocol", "wrote a log to its pipe that is none")
    if len(messages) > LOG_MESSAGES:
        raise _Broken("protocol", "wrote a log to its pipe that is none")
    if message.keys() == {"word"} and _is_text(message["word"], _MAX_REASON) and message["word"] in actions:
        return {**message, "log": [storable(text) for text in messages]}
    if message.keys() == {"kind", "reason"} and _is_text(message["kind"], _MAX_REASON) and message["kind"] in _CHILD_KINDS:
        if _is_text(message["reason"], _MAX_REASON):
            reason = printable(message["reason"])[:_MAX_REASON]
            return {"kind": message["kind"], "reason": reason, "log": [storable(text) for text in messages]}
    raise _Broken("protocol", "wrote something to its pipe that is no answer")


def _is_text(value: Any, limit: int) -> bool:
    return isinstance(value, str) and len(value) <= limit


def _verdict(kind: str, reason: str) -> dict[str, Any]:
    return {"kind": kind, "reason": reason}


def _one_line(text: str) -> str:
    """Return a text that a policy may have written, for a log: one line, printable, and of limited length."""
    line = printable(text)
    return line if len(line) <= _MAX_LINE else line[:_MAX_LINE] + "..."


def _scarcity(what: str) -> SandboxError:
    """Return the error for a sandbox that is possible here, but not at the moment."""
    return SandboxError(
        f"the sandbox for policies {what}, as happens where memory or processes run short (`ulimit -a`, a container's limits): "
        "free some, and start again"
    )


def _refusal(reason: str) -> SandboxError:
    return SandboxError(
        f"policies cannot be run in a sandbox here: {reason}. A sandbox needs Linux with seccomp, and Landlock or user namespaces; "
        "if you trust the policy files as you trust your own code, give --unsafe-policies, which runs them in this process."
    )
