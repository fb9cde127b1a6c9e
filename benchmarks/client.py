"""A client on a bare connection: checks that answers are whole, and times them. wrk does neither."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import orjson

from benchmarks.chat import Kind
from benchmarks.upstream import CONTENT_EVENTS

ANSWER_WITHIN_S: Final = 10.0


class BadAnswer(Exception):
    """The server answered, and not as it should."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and when it came, in seconds after the request was sent."""

    status: int
    body: bytes
    first_byte_s: float  #: of the body
    whole_s: float


def parse_head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers (names in lower case) of a response head. Raises BadAnswer."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    parts = first.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise BadAnswer(f"not a status line: {first[:80]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    return int(parts[1]), headers


class Connection:
    """One keep-alive connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> Reply:
        """Send a request and read its whole answer. Raises BadAnswer, OSError, TimeoutError."""
        async with asyncio.timeout(ANSWER_WITHIN_S):
            try:
                return await self._ask(request)
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                raise BadAnswer(f"the answer broke off: {error}") from error

    async def _ask(self, request: bytes) -> Reply:
        sent_at = perf_counter()
        self._writer.write(request)
        status, headers = parse_head(await self._reader.readuntil(b"\r\n\r\n"))
        if headers.get(b"transfer-encoding", b"").lower() != b"chunked":
            body = await self._reader.readexactly(int(headers.get(b"content-length", b"0")))
            whole_s = perf_counter() - sent_at
            return Reply(status, body, whole_s, whole_s)
        chunks: list[bytes] = []
        first_byte_s = 0.0
        while chunk := await self._read_chunk():
            if not chunks:
                first_byte_s = perf_counter() - sent_at
            chunks.append(chunk)
        return Reply(status, b"".join(chunks), first_byte_s, perf_counter() - sent_at)

    async def _read_chunk(self) -> bytes:
        size = int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        return (await self._reader.readexactly(size + 2))[:-2]


@contextlib.asynccontextmanager
async def connect(port: int) -> AsyncIterator[Connection]:
    """A connection to this port of the loopback. Raises OSError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


def check(reply: Reply, kind: Kind) -> None:
    """Raise BadAnswer unless the answer is whole: nothing is worth measuring that is quick because it is wrong."""
    if reply.status != 200:
        raise BadAnswer(f"status {reply.status}: {reply.body[:300]!r}")
    if kind == "json":
        _check_completion(reply.body)
    else:
        _check_stream(reply.body)


def _check_completion(body: bytes) -> None:
    content = _choice(_decode(body)).get("message", {}).get("content")
    if not content:
        raise BadAnswer(f"no content in {body[:300]!r}")


def _check_stream(body: bytes) -> None:
    events = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    if not events or events[-1].strip() != b"[DONE]":
        raise BadAnswer(f"the stream does not end with [DONE]: {body[-200:]!r}")
    choices = [_choice(_decode(event)) for event in events[:-1]]
    contents = sum(bool(choice.get("delta", {}).get("content")) for choice in choices)
    if contents != CONTENT_EVENTS:
        raise BadAnswer(f"{contents} events with content came, {CONTENT_EVENTS} were sent")
    if not any(choice.get("finish_reason") == "stop" for choice in choices):
        raise BadAnswer("the finish reason is missing")


def _decode(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadAnswer(f"not JSON: {text[:300]!r}") from error


def _choice(answer: Any) -> Any:
    return next(iter(answer.get("choices") or [{}]))
