"""What is done in a shared level behind a call's back, and how that fares."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from proxy.cache.shared_level import SharedStats
from proxy.state import StateAway, StateFailed

#: A larger answer is kept in memory alone: the link is shared with what calls wait for, and this is 2 ms of a Gbit/s.
LARGEST_BYTES: Final = 256_000
#: What may be on its way there; beyond that, answers are not written at all.
_MAX_WAITING_BYTES: Final = 4_000_000

_logger = logging.getLogger(__name__)


class Errands:
    """For one event loop."""

    def __init__(self, stats: SharedStats) -> None:
        """`stats` are kept up."""
        self._stats = stats
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiting_bytes = 0

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have it done. It raises nothing."""
        self.track(asyncio.get_running_loop().create_task(work))

    def track(self, task: asyncio.Task[Any]) -> None:
        """One more that `settled` waits for."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Returns when all that was begun is done."""
        if self._tasks:
            await asyncio.wait([*self._tasks])

    async def asked(self, asking: Coroutine[Any, Any, Any]) -> Any:
        """What comes of it; None if nothing can be asked."""
        try:
            found = await asking
        except StateFailed as error:
            self._stats.late += isinstance(error, StateAway)
            self.fail(error)
            return None
        self._stats.is_failing = False
        return found

    def fail(self, error: StateFailed) -> None:
        """Say so, once until it is well again."""
        if not self._stats.is_failing:
            self._stats.is_failing = True
            _logger.error("cache: the shared level fails, and is done without: %s", error)

    def has_room(self, size_bytes: int, beside_bytes: int = 0) -> bool:
        """May so much be written, beside what is going to be? Else it is counted as dropped."""
        waiting_bytes = self._waiting_bytes + beside_bytes
        if size_bytes <= LARGEST_BYTES and waiting_bytes + size_bytes <= _MAX_WAITING_BYTES:
            return True
        self._stats.dropped += 1
        return False

    def write(self, writing: Coroutine[Any, Any, bool | int], size_bytes: int, count: int) -> None:
        """Have so many values written; the rest of what `writing` says is counted as dropped."""
        self._waiting_bytes += size_bytes
        self.begin(self._write(writing, size_bytes, count))

    async def _write(self, writing: Coroutine[Any, Any, bool | int], size_bytes: int, count: int) -> None:
        try:
            written = await self.asked(writing)
            self._stats.dropped += count - (written or 0)
        finally:
            self._waiting_bytes -= size_bytes
