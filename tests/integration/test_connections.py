"""Connections as clients use them: kept, shared by several requests, old-fashioned, slow."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes import sse_chunks
from tests.integration.gateway import Gateway, chat_body, until
from tests.integration.raw_client import RawClient, connect, exchange, request_bytes
from tests.integration.raw_requests import BODY, KEYED, REQUEST_LINE, chunked, keyed_head, sized
from tests.upstream import hang, stream

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
async def test_head_of_a_probe_has_no_body(gateway: Gateway, path: str) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(request_bytes("HEAD", path))
        assert (await client.read_reply(is_head=True)).status == 200
        await client.send(request_bytes("GET", "/livez"))
        assert (await client.read_reply()).body == b'{"status":"ok"}'


async def test_a_connection_is_used_again(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        for index in range(5):
            await client.send(sized(f"X-Request-Id: call-{index}") if index % 2 else chunked())
            reply = await client.read_reply()
            assert reply.status == 200
            assert reply.header("connection") is None
    assert gateway.asked == 5


async def test_requests_sent_at_once_are_answered_in_their_order(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(sized("X-Request-Id: one") + sized("X-Request-Id: two") + request_bytes("GET", "/livez"))
        ids = [(await client.read_reply()).header("x-request-id") for _ in range(2)]
        last = await client.read_reply()
    assert ids == ["one", "two"]
    assert last.body == b'{"status":"ok"}'
    assert gateway.asked == 2


async def test_what_follows_a_request_that_closes_is_not_served(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(sized("Connection: close") + sized("X-Request-Id: late"))
        assert (await client.read_reply()).status == 200
        assert await client.read_to_end() == b""
    assert gateway.asked == 1


async def test_http_1_0_is_answered_and_closed(gateway: Gateway) -> None:
    reply, closed = await exchange(gateway.server.address, sized(host=False).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert reply.status == 200
    assert reply.header("content-length") == str(len(reply.body))
    assert closed


async def test_a_stream_for_http_1_0_ends_with_the_connection(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("a")))
    body = chat_body(stream=True)
    head = f"POST /v1/chat/completions HTTP/1.0\r\n{KEYED}Content-Length: {len(body)}\r\n\r\n"
    reply, closed = await exchange(gateway.server.address, head.encode() + body)
    assert reply.status == 200
    assert reply.header("connection") == "close"
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert closed


async def test_a_client_that_expects_100_continue_is_told_to(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(keyed_head(f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
        assert await client.read_line() == b"HTTP/1.1 100 Continue\r\n"
        assert await client.read_line() == b"\r\n"
        await client.send(BODY)
        assert (await client.read_reply()).status == 200


async def test_a_large_body_of_nobody_is_refused_before_it_is_sent(gateway: Gateway) -> None:
    head = f"{REQUEST_LINE}Host: gateway\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n"
    async with connect(gateway.server.address) as client:
        await client.send(head.encode())
        assert (await client.read_reply()).status == 401


async def test_slow_headers_are_timed_out(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(REQUEST_LINE.encode() + b"Host: gate")
        reply = await client.read_reply(within_s=4)
        assert reply.status == 408
        assert reply.error()["code"] == "request_timeout"
        assert await client.was_closed()


async def test_headers_that_drip_are_timed_out(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        dripping = asyncio.create_task(_drip(client, sized()))
        reply = await client.read_reply(within_s=4)
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
    assert reply.status == 408


async def test_a_connection_that_says_nothing_is_closed(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        assert await client.was_closed(within_s=4)


async def test_a_slow_body_is_timed_out(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(sized()[:-10])
        reply = await client.read_reply(within_s=4)
        assert reply.status == 408
        assert reply.error()["code"] == "request_timeout"
        assert await client.was_closed()
    assert gateway.asked == 0


async def test_a_body_in_single_bytes_is_whole(gateway: Gateway) -> None:
    data = sized()
    async with connect(gateway.server.address) as client:
        await client.send(data[:-20])
        for byte in data[-20:]:
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.read_reply()).status == 200


async def _drip(client: RawClient, data: bytes) -> None:
    for byte in data:
        await client.send(bytes([byte]))
        await asyncio.sleep(0.1)


async def test_trailers_without_end_are_cut_off(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(keyed_head("Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n")
        writing = asyncio.create_task(client.send(b"".join(b"X-Note-%d: a\r\n" % index for index in range(100_000))))
        assert (await client.read_reply()).status == 431
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def test_a_chunk_extension_without_end_is_cut_off(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        writing = asyncio.create_task(client.send(keyed_head("Transfer-Encoding: chunked") + b"2;" + b"a" * 1_000_000))
        assert (await client.read_reply()).status == 431
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def test_a_next_head_without_end_is_cut_off_while_a_call_is_served(gateway: Gateway) -> None:
    gateway.play(hang())
    async with connect(gateway.server.address) as client:
        await client.send(sized())
        await until(lambda: gateway.asked == 1)
        writing = asyncio.create_task(client.send(b"GET /livez HTTP/1.1\r\nX-Note: " + b"a" * 1_000_000))
        assert (await client.read_reply()).status == 431
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def test_a_broken_second_request_is_not_answered_into_the_first_ones_stream(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("a", "b", "c"), delay_s=0.1))
    body = chat_body(stream=True)
    first = keyed_head(f"Content-Length: {len(body)}") + body
    async with connect(gateway.server.address) as client:
        await client.send(first)
        await until(lambda: gateway.asked == 1)
        await asyncio.sleep(0.15)
        await client.send(keyed_head("Transfer-Encoding: chunked") + b"zz\r\n")
        seen = await client.read_to_end()
    assert seen.count(b"HTTP/1.1 ") == 1
    assert b"[DONE]" not in seen
