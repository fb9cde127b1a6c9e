"""Follows what other replicas do to the cache that all share: on a thread, which asks a few times a second. The loop
need not know how slow that may be.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import CancelledError as Abandoned
from concurrent.futures import TimeoutError as TookTooLong
from time import monotonic
from typing import Any, Final, Protocol

from proxy.state import IndexEntry, StateFailed
from proxy.state.redis_cache import MAX_NOTICES
from proxy.state.redis_cache_news import CacheNews

#: How often it asks, in seconds; after a failure, less often.
_EVERY_S: Final = 0.25
_FAILED_S: Final = 1.0
#: So much is read at once.
_AT_ONCE: Final = 500
#: What changed so long before is looked at again, in milliseconds: on a cluster two servers' clocks differ.
_OVERLAP_MS: Final = 1000
#: How long the loop may take over what it is told, in seconds.
_PATIENCE_S: Final = 30.0
#: How often Redis is asked for its memory, in seconds.
_MEASURE_S: Final = 10.0

_logger = logging.getLogger(__name__)


class Source(Protocol):
    """See `RedisCacheNews`."""

    def ask(self, since_ms: int, notice: bytes, lesson: bytes, count: int) -> CacheNews:
        """What is new."""
        ...

    def read(self, team: str, scope: bytes, after: bytes, count: int) -> list[IndexEntry]:
        """The next entries of an index."""
        ...

    def memory(self) -> tuple[int, int | None]:
        """What is used, and what may be, in bytes."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class Told(Protocol):
    """Who is told, on the event loop."""

    async def noticed(self, notices: Sequence[bytes], lessons: Sequence[tuple[bytes, bytes]]) -> None:
        """Purges, and lessons with their places, the oldest first."""
        ...

    async def missed(self) -> None:
        """There were so many purges at once that some may be gone already."""
        ...

    async def measured(self, used_bytes: int, limit_bytes: int | None) -> None:
        """See `Source.memory`."""
        ...

    async def indexed(self, team: str, entries: Sequence[IndexEntry]) -> None:
        """What came into an index."""
        ...


class Follower:
    """One thread. Everything but `_run` and what it calls is for the event loop."""

    def __init__(self, open_source: Callable[[], Source], told: Told) -> None:
        """`open_source` is called on the thread."""
        self.is_current = False  #: has it read all that there was to read?
        self._open_source = open_source
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._wanted: frozenset[bytes] = frozenset()
        self._lesson = b""
        self._first_lesson = b""
        self._notice = b""
        self._began_at = monotonic()
        self._in_a_row = 0  # notices that came without a pause
        self._since_ms = 0
        self._measured_at = -_MEASURE_S
        self._changed: set[tuple[str, bytes]] = set()  # indexes that are not read to their end
        self._places: dict[tuple[str, bytes], bytes] = {}
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="cache-follower", daemon=True)
        self._thread.start()

    def follow_meaning(self, scopes: Collection[bytes], lesson: bytes) -> None:
        """From now on read the indexes of these scopes too, and what was learned since that lesson."""
        self._first_lesson = self._first_lesson or lesson
        self._wanted = frozenset(scopes)
        self.is_current = False

    async def aclose(self) -> None:
        """Stop."""
        self._stop.set()
        await asyncio.to_thread(self._thread.join, _PATIENCE_S)

    def _run(self) -> None:
        source, pause_s = None, 0.0
        while not self._stop.wait(pause_s):
            try:
                source = source or self._open_source()
                pause_s = 0.0 if self._step(source) else _EVERY_S
                if self._is_failing:
                    self._is_failing = False
                    _logger.warning("cache: what other replicas forget and learn is known again")
            except StateFailed as error:
                pause_s = _FAILED_S
                if not self._is_failing:
                    self._is_failing = True
                    _logger.error("cache: what other replicas forget and learn is not known just now: %s", error)
            except (RuntimeError, Abandoned, TookTooLong):  # the loop is closed, or does not go on
                if self._loop.is_closed():
                    break
                pause_s = _FAILED_S
        if source is not None:
            source.close()

    def _step(self, source: Source) -> bool:
        """Is there more at once?"""
        wanted = self._wanted
        lesson = self._lesson or self._first_lesson
        news = source.ask(self._since_ms, self._notice, lesson, _AT_ONCE)
        if news.notices or news.learned:
            is_told = self._tell(self._told.noticed([data for _, data in news.notices], news.learned))
            self._in_a_row += len(news.notices) if is_told else MAX_NOTICES
        if self._in_a_row >= MAX_NOTICES:
            self._in_a_row = 0
            self._tell(self._told.missed())
        begun_ms = news.now_ms - int(1000 * (monotonic() - self._began_at)) - _OVERLAP_MS
        self._notice = news.notices[-1][0] if news.notices else self._notice or b"%d-0" % begun_ms
        self._lesson = news.learned[-1][0] if news.learned else lesson
        self._since_ms = max(0, news.now_ms - _OVERLAP_MS)
        self._changed.update(news.indexes)
        for place in [one for one in self._changed if one[1] in wanted]:
            self._read(source, place)
        if monotonic() - self._measured_at >= _MEASURE_S:
            self._measured_at = monotonic()
            self._tell(self._told.measured(*source.memory()))
        is_more = max(len(news.notices), len(news.learned)) >= _AT_ONCE
        if not is_more:
            self._in_a_row = 0
            self.is_current = wanted is self._wanted
        return is_more

    def _read(self, source: Source, place: tuple[str, bytes]) -> None:
        team, scope = place
        while not self._stop.is_set():
            entries = source.read(team, scope, self._places.get(place, b"0"), _AT_ONCE)
            if entries:
                self._tell(self._told.indexed(team, entries))
                self._places[place] = entries[-1].id
            if len(entries) < _AT_ONCE:
                self._changed.discard(place)
                return

    def _tell(self, telling: Coroutine[Any, Any, None]) -> bool:
        """False: who was told failed at it, which is logged. What comes behind is told all the same."""
        try:
            telling_ends = asyncio.run_coroutine_threadsafe(telling, self._loop)
        except RuntimeError:
            telling.close()
            raise
        fault = telling_ends.exception(_PATIENCE_S)
        if fault is not None:
            _logger.error("cache: what other replicas did can't be made sense of here", exc_info=fault)
        return fault is None
