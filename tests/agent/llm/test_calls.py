"""The file of calls: nothing is asked twice, no dollar is forgotten, whatever is killed, and no key is in it."""

from __future__ import annotations

import base64
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from agent.llm.calls import Call, CallFile, CallFileError, NoMoney, Outcome, Redactor, Reply, Request, Sent, Wait
from common.picture_codec import encode_picture

ROOT = Path(__file__).resolve().parents[3]
RUN = Call("a run", "label", "RIVAL_HOUSE")
KEY = "sk-test-0123456789/abcdef+XYZ"


def picture(number=0):
    return np.full((8, 8, 3), number % 256, np.uint8)


def question(number=0, **changes):
    whole = dict(
        backend="anthropic", model="m", max_tokens=100, fixed="what all share " * 100, parts=(f"state {number}", picture(number)),
        schema={"type": "object"}, effort="low",
    )  # fmt: skip
    return Request(**(whole | changes))


def answered(text='{"id": "msg_1", "content": "UP"}', dollars=0.5, **further):
    return Outcome("answered", dollars, 200, seconds=0.1, usage={"input_tokens": 3}, reply=text, **further)


def ask(calls, request, worst=1.0, limit=None, run=RUN):
    return calls.begin(request, run, worst, limit, 60)


def test_an_answer_is_found_again_by_any_run(tmp_path):
    path = tmp_path / "new" / "calls.sqlite"
    with CallFile(path) as calls:
        assert calls.find(question()) is None
        sent = ask(calls, question())
        assert isinstance(sent, Sent)
        assert ask(calls, question()) == Wait("asked")
        assert calls.find(question()) is None
        calls.end(sent, answered(request_id="req_1"))
        assert isinstance(ask(calls, question(1)), Sent)
    with CallFile(path) as calls:
        other = Call("another run", "label")
        found = ask(calls, question(), run=other)
        assert isinstance(found, Reply) and (found.status, found.text) == (200, '{"id": "msg_1", "content": "UP"}')
        assert found.dollars == 0.5 and found.sent[:2] == "20"
        assert calls.found_again("another run") == 1 and calls.found_again("a run") == 0
        assert calls.money("another run").held == 0
        assert [row["try"] for row in calls.rows("a run")] == [1, 1]
        assert [row["run"] for row in calls.rows("another run")] == []
        assert [(row["run"], row["dollars"]) for row in calls.rows("another run", found=True)] == [("a run", 0.5)]
        assert list(calls.rows("a run", found=True)) == list(calls.rows("a run")) == list(calls.rows())


def test_every_part_of_a_request_counts_and_nothing_else():
    changed = [
        question(backend="openai"), question(model="n"), question(max_tokens=99), question(fixed="other"), question(schema=None),
        question(effort=None), question(sample=2), question(1), question(parts=("state 0",)),
        question(parts=(picture(), "state 0")),
        question(parts=("state ", "0", picture())),
    ]  # fmt: skip
    keys = [question().key, *(one.key for one in changed)]
    assert len(set(keys)) == len(keys) and all(len(key) == 32 for key in keys)
    assert question().key == question(parts=("state 0", np.asfortranarray(picture()))).key
    assert question(schema={"a": 1, "b": 2}).key == question(schema={"b": 2, "a": 1}).key


def test_the_request_can_be_read_back(tmp_path):
    with CallFile(tmp_path / "calls.sqlite") as calls:
        asked = question(3, parts=("a \ud800 state", picture(3), "more"))
        ask(calls, asked)
        back = calls.request(asked.key)
        assert back.key == asked.key and back.fixed == asked.fixed and back.schema == asked.schema
        assert back.parts[0] == asked.parts[0] and np.array_equal(back.parts[1], picture(3))
        assert calls.request(question(9).key) is None


def test_a_failed_call_is_sent_again_and_a_refused_one_is_an_answer_to_a_replay_only(tmp_path):
    with CallFile(tmp_path / "calls.sqlite") as calls:
        calls.end(ask(calls, question()), Outcome("failed", 0.0, 529, "overloaded", reply="busy"))
        assert calls.find(question(), rejected=True) is None
        calls.end(ask(calls, question()), Outcome("rejected", 0.0, 400, "rejected", reply="bad"))
        assert calls.find(question()) is None and isinstance(sent := ask(calls, question()), Sent)
        assert calls.find(question(), rejected=True).status == 400
        calls.end(sent, answered())
        assert calls.find(question(), rejected=True).status == 200
        with pytest.raises(ValueError, match="is not under way"):
            calls.end(sent, answered())


def test_money_is_held_before_it_is_spent(tmp_path):
    with CallFile(tmp_path / "calls.sqlite") as calls:
        first, second = ask(calls, question(0), 1.0, 2.5), ask(calls, question(1), 1.0, 2.5)
        assert calls.money("a run").under_way == 2.0
        assert ask(calls, question(2), 1.0, 2.5) == Wait("money")  # what is under way may cost less than its most
        calls.end(first, answered(dollars=0.25))
        third = ask(calls, question(2), 1.0, 2.5)
        assert isinstance(third, Sent)
        calls.end(second, Outcome("failed", None, kind="timeout"))  # it may have been billed: it counts with its most
        calls.end(third, Outcome("failed", 0.0, 529))
        money = calls.money("a run")
        assert (money.spent, money.unconfirmed, money.under_way, money.unpriced) == (0.25, 1.0, 0.0, 0)
        assert ask(calls, question(3), 1.26, 2.5) == NoMoney(1.25, 1.26)
        assert isinstance(ask(calls, question(3), 1.25, 2.5), Sent)  # to the cent
        assert isinstance(ask(calls, question(4), 1.0, 2.5, Call("another run", "label")), Sent)


def test_what_has_no_price_is_told(tmp_path):
    with CallFile(tmp_path / "calls.sqlite") as calls:
        calls.end(ask(calls, question(), worst=None), answered(dollars=None))
        assert (calls.money("a run").held, calls.money("a run").unpriced) == (0, 1)
        with pytest.raises(ValueError, match="a limit needs prices"):
            ask(calls, question(1), worst=None, limit=1.0)


ASKER = """
import sys, time
from agent.llm.calls import Call, CallFile, Reply, Sent
from tests.agent.llm.test_calls import answered, ask, question
path, limit = sys.argv[1], float(sys.argv[2]) or None
print("ready", flush=True)
sys.stdin.readline()
with CallFile(path) as calls:
    for number in range(int(sys.argv[3])):
        while not isinstance(begun := ask(calls, question(number), 1.0, limit), Reply):
            if isinstance(begun, Sent):
                print(f"asked {number}", flush=True)
                calls.end(begun, answered(dollars=0.5))
                break
            time.sleep(0.005)
"""


def start(path, limit, count):
    child = subprocess.Popen(
        [sys.executable, "-c", ASKER, path, str(limit), str(count)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout.readline() == "ready\n"
    return child


def test_of_several_processes_one_asks(tmp_path):
    path = tmp_path / "calls.sqlite"
    children = [start(path, 0, 40) for _ in range(3)]
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    said = [child.communicate()[0].split("\n") for child in children]
    asked = [line for lines in said for line in lines if line]
    assert sorted(asked) == sorted(f"asked {number}" for number in range(40))
    assert [child.returncode for child in children] == [0, 0, 0]
    with CallFile(path) as calls:
        assert calls.money("a run").spent == 20.0
    assert [file.name for file in tmp_path.iterdir()] == ["calls.sqlite"]


def test_sigkill_loses_no_answer_and_no_dollar(tmp_path):
    path = tmp_path / "calls.sqlite"
    rng = random.Random(0)
    asked: list[str] = []
    for _ in range(3):
        child = start(path, 0, 1_000_000)
        try:
            child.stdin.write("\n")
            child.stdin.flush()
            time.sleep(rng.uniform(0.2, 0.4))
        finally:
            child.send_signal(signal.SIGKILL)
            asked += [line for line in child.stdout.read().split("\n") if line]
            child.wait()
            child.stdin.close()
            child.stdout.close()
    with CallFile(path) as calls:
        rows = list(calls.rows())
        cut = [row for row in rows if row["state"] == "under way"]
        assert len(rows) - len(cut) > 10 and len(cut) <= 3
        money = calls.money("a run")
        assert money.spent == 0.5 * (len(rows) - len(cut)) and money.unconfirmed == len(cut) and money.under_way == 0
        assert len(asked) - len(set(asked)) <= len(cut)  # only what was cut was asked again
        keys = {key for (key,) in calls._connection.execute("SELECT key FROM requests")}
        again = [request for number in range(2000) if (request := question(number)).key in keys and calls.find(request) is None]
        assert len(again) <= 1  # the later processes asked for what the earlier ones were killed at
        for request in again:  # the process that would have answered it is gone
            assert isinstance(ask(calls, request), Sent)
        held = calls._connection.execute("SELECT held FROM runs").fetchone()[0]
        assert held == pytest.approx(calls.money("a run").held)


def test_a_call_is_under_way_no_longer_than_its_time_out(tmp_path, monkeypatch):
    with CallFile(tmp_path / "calls.sqlite") as calls:
        ask(calls, question(), 1.0, 1.0)
        assert ask(calls, question()) == Wait("asked") and ask(calls, question(1), 1.0, 1.0) == Wait("money")
        now = time.time()
        monkeypatch.setattr("time.time", lambda: now + 121)
        assert isinstance(ask(calls, question()), Sent) and calls.money("a run").unconfirmed == 1.0


def test_threads_share_one_and_wait_for_the_disk_together(tmp_path):
    with CallFile(tmp_path / "calls.sqlite") as calls:
        statements = []
        calls._connection.set_trace_callback(statements.append)

        def work(first):
            begun = [calls.begin_soon(question(number), RUN, 1.0, None, 60) for number in range(first, first + 100)]
            for future in [calls.end_soon(future.result(), answered()) for future in begun]:
                future.result()

        threads = [threading.Thread(target=work, args=[first]) for first in (0, 100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        calls._connection.set_trace_callback(None)
        assert calls.money("a run").spent == 100.0
        assert statements.count("COMMIT") < 200  # of 400 things that were written


def test_a_label_takes_little_room(tmp_path):
    rng = np.random.default_rng(0)
    tiles = np.repeat(np.repeat(rng.integers(0, 4, (24, 4, 4), np.uint8) * 85, 4, 1), 4, 2)
    with CallFile(tmp_path / "calls.sqlite") as calls:
        begun = []
        for number in range(200):
            screen = np.block([[tiles[tile] for tile in row] for row in rng.integers(0, 24, (9, 10))])
            screen = np.repeat(np.repeat(np.repeat(screen[..., None], 3, 2), 2, 0), 2, 1)
            state = " ".join(f"({x}, {y})" for x, y in rng.integers(0, 99, (100, 2)))  # far less regular than a game's
            asked = question(number, fixed="rules " * 2000, parts=(state, np.ascontiguousarray(screen)))
            begun.append((calls.begin_soon(asked, RUN, 1.0, None, 60), state))
        for number, (future, state) in enumerate(begun):
            body = {"id": f"msg_{number:024}", "content": [{"type": "text", "text": state[:200]}], "usage": {"input_tokens": 2400}}
            last = calls.end_soon(future.result(), answered(str(body), request_id=f"req_{number:024}"))
        last.result()
    assert len(state) > 700 and len(encode_picture(np.ascontiguousarray(screen))) > 500
    assert (tmp_path / "calls.sqlite").stat().st_size < 200 * 4000


def test_no_key_comes_into_the_file(tmp_path):
    path = tmp_path / "calls.sqlite"
    around = base64.b64encode(f"Bearer {KEY}!".encode()).decode()
    with CallFile(path, [KEY, "short"]) as calls:
        text = f'{{"a": "{KEY}", "b": "{KEY[::-1]}", "c": "{around}", "d": "short"}}'
        calls.end(ask(calls, question()), answered(text, request_id=f"req-{KEY}"))
        back = calls.find(question()).text
        assert back.count("[key]") == 3 and "short" in back
        rows = calls._connection.execute("SELECT * FROM calls").fetchall()
    whole = path.read_bytes() + repr(rows).encode() + back.encode()
    middle = base64.b64encode(KEY.encode())[4:-8]
    for form in (KEY.encode(), KEY[::-1].encode(), middle, around[12:-8].encode()):
        assert form not in whole


def test_a_key_is_found_in_base64_wherever_it_begins():
    redact = Redactor([KEY])
    for before in range(7):
        for after in range(4):
            text = base64.b64encode(b"." * before + KEY.encode() + b"." * after).decode()
            assert "[key]" in redact(text) and len(redact(text)) < len(text) - 30
    assert redact(f"x{KEY}y") == "x[key]y" and redact("nothing") == "nothing"
    assert Redactor(["", "abc"])("abcabc") == "abcabc"


def test_export_holds_what_a_replay_needs_and_no_ids(tmp_path):
    with CallFile(tmp_path / "calls.sqlite") as calls:
        other = Call("other", "policy")
        calls.end(ask(calls, question(0), run=other), answered(request_id="req_0"))
        calls.end(ask(calls, question(1), run=other), answered())
        assert isinstance(ask(calls, question(0)), Reply)
        calls.end(ask(calls, question(2)), answered(request_id="req_2"))
        assert calls.export(tmp_path / "published.sqlite", "a run") == 2
        with pytest.raises(CallFileError, match="published.sqlite: is there already"):
            calls.export(tmp_path / "published.sqlite", "a run")
        with pytest.raises(CallFileError, match="has no calls of the run 'absent'"):
            calls.export(tmp_path / "more.sqlite", "absent")
    (tmp_path / "published.sqlite").chmod(0o444)
    with CallFile(tmp_path / "published.sqlite", write=False) as calls:
        assert [calls.find(question(number)) is not None for number in range(3)] == [True, False, True]
        assert calls.money("a run").spent == 0.5
        assert calls.request(question(2).key).key == question(2).key
        raw = repr(calls._connection.execute("SELECT * FROM calls").fetchall())
    assert "req_" not in raw and "msg_" not in raw and "other" not in raw
    assert sorted(file.name for file in tmp_path.iterdir()) == ["calls.sqlite", "published.sqlite"]


def test_foreign_newer_damaged_and_missing_files_are_told(tmp_path):
    path = tmp_path / "calls.sqlite"
    for text, complaint in ((b"a picture", "is not a file of calls"), (b"", "not a file of calls")):
        path.write_bytes(text)
        with pytest.raises(CallFileError, match=complaint):
            CallFile(path)
        path.unlink()
    CallFile(path).close()
    for change, complaint in (
        ("PRAGMA user_version = 2", "has schema version 2"),
        ("PRAGMA application_id = 1", "not a file of calls"),
        ("CREATE TRIGGER t AFTER INSERT ON calls BEGIN DELETE FROM runs; END", "does not belong there"),
    ):
        wrong = tmp_path / "wrong.sqlite"
        wrong.write_bytes(path.read_bytes())
        connection = sqlite3.connect(wrong)
        connection.execute(change)
        connection.commit()
        connection.close()
        with pytest.raises(CallFileError, match=complaint):
            CallFile(wrong)
    with pytest.raises(CallFileError, match="absent.sqlite: is not there; --replay"):
        CallFile(tmp_path / "absent.sqlite", write=False)


def test_a_damaged_answer_is_asked_for_again(tmp_path):
    with CallFile(tmp_path / "calls.sqlite") as calls:
        calls.end(ask(calls, question()), answered())
        calls._connection.execute("UPDATE calls SET reply = x'00'")
        with pytest.warns(RuntimeWarning, match="an answer is damaged"):
            assert calls.find(question()) is None
        calls._connection.execute("UPDATE requests SET request = x'00'")
        with pytest.raises(CallFileError, match="is damaged"):
            calls.request(question().key)


def test_a_write_that_fails_is_told_to_whoever_waits(tmp_path):
    with CallFile(tmp_path / "calls.sqlite") as calls:
        sent = ask(calls, question())
        calls._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(CallFileError, match="cannot be used .*space left"):
            for number in range(1, 100):
                ask(calls, question(number, fixed=str(random.Random(number).randbytes(9999))))
        calls._connection.execute("PRAGMA max_page_count = 100000")
        calls.end(sent, answered())
        assert calls.money("a run").spent == 0.5
