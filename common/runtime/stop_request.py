"""Ending a loop in peace when the process is asked to stop."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """Turns the first SIGINT, SIGTERM or SIGHUP (its terminal was closed) into a wish that a loop can look at; a second SIGINT ends
    the process as usual.

    Further SIGTERMs change nothing: where a whole job is ended, whoever started this process sends one, too, and it is to save in
    peace. Where SIGHUP is ignored, as under `nohup`, it stays so.

    Calling it says whether it is time to stop. Works in the main thread only, as signal handlers do.

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
