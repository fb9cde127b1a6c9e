"""The client reads whole answers, and says so when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from benchmarks.chat import Kind
from benchmarks.client import BadAnswer, Connection, Reply, check, connect, parse_head
from benchmarks.upstream import json_writes, stream_events, stream_writes


def _reply(body: bytes, status: int = 200) -> Reply:
    return Reply(status, body, 0.0, 0.0)


def _connection(received: bytes) -> Connection:
    reader = asyncio.StreamReader()
    reader.feed_data(received)
    reader.feed_eof()
    return Connection(reader, _Nowhere())  # type: ignore[arg-type] # only `write` is used


class _Nowhere:
    def write(self, data: bytes) -> None:
        """What is sent doesn't matter."""


def test_a_head_is_parsed() -> None:
    status, headers = parse_head(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nX-A:b:c\r\n\r\n")
    assert (status, headers) == (503, {b"retry-after": b"5", b"x-a": b"b:c"})


@pytest.mark.parametrize(
    "head", [b"", b"\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"SSH-2.0 200 OK\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n"]
)
def test_what_is_no_head_is_refused(head: bytes) -> None:
    with pytest.raises(BadAnswer, match="status line"):
        parse_head(head)


@pytest.mark.parametrize(("kind", "writes"), [("json", json_writes()), ("stream", stream_writes())])
async def test_an_answer_of_the_upstream_is_read_and_found_whole(kind: Kind, writes: Sequence[bytes]) -> None:
    reply = await _connection(b"".join(writes)).ask(b"")
    assert reply.status == 200
    assert 0 < reply.first_byte_s <= reply.whole_s
    check(reply, kind)


async def test_two_answers_on_one_connection_are_kept_apart() -> None:
    connection = _connection(b"".join(stream_writes() + json_writes()))
    first, second = await connection.ask(b""), await connection.ask(b"")
    assert first.body == b"".join(stream_events())
    assert second.body.startswith(b'{"object":"chat.completion"')


@pytest.mark.parametrize("writes", [json_writes(), stream_writes()])
async def test_an_answer_that_breaks_off_is_noticed(writes: Sequence[bytes]) -> None:
    with pytest.raises(BadAnswer, match="broke off"):
        await _connection(b"".join(writes)[:-3]).ask(b"")


@pytest.mark.parametrize(
    ("kind", "reply", "said"),
    [
        ("json", _reply(b"{}", 500), "status 500"),
        ("json", _reply(b"<html>"), "not JSON"),
        ("json", _reply(b'{"choices":[]}'), "no content"),
        ("stream", _reply(b"".join(stream_events()[:-1])), r"\[DONE\]"),
        ("stream", _reply(b"".join(stream_events()[1:])), "19 events"),
        ("stream", _reply(b"".join(stream_events()[:20] + stream_events()[21:])), "finish reason"),
        ("stream", _reply(b""), r"\[DONE\]"),
    ],
)
def test_an_answer_that_is_not_whole_is_refused(kind: Kind, reply: Reply, said: str) -> None:
    with pytest.raises(BadAnswer, match=said):
        check(reply, kind)


@pytest.fixture
async def scripted() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.writelines(stream_writes())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.integration
async def test_a_real_connection_is_asked(scripted: int) -> None:
    async with connect(scripted) as connection:
        reply = await connection.ask(b"POST / HTTP/1.1\r\n\r\n")
    check(reply, "stream")
    assert b"[DONE]" in reply.body
