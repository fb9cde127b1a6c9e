"""Vectors from a provider: texts that come within a few milliseconds go in one call, those known already in none."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Final

import numpy as np

from proxy.cache.nearest.base import LookupFailed, Reason, Remote, T, Vector, Vectors
from proxy.cache.nearest.embedder import cut
from proxy.cache.nearest.worker import Worker

#: How long the first text of a call waits for others, in seconds.
_GATHERED_S: Final = 0.003
#: Texts in one call. To read 16 vectors of 1,536 numbers takes 2 ms of the event loop.
_MAX_BATCH: Final = 16
#: Calls that are under way at once, and texts that wait for one.
_MAX_CALLS: Final = 4
_MAX_WAITING: Final = 256
#: Vectors that are kept, in bytes.
_KEPT_BYTES: Final = 16_000_000
_DIGEST_BYTES: Final = 16
#: A vector that is shorter says nothing.
_MIN_LENGTH: Final = 1e-6

_Digest = bytes


class RemoteEmbedder:
    """An `Embedder` that asks a provider. Its calls go on when those who asked have left: others may wait, and what
    came is kept.
    """

    def __init__(self, remote: Remote, worker: Worker) -> None:
        """The worker does what is to be done with vectors; calls are made from the event loop."""
        self.id = remote.id
        self.dims = remote.dims
        self._ask = remote.ask
        self._worker = worker
        self._kept: OrderedDict[_Digest, Vector] = OrderedDict()  # the next to give way first
        self._max_kept = max(1, _KEPT_BYTES // (remote.dims * 4))
        self._expected: dict[_Digest, asyncio.Future[Vector]] = {}  # by what is on its way, or waits to be
        self._waiting: dict[_Digest, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[Sequence[Sequence[float]]]] = set()
        self._is_closed = False

    async def embed_then(self, texts: Sequence[str], then: Callable[[Vectors], T]) -> T:
        """See `Embedder.embed_then`."""
        if self._is_closed:
            raise LookupFailed("closed")
        sources = [self._expect(text) for text in map(cut, texts)]
        awaited = [source for source in sources if isinstance(source, asyncio.Future)]
        if awaited:
            await asyncio.wait(awaited)
        vectors = np.stack([source.result() if isinstance(source, asyncio.Future) else source for source in sources])
        done = self._worker.submit(partial(then, vectors))
        await asyncio.wait([done])
        if done.cancelled():
            raise LookupFailed("closed")
        if (error := done.exception()) is not None:
            raise LookupFailed("failed") from error
        return done.result()

    async def aclose(self) -> None:
        """See `Embedder.aclose`. Calls under way are broken off."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        calls = [*self._calls]
        for call in calls:
            call.cancel()
        if calls:
            await asyncio.wait(calls)
        self._fail([*self._expected], "closed")

    def _expect(self, text: str) -> Vector | asyncio.Future[Vector]:
        """Its vector, or the one that will come. Raises LookupFailed."""
        digest = blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()
        kept = self._kept.get(digest)
        if kept is not None:
            self._kept.move_to_end(digest)
            return kept
        expected = self._expected.get(digest)
        if expected is not None:
            return expected
        if len(self._waiting) >= _MAX_WAITING:
            raise LookupFailed("busy")
        expected = self._expected[digest] = asyncio.get_running_loop().create_future()
        self._waiting[digest] = text
        if len(self._waiting) >= _MAX_BATCH:
            self._send()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHERED_S, self._send)
        return expected

    def _send(self) -> None:
        """Ask for what waits, as far as calls may be made."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and len(self._calls) < _MAX_CALLS and not self._is_closed:
            batch = dict(list(self._waiting.items())[:_MAX_BATCH])
            for digest in batch:
                del self._waiting[digest]
            call = asyncio.ensure_future(self._ask([*batch.values()]))
            self._calls.add(call)
            call.add_done_callback(partial(self._receive, [*batch]))

    def _receive(self, digests: Sequence[_Digest], call: asyncio.Task[Sequence[Sequence[float]]]) -> None:
        self._calls.discard(call)
        error = None if call.cancelled() else call.exception()
        vectors = None if call.cancelled() or error is not None else self._read(call.result(), len(digests))
        if vectors is None:
            self._fail(digests, "closed" if call.cancelled() else "failed", error)
        else:
            for digest, vector in zip(digests, vectors, strict=True):
                self._kept[digest] = vector
                self._expected.pop(digest).set_result(vector)
            while len(self._kept) > self._max_kept:
                self._kept.popitem(last=False)
        self._send()

    def _read(self, rows: Sequence[Sequence[float]], count: int) -> list[Vector] | None:
        """So many vectors of unit length; None if they are no such thing."""
        if len(rows) != count or any(len(row) != self.dims for row in rows):
            return None
        try:
            vectors = np.array(rows, np.float32)
        except (TypeError, ValueError, OverflowError):
            return None
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and (lengths > _MIN_LENGTH).all()):
            return None
        vectors /= lengths
        return [vector.copy() for vector in vectors]  # each by itself, so that one does not keep them all

    def _fail(self, digests: Iterable[_Digest], reason: Reason, error: BaseException | None = None) -> None:
        for digest in digests:
            failure = LookupFailed(reason)
            failure.__cause__ = error
            self._waiting.pop(digest, None)
            expected = self._expected.pop(digest)
            expected.set_exception(failure)
            expected.exception()  # perhaps nobody waits for it any more
