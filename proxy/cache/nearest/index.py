"""The look-up by meaning, as the event loop sees it.

Threads: the collection belongs to the worker's thread. Every change and every search is a job of that one thread, so
they never overlap and need no lock. The event loop itself only reads: figures, whether a scope is there, and which of
its entries has no vector yet; each in one step that the interpreter's lock makes whole. What it read may be outdated
when the job comes to its turn: the job looks again, and leaves out what has changed.

Even a search that takes 20 µs goes to the thread: it needs the text's vector, which is made there, so both are one job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from secrets import token_bytes
from time import monotonic
from typing import Any, Final

from proxy.cache.nearest.base import Embedder, Found, IndexStats, LookupFailed, T, Vector, Vectors
from proxy.cache.nearest.collection import Collection
from proxy.cache.nearest.packed import pack, unpack
from proxy.cache.nearest.scope import Entry
from proxy.cache.nearest.worker import Worker

#: What a search may take, the vector of what is searched for aside.
SEARCH_S: Final = 0.01
#: More entries than these are looked for among all there are: 1 µs for each of those.
_FEW: Final = 100

_logger = logging.getLogger(__name__)


class Index:
    """Texts that have answers, by scope. Outlives worlds; used from one event loop."""

    def __init__(self, embedder: Embedder, worker: Worker, budget_bytes: int, wait_s: float) -> None:
        """Keeps at most `budget_bytes`; a look-up takes at most `wait_s`. Both parts are closed with the index."""
        self.embedder = embedder
        self.wait_s = wait_s
        self._worker = worker
        self._collection = Collection(embedder.dims, budget_bytes)
        self._tasks: set[asyncio.Task[None]] = set()
        self._origin = token_bytes(8)
        self._is_failing = False
        self._lost = 0  # entries that never came to the collection

    @property
    def stats(self) -> IndexStats:
        """As it is now."""
        stats = self._collection.stats
        return IndexStats(
            stats.entries,
            stats.scopes,
            stats.used_bytes,
            stats.budget_bytes,
            stats.evicted,
            stats.expired,
            stats.dropped + self._lost,
        )

    async def nearest(self, scope_key: bytes, text: str, now: float) -> Found:
        """What is near to this text in its scope, up to 16 entries that are in force. `now`: Unix time in seconds.
        Raises LookupFailed. In an empty scope it costs nothing, and gives no vector.
        """
        return await self.nearest_then(scope_key, text, now, lambda found: found)

    async def nearest_then(self, scope_key: bytes, text: str, now: float, then: Callable[[Found], T]) -> T:
        """What `then` makes of that, on the worker's thread; of an empty scope here. Raises LookupFailed, also if the
        search and `then` alone took longer than `SEARCH_S`.
        """
        if not self._collection.has_scope(scope_key):
            return then(Found(None, ()))
        pending = self._collection.pending_of(scope_key)
        texts = [text] if pending is None else [text, pending.text]

        def search(vectors: Vectors) -> tuple[T, float]:
            began_at = monotonic()
            result = then(self._collection.search(scope_key, text, vectors, pending, now))
            return result, monotonic() - began_at

        try:
            async with asyncio.timeout(self.wait_s):
                result, took_s = await self.embedder.embed_then(texts, search)
        except TimeoutError:
            raise LookupFailed("slow") from None
        except LookupFailed as failure:
            if failure.reason == "failed":
                self._say(failure.__cause__ or failure)
            raise
        if took_s > SEARCH_S:
            raise LookupFailed("slow")
        return result

    def add(
        self,
        scope_key: bytes,
        entry_id: bytes,
        text: str,
        vector: Vector | None,
        *,
        team: str,
        expires_at: float,
        now: float,
    ) -> None:
        """Keep a text, in the place of whatever had this id; returns at once. `vector` as `nearest` gave it, or None:
        it is made in time, of a scope's first entry only when somebody asks there again. A scope must be one team's.
        """
        entry = Entry(entry_id, scope_key, team, text, expires_at)
        if vector is None and self._collection.has_scope(scope_key):
            task = asyncio.get_running_loop().create_task(self._embed_and_add(entry, now))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        try:
            self._worker.submit(partial(self._collection.add, entry, vector, now)).add_done_callback(self._check)
        except LookupFailed:
            self._lost += 1

    def pack(self, scope_key: bytes, text: str, vector: Vector | None, expires_at: float) -> bytes:
        """An entry for other replicas' indexes. Cost: 10 µs."""
        return pack(self._origin, self.embedder.id, scope_key, text, vector, expires_at)

    async def take(self, rows: Iterable[tuple[bytes, bytes]], team: str, now: float) -> None:
        """Keep what other replicas packed, by id; returns when that is done. Raises LookupFailed when it is closed."""

        def take() -> list[Entry]:
            embedder = self.embedder
            return self._collection.take(unpack(rows, team, self._origin, embedder.id, embedder.dims, now), now)

        done = self._worker.submit(take, may_wait=True)
        await asyncio.wait([done])
        if done.cancelled():
            raise LookupFailed("closed")
        self._check(done)
        for entry in [] if done.exception() is not None else done.result():
            await self._embed_and_add(entry, now)  # one by one: those who look something up wait too

    def touch(self, entry_id: bytes) -> None:
        """Its answer was served: what was not is evicted before it."""
        self._do(partial(self._collection.touch, entry_id))

    def remove(self, entry_ids: Iterable[bytes]) -> None:
        """Forget these soon; look-ups that begin later do not find them."""
        ids = [*entry_ids]
        if len(ids) > _FEW:
            meant = frozenset(ids)
            self.drop(lambda entry: entry.id in meant)
        else:
            self._do(partial(self._collection.remove, ids))

    def drop(self, is_meant: Callable[[Entry], bool]) -> None:
        """Forget every entry that is meant, soon. `is_meant` is called on the worker's thread."""
        self._do(partial(self._collection.purge, is_meant))

    def resize(self, budget_bytes: int) -> None:
        """From now on this is the budget."""
        self._do(partial(self._collection.resize, budget_bytes))

    async def purge(self, is_meant: Callable[[Entry], bool]) -> int:
        """Forget every entry that is meant; how many there were. `is_meant` is called on the worker's thread. What is
        being added meanwhile may come after it. Raises LookupFailed when the index is closed.
        """
        done = self._worker.submit(partial(self._collection.purge, is_meant), may_wait=True)
        await asyncio.wait([done])
        if done.cancelled():
            raise LookupFailed("closed")
        return done.result()

    async def aclose(self) -> None:
        """Give up what waits. Nothing may be asked of it any more."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.embedder.aclose()
        self._worker.close()

    async def _embed_and_add(self, entry: Entry, now: float) -> None:
        def add(vectors: Vectors) -> None:
            self._collection.add(entry, vectors[0], now)

        try:
            await self.embedder.embed_then([entry.text], add)
        except LookupFailed:
            self._lost += 1

    def _do(self, job: Callable[[], object]) -> None:
        with suppress(LookupFailed):  # it is closed, and holds nothing
            self._worker.submit(job, may_wait=True).add_done_callback(self._check)

    def _check(self, done: asyncio.Future[Any]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._say(error)

    def _say(self, error: BaseException) -> None:
        if not self._is_failing:
            self._is_failing = True
            _logger.error("the look-up by meaning fails: %s. This is said once.", type(error).__name__, exc_info=error)
