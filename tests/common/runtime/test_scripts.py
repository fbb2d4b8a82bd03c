"""common/runtime/scripts.py with real processes: what they print, how they end, and that none outlives the one that started it."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.runtime import scripts as script_runs
from common.runtime.scripts import ScriptFailed, last_lines, run_script

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def scripts(tmp_path, monkeypatch):
    monkeypatch.setattr(script_runs, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wait_for(path: Path, seconds: float = 30) -> str:
    deadline = time.monotonic() + seconds
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.02)
    return path.read_text()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_lines_come_while_the_script_runs(scripts):
    (scripts / "talks.py").write_text(
        "import sys, time, pathlib\nprint('one', flush=True)\n"
        "while not pathlib.Path('heard').exists(): time.sleep(0.02)\n"
        "sys.stdout.write('two'); sys.stdout.flush(); time.sleep(0.5); print(' and a half')\nprint('three')\n"
    )
    lines, commands = [], []

    def on_line(line):
        lines.append(line)
        Path("heard").touch()

    Path("log.txt").write_text("of an earlier run\n")
    run_script("talks.py", "--x", "a b", log=Path("log.txt"), append=True, on_line=on_line, on_command=commands.append)
    assert lines == ["one", "two and a half", "three"] and commands == ["$ python talks.py --x 'a b'"]
    assert last_lines(Path("log.txt"), 9) == ["of an earlier run", *lines] and last_lines(Path("none"), 9) == []


def test_a_script_is_what_it_is_when_started_by_hand(scripts):
    (scripts / "beside.py").write_text("VALUE = 5\n")
    (scripts / "script.py").write_text(
        "import statistics, sys\nimport beside\n"  # the standard library's, and not common/statistics.py
        "print(__name__, sys.argv, beside.VALUE, hasattr(statistics, 'median'))\n"
    )
    run_script("script.py", "--flag", log=Path("log.txt"))
    assert Path("log.txt").read_text() == "__main__ ['script.py', '--flag'] 5 True\n"


@pytest.mark.parametrize(
    ("text", "ending"), [("raise SystemExit(3)", "exited with 3"), ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL")]
)
def test_how_it_ended_is_said(scripts, text, ending):
    (scripts / "script.py").write_text(text)
    with pytest.raises(ScriptFailed, match=rf"^script.py {ending}$"):
        run_script("script.py")


PARENT = """
import fcntl, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from common.runtime import scripts as script_runs
script_runs.ROOT = Path.cwd()
with open("lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    script_runs.run_script("script.py", log=Path("log.txt"), locks=[lock.fileno()])
"""


def test_a_killed_parent_takes_its_script_along(scripts):
    (scripts / "script.py").write_text(
        "import os, pathlib, signal, sys, time\n"
        "def save(*_):\n    time.sleep(1)\n    pathlib.Path('saved').write_text('yes')\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "pathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(root=str(ROOT))])
    try:
        pid = int(wait_for(scripts / "pid"))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        with open("lock", "w") as lock:
            with pytest.raises(BlockingIOError):  # the script lives on, to save
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert (scripts / "saved").read_text() == "yes"
        assert not lives(pid)
    finally:
        parent.kill()
        parent.wait()


def test_whoever_is_stopped_does_not_hang_on_a_deaf_script(scripts, monkeypatch):
    monkeypatch.setattr(script_runs, "SECONDS_TO_END", 0.5)
    (scripts / "script.py").write_text(
        "import os, pathlib, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(60)\n"
    )
    with pytest.raises(ScriptFailed, match="was stopped"):
        run_script("script.py", should_stop=lambda: (scripts / "pid").is_file() and bool((scripts / "pid").read_text()))
    assert not lives(int((scripts / "pid").read_text()))
    assert os.getpid() != int((scripts / "pid").read_text())
