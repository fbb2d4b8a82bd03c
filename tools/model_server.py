#!/usr/bin/env python3
"""A server on this machine that answers like a language model's, to test with and to try things without a key.

python -m tools.model_server --port 8787 --plan "7-9: reset; 12: 429 retry-after=2"
python -m tools.model_server --scripted     # writes the policies of Tallgrass for milestone_trainer.py, see tools/scripted_model.py

http://127.0.0.1:8787 is the base URL of its Messages API, http://127.0.0.1:8787/v1 that of its chat completions. It checks
requests like the real servers, counts tokens of what it was sent, plays a prompt cache and limits of rate, and makes any mistake
that servers and networks make, by plan. What it answers is made from the schema of the request, or by `answer`: a valid answer, and
always the same to the same request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import json
import math
import random
import re
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any, Literal

from common.runtime.flags import parse_command_line
from common.runtime.main import UserError, run_main

FAULTS = {
    "cut": "a body that ends before its length",
    "cut-json": "JSON that ends in the middle, with the right length",
    "empty": "no body",
    "html": "a web page",
    "shape": "JSON of another shape",
    "null": "an answer without content",
    "no-usage": "an answer that does not say what it used",
    "max-tokens": "an answer that was cut off",
    "refusal": "an answer that the model refused",
    "two": "two answers in one",
    "unknown": "an answer that the schema does not allow",
    "extra": "text around the answer",
    "schema-ignored": "plain text where a schema was given",
    "slow": "an answer after so many seconds (slow=5)",
    "trickle": "an answer of one byte each 0.1 s",
    "reset": "a connection that is reset",
    "close": "a connection that is closed",
    "expired": "in a batch: a request that was not answered in time",
    "canceled": "in a batch: a request that was given up",
    "redirect": "a redirect to another port (redirect=http://127.0.0.1:9)",
}
"""Beside these: each status from 400 on, such as "429", with " retry-after=2", " retry-after-ms=50", " retry-after-date=2" or
" no-retry" behind it.
"""

_MOST_BODY = 1 << 28
_ERROR_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error",
}  # fmt: skip
_MESSAGES_FIELDS = {
    "model", "max_tokens", "messages", "system", "output_config", "thinking", "metadata", "stop_sequences", "tools", "tool_choice",
    "stream", "cache_control", "service_tier",
}  # fmt: skip
_CHAT_FIELDS = {
    "model", "messages", "max_tokens", "max_completion_tokens", "response_format", "reasoning_effort", "n", "seed", "stop",
    "stream", "tools", "tool_choice", "temperature", "top_p", "user", "store", "metadata",
}  # fmt: skip
_SCHEMA_WORDS = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "description",
    "title",
}
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


class PlanError(UserError, ValueError):
    """A plan of faults that cannot be read; the text says where."""


@dataclass(frozen=True)
class Model:
    """What a model of this server can do."""

    pictures: bool = True
    effort: bool = True
    batch: bool = True
    lifecycle: Literal["active", "deprecated", "retired"] = "active"
    retires_at: str | None = None
    cached_from: int = 512
    """The fewest tokens that its prompt cache keeps."""


MODELS = {
    "claude-haiku-5-5": Model(),
    "claude-sonnet-5-5": Model(cached_from=1024),
    "claude-haiku-4-5": Model(effort=False, cached_from=4096),
    "claude-sonnet-4-5-20250929": Model(effort=False, lifecycle="deprecated", retires_at="2026-11-30T00:00:00Z"),
    "text-only": Model(pictures=False),
    "gone": Model(lifecycle="retired"),
}


@dataclass(frozen=True)
class Asked:
    """What a model sees of a request."""

    backend: Literal["anthropic", "openai"]
    model: str
    fixed: str
    """The system prompt."""
    parts: tuple[str | bytes, ...]
    """Texts, and pictures as PNG."""
    schema: Mapping[str, Any] | None
    hash: str
    """Of the request as it came."""
    times: int
    """How often it has come so far, with this time."""


@dataclass
class Seen:
    """One question that came."""

    number: int
    hash: str
    fault: str | None
    status: int | None = None


def faults_of(text: str) -> list[str]:
    """Return the faults named in a text, such as "reset, 429 retry-after=2". Raises PlanError."""
    faults = [fault.strip() for fault in text.split(",") if fault.strip()]
    for fault in faults:
        name = fault.split(" ")[0]
        if name.partition("=")[0] not in FAULTS and not re.fullmatch("[45][0-9][0-9]", name):
            raise PlanError(f"--plan: {fault!r} is no fault; there are {', '.join(FAULTS)}, and each status from 400 on")
    return faults


def plan_of(text: str) -> dict[int, str]:
    """Return number of request -> fault of a plan such as "7-9: reset; 12: 429 retry-after=2". Raises PlanError."""
    plan = {}
    for item in filter(str.strip, text.split(";")):
        numbers, colon, fault = item.partition(":")
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", numbers.strip())
        if not colon or match is None or len(faults_of(fault)) != 1:
            raise PlanError(f'--plan: {item.strip()!r} cannot be read; write such as "7-9: reset; 12: 429 retry-after=2"')
        for number in range(int(match[1]), int(match[2] or match[1]) + 1):
            plan[number] = fault.strip()
    return plan


class Refused(Exception):  # noqa: N818 - what a server does, not what goes wrong here
    """A request that the server refuses."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


def answer_by_schema(asked: Asked) -> str:
    """Return an answer that the schema allows, drawn from the request: the same to the same. Without a schema a policy."""
    rng = random.Random(asked.hash)
    if asked.schema is None:
        return 'Walking up may help.\n\n```python\ndef run(state):\n    return "UP"\n```\n'
    return json.dumps(instance(asked.schema, rng))


def scripted_answer(asked: Asked) -> str:
    """Return a policy as `tools.scripted_model` writes it, and to other questions what the schema allows."""
    from tools.scripted_model import answer  # needs the libraries for pictures, which a server alone does not

    return answer(asked) if asked.schema is None else answer_by_schema(asked)


def instance(schema: Mapping[str, Any], rng: random.Random) -> Any:
    """Return a value that a schema allows."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "anyOf" in schema:
        return instance(rng.choice(schema["anyOf"]), rng)
    match schema.get("type"):
        case "object":
            return {name: instance(one, rng) for name, one in schema.get("properties", {}).items()}
        case "array":
            return [instance(schema["items"], rng)] if "items" in schema else []
        case "string":
            return "it looks right"
        case "integer" | "number":
            return rng.randrange(10)
        case "boolean":
            return rng.random() < 0.5
    return None


class ModelServer:
    """The server, in a thread of its own while the context lasts.

    Args:
        key: the key that requests must bring; None asks for none.
        plan: number of the question, from 1 on -> its fault.
        share: this share of the questions has a fault of `share_of`, by `seed`.
        share_of: the faults that `share` draws from.
        seconds: how long an answer takes: this on average, by `seed`, half of it at least.
        answer: what the model answers.
        models: name -> what it can do.
        schemas: "kept"; "ignored", as by some local servers; or "refused" with 400.
        efforts: False refuses an effort with 400, for all models.
        at_once: more questions at the same time get 429.
        a_second: more questions a second get 429, with the time to wait.
        cost: adds `usage.cost` to chat completions, as OpenRouter does.
        endpoints: False leaves out all that is no question: the lists of models, and the counting of tokens.
        batch_seconds: how long a batch takes.
        batch_plan: number of the batch, from 1 on -> what becomes of it: a status such as "529"; "lost", if it is taken but the
            reply never comes; "dropped", if it is not even taken.
        port: 0 takes a free one.

    Attributes:
        seen: all questions that came.
        times: hash of a question -> how often it came.
        batches: id of a batch -> its requests by name, when it ends, and when it was made.
        batches_sent: how many batches came, those that were not taken included.
    """

    def __init__(
        self,
        *,
        key: str | None = None,
        plan: Mapping[int, str] | None = None,
        share: float = 0.0,
        share_of: tuple[str, ...] = (),
        seed: int = 1,
        seconds: float = 0.0,
        answer: Callable[[Asked], str] = answer_by_schema,
        models: Mapping[str, Model] = MODELS,
        schemas: Literal["kept", "ignored", "refused"] = "kept",
        efforts: bool = True,
        at_once: int | None = None,
        a_second: float | None = None,
        cost: float | None = None,
        endpoints: bool = True,
        batch_seconds: float = 0.0,
        batch_plan: Mapping[int, str] | None = None,
        port: int = 0,
    ):
        self.key, self.plan, self.share, self.share_of = key, dict(plan or {}), share, share_of
        self.seconds, self.answer, self.models, self.schemas, self.efforts = seconds, answer, models, schemas, efforts
        self.at_once, self.a_second, self.cost, self.endpoints, self.port = at_once, a_second, cost, endpoints, port
        self.seen: list[Seen] = []
        self.times: Counter[str] = Counter()
        self.batches: dict[str, tuple[dict[str, bytes], float, str]] = {}
        self.batch_plan, self.batches_sent = dict(batch_plan or {}), 0
        self._results: dict[str, str] = {}
        self.batch_seconds = batch_seconds
        self.most_at_once = 0
        self._rng = random.Random(seed)
        self._under_way = 0
        self._allowed, self._filled = a_second or 0.0, time.monotonic()
        self._cached: set[bytes] = set()
        self._ready = threading.Event()
        self._failed: BaseException | None = None

    @property
    def url(self) -> str:
        """Where it listens: the base URL of the Messages API. That of chat completions has "/v1" behind it."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ModelServer:
        self._thread = threading.Thread(target=self._run, name="model server", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self.serve(self._ready))
        except BaseException as error:  # noqa: BLE001 - whoever waits in __enter__ is told
            self._failed = error
            self._ready.set()

    async def serve(self, ready: threading.Event | None = None) -> None:
        """Listen until the context is left, or for ever."""
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=_MOST_BODY, backlog=256)
        self.port = server.sockets[0].getsockname()[1]
        if ready is not None:
            ready.set()
        await self._end.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # One connection: requests one after another.

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one_request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError, ValueError, asyncio.CancelledError):
            pass  # whoever asked is gone, or speaks no HTTP
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(Exception):
                writer.close()

    async def _one_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        length = int(headers.get("content-length", 0))
        body = await reader.readexactly(length) if 0 < length <= _MOST_BODY else b""
        path = "/" + path.partition("?")[0].strip("/").removeprefix("v1/")
        question = method == "POST" and path in ("/messages", "/chat/completions")
        backend: Literal["anthropic", "openai"] = "openai" if path == "/chat/completions" else "anthropic"
        if not question:
            if method == "POST" and path == "/messages/batches":
                self.batches_sent += 1
                if (fault := self.batch_plan.get(self.batches_sent)) is not None:
                    if fault.isdigit():
                        return await self._send(writer, int(fault), json.dumps(_error("anthropic", int(fault), "by plan")).encode())
                    if fault == "lost":
                        self._other(method, path, headers, body)
                    writer.transport.abort()
                    return False
            status, content = self._other(method, path, headers, body)
            text = content if isinstance(content, str) else json.dumps(content)
            return await self._send(writer, status, text.encode())
        seen = self._note(body)
        if seen.fault is not None and not await self._is_right(writer, backend, seen):
            return False
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            further: dict[str, str] = {}
            try:
                self._authorize(headers)
                further = self._limit()
                reply = self._reply(backend, body, seen)
                status = 200
            except Refused as error:
                status, reply = error.status, _error(backend, error.status, str(error))
                if status == 429:
                    further = {"retry-after": str(max(0.0, round((1 - self._allowed) / (self.a_second or 1.0), 3)))}
            if self.seconds:
                await asyncio.sleep(self.seconds * self._rng.uniform(0.5, 1.5))
            if seen.fault is not None and status == 200:
                return await self._send_wrong(writer, backend, seen, reply)
        finally:
            self._under_way -= 1
        seen.status = status
        return await self._send(writer, status, json.dumps(reply).encode(), further)

    def _note(self, body: bytes) -> Seen:
        digest = hashlib.sha256(body).hexdigest()[:16]
        self.times[digest] += 1
        seen = Seen(len(self.seen) + 1, digest, self.plan.get(len(self.seen) + 1))
        if seen.fault is None and self.share_of and self._rng.random() < self.share:
            seen.fault = self._rng.choice(self.share_of)
        self.seen.append(seen)
        return seen

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, body: bytes, headers: Mapping[str, str] | None = None, kind: str = ""
    ) -> bool:
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind or 'application/json'}", f"content-length: {len(body)}"]
        lines += [f"request-id: req_{len(self.seen):06}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        await writer.drain()
        return True

    # Faults.

    async def _is_right(self, writer: asyncio.StreamWriter, backend: str, seen: Seen) -> bool:
        """Make a fault that needs no answer, and return False. Return True for one that spoils an answer."""
        assert seen.fault is not None
        name, *options = seen.fault.split(" ")
        if name == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif name == "close":
            writer.close()
        elif name.isdigit():
            seen.status = int(name)
            headers = {}
            for option in options:
                key, _, value = option.partition("=")
                if key == "no-retry":
                    headers["x-should-retry"] = "false"
                elif key == "retry-after-date":
                    headers["retry-after"] = formatdate(time.time() + float(value), usegmt=True)
                else:
                    headers[key] = value
            said = {402: "there is no credit left", 401: f"invalid key {self.key}", 404: "model: it is not there"}
            text = said.get(seen.status, "a fault by plan")
            await self._send(writer, seen.status, json.dumps(_error(backend, seen.status, text)).encode(), headers)
            writer.close()
        elif name.startswith("redirect"):
            seen.status = 307
            where = name.partition("=")[2] or "http://127.0.0.1:9"
            await self._send(writer, 307, b"", {"location": f"{where}/v1/messages"})
            writer.close()
        else:
            return True
        return False

    async def _send_wrong(self, writer: asyncio.StreamWriter, backend: str, seen: Seen, reply: dict[str, Any]) -> bool:
        assert seen.fault is not None
        name, _, value = seen.fault.partition("=")
        seen.status = 200
        body = json.dumps(reply).encode()
        if name == "cut":
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode())
            writer.write(body[: len(body) // 2])
            await writer.drain()
            return False
        if name == "trickle":
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode())
            for place in range(len(body)):
                writer.write(body[place : place + 1])
                await writer.drain()
                await asyncio.sleep(0.1)
            return True
        if name == "slow":
            await asyncio.sleep(float(value or 5))
        elif name == "cut-json":
            body = body[: len(body) // 2]
        elif name == "empty":
            body = b""
        elif name == "html":
            return await self._send(writer, 200, b"<html><body>Please log in</body></html>", kind="text/html")
        elif name == "shape":
            body = b'{"ok": true, "result": [1, 2]}'
        else:
            body = json.dumps(spoilt(backend, reply, name)).encode()
        return await self._send(writer, 200, body)

    # Answers.

    def _authorize(self, headers: Mapping[str, str]) -> None:
        given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and given != self.key:
            raise Refused(401, f"the key {given!r} is not valid")

    def _limit(self) -> dict[str, str]:
        if self.at_once is not None and self._under_way > self.at_once:
            raise Refused(429, f"more than {self.at_once} requests at once")
        if self.a_second is None:
            return {}
        now = time.monotonic()
        self._allowed = min(self.a_second, self._allowed + (now - self._filled) * self.a_second)
        self._filled = now
        if self._allowed < 1:
            raise Refused(429, f"more than {self.a_second:g} requests a second")
        self._allowed -= 1
        return {
            "anthropic-ratelimit-requests-limit": f"{self.a_second:g}",
            "anthropic-ratelimit-requests-remaining": str(int(self._allowed)),
        }

    def _other(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any] | str]:
        """Answer what is no question."""
        try:
            if path == "/seen":
                return 200, {"questions": len(self.seen), "times": dict(self.times)}
            self._authorize(headers)
            if not self.endpoints:
                raise Refused(404, "there is no such page")
            if method == "GET" and path == "/models":
                return 200, {"object": "list", "data": [self._described(name) for name in self.models], "has_more": False}
            if method == "GET" and path.startswith("/models/"):
                return 200, self._described(path.removeprefix("/models/"))
            if method == "POST" and path == "/messages/count_tokens":
                asked, _ = self._read("anthropic", body, Seen(0, "", None), counting=True)
                return 200, {"input_tokens": _tokens(asked)}
            if path.startswith("/messages/batches"):
                return 200, self._batch(method, path.removeprefix("/messages/batches").strip("/"), body)
            raise Refused(404, "there is no such page")
        except Refused as error:
            return error.status, _error("anthropic", error.status, str(error))

    def _batch(self, method: str, path: str, body: bytes) -> dict[str, Any] | str:
        """Take a batch, tell how far it is, or hand out its results: one line of JSON for each of its requests."""
        if method == "POST" and not path:
            try:
                requests = json.loads(body)["requests"]
                named = {request["custom_id"]: json.dumps(request["params"]).encode() for request in requests}
            except (ValueError, KeyError, TypeError):
                raise Refused(400, "requests: each needs a custom_id and params") from None
            if not named or len(named) < len(requests):
                raise Refused(400, "requests: custom_id must be unique, and there must be one")
            if len(named) > 100_000 or len(body) > 256_000_000:
                raise Refused(413, "a batch has at most 100000 requests and 256 MB")
            number = f"msgbatch_{len(self.batches) + 1:04}"
            self.batches[number] = (named, time.monotonic() + self.batch_seconds, datetime.now(UTC).isoformat())
            return self._batch("GET", number, b"")
        if method == "GET" and not path:
            return {"data": [self._batch("GET", name, b"") for name in reversed(self.batches)], "has_more": False}
        number, _, what = path.partition("/")
        if method != "GET" or number not in self.batches or what not in ("", "results"):
            raise Refused(404, f"batch: {path}")
        named, ready, made = self.batches[number]
        ended = time.monotonic() >= ready
        if what and not ended:
            raise Refused(400, "the batch has not ended")
        if what:
            if number not in self._results:  # answered once, however often they are fetched; in no order
                lines = [json.dumps({"custom_id": name, "result": self._batched(raw)}) + "\n" for name, raw in named.items()]
                self._results[number] = "".join(reversed(lines))
            return self._results[number]
        counts = {"processing": 0 if ended else len(named), "succeeded": len(named) if ended else 0}
        return {
            "id": number, "type": "message_batch", "processing_status": "ended" if ended else "in_progress",
            "request_counts": {**counts, "errored": 0, "canceled": 0, "expired": 0}, "created_at": made,
            "expires_at": made, "ended_at": made if ended else None,
            "results_url": f"{self.url}/v1/messages/batches/{number}/results" if ended else None,
        }  # fmt: skip

    def _batched(self, raw: bytes) -> dict[str, Any]:
        """Answer one request of a batch. By plan it may be "expired" or "canceled", or have an error by its status."""
        seen = self._note(raw)
        fault = (seen.fault or "").split(" ")[0]
        if fault in ("expired", "canceled"):
            return {"type": fault}
        try:
            if fault.isdigit():
                raise Refused(int(fault), "a fault by plan")
            reply = self._reply("anthropic", raw, seen)
        except Refused as error:
            return {"type": "errored", "error": _error("anthropic", error.status, str(error))}
        reply["usage"]["service_tier"] = "batch"
        return {"type": "succeeded", "message": spoilt("anthropic", reply, fault) if fault else reply}

    def _described(self, name: str) -> dict[str, Any]:
        if name not in self.models:
            raise Refused(404, f"model: {name}")
        model = self.models[name]
        return {
            "id": name, "type": "model", "object": "model", "display_name": name, "created_at": "2026-01-01T00:00:00Z",
            "created": 0, "lifecycle": model.lifecycle, "retires_at": model.retires_at, "owned_by": "this machine",
            "max_input_tokens": 1_000_000, "max_tokens": 128_000,
            "capabilities": {
                "image_input": {"supported": model.pictures}, "batch": {"supported": model.batch},
                "effort": {"supported": model.effort, "xhigh": {"supported": False}},
                "structured_outputs": {"supported": self.schemas == "kept"},
            },
        }  # fmt: skip

    def _reply(self, backend: Literal["anthropic", "openai"], body: bytes, seen: Seen) -> dict[str, Any]:
        asked, raw = self._read(backend, body, seen)
        text = self.answer(asked)
        if self.schemas == "ignored" and asked.schema is not None:
            text = f"I would say: {text}"
        tokens, out, thinking = _tokens(asked), math.ceil(len(text.encode("utf-8", "replace")) / 4), 7
        most = raw.get("max_tokens") or raw.get("max_completion_tokens") or 1 << 30
        cut = out + thinking > most
        if cut:
            text, out = text[: 4 * max(most - thinking, 0)], max(most - thinking, 0)
        marked = _marked(raw) if backend == "anthropic" else asked.fixed.encode()
        kept = min(math.ceil(len(marked) / 4), tokens)
        written = read = 0
        if marked and kept >= self.models[asked.model].cached_from:
            if marked in self._cached:
                read = kept
            else:
                written = kept
                self._cached.add(marked)
        number = f"{seen.number:06}"
        if backend == "anthropic":
            return {
                "id": f"msg_{number}", "type": "message", "role": "assistant", "model": asked.model,
                "content": [{"type": "thinking", "thinking": "", "signature": "c2ln"}, {"type": "text", "text": text}],
                "stop_reason": "max_tokens" if cut else "end_turn", "stop_sequence": None,
                "usage": {
                    "input_tokens": tokens - read - written, "output_tokens": out + thinking,
                    "cache_creation_input_tokens": written, "cache_read_input_tokens": read,
                    "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
                    "output_tokens_details": {"thinking_tokens": thinking}, "service_tier": "standard",
                },
            }  # fmt: skip
        usage: dict[str, Any] = {
            "prompt_tokens": tokens, "completion_tokens": out + thinking, "total_tokens": tokens + out + thinking,
            "prompt_tokens_details": {"cached_tokens": read}, "completion_tokens_details": {"reasoning_tokens": thinking},
        }  # fmt: skip
        if self.cost is not None:
            usage["cost"] = self.cost
        message = {"role": "assistant", "content": text, "refusal": None}
        return {
            "id": f"chatcmpl-{number}", "object": "chat.completion", "created": 0, "model": asked.model, "usage": usage,
            "choices": [{"index": 0, "message": message, "finish_reason": "length" if cut else "stop", "logprobs": None}],
        }  # fmt: skip

    def _read(
        self, backend: Literal["anthropic", "openai"], body: bytes, seen: Seen, counting: bool = False
    ) -> tuple[Asked, dict[str, Any]]:
        """Return what a request asks. Raises Refused for one that the real servers would refuse."""
        try:
            raw = json.loads(body)
        except ValueError:
            raise Refused(400, "the body is not JSON") from None
        if not isinstance(raw, dict):
            raise Refused(400, "the body is no object")
        known = _MESSAGES_FIELDS if backend == "anthropic" else _CHAT_FIELDS
        if further := sorted(raw.keys() - known):
            raise Refused(400, f"{further[0]}: Extra inputs are not permitted")
        name = str(raw.get("model"))
        if name not in self.models:
            raise Refused(404, f"model: {name}")
        if self.models[name].lifecycle == "retired":
            raise Refused(404, f"model: {name} is retired")
        choice = raw.get("tool_choice")
        if isinstance(choice, dict) and choice.get("type") in ("tool", "any") and backend == "anthropic":
            raise Refused(400, "tool_choice: a tool cannot be forced while the model thinks")
        if backend == "anthropic":
            fixed, parts, schema, effort = _read_messages(raw, counting)
        else:
            fixed, parts, schema, effort = _read_chat(raw)
        if effort is not None and (effort not in _EFFORTS or not self.efforts or not self.models[name].effort):
            field = "output_config.effort" if backend == "anthropic" else "reasoning_effort"
            raise Refused(400, f"{field}: {effort!r} is not supported by this model")
        if schema is not None:
            if self.schemas == "refused":
                field = "output_config.format" if backend == "anthropic" else "response_format"
                raise Refused(400, f"{field}: structured output is not supported")
            _check_schema(schema, strict=backend == "anthropic")
        if any(isinstance(part, bytes) for part in parts) and not self.models[name].pictures:
            raise Refused(400, f"messages: {name} does not take images")
        return Asked(backend, name, fixed, parts, schema, seen.hash, self.times[seen.hash]), raw


def spoilt(backend: str, reply: dict[str, Any], fault: str) -> dict[str, Any]:
    """Return an answer with a fault in it."""
    messages = backend == "anthropic"
    if fault == "no-usage":
        return {name: value for name, value in reply.items() if name != "usage"}
    if messages:
        block = reply["content"][-1]
        if fault == "null":
            return reply | {"content": None}
        if fault == "max-tokens":
            return reply | {"stop_reason": "max_tokens", "content": [block | {"text": block["text"][:5]}]}
        if fault == "refusal":
            return reply | {"stop_reason": "refusal", "content": []}
        return reply | {"content": [block | {"text": _spoilt_text(block["text"], fault)}]}
    choice = reply["choices"][0]
    message = choice["message"]
    if fault == "null":
        changed = choice | {"message": message | {"content": None}}
    elif fault == "max-tokens":
        changed = choice | {"message": message | {"content": message["content"][:5]}, "finish_reason": "length"}
    elif fault == "refusal":
        changed = choice | {"message": message | {"content": None, "refusal": "I can't help with that"}}
    else:
        changed = choice | {"message": message | {"content": _spoilt_text(message["content"], fault)}}
    return reply | {"choices": [changed]}


def _spoilt_text(text: str, fault: str) -> str:
    match fault:
        case "two":
            return f"{text}\n{text}"
        case "extra":
            return f"Here it is:\n{text}\nI hope this helps."
        case "schema-ignored":
            return "I would go up, I think."
        case "unknown":
            return re.sub(r'"(A|B|UP|DOWN|LEFT|RIGHT|START|SELECT)"', '"TURBO"', text) if '"' in text else "TURBO"
    return text


def _error(backend: str, status: int, text: str) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(status, "api_error")
    if backend == "anthropic":
        return {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_x"}
    return {"error": {"message": text, "type": kind, "param": None, "code": None}}


def _read_messages(raw: dict[str, Any], counting: bool) -> tuple[str, tuple[str | bytes, ...], Any, Any]:
    most = raw.get("max_tokens")
    if not counting and (not isinstance(most, int) or not 1 <= most <= 128_000):
        raise Refused(400, "max_tokens: must be from 1 to 128000")
    marks = json.dumps(raw).count('"cache_control"')
    if marks > 4:
        raise Refused(400, f"{marks} blocks with cache_control, 4 are allowed")
    system = raw.get("system", "")
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    fixed = "".join(part for part in _parts("system", blocks) if isinstance(part, str))
    config = raw.get("output_config") or {}
    if further := sorted(config.keys() - {"format", "effort"}):
        raise Refused(400, f"output_config.{further[0]}: Extra inputs are not permitted")
    form = config.get("format")
    if form is not None and (form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict)):
        raise Refused(400, "output_config.format: needs a type and a schema")
    return fixed, _user_parts(raw), None if form is None else form["schema"], config.get("effort")


def _read_chat(raw: dict[str, Any]) -> tuple[str, tuple[str | bytes, ...], Any, Any]:
    messages = raw.get("messages")
    fixed = ""
    if isinstance(messages, list) and messages and messages[0].get("role") in ("system", "developer"):
        content = messages[0].get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        fixed = "".join(part for part in _parts("messages.0", blocks) if isinstance(part, str))
        raw = raw | {"messages": messages[1:]}
    form = raw.get("response_format")
    schema = None
    if form is not None and form.get("type") == "json_schema":
        schema = (form.get("json_schema") or {}).get("schema")
        if not isinstance(schema, dict) or not form["json_schema"].get("name"):
            raise Refused(400, "response_format.json_schema: needs a name and a schema")
    return fixed, _user_parts(raw), schema, raw.get("reasoning_effort")


def _user_parts(raw: dict[str, Any]) -> tuple[str | bytes, ...]:
    messages = raw.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[0], dict) or messages[0].get("role") != "user":
        raise Refused(400, "messages: the first must be a user's")
    if messages[-1].get("role") == "assistant":
        raise Refused(400, "messages: an answer cannot be begun for this model")
    parts: list[str | bytes] = []
    for number, message in enumerate(messages):
        content = message.get("content")
        if not content:
            raise Refused(400, f"messages.{number}: content must not be empty")
        parts += _parts(f"messages.{number}", [{"type": "text", "text": content}] if isinstance(content, str) else content)
    return tuple(parts)


def _parts(where: str, blocks: Any) -> Iterator[str | bytes]:
    if not isinstance(blocks, list):
        raise Refused(400, f"{where}: content must be a text or a list of blocks")
    for number, block in enumerate(blocks):
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text" and isinstance(block.get("text"), str):
            if further := sorted(block.keys() - {"type", "text", "cache_control"}):
                raise Refused(400, f"{where}.{number}.{further[0]}: Extra inputs are not permitted")
            yield block["text"]
        elif kind == "image" and isinstance(source := block.get("source"), dict) and source.get("type") == "base64":
            if source.get("media_type") != "image/png":
                raise Refused(400, f"{where}.{number}: this server looks at image/png only")
            yield _png(f"{where}.{number}", source.get("data"))
        elif kind == "image_url" and isinstance(image := block.get("image_url"), dict):
            head, _, data = str(image.get("url")).partition(",")
            if head != "data:image/png;base64":
                raise Refused(400, f"{where}.{number}: this server looks at image/png in data URLs only")
            yield _png(f"{where}.{number}", data)
        else:
            raise Refused(400, f"{where}.{number}: is no text and no image")


def _png(where: str, data: Any) -> bytes:
    """Return a picture after looking at all of it. Raises Refused for what is no PNG, or a damaged one."""
    try:
        raw = base64.b64decode(data, validate=True)
        width, height = png_size(raw)
    except (TypeError, ValueError, binascii.Error, struct.error, zlib.error) as error:
        raise Refused(400, f"{where}: Could not process image ({error})") from None
    if max(width, height) > 8000:
        raise Refused(400, f"{where}: image dimensions exceed 8000 pixels")
    return raw


def png_size(raw: bytes) -> tuple[int, int]:
    """Return a PNG's width and height. Raises ValueError or struct.error if its chunks or their checksums are wrong."""
    if raw[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("it is no PNG")
    place, kinds = 8, []
    while place < len(raw):
        length, kind = struct.unpack(">I4s", raw[place : place + 8])
        (crc,) = struct.unpack(">I", raw[place + 8 + length : place + 12 + length])
        if zlib.crc32(raw[place + 4 : place + 8 + length]) != crc:
            raise ValueError("its checksum is wrong")
        kinds.append(kind)
        place += 12 + length
    if kinds[0] != b"IHDR" or kinds[-1] != b"IEND" or b"IDAT" not in kinds:
        raise ValueError("it is not whole")
    width, height = struct.unpack(">II", raw[16:24])
    return width, height


def _marked(raw: dict[str, Any]) -> bytes:
    """Return the beginning of a request up to its last mark for the prompt cache."""
    blocks = raw["system"] if isinstance(raw.get("system"), list) else []
    for message in raw["messages"]:
        blocks = [*blocks, *(message["content"] if isinstance(message["content"], list) else [])]
    last = max((place for place, block in enumerate(blocks) if block.get("cache_control")), default=-1)
    # A schema and an effort stand before all else, so that another one is another beginning.
    before = json.dumps(raw.get("output_config"), sort_keys=True) if last >= 0 else ""
    return (before + "".join(json.dumps(block.get("text") or block.get("source")) for block in blocks[: last + 1])).encode()


def _tokens(asked: Asked) -> int:
    """Return the tokens of a request: one for 4 bytes of text and for 28x28 pixels."""
    count = math.ceil((len(asked.fixed.encode("utf-8", "replace")) + len(json.dumps(asked.schema or ""))) / 4)
    for part in asked.parts:
        if isinstance(part, str):
            count += math.ceil(len(part.encode("utf-8", "replace")) / 4)
        else:
            width, height = png_size(part)
            count += math.ceil(width / 28) * math.ceil(height / 28)
    return count


def _check_schema(schema: Any, strict: bool, where: str = "schema") -> None:
    """Raise Refused for a schema that structured output does not take."""
    if not isinstance(schema, dict):
        raise Refused(400, f"{where}: is no schema")
    if strict and (further := sorted(schema.keys() - _SCHEMA_WORDS)):
        raise Refused(400, f"{where}: For '{schema.get('type')}' type, property '{further[0]}' is not supported")
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise Refused(400, f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    for name, one in (schema.get("properties") or {}).items():
        _check_schema(one, strict, f"{where}.{name}")
    for one in schema.get("anyOf") or []:
        _check_schema(one, strict, where)
    if "items" in schema:
        _check_schema(schema["items"], strict, where)


@dataclass
class Args:
    port: int = 8787
    """Where to listen, on 127.0.0.1. 0 takes a free port."""
    plan: str = ""
    """Faults by number of the question, such as "7-9: reset; 12: 429 retry-after=2". Empty for none."""
    share: float = 0.0
    """The share of the questions that have one of the faults of `--faults`."""
    faults: str = "529, 500, reset, cut, slow=5"
    """The faults that `--share` draws from."""
    seconds: float = 0.25
    """How long an answer takes, on average."""
    seed: int = 1
    """Seed of the faults and times."""
    a_second: float | None = None
    """Questions a second, above which 429 is answered. None for no limit."""
    schemas: Literal["kept", "ignored", "refused"] = "kept"
    """What is done with the schema of a request."""
    models: tuple[str, ...] = field(default_factory=tuple)
    """Further names of models that it has."""
    scripted: bool = False
    """Policies are written as a model would: wrong ones first, and better ones only if the prompt tells what went wrong."""


def main(args: Args) -> int:
    """Serve until Ctrl-C."""
    server = ModelServer(
        plan=plan_of(args.plan), share=args.share, share_of=tuple(faults_of(args.faults)), seed=args.seed, seconds=args.seconds,
        a_second=args.a_second, schemas=args.schemas, answer=scripted_answer if args.scripted else answer_by_schema, port=args.port,
        models={**MODELS, **dict.fromkeys(args.models, Model())},
    )  # fmt: skip
    with server:
        print(f"A model listens at {server.url}, for chat completions at {server.url}/v1; Ctrl-C ends it", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"\n{len(server.seen)} questions, {len(server.times)} different ones")
    return 0


if __name__ == "__main__":
    args = parse_command_line(Args, __doc__)
    run_main("model_server.py", lambda: main(args), interrupted="ended")
