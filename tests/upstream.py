"""A scripted HTTP/1.1 upstream on a real socket, with behaviours good, bad and absurd. What it says in OpenAI's shape
is in `fakes.py`.
"""

from __future__ import annotations

import asyncio
import enum
import gzip
import json
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, cast


class End(enum.Enum):
    """What the upstream does with the connection when it has said what it had to say."""

    KEEP = "read the next request from it"
    CLOSE = "close it"
    RESET = "abort it, so that the peer sees a reset"
    HANG = "keep it open and stay silent"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one request is answered: bytes are written as they are, a float is slept (seconds)."""

    steps: tuple[bytes | float, ...] = ()
    end: End = End.KEEP
    forever: tuple[bytes | float, ...] = ()  #: repeated after the steps until the peer goes away
    reads_body: bool = True  #: False answers as soon as the head is there and reads nothing more


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it came."""

    method: str
    target: str
    headers: list[tuple[str, str]]  #: names as they were spelt
    body: bytes
    raw: bytes  #: the whole request, byte by byte
    at: float  #: monotonic seconds

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(slots=True)
class Link:
    """One connection, in monotonic seconds."""

    opened_at: float
    closed_at: float | None = None  #: when either side closed it; None while it is open


class ScriptedUpstream:
    """An HTTP/1.1 server on 127.0.0.1 that answers each request with the next behaviour of its script; the last one
    repeats. It reads well-behaved clients only, whatever it does to them.

        async with ScriptedUpstream(hang(), reply_json(completion("Hi"))) as upstream: ... upstream.url
    """

    def __init__(self, *script: Behaviour) -> None:
        self.script = list(script)  # may be changed while it runs
        self.requests: list[Received] = []
        self.links: list[Link] = []  # every connection so far
        self.sent_at: list[float] = []  # monotonic seconds of each write
        self.port = 0
        self._server: asyncio.Server | None = None
        self._peers: set[_Peer] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Peer(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.gather(*(peer.abort() for peer in list(self._peers)))
        await self._server.wait_closed()

    async def all_closed(self, within_s: float = 5.0) -> None:
        """Wait until every connection is closed. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while any(link.closed_at is None for link in self.links):
                await asyncio.sleep(0.001)

    def next_behaviour(self) -> Behaviour:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class _Peer(asyncio.Protocol):
    """The server's end of one connection. A protocol, not streams: it must notice that the client left at any time."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self._upstream = upstream
        self._buffer = bytearray()
        self._more = asyncio.Event()
        self._link = Link(time.monotonic())
        self.done = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._upstream.links.append(self._link)
        self._upstream._peers.add(self)
        self._task = asyncio.create_task(self._serve())
        self._task.add_done_callback(lambda _: self.done.set())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._more.set()

    def eof_received(self) -> None:
        self._note_close()

    def connection_lost(self, error: Exception | None) -> None:
        self._note_close()
        self._task.cancel()
        self._upstream._peers.discard(self)

    async def abort(self) -> None:
        self._transport.abort()
        self._task.cancel()
        await self.done.wait()

    def _note_close(self) -> None:
        if self._link.closed_at is None:
            self._link.closed_at = time.monotonic()

    async def _serve(self) -> None:
        while True:
            raw_head = await self._read_head()
            request_line, *lines = raw_head.decode("latin-1").split("\r\n")[:-2]
            method, target, _ = request_line.split(" ")
            headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
            behaviour = self._upstream.next_behaviour()
            if not behaviour.reads_body:
                self._transport.pause_reading()
            length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
            body = await self._read(length) if behaviour.reads_body else b""
            received = Received(method, target, headers, body, raw_head + body, time.monotonic())
            self._upstream.requests.append(received)
            await self._act(behaviour)
            if behaviour.end is not End.KEEP:
                return

    async def _read_head(self) -> bytes:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            await self._receive()
        return await self._read(end + 4)

    async def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._receive()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _receive(self) -> None:
        self._more.clear()
        await self._more.wait()

    async def _act(self, behaviour: Behaviour) -> None:
        await self._play(behaviour.steps)
        while behaviour.forever:
            await self._play(behaviour.forever)
        match behaviour.end:
            case End.CLOSE:
                self._transport.close()
            case End.RESET:
                linger = struct.pack("ii", 1, 0)
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self._transport.abort()
            case End.HANG:
                await asyncio.Event().wait()
            case End.KEEP:
                pass

    async def _play(self, steps: Iterable[bytes | float]) -> None:
        for step in steps:
            if isinstance(step, bytes):
                self._upstream.sent_at.append(time.monotonic())
                self._transport.write(step)
            else:
                await asyncio.sleep(step)


def head(status: int = 200, *headers: tuple[str, str]) -> bytes:
    """Status line and headers, the empty line included."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def play(*steps: bytes | float, end: End = End.KEEP, reads_body: bool = True) -> Behaviour:
    """Exactly these bytes and pauses."""
    return Behaviour(steps, end, reads_body=reads_body)


def reply(body: bytes, status: int = 200, *headers: tuple[str, str], end: End = End.KEEP) -> Behaviour:
    """A whole answer with Content-Length, head and body in one write."""
    return Behaviour((head(status, *headers, ("Content-Length", str(len(body)))) + body,), end)


def reply_json(value: object, status: int = 200, *headers: tuple[str, str]) -> Behaviour:
    return reply(json.dumps(value).encode(), status, ("Content-Type", "application/json"), *headers)


def reply_html(status: int = 200) -> Behaviour:
    return reply(b"<!doctype html><title>Sign in</title>", status, ("Content-Type", "text/html"))


def reply_gzip(value: object) -> Behaviour:
    """Compressed, though nobody asked for it."""
    body = gzip.compress(json.dumps(value).encode())
    return reply(body, 200, ("Content-Type", "application/json"), ("Content-Encoding", "gzip"))


def redirect(location: str, status: int = 302) -> Behaviour:
    return reply(b"", status, ("Location", location))


def refuse_early(status: int = 429, body: bytes = b"{}", end: End = End.HANG) -> Behaviour:
    """A whole answer as soon as the request's head is there; its body is never read."""
    answer = head(status, ("Content-Type", "application/json"), ("Content-Length", str(len(body)))) + body
    return Behaviour((answer,), end, reads_body=False)


SSE_HEAD = head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body; the empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(
    events: Iterable[bytes], *, first_s: float = 0.0, delay_s: float = 0.0, complete: bool = True, end: End = End.KEEP
) -> Behaviour:
    """Server-sent events, each its own write, `delay_s` apart. `complete=False` leaves out the body's own end, so that
    `end` cuts it off, or leaves it hanging.
    """
    steps: list[bytes | float] = [SSE_HEAD, first_s]
    for event in events:
        steps += [chunk(event), delay_s]
    if complete:
        steps.append(chunk(b""))
    return Behaviour(tuple(steps), end)


def hang() -> Behaviour:
    """Reads the request and says nothing."""
    return Behaviour(end=End.HANG)


def hang_after_head() -> Behaviour:
    return Behaviour((SSE_HEAD,), End.HANG)


def drip_comments(every_s: float = 0.02) -> Behaviour:
    """Nothing but SSE comments, without end."""
    return Behaviour((SSE_HEAD,), forever=(chunk(b": keep-alive\n\n"), every_s))


#: Answers that are none, by name.
BROKEN: Mapping[str, Behaviour] = {
    "close before headers": play(end=End.CLOSE),
    "half the headers": play(b"HTTP/1.1 200 OK\r\nContent-Ty", end=End.CLOSE),
    "reset before headers": play(end=End.RESET),
    "reset in the body": play(head(200, ("Content-Length", "100")) + b'{"id":', 0.02, end=End.RESET),
    "body too short": play(head(200, ("Content-Length", "100")) + b'{"id":', end=End.CLOSE),
    "cut in a chunk": play(SSE_HEAD + b"20\r\ndata: {", end=End.CLOSE),
    "cut between chunks": play(SSE_HEAD + chunk(b"data: {}\n\n"), end=End.CLOSE),
    "chunk size is no number": play(SSE_HEAD + b"zz\r\n", end=End.HANG),
    "two framings": play(
        head(200, ("Content-Length", "2"), ("Transfer-Encoding", "chunked")) + chunk(b"{}") + chunk(b""), end=End.HANG
    ),
    "garbage": play(b"\x16\x03\x01 this is not HTTP\r\n\r\n", end=End.HANG),
    "huge header": play(head(200, ("X-Big", "x" * 2_000_000), ("Content-Length", "0")), end=End.HANG),
}
