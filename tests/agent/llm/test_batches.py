"""Asking in batches: half the price, an id that outlives its process, and nothing sent twice."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agent.llm import client as client_module
from agent.llm.client import ModelError
from tests.agent.llm.test_client import KEY, Asking, question
from tools.model_server import ModelServer

pytest.importorskip("anthropic")

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(client_module, "BATCH_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(client_module, "LONGEST_BATCH_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(client_module, "BACK_OFF_SECONDS", 0.005)


def ask(asking, *numbers):
    return asking.client.ask_batch([question(number) for number in numbers])


def test_a_batch_costs_half_and_its_answers_are_found_again(tmp_path):
    with ModelServer(key=KEY, batch_seconds=0.1) as server:
        with Asking(tmp_path, server) as asking:
            answers = ask(asking, *range(20), 3)
            assert all(answer.kind is None for answer in answers) and answers[3].value == answers[20].value
            assert (server.batches_sent, len(server.seen)) == (1, 20)
            assert asking.money.spent == pytest.approx(sum(answer.dollars for answer in answers[:20]))
            assert asking.money.unconfirmed == asking.money.under_way == 0
            assert "A batch of 20 questions is under way (msgbatch_0001)" in asking.said[-1]
        with Asking(tmp_path / "plain", server) as plain:
            single = plain.ask(0, 3)[1]
            assert single.usage.prompt == answers[3].usage.prompt
            usage = answers[3].usage
            whole = plain.client._prices.dollars("claude-haiku-5-5", usage, client_module.datetime.now().date())
            assert answers[3].dollars == pytest.approx(whole / 2)
        with Asking(tmp_path, server, run="another run") as asking:
            again = ask(asking, *range(20))
            assert all(answer.found and answer.dollars == 0 for answer in again) and server.batches_sent == 1
            assert asking.ask(5)[0].found
        with Asking(tmp_path, server, replay=True, key=None) as asking:
            assert [answer.value for answer in ask(asking, *range(20))] == [answer.value for answer in answers[:20]]


def test_of_a_batch_each_request_has_its_own_end(tmp_path):
    # By their number at the server, which answers the last of a batch last.
    plan = {1: "529", 2: "expired", 3: "canceled", 4: "400", 5: "unknown", 6: "refusal", 7: "no-usage", 10: "unknown"}
    with ModelServer(plan=plan) as server, Asking(tmp_path, server) as asking:
        answers = ask(asking, *range(8))
        kinds = [answer.kind for answer in answers]
        assert kinds == [None, "expired", "canceled", "rejected", "malformed", "refusal", None, None], kinds
        assert [answer.tries for answer in answers] == [2, 1, 1, 1, 2, 1, 2, 1] and server.batches_sent == 2
        assert answers[4].dollars > answers[7].dollars > 0 and all(answer.reason for answer in answers if answer.kind)
        rows = list(asking.calls.rows())
        assert {row["state"] for row in rows} == {"answered", "failed", "rejected"}
        assert [row["worst"] for row in rows if row["dollars"] is None] == [pytest.approx(asking.money.unconfirmed)]
        assert [answer.kind for answer in ask(asking, 1, 2, 4)] == [None, None, "malformed"]  # accidents are asked again


def test_what_never_ends_well_is_an_abstention(tmp_path):
    with ModelServer(share=1.0, share_of=("529",)) as server, Asking(tmp_path, server, tries=2) as asking:
        answers = ask(asking, 0, 1)
        assert [(answer.kind, answer.tries) for answer in answers] == [("server error", 2)] * 2 and server.batches_sent == 2


def test_large_ones_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "MOST_IN_A_BATCH", 4)
    with ModelServer() as server, Asking(tmp_path, server) as asking:
        assert all(answer.kind is None for answer in ask(asking, *range(10)))
        assert [len(batch[0]) for batch in server.batches.values()] == [4, 4, 2]


@pytest.mark.parametrize("fault, made", [("529", 1), ("500", 1), ("dropped", 1), ("lost", 1)])
def test_a_batch_that_did_not_arrive_is_sent_again_and_one_that_did_is_not(tmp_path, fault, made):
    with ModelServer(batch_plan={1: fault}) as server, Asking(tmp_path, server) as asking:
        assert all(answer.kind is None for answer in ask(asking, *range(5)))
        assert (len(server.batches), len(server.seen)) == (made, 5)
        assert server.batches_sent == (1 if fault == "lost" else 2)


def test_a_batch_that_is_refused_ends_the_run(tmp_path):
    with ModelServer(batch_plan={1: "413"}) as server, Asking(tmp_path, server) as asking:
        with pytest.raises(ModelError, match="--expert-batch: the server refuses a batch .413"):
            ask(asking, 0)
        assert asking.money.held == 0
    with ModelServer(key="other-key") as server, Asking(tmp_path, server) as asking, pytest.raises(ModelError, match="THE_KEY"):
        ask(asking, 0)


def test_chat_completions_have_none(tmp_path):
    with ModelServer() as server, Asking(tmp_path, server, "openai") as asking:
        with pytest.raises(ModelError, match="--expert-batch: chat completions"):
            ask(asking, 0)


def test_money_bounds_a_batch_and_what_it_leaves_is_used(tmp_path):
    with ModelServer() as server:
        with Asking(tmp_path, server, max_tokens=40) as asking:
            worst = asking.client.worst_case(question(100)) / 2
        with Asking(tmp_path, server, max_cost=1.2 * worst, max_tokens=40) as asking:
            answers = ask(asking, *range(100))
            done = sum(answer.kind is None for answer in answers)
            assert {answer.kind for answer in answers} == {None, "no money"} and done > 2 and server.batches_sent > 1
            money = asking.money
            assert money.held <= 1.2 * worst < money.held + worst and asking.client.left == 0


BATCHER = """
import sys
from pathlib import Path
from agent.llm import client
from tests.agent.llm.test_batches import ask
from tests.agent.llm.test_client import Asking
client.BATCH_PAUSE_SECONDS = 0.02
class Server: url = sys.argv[2]
with Asking(Path(sys.argv[1]), Server, max_cost=1.0) as asking:
    ask(asking, *range(10))
"""


def killed_when(tmp_path, server, ready):
    child = subprocess.Popen([sys.executable, "-c", BATCHER, str(tmp_path), server.url], cwd=ROOT)
    end = time.monotonic() + 60
    while not ready() and child.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    child.kill()
    child.wait()


def test_a_killed_run_collects_its_batch_and_sends_it_not_again(tmp_path):
    with ModelServer(key=KEY, batch_seconds=3600.0) as server:

        def looked():
            with server_calls(tmp_path) as calls:
                return calls is not None and any(batch.name for batch in calls.batches("claude-haiku-5-5"))

        killed_when(tmp_path, server, looked)
        for name, (named, _, made) in list(server.batches.items()):
            server.batches[name] = (named, 0.0, made)
        with Asking(tmp_path, server, max_cost=1.0) as asking:
            assert asking.money.under_way > 0 and asking.money.unconfirmed == 0
            server.batch_seconds = 0.0
            # Also a run that asks in batches no longer, and one that asks for more.
            assert asking.ask(3)[0].kind is None and len(server.seen) == 10
            assert all(answer.kind is None for answer in ask(asking, *range(12))) and server.batches_sent == 2
            assert max(server.times.values()) == 1 and asking.money.under_way == 0


def test_one_that_was_killed_before_it_knew_the_id_is_found_at_the_server(tmp_path, monkeypatch):
    with ModelServer(key=KEY) as server:
        other = server._batch
        held = threading.Event()

        def hold(method, path, body):
            reply = other(method, path, body)
            if method == "POST" and not held.is_set():
                held.set()
                time.sleep(0.5)  # the batch is made, its id is on the way, and the process that waits for it is killed
            return reply

        monkeypatch.setattr(server, "_batch", hold)
        killed_when(tmp_path, server, held.is_set)
        with Asking(tmp_path, server, max_cost=1.0) as asking:
            assert all(answer.kind is None for answer in ask(asking, *range(10)))
            assert server.batches_sent == 1 and len(server.seen) == 10 and asking.money.unconfirmed == 0


def test_stopping_leaves_the_batch_to_the_next(tmp_path):
    with ModelServer(batch_seconds=3600.0) as server:
        with Asking(tmp_path, server) as asking:
            threading.Timer(0.3, asking.client.stop).start()
            assert {answer.kind for answer in ask(asking, 0, 1)} == {"stopped"}
            assert "for what is still under way" in asking.client.summary()[1]
        for name, (named, _, made) in list(server.batches.items()):
            server.batches[name] = (named, 0.0, made)
        with Asking(tmp_path, server) as asking:
            assert all(answer.kind is None for answer in ask(asking, 0, 1)) and server.batches_sent == 1


class server_calls:  # noqa: N801 - used like a function
    """The file of calls, to look into; None as long as there is none."""

    def __init__(self, folder):
        from agent.llm.calls import CallFile

        path = folder / "calls.sqlite"
        self.calls = CallFile(path, write=False) if path.exists() else None

    def __enter__(self):
        return self.calls

    def __exit__(self, *_):
        if self.calls is not None:
            self.calls.close()
