"""Asking a language model: both kinds of server, tries, limits, money.

    settings = settings_from_flags("claude-haiku-5-5", effort="low")
    with CallFile(path, settings.secrets) as calls, ModelClient(settings, calls, Prices(), run="a run") as client:
        client.start(pictures=True)
        questions = (Question(rules, (state, screen), schema, "label", "RIVAL_HOUSE") for state, screen in states)
        for number, answer in client.ask_each(questions):
            print(number, answer.value, answer.kind, answer.dollars)

This is the only module that imports `anthropic` and `openai`, and only when something is asked: importing them takes a second.
Nothing of theirs leaves it. Their exceptions hold the request, and with it the key, so only texts of our own do.

Their own retries are off, since each time-out would silently be sent, and perhaps billed, three times, and since a time-out of
theirs limits the gap between two bytes, which an answer that trickles outlives. Here a try has a time limit in all.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import email.utils
import functools
import importlib
import ipaddress
import json
import logging
import math
import os
import queue
import random
import re
import threading
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from agent.llm.calls import Batch, Call, CallFile, NoMoney, Outcome, Reply, Request, Sent, State, Wait, day_of
from agent.llm.prices import Backend, Prices, Usage, picture_tokens
from agent.llm.replies import BrokenReplyError, InvalidAnswerError, read_reply, value_of
from common.runtime.main import UserError
from common.runtime.plain_text import in_one_line

ACCIDENTS = (
    "timeout", "overloaded", "rate limit", "connection", "broken reply", "server error", "not recorded", "no money", "stopped",
    "expired", "canceled",
)  # fmt: skip
"""Kinds of failure that say nothing about the question: it may be asked again."""
PAID_FAILURES = ("refusal", "cut off", "malformed", "rejected")
"""Kinds of failure that are the model's, or the server's, answer to this very question."""

BACK_OFF_SECONDS = 0.5
"""About how long the second try waits; each later one twice as long."""
LONGEST_WAIT_SECONDS = 60.0
"""No longer than this a question waits between two tries, whatever the server wishes."""
MOST_IN_A_BATCH = 10_000
MOST_BATCH_BYTES = 200_000_000
"""The provider takes batches of up to 100,000 requests and 256 MB."""
BATCH_PAUSE_SECONDS = 5.0
"""How long after a batch was sent is looked whether it has ended; each later pause is longer by a half."""
LONGEST_BATCH_PAUSE_SECONDS = 120.0
POLL_SECONDS = 0.05
"""How often is looked whether another process has got the answer, or there is money again."""
SLOWED_SECONDS = 1.0
"""How long after a slowdown, for too many requests, the next may follow."""
FIRST_RATE = 4.0
"""Requests a second to which the first 429 slows the questions at least; further ones slow them more."""

_DEFAULT_KEYS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
_URL_VARIABLES = {"anthropic": "ANTHROPIC_BASE_URL", "openai": "OPENAI_BASE_URL"}
_OWN_URLS = {"anthropic": "https://api.anthropic.com", "openai": "https://api.openai.com/v1"}
_NO_KEY = "none"  # the SDKs want one
_BEHIND_A_GATEWAY = (502, 504, 520, 521, 522, 523, 524)
"""A gateway says that no reply came: the server behind it may have answered all the same, and be paid for it."""
_HEADERS = {
    "host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent", "authorization",
    "x-api-key", "anthropic-version", "anthropic-beta",
}  # fmt: skip
_POOL_SIZE = 8  # a pool of connections looks at all of its idle ones for each request, so several small ones are quicker
_MOST_WORDS = 300
_MOST_REJECTED = 3
_MOST_LOOKS = 20  # in vain, one after another, for a batch: about half an hour
_BATCHES = "/v1/messages/batches"
_LOWEST_RATE = 0.1
_LOOK_SECONDS = 0.25  # between two looks at whether to stop
_CATCH_UP_SECONDS = 0.1
_MEASURED_SECONDS = 5.0
_FIRST_GROWTH = ((math.inf, 0.4),)
_GROWTH = ((10.0, 0.003), (20.0, 0.02), (math.inf, 0.1))
"""Seconds after a slowdown -> by which share the rate grows in a second: little where the limit has just been found,
more where it was only guessed."""
_AHEAD = 2  # times as many questions are begun as may be under way, since some wait for their next try
_TOLD = "Answer with one JSON value and nothing else, by this JSON schema:\n"

T = TypeVar("T")


class ModelError(UserError):
    """What makes all further questions vain. The text says what the user can do; the run can go on afterwards."""


@dataclass(frozen=True)
class ModelSettings:
    """Which model is asked, where, and how patiently."""

    model: str
    backend: Backend
    url: str
    key: str | None = field(repr=False)
    key_name: str
    """The environment variable that the key is from."""
    timeout: float = 60.0
    """Seconds for one try."""
    tries: int = 5
    concurrency: int = 64
    effort: str | None = None
    max_tokens: int = 2048

    @property
    def secrets(self) -> list[str]:
        """What must not be shown, nor come into a file."""
        return [] if self.key is None else [self.key]


def settings_from_flags(
    model: str,
    *,
    backend: Backend | None = None,
    base_url: str | None = None,
    key_env: str | None = None,
    replay: bool = False,
    environment: Mapping[str, str] = os.environ,
    **further: Any,
) -> ModelSettings:
    """Return the settings that the flags of a script mean. Raises ModelError for those that can't be meant.

    Args:
        model: its name.
        backend: None is openai with a base URL, else anthropic.
        base_url: None is the SDK's environment variable, else the provider's own server.
        key_env: the variable with the key; None is the SDK's.
        replay: nothing is sent, so no key is needed.
        environment: where variables are looked up.
        further: the other settings.
    """
    if not model.strip():
        raise ModelError("--expert-model: is empty; name a model")
    chosen: Backend = backend or ("openai" if base_url else "anthropic")
    variable = _URL_VARIABLES[chosen]
    url = base_url or environment.get(variable) or _OWN_URLS[chosen]
    local = _check_url("--expert-base-url" if base_url else variable, url)
    if chosen == "anthropic":
        url = url.rstrip("/").removesuffix("/v1")  # which its SDK adds
    name = key_env or _DEFAULT_KEYS[chosen]
    key = environment.get(name)
    if key is not None and not key.strip():
        raise ModelError(f"{name}: the environment variable is empty; put the key into it")
    if key is not None and (not key.isascii() or not key.isprintable() or " " in key):
        raise ModelError(
            f"{name}: the environment variable holds what no key has (a space, a line break, a letter that is not ASCII)"
        )
    if key is None and not replay and (key_env is not None or not local):
        raise ModelError(
            f"{name}: the environment variable with the key is not set; export it, or name another with --expert-key-env"
        )
    return ModelSettings(model, chosen, url, key, name, **further)


def _check_url(name: str, url: str) -> bool:
    """Return whether a URL is of this machine. Raises ModelError, without the URL, for one that cannot be used."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ModelError(f"{name}: is no URL; give one such as http://127.0.0.1:8000/v1") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise ModelError(f"{name}: must hold no user and no password; put the key into an environment variable (--expert-key-env)")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ModelError(f"{name}: must begin with http:// or https:// and a host, and hold no ? and no #")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked, in words that hold for all servers."""

    fixed: str
    """What many questions begin with: it is marked, so that the provider may keep it."""
    parts: tuple[str | np.ndarray, ...]
    """Texts and pictures, (H, W, 3) uint8 RGB, as they stand one after another."""
    schema: Mapping[str, Any] | None = None
    """The form of the answer; None for plain text."""
    role: str = "label"
    milestone: str = ""
    candidate: int = 1
    """Of several answers to the same question, which."""


@dataclass(frozen=True)
class ModelAnswer:
    """An answer, or why there is none."""

    text: str | None
    """What the model wrote; None where nothing came."""
    value: Any = None
    """With a schema, the checked value."""
    kind: str | None = None
    """Why there is none: one of `ACCIDENTS` or `PAID_FAILURES`. None with an answer."""
    reason: str = ""
    """Of `kind`, in words, without secrets."""
    usage: Usage = field(default_factory=Usage)
    """Of the reply; of all replies, where a second was asked for."""
    dollars: float | None = 0.0
    """What was paid now; None if it is unknown. Nothing for an answer that was found."""
    found: bool = False
    """It stood in the file of calls, or was asked for by a question beside this one."""
    tries: int = 0
    """How many requests were sent for it."""


@dataclass(frozen=True)
class _Problem:
    """Why a try brought nothing."""

    kind: str
    reason: str
    wait: float | None = None
    """What the server wishes, in seconds."""
    final: bool = False
    """Trying again is not wanted, or vain."""


@dataclass
class _Pool:
    """A client of the SDK, with connections of its own."""

    sdk: Any
    under_way: int = 0


@dataclass
class Counts:
    """What a client has asked so far."""

    asked: int = 0
    sent: int = 0
    found: int = 0
    cached: int = 0
    """Tokens read from the provider's cache."""
    written: int = 0
    """Tokens written to it."""


class ModelClient:
    """Asks one model. A context manager: leaving it ends what is under way.

    Questions may be asked from any thread. One event loop, in a thread of its own, sends them: the first alone, so that the
    provider's cache of prompts is written once, and then as many at once as the settings say.

    Args:
        settings: which model, and where.
        calls: the file of calls; with `replay` it may be open for reading only.
        prices: what tokens cost.
        run: the run's name: its money is counted in the file by this name.
        max_cost: dollars that the run may cost, its earlier processes included; None for no limit.
        replay: answers come from the file alone. Nothing is imported and nothing sent.
        say: is told what a user should know.

    Raises PriceError if there is a limit, and the model has no price.
    """

    def __init__(
        self,
        settings: ModelSettings,
        calls: CallFile,
        prices: Prices,
        run: str,
        *,
        max_cost: float | None = None,
        replay: bool = False,
        say: Callable[[str], None] = print,
    ):
        if max_cost is not None and not replay:
            if not 0 < max_cost < math.inf:
                raise ModelError("--max-cost: must be more than 0 dollars; leave it out for no limit, or take --replay")
            prices.demand(settings.model)
        self.settings, self.run, self.max_cost = settings, run, max_cost
        self.counts = Counts()
        self._calls, self._prices, self._replay, self._say = calls, prices, replay, say
        self._ended: ModelError | None = None
        self._no_money: NoMoney | None = None
        self._stopping = False
        self._plain = False  # the server knows no schemas
        self._no_batches = False
        self._form_known = False  # the server has answered in the form in which it is asked
        self._effort = settings.effort
        self._rejected = 0  # questions; None of interest once one was accepted
        self._accepted = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()
        self._pools: list[_Pool] = []
        if max_cost is not None and not replay:
            self._price_what_has_none()

    # From any thread.

    @property
    def left(self) -> float:
        """How many questions can still be asked: 0 once the next may cost more than is left, else infinite."""
        return 0.0 if self._no_money is not None else math.inf

    def begin(self, run: str) -> None:
        """Count what is asked from now on as the cost of the run of this name. Raises ModelError as the constructor does."""
        self.run = run
        if self.max_cost is not None and not self._replay:
            self._price_what_has_none()

    def start(self, pictures: bool = False) -> None:
        """Look whether the server has the model, and whether the model can do what is needed. Asks nothing that costs.

        Args:
            pictures: questions will hold pictures.

        Raises ModelError.
        """
        if not self._replay:
            if self.settings.url != _OWN_URLS[self.settings.backend]:
                self._say(f"The model {self.settings.model} is asked at {self.settings.url}")
            self._wait_for(self._look_at_model(pictures))

    def ask(self, questions: Sequence[Question]) -> list[ModelAnswer]:
        """Return an answer for each question, in order. Raises ModelError if the run must end; what came stays in the file."""
        futures = [self.ask_soon(question) for question in questions]
        return [future.result() for future in futures]

    def ask_each(
        self, questions: Iterable[Question], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, ModelAnswer]]:
        """Ask all questions, and yield the number of each (from 0 on) with its answer, as they come: in no order.

        Questions are taken from the iterable when they can soon be sent, so that not all of their pictures are in memory at once.
        There is no barrier: a slow answer holds up nothing but itself. Once `should_stop()` is true, nothing more is sent: `stop`.
        Raises ModelError as `ask` does.
        """
        done: queue.SimpleQueue[tuple[int, Future[ModelAnswer]]] = queue.SimpleQueue()
        numbered, under_way = enumerate(questions), 0
        while True:
            if should_stop():
                self.stop()
            while not self._stopping and under_way < self._ahead and (one := next(numbered, None)) is not None:
                number, question = one
                future = self.ask_soon(question)
                del one, question
                future.add_done_callback(functools.partial(_hand_on, done, number))
                under_way += 1
            if not under_way:
                return
            try:
                number, future = done.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            under_way -= 1
            yield number, future.result()

    @property
    def _ahead(self) -> int:
        return _AHEAD * self.settings.concurrency

    def ask_batch(self, questions: Sequence[Question]) -> list[ModelAnswer]:
        """Return an answer for each question, in order, asked as batches: half the price, and up to 24 hours.

        What the file has is not asked. A batch that an ended process has sent is collected, not sent again. What ended in an error
        is asked again in the next batch, and so is an answer that is not what the schema asks for. Kinds of abstention beside the
        known: "expired" and "canceled", of requests that the server gave up.

        Raises ModelError as `ask` does, and for chat completions, which have no batches of this kind.
        """
        if self.settings.backend != "anthropic":
            raise ModelError("--expert-batch: chat completions have no batches; leave it out, or take --expert-backend anthropic")
        if self._replay:
            return self.ask(questions)
        if self._no_batches:
            raise ModelError(f"--expert-batch: {self.settings.model} takes no batches; leave it out, or take another model")
        return self._wait_for(self._batched(questions))

    def ask_soon(self, question: Question) -> Future[ModelAnswer]:
        """Ask a question, and return at once. The result may raise ModelError, as `ask` does."""
        return asyncio.run_coroutine_threadsafe(self._answer(question), self._running_loop())

    def count_tokens(self, question: Question) -> int | None:
        """Return how many tokens a question has, as the server counts them for nothing; None if it can't."""
        if self.settings.backend != "anthropic" or self._replay:
            return None
        return self._wait_for(self._count_tokens(self._request(question, 1)))

    @property
    def calls(self) -> CallFile:
        """The file of calls."""
        return self._calls

    @property
    def prices(self) -> Prices:
        """What tokens cost."""
        return self._prices

    def worst_case(self, question: Question) -> float | None:
        """Return the most that one request for a question can cost, in dollars; None if the model's price is unknown."""
        return self._worst_case(self._request(question, 1))

    def stop(self) -> None:
        """Send nothing more. Questions that wait get the kind "stopped"; those under way are still answered."""
        self._stopping = True
        with self._starting:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._halted.set)

    def close(self) -> None:
        """End what is under way, and the thread. May be called again."""
        self._stopping = True
        with self._starting:
            loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()

    def __enter__(self) -> ModelClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def summary(self) -> list[str]:
        """Return what a run's end should say: what was asked, found and spent, and whether the provider's cache did anything."""
        money, counts = self._calls.money(self.run), self.counts
        lines = [
            f"{counts.asked} questions to {self.settings.model}: {counts.sent} requests sent, {counts.found} answers found again"
        ]
        spent = f"${money.spent:.4f} spent"
        if money.unconfirmed:
            spent += f", and up to ${money.unconfirmed:.4f} unconfirmed, for requests that got no reply"
        if money.under_way:
            spent += f", and up to ${money.under_way:.4f} for what is still under way"
        if money.unpriced:
            spent += f"; what {money.unpriced} requests cost is unknown, as the model has no price (--prices)"
        lines.append(spent)
        if counts.sent > 1 and self.settings.backend == "anthropic" and not counts.cached + counts.written:
            lines.append(
                "The provider's cache of prompts kept nothing: what all prompts begin with is shorter than the model's minimum"
            )
        if self._no_money is not None:
            lines.append(
                f"--max-cost {self.max_cost:g}: ${self._no_money.held:.4f} are spent or may be, and the next request may cost "
                f"${self._no_money.worst:.4f}; go on with a higher --max-cost"
            )
        return lines

    def _wait_for(self, work: Awaitable[T]) -> T:
        async def waited() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(waited(), self._running_loop()).result()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                if self._stopping:
                    raise ModelError("the client of the model is closed")
                self._loop = asyncio.new_event_loop()
                self._prepare()
                self._thread = threading.Thread(target=self._loop.run_forever, name="model client", daemon=True)
                self._thread.start()
            return self._loop

    def _prepare(self) -> None:
        self._busy = 0
        self._freed = asyncio.Event()
        self._halted = asyncio.Event()  # nothing more is to be sent: those that wait need not wait any longer
        self._first = asyncio.Lock()
        self._poor = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._collecting = asyncio.Lock()
        self._opened = False  # the first request is answered: many may follow
        self._refused: dict[bytes, ModelAnswer] = {}
        self._asking: dict[bytes, asyncio.Future[ModelAnswer]] = {}
        self._paused_until = 0.0
        self._rate: float | None = None  # requests a second; None as long as the server takes all
        self._growth: tuple[tuple[float, float], ...] = _FIRST_GROWTH
        self._next_at = 0.0
        self._slowed_at = -math.inf
        self._sent_at: collections.deque[float] = collections.deque(maxlen=1000)
        self._answered_at: collections.deque[float] = collections.deque(maxlen=1000)

    async def _close(self) -> None:
        me = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not me]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for pool in self._pools:
            with contextlib.suppress(Exception):
                await pool.sdk.close()

    # One question.

    async def _answer(self, question: Question) -> ModelAnswer:
        """Ask once, and once more if the answer isn't what the schema asks for."""
        self.counts.asked += 1
        first = await self._sample(question, 2 * question.candidate - 1)
        if first.kind != "malformed" or question.schema is None:
            return first
        second = await self._sample(question, 2 * question.candidate)
        if second.kind in ACCIDENTS:
            if self._replay and second.kind == "not recorded":  # the run was ended between the two
                return first
            return replace(second, dollars=_sum(first.dollars, second.dollars), tries=first.tries + second.tries)
        usage = _added(first.usage, second.usage)
        return replace(second, usage=usage, dollars=_sum(first.dollars, second.dollars), tries=first.tries + second.tries)

    async def _sample(self, question: Question, sample: int) -> ModelAnswer:
        """Return the answer that the file has, in whatever form it was asked for; else ask, the first question alone."""
        if self._replay or not self._form_known:
            recorded = await self._recorded(question, sample)
            if self._replay or recorded.kind not in ("not recorded", "rejected"):
                return recorded
        # The first goes alone, so that the provider's cache is written once, and the form is found.
        if not self._opened and await self._acquired(self._first):
            try:
                if not self._opened:
                    before = self.counts.sent
                    answer = await self._in_right_form(question, sample)
                    # Of those that are refused none opens the way: if the first three are, the run ends with no more sent.
                    self._opened = self._opened or (self.counts.sent > before and answer.kind != "rejected")
                    return answer
            finally:
                self._first.release()
        return await self._in_right_form(question, sample)

    async def _in_right_form(self, question: Question, sample: int) -> ModelAnswer:
        """Ask with schema and effort; without, if the server refuses them."""
        effort, plain = self._effort, self._plain or question.schema is None
        answer = await self._asked(question, self._request(question, sample))
        if answer.kind == "rejected" and effort is not None and "effort" in answer.reason:
            if self._effort is not None:
                self._effort = None
                self._say(f"{self.settings.model} knows no effort: --expert-effort {effort} is no longer sent")
            answer = await self._asked(question, self._request(question, sample))
        if not plain and not self._form_known and answer.kind == "rejected":
            told = await self._asked(question, self._request(question, sample, plain=True))
            if told.kind != "rejected":
                if not self._plain:
                    self._plain = True
                    self._say(f"The server takes no schema: {self.settings.model} is told it in words, and its answers are checked")
                answer = told
        if answer.kind not in ACCIDENTS and answer.kind != "rejected":
            self._form_known = True
        self._count_rejected(answer)
        return answer

    def _count_rejected(self, answer: ModelAnswer) -> None:
        if answer.kind == "rejected" and not answer.found:
            self._rejected += 1
            if self._rejected >= _MOST_REJECTED and not self._accepted:
                raise self._end(f"the server refuses all that it is asked: {answer.reason}")
        elif answer.kind not in ACCIDENTS:
            self._accepted = True

    def _request(self, question: Question, sample: int, plain: bool | None = None, effort: str | None = "") -> Request:
        fixed, schema = question.fixed, question.schema
        effort = self._effort if effort == "" else effort
        if schema is not None and (self._plain if plain is None else plain):
            fixed, schema = f"{fixed}\n\n{_TOLD}{json.dumps(schema)}".lstrip(), None
        settings = self.settings
        return Request(settings.backend, settings.model, settings.max_tokens, fixed, question.parts, schema, effort, sample)

    async def _asked(self, question: Question, request: Request) -> ModelAnswer:
        """Ask, or wait for the same question that is being asked beside this one."""
        if (refused := self._refused.get(request.key)) is not None:  # it would be refused again
            return replace(refused, found=True, tries=0)
        if (same := self._asking.get(request.key)) is not None:
            answer = await asyncio.shield(same)
            return replace(answer, found=True, dollars=0.0, tries=0)
        future: asyncio.Future[ModelAnswer] = asyncio.get_running_loop().create_future()
        self._asking[request.key] = future
        try:
            answer = await self._tried(question, request)
            if answer.kind == "rejected":
                self._refused[request.key] = answer
            future.set_result(answer)
            return answer
        except BaseException as error:
            future.set_exception(error if isinstance(error, UserError) else ModelError("the question was given up"))
            future.exception()  # nobody else may be waiting
            raise
        finally:
            del self._asking[request.key]

    async def _recorded(self, question: Question, sample: int) -> ModelAnswer:
        """Look for an answer in the file, in each form in which the question may have been asked."""
        refused: ModelAnswer | None = None
        for plain in dict.fromkeys((question.schema is None, True)):
            for effort in dict.fromkeys((self.settings.effort, None)):
                request = self._request(question, sample, plain, effort)
                if self._replay:
                    reply = self._calls.find(request, rejected=True)
                else:
                    reply = await self._written(self._calls.find_soon(request, self.run, rejected=True))
                if reply is not None:
                    answer = self._read(question, request, reply.status, reply.text, found=True)
                    if answer.kind != "rejected":
                        self.counts.found += 1
                        return answer
                    refused = refused or answer
        return refused or ModelAnswer(None, kind="not recorded", reason=f"{self._calls.path.name} has no answer to it")

    async def _tried(self, question: Question, request: Request) -> ModelAnswer:
        """Send the request until there is an answer, as often as the settings say."""
        self._pool()
        worst = self._worst_case(request)
        problem, tried = _Problem("stopped", "the run was stopped"), 0
        while tried < self.settings.tries:
            if (begun := self._no_money) is not None and (worst or 0.0) >= begun.worst:
                reply = await self._written(self._calls.find_soon(request, self.run))  # what the file has is free
                if reply is None:
                    return self._out_of_money(begun, tried)
                self.counts.found += 1
                return self._read(question, request, reply.status, reply.text, found=True)
            if not await self._place():
                return ModelAnswer(None, kind="stopped", reason="the run was stopped", tries=tried)
            try:
                call = Call(self.run, question.role, question.milestone, tried + 1)
                begun = await self._written(self._calls.begin_soon(request, call, worst, self.max_cost, self.settings.timeout))
                if isinstance(begun, Reply):
                    self.counts.found += 1
                    return self._read(question, request, begun.status, begun.text, found=True)
                if isinstance(begun, NoMoney):
                    return self._out_of_money(begun, tried)
                if isinstance(begun, Sent):
                    tried += 1
                    self.counts.sent += 1
                    self._sent_at.append(asyncio.get_running_loop().time())
                    result = await self._one_try(question, request, begun)
                    if isinstance(result, ModelAnswer):
                        return replace(result, tries=tried)
                    problem = result
            finally:
                self._busy -= 1
                self._freed.set()
            if isinstance(begun, Wait):
                if begun.why == "asked":
                    self._opened = True  # another process has sent the first
                    await self._pause(POLL_SECONDS)
                elif begun.why == "batch":
                    if (gone := await self._earlier_batches()) is not None:
                        return gone
                else:
                    async with self._poor:  # one looks again, not all of them
                        await self._pause(POLL_SECONDS / 5)
                continue
            if problem.final:
                break
            if tried < self.settings.tries:
                await self._pause(self._wait_after(problem, tried))
        return ModelAnswer(None, kind=problem.kind, reason=problem.reason, tries=tried)

    async def _one_try(self, question: Question, request: Request, sent: Sent) -> ModelAnswer | _Problem:
        """Send a request once, and write how that ended."""
        began = time.monotonic()
        outcome = Outcome("failed", None, kind="stopped")
        whole = wire(request, self._own_server)
        try:
            status, headers, body = await asyncio.wait_for(self._post(_path(request.backend), whole), self.settings.timeout)
        except asyncio.CancelledError:
            self._calls.end_soon(sent, replace(outcome, seconds=time.monotonic() - began))
            raise
        except Exception as error:  # noqa: BLE001 - of any library below; nothing of it may go on, as it holds the key
            kind, reason, arrived = self._lost(error)
            outcome = Outcome("failed", None if arrived else 0.0, kind=kind, seconds=time.monotonic() - began)
            await self._written(self._calls.end_soon(sent, outcome))
            return _Problem(kind, reason)
        seconds = time.monotonic() - began
        request_id = headers.get("request-id") or headers.get("x-request-id")
        common: dict[str, Any] = {"status": status, "seconds": seconds, "request_id": request_id}
        if status == 200:
            try:
                read = read_reply(request.backend, body)
            except BrokenReplyError as error:
                outcome = Outcome("failed", None, kind="broken reply", reply=body[:2000], **common)
                await self._written(self._calls.end_soon(sent, outcome))
                return _Problem("broken reply", f"the server's reply is no answer: {error}", final=_is_final(headers))
            dollars = self._prices.dollars(request.model, read.usage, datetime.now(UTC).date())
            answer = self._read(question, request, status, body, found=False, dollars=dollars)
            outcome = Outcome("answered", dollars, kind=answer.kind, usage=read.raw_usage, reply=body, **common)
            await self._written(self._calls.end_soon(sent, outcome))
            self._note_answer(read.usage)
            self._check_price(sent.worst, dollars)
            return answer
        words = self._words(body)
        kind = _kind_of(status)
        state: State = "rejected" if kind == "rejected" else "failed"
        paid = None if status in _BEHIND_A_GATEWAY or status < 300 else 0.0
        await self._written(self._calls.end_soon(sent, Outcome(state, paid, kind=kind, reply=body[:4000], **common)))
        await self._end_if_vain(status, words, body)
        if kind == "rejected":
            return ModelAnswer(None, kind=kind, reason=f"the server refused it ({status}): {words}")
        problem = _Problem(kind, f"the server answered {status}: {words}", _retry_after(headers), _is_final(headers))
        if status == 429:
            self._slow_down(problem)
        return problem

    def _read(
        self, question: Question, request: Request, status: int, body: str, *, found: bool, dollars: float | None = 0.0
    ) -> ModelAnswer:
        """Return what a reply, that came or that was found, says."""
        if status != 200:
            return ModelAnswer(None, kind="rejected", reason=f"the server refused it ({status}): {self._words(body)}", found=found)
        try:
            read = read_reply(request.backend, body)
        except BrokenReplyError as error:
            return ModelAnswer(None, kind="broken reply", reason=f"the recorded reply is no answer: {error}", found=found)
        answer = ModelAnswer(read.text, kind=read.kind, reason=read.reason, usage=read.usage, dollars=dollars, found=found)
        if read.kind is not None or question.schema is None:
            return answer
        try:
            return replace(answer, value=value_of(read.text, question.schema, plain=request.schema is None))
        except InvalidAnswerError as error:
            said = in_one_line(read.text)[:80]
            return replace(answer, kind="malformed", reason=f"the answer is not what was asked for: {error}; it begins {said!r}")

    def _check_price(self, worst: float | None, dollars: float | None) -> None:
        """End the run if a request cost more than it can by the prices: by them, no limit can be kept."""
        if self.max_cost is not None and worst is not None and dollars is not None and dollars > worst * (1 + 1e-9):
            raise self._end(
                f"--max-cost {self.max_cost:g}: the server counts ${dollars:.6f} for a request that costs ${worst:.6f} at most by "
                f"the prices of {self.settings.model}; give its prices with --prices, and the run can go on"
            )

    def _price_what_has_none(self) -> None:
        """Count what this run asked when it had no price and no limit: the limit is of the whole run."""
        today = datetime.now(UTC).date()

        def most(request: Request) -> float | None:
            return self._prices.worst_case(request.model, self._most_tokens(request), request.max_tokens, today)

        left = self._calls.price(self.run, self._prices, most)
        if left:
            self._prices.demand(left)

    def _out_of_money(self, begun: NoMoney, tried: int) -> ModelAnswer:
        if begun.held == 0:
            raise self._end(
                f"--max-cost {self.max_cost:g}: one request may cost ${begun.worst:.4f}, so none can be sent; give at least that"
            )
        self._no_money = begun
        return ModelAnswer(None, kind="no money", reason="what is left of --max-cost may not be enough", tries=tried)

    def _worst_case(self, request: Request, batch: bool = False) -> float | None:
        """Return the most that a request can cost."""
        today = datetime.now(UTC).date()
        return self._prices.worst_case(request.model, self._most_tokens(request), request.max_tokens, today, batch)

    @staticmethod
    def _most_tokens(request: Request) -> int:
        """Return the most tokens that a request can have: one for each byte of text, and pictures twice."""
        texts = [request.fixed, *(part for part in request.parts if isinstance(part, str)), json.dumps(request.schema or "")]
        # What servers add to a request (marks between the messages, an instruction for the schema) is far less than this.
        tokens = 500 + sum(len(text.encode("utf-8", "replace")) for text in texts)
        for part in request.parts:
            if not isinstance(part, str):
                tokens += 2 * picture_tokens(request.backend, *part.shape[:2])
        return tokens

    # Batches.

    async def _batched(self, questions: Sequence[Question]) -> list[ModelAnswer]:
        self.counts.asked += len(questions)
        answers: list[ModelAnswer | None] = [None] * len(questions)
        first: dict[int, ModelAnswer] = {}  # answers that were not what was asked for
        tries = [0] * len(questions)
        now: set[str] = set()  # what was paid for here
        for batch in self._calls.batches(self.settings.model):
            if batch.name is None:
                await self._adopted(batch)
        while waiting := [number for number, answer in enumerate(answers) if answer is None]:
            if self._stopping:
                for number in waiting:
                    answers[number] = ModelAnswer(None, kind="stopped", reason="the run was stopped", tries=tries[number])
                break
            asked = {
                number: self._request(questions[number], self._sample_of(questions[number], number in first)) for number in waiting
            }
            begun, problems = await self._one_batch(questions, asked, tries)
            for number in waiting:
                key = asked[number].key.hex()
                one, problem = begun.get(key), problems.get(key)
                if isinstance(one, Sent):
                    tries[number] += 1
                if isinstance(one, Sent | Wait) and problem is None:
                    found, one = one, self._calls.find(asked[number]) or one
                    if isinstance(one, Reply) and isinstance(found, Sent):
                        now.add(key)
                if isinstance(one, Reply):
                    answer = self._read(questions[number], asked[number], one.status, one.text, found=key not in now)
                    self.counts.found += answer.found
                    answer = replace(answer, dollars=one.dollars if key in now else 0.0, tries=tries[number])
                    if answer.kind == "malformed" and number not in first:
                        first[number] = answer
                        continue
                    if number in first:
                        usage = _added(first[number].usage, answer.usage)
                        answer = replace(answer, usage=usage, dollars=_sum(first[number].dollars, answer.dollars))
                    answers[number] = answer
                elif isinstance(one, NoMoney):
                    answers[number] = self._out_of_money(one, tries[number])
                elif problem is not None and (problem.final or tries[number] >= self.settings.tries):
                    answers[number] = failed = ModelAnswer(None, kind=problem.kind, reason=problem.reason, tries=tries[number])
                    self._count_rejected(failed)
        return [answer for answer in answers if answer is not None]

    @staticmethod
    def _sample_of(question: Question, again: bool) -> int:
        return 2 * question.candidate if again else 2 * question.candidate - 1

    async def _one_batch(
        self, questions: Sequence[Question], asked: Mapping[int, Request], tries: Sequence[int]
    ) -> tuple[dict[str, Any], dict[str, _Problem]]:
        """Send one batch, or collect those that were sent before. Returns what became of each request, and why of the failed ones.

        A request whose answer came is found in the file by the next call.
        """
        wanted: dict[str, tuple[Request, Call, float | None]] = {}
        size = 0
        for number, request in asked.items():
            key = request.key.hex()
            if key not in wanted and len(wanted) < MOST_IN_A_BATCH and size < MOST_BATCH_BYTES:
                question = questions[number]
                call = Call(self.run, question.role, question.milestone, tries[number] + 1)
                wanted[key] = (request, call, self._worst_case(request, batch=True))
                size += sum(len(part) for part in (request.fixed, *request.parts) if isinstance(part, str)) + 500
                size += sum(4 * len(png) // 3 for png in request.pngs if png is not None)
        soon = self._calls.begin_batch_soon(list(wanted.values()), self.max_cost, self.settings.timeout)
        begun, batch = await self._written(soon)
        result = dict(zip(wanted, begun, strict=True))
        problems: dict[str, _Problem] = {}
        if batch is not None:
            problems |= await self._sent_batch(batch, {key: wanted[key][0] for key in batch.calls})
        elif any(isinstance(one, Wait) and one.why == "batch" for one in begun):
            for earlier in self._calls.batches(self.settings.model):
                if earlier.name is None:
                    problems |= await self._adopted(earlier)
                else:
                    problems |= await self._collected(earlier)
        elif any(isinstance(one, Wait) for one in begun):
            await self._pause(POLL_SECONDS)
        return result, problems

    async def _earlier_batches(self) -> ModelAnswer | None:
        """Collect the batches of a run that asked in batches before, for a question that is in one of them."""
        async with self._collecting:
            for batch in self._calls.batches(self.settings.model):
                await (self._adopted(batch) if batch.name is None else self._collected(batch))
        return ModelAnswer(None, kind="stopped", reason="the run was stopped") if self._stopping else None

    async def _sent_batch(self, batch: Batch, requests: Mapping[str, Request]) -> dict[str, _Problem]:
        """Send a batch and wait for it. Returns why requests failed."""
        lines = [{"custom_id": key, "params": wire(request)} for key, request in requests.items()]
        body = json.dumps({"requests": lines}).encode()
        del lines
        problem, lost = _Problem("connection", "the batch could not be sent"), False
        for tried in range(1, self.settings.tries + 1):
            try:
                status, headers, text = await asyncio.wait_for(self._post_bytes(_BATCHES, body), max(self.settings.timeout, 600))
            except Exception as error:  # noqa: BLE001 - as in _one_try
                kind, reason, arrived = self._lost(error)
                problem, headers = _Problem(kind, reason), {}
                if arrived:  # the server may have taken it all the same
                    if (name := await self._name_of(batch)) is not None:
                        return await self._named(batch, name, len(requests))
                    lost = True
            else:
                if status == 200:
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        return await self._named(batch, str(json.loads(text)["id"]), len(requests))
                words = self._words(text)
                problem = _Problem(_kind_of(status), f"the server answered {status} to a batch: {words}", _retry_after(headers))
                if status not in (408, 409, 429) and status < 500:
                    await self._give_up(batch, problem, 0.0)
                    await self._end_if_vain(status, words, text)
                    raise self._end(f"--expert-batch: the server refuses a batch ({status}: {words}); leave it out")
            if self._stopping:
                break
            await self._pause(self._wait_after(problem, tried))
        return await self._give_up(batch, problem, None if lost else 0.0)

    async def _named(self, batch: Batch, name: str, number: int) -> dict[str, _Problem]:
        if re.fullmatch(r"[\w-]{1,200}", name) is None:
            raise self._end("--expert-batch: the server gives a batch a name that is none; leave it out")
        await self._written(self._calls.name_batch_soon(batch, name))
        self.counts.sent += number
        self._say(f"A batch of {number:,} questions is under way ({name}); it may take up to 24 hours, and can be collected later")
        return await self._collected(replace(batch, name=name))

    async def _adopted(self, batch: Batch) -> dict[str, _Problem]:
        """Look whether a batch arrived whose sender was ended before it knew; collect it, or give it up."""
        if (name := await self._name_of(batch)) is None:
            return await self._give_up(batch, _Problem("connection", "the batch never arrived"), None)
        return await self._named(batch, name, len(batch.calls))

    async def _name_of(self, batch: Batch) -> str | None:
        """Return the name of the batch that the server made of this one, by its time and size; None if there is none."""
        known = self._calls.known_batches()
        with contextlib.suppress(Exception):
            status, _, text = await asyncio.wait_for(self._get(f"{_BATCHES}?limit=100"), min(self.settings.timeout, 60))
            for one in json.loads(text)["data"] if status == 200 else ():
                after = datetime.fromisoformat(one["created_at"]) - datetime.fromisoformat(batch.sent)
                size = sum(one["request_counts"].values())
                if one["id"] not in known and after.total_seconds() > -60 and size == len(batch.calls):
                    return str(one["id"])
        return None

    async def _give_up(self, batch: Batch, problem: _Problem, dollars: float | None) -> dict[str, _Problem]:
        outcome = Outcome("failed", dollars, kind=problem.kind)
        await self._written(self._calls.end_batch_soon(batch, dict.fromkeys(batch.calls, outcome)))
        return dict.fromkeys(batch.calls, problem)

    async def _collected(self, batch: Batch) -> dict[str, _Problem]:
        """Wait until a batch has ended, and write what came of it. Returns why requests failed; nothing if the run is stopped."""
        place, pause, failed = f"{_BATCHES}/{urllib.parse.quote(batch.name or '', safe='')}", BATCH_PAUSE_SECONDS, 0
        while not self._stopping:
            ended, results, wait = False, None, None
            try:
                status, headers, text = await asyncio.wait_for(self._get(place), min(self.settings.timeout, 60))
                if status == 200 and (ended := json.loads(text)["processing_status"] == "ended"):
                    status, headers, text = await asyncio.wait_for(self._get(f"{place}/results"), max(self.settings.timeout, 600))
                    results = text if status == 200 else None
            except ModelError:
                raise
            except Exception as error:  # noqa: BLE001 - as in _one_try
                status, headers, text, reason = 0, {}, "", self._lost(error)[1]
            if results is not None:
                return await self._took(batch, results)
            if status in (401, 402, 403):
                await self._end_if_vain(status, self._words(text), text)
            if status in (404, 410):  # deleted, or of another account: what it cost is not known
                return await self._give_up(batch, _Problem("server error", "the server does not know the batch any more"), None)
            failed = 0 if status == 200 and not ended else failed + 1
            if failed > _MOST_LOOKS:
                said = reason if status == 0 else f"{status}: {self._words(text)}"
                raise self._end(
                    f"{self.settings.url}: the batch {batch.name} cannot be collected ({said}); the run can do so later"
                )
            wait = _retry_after(headers)
            await self._pause(pause if wait is None else max(min(wait, LONGEST_WAIT_SECONDS), pause))
            pause = min(pause * 1.5, LONGEST_BATCH_PAUSE_SECONDS)
        return {}

    async def _took(self, batch: Batch, results: str) -> dict[str, _Problem]:
        """Write the results of a batch: one line of JSON for each of its requests, in any order."""
        outcomes: dict[str, Outcome] = {}
        problems: dict[str, _Problem] = {}
        day = day_of(batch.sent)
        wrong: str | None = None
        for line in results.split("\n"):
            try:
                raw = json.loads(line) if line.strip() else {}
                key, result = raw["custom_id"], raw["result"]
                kind, body = result["type"], json.dumps(result.get("message") or result.get("error"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # a line that is cut: its request has no result
            if key not in batch.calls or key in outcomes:
                continue
            if kind == "succeeded":
                try:
                    read = read_reply("anthropic", body)
                except BrokenReplyError as error:
                    problems[key] = _Problem("broken reply", f"the server's reply is no answer: {error}")
                    outcomes[key] = Outcome("failed", None, 200, "broken reply", reply=body[:2000])
                    continue
                dollars = self._prices.dollars(batch.model, read.usage, day, batch=True)
                outcomes[key] = Outcome("answered", dollars, 200, read.kind, usage=read.raw_usage, reply=body)
                self._note_answer(read.usage)
                worst = batch.calls[key].worst
                if worst is not None and dollars is not None and dollars > worst * (1 + 1e-9):
                    wrong = key
            elif kind in ("expired", "canceled"):
                problems[key] = _Problem(kind, f"the server gave it up: {kind}", final=True)
                outcomes[key] = Outcome("failed", 0.0, kind=kind)
            else:
                refused = '"invalid_request_error"' in body
                kind = "rejected" if refused else "server error"
                problems[key] = _Problem(kind, f"the server answered an error: {self._words(body)}", final=refused)
                outcomes[key] = Outcome("rejected" if refused else "failed", 0.0, 400 if refused else None, kind, reply=body[:4000])
        for key in batch.calls.keys() - outcomes.keys():
            problems[key] = _Problem("broken reply", "the batch has no result for it")
            outcomes[key] = Outcome("failed", None, kind="broken reply")
        await self._written(self._calls.end_batch_soon(batch, outcomes))
        if wrong is not None:
            self._check_price(batch.calls[wrong].worst, outcomes[wrong].dollars)
        return problems

    # When requests leave.

    async def _place(self) -> bool:
        """Wait for a place among those under way. Returns False, without one, if nothing is to be sent any more."""
        loop = asyncio.get_running_loop()
        async with self._turn:  # one after another, so that a limit that was just learned holds for all that wait
            while True:
                if self._ended is not None:
                    raise ModelError(str(self._ended))
                if self._stopping:
                    return False
                until = self._paused_until if self._rate is None else max(self._paused_until, self._next_at)
                if (ahead := until - loop.time()) > 0:
                    await self._pause(ahead)
                    continue
                if self._busy >= self.settings.concurrency:
                    self._freed.clear()
                    halted = asyncio.ensure_future(self._halted.wait())
                    freed = asyncio.ensure_future(self._freed.wait())
                    await asyncio.wait((halted, freed), return_when=asyncio.FIRST_COMPLETED)
                    halted.cancel()
                    freed.cancel()
                    continue
                self._busy += 1
                if self._rate is not None:
                    # Who wakes a little late does not slow down all that follow.
                    self._next_at = max(self._next_at, loop.time() - _CATCH_UP_SECONDS) + 1.0 / self._rate
                return True

    async def _acquired(self, lock: asyncio.Lock) -> bool:
        """Wait for a lock, or until nothing more is to be sent: then return False, without it."""
        acquired, halted = asyncio.ensure_future(lock.acquire()), asyncio.ensure_future(self._halted.wait())
        try:
            await asyncio.wait((acquired, halted), return_when=asyncio.FIRST_COMPLETED)
            return acquired.done()
        finally:
            halted.cancel()
            if not acquired.done():
                acquired.cancel()

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until nothing more is to be sent."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._halted.wait(), seconds)

    def _slow_down(self, problem: _Problem) -> None:
        """After a 429: nothing new goes until the server allows it, as all share the limit; and then less quickly."""
        now = asyncio.get_running_loop().time()
        self._paused_until = max(self._paused_until, now + self._wait_after(problem, 1))
        since = now - self._slowed_at
        if since < SLOWED_SECONDS:
            return
        self._slowed_at = now
        if self._rate is None:  # many servers allow more for a moment, so what was sent in the last second is too much
            sent = sum(one > now - SLOWED_SECONDS for one in self._sent_at) / SLOWED_SECONDS
            self._rate = 0.65 * max(sent, FIRST_RATE)
            self._growth = _FIRST_GROWTH
        else:  # what the server has answered since the last time, and no more, is what it allows
            seconds = min(since, _MEASURED_SECONDS)
            answered = sum(one > now - seconds for one in self._answered_at) / seconds
            self._rate = max(min(0.95 * self._rate, max(0.97 * answered, 0.5 * self._rate)), _LOWEST_RATE)
            self._growth = _GROWTH
        self._next_at = max(self._next_at, self._paused_until)

    def _note_answer(self, usage: Usage) -> None:
        self.counts.cached += usage.cache_read
        self.counts.written += usage.cache_write_5m + usage.cache_write_1h
        now = asyncio.get_running_loop().time()
        self._answered_at.append(now)
        if self._rate is not None:  # so that a limit that was raised is noticed
            seconds = now - self._slowed_at
            growth = next(growth for until, growth in self._growth if seconds < until)
            self._rate *= 1.0 + min(growth / self._rate, 0.05)

    def _wait_after(self, problem: _Problem, tried: int) -> float:
        if problem.wait is not None:
            return min(problem.wait, LONGEST_WAIT_SECONDS) * random.uniform(1.0, 1.05)
        return min(BACK_OFF_SECONDS * 2 ** (tried - 1), LONGEST_WAIT_SECONDS) * random.uniform(0.75, 1.25)

    # What ends the run.

    def _end(self, text: str) -> ModelError:
        """Note that all further questions are vain, and return the error that says why."""
        self._ended = self._ended or ModelError(text)
        if self._loop is not None:
            self._halted.set()
        return ModelError(str(self._ended))

    async def _end_if_vain(self, status: int, words: str, body: str) -> None:
        settings = self.settings
        if status == 401:
            raise self._end(f"{settings.key_name}: the server does not take the key ({words})")
        if status == 402 or (
            status in (400, 429) and re.search("credit balance|insufficient_quota|billing_(error|not|hard)", body)
        ):
            raise self._end(f"{settings.url}: there is no credit left ({words}); the run goes on where it was, once there is")
        if status == 403:
            raise self._end(f"{settings.url}: the key may not use {settings.model} ({words})")
        if status == 404:
            models = await self._models_said() or f", or {settings.url} is not its base URL"
            raise self._end(f"--expert-model {settings.model}: the server has no such model ({words}){models}")

    async def _models(self) -> list[str]:
        """Return the models that the server names; none if it names none."""
        with contextlib.suppress(Exception):
            status, _, body = await asyncio.wait_for(self._get(_models_path(self.settings.backend)), 10)
            if status == 200:
                return [str(one["id"]) for one in json.loads(body)["data"] if isinstance(one, dict)]
        return []

    async def _models_said(self) -> str:
        names = await self._models()
        return in_one_line(f"; it has {', '.join(names[:20])}{' and more' * (len(names) > 20)}") if names else ""

    async def _look_at_model(self, pictures: bool) -> None:
        settings = self.settings
        path = f"{_models_path(settings.backend)}/{urllib.parse.quote(settings.model, safe='/')}"
        for tried in range(1, 4):
            headers: Mapping[str, str] = {}
            try:
                status, headers, body = await asyncio.wait_for(self._get(path), min(settings.timeout, 30))
                if status not in (408, 409, 429) and status < 500 or tried == 3:
                    break
            except ModelError:
                raise
            except Exception as error:  # noqa: BLE001 - as in _one_try
                reason = self._lost(error)[1]
                if tried == 3:
                    raise self._end(
                        f"{settings.url}: cannot be reached ({reason}); is the server there, and the URL right?"
                    ) from None
            await self._pause(self._wait_after(_Problem("connection", "", _retry_after(headers)), tried))
        if status == 404:
            if (names := await self._models()) and settings.model not in names:
                raise self._end(f"--expert-model {settings.model}: the server has no such model{await self._models_said()}")
            return  # it names no models, or only as a list
        if status in (401, 402, 403):
            await self._end_if_vain(status, self._words(body), body)
        try:
            raw = json.loads(body) if status == 200 else None
        except ValueError:
            raw = None
        if isinstance(raw, dict):
            self._heed(raw, pictures)

    def _heed(self, raw: Mapping[str, Any], pictures: bool) -> None:
        """Heed what a server says of a model."""
        model = self.settings.model
        if raw.get("lifecycle") == "retired":
            raise self._end(f"--expert-model {model}: the model is retired; take another")
        able = raw.get("capabilities")
        able = able if isinstance(able, dict) else {}

        def cannot(what: str) -> bool:
            return isinstance(able.get(what), dict) and able[what].get("supported") is False

        if pictures and cannot("image_input"):
            raise self._end(f"--expert-model {model}: the model takes no pictures; take another, or --expert-sees state")
        efforts = able.get("effort")
        level = efforts.get(self._effort) if isinstance(efforts, dict) else None
        too_much = isinstance(level, dict) and level.get("supported") is False
        if self._effort is not None and (cannot("effort") or too_much):
            self._effort = None
            self._say(f"{model} knows no such effort: --expert-effort {self.settings.effort} is not sent")
        self._no_batches = cannot("batch")
        if cannot("structured_outputs"):
            self._plain = True
            self._say(f"{model} takes no schema: it is told it in words, and its answers are checked")
        ends = raw.get("retires_at") or raw.get("shutdown_date")
        if isinstance(ends, str):
            self._say(f"--expert-model {model}: the model will be switched off on {in_one_line(ends)[:10]}")

    # The SDKs. Nothing of theirs leaves these functions.

    @functools.cached_property
    def _own_server(self) -> bool:
        """Whether the server is the provider's own, which knows the newest parameters."""
        return urllib.parse.urlsplit(self.settings.url).hostname == "api.openai.com"

    def _pool(self) -> _Pool:
        """Return the client of the SDK that has least to do; made when it is first needed. Raises ModelError."""
        pool = min(self._pools, key=lambda one: one.under_way, default=None)
        if pool is None or (pool.under_way >= _POOL_SIZE and len(self._pools) * _POOL_SIZE < self.settings.concurrency):
            module, refused = _imported(self.settings.backend), ""
            try:
                pool = _Pool(self._made_sdk(module))
            except Exception as error:  # noqa: BLE001 - nothing of it may go on, as it may hold the key
                refused = type(error).__name__
            if refused or pool is None:
                raise self._end(f"--expert-base-url: {self.settings.url} cannot be used ({refused})")
            self._pools.append(pool)
        return pool

    def _made_sdk(self, module: Any) -> Any:
        settings = self.settings
        local = _check_url("--expert-base-url", settings.url)
        http = module.DefaultAsyncHttpxClient(follow_redirects=False, trust_env=not local, event_hooks={"request": [self._strip]})
        limit = module.Timeout(settings.timeout + 5, connect=min(settings.timeout, 10.0))
        options: dict[str, Any] = {
            "api_key": settings.key or _NO_KEY, "base_url": settings.url, "max_retries": 0, "timeout": limit, "http_client": http,
        }  # fmt: skip
        if settings.backend == "anthropic":
            return module.AsyncAnthropic(**options, open_telemetry=False)
        return module.AsyncOpenAI(**options)

    async def _strip(self, request: Any) -> None:
        """Take out of a request what the SDK found in environment variables of its own: organisations, headers, other keys."""
        key = self.settings.key or _NO_KEY
        for name in list(request.headers):
            own = name.lower() in _HEADERS or name.lower().startswith("x-stainless-")
            if not own or (name.lower() in ("authorization", "x-api-key") and request.headers[name] not in (key, f"Bearer {key}")):
                del request.headers[name]
        if "x-api-key" not in request.headers:
            request.headers["authorization"] = f"Bearer {key}"

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, str], str]:
        return await self._sent(lambda sdk, kind: sdk.post(path, body=body, cast_to=kind))

    async def _post_bytes(self, path: str, body: bytes) -> tuple[int, dict[str, str], str]:
        options = {"headers": {"content-type": "application/json"}}
        return await self._sent(lambda sdk, kind: sdk.post(path, content=body, cast_to=kind, options=options))

    async def _get(self, path: str) -> tuple[int, dict[str, str], str]:
        return await self._sent(lambda sdk, kind: sdk.get(path, cast_to=kind))

    async def _sent(self, send: Callable[[Any, Any], Awaitable[Any]]) -> tuple[int, dict[str, str], str]:
        """Return status, headers and body of what came back, whatever the SDK thinks of it, without secrets."""
        module, pool = _imported(self.settings.backend), self._pool()
        pool.under_way += 1
        try:
            response = await send(pool.sdk, importlib.import_module("httpx2").Response)
        except module.APIStatusError as error:
            response = error.response
        finally:
            pool.under_way -= 1
        text = self._calls.redact(response.content.decode("utf-8", "replace"))
        return response.status_code, {name.lower(): value for name, value in response.headers.items()}, text

    async def _count_tokens(self, request: Request) -> int | None:
        body = {name: value for name, value in wire(request, self._own_server).items() if name != "max_tokens"}
        with contextlib.suppress(Exception):
            status, _, text = await asyncio.wait_for(self._post("/v1/messages/count_tokens", body), self.settings.timeout)
            count = json.loads(text).get("input_tokens") if status == 200 else None
            return count if isinstance(count, int) else None
        return None

    def _lost(self, error: Exception) -> tuple[str, str, bool]:
        """Return kind and text of our own for what a library raised, and whether the request may have reached the server."""
        names = [type(one).__name__ for one in _chain(error)]
        if isinstance(error, TimeoutError) or any("Timeout" in name and "Pool" not in name for name in names):
            if any("ConnectTimeout" in name for name in names):
                return "connection", "the server does not answer", False
            return "timeout", f"no answer within {self.settings.timeout:g} s", True
        if any("ConnectError" in name for name in names):
            return "connection", "no connection to the server", False
        if any("Protocol" in name or "ReadError" in name or "WriteError" in name or "Connection" in name for name in names):
            return "connection", "the connection was lost", True
        return "connection", f"the request failed ({names[0]})", True

    def _words(self, body: str) -> str:
        """Return what a server says in an error, in one line, without secrets."""
        text = body
        with contextlib.suppress(ValueError, RecursionError):
            raw = json.loads(body)
            said = raw.get("error", raw) if isinstance(raw, dict) else raw
            said = said.get("message", said) if isinstance(said, dict) else said
            text = said if isinstance(said, str) else json.dumps(said)
        return in_one_line(self._calls.redact(" ".join(text.split())))[:_MOST_WORDS] or "it says nothing"

    async def _written(self, future: Future) -> Any:
        """Wait until the file of calls has it. A file that can't be written ends the run: nothing more could be accounted for."""
        try:
            return await asyncio.wrap_future(future)
        except UserError as error:
            raise self._end(str(error)) from None


def _hand_on(done: queue.SimpleQueue, number: int, future: Future) -> None:
    done.put((number, future))


def wire(request: Request, newest: bool = False) -> dict[str, Any]:
    """Return the body of a request, as its server wants it.

    Args:
        request: what is asked.
        newest: of chat completions, the server is OpenAI's own, whose name for the limit of output the others need not know.
    """
    content = [_block(request.backend, part, png) for part, png in zip(request.parts, request.pngs, strict=True)]
    if request.backend == "anthropic":
        body: dict[str, Any] = {
            "model": request.model, "max_tokens": request.max_tokens, "messages": [{"role": "user", "content": content}],
        }  # fmt: skip
        if request.fixed:
            body["system"] = [{"type": "text", "text": request.fixed, "cache_control": {"type": "ephemeral"}}]
        config: dict[str, Any] = {}
        if request.schema is not None:
            config["format"] = {"type": "json_schema", "schema": request.schema}
        if request.effort is not None:
            config["effort"] = request.effort
        return body | ({"output_config": config} if config else {})
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if request.fixed:
        messages.insert(0, {"role": "system", "content": request.fixed})
    body = {"model": request.model, "messages": messages, "max_completion_tokens" if newest else "max_tokens": request.max_tokens}
    if request.schema is not None:
        form = {"name": "answer", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if request.effort is not None:
        body["reasoning_effort"] = request.effort
    return body


def _block(backend: Backend, part: str | np.ndarray, png: bytes | None) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part.encode("utf-8", "backslashreplace").decode()}
    data = base64.b64encode(png or b"").decode()
    if backend == "anthropic":
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


@functools.cache
def _imported(backend: Backend) -> Any:
    """Return the SDK. Raises ModelError, with what to install, if it is missing."""
    try:
        module = importlib.import_module(backend)
    except ImportError:
        raise ModelError(
            f"the package {backend} is missing, which asks the model; install it with: pip install -r requirements-model.txt"
        ) from None
    for name in ("anthropic", "openai", "httpx2", "httpcore2"):  # what they log of requests is nobody's business
        logging.getLogger(name).setLevel(logging.WARNING)
    return module


def _path(backend: Backend) -> str:
    return "/v1/messages" if backend == "anthropic" else "/chat/completions"


def _models_path(backend: Backend) -> str:
    return "/v1/models" if backend == "anthropic" else "/models"


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _kind_of(status: int) -> str:
    """Return the kind of failure that a status other than 200 means."""
    if status == 408:
        return "timeout"
    if status == 429:
        return "rate limit"
    if status in (503, 529):
        return "overloaded"
    if status >= 500 or status == 409:
        return "server error"
    if status < 400:  # a redirect, or a success without an answer
        return "broken reply"
    return "rejected"


def _is_final(headers: Mapping[str, str]) -> bool:
    return headers.get("x-should-retry") == "false"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a server wishes to be left alone; None if it does not say, or says nonsense."""
    with contextlib.suppress(ValueError, KeyError):
        if 0 <= (seconds := float(headers["retry-after-ms"]) / 1000) < math.inf:
            return seconds
    text = headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return seconds if 0 <= (seconds := float(text)) < math.inf else None
    with contextlib.suppress(TypeError, ValueError):
        when = email.utils.parsedate_to_datetime(text)
        when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        return max((when - datetime.now(UTC)).total_seconds(), 0.0)
    return None


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _added(first: Usage, second: Usage) -> Usage:
    thinking = None if first.thinking is None or second.thinking is None else first.thinking + second.thinking
    return Usage(
        first.input + second.input, first.cache_write_5m + second.cache_write_5m, first.cache_write_1h + second.cache_write_1h,
        first.cache_read + second.cache_read, first.output + second.output, thinking, _sum(first.dollars, second.dollars),
    )  # fmt: skip
