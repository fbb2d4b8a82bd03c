"""Standard output that ends no run when its reader is gone, its disk is full, or it cannot show a character."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _LastingFile(io.FileIO):
    """A file descriptor that is redirected to nowhere once it cannot be written any more, and reports this once.

    Attributes:
        silent: for all of them: do not report it.
    """

    silent = False

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:  # a pipe's reader has ended, a terminal was closed, a disk is full
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            text = f"what is printed cannot be written any more ({error.strerror}); the run continues without it\n"
            if self.silent:
                return memoryview(data).nbytes
            with contextlib.suppress(OSError):  # not through sys.stderr, which may be this very stream, or lead to it (rich's bar)
                os.write(2, text.encode(errors="backslashreplace"))
            return memoryview(data).nbytes


def outlive_output(silent: bool = False) -> None:
    """Let this process outlive its standard output and error output, and escape what they cannot show.

    Streams that were replaced, by a test for example, stay as they are. A stream that was closed (`>&-`) is opened to nowhere:
    libraries expect one, and the next file that is opened would get its number.

    Args:
        silent: do not report that they cannot be written any more, until this is called again.
    """
    _LastingFile.silent = silent
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None and getattr(sys, f"__{name}__") is None:
            setattr(sys, name, _leading_nowhere(number))
            continue
        if stream is None or stream is not getattr(sys, f"__{name}__"):  # replaced
            continue
        stream.flush()
        lasting = io.TextIOWrapper(
            io.BufferedWriter(_LastingFile(stream.fileno(), "w", closefd=False)),
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering or stream.write_through,  # PYTHONUNBUFFERED
        )
        setattr(sys, name, lasting)


def _leading_nowhere(number: int) -> io.TextIOWrapper:
    """Return a stream to nowhere for a file descriptor that is closed."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        try:
            os.fstat(number)
        except OSError:
            os.dup2(nowhere, number)
    return open(nowhere, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
