"""How much memory is free, so that a larger request is refused before it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def available_memory(device: Any = "cpu") -> int | None:
    """Return the bytes that can be allocated now without swapping; None where this cannot be found out.

    On Linux this is the kernel's estimate, or what a container's limit leaves if that is less.
    """
    if str(device).startswith("cuda"):
        import torch  # late: the machine's own memory can be asked for without it

        return torch.cuda.mem_get_info(device)[0]
    limits = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        limits.append(int(lines["MemAvailable"].split()[0]) * 1024)
    for folder, limit_file, used_file, cached in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        cgroup = Path(folder)
        if not (cgroup / limit_file).exists():
            continue
        limit = (cgroup / limit_file).read_text().strip()
        if limit != "max":
            used = int((cgroup / used_file).read_text())
            statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
            limits.append(max(int(limit) - used + int(statistics[cached]), 0))  # cached files are freed on demand
    return min(limits, default=None)


def memory_ran_out(error: Exception) -> bool:
    """Whether an exception of torch's says that there was no memory for a tensor: a GPU's, or the machine's own, which is a plain
    RuntimeError there."""
    return type(error).__name__ == "OutOfMemoryError" or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
