"""Where and how torch computes: device, threads, seeds, reduced precision."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import numpy as np
import torch

from common.runtime.threads import free_cores, usable_cores


def seed_everything(seed: int, torch_deterministic: bool = True) -> None:
    """Seed Python, numpy and torch; with `torch_deterministic` choose reproducible GPU kernels, too."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if torch_deterministic:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        if torch.cuda.is_available():
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS wants it for reproducible sums
            torch.use_deterministic_algorithms(True, warn_only=True)


def select_device(cuda: bool = True) -> torch.device:
    """Return the GPU if `cuda` asks for it and there is one, else the CPU."""
    return torch.device("cuda" if cuda and torch.cuda.is_available() else "cpu")


def set_threads(n_threads: int | None, begun_with: int | None = None) -> int:
    """Limit torch to this many CPU threads. Return the number in use.

    Args:
        n_threads: None gives a resumed run the threads it began with, so that it repeats bit for bit, if there are cores for
            them. A new run gets one for each free core (`common.runtime.threads.free_cores`), at most torch's own choice.
        begun_with: the threads of the run that is resumed; None for a new one.

    Raises ValueError for less than 1.
    """
    if n_threads is None:
        most = torch.get_num_threads()
        n_threads = min(begun_with, usable_cores()) if begun_with else min(most, free_cores() if most > 1 else 1)
    if n_threads < 1:
        raise ValueError(f"{n_threads} threads: choose at least 1")
    if n_threads > (cores := usable_cores()):
        print(f"{n_threads} threads have {cores} core(s) here: they wait for each other, which can be hundreds of times slower")
    torch.set_num_threads(n_threads)
    return n_threads


def autocast(device: torch.device, enabled: bool = True) -> Callable[[], torch.autocast]:
    """Return a factory of autocast contexts for training on this device.

    They compute in bfloat16 on a GPU and on CPUs that support it, and change nothing elsewhere: on other CPUs bfloat16 is
    emulated, and slower than float32.
    """
    if device.type == "cpu":
        enabled = enabled and bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16"))
    elif device.type == "cuda":
        enabled = enabled and torch.cuda.is_bf16_supported()
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
