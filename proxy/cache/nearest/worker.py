"""The thread of the look-up by meaning: what takes milliseconds is done there, in the order in which it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from proxy.cache.nearest.base import LookupFailed, T

#: So many jobs may wait. They are short: a tenth of a second's work.
_MAX_WAITING: Final = 1000


class Worker:
    """One thread, which starts with its first job. Handing over and taking back a job costs 40 µs."""

    def __init__(self, name: str) -> None:
        """`name` of the thread, as debuggers show it."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: set[asyncio.Future[Any]] = set()
        self._is_closed = False

    def submit(self, job: Callable[[], T], *, may_wait: bool = False) -> asyncio.Future[T]:
        """Have this done. `may_wait`: however many others wait already. Raises LookupFailed; the future raises what the
        job does, or is cancelled if the worker is closed before its turn. A job whose future was cancelled is left out
        unless it has begun.
        """
        if self._is_closed:
            raise LookupFailed("closed")
        if len(self._waiting) >= _MAX_WAITING and not may_wait:
            raise LookupFailed("busy")
        future = asyncio.get_running_loop().run_in_executor(self._executor, job)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    def close(self) -> None:
        """Begin nothing more. A job that has begun goes on, and nobody waits for it."""
        self._is_closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
        for future in [*self._waiting]:
            future.cancel()
