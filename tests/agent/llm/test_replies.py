"""Replies are believed only after checking."""

from __future__ import annotations

import json

import pytest

from agent.llm.prices import Usage
from agent.llm.replies import BrokenReplyError, InvalidAnswerError, complaint_of, read_reply, value_of

SCHEMA = {
    "type": "object", "required": ["reason", "button"], "additionalProperties": False,
    "properties": {
        "reason": {"type": "string"},
        "button": {"enum": ["A", "B", "unsure"]},
        "steps": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "path": {"type": "array", "items": {"type": "integer"}},
    },
}  # fmt: skip


def message(**changes):
    whole = {
        "type": "message", "role": "assistant", "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 2},
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "A"}, {"type": "text", "text": "B"}],
    }  # fmt: skip
    return json.dumps(whole | changes)


def completion(message=None, finish_reason="stop", **changes):
    choice = {"message": message or {"role": "assistant", "content": "A"}, "finish_reason": finish_reason}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}} | changes)


def test_answers_are_read():
    read = read_reply("anthropic", message())
    assert (read.text, read.kind, read.usage) == ("AB", None, Usage(3, output=2))
    read = read_reply("openai", completion())
    assert (read.text, read.kind, read.usage) == ("A", None, Usage(3, output=2))


@pytest.mark.parametrize("stopped, kind", [("max_tokens", "cut off"), ("refusal", "refusal"), ("tool_use", "malformed")])
def test_messages_that_are_no_answer_but_paid_for(stopped, kind):
    read = read_reply("anthropic", message(stop_reason=stopped, content=[]))
    assert read.kind == kind and read.usage == Usage(3, output=2) and stopped in read.reason


def test_completions_that_are_no_answer_but_paid_for():
    refusal = {"role": "assistant", "content": None, "refusal": "no"}
    assert read_reply("openai", completion(refusal)).kind == "refusal"
    assert read_reply("openai", completion(finish_reason="length")).kind == "cut off"
    assert read_reply("openai", completion(finish_reason="content_filter")).kind == "refusal"
    assert read_reply("openai", completion({"content": None}, "tool_calls")).kind == "malformed"


BROKEN = [
    "", "<html>", message()[:40], "[]", "{}", '{"ok": true}', message(content=None), message(content=["x"]),
    message(stop_reason=None),
    message(content=[{"type": "text"}]), message(usage=None), message(usage={"input_tokens": None, "output_tokens": 2}),
    message(role="user"), message(type="error"), "[" * 100_000,
]  # fmt: skip
BROKEN_CHAT = [
    "", "null", "{}", completion(choices=[]), completion(choices=[None]), completion({"content": None}), completion({"content": 3}),
    completion(finish_reason=None), completion(usage=None), completion(choices=None),
]  # fmt: skip


@pytest.mark.parametrize("body", BROKEN)
def test_messages_of_another_shape_are_broken(body):
    with pytest.raises(BrokenReplyError):
        read_reply("anthropic", body)


@pytest.mark.parametrize("body", BROKEN_CHAT)
def test_completions_of_another_shape_are_broken(body):
    with pytest.raises(BrokenReplyError):
        read_reply("openai", body)


def test_values_are_checked_by_the_schema():
    for right in ({"reason": "", "button": "A"}, {"reason": "x", "button": "unsure", "steps": None, "path": [1, 2]}):
        assert value_of(f" {json.dumps(right)}\n", SCHEMA) == right


WRONG = {
    "[]": "is not of type object",
    '{"reason": "x"}': "has no 'button'",
    '{"reason": "x", "button": "a"}': "'button' is none of the words",
    '{"reason": 3, "button": "A"}': "'reason' is not of type string",
    '{"reason": "x", "button": "A", "more": 1}': "'more' that does not belong",
    '{"reason": "x", "button": "A", "steps": "3"}': "'steps' is none of what is allowed",
    '{"reason": "x", "button": "A", "steps": true}': "'steps' is none of what is allowed",
    '{"reason": "x", "button": "A", "path": [1, "2"]}': "an item of 'path' is not of type integer",
    '{"reason": "x", "button": "A"} {"reason": "x", "button": "B"}': "not one JSON value",
    'Here: {"reason": "x", "button": "A"}': "not one JSON value",
    '```json\n{"reason": "x", "button": "A"}\n```': "not one JSON value",
    "": "not one JSON value",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said(text):
    with pytest.raises(InvalidAnswerError, match=WRONG[text]):
        value_of(text, SCHEMA)


def test_a_fenced_block_counts_where_the_server_knows_no_schemas():
    block = '```json\n{"reason": "x", "button": "A"}\n```'
    assert value_of(f"So:\n{block}\n", SCHEMA, plain=True)["button"] == "A"
    for text in (f"{block}\n{block}", 'So: {"reason": "x", "button": "A"}', '{"reason": "x", "button": "A"} yes'):
        with pytest.raises(InvalidAnswerError):
            value_of(text, SCHEMA, plain=True)


def test_constants_are_of_one_type():
    assert complaint_of(True, {"const": 1}) is not None and complaint_of(1.0, {"enum": [1]}) is not None
    assert complaint_of(1, {"const": 1}) is None
