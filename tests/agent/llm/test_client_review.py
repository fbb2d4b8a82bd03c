"""What a hostile reading of the client found: each of these went wrong once."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from agent.llm import client as client_module
from agent.llm.client import ModelError, _retry_after
from agent.llm.prices import Prices
from agent.llm.replies import BrokenReplyError, InvalidAnswerError, read_reply, value_of
from tests.agent.llm.test_client import BACKENDS, KEY, SCHEMA, Asking, question
from tools.model_server import MODELS, Model, ModelServer

pytest.importorskip("anthropic")
pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(client_module, "BACK_OFF_SECONDS", 0.005)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_of_other_variables_is_sent(tmp_path, backend, monkeypatch):
    for name in ("ANTHROPIC_AUTH_TOKEN", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY", "ANTHROPIC_PROFILE"):
        monkeypatch.setenv(name, "somebody-elses")
    for name in ("ANTHROPIC_CUSTOM_HEADERS", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, "X-Other: somebody-elses\nAuthorization: Bearer somebody-elses\nX-Api-Key: somebody-elses")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        got = []

        def listen():
            connection, _ = listening.accept()
            got.append(connection.recv(1 << 16).decode())
            connection.close()

        thread = threading.Thread(target=listen)
        thread.start()

        class Server:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        with Asking(tmp_path, Server, backend, tries=1) as asking:
            assert asking.ask(0)[0].kind == "connection"
        thread.join()
    assert "somebody-elses" not in got[0] and KEY in got[0]


@pytest.mark.parametrize("share", [0.5, 40.0])
def test_a_price_above_the_most_ends_a_run_that_has_a_limit(tmp_path, share):
    """The server said $0.25 a request where $0.016 was held: a limit of a dollar was passed sixteen times."""
    with ModelServer() as server, Asking(tmp_path, server, "openai") as asking:
        worst = asking.client.worst_case(question())
    with ModelServer(cost=share * worst) as server:
        with Asking(tmp_path, server, "openai", max_cost=50 * worst) as asking:
            if share <= 1:
                assert "no money" not in [answer.kind for answer in asking.ask(*range(90))] and asking.money.held <= 50 * worst
                return
            with pytest.raises(ModelError, match="--max-cost .*the server counts .0.* at most by the prices .*--prices"):
                asking.ask(*range(30))
            assert len(server.seen) == 1 and asking.money.spent == pytest.approx(share * worst) and asking.money.held < 50 * worst
        with Asking(tmp_path, server, "openai", run="no limit") as asking:
            assert all(answer.kind is None for answer in asking.ask(*range(5)))


def test_a_limit_counts_what_was_asked_before_there_was_a_price(tmp_path):
    entry = {"from": "2026-01-01", "input": 1000, "output": 1, "cache_write_5m": 1000, "cache_write_1h": 1000, "cache_read": 1000}
    (tmp_path / "prices.json").write_text(json.dumps({"models": {"local": [entry]}}))
    with ModelServer(models={**MODELS, "local": Model()}, plan={5: "cut"}) as server:
        with Asking(tmp_path, server, model="local", tries=1) as asking:
            asking.ask(*range(5))
            assert asking.money.spent == 0 and asking.money.unpriced == 5
        prices = Prices(tmp_path / "prices.json")
        with Asking(tmp_path, server, model="local", prices=prices, max_cost=4.0) as asking:
            money = asking.money
            assert money.spent > 2 and money.unconfirmed > 2 and money.unpriced == 0
            assert asking.ask(9)[0].kind == "no money" and len(server.seen) == 5
        with Asking(tmp_path, server, model="local", run="other") as asking:
            asking.ask(*range(20, 22))
        with pytest.raises(client_module.UserError, match="the price of local is not known"):
            Asking(tmp_path, server, run="other", max_cost=4.0)  # another model now, but the run's money is one


def test_what_the_file_has_is_free_when_the_money_is_out(tmp_path):
    with ModelServer() as server:
        with Asking(tmp_path, server, run="rich") as asking:
            asking.ask(*range(2000, 2005))
            worst = asking.client.worst_case(question(9))
        with Asking(tmp_path, server, max_cost=1.01 * worst, concurrency=1) as asking:
            kinds = [asking.ask(number)[0].kind for number in range(50, 300)]
            assert kinds[0] is None and kinds[-1] == "no money"
            assert [answer.kind for answer in asking.ask(*range(2000, 2005))] == [None] * 5


@pytest.mark.parametrize("schemas", ["kept", "refused"])
def test_a_run_whose_effort_or_schema_was_left_out_at_the_start_is_replayed(tmp_path, schemas):
    """The file was searched with the effort of the flags only: all of a run of claude-haiku-4-5 was "not recorded"."""
    with ModelServer(schemas=schemas, answer=lambda asked: json.dumps({"reason": "x", "button": "UP"})) as server:
        with Asking(tmp_path, server, model="claude-haiku-4-5") as asking:
            asking.client.start()
            assert [answer.kind for answer in asking.ask(*range(4))] == [None] * 4 and len(server.seen) == 4
        with Asking(tmp_path, server, model="claude-haiku-4-5", replay=True, key=None) as asking:
            assert [answer.kind for answer in asking.ask(*range(4))] == [None] * 4
            assert "4 answers found again" in asking.client.summary()[0]
        with Asking(tmp_path, server, model="claude-haiku-4-5") as asking:  # resumed, without a look at the model
            assert all(answer.found for answer in asking.ask(*range(4))) and len(server.seen) == 4


def test_equal_questions_are_one_refusal(tmp_path):
    with ModelServer(plan={1: "400", 2: "400"}, seconds=0.1) as server, Asking(tmp_path, server) as asking:
        kinds = [answer.kind for answer in asking.ask(0, 0, 0, 0)]  # was "the server refuses all that it is asked"
        assert kinds == ["rejected"] * 4 and asking.ask(1)[0].kind is None


def test_stopping_is_quick(tmp_path):
    """Those that waited for a place, or for their next try, waited on after Ctrl-C: for up to a minute."""
    with ModelServer(seconds=4.0, plan={1: "529 retry-after=30"}) as server:
        with Asking(tmp_path, server, concurrency=1, timeout=20.0) as asking:
            first = asking.client.ask_soon(question(0))
            while not asking.client.counts.sent:
                time.sleep(0.01)
            time.sleep(0.2)
            asking.client.stop()
            began = time.monotonic()
            assert first.result(timeout=5).kind == "stopped" and time.monotonic() - began < 1
        with Asking(tmp_path, server, concurrency=1, timeout=20.0) as asking:
            futures = [asking.client.ask_soon(question(number)) for number in range(5)]
            while asking.client.counts.sent < 1:
                time.sleep(0.01)
            time.sleep(0.1)
            asking.client.stop()
            began = time.monotonic()
            assert [future.result(timeout=2).kind for future in futures[1:]] == ["stopped"] * 4 and time.monotonic() - began < 1


def test_behind_a_gateway_somebody_may_have_answered(tmp_path):
    with ModelServer(plan={1: "504", 2: "502", 3: "503"}) as server, Asking(tmp_path, server) as asking:
        assert asking.ask(0)[0].tries == 4
        assert [row["dollars"] is None for row in asking.calls.rows()] == [True, True, False, False]


def test_a_key_in_a_list_of_models_is_not_shown(tmp_path):
    models = {f"a-{KEY}": Model()}
    with ModelServer(key=KEY, models=models) as server, Asking(tmp_path, server) as asking:
        with pytest.raises(ModelError, match="it has a-.key.") as error:
            asking.client.start()
        assert KEY not in str(error.value)


def test_a_look_at_the_model_is_tried_again(tmp_path, monkeypatch):
    with ModelServer(models={"gone": MODELS["gone"]}) as server, Asking(tmp_path, server, model="gone") as asking:
        get, calls = asking.client._get, []

        async def busy(path):
            calls.append(path)
            return (529, {}, "{}") if len(calls) == 1 else await get(path)

        monkeypatch.setattr(asking.client, "_get", busy)
        with pytest.raises(ModelError, match="retired"):
            asking.client.start()


def test_a_limit_of_rate_that_mentions_billing_is_no_end(tmp_path):
    words = "You exceeded your current quota, please check your plan and billing details"
    with ModelServer() as server, Asking(tmp_path, server) as asking:
        reply, calls = asking.client._post, []

        async def limited(path, body):
            calls.append(path)
            return (429, {}, json.dumps({"error": {"message": words}})) if len(calls) == 1 else await reply(path, body)

        asking.client._post = limited
        assert asking.ask(0)[0].kind is None and len(calls) == 2


def test_a_date_without_a_zone_is_one_of_greenwich(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        when = time.strftime("%a, %d %b %Y %H:%M:%S -0000", time.gmtime(time.time() + 30))
        assert 25 < _retry_after({"retry-after": when}) <= 30
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_answer_that_says_something_twice_is_none():
    with pytest.raises(InvalidAnswerError, match="twice"):
        value_of('{"reason": "x", "button": "A", "button": "B"}', SCHEMA)


def test_an_error_behind_a_gateway_is_no_answer():
    choice = {"message": {"role": "assistant", "content": ""}, "finish_reason": "error"}
    with pytest.raises(BrokenReplyError, match="an error of the server"):
        read_reply("openai", json.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 0}}))


def test_questions_are_taken_when_they_can_soon_be_sent(tmp_path):
    with ModelServer(seconds=0.02) as server, Asking(tmp_path, server, concurrency=4) as asking:
        taken = []

        def questions():
            for number in range(60):
                taken.append(number)
                yield question(number)

        done = []
        for number, answer in asking.client.ask_each(questions()):
            done.append(number)
            assert answer.kind is None and len(taken) - len(done) < 2 * 4
        assert sorted(done) == list(range(60)) and server.most_at_once == 4


def test_what_a_model_cannot_do_is_not_asked_of_it(tmp_path):
    models = {**MODELS, "single": Model(batch=False)}
    with ModelServer(models=models) as server:
        with Asking(tmp_path, server, effort="xhigh") as asking:
            asking.client.start()
            assert "knows no such effort: --expert-effort xhigh is not sent" in asking.said[-1]
        with Asking(tmp_path, server, model="single") as asking:
            asking.client.start()
            with pytest.raises(ModelError, match="--expert-batch: single takes no batches"):
                asking.client.ask_batch([question()])
        assert server.seen == []
