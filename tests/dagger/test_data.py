"""The data set of a DAgger run: what goes in comes out, once, and a kill at any moment leaves the last commit."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import statistics
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from agent.labelling import Label
from common.demonstrations import NO_LABEL, DemonstrationError, Episode, save_episode
from common.picture_codec import decode_picture, encode_picture, picture_key
from dagger.data import COLUMNS, DEMONSTRATION_ITERATION, DaggerData, DaggerDataError, Row, Source, Status, actions_of
from pokemon_env.gym_env import PokemonEnv

BUTTONS = ["A", "B", "START", "SELECT", "UP", "DOWN", "LEFT", "RIGHT"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def screens() -> tuple[np.ndarray, list[bytes]]:
    """Pictures and snapshots of 60 random presses in the game."""
    rng = np.random.default_rng(0)
    with PokemonEnv(tier="T1", worlds="1-9", start_milestone="STARTER_CHOSEN", state_in_info=False) as env:
        picture, _ = env.reset(seed=1)
        pictures, snapshots = [picture], [env.snapshot()]
        for action in rng.integers(8, size=60):
            pictures.append(env.step(int(action))[0])
            snapshots.append(env.snapshot())
    return np.stack(pictures), snapshots


def noise(seed, size=(9, 7)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def create(path, **more):
    return DaggerData(path, "create", **{"milestone": "CLOCK_SET", "buttons": BUTTONS, **more})


def step(value, episode, t, iteration=0, **more):
    """A row that can be told by its value."""
    return Row(noise(value), value % 8, iteration, episode, t, **{"label": Label(value % 8, "expert"), **more})


def fill(data, iteration, lengths=(4, 3)):
    for length in lengths:
        first = data.next_episode
        data.append(step(1000 * first + t, first, t, iteration) for t in range(length))
    data.commit(iteration)


@pytest.mark.parametrize("colours", [1, 2, 3, 4, 5, 16, 17, 200, 256, 257, 1000])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (40, 31), (144, 160)])
def test_codec_is_lossless(colours, size):
    rng = np.random.default_rng(colours)
    palette = rng.integers(0, 256, (colours, 3), dtype=np.uint8)
    picture = palette[rng.integers(colours, size=size)]
    data = encode_picture(picture)
    assert np.array_equal(decode_picture(data), picture) and decode_picture(data).dtype == np.uint8
    if colours <= 4 and size == (144, 160):
        assert len(data) < 144 * 160 / 4 + 200  # two bits a pixel at most


def test_codec_on_screens(screens):
    pictures, _ = screens
    coded = [encode_picture(picture) for picture in pictures]
    assert all(np.array_equal(decode_picture(data), picture) for data, picture in zip(coded, pictures, strict=True))
    assert np.mean([len(data) for data in coded]) < 2000
    assert encode_picture(np.asfortranarray(pictures[0])) == coded[0]
    assert picture_key(pictures[0][:, ::-1]) == picture_key(np.ascontiguousarray(pictures[0][:, ::-1]))


def test_codec_refuses():
    flat = np.zeros((6, 4, 3), np.uint8)
    assert picture_key(flat) != picture_key(flat.reshape(4, 6, 3))  # same bytes, another shape
    for wrong in (flat[..., :2], flat.astype(np.float32), flat[0], flat[:0]):
        with pytest.raises(ValueError, match="a picture"):
            encode_picture(wrong)
    good = encode_picture(noise(1))
    for broken in (b"", good[:4], good[:-5], b"\xff" * 40, good[:6] + b"x" + good[6:]):
        with pytest.raises(ValueError, match="damaged"):
            decode_picture(broken)


def test_every_row_comes_back(tmp_path, screens):
    pictures, snapshots = screens
    labels = [
        Label(3, "expert 1", optimal=(3, 5)), None, Label(None, "expert 2", "timeout"), Label(0, "expert 1", cached=True),
    ]  # fmt: skip
    with create(tmp_path / "data.sqlite", facts={"game": "tallgrass"}) as data:
        rows = [
            Row(picture, t % 8, 0, 5, t, 0.5, 2**40, 7, t % 8 - 1, snapshot, labels[t % 4], reward=t / 3)
            for t, (picture, snapshot) in enumerate(zip(pictures, snapshots, strict=True))
        ]
        ids = data.append(rows)
        assert ids.tolist() == list(range(61)) and data.n_committed == 0 and len(data) == 61
        data.commit(0)
        assert data.n_committed == 61
    with DaggerData(tmp_path / "data.sqlite", "read", milestone="CLOCK_SET", buttons=BUTTONS) as data:
        assert (data.milestone, data.buttons, data.facts) == ("CLOCK_SET", BUTTONS, {"game": "tallgrass"})
        shuffled = np.random.default_rng(0).permutation(np.tile(ids, 2))
        assert np.array_equal(data.frames(shuffled), pictures[shuffled])
        assert data.snapshots([60, 0, 60]) == [snapshots[60], snapshots[0], snapshots[60]]
        columns, names = data.columns(COLUMNS), data.names
        assert all(columns[name].dtype == dtype and len(columns[name]) == 61 for name, dtype in COLUMNS.items())
        assert columns["action"].tolist() == [row.action for row in rows]
        assert columns["label"][:4].tolist() == [3, -1, -1, 0]
        assert columns["status"][:4].tolist() == [Status.VALID, Status.NOT_ASKED, Status.ABSTAINED, Status.VALID]
        assert [actions_of(mask) for mask in columns["optimal"][:4]] == [(3, 5), (), (), ()]
        assert [names[number] if number >= 0 else None for number in columns["expert"][:4]] == [
            "expert 1", None, "expert 2", "expert 1",
        ]  # fmt: skip
        assert names[columns["reason"][2]] == "timeout" and columns["reason"][[0, 1, 3]].tolist() == [-1] * 3
        assert columns["cached"][:4].tolist() == [False, False, False, True]
        assert columns["reward"].tolist() == [row.reward for row in rows]
        assert columns["prev_action"].tolist() == [row.prev_action for row in rows]
        for name, value in (("seed", 2**40), ("world", 7), ("beta", 0.5), ("episode", 5), ("source", Source.ROLLOUT)):
            assert set(columns[name].tolist()) == {value}
        assert data.columns(["step"], start=58)["step"].tolist() == [58, 59, 60]
        with pytest.raises(ValueError, match="no columns \\['steps'\\]"):
            data.columns(["steps"])
        with pytest.raises(IndexError, match="no row 61, only 0 to 60"):
            data.frames([3, 61])
        with pytest.raises(DaggerDataError, match="opened to be read"):
            data.append([])


def test_a_picture_is_stored_once(tmp_path, screens):
    pictures, snapshots = screens
    with create(tmp_path / "data.sqlite") as data:
        for iteration in range(4):
            episode = data.next_episode
            data.append(Row(picture, 0, iteration, episode, t) for t, picture in enumerate(pictures))
            data.append(Row(pictures[0], 0, iteration, episode + 1, t, snapshot=snapshots[0]) for t in range(50))
            data.commit(iteration)
        frames = data.columns(["frame", "snapshot"])
        distinct = len({picture.tobytes() for picture in pictures})
        assert 1 < distinct < len(pictures)  # bumping into things shows the same picture again
        assert len(np.unique(frames["frame"])) == distinct
        assert np.unique(frames["snapshot"]).tolist() == [-1, 0]
    with DaggerData(tmp_path / "data.sqlite") as data:  # and it is known after opening again
        data.append([Row(pictures[7], 0, 9, 200, 0, snapshot=snapshots[0])])
        assert data.columns(["frame"], start=len(data) - 1)["frame"][0] == frames["frame"][7]
        assert data.columns(["snapshot"], start=len(data) - 1)["snapshot"][0] == 0


def test_pictures_with_equal_beginnings_of_their_hash_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("dagger.data.picture_key", lambda picture: b"12345678" + picture_key(picture)[8:])
    monkeypatch.setattr("dagger.blob_table._RECENT_KEYS", 3)  # through the sorted keys as well
    with create(tmp_path / "data.sqlite") as data:
        data.append(step(value % 5, 0, value) for value in range(20))
        assert all(np.array_equal(data.frames([value])[0], noise(value % 5)) for value in range(20))


def test_many_keys_are_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr("dagger.blob_table._RECENT_KEYS", 7)
    monkeypatch.setattr("dagger.blob_table._CHUNK", 5)
    monkeypatch.setattr("dagger.data._CHUNK", 5)
    with create(tmp_path / "data.sqlite") as data:
        data.append(step(value % 40, 0, value) for value in range(100))
        data.commit(0)
    with DaggerData(tmp_path / "data.sqlite") as data:
        data.append(step(value % 50, 1, value, 1) for value in range(100))
        assert data.columns(["frame"])["frame"].tolist() == [v % 40 for v in range(100)] + [v % 50 for v in range(100)]
        assert data.columns(["step"])["step"].tolist() == [*range(100), *range(100)]


def test_answers_come_until_the_commit_and_never_after(tmp_path):
    with create(tmp_path / "data.sqlite") as data:
        ids = data.append(step(t, 0, t, label=None) for t in range(4))
        data.set_answers(ids[1:3], [Label(6, "late", optimal=(6, 7)), Label(None, "late", "none")])
        assert data.columns(["label"])["label"].tolist() == [-1, 6, -1, -1]
        data.commit(0)
        with pytest.raises(DaggerDataError, match="row 0 .* a committed row never changes"):
            data.set_answers([0], [Label(1, "late")])
    with DaggerData(tmp_path / "data.sqlite", "read") as data:
        columns = data.columns(["label", "status", "optimal"])
        assert columns["status"].tolist() == [Status.NOT_ASKED, Status.VALID, Status.ABSTAINED, Status.NOT_ASKED]
        assert columns["optimal"].tolist() == [0, 0b11000000, 0, 0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (step(0, 0, 0, label=Label(8, "e")), "not of 0 to 7"),
        (step(0, 0, 0, label=Label(1, "e", optimal=(2,))), "not among its optimal"),
        (step(0, 0, 0, label=Label(1, "e", optimal=(1, 9))), "not of 0 to 7"),
        (step(0, 0, 0, label=Label(None, "e")), "needs its kind"),
        (step(0, 0, 0, label=Label(1, "e", "none")), "no kind"),
        (Row(noise(0), -1, 0, 0, 0), "actions -1"),
        (Row(noise(0), 0, 0, 0, 0, prev_action=8), "and 8"),
        (Row(noise(0), 0, 0, 0, 1), "step 1 of episode 0 can't follow step -1"),
        (Row(noise(0).astype(float), 0, 0, 0, 0), "float64"),
        (Row(noise(0, (8, 8)), 0, 0, 0, 0), r"\(8, 8, 3\), but those before have \(9, 7, 3\)"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, row, message):
    with create(tmp_path / "data.sqlite") as data:
        data.append([step(1, 7, 0)])
        with pytest.raises(DaggerDataError, match=message):
            data.append([row])
        assert len(data) == 1


def test_interleaved_episodes_and_their_stacks(tmp_path):
    with create(tmp_path / "data.sqlite") as data:
        data.append(step(10 * episode + t, episode, t) for t in range(4) for episode in (0, 1))
        data.append(step(20, 2, t) for t in range(2))
        # rows: 0 1 | 2 3 | 4 5 | 6 7 of episodes 0 and 1, then 8 9 of episode 2
        assert data.previous([6, 7, 8, 9]).tolist() == [4, 5, 8, 8]
        assert data.previous([6, 7, 4], 2).tolist() == [2, 3, 0]
        assert data.previous([6, 7, 9], 50).tolist() == [0, 1, 8]
        assert data.previous([6], 0).tolist() == [6]
        with pytest.raises(DaggerDataError, match="step 1 of episode 1 can't follow step 3"):
            data.append([step(0, 1, 1)])
        assert data.next_episode == 3
        data.commit(0)
        with pytest.raises(DaggerDataError, match="episode 1 can't follow"):  # an episode doesn't go on after a commit
            data.append([step(0, 1, 4, 1)])
        data.append([step(30, 3, 0, 1)])
        assert data.previous([10]).tolist() == [10]


def test_what_came_before_is_forgotten_with_dropped_rows(tmp_path):
    with create(tmp_path / "data.sqlite") as data:
        fill(data, 0, (2,))
        data.append(step(t, 1, t, 1) for t in range(3))
        assert data.previous([2, 3, 4]).tolist() == [2, 2, 3]
        data.truncate(2)
        data.append(step(t, episode, t, 1) for t in range(2) for episode in (1, 2))
        assert data.previous([2, 3, 4, 5]).tolist() == [2, 3, 2, 3]


def test_commits(tmp_path):
    with create(tmp_path / "data.sqlite") as data, DaggerData(tmp_path / "data.sqlite", "read") as reader:
        with pytest.raises(DaggerDataError, match="nothing was appended"):
            data.commit(0)
        data.append([step(0, 0, 0, 0)])
        assert len(reader) == 0 and reader.columns(["label"])["label"].tolist() == []
        with pytest.raises(DaggerDataError, match=r"iterations \[0\] can't be committed as iteration 1"):
            data.commit(1)
        data.commit(0)
        assert len(reader) == 1 and reader.names == ["expert"]
        data.append([step(1, 1, 0, 0)])
        with pytest.raises(DaggerDataError, match="0 can't be committed after 0"):
            data.commit(0)
        data.discard()
        assert len(data) == 1
        fill(data, 4)
        assert data.iterations == reader.iterations == {0: 1, 4: 8}
        data.append([step(9, 90, 0, 5)])
    with DaggerData(tmp_path / "data.sqlite") as data:  # what was not committed is gone
        assert len(data) == data.n_committed == 8 and data.next_episode == 3


def test_truncate_goes_back_to_a_commit(tmp_path):
    with create(tmp_path / "a.sqlite") as data:
        digests, rows = [], []
        for iteration in range(4):
            fill(data, iteration, (3, 2 + iteration))
            data_digest = data.digest()
            digests.append(data_digest)
            rows.append(len(data))
        with pytest.raises(DaggerDataError, match="no commit ended with 6 rows, only with 5, 11, 18, 26"):
            data.truncate(6)
        data.append([step(5, 100, 0, 4, label=Label(1, "another"))])
        data.truncate(rows[1])
        assert (len(data), data.digest(), data.next_episode) == (rows[1], digests[1], 4)
    with DaggerData(tmp_path / "a.sqlite") as data:
        assert data.digest() == digests[1]
        for iteration in (2, 3):
            fill(data, iteration, (3, 2 + iteration))
        assert data.digest() == digests[3] and data.names == ["expert"]
        data.truncate(0)
        assert (len(data), data.iterations, data.names) == (0, {}, [])
        fill(data, 0, (3, 2))
        assert data.digest() == digests[0]


def test_digest_tells_contents_apart(tmp_path):
    def digest(name, *rows, milestone="CLOCK_SET", end=None):
        with create(tmp_path / name, milestone=milestone) as data:
            data.append(rows)
            if end is not None:
                data.end_episode(0, noise(end), True)
            data.commit(0)
            return data.digest()

    same = digest("0", step(1, 0, 0))
    assert digest("1", step(1, 0, 0)) == same
    assert digest("2", step(1, 0, 0, label=Label(1, "expert", cached=True))) == same  # asked or known: nothing else is learnt
    others = [
        digest("3", step(1, 0, 0, label=Label(2, "expert"))),
        digest("4", step(1, 0, 0, label=Label(1, "expert", optimal=(1, 2)))),
        digest("5", step(9, 0, 0)),
        digest("6", step(1, 0, 0, snapshot=b"1")),
        digest("7", step(1, 0, 0, snapshot=b"2")),
        digest("8", step(1, 0, 0), milestone=None),
        digest("9", step(1, 0, 0, reward=1.0)),
        digest("10", step(1, 0, 0), end=3),
        digest("11", step(1, 0, 0), step(1, 0, 1)),
    ]
    assert len({same, *others}) == 10


def test_demonstrations(tmp_path, screens):
    pictures, _ = screens
    labels, pressed = np.array([0, NO_LABEL, 2, 3]), np.array([0, 1, 7, 3])
    metadata = {"milestone": "CLOCK_SET", "buttons": BUTTONS, "seed": 5, "world": 8, "recorder": "human", "game": "tallgrass"}
    for done in (True, False):
        rewards, dones = np.array([0, 0, 0, 1.0]), np.array([False, False, False, done])
        save_episode(tmp_path / "demos", Episode(pictures[:5], labels, rewards, dones, pressed, metadata))
    files = sorted((tmp_path / "demos").glob("*.npz"))
    with create(tmp_path / "data.sqlite", facts={"game": "tallgrass"}) as data:
        assert data.add_demonstrations(files, steps_of={files[1]: 3}) == 7
        data.commit(DEMONSTRATION_ITERATION)
        columns = data.columns(COLUMNS)
        assert columns["label"].tolist() == [0, -1, 2, 3, 0, -1, 2]
        assert columns["action"].tolist() == [0, 1, 7, 3, 0, 1, 7]
        assert columns["prev_action"].tolist() == [-1, 0, 1, 7, -1, 0, 1]
        assert columns["status"].tolist() == [Status.VALID, Status.ABSTAINED, Status.VALID, Status.VALID] + [0, 1, 0]
        assert columns["reward"].tolist() == [0, 0, 0, 1, 0, 0, 0] and set(columns["source"]) == {Source.DEMONSTRATION}
        assert (set(columns["seed"]), set(columns["world"]), set(columns["iteration"])) == ({5}, {8}, {-1})
        assert columns["episode"].tolist() == [0] * 4 + [1] * 3
        assert data.names == ["demonstrations by human", "not recorded"]
        assert np.array_equal(data.frames(range(4)), pictures[:4])
        for episode, length, terminated in ((0, 4, True), (1, 3, False)):
            last, ended = data.episode_end(episode)
            assert np.array_equal(last, pictures[length]) and ended is terminated
        data.append([Row(pictures[9], 0, 0, 2, 0)])
        data.commit(0)
        assert data.episode_end(2) is None
        with pytest.raises(DaggerDataError, match="episode 2 has no rows since the last commit"):
            data.end_episode(2, pictures[0], True)
    for name, other in (("milestone", {"milestone": "LEAVE_HOUSE"}), ("game", {"facts": {"game": "emerald"}})):
        with create(tmp_path / f"{name}.sqlite", **other) as data:
            with pytest.raises(DaggerDataError, match=f"episode_0001.npz: has {name}"):
                data.add_demonstrations(files)
            with pytest.raises(DemonstrationError, match="no such file"):
                data.add_demonstrations([tmp_path / "demos" / "episode_9.npz"])


def test_opening_tells_what_is_wrong(tmp_path):
    path = tmp_path / "runs" / "data.sqlite"
    with pytest.raises(DaggerDataError, match="data.sqlite: no such data set"):
        DaggerData(path, "open")
    with pytest.raises(DaggerDataError, match="no such data set"):
        DaggerData(tmp_path, "read")
    with pytest.raises(ValueError, match="milestone= and buttons="):
        DaggerData(path, "create")
    with pytest.raises(ValueError, match="'append'"):
        DaggerData(path, "append")
    with create(path) as data:
        fill(data, 0)
        with pytest.raises(DaggerDataError, match="another process is writing"):
            DaggerData(path, "open")
    with pytest.raises(DaggerDataError, match="exists already"):
        create(path)
    with pytest.raises(DaggerDataError, match="made for milestone 'CLOCK_SET', not 'LEAVE_HOUSE'"):
        DaggerData(path, "open", milestone="LEAVE_HOUSE")
    with pytest.raises(DaggerDataError, match="made for milestone 'CLOCK_SET', not None"):
        DaggerData(path, "open", milestone=None)
    with pytest.raises(DaggerDataError, match="made for buttons"):
        DaggerData(path, "open", buttons=["A", "B"])
    assert sorted(file.name for file in path.parent.iterdir()) == ["data.sqlite"]


def test_reading_where_nothing_can_be_written(tmp_path, monkeypatch):
    with create(tmp_path / "data.sqlite") as data:
        fill(data, 0)
    monkeypatch.setattr("common.runtime.sqlite_files.os.access", lambda path, mode: False)  # as on a read-only disk
    with DaggerData(tmp_path / "data.sqlite", "read") as data:
        assert data.frames([1]).shape == (1, 9, 7, 3)
        assert [file.name for file in tmp_path.iterdir()] == ["data.sqlite"]  # SQLite needed no files beside it


def test_foreign_and_broken_files(tmp_path):
    good = tmp_path / "good.sqlite"
    with create(good) as data:
        fill(data, 0, (40, 40, 40))
    content = good.read_bytes()
    cases = {
        "empty": (b"", "not a data set of DAgger"),
        "text": (b"hello " * 1000, "not a data set of DAgger, or is damaged .*; delete it"),
        "half": (content[: len(content) // 2], "damaged"),
        "tail": (content[:-4096], "damaged"),
        "zeros": (content[:4096] + bytes(len(content) - 4096), "damaged"),
    }
    for name, (broken, message) in cases.items():
        path = tmp_path / f"{name}.sqlite"
        path.write_bytes(broken)
        for mode in ("read", "open"):
            with pytest.raises(DaggerDataError, match=message) as error:
                DaggerData(path, mode)
            assert str(path) in str(error.value) and "\n" not in str(error.value)
    path = tmp_path / "foreign.sqlite"
    for statement, message in (
        ("CREATE TABLE t (a)", "SQLite file, but not a data set"),
        ("PRAGMA application_id = 1413956676", "schema version 0, this program reads 1"),
    ):
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.close()
        with pytest.raises(DaggerDataError, match=message):
            DaggerData(path, "read")


def test_a_damaged_picture_is_told(tmp_path):
    path = tmp_path / "data.sqlite"
    with create(path) as data:
        fill(data, 0)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE frames SET data = x'00112233445566' WHERE id = 3")
    connection.commit()
    connection.close()
    with DaggerData(path, "read") as data:
        assert data.frames([2]).shape == (1, 9, 7, 3)
        with pytest.raises(DaggerDataError, match="data.sqlite: a picture is damaged"):
            data.frames([2, 3])


def changed(path, *statements):
    """The file after somebody else's statements, which SQLite runs without looking at what the columns were declared as."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)
    return path


STRANGE_THINGS = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON rows BEGIN UPDATE rows SET label = 0; END",
    "view": "CREATE VIEW v AS SELECT 1",
    "index": "CREATE INDEX i ON rows (label)",
    "more": "CREATE TABLE more (a)",
    "virtual": "CREATE VIRTUAL TABLE words USING fts5(a)",
    "column": "ALTER TABLE rows ADD COLUMN extra INTEGER",
    "generated": "ALTER TABLE episode_ends ADD COLUMN late AS (frame + 1)",
    "default": "UPDATE sqlite_master SET sql = replace(sql, 'reward REAL', 'reward ANY') WHERE name = 'rows'",
    "gone": "DROP TABLE episode_ends",
}


@pytest.mark.parametrize("mode", ["read", "open"])
@pytest.mark.parametrize("name", STRANGE_THINGS)
def test_no_file_with_other_tables_is_opened(tmp_path, name, mode):
    path = tmp_path / "data.sqlite"
    with create(path) as data:
        fill(data, 0)
    changed(path, STRANGE_THINGS[name])
    with pytest.raises(DaggerDataError, match="data.sqlite: (has a|its table|lacks the table) .*; give another file"):
        DaggerData(path, mode)


def test_a_view_in_a_tables_place_is_not_read(tmp_path):
    path = tmp_path / "data.sqlite"
    with create(path) as data:
        fill(data, 0)
    columns = ", ".join(COLUMNS)
    view = f"CREATE VIEW rows AS SELECT id, {columns} FROM old".replace("label,", "0 AS label,")
    changed(path, "ALTER TABLE rows RENAME TO old", view)
    with pytest.raises(DaggerDataError, match="that does not belong there"):
        DaggerData(path, "read")


WRONG_VALUES = [
    ("rows", "label", 8), ("rows", "label", -1), ("rows", "label", "x"), ("rows", "label", 1.5), ("rows", "label", None),
    ("rows", "action", 60), ("rows", "action", 70000), ("rows", "status", 3), ("rows", "status", 1), ("rows", "reason", 0),
    ("rows", "optimal", 0), ("rows", "optimal", 1 << 8), ("rows", "optimal", 1 << 7), ("rows", "expert", 5),
    ("rows", "expert", None),
    ("rows", "previous", 5), ("rows", "previous", -1), ("rows", "frame", 999), ("rows", "frame", b"x"), ("rows", "frame", 0.5),
    ("rows", "cached", 2), ("rows", "iteration", -2), ("rows", "iteration", 2**40), ("rows", "beta", 2.0), ("rows", "beta", "x"),
    ("rows", "episode", 99), ("rows", "step", -1), ("rows", "step", 4), ("rows", "seed", "x"), ("rows", "world", 1.5),
    ("rows", "prev_action", -2), ("rows", "snapshot", 7), ("rows", "reward", "x"), ("rows", "reward", 9e999), ("rows", "source", 2),
    ("names", "name", b"x"), ("frame_keys", "sha256", b"x"), ("frame_keys", "sha256", "x" * 32), ("episode_ends", "frame", 99),
    ("episode_ends", "frame", "x"), ("episode_ends", "terminated", 2), ("commits", "rows", "x"), ("commits", "episodes", -1),
    ("meta", "value", "{"), ("meta", "value", "3"), ("meta", "value", b"[]"), ("meta", "value", "[" * 100_000),
]  # fmt: skip


@pytest.mark.parametrize(("table", "column", "value"), WRONG_VALUES)
def test_values_are_not_taken_on_trust(tmp_path, table, column, value):
    path = tmp_path / "data.sqlite"
    with create(path) as data:
        first = noise(0)
        data.append(step(t, 0, t, label=Label(t % 8, "expert", optimal=(t % 8, (t + 1) % 8))) for t in range(4))
        data.end_episode(0, first, True)
        data.commit(0)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")  # a stranger's file has what it wants in columns that are NOT NULL
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        key = {"meta": "key", "episode_ends": "episode"}.get(table, "id")
        last = connection.execute(f"SELECT max({key}) FROM {table}").fetchone()[0]
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (value, last))
        schema = create(tmp_path / "good.sqlite")
        schema.close()
        with contextlib.closing(sqlite3.connect(tmp_path / "good.sqlite")) as good:
            connection.execute("PRAGMA writable_schema = ON")
            for name, sql in good.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"):
                connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (sql, name))
    for mode in ("read", "open"):
        with pytest.raises(DaggerDataError, match="data.sqlite: is damaged") as error:
            DaggerData(path, mode)
        assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_blobs_that_are_bombs_are_told(tmp_path):
    path = tmp_path / "data.sqlite"
    with create(path) as data:
        data.append(step(t, 0, t, snapshot=bytes([t])) for t in range(3))
        data.commit(0)
    bomb = zlib.compress(bytes(300_000_000), 9)  # in 300 kB
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table, number, blob in (
            ("frames", 1, struct.pack("<HHBB", 65535, 65535, 24, 0) + bomb),
            ("frames", 2, struct.pack("<HHBB", 9, 7, 24, 0) + bomb),
            ("snapshots", 1, bomb),
            ("snapshots", 2, "text"),
        ):
            connection.execute(f"UPDATE {table} SET data = ? WHERE id = ?", (blob, number))
    with DaggerData(path, "read") as data:
        tracemalloc.start()
        for row in (1, 2):
            with pytest.raises(DaggerDataError, match="a picture is damaged"):
                data.frames([row])
            with pytest.raises(DaggerDataError, match="a snapshot is damaged"):
                data.snapshots([row])
        assert tracemalloc.get_traced_memory()[1] < 60e6
        tracemalloc.stop()
    changed(path, "UPDATE frames SET data = x'00' WHERE id = 0")
    with pytest.raises(DaggerDataError, match="is damaged"):
        DaggerData(path, "read")


def test_a_picture_of_another_shape_or_none_is_told(tmp_path):
    path = tmp_path / "data.sqlite"
    with create(path) as data:
        fill(data, 0)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE frames SET data = ? WHERE id = 1", (encode_picture(noise(0, (8, 8))),))
        connection.execute("DELETE FROM frames WHERE id = 2")
    with DaggerData(path, "read") as data:
        with pytest.raises(DaggerDataError, match=r"a picture is damaged \(it is \(8, 8, 3\), the first is \(9, 7, 3\)\)"):
            data.frames([1])
        with pytest.raises(DaggerDataError, match="has no picture 2"):
            data.frames([2])


def test_digest_of_an_earlier_commit(tmp_path):
    with create(tmp_path / "data.sqlite") as data:
        digests = {0: data.digest()}
        for iteration in range(3):
            fill(data, iteration)
            digests[len(data)] = data.digest()
        data.append([step(1, 90, 0, 3)])  # what is not committed doesn't count
        assert data.digest() == digests[21]
        assert {rows: data.digest(rows) for rows in (7, 0, 21, 14)} == {rows: digests[rows] for rows in (7, 0, 21, 14)}
        with pytest.raises(DaggerDataError, match="no commit ended with 8 rows"):
            data.digest(8)
    with DaggerData(tmp_path / "data.sqlite", "read") as data:
        assert {rows: data.digest(rows) for rows in digests} == digests and len(set(digests.values())) == 4
    changed(tmp_path / "data.sqlite", "UPDATE rows SET label = (label + 1) % 8 WHERE id = 10")
    with DaggerData(tmp_path / "data.sqlite", "read") as data:
        assert [data.digest(rows) == digests[rows] for rows in digests] == [True, True, False, False]


def test_what_a_killed_process_left_beside_it_is_cleared(tmp_path):
    child = subprocess.Popen(["sleep", "0"])
    child.wait()
    path = tmp_path / "data.sqlite"
    left = [f".data.sqlite.{child.pid}.7.tmp{ending}" for ending in ("", "-wal", "-shm", "-journal")]
    kept = [f".data.sqlite.{os.getpid()}.7.tmp-wal", f".other.sqlite.{child.pid}.7.tmp", f".data.sqlite.{child.pid}.tmp.npz"]
    for opened in (lambda: create(path), lambda: DaggerData(path, "open")):
        for name in (*left, *kept):
            (tmp_path / name).write_text("")
        opened().close()
        assert {entry.name for entry in tmp_path.iterdir()} == {"data.sqlite", *kept}


WRITER = """
import sys, time
import numpy as np
from dagger.data import DaggerData
from tests.dagger.test_data import killed_rows
with DaggerData(sys.argv[1], "open") as data:
    iteration = max(data.iterations, default=-1) + 1
    print(len(data), flush=True)
    while True:
        for start in range(0, 240, 24):
            data.append(killed_rows(iteration)[start : start + 24])
        data.commit(iteration)
        print(len(data), flush=True)
        iteration += 1
"""


def killed_rows(iteration):
    """240 rows that fill SQLite's page cache, so that some are written before the commit."""
    rng = np.random.default_rng(iteration)
    pictures = rng.integers(0, 256, (240, 48, 40, 3), dtype=np.uint8)
    return [
        Row(pictures[t], t % 8, iteration, iteration, t, label=Label(t % 7, f"expert {iteration}"), snapshot=bytes([iteration, t]))
        for t in range(240)
    ]


def test_sigkill_at_any_moment_leaves_the_last_commit(tmp_path):
    path = tmp_path / "data.sqlite"
    create(path).close()
    rng = random.Random(0)
    committed, in_the_middle = 0, 0
    for number in range(6):
        child = subprocess.Popen([sys.executable, "-c", WRITER, path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert int(child.stdout.readline()) == committed
            seen = [int(child.stdout.readline())] if number % 2 else []  # on a busy machine half a second may see no commit
            time.sleep(rng.uniform(0.02, 0.5))
        finally:
            child.send_signal(signal.SIGKILL)
            reported = seen + [int(line) for line in child.stdout.read().split()]
            child.wait()
            child.stdout.close()
        with DaggerData(path, "read") as data:
            assert len(data) % 240 == 0
            # The last commit, or the one that was done just before its report could be read.
            assert len(data) - (reported[-1] if reported else committed) in (0, 240)
            committed = len(data)
            digest = data.digest()
        in_the_middle += path.with_name(path.name + "-wal").exists()
        with DaggerData(path, "open") as data:
            assert len(data) == data.n_committed == committed and data.digest() == digest
            for iteration in range(committed // 240):
                rows = killed_rows(iteration)
                ids = np.arange(240 * iteration, 240 * iteration + 240)
                assert np.array_equal(data.frames(ids), np.stack([row.observation for row in rows]))
                assert data.snapshots(ids) == [row.snapshot for row in rows]
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert committed > 0 and in_the_middle > 0
    with create(tmp_path / "straight.sqlite") as straight:  # and it is what a run that was never killed has
        for iteration in range(committed // 240):
            straight.append(killed_rows(iteration))
            straight.commit(iteration)
        assert straight.digest() == digest


def test_readers_beside_a_writer(tmp_path):
    path = tmp_path / "data.sqlite"
    create(path).close()
    child = subprocess.Popen([sys.executable, "-c", WRITER, path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        child.stdout.readline()
        seen = set()
        while len(seen) < 4:
            with DaggerData(path, "read") as data:
                seen.add(len(data))
                frames = data.columns(["frame"])["frame"]
                assert len(frames) % 240 == 0
                data.frames(range(max(len(frames) - 3, 0), len(frames)))
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_an_iteration_costs_the_same_however_much_is_there(tmp_path):
    def written():
        return int(next(line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar")).split()[1])

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not Path("/proc/self/io").exists():
        pytest.skip("needs /proc to count what is written")
    costs, sizes = [], []
    with create(tmp_path / "data.sqlite") as data:
        for iteration in range(60):
            rng = np.random.default_rng(iteration)
            before = written()
            rows = (
                Row(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), 0, iteration, iteration, t, label=Label(0, "e"))
                for t in range(100)
            )
            data.append(rows)
            data.commit(iteration)
            costs.append(written() - before)
            sizes.append(resident())
        assert len(data) == 6000
    # 100 pictures of 12 kB that can't be made smaller; the median leaves out when SQLite moves its log into the file.
    first, last = statistics.median(costs[5:20]), statistics.median(costs[-15:])
    assert 1.2e6 < first < 2.5e6 and last < 1.05 * first, costs
    assert sizes[-1] - sizes[20] < 8e6, sizes  # of 49 MB that were appended between


def test_labels_of_a_withdrawn_expert_do_not_count(tmp_path):
    path = tmp_path / "d.sqlite"
    with create(path) as data:
        rows = [
            Label(1, "good", optimal=(1, 2)),
            Label(2, "bad", optimal=(2, 3)),
            Label(None, "bad", "none"),
            None,
            Label(4, "bad"),
        ]
        data.append(step(t, 0, t, label=label) for t, label in enumerate(rows))
        data.commit(0)
        before, generation = data.digest(), data.generation
        stored = data._connection.execute("SELECT * FROM rows ORDER BY id").fetchall()
        data.append([step(9, 1, 0, 1)])
        data.withdraw("bad", "depends on a clock")
        assert data.generation > generation and len(data) == 5  # what was not committed is gone
        fill(data, 1)
    for mode in ("read", "open"):
        with DaggerData(path, mode) as data:
            assert data.withdrawn == {"bad": "depends on a clock"}
            columns = data.columns(("label", "status", "optimal", "reason", "expert"), start=0)
            assert columns["status"][:5].tolist() == [Status.VALID, Status.WITHDRAWN, Status.WITHDRAWN, Status.NOT_ASKED, 3]
            assert columns["label"][:5].tolist() == [1, -1, -1, -1, -1] and columns["optimal"][:5].tolist() == [6, 0, 0, 0, 0]
            assert columns["reason"][:5].tolist() == [-1] * 5 and columns["expert"][1] == columns["expert"][4]
            assert data.columns(["label"], start=4)["label"].tolist()[0] == -1
            assert data._connection.execute("SELECT * FROM rows WHERE id < 5 ORDER BY id").fetchall() == stored  # none has changed
    with DaggerData(path, "open") as data:
        data.truncate(5)  # a run that goes on from an older checkpoint
        assert data.digest() != before and data.columns(["status"])["status"].tolist() == [0, 3, 3, 2, 3]
        digest = data.digest()
        data.withdraw("bad", "found out once more")
        assert data.digest() == digest and data.withdrawn == {"bad": "found out once more"}
