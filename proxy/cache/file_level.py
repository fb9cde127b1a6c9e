"""The shared level of the cache as a file beside one process: what was stored survives a restart, and so does what
memory had no room for.

All of it happens on a thread of its own, so that no call waits for a disk: who looks waits 10 ms at most and then takes
it for a miss, and what is stored is written a little later, many at once. A sketch in memory knows which keys cannot be
there, so most misses cost nothing.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Any, Final, TypeVar

from proxy.cache.alone import Alone
from proxy.cache.codec import decode, encode
from proxy.cache.lead import Lead
from proxy.cache.shared_level import Purged, SharedStats
from proxy.cache.sketch import Sketch
from proxy.cache.store import Stored
from proxy.config import Config
from proxy.state import CacheRow, Indexed, Meant, SharedRows, SqliteCache, StateFailed, StateUnusable, sqlite_path

#: How long a call waits for it.
PATIENCE_S: Final = 0.01
#: How long an operator does.
_ASK_S: Final = 30.0
#: How long answers wait for others, to be written together.
_WRITE_AFTER_S: Final = 0.2
#: What may wait to be written; beyond that, answers are not written at all.
_MAX_WAITING_BYTES: Final = 16_000_000
#: What may wait for the thread; beyond that, nothing is looked for.
_MAX_WAITING_JOBS: Final = 1000

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class FileLevel(Alone):
    """See `Shared`."""

    def __init__(self, rows: SharedRows, budget_bytes: int, wall_clock: Callable[[], float]) -> None:
        """`wall_clock` gives Unix seconds. `rows` are closed with it."""
        self.stats = SharedStats(rows.used_bytes)
        self.budget_bytes = budget_bytes
        self._rows = rows
        self._wall_clock = wall_clock
        self._sketch: Sketch | None = None  # None: not read yet, so any key may be there
        self._read: Sketch | None = None  # as the thread leaves it when it has read all keys
        self._is_reading = True
        self._is_blind = False  # can they not be read?
        self._young: list[bytes] = []  # keys that were added meanwhile
        self._waiting: list[CacheRow] = []
        self._added_bytes = self._done_bytes = 0  # the loop's count and the thread's: the difference waits
        self._timer: asyncio.TimerHandle | None = None
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="cache-shared", daemon=True)
        self._thread.start()
        self._jobs.put(self._read_keys)

    async def find(self, team: str, key: bytes) -> Stored | None:
        """See `Shared.find`. Cost of a miss: 1 µs."""
        if self._read is not None:
            self._take_sketch(self._read)
        if self._sketch is not None and not self._sketch.may_have(key):
            return None
        if self._jobs.qsize() >= _MAX_WAITING_JOBS:  # the disk is stuck
            self.stats.late += 1
            return None
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Any] = loop.create_future()

        def look() -> None:
            if told.done():  # nobody waits any more
                return
            found = self._look(key)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_tell, told, found)

        self._jobs.put(look)
        try:
            async with asyncio.timeout(PATIENCE_S):
                found: Stored | None = await told
        except TimeoutError:
            self.stats.late += 1
            return None
        self.stats.found += found is not None
        return found

    def add(
        self,
        key: bytes,
        stored: Stored,
        ttl_s: float,
        under_way_s: float = 0.0,
        lead: Lead | None = None,
        indexed: Indexed | None = None,
    ) -> None:
        """See `Shared.add`. There is no lead, and nothing is indexed."""
        data = encode(key, stored)
        if self._added_bytes - self._done_bytes + len(data) > _MAX_WAITING_BYTES:
            self.stats.dropped += 1
            return
        stored_ms = int(stored.stored_at * 1000)
        names = stored.call_id, stored.request_id, stored.answer_id
        about = stored.team, stored.model, stored.scope
        self._waiting.append(CacheRow(key, data, *about, *names, stored_ms, stored_ms + int(ttl_s * 1000)))
        self._added_bytes += len(data)
        self._add_to_sketch(key)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WRITE_AFTER_S, self._send)

    async def purge(self, meant: Meant, teams: Collection[str]) -> Purged:
        """See `Shared.purge`."""
        return Purged(await self._ask(lambda: self._rows.purge(meant)), None)

    async def discard(self, team: str, key: bytes) -> int:
        """See `Shared.discard`."""

        def discard() -> int:
            count = len(self._rows.find((key,)))
            self._rows.discard((key,))
            return count

        return await self._ask(discard)

    def keep_scopes(self, scopes: Collection[bytes]) -> None:
        """See `Shared.keep_scopes`."""
        self._send()
        self._jobs.put(lambda: self._try(lambda: self._rows.keep_scopes(scopes)))

    def note(self, name: str, data: bytes) -> None:
        """See `Shared.note`."""
        self._jobs.put(lambda: self._try(lambda: self._rows.note(name, data)))

    async def find_note(self, name: str) -> bytes | None:
        """See `Shared.find_note`."""
        try:
            return await self._ask(lambda: self._rows.find_note(name))
        except StateFailed:
            return None

    async def aclose(self) -> None:
        """See `Shared.aclose`."""
        await asyncio.to_thread(self.close)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, and let go; wait for a stuck disk no longer than this. Blocks."""
        if self._timer is not None:
            self._timer.cancel()
        self._send()
        self._jobs.put(None)
        self._thread.join(timeout_s)

    def _take_sketch(self, read: Sketch) -> None:
        """It changes hands as a whole, since two threads must not set bits in one byte."""
        for key in self._young:
            read.add(key)
        self._young.clear()
        self._sketch, self._read, self._is_reading = read, None, False

    def _add_to_sketch(self, key: bytes) -> None:
        if self._is_reading and not self._is_blind:
            self._young.append(key)
        if self._sketch is not None:
            self._sketch.add(key)
            if self._sketch.is_worn and not self._is_reading:
                self._is_reading = True
                self._send()  # what waits to be written is written before the keys are read
                self._jobs.put(self._read_keys)

    async def _ask(self, do: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Any] = loop.create_future()

        def run() -> None:
            result: T | StateFailed = StateFailed("a fault of the gateway's own, which is logged")
            try:
                result = do()
            except StateFailed as error:
                result = error
            finally:
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(_tell, told, result)

        self._send()
        self._jobs.put(run)
        try:
            async with asyncio.timeout(_ASK_S):
                result: T | StateFailed = await told
        except TimeoutError:
            raise StateFailed(f"it has not answered within {_ASK_S:g} s") from None
        if isinstance(result, StateFailed):
            raise result
        return result

    def _send(self) -> None:
        """Give what waits to the thread."""
        self._timer = None
        rows, self._waiting = self._waiting, []
        if rows:
            self._jobs.put(lambda: self._write(rows))

    # From here on: the thread.

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self._rows.close()

    def _read_keys(self) -> None:
        sketch = Sketch(self.budget_bytes)
        try:
            for key in self._rows.all_keys():
                sketch.add(key)
            self._read = sketch
        except StateFailed as error:
            self._fail(error)
        finally:
            self._is_blind = self._read is None  # then any key may be there, or what the last sketch says

    def _look(self, key: bytes) -> Stored | None:
        stored = None
        try:
            data = self._rows.find((key,)).get(key)
            if data is not None:
                stored = decode(key, data)
                if stored is None:
                    self.stats.damaged += 1
                    self._rows.discard((key,))
        except StateFailed as error:
            self._fail(error)
        return stored

    def _write(self, rows: list[CacheRow]) -> None:
        is_written = False
        try:
            is_written = self._try(lambda: self._rows.add(rows, self.budget_bytes, int(self._wall_clock() * 1000)))
        finally:
            self._done_bytes += sum(len(row.data) for row in rows)
            self.stats.dropped += 0 if is_written else len(rows)

    def _try(self, do: Callable[[], object]) -> bool:
        try:
            do()
        except StateFailed as error:
            self._fail(error)
            return False
        self.stats.is_failing = False
        self.stats.used_bytes = self._rows.used_bytes
        return True

    def _fail(self, error: StateFailed) -> None:
        if not self.stats.is_failing:
            self.stats.is_failing = True
            _logger.error("cache: the shared level fails, and is done without: %s", error)


def open_file_level(config: Config) -> FileLevel | None:
    """Beside the state's database. If that can't be done, the log says why, and memory does alone. Blocks: 5 ms."""
    path, budget_bytes = sqlite_path(config.state.url), config.cache.shared_bytes
    if path is None or budget_bytes is None:
        return None
    try:
        return FileLevel(SqliteCache(Path(f"{path}-cache")), budget_bytes, time)
    except StateUnusable as error:
        _logger.error("cache: without its shared level: %s", error)
        return None


def _tell(told: asyncio.Future[Any], result: object) -> None:
    if not told.done():  # else whoever waited has left
        told.set_result(result)
