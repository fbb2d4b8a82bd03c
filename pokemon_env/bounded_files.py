"""Reading a file that may be a stranger's, with a limit on its size and without waiting."""

from __future__ import annotations

import errno
import os
import stat


def read_file(path: str | os.PathLike, most: int) -> bytes:
    """Read a file that may be a stranger's. It never waits, as for a pipe's writer, and never reads an endless file.

    Raises OSError, also for what is not a file, and for a file of more than `most` bytes.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if stat.S_ISDIR(os.fstat(fd).st_mode):  # before `open`, which would name the number
        os.close(fd)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    with open(fd, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "is no file", os.fspath(path))
        content = file.read(most + 1) if about.st_size <= most else b""
    if max(about.st_size, len(content)) > most:
        raise OSError(errno.EFBIG, f"has more than {most:,} bytes", os.fspath(path))
    return content
