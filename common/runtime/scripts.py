"""Running the repository's scripts as a user would, each in a process of its own that ends with this one."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from common.runtime.files import make_folder, open_no_link
from common.runtime.main import UserError

ROOT = Path(__file__).resolve().parents[2]
ATTACHED = Path(__file__).with_name("attached_script.py")
SECONDS_TO_END = 30
"""How long a script may take to save what it has when it is asked to stop."""


class ScriptFailed(UserError, RuntimeError):
    """A script that was started exited with an error, or was stopped; its output says why."""


def never() -> bool:
    """Return False: nothing asks the script to stop."""
    return False


def shown(path: Path) -> str:
    """Return a path as a user would type it: relative if it lies below the working folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def run_script(
    script: str,
    *flags: str,
    log: Path | None = None,
    append: bool = False,
    on_command: Callable[[str], None] = lambda text: print(text, flush=True),
    on_line: Callable[[str], None] | None = None,
    locks: Sequence[int] = (),
    should_stop: Callable[[], bool] = never,
) -> None:
    """Run one of the repository's scripts and print its command line.

    If this call is interrupted or `should_stop` returns True, the script is ended, with time to save what it has. If this process
    is killed, the script ends itself as well (`common.runtime.attached_script`).

    Args:
        script: its name in the repository's root.
        flags: of its command line.
        log: a file for what it prints. None: where this process prints.
        append: keep what the log holds.
        on_command: called with the command line.
        on_line: called with each new line of the log while the script runs.
        locks: file descriptors of locked files, which stay locked as long as the script lives, even if this process does not.
        should_stop: called five times a second.

    Raises ScriptFailed if it is stopped, and if the script fails.
    """
    path = ROOT / script
    on_command(f"$ python {shlex.join([shown(path), *flags])}")
    attached = [sys.executable, "-P", str(ATTACHED), shown(path), *flags]
    target = None
    if log is not None:
        make_folder(log.parent)
        target = open_no_link(log, "a" if append else "w")
    reader = None if log is None or on_line is None else _LineReader(log, on_line)
    try:
        # In a process group of its own: the terminal's Ctrl-C comes to this process alone, which then sends one signal. A second
        # one would cut the script off while it saves.
        process = subprocess.Popen(
            attached,
            stdin=subprocess.PIPE,
            stdout=target,
            stderr=subprocess.STDOUT if log else None,
            process_group=0,
            pass_fds=locks,
        )
    finally:
        if target is not None:
            target.close()
    try:
        while (code := wait(process, 0.2)) is None:
            if reader is not None:
                reader.read()
            if should_stop():
                raise ScriptFailed(f"{script} was stopped")
    finally:
        if process.poll() is None:
            process.terminate()
            if wait(process, SECONDS_TO_END) is None:
                process.kill()
                process.wait()
        assert process.stdin is not None  # it is a pipe
        process.stdin.close()
    if reader is not None:
        reader.read()
    if code:
        raise ScriptFailed(f"{script} {_ending(code)}" + (f" (its output is in {log})" if log else ""))


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last non-empty lines of a log; [] if there is no log."""
    if not log.is_file():
        return []
    return [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-count:]


def wait(process: subprocess.Popen, seconds: float) -> int | None:
    """Return the exit status, or None if the process still runs after `seconds`."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _ending(code: int) -> str:
    if code > 0:
        return f"exited with {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


class _LineReader:
    """The lines that a file gets after this was made. An incomplete line waits until it is complete."""

    def __init__(self, path: Path, on_line: Callable[[str], None]):
        self.path, self.on_line = path, on_line
        self.place = path.stat().st_size if path.is_file() else 0

    def read(self) -> None:
        """Call `on_line` with each line that is new."""
        with self.path.open("rb") as file:
            file.seek(self.place)
            whole = file.read().rpartition(b"\n")[0]
        if whole:
            self.place += len(whole) + 1
            for line in whole.decode(errors="replace").splitlines():
                self.on_line(line)
