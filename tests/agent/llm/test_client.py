"""Asking a model: each mistake of servers and networks ends as an answer or as a named kind, and no dollar and no key gets lost."""

from __future__ import annotations

import base64
import json
import logging
import random
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from agent.llm import client as client_module
from agent.llm.calls import CallFile
from agent.llm.client import ModelClient, ModelError, ModelSettings, Question, settings_from_flags, wire
from agent.llm.prices import PriceError, Prices
from tools.model_server import MODELS, Model, ModelServer, answer_by_schema, plan_of

pytest.importorskip("anthropic")
pytest.importorskip("openai")

ROOT = Path(__file__).resolve().parents[3]
KEY = "sk-test-0123456789/abcdef+XYZ"
BACKENDS = ["anthropic", "openai"]
SCHEMA = {
    "type": "object", "properties": {"reason": {"type": "string"}, "button": {"enum": ["A", "B", "UP", "DOWN"]}},
    "required": ["reason", "button"], "additionalProperties": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(client_module, "BACK_OFF_SECONDS", 0.005)
    monkeypatch.setattr(client_module, "LONGEST_WAIT_SECONDS", 0.25)
    monkeypatch.setattr(client_module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(client_module, "FIRST_RATE", 1000.0)


def question(number=0, **changes):
    picture = np.full((16, 16, 3), number % 256, np.uint8)
    return Question(**(dict(fixed="rules " * 400, parts=(f"state {number}", picture), schema=SCHEMA) | changes))


def settings_for(server, backend="anthropic", **changes):
    url = server.url + ("/v1" if backend == "openai" else "")
    whole = dict(model="claude-haiku-5-5", backend=backend, url=url, key=KEY, key_name="THE_KEY", timeout=10.0, effort="low")
    return ModelSettings(**(whole | changes))


class Asking:
    """A client of a server, with a file of calls."""

    def __init__(self, tmp_path, server, backend="anthropic", *, run="a run", max_cost=None, replay=False, prices=None, **changes):
        settings = settings_for(server, backend, **changes)
        self.said = []
        self.calls = CallFile(tmp_path / "calls.sqlite", settings.secrets, write=not replay)
        self.client = ModelClient(
            settings, self.calls, prices or Prices(), run, max_cost=max_cost, replay=replay, say=self.said.append
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.calls.close()

    def ask(self, *numbers, **changes):
        return self.client.ask([question(number, **changes) for number in numbers])

    @property
    def money(self):
        return self.calls.money("a run")


@pytest.mark.parametrize("backend", BACKENDS)
def test_answers_are_checked_counted_and_found_again(tmp_path, backend):
    with ModelServer(key=KEY) as server:
        with Asking(tmp_path, server, backend) as asking:
            answers = asking.ask(*range(20), 3)
            assert all(answer.kind is None and answer.value["button"] in ("A", "B", "UP", "DOWN") for answer in answers)
            assert answers[3].value == answers[-1].value and len(server.seen) == 20
            assert asking.money.spent == pytest.approx(sum(answer.dollars for answer in answers)) and asking.money.spent > 0
            assert asking.money.unconfirmed == asking.money.under_way == 0
            # The first went alone, so that the beginning of all prompts was written to the cache once.
            usages = [json.loads(row["usage"]) for row in asking.calls.rows()]
            if backend == "anthropic":
                assert [usage["cache_creation_input_tokens"] > 0 for usage in usages] == [True] + [False] * 19
                assert all(usage["cache_read_input_tokens"] > 500 for usage in usages[1:])
        with Asking(tmp_path, server, backend, run="another run", key=KEY) as asking:
            again = asking.ask(*range(20))
            assert [answer.value for answer in again] == [answer.value for answer in answers[:20]]
            assert all(answer.found and answer.dollars == 0 for answer in again) and len(server.seen) == 20
        with Asking(tmp_path, server, backend, replay=True, key=None) as asking:
            asking.client._post = None  # nothing is sent
            assert [answer.value for answer in asking.ask(*range(20))] == [answer.value for answer in answers[:20]]
            assert asking.ask(99)[0].kind == "not recorded"


AFTER_ONE = [
    "429", "429 retry-after=0.05", "429 retry-after-ms=50", "429 retry-after-date=0", "429 retry-after=200", "408", "409", "500",
    "503", "529", "cut", "cut-json", "empty", "html", "shape", "null", "no-usage", "slow", "trickle", "reset", "close", "redirect",
]  # fmt: skip
UNPAID = ("408", "409", "429", "500", "503", "529", "redirect")


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_mistake_costs_one_more_request(tmp_path, backend):
    # One question after another: the first try of each meets its fault, the second is answered.
    plan = {2 * number + 1: fault for number, fault in enumerate(AFTER_ONE)}
    with ModelServer(key=KEY, plan=plan) as server, Asking(tmp_path, server, backend, timeout=1.0) as asking:
        for number, fault in enumerate(AFTER_ONE):
            began = time.monotonic()
            (answer,) = asking.ask(number)
            assert (answer.kind, answer.tries) == (None, 2), fault
            assert time.monotonic() - began < 3, fault
        assert len(server.seen) == 2 * len(AFTER_ONE)
        lost = [row for row in asking.calls.rows() if row["state"] == "failed" and row["dollars"] is None]
        # Those whose reply never came, or came broken, may have been billed: they count with their most.
        assert len(lost) == sum(fault.split(" ")[0] not in UNPAID for fault in AFTER_ONE)
        assert asking.money.unconfirmed == pytest.approx(sum(row["worst"] for row in lost))


FOR_EVER = {
    "429": "rate limit", "408": "timeout", "500": "server error", "409": "server error", "503": "overloaded", "529": "overloaded",
    "cut": "connection", "empty": "broken reply", "html": "broken reply", "shape": "broken reply", "null": "broken reply",
    "no-usage": "broken reply", "slow": "timeout", "reset": "connection", "close": "connection", "redirect": "broken reply",
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_tries_in_vain_have_a_kind_and_are_asked_again(tmp_path, backend):
    plan = {2 * number + 1 + more: fault for number, fault in enumerate(FOR_EVER) for more in (0, 1)}
    with ModelServer(key=KEY, plan=plan) as server, Asking(tmp_path, server, backend, tries=2, timeout=0.8) as asking:
        got = {}
        for number, fault in enumerate(FOR_EVER):
            (answer,) = asking.ask(number)
            got[fault] = answer.kind
            assert answer.value is None and answer.text is None and answer.tries == 2 and answer.reason
        assert got == FOR_EVER and len(server.seen) == 2 * len(FOR_EVER)
        assert all(answer.kind is None for answer in asking.ask(*range(len(FOR_EVER))))  # no accident is kept


PAID = {"max-tokens": ("cut off", 1), "refusal": ("refusal", 1), "two": ("malformed", 2), "unknown": ("malformed", 2),
        "extra": ("malformed", 2), "schema-ignored": ("malformed", 2)}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fault", PAID)
def test_answers_that_are_none_are_paid_for_and_kept(tmp_path, backend, fault):
    kind, requests = PAID[fault]
    with ModelServer(key=KEY, plan={1: fault, 2: fault}) as server, Asking(tmp_path, server, backend) as asking:
        (answer,) = asking.ask(0)
        assert (answer.kind, answer.value, len(server.seen)) == (kind, None, requests)
        assert answer.dollars == pytest.approx(asking.money.spent) and answer.dollars > 0 and answer.reason
        (again,) = asking.ask(0)
        assert (again.kind, again.dollars, len(server.seen)) == (kind, 0.0, requests)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_that_is_gone_costs_nothing(tmp_path, backend):
    with ModelServer() as server:
        pass
    with Asking(tmp_path, server, backend) as asking:
        answers = asking.ask(0, 1)
        assert [(answer.kind, answer.reason) for answer in answers] == [("connection", "no connection to the server")] * 2
        assert asking.money.held == 0 and len(list(asking.calls.rows())) == 10


def test_two_clients_of_one_file_ask_once(tmp_path):
    with ModelServer(seconds=0.05) as server, Asking(tmp_path, server) as one, Asking(tmp_path, server, run="other") as two:
        questions = [question(number) for number in range(40)]
        futures = [client.ask_soon(each) for each in questions for client in (one.client, two.client)]
        answers = [future.result() for future in futures]
        assert [answer.value for answer in answers[::2]] == [answer.value for answer in answers[1::2]]
        assert len(server.seen) == 40 and sum(answer.found for answer in answers) == 40


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ModelServer() as server, Asking(tmp_path, server) as asking:
        assert asking.ask(0)[0].kind is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_invalid_answer_is_asked_for_once_more(tmp_path, backend):
    with ModelServer(key=KEY, plan={1: "unknown"}) as server, Asking(tmp_path, server, backend) as asking:
        (answer,) = asking.ask(0)
        assert answer.kind is None and len(server.seen) == 2 and len(server.times) == 1  # the same words, as another sample
        assert [row["sample"] for row in asking.calls.rows()] == [1, 2]
        assert answer.dollars == pytest.approx(asking.money.spent)
        (other,) = asking.ask(0, candidate=2)
        assert [row["sample"] for row in asking.calls.rows()] == [1, 2, 3] and other.kind is None


def test_a_server_that_ignores_schemas_gives_no_labels(tmp_path):
    with ModelServer(schemas="ignored") as server, Asking(tmp_path, server) as asking:
        assert {answer.kind for answer in asking.ask(*range(5))} == {"malformed"} and len(server.seen) == 10


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_without_schemas_is_told_in_words(tmp_path, backend):
    def answer(asked):
        assert asked.schema is None and '"enum": ["A", "B", "UP", "DOWN"]' in asked.fixed
        return 'I go up.\n```json\n{"reason": "up", "button": "UP"}\n```'

    with ModelServer(schemas="refused", answer=answer) as server, Asking(tmp_path, server, backend) as asking:
        assert [one.value["button"] for one in asking.ask(*range(6))] == ["UP"] * 6
        assert len(server.seen) == 7 and len(asking.said) == 1 and "takes no schema" in asking.said[0]
        with Asking(tmp_path, server, backend, replay=True) as replay:
            assert [one.value["button"] for one in replay.ask(*range(6))] == ["UP"] * 6


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_effort_that_is_refused_is_left_out(tmp_path, backend):
    with ModelServer(efforts=False) as server, Asking(tmp_path, server, backend) as asking:
        assert all(answer.kind is None for answer in asking.ask(*range(4)))
        assert len(server.seen) == 5 and ["knows no effort" in text for text in asking.said] == [True]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_wrong_with_one_question_is_its_abstention(tmp_path, backend):
    with ModelServer(key=KEY, plan={3: "400", 5: "413", 6: "400"}) as server, Asking(tmp_path, server, backend) as asking:
        kinds = [asking.ask(number)[0].kind for number in range(7)]
        assert kinds == [None, None, "rejected", None, "rejected", "rejected", None] and len(server.seen) == 7
        assert asking.money.unconfirmed == 0


def test_if_the_first_three_are_refused_the_run_ends_with_the_servers_words(tmp_path):
    with ModelServer(plan=plan_of("1-99: 400")) as server, Asking(tmp_path, server) as asking:
        with pytest.raises(ModelError, match="refuses all that it is asked: .*a fault by plan"):
            asking.ask(*range(50))
        with pytest.raises(ModelError, match="refuses all"):
            asking.ask(60)
        assert len(server.seen) == 6  # three, each with the schema and without


ENDS = {
    "401": "THE_KEY: the server does not take the key .invalid key \\[key\\]",
    "402": "there is no credit left .*there is no credit left",
    "403": "the key may not use claude-haiku-5-5",
    "404": "--expert-model claude-haiku-5-5: the server has no such model .*; it has claude-haiku-5-5, claude-sonnet-5-5",
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fault", ENDS)
def test_what_makes_all_vain_ends_the_run(tmp_path, backend, fault):
    with ModelServer(key=KEY, plan=plan_of(f"2-99: {fault}")) as server, Asking(tmp_path, server, backend) as asking:
        assert asking.ask(0)[0].kind is None
        with pytest.raises(ModelError, match=ENDS[fault]) as error:
            asking.ask(1, 2, 3)
        assert len(server.seen) <= 4 and "\n" not in str(error.value)

        with Asking(tmp_path, server, backend, replay=True) as replay:  # what came is in the file
            assert replay.ask(0)[0].kind is None


def test_no_retry_is_obeyed(tmp_path):
    with ModelServer(plan={1: "529 no-retry"}) as server, Asking(tmp_path, server) as asking:
        assert asking.ask(0)[0].kind == "overloaded" and len(server.seen) == 1


def test_after_429_nothing_new_goes_until_the_server_allows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "LONGEST_WAIT_SECONDS", 60.0)
    with ModelServer(plan={5: "429 retry-after=0.5"}) as server, Asking(tmp_path, server) as asking:
        asking.ask(0)
        arrived = []
        note = server._note
        monkeypatch.setattr(server, "_note", lambda body: (arrived.append(time.monotonic()), note(body))[1])
        for number in (1, 2, 3):
            asking.ask(number)
        futures = [asking.client.ask_soon(question(4))]
        while len(arrived) < 4:
            time.sleep(0.005)
        time.sleep(0.05)
        futures += [asking.client.ask_soon(question(number)) for number in (5, 6)]
        assert all(future.result().kind is None for future in futures)
        assert all(0.5 <= later - arrived[3] < 3 for later in arrived[4:]) and len(arrived) == 7


def test_the_first_goes_alone_and_only_one_that_is_sent_is_the_first(tmp_path, monkeypatch):
    with ModelServer(seconds=0.1) as server:
        arrived = []
        note = server._note
        monkeypatch.setattr(server, "_note", lambda body: (arrived.append(time.monotonic()), note(body))[1])
        for run, numbers in (("a run", range(4)), ("another run", range(8))):  # the first four of the other run are found
            with Asking(tmp_path, server, run=run, timeout=5.0) as asking:
                assert all(answer.kind is None for answer in asking.ask(*numbers))
        assert len(arrived) == 8
        for first in (0, 4):
            gaps = [later - arrived[first] for later in arrived[first + 1 : first + 4]]
            assert min(gaps) >= 0.05 and max(gaps) - min(gaps) < 0.1


@pytest.mark.parametrize("backend", BACKENDS)
def test_redirects_are_not_followed(tmp_path, backend):
    with ModelServer() as other, ModelServer(plan={1: f"redirect={other.url}"}) as server:
        with Asking(tmp_path, server, backend) as asking:
            assert asking.ask(0)[0].tries == 2 and other.seen == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_request_never_costs_more_than_its_worst_case(tmp_path, backend):
    rng = np.random.default_rng(0)
    with ModelServer() as server, Asking(tmp_path, server, backend, max_tokens=40) as asking:
        worst = []
        for number in range(20):
            height, width = rng.integers(1, 800, 2)
            parts = ("x" * int(rng.integers(1, 200)), np.zeros((height, width, 3), np.uint8))
            asked = question(number, fixed="r" * int(rng.integers(0, 5000)), parts=parts)
            worst.append(asking.client.worst_case(asked))
            bare = asking.client.worst_case(question(number, fixed=asked.fixed, parts=parts[:1]))
            assert worst[-1] > bare  # pictures count
            (answer,) = asking.client.ask([asked])
            assert answer.kind in (None, "cut off") and 0 < answer.dollars <= worst[-1]


def test_waiting_takes_no_place_of_those_under_way(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "LONGEST_WAIT_SECONDS", 60.0)
    with ModelServer(plan={2: "529 retry-after-ms=2000", 3: "529 retry-after-ms=2000"}) as server:
        with Asking(tmp_path, server, concurrency=2) as asking:
            asking.ask(0)
            began = time.monotonic()
            waiting = [asking.client.ask_soon(question(number)) for number in (1, 2)]
            assert asking.client.ask([question(number) for number in range(3, 9)])[-1].kind is None
            assert time.monotonic() - began < 1.5 and not any(future.done() for future in waiting)
            assert all(future.result().tries == 2 for future in waiting)


def test_no_more_at_once_than_allowed_and_no_barrier(tmp_path):
    with ModelServer(seconds=0.05, share=0.1, share_of=("slow=1",)) as server:
        with Asking(tmp_path, server, concurrency=8) as asking:
            began = time.monotonic()
            assert all(answer.kind is None for answer in asking.ask(*range(80)))
            assert server.most_at_once == 8
            assert time.monotonic() - began < 4.5  # one after another 12 s, in batches of 8 about 6 s


def test_a_limit_of_rate_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "LONGEST_WAIT_SECONDS", 60.0)
    monkeypatch.setattr(client_module, "FIRST_RATE", 4.0)
    with ModelServer(a_second=50) as server, Asking(tmp_path, server, tries=9, timeout=10.0) as asking:
        asking.ask(0)
        began = time.monotonic()
        assert all(answer.kind is None for answer in asking.ask(*range(1, 250)))
        seconds = time.monotonic() - began  # about 5 on a quiet machine
        refused = sum(seen.status == 429 for seen in server.seen)
        assert (249 - 50) / seconds > 15 and refused <= 60, (seconds, refused)


def test_the_most_that_may_be_spent_is_never_passed(tmp_path):
    dear = {"from": "2026-01-01", "input": 0.1, "output": 5, "cache_write_5m": 0.1, "cache_write_1h": 0.1, "cache_read": 0.1}
    (tmp_path / "prices.json").write_text(json.dumps({"models": {"claude-haiku-5-5": [dear]}}))
    prices = Prices(tmp_path / "prices.json")
    rng = random.Random(0)
    faults = ("529", "500", "reset", "cut", "empty", "refusal", "unknown", "no-usage")
    limit = 0.0
    for round_ in range(8):
        how = dict(tries=3, concurrency=rng.choice([1, 8]), prices=prices, max_tokens=64)
        folder = tmp_path / str(round_)
        with ModelServer(share=rng.choice([0, 0.3, 0.6]), share_of=faults, seed=round_) as server:
            with Asking(folder, server, **how) as asking:
                worst = asking.client.worst_case(question(1000))
                limit = worst * rng.uniform(1.5, 6)
            for process in range(3):  # the run is resumed
                with Asking(folder, server, max_cost=limit, **how) as asking:
                    answers = asking.ask(*range(100 * process, 100 * process + 60))
                    money = asking.money
                    assert money.held <= limit and money.under_way == 0
                    assert "no money" in [answer.kind for answer in answers] and asking.client.left == 0
                    assert limit - money.held < worst  # of what is left nothing can be asked
                    assert any("go on with a higher --max-cost" in line for line in asking.client.summary())


def test_money_that_is_not_enough_or_not_countable_is_told(tmp_path):
    with ModelServer(models={**MODELS, "local": Model()}) as server:
        with Asking(tmp_path, server, max_cost=1e-6) as asking, pytest.raises(ModelError, match="one request may cost .0.00"):
            asking.ask(0)
        assert server.seen == []
        with pytest.raises(PriceError, match="the price of local is not known"):
            Asking(tmp_path, server, model="local", max_cost=1.0)
        for wrong in (0, -1.0, float("nan")):
            with pytest.raises(ModelError, match="--max-cost: must be more than 0"):
                Asking(tmp_path, server, max_cost=wrong)
        with Asking(tmp_path, server, model="local", effort=None) as asking:
            assert asking.ask(0)[0].dollars is None and asking.money.unpriced == 1
            assert "unknown" in asking.client.summary()[1]


def test_the_price_that_the_server_names_counts(tmp_path):
    with ModelServer(cost=0.25) as server, Asking(tmp_path, server, "openai", model="claude-haiku-5-5") as asking:
        assert asking.ask(0)[0].dollars == 0.25 and asking.money.spent == 0.25


WRITER = """
import sys
from pathlib import Path
from agent.llm import client
from tests.agent.llm.test_client import Asking
class Server: url = sys.argv[2]
print("ready", flush=True)
with Asking(Path(sys.argv[1]), Server, max_cost=float(sys.argv[3]), timeout=5.0) as asking:
    for number in range(0, 2000, 20):
        asking.ask(*range(number, number + 20))
"""


def test_sigkill_asks_nothing_twice_and_loses_no_dollar(tmp_path):
    rng = random.Random(1)
    with ModelServer(key=KEY, seconds=0.05) as server:
        for _ in range(2):
            child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), server.url, "0.05"], cwd=ROOT,
                                     stdout=subprocess.PIPE, text=True)  # fmt: skip
            before = len(server.seen)
            while len(server.seen) < before + 40 and child.poll() is None:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.1))
            child.kill()
            child.wait()
            child.stdout.close()
        with Asking(tmp_path, server, max_cost=0.05, timeout=5.0) as asking:
            asking.ask(*range(40))
            money = asking.money
            twice = sum(times - 1 for times in server.times.values())
            unconfirmed = sum(row["state"] == "under way" for row in asking.calls.rows())
            assert 0 < twice <= unconfirmed <= 2 * 20
            assert money.held <= 0.05 and money.unconfirmed > 0 and money.under_way == 0


def test_the_model_is_looked_at_before_anything_is_asked(tmp_path):
    models = {**MODELS, "last": Model(retires_at="2027-01-02T00:00:00Z", lifecycle="deprecated")}
    with ModelServer(key=KEY, models=models) as server:
        for backend in BACKENDS:
            with Asking(tmp_path, server, backend) as asking:
                asking.client.start(pictures=True)
                assert asking.said == [f"The model claude-haiku-5-5 is asked at {asking.client.settings.url}"]
            with Asking(tmp_path, server, backend, model="claude-9") as asking:
                with pytest.raises(
                    ModelError, match="--expert-model claude-9: the server has no such model; it has claude-haiku-5-5"
                ):
                    asking.client.start()
            with Asking(tmp_path, server, backend, key="wrong-key-123") as asking, pytest.raises(ModelError, match="THE_KEY"):
                asking.client.start()
        for model, complaint in (("gone", "is retired"), ("text-only", "takes no pictures")):
            with Asking(tmp_path, server, model=model) as asking, pytest.raises(ModelError, match=complaint):
                asking.client.start(pictures=True)
        with Asking(tmp_path, server, model="text-only") as asking:
            asking.client.start()
        with Asking(tmp_path, server, model="last") as asking:
            asking.client.start()
            assert "will be switched off on 2027-01-02" in asking.said[-1]
        with Asking(tmp_path, server, model="claude-haiku-4-5") as asking:
            asking.client.start()
            assert "knows no such effort" in asking.said[-1] and asking.ask(0)[0].kind is None and len(server.seen) == 1
    with ModelServer(endpoints=False) as server, Asking(tmp_path, server, model="claude-haiku-5-5") as asking:
        asking.client.start()  # a server that names no models
    with Asking(tmp_path, server) as asking, pytest.raises(ModelError, match="cannot be reached"):
        asking.client.start()  # it is gone


def test_tokens_are_counted_by_the_server(tmp_path):
    with ModelServer() as server:
        with Asking(tmp_path, server) as asking:
            count = asking.client.count_tokens(question())
            usage = asking.ask(0)[0].usage
            assert count == usage.prompt
        with Asking(tmp_path, server, "openai") as asking:
            assert asking.client.count_tokens(question()) is None


def test_no_key_is_shown_or_written_anywhere(tmp_path, caplog, capfd, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_LOG", "debug")
    caplog.set_level(logging.DEBUG)
    texts = []

    def answer(asked):
        forms = f"your key is {KEY}, {KEY[::-1]}, {base64.b64encode(KEY.encode()).decode()}"
        return answer_by_schema(asked).replace("it looks right", forms)

    for backend in BACKENDS:
        for number, plan in enumerate(({}, {1: "401"}, {1: "reset", 2: "cut", 3: "html", 4: "400"}, {1: "slow", 2: "close"})):
            with ModelServer(key=KEY, plan=plan, answer=answer) as server:
                with Asking(tmp_path / f"{backend}{number}", server, backend, tries=2, timeout=0.8) as asking:
                    try:
                        texts += [repr(one) for one in asking.ask(1, 2, 3)]
                    except ModelError as error:
                        texts += [repr(error), str(error.__cause__), str(error.__context__)]
                    texts += [repr(asking.client.settings), *asking.said, *asking.client.summary()]
                    rows = asking.calls._connection.execute("SELECT id, usage, request_id, kind FROM calls").fetchall()
                    texts += [repr(rows), *(asking.calls.request(key).fixed for (key,) in
                              asking.calls._connection.execute("SELECT key FROM requests").fetchall())]  # fmt: skip
                    found = asking.calls._connection.execute("SELECT reply FROM calls WHERE reply IS NOT NULL").fetchall()
                    texts += [zlib.decompress(blob).decode() for (blob,) in found]
    with ModelServer(key=KEY, answer=answer, batch_plan={2: "413"}) as server, Asking(tmp_path / "batch", server) as asking:
        texts += [repr(one) for one in asking.client.ask_batch([question(number) for number in range(3)])]
        with pytest.raises(ModelError) as error:
            asking.client.ask_batch([question(9)])
        texts += [repr(error.value), *asking.said]
        found = asking.calls._connection.execute("SELECT reply FROM calls WHERE reply IS NOT NULL").fetchall()
        texts += [zlib.decompress(blob).decode() for (blob,) in found]
    out = capfd.readouterr()
    everything = "\n".join([*texts, out.out, out.err, caplog.text])
    assert "your key is [key]" in everything
    for form in (KEY, KEY[::-1], base64.b64encode(KEY.encode()).decode()[:-4]):
        assert form not in everything
    for path in tmp_path.rglob("*.sqlite*"):
        raw = path.read_bytes()
        assert not [form for form in (KEY, KEY[::-1], base64.b64encode(KEY.encode()).decode()[:-4]) if form.encode() in raw]


def test_stopping_ends_what_waits_and_keeps_what_comes(tmp_path):
    before = threading.active_count()  # threads of other tests
    with ModelServer(seconds=0.2) as server, Asking(tmp_path, server, concurrency=4, timeout=5.0) as asking:
        asking.ask(0)
        futures = [asking.client.ask_soon(question(number)) for number in range(1, 30)]
        time.sleep(0.1)
        asking.client.stop()
        kinds = [future.result(timeout=2).kind for future in futures]
        assert kinds.count(None) == 4 and kinds.count("stopped") == 25 and len(server.seen) == 5
    assert threading.active_count() <= before + 1


def test_closing_leaves_what_was_under_way_as_unconfirmed(tmp_path):
    with ModelServer(seconds=5) as server:
        with Asking(tmp_path, server, timeout=20.0) as asking:
            asking.client.ask_soon(question(0))
            while not server.seen:
                time.sleep(0.01)
        with CallFile(tmp_path / "calls.sqlite") as calls:
            (row,) = calls.rows()
            assert (row["state"], row["kind"], row["dollars"]) == ("failed", "stopped", None) and calls.money(
                "a run"
            ).unconfirmed > 0


def test_a_full_disk_ends_the_run(tmp_path):
    with ModelServer() as server, Asking(tmp_path, server) as asking:
        asking.ask(0)
        asking.calls._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(ModelError, match="calls.sqlite: cannot be used .*space left"):
            asking.client.ask([question(number, fixed=str(random.Random(number).randbytes(9999))) for number in range(9)])


def test_what_is_sent():
    from agent.llm.calls import Request

    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    request = Request("anthropic", "m", 32000, "rules", ("state", picture), SCHEMA, "low")
    body = wire(request)
    assert body["system"] == [{"type": "text", "text": "rules", "cache_control": {"type": "ephemeral"}}]
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"}
    assert body["messages"][0]["content"][1]["source"]["media_type"] == "image/png"
    assert body.keys() == {"model", "max_tokens", "system", "messages", "output_config"}  # no temperature, no tools
    assert wire(Request("anthropic", "m", 9, "", ("state",))).keys() == {"model", "max_tokens", "messages"}
    chat = wire(Request("openai", "m", 9, "rules", ("state",), SCHEMA, "low"))
    assert chat["max_tokens"] == 9 and chat["reasoning_effort"] == "low" and chat["messages"][0]["content"] == "rules"
    assert wire(Request("openai", "m", 9, "", ("state",)), newest=True)["max_completion_tokens"] == 9


def test_settings_from_flags():
    empty: dict[str, str] = {}
    keys = {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": "sk-other-key", "MINE": "sk-mine-key-1"}
    one = settings_from_flags("m", environment=keys)
    assert (one.backend, one.url, one.key, one.timeout) == ("anthropic", "https://api.anthropic.com", KEY, 60)
    assert KEY not in repr(one)
    other = settings_from_flags("m", base_url="https://openrouter.ai/api/v1", key_env="MINE", environment=keys, timeout=600.0)
    assert (other.backend, other.url, other.key, other.timeout) == ("openai", "https://openrouter.ai/api/v1", "sk-mine-key-1", 600)
    for local in ("http://127.0.0.1:80", "http://localhost:8000/v1", "http://[::1]:1/v1"):
        assert settings_from_flags("m", base_url=local, environment=empty).key is None
    assert (
        settings_from_flags("m", backend="anthropic", base_url="http://127.0.0.1:1/v1", environment=empty).url
        == "http://127.0.0.1:1"
    )
    by_variable = settings_from_flags("m", environment={**keys, "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"})
    assert by_variable.url == "http://127.0.0.1:9"
    assert settings_from_flags("m", replay=True, environment=empty).key is None


WRONG = [
    (dict(environment={}), "ANTHROPIC_API_KEY: the environment variable with the key is not set"),
    (dict(backend="openai", environment={}), "OPENAI_API_KEY: .*not set"),
    (dict(environment={"ANTHROPIC_API_KEY": " "}), "ANTHROPIC_API_KEY: .*is empty"),
    (dict(environment={"ANTHROPIC_API_KEY": "sk a"}), "ANTHROPIC_API_KEY: .*what no key has"),
    (dict(key_env="MINE", base_url="http://127.0.0.1:1", environment={}), "MINE: .*not set"),
    (dict(base_url="https://me:sk-secret@host/v1", environment={}), "--expert-base-url: must hold no user and no password"),
    (dict(base_url="https://sk-secret@host/v1", environment={}), "must hold no user"),
    (dict(base_url="ftp://host", environment={}), "must begin with http"),
    (dict(base_url="host/v1", environment={}), "must begin with http"),
    (dict(base_url="http://host:port", environment={}), "is no URL"),
    (dict(base_url="https://host/v1?key=sk-secret", environment={}), "hold no \\?"),
    (dict(environment={"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": "https://a:b@host"}), "ANTHROPIC_BASE_URL: must hold no"),
    (dict(model="", environment={}), "--expert-model: is empty"),
]


@pytest.mark.parametrize("flags, complaint", WRONG)
def test_settings_that_cannot_be_meant_are_told(flags, complaint):
    with pytest.raises(ModelError, match=complaint) as error:
        settings_from_flags(**({"model": "m"} | flags))
    assert "sk-secret" not in str(error.value) and KEY not in str(error.value)


def test_the_packages_are_imported_late_and_missing_ones_are_told(tmp_path):
    code = 'import sys, agent.llm.client; sys.exit(any(name in sys.modules for name in ("anthropic", "openai", "httpx2")))'
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    client_module._imported.cache_clear()
    saved = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "openai"}
    try:
        for name in saved:
            sys.modules[name] = None
        with ModelServer() as server, Asking(tmp_path, server, "openai") as asking:
            with pytest.raises(ModelError, match="package openai is missing.*pip install -r requirements-model.txt"):
                asking.ask(0)
            assert server.seen == [] and list(asking.calls.rows()) == []
        with Asking(tmp_path, server, "openai", replay=True) as asking:
            assert asking.ask(0)[0].kind == "not recorded"
    finally:
        sys.modules.update(saved)
        client_module._imported.cache_clear()


def test_replay_needs_no_socket(tmp_path, monkeypatch):
    with ModelServer() as server, Asking(tmp_path, server) as asking:
        answers = asking.ask(*range(5))
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a socket was opened"))
    with Asking(tmp_path, server, replay=True, key=None) as asking:
        asking.client.start(pictures=True)
        assert [answer.value for answer in asking.ask(*range(5))] == [answer.value for answer in answers]


def test_requirements():
    text = (ROOT / "requirements-model.txt").read_text()
    assert re.findall("^[a-z].*$", text, re.MULTILINE) == ["anthropic==2.14.0", "openai==3.57.0"]
    assert "-r requirements-model.txt" in (ROOT / "requirements-dev.txt").read_text()
