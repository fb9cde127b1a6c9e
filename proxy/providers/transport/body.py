"""What both transports share: the body of an answer under its time limits, and what counts as the end of a wait."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Final, NoReturn

import httpx

from proxy.providers.deadline import Watch
from proxy.providers.transport.errors import FOREIGN, TransportError, translate

URL = httpx.URL
Headers = httpx.Headers
Request = httpx.Request
Response = httpx.Response
Content = httpx.ByteStream  #: a whole body to send: Request(..., stream=Content(body)) costs a fifth of content=body
Transport = httpx.AsyncBaseTransport

Timeouts = Mapping[str, float | None]
Close = Callable[[], Awaitable[None]]

_FRAMINGS: Final[Mapping[bytes, str]] = {
    b"content-encoding": "coding",
    b"transfer-encoding": "transfer",
    b"content-length": "length",
}
#: The ways a wait for an upstream may end other than with what was waited for.
ENDS: Final = (asyncio.CancelledError, *FOREIGN)
#: Shorter than most servers' idle time (60 s or more): a request that crosses its connection's close costs an attempt.
KEEPALIVE_S: Final = 15.0


def pieces(response: Response) -> AsyncIterator[bytes]:
    """The pieces of an answer's body as they arrive, without httpx's bookkeeping."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream.__aiter__()


async def let_go(response: Response) -> None:
    """Close the answer, without httpx's bookkeeping: see `Body.aclose`."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    await response.stream.aclose()


def is_at_end(response: Response) -> bool:
    """Has the whole body been read? False also where only reading on could tell."""
    return isinstance(response.stream, Body) and response.stream.at_end()


class Body(httpx.AsyncByteStream):
    """A body, piece by piece as it arrives. No generator: one would cost more and can't be closed while it runs."""

    def __init__(
        self, read: Callable[[], Awaitable[bytes]], close: Close, watch: Watch, at_end: Callable[[], bool]
    ) -> None:
        """`read` gives b"" at the end. `close` may be called at any time, and more than once."""
        self.at_end = at_end
        self._read = read
        self._close = close
        self._watch = watch

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            self._watch.begin()
            piece = await self._read()
        except ENDS as end:
            await fail(end, self._watch, self._close)
        if not piece:
            await self.aclose()
            raise StopAsyncIteration
        self._watch.end()
        return piece

    async def aclose(self) -> None:
        self._watch.stop()
        await self._close()


async def fail(end: BaseException, watch: Watch, close: Close | None = None) -> NoReturn:
    """Raise our name for the way a wait ended, or the cancellation that somebody else wanted."""
    error = watch.settle() if isinstance(end, asyncio.CancelledError) else None
    watch.stop()
    if close is not None:
        await close()
    if error is not None:
        raise error from None
    if isinstance(end, (asyncio.CancelledError, httpx.ReadTimeout)):  # the latter is the watch's own
        raise end
    raise translate(end) from end


def refuse(head: Iterable[tuple[bytes, bytes]]) -> TransportError | None:
    """Why a body under this head could not be read honestly, if so."""
    framings = set()
    for name, value in head:
        kind = _FRAMINGS.get(name.lower())
        if kind is None:
            continue
        framings.add(kind)
        words = value.strip().lower()
        if kind == "coding" and words not in (b"", b"identity"):
            return httpx.DecodingError("the answer is compressed, though identity was asked for")
        if kind == "transfer" and words != b"chunked":
            return httpx.RemoteProtocolError("the answer has a Transfer-Encoding other than chunked")
    if {"transfer", "length"} <= framings:  # aiohttp refuses it by itself
        return httpx.RemoteProtocolError("the answer has both Content-Length and Transfer-Encoding")
    return None


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Always verifies, by certifi's authorities or those of SSL_CERT_FILE or SSL_CERT_DIR. Takes 20 ms to read."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
