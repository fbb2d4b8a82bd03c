"""How a script ends: with an exit code, with one line for what a user can fix, or because it was asked to stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from common.runtime.memory import memory_ran_out
from common.runtime.plain_text import in_one_line


class UserError(Exception):
    """Something that the user can fix. The text says which file or flag it is about, what is wrong, and what to do."""


class Stopped(Exception):  # noqa: N818 - no error: it was asked for
    """The work was asked to stop before its end; there is no result."""


class StopRequest:
    """Turns the first SIGINT, SIGTERM or SIGHUP (the terminal was closed) into a flag that a loop polls.

    A second SIGINT ends the process as usual. Later SIGTERMs are ignored, because a scheduler and our parent may each send one
    while we are still saving. Where SIGHUP is ignored, as under `nohup`, it stays ignored.

    Call it to ask whether it is time to stop. It works in the main thread only, as signal handlers do.

    Attributes:
        signal: the number of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        heeded = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            heeded.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._note) for number in heeded}

    def __call__(self) -> bool:
        return self.signal is not None

    def restore(self) -> None:
        """Put the handlers back that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
        signal.signal(signal.SIGINT, self._before[signal.SIGINT])


def exit_code(signal_number: int | None) -> int:
    """Return the exit code of a script that a signal asked to stop, by the shell's convention; 0 without one."""
    return 0 if signal_number is None else 128 + signal_number


def run_main(
    script: str,
    main: Callable[[], int | None],
    *,
    errors: tuple[type[Exception], ...] = (),
    interrupted: str = "interrupted",
) -> NoReturn:
    """Run a script's `main` and exit with the code that it returns (None is 0).

    Errors the user can fix end it with one line and exit code 1; a traceback would bury the message. An interrupt that nothing
    else handles ends it with 130.

    Args:
        script: its name, in front of the line.
        main: takes nothing.
        errors: further errors that the user can fix, in addition to `UserError`, `OSError`, `MemoryError` and torch's own.
        interrupted: what is printed after Ctrl-C.
    """
    mendable: tuple[type[Exception], ...] = (UserError, OSError, MemoryError, *errors)
    try:
        sys.exit(main())
    except mendable as error:
        sys.exit(f"{script}: {in_one_line(error)}")
    except RuntimeError as error:
        if not memory_ran_out(error):
            raise
        sys.exit(
            f"{script}: there is not enough memory ({in_one_line(error)[:200]}); take a smaller --batch-size, network or data set, "
            "or end what else uses it"
        )
    except KeyboardInterrupt:
        print(f"{script}: {interrupted}", file=sys.stderr)
        sys.exit(130)
