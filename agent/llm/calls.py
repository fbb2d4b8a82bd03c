"""The file of calls: what was asked of language models, what came back, and what it cost.

A row is written before its request leaves the machine, and completed before its reply is used. So whatever is killed, money that
may have been spent is known, and no answer is paid for twice: a request that is in the file with its answer is not sent again, by
any run. Several processes may use one file at once. Of those that want the same answer one asks, and the others wait.

The file holds no key of a server: every text that a server sent is searched for it first.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import queue
import sqlite3
import threading
import time
import urllib.parse
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np

from agent.llm.prices import Backend, Prices, Usage, usage_of
from common.picture_codec import decode_picture, encode_picture, encode_png, picture_key
from common.runtime.archives import inflate
from common.runtime.files import atomic_write, is_running, link_complaint
from common.runtime.main import UserError
from common.runtime.sqlite_files import check_schema, connect, create, header, told_errors

APPLICATION_ID = 0x54474D43
"""The application_id in the header of such a file: "TGMC"."""

SCHEMA_VERSION = 1
"""The user_version in the header. A file of another version is refused."""

REQUEST_FORM = 1
"""A part of each key. Raised when the same request is put differently to the servers."""

State = Literal["under way", "answered", "rejected", "failed"]
"""Of a call. "answered": a reply of the right shape, paid for, whatever it says. "rejected": the server refused this very request,
and would again. "failed": by accident; the request may be sent again.
"""

_SCHEMA = """
CREATE TABLE parts (key BLOB PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE requests (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, request BLOB NOT NULL);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, request INTEGER NOT NULL, run TEXT NOT NULL, role TEXT NOT NULL, milestone TEXT NOT NULL,
    backend TEXT NOT NULL, model TEXT NOT NULL, sample INTEGER NOT NULL, try INTEGER NOT NULL, sent TEXT NOT NULL, owner TEXT,
    gives_up REAL, worst REAL, state TEXT NOT NULL, status INTEGER, kind TEXT, seconds REAL, request_id TEXT, usage TEXT,
    dollars REAL, reply BLOB, batch INTEGER
);
CREATE INDEX calls_by_request ON calls (request);
CREATE INDEX calls_under_way ON calls (run) WHERE state = 'under way';
CREATE INDEX calls_by_batch ON calls (batch) WHERE batch IS NOT NULL;
CREATE TABLE batches (
    id INTEGER PRIMARY KEY, run TEXT NOT NULL, model TEXT NOT NULL, sent TEXT NOT NULL, owner TEXT, gives_up REAL, name TEXT,
    ended INTEGER NOT NULL
);
CREATE TABLE runs (run TEXT PRIMARY KEY, held REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE found (run TEXT, request INTEGER, times INTEGER NOT NULL, PRIMARY KEY (run, request)) WITHOUT ROWID;
"""
_COLUMNS = {
    "text": ("run", "role", "milestone", "backend", "model", "sent", "state"), "integer": ("id", "request", "sample", "try"),
    "integer null": ("status", "batch"), "text null": ("owner", "kind", "request_id", "usage"),
    "real integer null": ("gives_up", "seconds", "worst", "dollars"),
}  # fmt: skip
_OF_A_TYPE = [f"typeof({name}) IN ({', '.join(map(repr, types.split()))})" for types, names in _COLUMNS.items() for name in names]
_SOUND = {
    "calls": " AND ".join(
        [*_OF_A_TYPE, "ifnull(dollars, 0) BETWEEN 0 AND 1e12", "ifnull(worst, 0) BETWEEN 0 AND 1e12",
         "date(substr(sent, 1, 10), '+0 days') IS substr(sent, 1, 10)", "sent > '0001'"]
    ),
    # What is held is a sum of differences, so that it may be a little less than nothing.
    "runs": "typeof(run) = 'text' AND typeof(held) IN ('real', 'integer') AND held BETWEEN -0.01 AND 1e15",
    "found": "typeof(run) = 'text' AND typeof(request) = 'integer' AND typeof(times) = 'integer' AND times >= 0",
    "requests": "typeof(key) = 'blob' AND typeof(request) = 'blob'",
    "parts": "typeof(key) = 'blob' AND typeof(data) = 'blob'",
}  # fmt: skip
"""Table -> what holds for each row that this program has written. SQLite takes any value, and the file may be a stranger's."""
_IF_BROKEN = "delete it, and what it holds is asked, and paid for, again"
_BUSY_SECONDS = 60.0
_GRACE_SECONDS = 60.0
"""So much longer than its time-out a call counts as under way: its process may be slow to say how it ended."""
_MOST_BYTES = 1 << 26
_LEVEL = 9
_SHORTEST_SECRET = 8
_IN_BATCH = "batch"
"""The owner of calls in a batch that the server has: they are under way whatever becomes of the process that sent it."""

T = TypeVar("T")


class CallFileError(UserError, ValueError):
    """A file that cannot be used as a file of calls; the text names it and says what to do."""


class Redactor:
    """Replaces secrets in texts that servers sent: as they are, reversed, quoted for a URL, and as base64, wherever it begins.

    Secrets of fewer than 8 characters are no keys, and stay: they would tear other words apart.
    """

    def __init__(self, secrets: Iterable[str] = ()):
        forms: set[str] = set()
        for secret in secrets:
            if len(secret) < _SHORTEST_SECRET:
                continue
            forms |= {secret, secret[::-1], urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1]}
            raw = secret.encode("utf-8", "surrogateescape")
            for before in range(3):
                # Of the digits those that depend on this secret alone: not on what stands before or after it.
                digits = base64.b64encode(b"\0" * before + raw).decode()
                first, last = -(-8 * before // 6), 8 * (before + len(raw)) // 6
                forms |= {digits[first:last], digits[first:last].translate(str.maketrans("+/", "-_"))}
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "[key]")
        return text


@dataclass(frozen=True, eq=False)
class Request:
    """What a model is asked, whatever the server: all that its answer can depend on, and nothing else."""

    backend: Backend
    model: str
    max_tokens: int
    fixed: str
    """What stands at the beginning of many requests, so that providers may cache it."""
    parts: tuple[str | np.ndarray, ...]
    """Texts and pictures, (H, W, 3) uint8 RGB."""
    schema: Mapping[str, Any] | None = None
    """The form of the answer that the server is told to keep to; None for plain text."""
    effort: str | None = None
    sample: int = 1
    """Of several answers to the same question, which."""

    @cached_property
    def key(self) -> bytes:
        """SHA-256 of the request, pictures by their pixels: PNG's bytes differ between versions of a library."""
        return hashlib.sha256(self._text().encode()).digest()

    @cached_property
    def _pictures(self) -> list[bytes | None]:
        """The key of each part that is a picture."""
        return [None if isinstance(part, str) else picture_key(part) for part in self.parts]

    @cached_property
    def pngs(self) -> list[bytes | None]:
        """Each part that is a picture, as a server wants it."""
        return [None if isinstance(part, str) else encode_png(part) for part in self.parts]

    def _text(self, **stored: Any) -> str:
        keys = zip(self.parts, self._pictures, strict=True)
        parts = [part if key is None else {"picture": key.hex()} for part, key in keys]
        whole: dict[str, Any] = {
            "form": REQUEST_FORM, "backend": self.backend, "model": self.model, "max_tokens": self.max_tokens, "fixed": self.fixed,
            "parts": parts, "schema": self.schema, "effort": self.effort, "sample": self.sample,
        }  # fmt: skip
        return json.dumps(whole | stored, sort_keys=True, separators=(",", ":"))

    @cached_property
    def stored(self) -> tuple[bytes, dict[bytes, bytes]]:
        """The request for the file, and its larger parts, by key, which many requests share."""
        shared: dict[str, Any] = {}
        parts: dict[bytes, bytes] = {}
        for name, text in (("fixed", self.fixed), ("schema", json.dumps(self.schema, sort_keys=True))):
            key, data = _text_part(text)
            parts[key] = data
            shared[name] = {"part": key.hex()}
        for part, picture in zip(self.parts, self._pictures, strict=True):
            if not isinstance(part, str) and picture is not None:
                parts[picture] = b"P" + encode_picture(part)
        return zlib.compress(self._text(**shared).encode(), _LEVEL), parts


@dataclass(frozen=True)
class Reply:
    """What a server sent back to one request."""

    status: int
    text: str
    """The body, without secrets."""
    dollars: float | None = None
    sent: str = ""
    """When the request was sent, in UTC."""


@dataclass(frozen=True)
class Call:
    """Who asks, and for what."""

    run: str
    role: str
    """What the answer is for: "label" or "policy"."""
    milestone: str = ""
    tried: int = 1
    """Which try for this question it is, from 1 on."""


@dataclass(frozen=True)
class Sent:
    """The row of a request that may now be sent. It must be ended with `CallFile.end`."""

    row: int
    worst: float | None
    batch: int | None = None
    """Of a batch: its row."""


@dataclass(frozen=True)
class Wait:
    """The request may not be sent yet.

    Attributes:
        why: "asked", if another try for the same answer is under way; "batch", if that is in a batch that the server has; "money",
            if those under way may cost what is left.
    """

    why: Literal["asked", "batch", "money"]


@dataclass(frozen=True)
class NoMoney:
    """The request may cost more than is left."""

    held: float
    worst: float


@dataclass(frozen=True)
class Batch:
    """A batch that has been sent, or was about to be, and whose results are not in the file yet."""

    row: int
    run: str
    model: str
    sent: str
    name: str | None
    """The server's; None if the process that sent it was ended before it knew it."""
    calls: Mapping[str, Sent]
    """Key of the request, in hexadecimal digits -> its call."""


@dataclass(frozen=True)
class Outcome:
    """How a call ended. `dollars` None means that it may have cost its worst case, or that the model's price is unknown."""

    state: State
    dollars: float | None
    status: int | None = None
    kind: str | None = None
    seconds: float | None = None
    request_id: str | None = None
    usage: Mapping[str, Any] | None = None
    reply: str | None = None


@dataclass(frozen=True)
class Money:
    """What a run has cost, in dollars."""

    spent: float
    """For replies that came."""
    unconfirmed: float
    """The most that requests without a reply may have cost."""
    under_way: float
    """The most that the requests under way can cost."""
    unpriced: int
    """Requests to models without a price: what they cost is unknown."""

    @property
    def held(self) -> float:
        return self.spent + self.unconfirmed + self.under_way


class CallFile:
    """A file of calls; made if it does not exist. Any number of processes and threads may use it at once. A context manager.

    Args:
        path: the file.
        secrets: keys of servers, which must not come into the file.
        write: False only reads, also from a disk that can't be written; the file must exist.

    Raises CallFileError if the file is foreign, broken, changed or of another version, or cannot be opened, then and later.
    """

    def __init__(self, path: str | os.PathLike, secrets: Iterable[str] = (), *, write: bool = True):
        self.path = Path(path)
        self.redact = Redactor(secrets)
        self._write = write
        self._lock = threading.Lock()  # held while the disk is waited for
        self._starting = threading.Lock()  # never held for long: whoever gives orders must not wait
        self._owner = _owner(os.getpid())
        self._known_parts: set[bytes] = set()
        self._orders: queue.SimpleQueue[tuple[Callable[[], Any], Future] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        with self._errors():
            self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        if self._write and not self.path.exists():
            create(self.path, APPLICATION_ID, SCHEMA_VERSION, _SCHEMA)
        if not self.path.exists():
            why = link_complaint(self.path) or "--replay needs the file of a run that was made before"
            raise CallFileError(f"{self.path}: is not there; {why}")
        connection = connect(self.path, write=self._write, timeout=_BUSY_SECONDS)
        try:
            application, version = header(connection)
            if application != APPLICATION_ID:
                raise CallFileError(f"{self.path}: is an SQLite file, but not a file of calls; give another file")
            if version != SCHEMA_VERSION:
                raise CallFileError(
                    f"{self.path}: has schema version {version}, this program uses {SCHEMA_VERSION}; give another file"
                )
            check_schema(connection, _SCHEMA)
            for table, sound in _SOUND.items():
                if connection.execute(f"SELECT 1 FROM {table} WHERE NOT ({sound}) LIMIT 1").fetchone() is not None:
                    raise self._damaged(f"the table {table} holds what it cannot")
        except BaseException:
            connection.close()
            raise
        return connection

    # Asking: `begin`, then the request is sent, then `end`.

    def begin(self, request: Request, call: Call, worst: float | None, limit: float | None, seconds: float) -> Any:
        """Write that a request will be sent, if it may be.

        Args:
            request: what is asked.
            call: who asks.
            worst: the most that it can cost; None if its model has no price.
            limit: what the run may cost in all; None for no limit.
            seconds: the time-out, after which the call is certainly over.

        Returns `Sent` if it may be sent now, its `Reply` if it was answered before, `Wait` if it must wait, `NoMoney` if it would
        pass the limit.
        """
        return self.begin_soon(request, call, worst, limit, seconds).result()

    def begin_soon(self, request: Request, call: Call, worst: float | None, limit: float | None, seconds: float) -> Future:
        """Do the same, together with what else is to be written at this moment: waiting for the disk once for all of it."""
        if limit is not None and worst is None:
            raise ValueError("a limit needs prices")
        blob, parts = request.stored  # not in the thread that writes
        return self._order(lambda: self._begin(request, call, worst, limit, seconds, blob, parts))

    def end(self, sent: Sent, outcome: Outcome) -> None:
        """Write how a call ended. When this has returned, its reply may be used."""
        self.end_soon(sent, outcome).result()

    def end_soon(self, sent: Sent, outcome: Outcome) -> Future:
        """Do the same, together with what else is to be written at this moment."""
        ready = self._ready(outcome)
        return self._order(lambda: self._end(sent, *ready))

    def _ready(self, outcome: Outcome) -> tuple[Outcome, bytes | None, str | None, str | None]:
        """Return an outcome with its texts as they are written: deflated, and without secrets."""
        reply = None if outcome.reply is None else zlib.compress(_storable(self.redact(outcome.reply)), _LEVEL)
        usage = None if outcome.usage is None else self.redact(json.dumps(outcome.usage))
        request_id = None if outcome.request_id is None else self.redact(outcome.request_id)[:200]
        return outcome, reply, usage, request_id

    def begin_batch_soon(
        self, requests: Sequence[tuple[Request, Call, float | None]], limit: float | None, seconds: float
    ) -> Future:
        """Write that requests will be sent as one batch: those that may be.

        Args:
            requests: what is asked, by whom, and the most that it can cost.
            limit, seconds: as in `begin`; the seconds are those that sending takes.

        Returns for each what `begin` returns, and the new batch; None if nothing is to be sent.
        """
        stored = [request.stored for request, _, _ in requests]

        def begin() -> tuple[list[Any], Batch | None]:
            run, model = requests[0][1].run, requests[0][0].model
            sent, gives_up = _now(), time.time() + seconds + _GRACE_SECONDS
            row = self._connection.execute(
                "INSERT INTO batches VALUES (NULL, ?, ?, ?, ?, ?, NULL, 0)", [run, model, sent, self._owner, gives_up]
            ).lastrowid
            assert row is not None
            begun = [
                self._begin(request, call, worst, limit, seconds, blob, parts, row)
                for (request, call, worst), (blob, parts) in zip(requests, stored, strict=True)
            ]
            calls = {request.key.hex(): one for (request, _, _), one in zip(requests, begun, strict=True) if isinstance(one, Sent)}
            if not calls:
                self._connection.execute("DELETE FROM batches WHERE id = ?", [row])
                return begun, None
            return begun, Batch(row, run, model, sent, None, calls)

        return self._order(begin)

    def name_batch_soon(self, batch: Batch, name: str) -> Future:
        """Write the name that the server gave to a batch: from now on any process can collect it."""

        def write() -> None:
            self._connection.execute("UPDATE batches SET name = ?, owner = NULL WHERE id = ?", [name, batch.row])
            self._connection.execute(
                "UPDATE calls SET owner = ?, gives_up = NULL WHERE batch = ? AND state = 'under way'", [_IN_BATCH, batch.row]
            )

        return self._order(write)

    def end_batch_soon(self, batch: Batch, outcomes: Mapping[str, Outcome]) -> Future:
        """Write how all calls of a batch ended, at once. Another process may have done so before: then nothing is changed."""
        ready = [(batch.calls[key], self._ready(outcome)) for key, outcome in outcomes.items()]

        def write() -> None:
            ended = self._connection.execute("SELECT ended FROM batches WHERE id = ?", [batch.row]).fetchone()
            if ended is not None and not ended[0]:
                for sent, outcome in ready:
                    self._end(sent, *outcome)
                self._connection.execute("UPDATE batches SET ended = 1, owner = NULL WHERE id = ?", [batch.row])

        return self._order(write)

    def batches(self, model: str) -> list[Batch]:
        """Return the batches of a model, of any run, that no process has collected, but those that a process is sending now."""
        with self._lock, self._errors():
            query = "SELECT id, run, model, sent, name, owner, gives_up FROM batches WHERE ended = 0 AND model = ? ORDER BY id"
            found = self._connection.execute(query, [model]).fetchall()
            batches = []
            for row, run, of_model, sent, name, owner, gives_up in found:
                if name is None and _is_under_way(owner, gives_up):
                    continue
                query = (
                    "SELECT key, calls.id, worst FROM calls JOIN requests ON requests.id = calls.request "
                    "WHERE batch = ? AND state = 'under way'"
                )
                calls = {key.hex(): Sent(number, worst, row) for key, number, worst in self._connection.execute(query, [row])}
                batches.append(Batch(row, run, of_model, sent, name, calls))
        return batches

    def known_batches(self) -> set[str]:
        """Return the servers' names of all batches of this file."""
        with self._lock, self._errors():
            return {name for (name,) in self._connection.execute("SELECT name FROM batches WHERE name IS NOT NULL")}

    def find(self, request: Request, run: str | None = None, *, rejected: bool = False) -> Reply | None:
        """Return what the request was answered, by any run; None if it was not.

        Args:
            request: what is asked.
            run: who asks, to be noted; None notes nothing.
            rejected: return a server's refusal as well. Such a request costs nothing and may go well later, so it is sent again
                where there is a server.
        """
        if run is not None and self._write:
            return self.find_soon(request, run, rejected=rejected).result()
        with self._lock, self._errors():
            return self._find(request, None, rejected)

    def find_soon(self, request: Request, run: str, *, rejected: bool = False) -> Future:
        """Do the same, together with what else is to be written at this moment."""
        return self._order(lambda: self._find(request, run, rejected))

    def request(self, key: bytes) -> Request | None:
        """Return the request with this key, as it was sent; None if the file has none."""
        with self._lock, self._errors():
            row = self._connection.execute("SELECT request FROM requests WHERE key = ?", [key]).fetchone()
            if row is None:
                return None
            try:
                raw = json.loads(_inflated(row[0]))
                fixed, schema = (self._part(raw[name]["part"]) for name in ("fixed", "schema"))
                parts = tuple(part if isinstance(part, str) else self._part(part["picture"]) for part in raw["parts"])
                request = Request(
                    raw["backend"], raw["model"], raw["max_tokens"], fixed, parts, json.loads(schema), raw["effort"], raw["sample"]
                )
                if request.key != key:
                    raise ValueError("its key is another's")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CallFileError(f"{self.path}: the request {key.hex()[:16]} is damaged ({error}); delete the file") from error
            return request

    def money(self, run: str) -> Money:
        """Return what a run has cost so far, in all processes, since its beginning."""
        with self._lock, self._errors():
            spent, lost, unpriced = self._connection.execute(
                "SELECT coalesce(sum(dollars), 0), coalesce(sum(CASE WHEN dollars IS NULL THEN worst END), 0), "
                "coalesce(sum(dollars IS NULL AND worst IS NULL AND state <> 'under way'), 0) FROM calls WHERE run = ?",
                [run],
            ).fetchone()
            under_way = self._under_way(run)
        return Money(spent, max(lost - under_way, 0.0), under_way, unpriced)

    def price(self, run: str, prices: Prices, most: Callable[[Request], float | None]) -> str | None:
        """Give dollars to the calls of a run that were made when their model had no price.

        Args:
            run: its name.
            prices: what tokens cost, by the day of the call.
            most: returns the most that a request can cost, for those whose reply never came.

        Returns a model that still has no price; None if all have one.
        """
        with self._lock, self._errors():
            query = (
                "SELECT calls.id, calls.backend, calls.model, sent, usage, key "
                "FROM calls JOIN requests ON requests.id = calls.request "
                "WHERE run = ? AND dollars IS NULL AND worst IS NULL"
            )
            found = self._connection.execute(query, [run]).fetchall()
        new: list[tuple[int, float | None, float | None]] = []
        for number, backend, model, sent, usage, key in found:
            read = self._usage(backend, usage)
            dollars = None if read is None else prices.dollars(model, read, day_of(sent))
            request = self.request(key) if dollars is None else None
            worst = None if request is None else most(request)
            if dollars is None and worst is None:
                return model
            new.append((number, dollars, worst))

        def write() -> None:
            for number, dollars, worst in new:
                self._connection.execute("UPDATE calls SET dollars = ?, worst = ? WHERE id = ?", [dollars, worst, number])
                self._hold(run, (dollars if dollars is not None else worst) or 0.0)

        if new:
            self._order(write).result()
        return None

    def rows(self, run: str | None = None, *, found: bool = False) -> Iterator[dict[str, Any]]:
        """Return all calls, or those of one run, as they stand in the file, without request and reply.

        found: with the answers that the run found instead of asking for them, which are other runs' calls.
        """
        names = "id, run, role, milestone, backend, model, sample, try, sent, worst, state, status, kind, seconds, usage, dollars"
        names += ", batch"
        where = "" if run is None else " WHERE run = :run"
        if run is not None and found:
            where += " OR (state = 'answered' AND request IN (SELECT request FROM found WHERE run = :run))"
        with self._lock, self._errors():
            listed = self._connection.execute(f"SELECT {names} FROM calls{where} ORDER BY id", {"run": run}).fetchall()
        for row in listed:
            call = dict(zip(names.split(", "), row, strict=True))
            self._usage(call["backend"], call["usage"])  # which then can be read
            yield call

    def _usage(self, backend: Backend, text: str | None) -> Usage | None:
        """Return the tokens in a call's `usage`; None without any. Raises CallFileError for a text that is none of a server's."""
        try:
            return None if text is None else usage_of(backend, json.loads(text))
        except (ValueError, RecursionError) as error:
            raise self._damaged(f"a call's usage is not JSON: {error}") from None

    def usages(self, backend: Backend, model: str, role: str) -> Iterator[Usage]:
        """Return the tokens of all replies of a model to questions of a role, by any run."""
        with self._lock, self._errors():
            query = "SELECT usage FROM calls WHERE backend = ? AND model = ? AND role = ? AND state = 'answered'"
            found = self._connection.execute(query, [backend, model, role]).fetchall()
        for (usage,) in found:
            if (read := self._usage(backend, usage)) is not None:
                yield read

    def runs(self) -> list[str]:
        """Return the names of all runs that asked or found something."""
        with self._lock, self._errors():
            query = "SELECT run FROM calls UNION SELECT run FROM found ORDER BY run"
            return [name for (name,) in self._connection.execute(query)]

    def found(self, run: str | None = None) -> Iterator[tuple[str, str, str, int, float | None]]:
        """Return run, model, role, times, and dollars of the call that was paid, of all answers that were found again."""
        with self._lock, self._errors():
            query = (
                "SELECT found.run, model, role, times, dollars FROM found JOIN calls ON calls.id = "
                "(SELECT min(id) FROM calls WHERE request = found.request AND state = 'answered')"
            )
            where = ("", []) if run is None else (" WHERE found.run = ?", [run])
            rows = self._connection.execute(query + where[0] + " ORDER BY found.run, calls.id", where[1]).fetchall()
        yield from rows

    def found_again(self, run: str) -> int:
        """Return how often a run found an answer instead of asking for it."""
        with self._lock, self._errors():
            query = "SELECT coalesce(sum(times), 0) FROM found WHERE run = ?"
            return self._connection.execute(query, [run]).fetchone()[0]

    def export(self, path: str | os.PathLike, run: str) -> int:
        """Write a new file with all that a run asked and found, to publish: without the servers' ids of requests.

        Returns the number of calls. Raises CallFileError if the file exists, or the run has no calls.
        """
        path = Path(path)
        if path.exists():
            raise CallFileError(f"{path}: is there already; give another name, or delete it")
        used = "SELECT request FROM calls WHERE run = :run UNION SELECT request FROM found WHERE run = :run"
        # Of other runs' calls only the answers that this run found.
        wanted = f"(run = :run OR (state = 'answered' AND request IN ({used})))"
        with self._lock, self._errors():
            calls = self._connection.execute(f"SELECT * FROM calls WHERE {wanted} ORDER BY id", {"run": run}).fetchall()
            if not calls:
                raise CallFileError(f"{self.path}: has no calls of the run {run!r}; is the name after --run right?")
            names = [column[1] for column in self._connection.execute("PRAGMA table_info(calls)")]
            requests = self._connection.execute(f"SELECT * FROM requests WHERE id IN ({used})", {"run": run}).fetchall()
            try:
                keys = {bytes.fromhex(key) for _, _, blob in requests for key in _part_keys(_inflated(blob))}
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                raise self._damaged(f"a request cannot be read: {error}") from None
            parts = [row for row in self._connection.execute("SELECT key, data FROM parts") if row[0] in keys]
        rows = [_without_ids(dict(zip(names, row, strict=True)), run) for row in calls]
        held = sum(row["dollars"] if row["dollars"] is not None else row["worst"] or 0.0 for row in rows)
        with told_errors(path, CallFileError, "a file of calls", "delete it"), atomic_write(path) as temporary:
            create(temporary, APPLICATION_ID, SCHEMA_VERSION, _SCHEMA)
            with contextlib.closing(connect(temporary, write=True, timeout=_BUSY_SECONDS)) as connection:
                connection.execute("BEGIN")
                connection.executemany("INSERT INTO parts VALUES (?, ?)", parts)
                connection.executemany("INSERT INTO requests VALUES (?, ?, ?)", requests)
                marks = ", ".join(f":{name}" for name in names)
                connection.executemany(f"INSERT INTO calls VALUES ({marks})", rows)
                connection.execute("INSERT INTO runs VALUES (?, ?)", [run, held])
                connection.execute("COMMIT")
                connection.execute("PRAGMA journal_mode = DELETE")  # whoever only reads it leaves no files beside it
        return len(rows)

    def close(self) -> None:
        """Write what is still to be written, and close the file. May be called again."""
        with self._starting:
            writer, self._writer = self._writer, None
        if writer is not None:
            self._orders.put(None)
            writer.join()
        with self._lock:
            self._connection.close()

    def __enter__(self) -> CallFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _damaged(self, why: str) -> CallFileError:
        return CallFileError(f"{self.path}: is damaged, or was changed ({why}); {_IF_BROKEN}")

    def _errors(self):
        return told_errors(self.path, CallFileError, "a file of calls", _IF_BROKEN)

    # Many calls end within a millisecond. One thread writes all that is to be written at a moment, and waits for the disk once.

    def _order(self, work: Callable[[], T]) -> Future:
        future: Future = Future()
        with self._starting:
            if self._writer is None:
                self._writer = threading.Thread(target=self._keep_writing, name="file of calls", daemon=True)
                self._writer.start()
        self._orders.put((work, future))
        return future

    def _keep_writing(self) -> None:
        last = False
        while not last:
            orders = [self._orders.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    orders.append(self._orders.get_nowait())
            last = None in orders
            batch = [order for order in orders if order is not None and order[1].set_running_or_notify_cancel()]
            if not batch:
                continue
            results: list[Any] = []
            try:
                with self._lock, self._errors(), self._transaction():
                    results = [work() for work, _ in batch]
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                for _, future in batch:
                    future.set_exception(error)
            else:
                for (_, future), result in zip(batch, results, strict=True):
                    future.set_result(result)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._known_parts.clear()
            if self._connection.in_transaction:  # a full disk may have rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    def _begin(
        self,
        request: Request,
        call: Call,
        worst: float | None,
        limit: float | None,
        seconds: float,
        blob: bytes,
        parts: Mapping[bytes, bytes],
        batch: int | None = None,
    ) -> Reply | Wait | NoMoney | Sent:
        if (known := self._find(request, call.run, rejected=False)) is not None:
            return known
        execute = self._connection.execute
        row = execute("SELECT id FROM requests WHERE key = ?", [request.key]).fetchone()
        if row is not None and (why := self._is_asked(row[0])) is not None:
            return Wait(why)
        if limit is not None and worst is not None:
            held = self._held(call.run)
            if held + worst > limit:
                return Wait("money") if self._is_any_under_way(call.run) else NoMoney(held, worst)
        for key, data in parts.items():
            if key not in self._known_parts:
                execute("INSERT OR IGNORE INTO parts VALUES (?, ?)", [key, data])
                if data[:1] == b"T":
                    self._known_parts.add(key)
        number = row[0] if row is not None else execute("INSERT INTO requests VALUES (NULL, ?, ?)", [request.key, blob]).lastrowid
        cursor = execute(
            "INSERT INTO calls (request, run, role, milestone, backend, model, sample, try, sent, owner, gives_up, worst, batch, "
            "state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'under way')",
            [
                number, call.run, call.role, call.milestone, request.backend, request.model, request.sample, call.tried, _now(),
                self._owner, time.time() + seconds + _GRACE_SECONDS, worst, batch,
            ],
        )  # fmt: skip
        self._hold(call.run, worst or 0.0)
        assert cursor.lastrowid is not None
        return Sent(cursor.lastrowid, worst, batch)

    def _end(self, sent: Sent, outcome: Outcome, reply: bytes | None, usage: str | None, request_id: str | None) -> None:
        row = self._connection.execute("SELECT run FROM calls WHERE id = ? AND state = 'under way'", [sent.row]).fetchone()
        if row is None:
            raise ValueError(f"the call {sent.row} is not under way")
        self._connection.execute(
            "UPDATE calls SET owner = NULL, gives_up = NULL, state = ?, status = ?, kind = ?, seconds = ?, request_id = ?, "
            "usage = ?, dollars = ?, reply = ? WHERE id = ?",
            [
                outcome.state, outcome.status, outcome.kind, outcome.seconds, request_id, usage, outcome.dollars, reply, sent.row,
            ],
        )  # fmt: skip
        if outcome.dollars is not None:
            self._hold(row[0], outcome.dollars - (sent.worst or 0.0))

    def _find(self, request: Request, run: str | None, rejected: bool) -> Reply | None:
        states = ("answered", "rejected") if rejected else ("answered", "answered")
        row = self._connection.execute(
            "SELECT calls.request, status, reply, dollars, sent FROM calls JOIN requests ON requests.id = calls.request "
            "WHERE requests.key = ? AND state IN (?, ?) AND reply IS NOT NULL ORDER BY calls.state, calls.id LIMIT 1",
            [request.key, *states],
        ).fetchone()
        if row is None:
            return None
        number, status, blob, dollars, sent = row
        try:
            reply = Reply(int(status), _inflated(blob), None if dollars is None else float(dollars), str(sent))
        except (ValueError, TypeError) as error:
            warnings.warn(f"{self.path}: an answer is damaged ({error}); it is asked for again", RuntimeWarning, stacklevel=2)
            return None
        if run is not None and status == 200:
            self._connection.execute(
                "INSERT INTO found VALUES (?, ?, 1) ON CONFLICT (run, request) DO UPDATE SET times = times + 1", [run, number]
            )
        return reply

    def _part(self, key: str) -> Any:
        row = self._connection.execute("SELECT data FROM parts WHERE key = ?", [bytes.fromhex(key)]).fetchone()
        if row is None:
            raise ValueError("a part of it is missing")
        return decode_picture(row[0][1:]) if row[0][:1] == b"P" else _inflated(row[0][1:])

    def _is_asked(self, request: int) -> Literal["asked", "batch"] | None:
        query = "SELECT owner, gives_up FROM calls WHERE request = ? AND state = 'under way'"
        found = self._connection.execute(query, [request]).fetchall()
        if any(owner == _IN_BATCH for owner, _ in found):
            return "batch"
        return "asked" if any(_is_under_way(*row) for row in found) else None

    def _under_way(self, run: str) -> float:
        query = "SELECT owner, gives_up, coalesce(worst, 0) FROM calls WHERE run = ? AND state = 'under way'"
        return sum(worst for *row, worst in self._connection.execute(query, [run]) if _is_under_way(*row))

    def _is_any_under_way(self, run: str) -> bool:
        query = "SELECT owner, gives_up FROM calls WHERE run = ? AND state = 'under way' AND worst > 0 ORDER BY id DESC"
        return any(_is_under_way(*row) for row in self._connection.execute(query, [run]))

    def _held(self, run: str) -> float:
        row = self._connection.execute("SELECT held FROM runs WHERE run = ?", [run]).fetchone()
        return 0.0 if row is None else row[0]

    def _hold(self, run: str, dollars: float) -> None:
        self._connection.execute(
            "INSERT INTO runs VALUES (?, ?) ON CONFLICT (run) DO UPDATE SET held = held + ?", [run, dollars, dollars]
        )


def day_of(sent: str) -> date:
    """Return the day (UTC) on which a call was sent: its prices count."""
    return date.fromisoformat(sent[:10])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _owner(pid: int) -> str:
    """Return a name for a process that no later one has, as far as the system can tell."""
    try:
        began = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        began = ""
    return f"{pid} {began}"


def _is_under_way(owner: object, gives_up: object) -> bool:
    """Return whether a call that has no end may still get one."""
    if owner == _IN_BATCH:
        return True
    try:
        pid = int(str(owner).split(" ")[0])
    except ValueError:
        return False
    return isinstance(gives_up, float) and time.time() < gives_up and is_running(pid) and _owner(pid) == owner


@lru_cache(maxsize=32)
def _text_part(text: str) -> tuple[bytes, bytes]:
    """Return the key and the data of a text that many requests share."""
    raw = text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(raw).digest(), b"T" + zlib.compress(raw, _LEVEL)


def _storable(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _inflated(blob: bytes) -> str:
    return inflate(blob, _MOST_BYTES).decode("utf-8", "surrogatepass")


def _part_keys(text: str) -> Iterator[str]:
    """Return the keys of the parts that a stored request names."""
    raw = json.loads(text)
    yield from (raw[name]["part"] for name in ("fixed", "schema"))
    yield from (part["picture"] for part in raw["parts"] if not isinstance(part, str))


def _without_ids(row: dict[str, Any], run: str) -> dict[str, Any]:
    """Return a call to publish: the run's, without ids of requests, processes and other runs."""
    body = None
    if row["reply"] is not None:
        try:
            content = json.loads(_inflated(row["reply"]))
            if isinstance(content, dict):
                content = {name: value for name, value in content.items() if name not in ("id", "request_id")}
            body = zlib.compress(json.dumps(content).encode(), _LEVEL)
        except ValueError:  # a reply that is no JSON, and so no answer
            body = None
    others = row["run"] != run
    dollars = 0.0 if others else row["dollars"]
    return row | {"run": run, "owner": None, "gives_up": None, "request_id": None, "reply": body, "dollars": dollars}
