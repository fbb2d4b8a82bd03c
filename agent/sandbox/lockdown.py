"""Locking a process down with the means of the Linux kernel, by plain system calls: no package and no library is needed.

    confine(folder)              the worker: namespaces, an empty root folder, no capabilities, Landlock
    imprison(read_fd, write_fd)  each process that runs a policy: beyond that, limits and a seccomp filter

`confine` uses the layers that the platform offers, and reports them. `imprison` works completely or fails: after it a process
can only compute, read from one descriptor, write to another, and end. Neither can be undone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import posix
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWIPC, _CLONE_NEWUTS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x08000000, 0x04000000, 0x10000000, 0x40000000
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446  # the same on all architectures
_LANDLOCK_VERSION = 1
_CAPABILITY_VERSION = 0x20080522
_PROT_EXEC = 4
_LAST_CLOCK = 11  # CLOCK_TAI
_MAX_FD = 1 << 16

# For each machine: its number in seccomp filters, the number of capset, and those of the allowed calls.
# fmt: off
_MACHINES = {
    "x86_64": (0xC000003E, 126, {
        "read": 0, "write": 1, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigprocmask": 14, "rt_sigreturn": 15,
        "mremap": 25, "madvise": 28, "exit": 60, "gettimeofday": 96, "sigaltstack": 131, "futex": 202, "restart_syscall": 219,
        "clock_gettime": 228, "clock_getres": 229, "exit_group": 231,
    }),
    "aarch64": (0xC00000B7, 91, {
        "read": 63, "write": 64, "mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214, "rt_sigprocmask": 135,
        "rt_sigreturn": 139, "mremap": 216, "madvise": 233, "exit": 93, "gettimeofday": 169, "sigaltstack": 132, "futex": 98,
        "restart_syscall": 128, "clock_gettime": 113, "clock_getres": 114, "exit_group": 94,
    }),
}
# fmt: on


class LockdownError(OSError):
    """The platform lacks something that the sandbox needs; the text names it."""


def check_platform() -> None:
    """Raise LockdownError if no sandbox is possible here. The check is cheap, and starts nothing."""
    if sys.platform != "linux":
        raise LockdownError(f"this is {sys.platform}, and seccomp and Landlock are Linux's")
    if platform.machine() not in _MACHINES or struct.calcsize("P") != 8:
        raise LockdownError(f"the seccomp filter is not written for {platform.machine()}, only for {' and '.join(_MACHINES)}")


def confine(folder: str) -> dict[str, str]:
    """Take the network, the files and all privileges from this process, as far as the platform allows.

    Args:
        folder: an empty folder; it becomes the root folder, and may be deleted afterwards.

    Returns each layer with "active" or the reason why it is not. Raises LockdownError if no layer made files unreachable:
    seccomp alone would stand between them and a policy.
    """
    check_platform()
    libc = _libc()
    _call(libc.prctl, _PR_SET_DUMPABLE, 0, 0, 0, 0)
    layers = {
        "namespaces": _try(lambda: _call(libc.unshare, _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS)),
        "empty root": _try(lambda: _enter(folder)),
    }
    _drop_capabilities(libc)
    _call(libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    layers["landlock"] = _try(lambda: _landlock(libc))
    if "active" not in (layers["empty root"], layers["landlock"]):
        raise LockdownError(f"neither Landlock ({layers['landlock']}) nor an empty root folder ({layers['empty root']}) works here")
    return layers


def imprison(read_fd: int, write_fd: int, address_space: int, cpu_seconds: int) -> None:
    """Leave this process, which must have one thread, nothing but computing and its two descriptors.

    Args:
        address_space: bytes that it may have in all.
        cpu_seconds: seconds of CPU time after which it is killed.

    Forks, threads, programs, sockets, files, signals, clocks and the memory of other processes are refused with EPERM. Hard limits
    that are already lower remain. This is verified by trying; raises LockdownError if something is not refused.
    """
    number, _, calls = _MACHINES[platform.machine()]
    libc = _libc()
    _call(libc.prctl, _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    low, high = sorted((read_fd, write_fd))
    for start, end in ((0, low), (low + 1, high), (high + 1, _MAX_FD)):
        if start < end:  # Python takes the range (0, 0) to mean all descriptors
            os.closerange(start, end)
    for name, limit in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_NPROC, 0),  # root is exempt from it, but not from the filter
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        limit = lower_limit(name, limit)
        resource.setrlimit(name, (limit, limit))
    _call(libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = _filter(number, calls, read_fd, write_fd)
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)), 16)
    _call(libc.prctl, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(header)), 0, 0)
    _must_be_refused("opening a file", lambda: os.open("/", os.O_RDONLY))
    _must_be_refused("opening a socket", socket.socket)
    _must_be_refused("signalling another process", lambda: os.kill(os.getppid(), 0))


def lower_limit(name: int, limit: int) -> int:
    """Return `limit` for `name` (`resource.RLIMIT_...`), or this process's current hard limit if that is lower."""
    hard = resource.getrlimit(name)[1]
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


def forget_environment() -> None:
    """Overwrite the environment that this process was started with; only Python's copies if /proc does not give its address.

    `os.environ.clear()` leaves its text on the stack, where a child can read it.
    """
    os.environ.clear()
    posix.environ.clear()
    with open("/proc/self/stat", "rb") as stat:
        start, end = map(int, stat.read().rpartition(b")")[2].split()[47:49])
    ctypes.memset(start, 0, end - start)


def _filter(machine: int, calls: dict[str, int], read_fd: int, write_fd: int) -> bytes:
    """Return a seccomp program: `calls` are allowed, some with certain arguments only, and all others fail with EPERM."""
    load, equal, above, any_bit, give = 0x20, 0x15, 0x25, 0x45, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JMP|JGT|K, JMP|JSET|K, RET|K
    allow, refuse, kill = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    def argument(place: int) -> int:  # the low half: the kernel uses no more of a descriptor
        return 16 + 8 * place

    wanted = {"read": (0, equal, read_fd, allow, refuse), "write": (0, equal, write_fd, allow, refuse)}
    wanted |= dict.fromkeys(("mmap", "mprotect"), (2, any_bit, _PROT_EXEC, refuse, allow))
    # Larger numbers, which are negative ones, mean the CPU clocks of other processes and devices.
    wanted |= dict.fromkeys(("clock_gettime", "clock_getres"), (0, above, _LAST_CLOCK, refuse, allow))
    program = step(load, 4) + step(equal, machine, 1, 0) + step(give, kill) + step(load, 0)
    for name, number in calls.items():
        if name in wanted:
            place, test, value, if_true, if_false = wanted[name]
            program += step(equal, number, 0, 4) + step(load, argument(place)) + step(test, value, 0, 1)
            program += step(give, if_true) + step(give, if_false)
        else:
            program += step(equal, number, 0, 1) + step(give, allow)
    return program + step(give, refuse)


def _enter(folder: str) -> None:
    if os.listdir(folder):
        raise LockdownError(f"{folder} is not empty")
    os.chroot(folder)
    os.chdir("/")


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    _call(libc.syscall, _MACHINES[platform.machine()][1], header, bytes(24))


def _landlock(libc: ctypes.CDLL) -> None:
    """Handle every right that this kernel's Landlock knows, and allow none."""
    version = _call(libc.syscall, _LANDLOCK_CREATE, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    file_rights = 13 + (version >= 2) + (version >= 3) + (version >= 5)  # refer, truncate and device controls came later
    # Files; TCP bind and connect; abstract sockets and signals.
    rules = struct.pack("=QQQ", (1 << file_rights) - 1, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _call(libc.syscall, _LANDLOCK_CREATE, rules, ctypes.c_size_t(len(rules)), 0)
    try:
        _call(libc.syscall, _LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(function: Callable[..., int], *arguments: Any) -> int:
    """Call a C function and return its result. Raises OSError if it is negative."""
    result = function(*(ctypes.c_long(value) if isinstance(value, int) else value for value in arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _try(layer: Callable[[], Any]) -> str:
    try:
        layer()
    except OSError as error:
        return f"not here: {error}"
    return "active"


def _must_be_refused(what: str, action: Callable[[], Any]) -> None:
    """Raise LockdownError unless the action fails with the seccomp filter's error; other layers give other errors."""
    try:
        action()
    except PermissionError as error:
        if error.errno == errno.EPERM:
            return
    except OSError:
        pass  # refused, but not by the filter
    raise LockdownError(f"{what} is not refused by the seccomp filter, which does nothing here")
