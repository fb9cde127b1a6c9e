"""HTTP byte by byte: what no well-behaved client would send, and what exactly comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

#: No answer in these tests takes longer, unless a test says so.
_WITHIN_S = 5.0


@dataclass(frozen=True)
class RawReply:
    """One response as it stood on the wire."""

    version: str
    status: int
    headers: list[tuple[str, str]]  #: names in lower case
    body: bytes

    def header(self, name: str) -> str | None:
        """The header's value if it is there once; None if it is absent. Fails if it is there twice."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, f"{name} was sent {len(found)} times"
        return found[0] if found else None

    def error(self) -> dict[str, Any]:
        """The error of OpenAI's envelope, which must be all there is."""
        document = orjson.loads(self.body)
        assert list(document) == ["error"]
        error: dict[str, Any] = document["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str)
        assert error["message"]
        return error


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def read_reply(self, within_s: float = _WITHIN_S, *, is_head: bool = False) -> RawReply:
        """The next response. Raises TimeoutError, and IncompleteReadError if the connection ends first."""
        async with asyncio.timeout(within_s):
            return await self._read_reply(is_head)

    async def read_line(self, within_s: float = _WITHIN_S) -> bytes:
        """The next line of whatever comes, its line end included."""
        async with asyncio.timeout(within_s):
            return await self._reader.readuntil(b"\n")

    async def read_to_end(self, within_s: float = _WITHIN_S) -> bytes:
        """Everything until the server closes the connection. Raises TimeoutError if it does not."""
        async with asyncio.timeout(within_s):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""

    async def was_closed(self, within_s: float = 1.0) -> bool:
        """Does the server close the connection within that time, without another byte?"""
        try:
            return await self.read_to_end(within_s) == b""
        except TimeoutError:
            return False

    def pause_reading(self) -> None:
        """Let what the server sends pile up."""
        assert isinstance(self._writer.transport, asyncio.Transport)
        self._writer.transport.pause_reading()

    async def close(self) -> None:
        """Leave. The kernel tells the server at once."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except (ConnectionError, BrokenPipeError):
            return

    async def _read_reply(self, is_head: bool) -> RawReply:
        while True:
            version, status, headers = await self._read_head()
            if status >= 200:
                break
        fields = dict(headers)
        body = b""
        if is_head or status in (204, 304):
            pass
        elif "content-length" in fields:
            body = await self._reader.readexactly(int(fields["content-length"]))
        elif fields.get("transfer-encoding") == "chunked":
            body = await self._read_chunks()
        else:
            body = await self._reader.read()
        return RawReply(version, status, headers, body)

    async def _read_head(self) -> tuple[str, int, list[tuple[str, str]]]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        version, status, _ = lines[0].split(" ", 2)
        headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.append((name.lower(), value.strip()))
        return version, int(status), headers

    async def _read_chunks(self) -> bytes:
        body = b""
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            body += (await self._reader.readexactly(size + 2))[:-2]
            if size == 0:
                return body


@asynccontextmanager
async def connect(address: tuple[str, int]) -> AsyncGenerator[RawClient, None]:
    """A connection to host and port, closed at the end."""
    reader, writer = await asyncio.open_connection(*address, limit=64 * 1024 * 1024)
    client = RawClient(reader, writer)
    try:
        yield client
    finally:
        await client.close()


async def exchange(address: tuple[str, int], data: bytes) -> tuple[RawReply, bool]:
    """The first response to these bytes, and whether the server then closed the connection without another byte."""
    async with connect(address) as client:
        await client.send(data)
        reply = await client.read_reply()
        return reply, await client.was_closed()


def request_bytes(
    method: str = "POST",
    path: str = "/v1/chat/completions",
    *,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> bytes:
    """A request with a Host and the right Content-Length, unless `headers` says otherwise. An empty value leaves a
    header out.
    """
    sent = {"Host": "gateway"}
    if body or method == "POST":
        sent["Content-Length"] = str(len(body))
        sent["Content-Type"] = "application/json"
    sent.update(headers or {})
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items() if value), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
