"""The same work for several names, in parallel threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event
from typing import Any


def run_in_parallel(
    work: Callable[[str, Callable[[], bool]], Any],
    names: Sequence[str],
    parallel: int,
    on_result: Callable[[str, Any], None],
) -> None:
    """Call `work(name, should_stop)` in threads, and `on_result(name, result)` in this one as each finishes.

    At the first error, in a thread or here (Ctrl-C), `should_stop` begins to return True and no further name is begun. The error
    is raised as soon as the threads have ended.
    """
    stop = Event()
    pool = ThreadPoolExecutor(parallel)
    try:
        futures = {pool.submit(work, name, stop.is_set): name for name in names}
        for future in as_completed(futures):
            on_result(futures[future], future.result())
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
