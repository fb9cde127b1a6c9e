"""The seam to the network: httpx's transport interface over aiohttp (the default) or over httpx's own client.

Both send what they are given and nothing else: no header but Host, Content-Length and, without reuse, Connection; no
redirect, no cookie, no proxy of the environment, no decompression. Both raise httpx's exceptions only. Time limits come
with each request as `extensions["timeout"]`, with the keys `connect` (name look-up and TLS included), `first_byte`,
`idle` and `total`, in seconds; None or absent is no limit (see `deadline.Watch`). A body that was read to its end gives
its connection back to the pool; after a failure, a cancellation or an early aclose() the connection is closed at once.

httpx's own client costs ten times the CPU; it is the fallback for an upstream that aiohttp cannot talk to.
"""

from __future__ import annotations

import asyncio
import functools
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from math import inf
from typing import Final, Literal, TypeVar

import aiohttp
import httpx
from aiohttp import hdrs
from aiohttp.http_exceptions import HttpProcessingError

from proxy.errors import UpstreamError, UpstreamFailure, UpstreamTimeout, UpstreamUnavailable
from proxy.providers.deadline import Watch

URL = httpx.URL
Request = httpx.Request
Response = httpx.Response
Transport = httpx.AsyncBaseTransport
#: Whatever a transport, or the body of its answer, may raise.
TransportError = httpx.RequestError

#: Shorter than the idle time after which most servers and balancers close (60 s or more): a request that crosses the
#: close of its connection costs an attempt.
_KEEPALIVE_S: Final = 15.0
_DNS_TTL_S: Final = 30
_MAX_FIELD_BYTES: Final = 16 * 1024
_MAX_HEADERS: Final = 128
#: Reading pauses when a slow client has left twice as much unread.
_READ_BUFFER_BYTES: Final = 64 * 1024
#: aiohttp writes a longer body piece by piece, so that the loop is not held up, if it comes as a file.
_LARGE_BODY_BYTES: Final = 1024 * 1024

Timeouts = Mapping[str, float | None]
_NO_LIMITS: Final[Timeouts] = {}
_Response = TypeVar("_Response")

#: All that aiohttp lets through, its own asserted misuse and the operating system included.
_FOREIGN: Final = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, RuntimeError)
#: The first that fits counts, so a subclass stands before its parents.
_NAMES: Final[tuple[tuple[type[Exception], type[TransportError], str], ...]] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout, "no connection within the time limit (connect)"),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError, "the server disconnected without an answer"),
    (aiohttp.ClientProxyConnectionError, httpx.ProxyError, "the proxy could not be reached"),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError, "the proxy refused to connect"),
    (aiohttp.ClientConnectorDNSError, httpx.ConnectError, "the host name could not be resolved"),
    (aiohttp.ClientConnectorCertificateError, httpx.ConnectError, "the server's certificate is not trusted"),
    (aiohttp.ClientSSLError, httpx.ConnectError, "TLS could not be set up"),
    (aiohttp.ClientConnectorError, httpx.ConnectError, "the connection could not be made"),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError, "the answer was cut off"),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError, "the answer is not HTTP/1.1"),
    (HttpProcessingError, httpx.RemoteProtocolError, "the answer's body is not HTTP/1.1"),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol, "the URL is neither http nor https"),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol, "the URL is not valid"),
    (ValueError, httpx.LocalProtocolError, "the request cannot be sent as HTTP/1.1"),
    (Exception, httpx.ReadError, "the connection was lost"),
)


def name_failure(error: TransportError, provider: str) -> UpstreamFailure:
    """The failure that a transport's exception stands for. Tells the caller no address and no foreign text."""
    if isinstance(error, httpx.ConnectTimeout):
        return UpstreamTimeout(f"Provider '{provider}' could not be connected to in time (timeouts.connect).")
    if isinstance(error, httpx.TimeoutException):
        return UpstreamTimeout(f"Provider '{provider}' was silent for too long: {error}.")
    if isinstance(error, httpx.ConnectError | httpx.ProxyError | httpx.UnsupportedProtocol):
        return UpstreamUnavailable(f"Provider '{provider}' could not be reached.")
    if isinstance(error, httpx.DecodingError):
        return UpstreamError(f"Provider '{provider}' sent a compressed answer, which it was asked not to do.")
    return UpstreamError(f"Provider '{provider}' broke off the connection or sent something that is not HTTP.")


def make_transport(kind: Literal["aiohttp", "httpx"], *, reuse: bool, proxy: str | None) -> Transport:
    """A pool of connections for one provider. Nothing is opened before the first request."""
    if kind == "aiohttp":
        return AiohttpTransport(reuse=reuse, proxy=proxy)
    return HttpxTransport(reuse=reuse, proxy=proxy)


def pieces(response: Response) -> AsyncIterator[bytes]:
    """The pieces of an answer's body as they arrive, without httpx's bookkeeping."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream.__aiter__()


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
        timeouts: Timeouts = request.extensions.get("timeout", _NO_LIMITS)
        content = await request.aread()
        watch = _watch(timeouts)
        watch.begin()
        sending = session.request(
            request.method,
            str(request.url),
            headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
            data=content if len(content) <= _LARGE_BODY_BYTES else io.BytesIO(content),
            allow_redirects=False,
            timeout=_connect_timeout(timeouts.get("connect")),
        )
        response = await _head(sending, watch)
        refusal = _refusal(response.headers)
        if refusal is not None:
            watch.stop()
            response.close()
            raise refusal

        async def close() -> None:
            if not response.closed:  # as it is once the whole body has come: then the pool has the connection
                response.close()

        body = _Body(response.content.readany, close, watch)
        return Response(response.status, headers=response.raw_headers, stream=body)

    async def aclose(self) -> None:
        """Close every connection, the ones in use included."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise httpx.LocalProtocolError("the transport is closed")
        connector = aiohttp.TCPConnector(
            limit=0,  # who may be asked is decided elsewhere; a queue here would be a second, blind one
            ttl_dns_cache=_DNS_TTL_S,
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
            max_line_size=_MAX_FIELD_BYTES,
            max_field_size=_MAX_FIELD_BYTES,
            max_headers=_MAX_HEADERS,
        )
        return self._session


class HttpxTransport(httpx.AsyncBaseTransport):
    """httpx's own transport, held to the same rules. `reuse=False` makes a connection for every request."""

    def __init__(self, *, reuse: bool = True, proxy: str | None = None) -> None:
        self._reuse = reuse
        limits = httpx.Limits(
            max_connections=None,
            max_keepalive_connections=None if reuse else 0,
            keepalive_expiry=_KEEPALIVE_S,
        )
        self._inner = httpx.AsyncHTTPTransport(verify=_tls_context(), trust_env=False, limits=limits, proxy=proxy)

    async def handle_async_request(self, request: Request) -> Response:
        """The answer, once its head is there."""
        if not self._reuse:
            request.headers["Connection"] = "close"
        request.headers.setdefault("Host", request.url.netloc.decode())
        request.headers.setdefault("Content-Length", str(len(await request.aread())))
        watch = _watch(request.extensions.get("timeout", _NO_LIMITS))
        watch.begin()
        response = await _head(self._inner.handle_async_request(request), watch)
        refusal = _refusal(response.headers)
        if refusal is not None:
            watch.stop()
            await response.aclose()
            raise refusal

        async def close() -> None:
            if _has_leftovers(response):
                await response.extensions["network_stream"].aclose()
            await response.aclose()

        read = functools.partial(anext, pieces(response), b"")
        return Response(response.status_code, headers=response.headers.raw, stream=_Body(read, close, watch))

    async def aclose(self) -> None:
        """Close every connection, the ones in use included."""
        await self._inner.aclose()


class _Body(httpx.AsyncByteStream):
    """A body, piece by piece as it arrives. No generator: one would cost more and can't be closed while it runs."""

    def __init__(
        self, read: Callable[[], Awaitable[bytes]], close: Callable[[], Awaitable[None]], watch: Watch
    ) -> None:
        """`read` gives b"" at the end. `close` may be called at any time, and more than once."""
        self._read = read
        self._close = close
        self._watch = watch

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        watch = self._watch
        try:
            watch.begin()
            piece = await self._read()
        except asyncio.CancelledError:
            error = watch.settle()
            await self._close()
            if error is not None:
                raise error from None
            raise
        except TransportError:
            await self.aclose()
            raise
        except _FOREIGN as error:
            await self.aclose()
            raise _translate(error) from error
        watch.end()
        if not piece:
            await self.aclose()
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        self._watch.stop()
        await self._close()


async def _head(sending: Awaitable[_Response], watch: Watch) -> _Response:
    """What `sending` gives; the watch has begun."""
    try:
        response = await sending
    except asyncio.CancelledError:
        error = watch.settle()
        if error is not None:
            raise error from None
        raise
    except TransportError:
        watch.stop()
        raise
    except _FOREIGN as error:
        watch.stop()
        raise _translate(error) from error
    watch.pause()
    return response


def _watch(timeouts: Timeouts) -> Watch:
    return Watch(
        asyncio.get_running_loop(),
        httpx.ReadTimeout,
        first_byte_s=timeouts.get("first_byte"),
        idle_s=timeouts.get("idle"),
        total_s=timeouts.get("total"),
    )


def _translate(error: Exception) -> TransportError:
    for foreign, ours, message in _NAMES:
        if isinstance(error, foreign):
            return ours(f"{message}: {error}" if str(error) else message)
    return httpx.ReadError(str(error))


def _refusal(headers: Mapping[str, str]) -> TransportError | None:
    coding = headers.get(hdrs.CONTENT_ENCODING)
    if coding is not None and coding.lower() != "identity":
        return httpx.DecodingError(f"the answer's content-encoding is '{coding}', but identity was asked for")
    if hdrs.TRANSFER_ENCODING in headers and hdrs.CONTENT_LENGTH in headers:  # aiohttp refuses it itself
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
    """Always verifies. Trusts certifi's authorities, or those of SSL_CERT_FILE or SSL_CERT_DIR. Reading them takes
    20 ms, so all transports share one context.
    """
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
