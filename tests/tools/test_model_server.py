"""The local model server: it answers like a model's, refuses what the real ones refuse, and makes its mistakes by plan."""

from __future__ import annotations

import base64
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from tools.model_server import FAULTS, ModelServer, PlanError, faults_of, plan_of

SCHEMA = {
    "type": "object", "properties": {"reason": {"type": "string"}, "button": {"enum": ["A", "B", "UP"]}},
    "required": ["reason", "button"], "additionalProperties": False,
}  # fmt: skip
PICTURE = base64.b64encode(cv2.imencode(".png", np.zeros((288, 320, 3), np.uint8))[1].tobytes()).decode()


def messages(text="where?", **changes):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
    whole = {
        "model": "claude-haiku-5-5", "max_tokens": 200, "system": [{"type": "text", "text": "x" * 4000}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}, image]}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
    }  # fmt: skip
    whole["system"][0]["cache_control"] = {"type": "ephemeral"}
    return {name: value for name, value in (whole | changes).items() if value is not None}


def chat(text="where?", **changes):
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    whole = {
        "model": "claude-haiku-5-5", "max_tokens": 200,
        "messages": [{"role": "system", "content": "x" * 4000},
                     {"role": "user", "content": [{"type": "text", "text": text}, image]}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
    }  # fmt: skip
    return {name: value for name, value in (whole | changes).items() if value is not None}


def send(server, path, body, method="POST", key=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(method, path, json.dumps(body), {"authorization": f"Bearer {key}"} if key else {})
    reply = connection.getresponse()
    raw = reply.read()
    connection.close()
    return reply.status, json.loads(raw) if raw[:1] == b"{" else raw, reply.headers


def test_messages_are_answered_by_the_schema_and_counted():
    with ModelServer() as server:
        first, second, other = (send(server, "/v1/messages", messages(text))[1] for text in ("where?", "where?", "why?"))
        answer = json.loads(first["content"][-1]["text"])
        assert answer["button"] in ("A", "B", "UP") and first["content"] == second["content"]
        assert first["stop_reason"] == "end_turn" and first["content"][0]["type"] == "thinking"
        usage = first["usage"]
        assert usage["cache_creation_input_tokens"] > 1000 and usage["cache_read_input_tokens"] == 0
        assert other["usage"]["cache_read_input_tokens"] == usage["cache_creation_input_tokens"]
        counted = send(server, "/v1/messages/count_tokens", messages(max_tokens=None))[1]["input_tokens"]
        assert counted == usage["input_tokens"] + usage["cache_creation_input_tokens"]
        assert [seen.status for seen in server.seen] == [200, 200, 200] and sorted(server.times.values()) == [1, 2]


def test_chat_completions_count_cached_tokens_within():
    with ModelServer(cost=0.25) as server:
        first, second = (send(server, "/v1/chat/completions", chat())[1] for _ in range(2))
        assert json.loads(first["choices"][0]["message"]["content"])["button"] in ("A", "B", "UP")
        assert first["choices"][0]["finish_reason"] == "stop" and first["usage"]["cost"] == 0.25
        assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == 1000
        assert second["usage"]["prompt_tokens"] == first["usage"]["prompt_tokens"] > 1000


def test_without_a_schema_a_policy_is_written():
    with ModelServer() as server:
        reply = send(server, "/v1/messages", messages(output_config=None))[1]
        assert "def run(state)" in reply["content"][-1]["text"]
        short = send(server, "/v1/messages", messages(output_config=None, max_tokens=9))[1]
        assert short["stop_reason"] == "max_tokens" and len(short["content"][-1]["text"]) == 8


REFUSED = {
    "an unknown field": (messages(temperatures=1), 400, "temperatures"),
    "a temperature": (messages(temperature=0.5), 400, "temperature"),
    "a forced tool": (messages(tool_choice={"type": "tool", "name": "answer"}), 400, "forced"),
    "no maximum": (messages(max_tokens=None), 400, "max_tokens"),
    "no messages": (messages(messages=[]), 400, "messages"),
    "an answer begun": (messages(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]), 400, "begun"),
    "an unknown model": (messages(model="gpt-9"), 404, "gpt-9"),
    "a retired model": (messages(model="gone"), 404, "retired"),
    "pictures for a model without eyes": (messages(model="text-only"), 400, "does not take images"),
    "an effort for a model without it": (messages(model="claude-haiku-4-5"), 400, "effort"),
    "a schema that is open": (
        messages(output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}}), 400, "additionalProperties",
    ),
    "a picture that is none": (
        messages(messages=[{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE[:-40]}}]}]), 400, "image",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_real_servers_refuse_is_refused(name):
    body, status, word = REFUSED[name]
    with ModelServer() as server:
        got, reply, _ = send(server, "/v1/messages", body)
        assert got == status and word in reply["error"]["message"] and reply["type"] == "error"


def test_models_and_keys():
    with ModelServer(key="secret") as server:
        assert send(server, "/v1/messages", messages())[0] == 401
        assert send(server, "/v1/messages", messages(), key="secret")[0] == 200
        assert send(server, "/v1/models/text-only", None, "GET", "secret")[1]["capabilities"]["image_input"] == {"supported": False}
        assert send(server, "/v1/models/gpt-9", None, "GET", "secret")[0] == 404
        names = [model["id"] for model in send(server, "/v1/models", None, "GET", "secret")[1]["data"]]
        assert "claude-haiku-5-5" in names
        assert send(server, "/seen", None, "GET")[1]["questions"] == 2
    with ModelServer(endpoints=False) as server:
        assert send(server, "/v1/models", None, "GET")[0] == 404


def test_batches_take_their_time_and_answer_each_request():
    requests = [{"custom_id": f"q{number}", "params": messages(f"state {number}")} for number in range(4)]
    with ModelServer(plan={2: "expired", 3: "529"}, batch_seconds=0.2) as server:
        batch = send(server, "/v1/messages/batches", {"requests": requests})[1]
        assert batch["processing_status"] == "in_progress" and batch["request_counts"]["processing"] == 4
        place = f"/v1/messages/batches/{batch['id']}"
        assert send(server, f"{place}/results", None, "GET")[0] == 400
        time.sleep(0.25)
        assert send(server, place, None, "GET")[1]["processing_status"] == "ended"
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.request("GET", f"{place}/results")
        lines = [json.loads(line) for line in connection.getresponse().read().split(b"\n") if line]
        connection.close()
        assert [(line["custom_id"], line["result"]["type"]) for line in reversed(lines)] == [
            ("q0", "succeeded"), ("q1", "expired"), ("q2", "errored"), ("q3", "succeeded"),
        ]  # fmt: skip
        assert lines[0]["result"]["message"]["usage"]["service_tier"] == "batch"
        assert send(server, "/v1/messages/batches", {"requests": [requests[0], requests[0]]})[0] == 400
        assert send(server, "/v1/messages/batches/absent", None, "GET")[0] == 404


def test_schemas_may_be_ignored_or_refused():
    with ModelServer(schemas="ignored") as server:
        assert send(server, "/v1/messages", messages())[1]["content"][-1]["text"].startswith("I would say")
    with ModelServer(schemas="refused") as server:
        assert send(server, "/v1/chat/completions", chat())[0] == 400
        assert send(server, "/v1/chat/completions", chat(response_format=None))[0] == 200


def test_faults_come_by_plan():
    plan = (
        "1: 429 retry-after-ms=50; 2: 529 no-retry; 3: cut; 4: empty; 5: html; 6: shape; 7: reset; 8: close; 9: redirect; 10: two"
    )
    with ModelServer(plan=plan_of(plan)) as server:
        got = []
        for _ in range(11):
            try:
                got.append(send(server, "/v1/messages", messages()))
            except (http.client.HTTPException, ConnectionError) as error:
                got.append(type(error).__name__)
        assert got[0][0] == 429 and got[0][2]["retry-after-ms"] == "50"
        assert got[1][0] == 529 and got[1][2]["x-should-retry"] == "false"
        assert got[2] == "IncompleteRead" and got[3][:2] == (200, b"") and got[4][1][:6] == b"<html>"
        assert got[5][1] == {"ok": True, "result": [1, 2]} and got[6] == "ConnectionResetError"
        assert got[7] == "RemoteDisconnected" and got[8][0] == 307
        assert got[9][1]["content"][-1]["text"].count("reason") == 2
        assert got[10][0] == 200 and json.loads(got[10][1]["content"][-1]["text"])
        assert [seen.fault for seen in server.seen][-2:] == ["two", None]


@pytest.mark.parametrize("backend", ["messages", "chat/completions"])
@pytest.mark.parametrize("fault", ["null", "no-usage", "max-tokens", "refusal", "unknown", "extra", "schema-ignored"])
def test_spoilt_answers(backend, fault):
    with ModelServer(plan={1: fault}) as server:
        body = messages() if backend == "messages" else chat()
        spoilt, right = (send(server, f"/v1/{backend}", body)[1] for _ in range(2))
        assert spoilt.keys() <= right.keys() and (fault == "no-usage") == ("usage" not in spoilt)
        assert fault == "no-usage" or {**spoilt, "id": "", "usage": ""} != {**right, "id": "", "usage": ""}
    assert fault in FAULTS


def test_cut_json_has_the_right_length():
    with ModelServer(plan={1: "cut-json"}) as server, pytest.raises(ValueError):
        send(server, "/v1/messages", messages())


def test_shares_are_drawn_by_seed():
    def faults(seed):
        with ModelServer(share=0.5, share_of=("500", "empty"), seed=seed) as server:
            for _ in range(30):
                send(server, "/v1/messages", messages())
            return [seen.fault for seen in server.seen]

    first = faults(1)
    assert first == faults(1) != faults(2) and set(first) == {None, "500", "empty"}


def test_limits_of_rate():
    with ModelServer(at_once=2, seconds=0.2) as server, ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda _: send(server, "/v1/messages", messages())[0], range(6)))
        assert got.count(200) >= 2 and 429 in got and server.most_at_once == 6
    with ModelServer(a_second=5) as server:
        got = [send(server, "/v1/messages", messages()) for _ in range(7)]
        assert [status for status, *_ in got].count(200) in (5, 6)
        assert 0 < float(got[-1][2]["retry-after"]) <= 0.2
        assert got[0][2]["anthropic-ratelimit-requests-limit"] == "5"
        time.sleep(0.25)
        assert send(server, "/v1/messages", messages())[0] == 200


def test_a_plan_that_cannot_be_read_is_told():
    assert plan_of("7-8: reset; 12: 429 retry-after=2; ") == {7: "reset", 8: "reset", 12: "429 retry-after=2"}
    assert faults_of("529, slow=5") == ["529", "slow=5"]
    for wrong in ("7", "7: gone wrong", "x: reset", "7: 200"):
        with pytest.raises(PlanError, match="^--plan: "):
            plan_of(wrong)
