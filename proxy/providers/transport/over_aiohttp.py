"""aiohttp's pool, connections and parser, without its session: the default transport.

A session prepares, per request, what never changes between the requests to one URL, and its response object repeats
what the answer's head says: 40 µs of 145 for a small answer. Here each URL is prepared once, and a request is one write
and one read.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from math import inf
from typing import Final, NamedTuple

import aiohttp
import httpx
import yarl
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from proxy.providers.deadline import Watch
from proxy.providers.transport.body import (
    ENDS,
    KEEPALIVE_S,
    Body,
    Request,
    Response,
    Timeouts,
    fail,
    refuse,
    tls_context,
)
from proxy.providers.transport.connections import Connector
from proxy.providers.transport.errors import translate

_MAX_FIELD_BYTES: Final = 16 * 1024  # of one header; aiohttp takes 128 of them
#: Reading pauses when a slow client has left twice as much unread.
_READ_BUFFER_BYTES: Final = 64 * 1024
#: A longer request is written piece by piece, so that encrypting it does not hold the loop up.
_LARGE_BODY_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 256 * 1024
#: Heads such as early hints that may come before an answer's own.
_MAX_INTERIM_HEADS: Final = 16
#: URLs prepared at a time. A provider has one, or as many as models.
_MAX_DESTINATIONS: Final = 1024


class _Destination(NamedTuple):
    """A URL, prepared."""

    asked: aiohttp.ClientRequest  #: what the pool goes by; never sent
    start: bytes  #: of every head: the request line, and what a proxy wants to know


class AiohttpTransport(httpx.AsyncBaseTransport):
    """One pool of aiohttp's. `reuse=False` makes a connection for every request."""

    def __init__(self, *, reuse: bool = True, proxy: str | None = None) -> None:
        self._reuse = reuse
        self._proxy = None if proxy is None else yarl.URL(proxy)
        self._tls = tls_context()
        self._connector: Connector | None = None
        self._destinations: dict[tuple[str, str], _Destination] = {}
        self._is_closed = False

    async def handle_async_request(self, request: Request) -> Response:
        """The answer, once its head is there."""
        connector = self._connector or self._open()
        wanted = (request.method, str(request.url))
        destination = self._destinations.get(wanted) or self._prepare(*wanted, request)
        timeouts: Timeouts = request.extensions.get("timeout", {})
        # read() spares an asynchronous generator, which costs 4 µs here.
        content = request.read() if isinstance(request.stream, httpx.ByteStream) else await request.aread()
        head = self._encode_head(destination, request, len(content))
        watch = Watch(asyncio.get_running_loop(), httpx.ReadTimeout, timeouts)
        connection: Connection | None = None
        try:
            watch.begin()
            connection = await _connect(connector, destination.asked, timeouts.get("connect"))
            message, payload = await _exchange(connection, head, content)
        except ENDS as end:
            if connection is not None:
                connection.close()
            await fail(end, watch)

        async def close() -> None:
            connection.close()  # nothing, once the whole body has come: then the pool has it back

        watch.pause()
        if (refusal := refuse(message.raw_headers)) is not None:
            watch.stop()
            connection.close()
            raise refusal
        body = Body(payload.readany, close, watch, payload.at_eof)
        return Response(message.code, headers=message.raw_headers, stream=body)

    async def aclose(self) -> None:
        self._is_closed = True
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()

    def _open(self) -> Connector:
        if self._is_closed:
            raise httpx.LocalProtocolError("the transport is closed")
        self._connector = Connector(
            limit=0,  # who may be asked is decided elsewhere; a queue here would be a second, blind one
            ttl_dns_cache=30,
            ssl=self._tls,
            force_close=not self._reuse,
            keepalive_timeout=KEEPALIVE_S if self._reuse else None,
        )
        return self._connector

    def _prepare(self, method: str, url: str, request: Request) -> _Destination:
        if request.url.scheme not in ("http", "https") or not request.url.raw_host:
            raise httpx.UnsupportedProtocol("the URL cannot be used")
        target, secret = request.url.raw_path, b""
        try:
            asked = aiohttp.ClientRequest(method, yarl.URL(url), proxy=self._proxy, loop=asyncio.get_running_loop())
            if self._proxy is not None and request.url.scheme == "http":  # for https, aiohttp makes a tunnel
                target = b"http://" + request.url.netloc + target
                secret = _proxy_authorization(self._proxy)
            start = b"%b %b HTTP/1.1\r\n%b" % (method.encode("ascii"), target, secret)
        except ValueError as error:  # a name that is none, credentials that can't be written
            raise translate(error) from None
        if len(self._destinations) >= _MAX_DESTINATIONS:
            self._destinations.clear()
        destination = self._destinations[method, url] = _Destination(asked, start)
        return destination

    def _encode_head(self, destination: _Destination, request: Request, size: int) -> bytes:
        """All before the body. Raises LocalProtocolError if a header would split it."""
        fields = request.headers.raw
        given = {name.lower() for name, _ in fields}
        if b"host" not in given:
            fields.append((b"Host", request.url.netloc))
        if b"content-length" not in given:
            fields.append((b"Content-Length", b"%d" % size))
        if not self._reuse:
            fields.append((b"Connection", b"close"))
        return destination.start + _encode_fields(fields)


def _proxy_authorization(proxy: yarl.URL) -> bytes:
    if proxy.user is None and proxy.password is None:
        return b""
    secret = aiohttp.encode_basic_auth(proxy.user or "", proxy.password or "")
    return b"Proxy-Authorization: %b\r\n" % secret.encode("ascii")


def _encode_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [b"%b: %b\r\n" % field for field in fields]
    encoded = b"".join(lines)
    if not encoded.count(b"\n") == encoded.count(b"\r") == len(lines) or b"\0" in encoded:
        raise httpx.LocalProtocolError("the request cannot be sent as HTTP/1.1")
    return encoded + b"\r\n"


async def _connect(connector: Connector, asked: aiohttp.ClientRequest, connect_s: float | None) -> Connection:
    try:
        connection = await connector.connect(asked, [], _connect_timeout(connect_s))
    except TimeoutError:
        raise httpx.ConnectTimeout("no connection in time (connect)") from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if connector.closed and task is not None and not task.cancelling():
            raise aiohttp.ClientConnectionError from None  # the name look-up was cancelled, not whoever waits for it
        raise
    return connection


async def _exchange(connection: Connection, head: bytes, content: bytes) -> tuple[RawResponseMessage, StreamReader]:
    """Send the request and read the answer's head. The connection goes back to the pool when the body has come."""
    protocol = connection.protocol
    if protocol is None or protocol.transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(
        read_until_eof=True,
        auto_decompress=False,
        read_bufsize=_READ_BUFFER_BYTES,
        max_field_size=_MAX_FIELD_BYTES,
    )
    writing: asyncio.Task[None] | None = None
    if len(content) <= _LARGE_BODY_BYTES:
        protocol.transport.write(head + content)
    else:
        protocol.transport.write(head)
        writing = asyncio.create_task(_write(protocol, content))
        connection.add_callback(functools.partial(_cancel, writing))
    message, payload = await protocol.read()
    interim_heads = 0
    while 100 <= message.code < 200 and message.code != 101:  # early hints and the like
        interim_heads += 1
        if interim_heads > _MAX_INTERIM_HEADS:
            raise httpx.RemoteProtocolError("there is no end to what comes before the answer")
        message, payload = await protocol.read()

    def give_back() -> None:
        # An answer that came before the request was sent leaves the rest of it in the way of the next one. What of it
        # lies in the kernel nobody can see: a long request that was refused counts as unsent.
        transport = protocol.transport
        if (
            message.code == 101
            or (message.code >= 300 and len(content) > _READ_BUFFER_BYTES)
            or (writing is not None and not writing.done())
            or (transport is not None and transport.get_write_buffer_size())
        ):
            connection.close()
        else:
            connection.release()

    payload.on_eof(give_back)
    return message, payload


async def _write(protocol: ResponseHandler, content: bytes) -> None:
    """Send a long body while its answer is being waited for. A connection that fails tells whoever reads it."""
    view = memoryview(content)
    for start in range(0, len(view), _PIECE_BYTES):
        if protocol.transport is None:
            return
        protocol.transport.write(view[start : start + _PIECE_BYTES])
        try:
            await protocol._drain_helper()
        except aiohttp.ClientError:
            return


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


@functools.lru_cache(maxsize=256)
def _connect_timeout(connect_s: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect_s, ceil_threshold=inf)  # making one for each request is measurable
