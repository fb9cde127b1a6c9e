"""A streamed answer of an upstream: from the bytes as they arrive to blocks a client may see."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Self

from proxy.errors import UpstreamError, UpstreamTimeout
from proxy.providers.base import Patience
from proxy.providers.failures import Scrubber, classify_inside
from proxy.providers.transport import Response, is_at_end, let_go, pieces
from proxy.providers.transport.errors import TransportError, name_failure
from proxy.wire.answer import MalformedAnswer
from proxy.wire.chat import ChatRequest
from proxy.wire.chunks import ChatChunks
from proxy.wire.stream import EventTooLarge, SSESplitter
from proxy.wire.usage import Usage
from routing import RateLimits

#: How long to wait after [DONE] for the body's own end, which lets the connection be used again.
_LINGER_S = 0.5
#: What may come before an answer begins, comments aside.
_MAX_PRELUDE_BYTES = 1024 * 1024
#: What an event without text takes at least, and what a token of text takes, for a rough count.
_MIN_SHELL_BYTES = 100
_BYTES_PER_TOKEN = 4


class SSEStream:
    """One upstream stream, split, normalised, and watched for silence that comments would hide."""

    def __init__(
        self, provider: str, response: Response, request: ChatRequest, patience: Patience, scrub: Scrubber
    ) -> None:
        self.limits: RateLimits | None = None  #: see `ChatStream.limits`
        self.goes_on_exactly = False  #: see `ChatStream.goes_on_exactly`
        self.credential_id = ""  #: see `ChatStream.credential_id`
        self._provider = provider
        self._response = response
        self._scrub = scrub
        self._patience = patience
        self._splitter = SSESplitter()
        self._chunks = ChatChunks(request.include_usage, request.n)
        self._source = pieces(response)
        self._read = self._source.__anext__
        self._first = b""
        self._progress_at = monotonic()
        self._ended = False
        self._is_closed = False
        self._events = 0  # that have come
        self._bytes = 0  # their size

    @property
    def id(self) -> object:
        """See `ChatStream.id`."""
        return self._chunks.id

    @property
    def service_tier(self) -> object:
        """See `ChatStream.service_tier`."""
        return self._chunks.service_tier

    @property
    def produced_tokens(self) -> int:
        """See `ChatStream.produced_tokens`. Most providers send an event a token; some send longer pieces."""
        text_bytes = self._bytes - self._events * max(self._chunks.template.shell_bytes, _MIN_SHELL_BYTES)
        return max(self._events, text_bytes // _BYTES_PER_TOKEN)

    @property
    def usage(self) -> Usage | None:
        """See `ChatStream.usage`."""
        return self._chunks.usage

    async def begin(self) -> None:
        """Wait for the first event; an error that comes first is raised as what it is."""
        started_at = self._progress_at
        try:
            # The transport bounds the wait for the first bytes. Only if they began no answer is there more to bound.
            self._first = await self._read_once()
            if not self._has_begun():
                await self._read_on(started_at)
        except TransportError as error:
            raise name_failure(error, self._provider) from error
        except (MalformedAnswer, EventTooLarge) as error:
            raise self._malformed(error) from error
        if not self._chunks.started:
            self._finish()  # raises what came instead

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """See `ChatStream`. No generator: the event loop keeps books on each one, at 3 µs a stream."""
        block = self._first
        if block:
            self._first = b""
            return block
        self._progress_at = monotonic()  # while a slow client held the stream up, nobody waited for the provider
        chunks = self._chunks
        try:
            while not (self._ended or chunks.done or chunks.error is not None):  # `_is_over`, once for each event
                try:
                    block = self._take(await self._read())
                except StopAsyncIteration:
                    block = self._finish()
                if block:
                    return block
                self._check_progress()
            await self._end()
        except TransportError as error:
            raise name_failure(error, self._provider) from error
        except (MalformedAnswer, EventTooLarge) as error:
            raise self._malformed(error) from error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """See `ChatStream.aclose`."""
        if not self._is_closed:
            self._is_closed = True
            await let_go(self._response)

    async def _read_once(self) -> bytes:
        """What one read from upstream makes visible: a block, or b"" for comments, half an event or an error."""
        try:
            return self._take(await self._read())
        except StopAsyncIteration:
            return self._finish()

    def _take(self, data: bytes) -> bytes:
        if self._splitter.is_idle and data.find(b"\n") == len(data) - 2 and b"\r" not in data:
            # Most reads are one event that differs in its text alone from one that was examined: a template has seen
            # the rest of it, its ends included.
            block = self._chunks.template.match(data)
            if block is not None:
                self._events += 1
                self._bytes += len(data)
                return block
        block = self._splitter.feed(data)
        if not block:
            return b""
        self._events += block.count(b"\n\n")
        self._bytes += len(block)
        self._progress_at = monotonic()
        return self._chunks.feed(block)

    async def _end(self) -> None:
        """The upstream has said its last word; everything before it has been handed out."""
        error = self._chunks.error
        if error is None:
            await self._linger()
        await self.aclose()
        if error is not None:
            raise classify_inside(self._provider, error, self._scrub)

    async def _read_on(self, started_at: float) -> None:
        """Comments, or a chunk without choices as Azure sends it at once, are not the beginning of an answer."""
        first_token_s = self._patience.first_token_s
        try:
            async with asyncio.timeout(None if first_token_s is None else started_at + first_token_s - monotonic()):
                while not self._has_begun():
                    if len(self._first) > _MAX_PRELUDE_BYTES:
                        raise MalformedAnswer("its chunks have no choices")
                    self._first += await self._read_once()
        except TimeoutError as error:
            waited_s = monotonic() - started_at
            raise UpstreamTimeout(
                f"Provider '{self._provider}' sent no token within {waited_s:.1f} s (timeouts.first_token)."
            ) from error

    def _has_begun(self) -> bool:
        """Is it known what this is: an answer that has begun, or one that ended before it did?"""
        return self._chunks.started or self._is_over()

    def _is_over(self) -> bool:
        """Has the upstream said its last word: [DONE], an error, or the end of its body?"""
        return self._ended or self._chunks.done or self._chunks.error is not None

    def _finish(self) -> bytes:
        """What is left at the end. Raises UpstreamFailure if the answer is not whole and all of it is handed out."""
        self._ended = True
        chunks = self._chunks
        block = self._splitter.finish()
        if block:
            block = chunks.feed(block)
        if block and chunks.error is not None:
            return block
        if chunks.error is not None:
            raise classify_inside(self._provider, chunks.error, self._scrub)
        if not chunks.complete:
            where = "in the middle of the answer" if chunks.started else "before it sent anything"
            failure = UpstreamError(f"Provider '{self._provider}' ended its stream {where}.")
            failure.may_be_billed = True
            raise failure
        return block + chunks.finish()

    def _malformed(self, error: Exception) -> UpstreamError:
        failure = UpstreamError(f"Provider '{self._provider}' sent a stream that is no chat completion: {error}.")
        failure.is_lasting = failure.may_be_billed = True
        return failure

    def _check_progress(self) -> None:
        """Comments and half events keep a connection busy, not an answer coming."""
        idle_s = self._patience.idle_s
        if idle_s is not None and monotonic() - self._progress_at > idle_s:
            raise UpstreamTimeout(
                f"Provider '{self._provider}' kept the stream open but sent nothing for {idle_s:g} s (timeouts.idle)."
            )

    async def _linger(self) -> None:
        """Read past [DONE] to the end of the body: the answer is complete, nothing can spoil it now."""
        if is_at_end(self._response):
            return  # as it usually is by now; a time-out costs 4 µs
        try:
            async with asyncio.timeout(_LINGER_S):
                async for _ in self._source:
                    pass
        except (TimeoutError, TransportError):
            return


async def read_body(response: Response, max_bytes: int) -> bytes:
    """The whole body, in one piece. Raises MalformedAnswer over `max_bytes`, and TransportError."""
    parts: list[bytes] = []
    size = 0
    async for piece in pieces(response):
        size += len(piece)
        if size > max_bytes:
            raise MalformedAnswer(f"its body exceeds {max_bytes} bytes")
        parts.append(piece)
        if is_at_end(response):
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)
