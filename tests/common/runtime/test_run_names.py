"""What a run has to itself: its name, its checkpoints, its folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.runtime.files import exclusive_lock
from common.runtime.run_names import RunError, name_complaint, only_trainer, resumed_run, run_folder

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a", "/tmp/a", "a\\b", "a\nb", "a\0b", "ä" * 51, "a" * 101])
def test_names_that_are_no_part_of_a_file_name(name):
    assert name_complaint(name) and "\n" not in name_complaint(name)


@pytest.mark.parametrize("name", ["a", "bc_pokemon", "run 2", "lr=1e-3", "a[1]", "a:b", "a.b", "ä" * 50, "a" * 100])
def test_names_that_can_be(name):
    assert name_complaint(name) is None


def test_each_run_has_a_folder_of_its_own():
    with run_folder("a", 1) as first, run_folder("a", 1) as second, run_folder("b", 1) as other:
        assert Path("runs", first).is_dir() and Path("runs", second).is_dir() and first != second
        (name, seed, at) = first.rsplit("_", 2)
        assert (name, seed) == ("a", "1") and abs(time.time() - int(at)) < 5
        assert second == f"a_1_{int(at) + 1}" and other.startswith("b_1_")
        Path("runs", second, "events").write_text("")
    assert os.listdir("runs") == [second] and os.listdir(f"runs/{second}") == ["events"]  # the others never began


def test_eight_processes_that_start_at_once_have_eight_folders():
    code = "import time; from common.runtime.run_names import *\nwith run_folder('a', 1) as name: print(name, flush=True); input()"
    some = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    processes = [subprocess.Popen([sys.executable, "-c", code], **some) for _ in range(8)]
    names = {process.stdout.readline().strip() for process in processes}
    assert names == set(os.listdir("runs")) and len(names) == 8
    for process in processes:
        process.communicate("\n")
        assert process.returncode == 0
    assert not os.listdir("runs")


@pytest.mark.parametrize(("name", "told"), [("runs", "runs: is no folder"), ("full", "logs cannot be written there")])
def test_where_no_folder_can_be_made(name, told):
    if name == "runs":
        Path("runs").write_text("")
    else:
        Path("runs").symlink_to("/proc/self")
    with pytest.raises(RunError, match=told) as ending, run_folder("a", 1):
        pass
    assert "\n" not in str(ending.value)


def test_a_run_goes_on_in_its_folder_alone():
    with run_folder("a", 1) as name:
        with pytest.raises(RunError, match=rf"^runs/{name}: another process has resumed this run \(process {os.getpid()}, "):
            with resumed_run(name):
                pass
    Path("runs", name, "videos").mkdir(parents=True)
    Path("runs", name, "videos", ".step5_ep1.77.1234.tmp.mp4").write_text("half a film of a killed process")
    with resumed_run(name) as again:
        assert again == name and os.listdir("runs") == [name] and not os.listdir(f"runs/{name}/videos")


def test_a_trainer_has_its_checkpoints_to_itself_and_finds_no_leftovers():
    names = ("a_last", "a_best", "a_final", "a_120", "a_iter3", "a_b_last", "other")
    Path("models").mkdir()
    for name in names:
        Path("models", f".{name}.77.tmp.pth").write_text("half")
    with only_trainer("models", "a"):
        assert sorted(os.listdir("models")) == [".a.lock", ".a_b_last.77.tmp.pth", ".other.77.tmp.pth"]
        with pytest.raises(RunError, match=r"^models/a_\*.pth: another process trains this run \(process .*, since .*\); wait for"):
            with only_trainer("models", "a"):
                pass
        with only_trainer("models", "a_b"), only_trainer("others", "a"):
            pass
    assert os.listdir("models") == [".other.77.tmp.pth"] and not Path("others").exists()
    with exclusive_lock("models/.a.lock"), pytest.raises(RunError, match="--model-dir models/.a.lock: cannot be written"):
        with only_trainer("models/.a.lock", "a"):
            pass
