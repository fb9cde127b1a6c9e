"""The seam to the network: httpx's transport interface over aiohttp (the default) or over httpx's own client.

Both send what they are given and nothing else: no header but Host, Content-Length and, without reuse, Connection; no
redirect, no cookie, no proxy of the environment, no decompression. Both raise httpx's exceptions only. Time limits come
with each request as `extensions["timeout"]`, with the keys `connect` (name look-up and TLS included), `first_byte`,
`idle` and `total`, in seconds; None or absent is no limit (see `deadline.Watch`). A body that was read to its end gives
its connection back to the pool; after a failure, a cancellation or an early aclose() the connection is closed at once.
"""

from __future__ import annotations

import asyncio
import functools
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from math import inf
from typing import Any, Final, Literal, NoReturn, TypeVar

import aiohttp
import httpx
from aiohttp import hdrs
from aiohttp.connector import Connection

from proxy.providers.deadline import Watch
from proxy.providers.transport_errors import FOREIGN, TransportError, translate

URL = httpx.URL
Headers = httpx.Headers
Request = httpx.Request
Response = httpx.Response
Content = httpx.ByteStream  #: a whole body to send: Request(..., stream=Content(body)) costs a fifth of content=body
Transport = httpx.AsyncBaseTransport

#: Shorter than most servers' idle time (60 s or more): a request that crosses its connection's close costs an attempt.
_KEEPALIVE_S: Final = 15.0
_MAX_FIELD_BYTES: Final = 16 * 1024  # of one header; aiohttp takes 128 of them
#: Reading pauses when a slow client has left twice as much unread.
_READ_BUFFER_BYTES: Final = 64 * 1024
#: aiohttp writes a longer body piece by piece, so that the loop is not held up, if it comes as a file.
_LARGE_BODY_BYTES: Final = 1024 * 1024

Timeouts = Mapping[str, float | None]
_Close = Callable[[], Awaitable[None]]
_T = TypeVar("_T")
_ENDS: Final = (asyncio.CancelledError, *FOREIGN)


def make_transport(kind: Literal["aiohttp", "httpx"], *, reuse: bool, proxy: str | None) -> Transport:
    """A pool of connections for one provider. Nothing is opened before the first request."""
    if kind == "aiohttp":
        return AiohttpTransport(reuse=reuse, proxy=proxy)
    return HttpxTransport(reuse=reuse, proxy=proxy)


def pieces(response: Response) -> AsyncIterator[bytes]:
    """The pieces of an answer's body as they arrive, without httpx's bookkeeping."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream.__aiter__()


async def let_go(response: Response) -> None:
    """Close the answer, without httpx's bookkeeping: see `_Body.aclose`."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    await response.stream.aclose()


def is_at_end(response: Response) -> bool:
    """Has the whole body been read? False also where only reading on could tell."""
    return isinstance(response.stream, _Body) and response.stream.at_end()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """One aiohttp session. `reuse=False` makes a connection for every request."""

    def __init__(self, *, reuse: bool = True, proxy: str | None = None) -> None:
        self._reuse = reuse
        self._proxy = proxy
        self._tls = _tls_context()
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def handle_async_request(self, request: Request) -> Response:
        """The answer, once its head is there."""
        session = self._session or self._open()
        timeouts: Timeouts = request.extensions.get("timeout", {})
        # read() spares an asynchronous generator, which costs 4 µs here.
        content = request.read() if isinstance(request.stream, httpx.ByteStream) else await request.aread()
        watch = Watch(asyncio.get_running_loop(), httpx.ReadTimeout, timeouts)
        try:  # as in _wait(), at one coroutine less
            watch.begin()
            response = await session.request(
                request.method,
                str(request.url),
                headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
                data=content if len(content) <= _LARGE_BODY_BYTES else io.BytesIO(content),
                allow_redirects=False,
                timeout=_connect_timeout(timeouts.get("connect")),
            )
        except _ENDS as end:
            await _fail(end, watch)

        async def close() -> None:
            if not response.closed:  # as it is once the whole body has come: then the pool has the connection
                response.close()

        watch.pause()
        if (refusal := _refuse(response.headers)) is not None:
            watch.stop()
            await close()
            raise refusal
        body = _Body(response.content.readany, close, watch, response.content.at_eof)
        return Response(response.status, headers=response.raw_headers, stream=body)

    async def aclose(self) -> None:
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise httpx.LocalProtocolError("the transport is closed")
        connector = _Connector(
            limit=0,  # who may be asked is decided elsewhere; a queue here would be a second, blind one
            ttl_dns_cache=30,
            ssl=self._tls,
            force_close=not self._reuse,
            keepalive_timeout=_KEEPALIVE_S if self._reuse else None,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=(hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT, hdrs.CONTENT_TYPE),
            auto_decompress=False,
            trust_env=False,
            proxy=self._proxy,
            read_bufsize=_READ_BUFFER_BYTES,
            max_field_size=_MAX_FIELD_BYTES,
        )
        return self._session


class _Connector(aiohttp.TCPConnector):
    """Hands out no connection on which bytes came that nobody had asked for: they would be the next caller's answer.

    aiohttp itself looks when it takes a connection back, which it does before it has parsed what follows the answer.
    """

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        while True:
            connection = await super().connect(*args, **kwargs)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


class HttpxTransport(httpx.AsyncBaseTransport):
    """httpx's own transport, held to the same rules: the fallback, at ten times the CPU.

    It differs in two ways: an answer that comes while the request is still being sent is seen only afterwards, if at
    all, and a TLS handshake that is cancelled leaves its socket to the garbage collector.
    """

    def __init__(self, *, reuse: bool = True, proxy: str | None = None) -> None:
        self._reuse = reuse
        kept = None if reuse else 0
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=kept, keepalive_expiry=_KEEPALIVE_S)
        self._inner = httpx.AsyncHTTPTransport(verify=_tls_context(), trust_env=False, limits=limits, proxy=proxy)

    async def handle_async_request(self, request: Request) -> Response:
        """The answer, once its head is there."""
        if not self._reuse:
            request.headers["Connection"] = "close"
        request.headers.setdefault("Host", request.url.netloc.decode())
        request.headers.setdefault("Content-Length", str(len(await request.aread())))
        timeouts: Timeouts = request.extensions.get("timeout", {})
        watch = Watch(asyncio.get_running_loop(), httpx.ReadTimeout, timeouts)
        response = await _wait(functools.partial(self._ask, request), watch)

        async def close() -> None:
            if _has_leftovers(response):
                await response.extensions["network_stream"].aclose()
            await response.aclose()

        watch.pause()
        if (refusal := _refuse(response.headers)) is not None:
            watch.stop()
            await close()
            raise refusal
        body = _Body(functools.partial(anext, pieces(response), b""), close, watch, lambda: False)
        return Response(response.status_code, headers=response.headers.raw, stream=body)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _ask(self, request: Request) -> Response:
        """In a task of its own, cancelled once: httpcore leaks its connection to a second one that meets its cleaning."""
        asking = asyncio.create_task(self._inner.handle_async_request(request))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            if not asking.cancel() and asking.exception() is None:
                await asking.result().aclose()  # it came in the same turn of the loop
            raise


class _Body(httpx.AsyncByteStream):
    """A body, piece by piece as it arrives. No generator: one would cost more and can't be closed while it runs."""

    def __init__(
        self, read: Callable[[], Awaitable[bytes]], close: _Close, watch: Watch, at_end: Callable[[], bool]
    ) -> None:
        """`read` gives b"" at the end. `close` may be called at any time, and more than once."""
        self.at_end = at_end
        self._read = read
        self._close = close
        self._watch = watch

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:  # as in _wait(), at one coroutine less for every piece
            self._watch.begin()
            piece = await self._read()
        except _ENDS as end:
            await _fail(end, self._watch, self._close)
        if not piece:
            await self.aclose()
            raise StopAsyncIteration
        self._watch.end()
        return piece

    async def aclose(self) -> None:
        self._watch.stop()
        await self._close()


async def _wait(ask: Callable[[], Awaitable[_T]], watch: Watch) -> _T:
    """What `ask` gives, within the watch's limits."""
    try:
        watch.begin()
        return await ask()
    except _ENDS as end:
        await _fail(end, watch)


async def _fail(end: BaseException, watch: Watch, close: _Close | None = None) -> NoReturn:
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


def _refuse(headers: Mapping[str, str]) -> TransportError | None:
    """Why a body under this head could not be read honestly, if so."""
    if hdrs.CONTENT_ENCODING in headers and headers[hdrs.CONTENT_ENCODING].lower() != "identity":
        return httpx.DecodingError("the answer is compressed, though identity was asked for")
    if hdrs.TRANSFER_ENCODING in headers and hdrs.CONTENT_LENGTH in headers:  # aiohttp refuses it by itself
        return httpx.RemoteProtocolError("the answer has both Content-Length and Transfer-Encoding")
    return None


def _has_leftovers(response: Response) -> bool:
    """Has httpcore read past the end of this answer? It would hand those bytes to the next request's caller.

    Only its private parts know. Should they change, every connection counts as spoilt, and none is used again.
    """
    part: object = response.stream
    for name in ("_httpcore_stream", "_stream", "_connection", "_h11_state", "trailing_data"):
        part = getattr(part, name, None)
    return not (isinstance(part, tuple) and part and part[0] == b"")


@functools.lru_cache(maxsize=256)
def _connect_timeout(connect_s: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect_s, ceil_threshold=inf)  # making one for each request is measurable


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Always verifies, by certifi's authorities or those of SSL_CERT_FILE or SSL_CERT_DIR. Takes 20 ms to read."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
