"""Embeds texts on the worker's thread: what waits while the thread is busy goes together the next time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from proxy.cache.nearest.base import LookupFailed, Reason, T, Vectors
from proxy.cache.nearest.worker import Worker

#: Texts in one go: 6 to 8 ms of short questions. More would make the first wait too long for the last.
_MAX_BATCH: Final = 8
#: Requests that wait. Whoever came behind them would be too late for its answer to be of use.
_MAX_WAITING: Final = 32
#: What is embedded of a text, in bytes of UTF-8, each of which takes 10 µs: its beginning and its end. What lies
#: between is for whoever judges the candidates, who reads them whole.
_HEAD_BYTES: Final = 600
_TAIL_BYTES: Final = 200


@dataclass(slots=True)
class _Request:
    texts: tuple[str, ...]
    then: Callable[[Vectors], Any]
    answer: asyncio.Future[Any]


class LocalEmbedder:
    """An `Embedder` whose model runs in this process."""

    def __init__(self, id: str, dims: int, encode: Callable[[Sequence[str]], Vectors], worker: Worker) -> None:
        """`encode` is called on the worker's thread only."""
        self.id = id
        self.dims = dims
        self._encode = encode
        self._worker = worker
        self._waiting: deque[_Request] = deque()
        self._is_busy = False
        self._is_closed = False

    async def embed_then(self, texts: Sequence[str], then: Callable[[Vectors], T]) -> T:
        """See `Embedder.embed_then`. A failure of one is a failure of all who were embedded together."""
        if self._is_closed:
            raise LookupFailed("closed")
        if len(self._waiting) >= _MAX_WAITING:
            raise LookupFailed("busy")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(tuple(map(cut, texts)), then, answer))
        if not self._is_busy:
            self._begin()
        return await answer

    async def aclose(self) -> None:
        """See `Embedder.aclose`. The worker is left to whoever made it."""
        self._is_closed = True
        _fail(self._waiting, "closed")
        self._waiting.clear()

    def _begin(self) -> None:
        batch = self._next_batch()
        if not batch:
            return
        try:
            done = self._worker.submit(partial(self._embed, batch))
        except LookupFailed as failure:
            _fail(batch, failure.reason)
            return
        self._is_busy = True
        done.add_done_callback(partial(self._hand_out, batch))

    def _next_batch(self) -> list[_Request]:
        batch: list[_Request] = []
        count = 0
        while self._waiting:
            request = self._waiting[0]
            if request.answer.done():  # nobody waits for it any more
                self._waiting.popleft()
                continue
            count += len(request.texts)
            if batch and count > _MAX_BATCH:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _embed(self, batch: Sequence[_Request]) -> list[object]:
        """On the worker's thread."""
        vectors = self._encode([text for request in batch for text in request.texts])
        results = []
        at = 0
        for request in batch:
            results.append(request.then(vectors[at : at + len(request.texts)]))
            at += len(request.texts)
        return results

    def _hand_out(self, batch: Sequence[_Request], done: asyncio.Future[list[object]]) -> None:
        self._is_busy = False
        error = None if done.cancelled() else done.exception()
        if done.cancelled():
            _fail(batch, "closed")
        elif error is not None:
            _fail(batch, "failed", error)
        else:
            for request, result in zip(batch, done.result(), strict=True):
                if not request.answer.done():
                    request.answer.set_result(result)
        if not self._is_closed:
            self._begin()


def cut(text: str) -> str:
    """What is embedded of it. Lone surrogates, which no encoding has, become question marks."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= _HEAD_BYTES + _TAIL_BYTES:
        return raw.decode()
    head, tail = raw[:_HEAD_BYTES].decode("utf-8", "ignore"), raw[-_TAIL_BYTES:].decode("utf-8", "ignore")
    return f"{head} {tail}"


def _fail(requests: Iterable[_Request], reason: Reason, error: BaseException | None = None) -> None:
    for request in requests:
        if not request.answer.done():
            failure = LookupFailed(reason)
            failure.__cause__ = error
            request.answer.set_exception(failure)
