"""Ctrl-C that is heeded from the first moment, in one line, and never lost."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path
from types import TracebackType

AGAIN_AFTER = 0.05
"""Seconds until an interrupt that was lost comes again: time enough to leave whatever could not be interrupted."""


def heed_interrupts() -> None:
    """Let a script that Ctrl-C ends outside of its own handlers, while it imports torch for example, say so in one line; and raise
    an interrupt again that compiled code swallows.

    PyBoy's functions can't raise: what is raised in one is printed, and the game goes on. So an interrupt that came at such a
    moment was a traceback, and the script went on to its end.
    """
    if getattr(sys.excepthook, "__module__", None) == __name__:  # it is done already
        return
    before, unraisable_before = sys.excepthook, sys.unraisablehook

    def one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            before(kind, error, trace)
        elif _ends_the_script(trace):  # else compiled code, which swallows it and calls the other hook, too
            print(f"{Path(sys.argv[0]).name}: interrupted", file=sys.stderr)

    def again(args: sys.UnraisableHookArgs) -> None:
        if not issubclass(args.exc_type, KeyboardInterrupt):
            unraisable_before(args)
            return
        with contextlib.suppress(RuntimeError):  # the interpreter ends, and starts no thread any more
            main = threading.main_thread().ident  # which may wait for something, and has to be woken
            timer = threading.Timer(AGAIN_AFTER, signal.pthread_kill, (main, signal.SIGINT))
            timer.daemon = True
            timer.start()

    sys.excepthook, sys.unraisablehook = one_line, again


def _ends_the_script(trace: TracebackType | None) -> bool:
    """Whether an exception has come up to the script itself (with `python -m`, to what runs it)."""
    return trace is None or trace.tb_frame.f_globals.get("__name__") in ("__main__", "runpy")
