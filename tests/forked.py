"""Starting the repository's scripts by a fork of the tests' process, which has imported torch and the rest already.

A script that trains spends four seconds of CPU time on imports before it does anything, and the suite starts scripts hundreds of
times. A fork is a process all the same: it has its own number, folder, environment, signals, output and exit status, and can be
killed. What it can't show is that a script starts from nothing, so at least one test of each script starts it as a person does.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread
import faulthandler
import gc
import importlib
import logging
import os
import random
import runpy
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from functools import cache
from io import FileIO, TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
ATTACHED = ROOT / "common" / "runtime" / "attached_script.py"
SLOW_IMPORTS = "torch._dynamo torch.utils.tensorboard matplotlib.figure av rich.progress gymnasium tyro bc_pokemon dagger_pokemon "
SLOW_IMPORTS += "auto_dagger_pipeline collect_expert_data play"
"""What the scripts import, some of it only when they need it."""
MOST_FILES = 4096
"""Higher numbers of open files are not looked for."""


@cache
def import_everything() -> None:
    """Once, for all forks to come."""
    for name in SLOW_IMPORTS.split():
        importlib.import_module(name)


def is_script(command: list[str]) -> bool:
    """Whether this starts one of the repository's scripts, tools or benchmarks; what shows the manual is not worth a fork."""
    python, *words = map(str, command)
    words = [word for word in words if word not in ("-P", str(ATTACHED))]
    if python != sys.executable or not words or "--help" in words:
        return False
    if words[:2] == ["-m", "agent.sandbox.worker"] and "openai" in sys.modules:
        return False  # it names its modules in its first message, and the SDKs of language models bring a thousand
    return words[0] == "-m" or Path(words[0]).is_relative_to(ROOT) and Path(words[0]).parent in (ROOT, ROOT / "tools")


def can_fork() -> bool:
    """Not where the system's own libraries don't survive it (macOS), where CUDA was used, and while another thread works: the child
    would wait for ever for what it holds. One that waits for work, or for this one, holds nothing that a script wants.
    """
    return sys.platform == "linux" and not torch.cuda.is_initialized() and all(map(waits, threading.enumerate()))


def waits(thread: threading.Thread) -> bool:
    """Whether it is this thread, one that waits, or one of TensorBoard's, which hold only what is theirs."""
    if thread is threading.current_thread() or type(thread).__module__.startswith("tensorboard."):
        return True
    frame = sys._current_frames().get(thread.ident)
    return frame is None or frame.f_code.co_filename in (threading.__file__, concurrent.futures.thread.__file__)


class Forked(subprocess.Popen):
    """`subprocess.Popen` which forks the repository's scripts, and starts everything else as ever."""

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more) -> None:
        if not is_script(args) or not can_fork():
            return super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more)
        # Three of options that only Windows has or that no test uses, and the ends of the three pipes
        pipes = more[3:9]
        kept = [0, 1, 2, *pass_fds]
        import_everything()
        self.pid = os.fork()
        if not self.pid:
            become(list(map(str, args)), cwd, env, (pipes[0], pipes[3], pipes[5]), kept, group=more[-1])
        self._child_created = True
        self._close_pipe_fds(*pipes)
        return None


def become(
    command: list[str], cwd: str | Path | None, env: dict[str, str] | None, streams: tuple[int, ...], kept: list[int], group: int
) -> NoReturn:
    """Go on as the process that `command` would have started, and never return."""
    code = 1
    try:
        forget_the_tests(group)
        for target, source in enumerate(streams):
            if source >= 0:
                os.dup2(source, target)
        # As a new program would: whoever reads the other end of a pipe of the tests waits until nobody holds this one.
        for before, after in pairwise([*sorted(kept), MOST_FILES]):
            os.closerange(before + 1, after)
        unbuffered = "PYTHONUNBUFFERED" in (os.environ if env is None else env)
        for number, name in ((1, "stdout"), (2, "stderr")):
            stream = TextIOWrapper(
                FileIO(number, "w", closefd=False) if unbuffered else os.fdopen(number, "wb", closefd=False),
                encoding="utf-8",
                errors="strict" if number == 1 else "backslashreplace",
                line_buffering=number == 2,
                write_through=unbuffered,
            )
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        if cwd is not None:
            os.chdir(cwd)
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        code = run(command[1:])
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def forget_the_tests(group: int) -> None:
    """Undo what a new process would not have: the tests' handlers, captured output, filters and random numbers."""
    gc.freeze()  # what they hold is not collected here
    atexit._clear()
    faulthandler.disable()
    if group >= 0:
        os.setpgid(0, group)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.getLogger().handlers.clear()
    importlib.reload(warnings)
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.filterwarnings("ignore", category=category)
    random.seed()
    np.random.seed()
    torch.seed()


def run(words: list[str]) -> int:
    """What `python` with these words does; the exit status."""
    if words[0] == "-P":
        words = words[1:]
    try:
        if words[0] == "-m":
            for name in (words[1], f"{words[1]}.__main__"):  # what the tests imported of it, but for packages
                if not hasattr(sys.modules.get(name), "__path__"):
                    sys.modules.pop(name, None)
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            sys.path.insert(0, str(Path(words[0]).resolve().parent))
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as ending:
        if ending.code is None or isinstance(ending.code, int):
            return (ending.code or 0) & 0xFF
        print(ending.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
