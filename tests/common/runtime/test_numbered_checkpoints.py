"""Which of a run's numbered checkpoints stay."""

from __future__ import annotations

import os
import re

import torch

from common.runtime.numbered_checkpoints import NumberedCheckpoints


def write(folder, name, run_name="a_1_100", age=0):
    path = folder / name
    number = re.search(r"(\d+)\.pth", name)
    torch.save({"model_state_dict": {}, "run_name": run_name, "global_step": int(number[1]) if number else 0}, path)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_of_this_run_stay(tmp_path):
    numbered = NumberedCheckpoints(tmp_path, "a_", "a_1_100", 2, 0)
    for number in (5, 10, 100, 15):
        write(tmp_path, numbered.path(number).name)
        numbered.written(numbered.path(number))
    assert names(tmp_path) == ["a_100.pth", "a_15.pth"]
    numbered.written(write(tmp_path, "a_100.pth"))  # again: it is one file
    assert names(tmp_path) == ["a_100.pth", "a_15.pth"]
    (tmp_path / "a_15.pth").unlink()  # somebody moved it away
    numbered.written(write(tmp_path, "a_20.pth"))
    assert names(tmp_path) == ["a_100.pth", "a_20.pth"]


def test_nothing_else_is_deleted(tmp_path):
    others = ["a_best.pth", "a_last.pth", "a_final.pth", "a_1_5.pth", "aa_5.pth", "b_5.pth", "a_5.pth.old", "a_iter5.pth"]
    for name in others:
        write(tmp_path, name, age=9)
    write(tmp_path, "a_3.pth", "a_1_99", age=9)  # of another run with the same name
    (tmp_path / "a_4.pth").write_bytes(b"cut short")
    (tmp_path / "a_6.pth").mkdir()
    write(tmp_path, "a_7.pth", age=5)  # the first this run wrote, which was resumed
    write(tmp_path, "a_8.pth", age=1)
    numbered = NumberedCheckpoints(tmp_path, "a_", "a_1_100", 1, 8)
    numbered.written(write(tmp_path, "a_8.pth"))
    assert names(tmp_path) == sorted([*others, "a_3.pth", "a_4.pth", "a_6.pth", "a_8.pth"])


def test_a_run_that_goes_back_is_the_newer_one(tmp_path):
    for number, age in ((10, 50), (20, 40), (30, 30)):
        write(tmp_path, f"a_{number}.pth", age=age)
    numbered = NumberedCheckpoints(tmp_path, "a_", "a_1_100", 2, 10)  # resumed from the first
    numbered.written(write(tmp_path, "a_15.pth"))
    assert names(tmp_path) == ["a_10.pth", "a_15.pth"]
    numbered.written(write(tmp_path, "a_20.pth"))
    assert names(tmp_path) == ["a_15.pth", "a_20.pth"]


def test_the_newest_stay_of_a_run_that_was_copied_or_whose_clock_was_set_back(tmp_path):
    """A copy has the times at which it was made: the newest were deleted, and the first stayed."""
    for number, age in ((10, 10), (20, 50), (100, 50)):
        write(tmp_path, f"a_{number}.pth", age=age)
    numbered = NumberedCheckpoints(tmp_path, "a_", "a_1_100", 2, 100)
    numbered.written(write(tmp_path, "a_110.pth", age=90))
    assert names(tmp_path) == ["a_100.pth", "a_110.pth"]


def test_without_a_number_all_stay(tmp_path):
    numbered = NumberedCheckpoints(tmp_path, "a_", "a_1_100", None, 0)
    for number in range(4):
        numbered.written(write(tmp_path, f"a_{number}.pth"))
    assert len(names(tmp_path)) == 4


def test_a_name_with_signs_that_mean_something_elsewhere(tmp_path):
    folder = tmp_path / "[x]{}*"
    folder.mkdir()
    for _ in range(2):
        numbered = NumberedCheckpoints(folder, "a.[b]{}_", "r", 1, 2)
        for number in range(3):
            numbered.written(write(folder, numbered.path(number).name, "r"))
    write(folder, "aXb{}_1.pth", "r")
    assert names(folder) == ["a.[b]{}_2.pth", "aXb{}_1.pth"]
