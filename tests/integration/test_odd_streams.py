"""Streams that are whole but odd: whatever the format allows comes out in the one form that every SDK reads."""

from __future__ import annotations

import pytest

from tests.fakes import sse_chunks
from tests.integration.gateway import Gateway
from tests.integration.sse import DONE, text_of
from tests.upstream import (
    End,
    head,
    play,
    stream,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

COMPLETE = {
    "no [DONE]": stream(sse_chunks("one ", "two", done=False)),
    "no [DONE] and a close": play(
        head(200, ("Content-Type", "text/event-stream"), ("Connection", "close"))
        + b"".join(sse_chunks("one ", "two", done=False)),
        end=End.CLOSE,
    ),
    "CRLF": stream([event.replace(b"\n", b"\r\n") for event in sse_chunks("one ", "two")]),
    "no space after data:": stream([event.replace(b"data: ", b"data:") for event in sse_chunks("one ", "two")]),
    "event names and ids": stream(
        [b"event: message\nid: 7\nretry: 5\n" + event for event in sse_chunks("one ", "two")]
    ),
    "pings without data": stream([b"event: ping\n\n" + event for event in sse_chunks("one ", "two")]),
    "a byte order mark": stream([b"\xef\xbb\xbf" + b"".join(sse_chunks("one ", "two"))]),
    "single bytes": stream([bytes([byte]) for byte in b"".join(sse_chunks("one ", "two"))]),
    "one write": stream([b"".join(sse_chunks("one ", "two"))]),
}


@pytest.mark.parametrize("name", COMPLETE)
async def test_an_odd_but_whole_stream_is_made_plain(gateway: Gateway, name: str) -> None:
    gateway.play(COMPLETE[name])
    reply = await gateway.post("chat", streams=True)
    status, body = reply.status, reply.body
    assert status == 200
    assert text_of(body) == "one two"
    assert body.endswith(DONE)
    assert body.count(b"[DONE]") == 1
    assert b"error" not in body
    lines = set(body.split(b"\n"))
    assert all(line == b"" or line.startswith(b"data: ") for line in lines)
