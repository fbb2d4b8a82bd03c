"""A data set of schema version 1, which holds no reasons, is read and written on; digests are the same function in both versions.

`tests/fixtures/make_data_version_1.py` wrote the file, and printed the digests, with the code of that time.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from dagger.data import COLUMNS, DaggerData, DaggerDataError, Status, actions_of
from tests.fixtures.make_data_version_1 import BUTTONS, FACTS, fill, go_on, picture

FILE = Path(__file__).parents[1] / "fixtures" / "data_version_1.sqlite"
DIGESTS = {
    3: "9b769c1ddfef343ab1749f65ae5aa2d20728a77a621de20369ef62c2cd859305",
    10: "b5ce66fa2b86a6c4526bc1a2365d1689c60e2de9137817dac5892c0b42217265",
}
"""Rows with a commit -> what a checkpoint of then holds."""
WITH_WITHDRAWN = "ea8bffacf47f041d3089c9b52afbbc6f9e896509d02d073fdb7b79879db4a4d4"
GONE_ON = "ab6db39fb03f4dfcc792b3435b14ca103a1f400a96c4d04b8f54ff25b33abfdc"


@pytest.fixture
def old(tmp_path) -> Path:
    return Path(shutil.copy(FILE, tmp_path))


def words(data: DaggerData, column: str) -> list[str | None]:
    return [None if number < 0 else data.names[number] for number in data.columns([column])[column]]


def in_file(path: Path, query: str) -> list:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_it_is_read(old):
    with DaggerData(old, "read", milestone="CLOCK_SET", buttons=BUTTONS) as data:
        assert (data.version, len(data), data.iterations, data.facts) == (1, 10, {-1: 3, 0: 10}, FACTS)
        columns = data.columns(COLUMNS)
        assert all(columns[name].dtype == dtype and len(columns[name]) == 10 for name, dtype in COLUMNS.items())
        assert columns["status"].tolist() == [0, 1, 0, 0, 1, 2, 0, 1, Status.WITHDRAWN, Status.WITHDRAWN]
        assert columns["label"].tolist() == [4, -1, 0, 4, -1, -1, 0, -1, -1, -1]
        assert words(data, "kind") == [None, "not recorded", None, None, "exception", None, None, "timeout", None, None]
        assert words(data, "reason") == [None] * 10
        assert actions_of(columns["optimal"][3]) == (4, 6)
        assert np.array_equal(data.frames([9, 0]), [picture(21), picture(0)]) and data.snapshots([2, 3]) == [None, b"memory"]
        assert {rows: data.digest(rows) for rows in DIGESTS} == DIGESTS and data.digest() == WITH_WITHDRAWN


def test_it_is_written_on_as_it_is(old):
    """And not made one of version 2: a committed row never changes, and the program that made it can still read it."""
    before = in_file(old, "SELECT * FROM rows")
    with DaggerData(old, "open") as data:
        assert go_on(data, reason="what a file of version 1 has no place for") == GONE_ON
        assert words(data, "kind")[10:] == ["exception", None, "no_op"] and words(data, "reason")[10:] == [None] * 3
    with DaggerData(old, "open") as data:  # what was appended is no damage, and the old checkpoint's digest still fits
        assert data.digest() == GONE_ON and {rows: data.digest(rows) for rows in DIGESTS} == DIGESTS
        data.truncate(10)
        assert data.digest() == WITH_WITHDRAWN and go_on(data) == GONE_ON
    assert in_file(old, "PRAGMA user_version") == [(1,)]
    assert in_file(old, "SELECT * FROM rows")[:10] == before


def test_without_reasons_a_new_file_has_the_same_digest(tmp_path):
    with DaggerData(tmp_path / "new.sqlite", "create", milestone="CLOCK_SET", buttons=BUTTONS, facts=FACTS) as data:
        assert data.version == 2 and fill(data) == [*DIGESTS.items(), (10, WITH_WITHDRAWN)]
        assert go_on(data) == GONE_ON
        data.truncate(10)
        assert go_on(data, reason="why") != GONE_ON


@pytest.mark.parametrize("mode", ["read", "open"])
@pytest.mark.parametrize(
    "forged",
    [
        ["PRAGMA user_version = 2"],
        ["ALTER TABLE rows RENAME COLUMN reason TO kind"],
        ["ALTER TABLE rows ADD COLUMN kind INTEGER", "PRAGMA user_version = 2"],
        ["UPDATE rows SET reason = 99 WHERE id = 4"],
        ["UPDATE rows SET reason = 3 WHERE id = 3"],  # beside an action
        ["UPDATE rows SET reason = NULL WHERE id = 4"],
        ["UPDATE rows SET reason = 'x' WHERE id = 4"],
    ],
)
def test_one_that_no_program_made_is_refused(old, forged, mode):
    with contextlib.closing(sqlite3.connect(old, isolation_level=None)) as connection:
        for statement in forged:
            connection.execute(statement)
    with pytest.raises(DaggerDataError, match="data_version_1.sqlite: (its table 'rows' is another|is damaged)"):
        DaggerData(old, mode)
