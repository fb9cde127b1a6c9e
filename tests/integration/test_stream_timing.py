"""Streams in time: each event at once, and silence bridged by comments while failover goes on behind them."""

from __future__ import annotations

import time

import pytest

from tests.fakes import sse_chunks
from tests.integration.gateway import KEY, Gateway, chat_body
from tests.integration.raw_client import RawClient, connect, request_bytes
from tests.integration.sse import COMMENT, DONE, error_at_the_end, text_of
from tests.upstream import (
    SSE_HEAD,
    End,
    chunk,
    hang,
    play,
    stream,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

TRANSPORTS = pytest.mark.parametrize("suffix", ["", "-httpx"])


def _request(model: str, *, streams: bool = True) -> bytes:
    return request_bytes(headers={"Authorization": f"Bearer {KEY}"}, body=chat_body(model, stream=streams))


async def _read_until(client: RawClient, wanted: bytes) -> float:
    """When a line that starts so came, in monotonic seconds."""
    while not (await client.read_line()).startswith(wanted):
        pass
    return time.monotonic()


@TRANSPORTS
async def test_each_event_reaches_the_client_within_20_ms(gateway: Gateway, suffix: str) -> None:
    steps: list[bytes | float] = [SSE_HEAD]
    for event in sse_chunks("a", "b", "c", "d", "e"):
        steps += [0.1, chunk(event)]
    gateway.play(play(*steps, chunk(b"")))
    arrived: list[float] = []
    async with connect(gateway.server.address) as client:
        await client.send(_request(f"chat{suffix}"))
        while True:
            line = await client.read_line()
            if line.startswith(b"data: "):
                arrived.append(time.monotonic())
            if line.startswith(b"data: [DONE]"):
                break
    sent = list(gateway.main.sent_at)[1 : 1 + len(arrived)]  # the head was the first write
    late = [there - here for here, there in zip(sent, arrived, strict=True)]
    assert len(late) == 8
    # One late event may be this machine's; a buffer would hold back every one of them, by 100 ms.
    assert sorted(late)[-2] < 0.02, late
    assert max(late) < 0.08, late


async def test_the_end_of_a_stream_is_not_held_up_by_a_connection_that_stays_open(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("a"), complete=False, end=End.HANG))
    started = time.monotonic()
    async with connect(gateway.server.address) as client:
        await client.send(_request("chat"))
        reply = await client.read_reply()
    assert reply.body.endswith(DONE)
    assert time.monotonic() - started < 0.3


async def test_a_silent_stream_is_committed_and_kept_alive(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("a"), first_s=0.7))
    started = time.monotonic()
    async with connect(gateway.server.address) as client:
        await client.send(_request("patient"))
        first = await _read_until(client, b": keep-alive")
        second = await _read_until(client, b": keep-alive")
        await _read_until(client, b"data: [DONE]")
    assert 0.15 < first - started < 0.4  # commit_after: 200ms
    assert 0.1 < second - first < 0.3  # keepalive_comment: 150ms


async def test_failover_goes_on_behind_the_comments(gateway: Gateway) -> None:
    gateway.play(hang(), stream(sse_chunks("from ", "the second")))
    reply = await gateway.post("patient", streams=True)
    status, body = reply.status, reply.body
    assert status == 200
    assert body.startswith(COMMENT)
    assert text_of(body) == "from the second"
    assert body.endswith(DONE)
    assert gateway.asked == 2


async def test_a_failure_behind_the_comments_is_an_error_event(gateway: Gateway) -> None:
    gateway.play(hang())
    reply = await gateway.post("patient", streams=True)
    status, body = reply.status, reply.body
    assert status == 200
    assert body.startswith(COMMENT)
    assert error_at_the_end(body)["code"] == "upstream_timeout"
    assert gateway.asked == 2


async def test_a_pause_in_mid_stream_is_bridged_by_comments(gateway: Gateway) -> None:
    events = sse_chunks("a", "b")
    steps: list[bytes | float] = [
        SSE_HEAD,
        chunk(events[0]),
        chunk(events[1]),
        0.5,
        *map(chunk, events[2:]),
        chunk(b""),
    ]
    gateway.play(play(*steps))
    body = (await gateway.post("chat", streams=True)).body
    assert COMMENT in body
    assert text_of(body) == "ab"
    assert body.endswith(DONE)


async def test_a_lively_stream_carries_no_comments(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks(*"abcdefgh"), delay_s=0.05))
    body = (await gateway.post("chat", streams=True)).body
    assert COMMENT not in body


async def test_an_upstreams_comments_are_not_passed_on(gateway: Gateway) -> None:
    gateway.play(stream([b": OPENROUTER PROCESSING\n\n", *sse_chunks("a")]))
    body = (await gateway.post("chat", streams=True)).body
    assert b"OPENROUTER" not in body
    assert text_of(body) == "a"
