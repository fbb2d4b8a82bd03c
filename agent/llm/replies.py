"""What came back from a server: whether it is an answer, and whether the answer is what was asked for.

Nothing that a server sends is believed. There are servers that accept a schema and ignore it, proxies that answer with a web page
and status 200, and connections that end in the middle of a reply.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.llm.prices import Backend, Usage, usage_of

_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),), "integer": (int,),
    "number": (int, float),
}  # fmt: skip


class BrokenReplyError(ValueError):
    """A reply that is no answer; the text says why."""


class InvalidAnswerError(ValueError):
    """An answer that is not what the schema asks for; the text says why."""


@dataclass(frozen=True)
class ReadReply:
    """A reply of the right shape."""

    text: str
    """What the model wrote, without its thinking."""
    kind: str | None
    """Why it is no answer after all: "refusal", "cut off", or "malformed" if the model ended in another way. None if it is."""
    reason: str
    """Of `kind`, in words."""
    usage: Usage
    raw_usage: Mapping[str, Any]


def read_reply(backend: Backend, body: str) -> ReadReply:
    """Read the body of a reply with status 200. Raises BrokenReplyError if it has not the shape that the API promises."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise BrokenReplyError("it is empty" if not body.strip() else "it is not JSON, or cut short") from None
    if not isinstance(raw, dict):
        raise BrokenReplyError("it is no object")
    text, stopped = _messages(raw) if backend == "anthropic" else _chat(raw)
    usage = usage_of(backend, raw.get("usage"))
    if usage is None:
        raise BrokenReplyError("it does not say what it used")
    kind = {"max_tokens": "cut off", "model_context_window_exceeded": "cut off", "length": "cut off", "refusal": "refusal"}
    kind |= {"content_filter": "refusal"}
    if stopped in ("end_turn", "stop_sequence", "stop"):
        return ReadReply(text, None, "", usage, raw["usage"])
    named = kind.get(stopped, "malformed")
    return ReadReply(text, named, f"the model ended with {stopped[:40]!r}", usage, raw["usage"])


def _messages(raw: dict[str, Any]) -> tuple[str, str]:
    content, stopped = raw.get("content"), raw.get("stop_reason")
    if raw.get("type") != "message" or raw.get("role") != "assistant" or not isinstance(content, list):
        raise BrokenReplyError("it is no message")
    if not isinstance(stopped, str):
        raise BrokenReplyError("it does not say why it ended")
    texts = []
    for block in content:
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise BrokenReplyError("a block of it is none")
        if block["type"] == "text":
            if not isinstance(block.get("text"), str):
                raise BrokenReplyError("a block of text has no text")
            texts.append(block["text"])
    return "".join(texts), stopped


def _chat(raw: dict[str, Any]) -> tuple[str, str]:
    choices = raw.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BrokenReplyError("it has no choices")
    message, stopped = choices[0].get("message"), choices[0].get("finish_reason")
    if not isinstance(message, dict) or not isinstance(content := message.get("content"), str | None):
        raise BrokenReplyError("it has no message")
    if not isinstance(stopped, str):
        raise BrokenReplyError("it does not say why it ended")
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        return content or "", "refusal"
    if stopped == "error":  # some gateways say so of a provider behind them
        raise BrokenReplyError("it ended with an error of the server")
    if content is None and stopped == "stop":
        raise BrokenReplyError("it has no content")
    return content or "", stopped


def value_of(text: str, schema: Mapping[str, Any], *, plain: bool = False) -> Any:
    """Return the JSON value that a model wrote.

    Args:
        text: what it wrote.
        schema: what it should be.
        plain: the server knows no schemas, and the model was only told: the value may stand in a fenced block, alone in it.

    Raises InvalidAnswerError if it is not exactly one value, or not what the schema asks for.
    """
    text = text.strip()
    if plain and len(blocks := _FENCED.findall(text)) == 1:
        text = blocks[0].strip()
    try:
        value = json.loads(text, object_pairs_hook=_without_doubles)
    except InvalidAnswerError:
        raise
    except (ValueError, RecursionError):
        raise InvalidAnswerError("it is not one JSON value") from None
    if (complaint := complaint_of(value, schema)) is not None:
        raise InvalidAnswerError(complaint)
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise InvalidAnswerError("it says something twice")
    return value


def complaint_of(value: Any, schema: Mapping[str, Any], where: str = "it") -> str | None:
    """Return what is wrong with a value by a schema, None if nothing is. Words of JSON Schema that we do not use are not known."""
    if "anyOf" in schema:
        complaints = [complaint_of(value, one, where) for one in schema["anyOf"]]
        return None if None in complaints else f"{where} is none of what is allowed ({complaints[0]})"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{where} is not {json.dumps(schema['const'])[:60]}"
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        return f"{where} is none of the words that are allowed"
    types = schema.get("type")
    names = [types] if isinstance(types, str) else types or []
    if names and not any(_is(value, name) for name in names):
        return f"{where} is not of type {' or '.join(names)}"
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                return f"{where} has no {name!r}"
        for name, one in value.items():
            if name in properties:
                if (complaint := complaint_of(one, properties[name], repr(name))) is not None:
                    return complaint
            elif schema.get("additionalProperties") is False:
                return f"{where} has a {name[:40]!r} that does not belong there"
    if isinstance(value, list) and "items" in schema:
        for one in value:
            if (complaint := complaint_of(one, schema["items"], f"an item of {where}")) is not None:
                return complaint
    return None


def _is(value: Any, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and value == other
