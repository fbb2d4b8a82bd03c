"""How many threads a run computes with."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import torch

from common.runtime import device, threads
from common.runtime.device import set_threads
from common.runtime.threads import free_cores

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.fixture(autouse=True)
def keep_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def counts(monkeypatch, path, *moments):
    """Let /proc/stat say at each look how many ticks each core was idle, of 100 more each time."""
    looks = iter(moments)

    class Stat:
        def exists(self):
            return True

        def read_text(self):
            idle, total = next(looks)
            cores = [f"cpu{number} {total - ticks} 0 0 {ticks} 0 0 0 0 7 7" for number, ticks in enumerate(idle)]
            return "\n".join(["cpu  1 2 3 4 5 6 7 8 9 10", *cores, "intr 5", "ctxt 6"])

    monkeypatch.setattr(threads, "_STAT", Stat())
    monkeypatch.setattr(threads, "_QUOTA", path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 3}, raising=False)


@pytest.mark.parametrize(
    ("idle", "free"), [((100, 100, 100, 100), 3), ((0, 0, 100, 0), 1), ((80, 0, 0, 100), 2), ((60, 60, 0, 60), 2)]
)
def test_cores_that_others_use_are_not_free(monkeypatch, tmp_path, idle, free):
    # Core 2 is not this process's.
    counts(monkeypatch, tmp_path, ((1000, 1000, 1000, 1000), 5000), (tuple(1000 + ticks for ticks in idle), 5100))
    assert free_cores(0) == free


def test_a_containers_quota_counts(monkeypatch, tmp_path):
    counts(monkeypatch, tmp_path, ((0,) * 4, 0), ((100,) * 4, 100))
    monkeypatch.setattr(threads, "_QUOTA", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert free_cores(0) == 1


def test_without_the_kernels_counts_all_cores_are_free(monkeypatch, tmp_path):
    monkeypatch.setattr(threads, "_STAT", tmp_path / "none")
    monkeypatch.setattr(threads, "_QUOTA", tmp_path / "none")
    assert free_cores() == CORES


@pytest.mark.skipif(not threads._STAT.exists(), reason="the system has no /proc/stat")
def test_beside_spinning_processes_one_thread_is_left():
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(CORES)]
    try:
        time.sleep(0.5)
        assert free_cores(0.5) == 1
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def test_a_new_run_takes_free_cores_and_a_resumed_one_what_it_had(monkeypatch):
    torch.set_num_threads(2)
    monkeypatch.setattr(device, "free_cores", lambda: 1)
    assert set_threads(None) == 1 == torch.get_num_threads()
    monkeypatch.setattr(device, "usable_cores", lambda: 2)
    assert set_threads(None, begun_with=2) == 2 == torch.get_num_threads()
    assert set_threads(None, begun_with=16) == 2  # on a smaller machine
    assert set_threads(1, begun_with=2) == 1 == torch.get_num_threads()
    with pytest.raises(ValueError, match="at least 1"):
        set_threads(0)


def test_a_resumed_run_takes_no_more_threads_than_its_container_or_scheduler_has_cores(monkeypatch, tmp_path, capsys):
    """Begun on 16 of a machine's 64 cores and resumed on 2: a step took 700 times as long, without a word."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {7, 9}, raising=False)
    monkeypatch.setattr(threads, "_QUOTA", tmp_path / "cpu.max")
    assert set_threads(None, begun_with=16) == 2
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert set_threads(None, begun_with=16) == 1
    assert not capsys.readouterr().out
    assert set_threads(3) == 3  # as it was said
    assert "3 threads have 1 core(s) here" in capsys.readouterr().out
