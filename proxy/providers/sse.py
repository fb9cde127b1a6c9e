"""A streamed answer of an upstream: from the bytes as they arrive to blocks a client may see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from time import monotonic

from proxy.errors import UpstreamError, UpstreamTimeout
from proxy.providers.base import Patience
from proxy.providers.failures import Scrubber, classify_inside
from proxy.providers.transport import Response, TransportError, name_failure, pieces
from proxy.wire.answer import MalformedAnswer
from proxy.wire.chat import ChatRequest
from proxy.wire.chunks import ChatChunks
from proxy.wire.stream import EventTooLarge, SSESplitter
from proxy.wire.usage import Usage

#: How long to wait after [DONE] for the body's own end, which lets the connection be used again.
_LINGER_S = 0.5


class SSEStream:
    """One upstream stream, split, normalised, and watched for silence that comments would hide."""

    def __init__(
        self, provider: str, response: Response, request: ChatRequest, patience: Patience, scrub: Scrubber
    ) -> None:
        self._provider = provider
        self._response = response
        self._scrub = scrub
        self._patience = patience
        self._splitter = SSESplitter()
        self._chunks = ChatChunks(request.include_usage, request.n)
        self._source = pieces(response)
        self._first = b""
        self._progress_at = monotonic()
        self._ended = False

    @property
    def usage(self) -> Usage | None:
        """See `ChatStream.usage`."""
        return self._chunks.usage

    async def begin(self) -> None:
        """Wait for the first event; an error that comes first is raised as what it is."""
        started_at = self._progress_at
        first_token_s = self._patience.first_token_s
        try:
            async with asyncio.timeout(first_token_s):
                self._first = await self._next_block()
        except TimeoutError as error:
            waited_s = monotonic() - started_at
            raise UpstreamTimeout(
                f"Provider '{self._provider}' sent no token within {waited_s:.1f} s (timeouts.first_token)."
            ) from error
        if not self._first:
            raise UpstreamError(f"Provider '{self._provider}' ended its stream before it sent anything.")

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """See `ChatStream.blocks`."""
        block = self._first
        self._first = b""
        try:
            while block:
                yield block
                block = await self._next_block()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """See `ChatStream.aclose`."""
        await self._response.aclose()

    async def _next_block(self) -> bytes:
        """The next block, or b"" at the end of a complete answer. Raises UpstreamFailure."""
        chunks = self._chunks
        if chunks.error is not None:
            # What preceded the error in its block has been handed out; now it is the error's turn.
            raise classify_inside(self._provider, chunks.error, self._scrub)
        if self._ended:
            return b""
        try:
            return await self._read_block()
        except TransportError as error:
            raise name_failure(error, self._provider) from error
        except (MalformedAnswer, EventTooLarge) as error:
            raise UpstreamError(
                f"Provider '{self._provider}' sent a stream that is no chat completion: {error}."
            ) from error

    async def _read_block(self) -> bytes:
        splitter, chunks = self._splitter, self._chunks
        if self._is_over():
            await self._linger()
            return b""
        async for data in self._source:
            block = splitter.feed(data)
            if block:
                block = chunks.feed(block)
                self._progress_at = monotonic()
                if block:
                    return block
                if self._is_over():
                    break
            else:
                self._check_progress()
        return self._finish()

    def _is_over(self) -> bool:
        """Has the upstream said its last word, [DONE] or an error?"""
        return self._chunks.done or self._chunks.error is not None

    def _finish(self) -> bytes:
        """What is left when the upstream has ended its body."""
        self._ended = True
        chunks = self._chunks
        block = self._splitter.finish()
        if block:
            block = chunks.feed(block)
        if chunks.error is not None:
            if block:
                return block
            raise classify_inside(self._provider, chunks.error, self._scrub)
        if not chunks.complete:
            if not chunks.started:
                raise UpstreamError(f"Provider '{self._provider}' ended its stream before it sent anything.")
            raise UpstreamError(f"Provider '{self._provider}' ended its stream in the middle of the answer.")
        return block + chunks.finish()

    def _check_progress(self) -> None:
        """Comments and half events keep a connection busy, not an answer coming."""
        idle_s = self._patience.idle_s
        if idle_s is not None and monotonic() - self._progress_at > idle_s:
            raise UpstreamTimeout(
                f"Provider '{self._provider}' kept the stream open but sent nothing for {idle_s:g} s (timeouts.idle)."
            )

    async def _linger(self) -> None:
        """Read past [DONE] to the end of the body: the answer is complete, nothing can spoil it now."""
        self._ended = True
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
    return parts[0] if len(parts) == 1 else b"".join(parts)
