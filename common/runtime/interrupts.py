"""Ctrl-C that works from the first moment, prints one line, and is never lost."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path
from types import TracebackType

AGAIN_AFTER = 0.05
"""Seconds until a lost interrupt is raised again: long enough to leave the code that could not be interrupted."""


def heed_interrupts() -> None:
    """Print one line where Ctrl-C ends a script outside its own handlers, and raise again what compiled code swallows.

    Outside its handlers is, for example, while the script imports torch. PyBoy's functions cannot raise: what is raised in one is
    printed, and the game continues. Without this, an interrupt at such a moment printed a traceback, and the script ran to its end.
    """
    if getattr(sys.excepthook, "__module__", None) == __name__:  # already installed
        return
    before, unraisable_before = sys.excepthook, sys.unraisablehook

    def one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            before(kind, error, trace)
        elif _ends_the_script(trace):  # else it is in compiled code, which swallows it and also calls the other hook
            print(f"{Path(sys.argv[0]).name}: interrupted", file=sys.stderr)

    def again(args: sys.UnraisableHookArgs) -> None:
        if not issubclass(args.exc_type, KeyboardInterrupt):
            unraisable_before(args)
            return
        with contextlib.suppress(RuntimeError):  # the interpreter is ending, and starts no more threads
            main = threading.main_thread().ident  # the main thread may be waiting, and has to be woken
            timer = threading.Timer(AGAIN_AFTER, signal.pthread_kill, (main, signal.SIGINT))
            timer.daemon = True
            timer.start()

    sys.excepthook, sys.unraisablehook = one_line, again


def _ends_the_script(trace: TracebackType | None) -> bool:
    """Return whether an exception has reached the script itself (with `python -m`, the module that runs it)."""
    return trace is None or trace.tb_frame.f_globals.get("__name__") in ("__main__", "runpy")
