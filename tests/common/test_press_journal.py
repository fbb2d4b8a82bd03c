"""The file that keeps a recording's presses while it is under way."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from common.demonstrations import DemonstrationError
from common.press_journal import PressJournal

GAME = {"attempt": 0, "milestone": "CLOCK_SET", "buttons": ("A", "B")}


def picture(value: int) -> np.ndarray:
    return np.full((4, 5, 3), value, np.uint8)


@pytest.fixture
def path(tmp_path):
    """A journal with three presses."""
    journal = PressJournal(tmp_path / "data" / "under_way.jsonl")
    journal.begin(GAME)
    assert not journal.path.exists()  # before the first press there is nothing to keep
    for action in (1, 0, 1):
        journal.append(action, picture(action))
    journal.close()
    return journal.path


def test_it_goes_on_where_it_ended(path):
    again = PressJournal(path)
    again.begin(GAME)
    assert [action for action, _ in again.presses] == [1, 0, 1] and len({crc for _, crc in again.presses}) == 3
    again.append(0, picture(9))
    again.close()
    assert PressJournal(path).presses == again.presses and PressJournal(path).recording == again.recording
    again.remove()
    assert not path.exists() and PressJournal(path).header == {}


def test_each_press_is_there_when_append_returns(path):
    journal = PressJournal(path)
    journal.begin(GAME)
    journal.append(1, picture(3))  # and the file is open still
    assert PressJournal(path).presses == journal.presses


def test_wherever_it_was_cut(path):
    content, whole = path.read_bytes(), PressJournal(path).presses
    for length in range(len(content)):
        path.write_bytes(content[:length])
        journal = PressJournal(path)
        lines = content[:length].count(b"\n")
        assert journal.presses == whole[: max(0, lines - 1)]
        journal.begin(GAME)
        journal.append(1, picture(7))
        journal.close()
        assert PressJournal(path).presses == [*whole[: max(0, lines - 1)], journal.presses[-1]]


@pytest.mark.parametrize(
    "line, content, words",
    [
        (0, b"[1, 2]", "line 1 is damaged (it is not the beginning of a recording)"),
        (0, b"{}", "line 1 is damaged (it is not the beginning of a recording)"),
        (0, b'{"format": 2, "recording": "x"}', "its format is 2, known is 1"),
        (0, b'{"format": 1, "recording": "x", "attempt": "y"}', "its attempt is 'y'"),
        (2, b"nonsense", "line 3 is damaged"),
        (2, b"\xff\xfe", "line 3 is damaged"),
        (2, b"[" * 100_000, "line 3 is damaged"),
        (2, b"[1]", "line 3 is damaged"),
        (2, b"[true, 5]", "line 3 is damaged ([True, 5] is no press)"),
        (2, b"[256, 5]", "line 3 is damaged"),
        (2, b"7", "line 3 is damaged"),
    ],
)
def test_what_is_damaged_is_named_and_stays(path, line, content, words):
    lines = path.read_bytes().split(b"\n")
    lines[line] = content
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(DemonstrationError) as error:
        PressJournal(path)
    assert words in str(error.value) and str(path) in str(error.value)
    assert path.read_bytes() == b"\n".join(lines)


@pytest.mark.parametrize(
    "other, words",
    [
        (GAME | {"milestone": None}, "milestone 'CLOCK_SET', and now it is None"),
        (GAME | {"tier": "T2"}, "tier None, and now it is 'T2'"),
        ({"attempt": 0, "buttons": ["A", "B"]}, "milestone 'CLOCK_SET', and now it is None"),
    ],
)
def test_presses_of_something_else(path, other, words):
    content = path.read_bytes()
    with pytest.raises(DemonstrationError) as error:
        PressJournal(path).begin(other)
    assert words in str(error.value) and path.read_bytes() == content


def test_a_full_disk_is_named_and_takes_nothing(path, tmp_path):
    content = path.read_bytes()
    journal = PressJournal(path)
    journal.begin(GAME)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + 5, hard))
    try:
        with pytest.raises(DemonstrationError) as error:
            journal.append(1, picture(0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.close()
    assert str(path) in str(error.value) and "3 presses" in str(error.value)
    assert [action for action, _ in PressJournal(path).presses] == [1, 0, 1]
