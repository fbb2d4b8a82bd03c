"""How many CPU threads to compute with: no more than there are idle cores."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_ROUNDING = 0.25
"""A core that is idle for three quarters of the time counts as free, because short tasks always run."""


def free_cores(seconds: float = 0.25) -> int:
    """Return how many of the cores that this process may use are idle now, at least 1.

    Threads that compute together wait for each other hundreds of times in a training step. If one of them shares its core,
    each of these waits lasts as long as the other process's turn. Two threads on two shared cores can fall to an eighth of
    their speed; one thread keeps its fair share.

    Args:
        seconds: how long to watch. Without the kernel's counts (not on Linux) all cores count as free.
    """
    cores, most = _cores(), usable_cores()
    before = _times(cores)
    if not before:
        return most
    time.sleep(seconds)
    idle = sum(_idle_share(before[core], after) for core, after in _times(cores).items() if core in before)
    return max(1, int(min(idle + _ROUNDING, most)))


def usable_cores() -> int:
    """Return how many cores this process may use, idle or not: what a scheduler or a container leaves it of the machine's."""
    return max(1, int(min(len(_cores()), _quota())))


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _times(cores: set[int]) -> dict[int, tuple[int, int]]:
    """Return core -> its idle time and its total time so far, in the kernel's ticks; {} if the kernel does not report them."""
    if not _STAT.exists():
        return {}
    times = {}
    for line in _STAT.read_text().splitlines():
        name, *numbers = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            ticks = [int(number) for number in numbers[:8]]  # the later fields are included in these
            times[int(name[3:])] = ticks[3] + ticks[4], sum(ticks)
    return times


def _idle_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    return (after[0] - before[0]) / max(after[1] - before[1], 1)


def _quota() -> float:
    """Return the number of cores that a container may use; infinite without a limit."""
    if not _QUOTA.exists():
        return float("inf")
    limit, period = _QUOTA.read_text().split()
    return float("inf") if limit == "max" else max(1.0, int(limit) / int(period))
