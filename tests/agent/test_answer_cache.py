"""The cache of answers: the same question is found, no other, by all processes, after any kill."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agent.answer_cache import AnswerCache, AnswerCacheError, answer_key
from agent.oracle import Answer

ROOT = Path(__file__).resolve().parents[2]


def key(number):
    return answer_key("expert", b"snapshot", number)


def test_answers_come_back(tmp_path):
    answers = {
        key(0): Answer(3),
        key(1): Answer(5, optimal=(4, 5)),
        key(2): Answer(None, "exception", "KeyError: 'x' (line 3)"),
        key(3): Answer(0, optimal=(0,)),
        key(4): Answer(2, reason="the stairs are below"),  # as a language model says it
    }
    with AnswerCache(tmp_path / "new" / "cache.sqlite") as cache:
        assert cache.get_many([key(0)]) == {}
        assert cache.put_many(answers) == 5
        assert cache.put_many({**answers, key(5): Answer(1)}) == 1
        assert cache.put_many({key(0): Answer(7)}) == 0  # the first answer stays
    with AnswerCache(tmp_path / "new" / "cache.sqlite") as cache:
        assert len(cache) == 6
        assert cache.get_many([*answers, key(9), key(0)]) == answers


def test_many_at_once(tmp_path):
    with AnswerCache(tmp_path / "cache.sqlite") as cache:
        cache.put_many({key(number): Answer(number % 8) for number in range(1700)})
        found = cache.get_many(key(number) for number in range(-100, 1800))
        assert found == {key(number): Answer(number % 8) for number in range(1700)}


def test_accidents_are_never_kept(tmp_path):
    kinds = ["timeout", "died", "memory", "rate limit", "exception", "none", "no_op", "not text", "unknown word", "something new"]
    with AnswerCache(tmp_path / "cache.sqlite") as cache:
        cache.put_many({key(kind): Answer(None, kind, "why") for kind in kinds})
        kept = {answer.kind for answer in cache.get_many(map(key, kinds)).values()}
        assert kept == {"exception", "none", "no_op", "not text", "unknown word"}
        for wrong in (Answer(None), Answer(1, "none"), Answer(1, optimal=(2, 3))):
            with pytest.raises(ValueError, match="an answer has an action"):
                cache.put_many({key(0): wrong})


def test_every_part_of_the_question_counts():
    questions = [
        ("expert", b"snapshot", 1, b""), ("expert2", b"snapshot", 1, b""), ("expert", b"snapshot2", 1, b""),
        ("expert", b"snapshot", -1, b""), ("expert", b"snapshot", "up", b""), ("expert", b"snapshot", 1, b"f"),
        ("experts", b"napshot", 1, b""), ("expert", b"snapshot1", "", b""), ("expert", b"snapshot", "1f", b""),
    ]  # fmt: skip
    keys = [answer_key(*question) for question in questions]
    assert len(set(keys)) == len(keys) and all(len(key) == 32 for key in keys)
    assert keys == [answer_key(*question) for question in questions]


def test_threads_share_one(tmp_path):
    with AnswerCache(tmp_path / "cache.sqlite") as cache:
        failures = []

        def work(thread):
            try:
                for number in range(40):
                    cache.put_many({key(number): Answer(number % 8), key(f"{thread} {number}"): Answer(thread)})
                    assert cache.get_many([key(f"{thread} {number}")]) == {key(f"{thread} {number}"): Answer(thread)}
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=[thread]) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == [] and len(cache) == 40 + 4 * 40


WRITER = """
import sys
from agent.answer_cache import AnswerCache
from agent.oracle import Answer
from tests.agent.test_answer_cache import key
path, name, batches = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
with AnswerCache(path) as cache:
    for batch in range(batches):
        mine = {key(f"{name} {batch} {number}"): Answer(number % 8, optimal=(number % 8,)) for number in range(20)}
        cache.put_many({**mine, key(batch): Answer(batch % 8)})
        print(batch, flush=True)
"""


def start(path, name, batches):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, path, name, str(batches)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == "ready\n"
    return child


def test_processes_share_one(tmp_path):
    path = tmp_path / "cache.sqlite"  # which is not there: they also make it at once
    children = [start(path, name, 150) for name in ("a", "b", "c")]
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        child.communicate()
        assert child.returncode == 0
    with AnswerCache(path) as cache:
        assert len(cache) == 3 * 150 * 20 + 150
        found = cache.get_many(key(f"{name} {batch} 7") for name in "abc" for batch in range(150))
        assert len(found) == 450 and set(found.values()) == {Answer(7, optimal=(7,))}
    assert [file.name for file in tmp_path.iterdir()] == ["cache.sqlite"]


def test_sigkill_loses_nothing_that_was_put(tmp_path):
    path = tmp_path / "cache.sqlite"
    rng = random.Random(0)
    put: list[str] = []
    for run in range(5):
        child = start(path, str(run), 100_000)
        try:
            child.stdin.write("\n")
            child.stdin.flush()
            time.sleep(rng.uniform(0.02, 0.3))
        finally:
            child.send_signal(signal.SIGKILL)
            put += [f"{run} {line}" for line in child.stdout.read().split()]
            child.wait()
            child.stdin.close()
            child.stdout.close()
        with AnswerCache(path) as cache:
            found = cache.get_many(key(f"{batch} {number}") for batch in put for number in range(20))
            assert len(found) == 20 * len(put)
    assert len(put) > 5


def test_foreign_and_broken_files(tmp_path):
    good = tmp_path / "good.sqlite"
    with AnswerCache(good) as cache:
        cache.put_many({key(number): Answer(1) for number in range(2000)})
    content = good.read_bytes()
    for name, broken, message in (
        ("empty", b"", "not a cache of answers"),
        ("text", b"hello " * 500, "not a cache of answers, or its beginning is damaged; is its name right"),
        ("half", content[: len(content) // 2], "damaged .*; delete it"),
        ("zeros", content[:4096] + bytes(len(content) - 4096), "damaged .*; delete it"),
    ):
        path = tmp_path / f"{name}.sqlite"
        path.write_bytes(broken)
        with pytest.raises(AnswerCacheError, match=message) as error, AnswerCache(path) as cache:
            cache.get_many([key(number) for number in range(2000)])
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    for statement, message in (
        ("CREATE TABLE t (a)", "SQLite file, but not a cache"),
        ("PRAGMA application_id = 1413955907", "schema version 0, this program uses 1"),
    ):
        connection = sqlite3.connect(tmp_path / "foreign.sqlite")
        connection.execute(statement)
        connection.close()
        with pytest.raises(AnswerCacheError, match=message):
            AnswerCache(tmp_path / "foreign.sqlite")


@pytest.mark.parametrize(
    "values",
    [
        (None, None, None, None), ("x", None, None, None), (1, None, None, "1 y"), (1, None, None, "2"), (1, "none", "", None),
        (60, None, None, None), (-1, None, None, None), (1.5, None, None, None), (1, None, None, "1 60"), (1, None, None, b"1"),
        (1, None, b"x", None), (None, b"none", None, None),
    ],
)  # fmt: skip
def test_values_are_not_taken_on_trust(tmp_path, values):
    with AnswerCache(tmp_path / "cache.sqlite", 8) as cache:
        cache.put_many({key(1): Answer(7)})
        connection = sqlite3.connect(tmp_path / "cache.sqlite")
        connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", (key(0), *values))
        connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", (key(2), *values))
        connection.commit()
        connection.close()
        with pytest.warns(RuntimeWarning, match="cache.sqlite: the answer .* cannot be one to a query of 8 buttons") as warned:
            assert cache.get_many(map(key, range(3))) == {key(1): Answer(7)}
        assert len(warned) == 1
        cache.put_many({key(0): Answer(3), key(1): Answer(4)})  # which the expert was asked for again
        assert cache.get_many(map(key, range(2))) == {key(0): Answer(3), key(1): Answer(7)}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON answers BEGIN UPDATE answers SET action = 0; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE more (a)",
        "ALTER TABLE answers ADD COLUMN extra",
    ],
)
def test_no_file_with_other_tables_is_opened(tmp_path, statement):
    path = tmp_path / "cache.sqlite"
    AnswerCache(path).close()
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.close()
    with pytest.raises(AnswerCacheError, match="cache.sqlite: .*; give another file"):
        AnswerCache(path)


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AnswerCacheError, match="cache.sqlite: cannot be used"):
        AnswerCache(tmp_path / "file" / "cache.sqlite")


FULL = """
import resource, signal, sys, warnings
from pathlib import Path
from agent.answer_cache import AnswerCache
from agent.oracle import Answer
from tests.agent.test_answer_cache import key
path, fill = Path(sys.argv[1]), len(sys.argv) > 2
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    with AnswerCache(path) as cache:
        if fill:
            try:
                with (path.parent / "ballast").open("wb") as file:
                    while True:
                        file.write(bytes(4096))
                        file.flush()
            except OSError:
                pass
        else:  # a limit on files is met like a full disk
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        before = 0
        for batch in range(200):
            answers = {key(f"{batch} {number}"): Answer(number, optimal=(number, 9)) for number in range(8)}
            kept = cache.put_many(answers)
            found = cache.get_many(answers)
            assert found == (answers if kept else {}), (batch, kept)
            before += kept
        assert before < 1600 and kept == 0 and len(cache) == before
    assert not fill or AnswerCache(path.with_name("another.sqlite")).get_many([key(0)]) == {}  # and one that can't be made at all
print(before, *(str(warning.message) for warning in caught), sep="\\n")
"""


def check_full(path, *fill):
    child = subprocess.run(
        [sys.executable, "-c", FULL, path, *fill], cwd=ROOT, text=True, capture_output=True, check=False, timeout=60
    )
    assert child.returncode == 0, child.stderr
    before, *said = child.stdout.splitlines()
    assert len(said) == 1 + len(fill)
    assert said[0].startswith(f"{path}: cannot be written any more (") and "further answers are not kept" in said[0]
    (path.parent / "ballast").unlink(missing_ok=True)
    with AnswerCache(path) as cache:  # what was put before is whole, and the next run keeps answers again
        assert len(cache) == int(before)
        cache.put_many({key("new"): Answer(1)})
        assert len(cache) == int(before) + 1


def test_a_limit_on_files_is_met_without_the_cache(tmp_path):
    check_full(tmp_path / "cache.sqlite")


def test_a_full_disk_is_met_without_the_cache(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", tmp_path], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        check_full(tmp_path / "cache.sqlite", "fill")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_withdrawn_expert_has_no_answers(tmp_path):
    with AnswerCache(tmp_path / "cache.sqlite") as cache, AnswerCache(tmp_path / "cache.sqlite") as other:
        cache.put_many({key(0): Answer(3)})
        assert other.get_many([key(0)], "expert") == {key(0): Answer(3)}
        cache.withdraw("expert", "depends on a clock")
        cache.withdraw("expert", "and again")
        for one in (cache, other):  # other processes heed it, too
            assert one.get_many([key(0)], "expert") == {} and len(one) == 1
            assert one.get_many([key(0)], "another") == one.get_many([key(0)]) == {key(0): Answer(3)}
    with AnswerCache(tmp_path / "cache.sqlite") as cache:
        assert cache.get_many([key(0)], "expert") == {}
    with sqlite3.connect(tmp_path / "cache.sqlite") as connection:
        rows = connection.execute("SELECT expert, reason FROM withdrawn ORDER BY id").fetchall()
    assert rows == [("expert", "depends on a clock"), ("expert", "and again")]
