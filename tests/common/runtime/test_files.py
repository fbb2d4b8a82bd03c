"""Locks, whole files, and what a full disk and a killed process do to them."""

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from common.demonstrations import Episode, save_episode
from common.runtime.checkpoints import CheckpointError, save_checkpoint
from common.runtime.files import (
    AlreadyLockedError,
    atomic_write,
    clear_temporaries,
    exclusive_lock,
    name_new_file,
    save_json,
)
from common.video import VideoWriter

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def no_room(n_bytes=10_000):
    """No file may grow longer: writes fail as on a full disk, in the middle of one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def holder_of(path, code="print('ready', flush=True); time.sleep(60)"):
    """A process that holds a lock, and says so."""
    text = f"import time; from common.runtime.files import *\nwith exclusive_lock({str(path)!r}) as file: {code}"
    process = subprocess.Popen([sys.executable, "-c", text], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_who_holds_a_lock_is_said(tmp_path):
    path = tmp_path / "new" / ".lock"
    process = holder_of(path)
    try:
        known = rf"^{path}: held by process {process.pid}, -c, since \d{{4}}-\d\d-\d\d \d\d:\d\d; wait for its end, or write"
        for _ in range(2):  # the first refused one has not disturbed what the file says
            with pytest.raises(AlreadyLockedError, match=known):
                with exclusive_lock(path):
                    pass
    finally:
        process.kill()
        process.wait()
    with exclusive_lock(path):  # a process that is dead holds nothing
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists() and path.parent.is_dir()  # the folder is the killed one's


def test_a_child_that_was_handed_a_lock_keeps_it(tmp_path):
    path = tmp_path / ".lock"
    child = "import subprocess; subprocess.Popen(['sleep', '60'], pass_fds=[file.fileno()])"
    process = holder_of(path, f"{child}; print('ready', flush=True); os.kill(os.getpid(), 9)")
    process.wait()
    with pytest.raises(AlreadyLockedError, match=f"held by process {process.pid}, -c, since .*, or one that it started; wait"):
        with exclusive_lock(path):
            pass
    holders = [pid for pid in os.listdir("/proc") if pid.isdecimal() and str(path) in opened_by(pid)]
    for pid in holders:
        os.kill(int(pid), signal.SIGKILL)
    with exclusive_lock(path, seconds=10):
        pass


def opened_by(pid):
    try:
        return [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return []


def test_never_two_at_once_though_the_file_is_deleted_each_time(tmp_path):
    path, inside, most = tmp_path / "folder" / ".lock", [], []

    def work():
        for _ in range(100):
            try:
                with exclusive_lock(path):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.0005)
                    inside.pop()
            except AlreadyLockedError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) > 10


def test_a_folder_that_was_there_stays(tmp_path):
    with exclusive_lock(tmp_path / ".lock"):
        pass
    with exclusive_lock(tmp_path / "kept" / ".lock", keep=True), exclusive_lock(tmp_path / "new" / ".lock"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["kept"] and (tmp_path / "kept" / ".lock").exists()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    """Some network disks: all that was said was "No locks available", of no file, or that a folder cannot be written."""

    def refuse(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match=r"locked there \(No locks available\); take a folder of another") as error:
        with exclusive_lock(tmp_path / ".lock"):
            pass
    assert error.value.filename == str(tmp_path)


def test_a_name_that_is_taken_where_there_are_no_hard_links(tmp_path, monkeypatch):
    """A USB stick: between the look at a name and the renaming another process took it, and its file was replaced."""

    def refuse(*paths, **more):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    mine, path = tmp_path / ".mine.tmp", tmp_path / "episode_0001.npz"
    mine.write_text("mine")
    with exclusive_lock(tmp_path / ".new-file.lock"):  # the other process is at it
        thread = threading.Thread(target=lambda: got.append(name_new_file(mine, path)))
        got = []
        thread.start()
        time.sleep(0.1)
        assert not got
        path.write_text("theirs")
    thread.join()
    assert got == [False] and path.read_text() == "theirs" and mine.read_text() == "mine"
    assert name_new_file(mine, tmp_path / "episode_0002.npz") and (tmp_path / "episode_0002.npz").read_text() == "mine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["episode_0001.npz", "episode_0002.npz"]


def test_what_a_killed_process_left_is_cleared(tmp_path):
    code = "import os; from common.runtime.files import atomic_write\n"
    code += f"with atomic_write({str(tmp_path / 'a[1]_last.pth')!r}) as path:"
    code += " path.write_text('half'); os.kill(os.getpid(), 9)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 2 and all(name.startswith(".a[1]_last.") and name.endswith(".tmp.pth") for name in left)
    for name in ("mine.pth", ".hidden", ".a.tmp.pth"):
        (tmp_path / name).write_text("")
    clear_temporaries(tmp_path, r"a\[1\]\.pth")
    assert len(list(tmp_path.iterdir())) == 5
    clear_temporaries(tmp_path, r"a\[1\]_(last|best)\.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.tmp.pth", ".hidden", "mine.pth"]
    clear_temporaries(tmp_path / "nowhere")


def write_film(path):
    rng = np.random.default_rng(0)
    with VideoWriter(path / "film.mp4") as writer:
        for _ in range(40):
            writer.add(rng.integers(0, 255, (144, 160, 3), dtype=np.uint8))


def write_episode(path):
    screens = np.random.default_rng(0).integers(0, 255, (5, 144, 160, 3), dtype=np.uint8)
    save_episode(path, Episode(screens, np.zeros(4, int), np.zeros(4), np.zeros(4, bool)))


def write_text(path):
    with atomic_write(path / "table.csv") as temporary, temporary.open("w") as file:
        file.writelines(f"{number}\n" for number in range(10_000))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda path: save_json(path / "a.json", list(range(10_000))), r"a\.json"),
        (write_text, r"table\.csv"),
        (write_episode, r"episode_0001\.npz"),
        (write_film, r"film\..*\.mp4"),
    ],
)
def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path, write, name):
    with no_room(), pytest.raises(OSError, match=rf"File too large: '{tmp_path}/\.?{name}'$"):
        write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_names_the_checkpoint_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "a_last.pth"
    content = {"model_state_dict": {"weight": torch.zeros(10)}}
    save_checkpoint(path, content)
    before = path.read_bytes()
    for size, n_bytes in ((100_000, 10_000), (1000, 300)):  # between two tensors, and at the last byte
        content["model_state_dict"]["weight"] = torch.zeros(size)
        with no_room(n_bytes), pytest.raises(CheckpointError, match=rf"^{path}: cannot be written \(File too large\); make"):
            save_checkpoint(path, content)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
