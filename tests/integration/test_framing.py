"""Hostile and unusual HTTP, byte by byte. Whatever is ambiguous is refused in OpenAI's shape, and the connection is
closed, so that no two parsers can disagree over what comes next.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.gateway import KEY, Gateway
from tests.integration.raw_client import RawReply, connect, exchange
from tests.integration.raw_requests import BODY, REQUEST_LINE, keyed_head, sized

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

AMBIGUOUS = {
    "content-length and transfer-encoding": keyed_head(f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked")
    + b"0\r\n\r\n",
    "a folded header": sized("X-Note: one\r\n two"),
    "a folded transfer-encoding": keyed_head("Transfer-Encoding:\r\n chunked") + b"0\r\n\r\n",
    "bare line feeds": b"POST /v1/chat/completions HTTP/1.1\nHost: gateway\nContent-Length: 0\n\n",
    "a control character in a value": sized("X-Note: a\x01b"),
    "a NUL in a value": sized("X-Note: a\x00b"),
    "a carriage return in a value": sized("X-Note: a\rb"),
    "a space before the colon": sized("X-Note : a"),
    "a method in lower case": sized().replace(b"POST", b"post", 1),
    "a method nobody knows": sized().replace(b"POST", b"FROB", 1),
    "a version that does not exist": sized().replace(b"HTTP/1.1", b"HTTP/9.9", 1),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "content-length twice, equal": sized(f"Content-Length: {len(BODY)}"),
    "content-length twice, different": sized("Content-Length: 3"),
    "a list of content-lengths": keyed_head("Content-Length: 7, 7") + b"{}     ",
    "a negative content-length": keyed_head("Content-Length: -1"),
    "a content-length with a sign": keyed_head("Content-Length: +2") + b"{}",
    "a hexadecimal content-length": keyed_head("Content-Length: 0x2") + b"{}",
    "a content-length that is no number": keyed_head("Content-Length: two") + b"{}",
    "an unknown transfer-encoding": keyed_head("Transfer-Encoding: frob") + b"0\r\n\r\n",
    "transfer-encoding twice": keyed_head("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + b"0\r\n\r\n",
    "chunked not last": keyed_head("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "no Host": sized(host=False),
    "two Hosts": sized("Host: elsewhere"),
    "a whole URL as target": sized().replace(b"/v1/chat", b"http://evil.example/v1/chat", 1),
    "an asterisk as target": sized().replace(b"/v1/chat/completions", b"*", 1),
    "an upgrade to h2c": sized("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    "an upgrade to a websocket": sized("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "x-request-id twice": sized("X-Request-Id: a", "X-Request-Id: b"),
    "content-type twice": sized("Content-Type: text/plain"),
}

TOO_LARGE = {
    "content-length of 20 digits": (413, keyed_head("Content-Length: 99999999999999999999")),
    "a body of 21 MB by its header": (413, keyed_head(f"Content-Length: {21 * 1024 * 1024}")),
    "a header of 70 KB": (431, sized("X-Note: " + "a" * 70_000)),
    "10,000 headers": (431, sized(*(f"X-Note-{index}: a" for index in range(10_000)))),
    "150 headers": (431, sized(*(f"X-Note-{index}: a" for index in range(150)))),
    "a URL of 100 KB": (414, sized().replace(b"/v1/chat/completions", b"/" + b"a" * 100_000, 1)),
    "a URL of 9 KB": (414, sized().replace(b"/v1/chat/completions", b"/" + b"a" * 9_000, 1)),
}


def _check_refusal(reply: RawReply, status: int) -> None:
    assert reply.status == status
    assert reply.error()["type"] == "invalid_request_error"
    assert reply.header("content-type") == "application/json"
    assert reply.header("x-request-id")
    assert reply.header("connection") == "close"


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_ambiguous_framing_is_refused_and_the_connection_closed(gateway: Gateway, name: str) -> None:
    reply, closed = await exchange(gateway.server.address, AMBIGUOUS[name])
    _check_refusal(reply, 400)
    assert closed
    assert gateway.asked == 0


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_too_much_is_refused_by_its_own_status(gateway: Gateway, name: str) -> None:
    status, data = TOO_LARGE[name]
    async with connect(gateway.server.address) as client:
        await client.send(data)
        reply = await client.read_reply()
    assert reply.status == status
    assert reply.error()["type"] == "invalid_request_error"
    assert reply.header("x-should-retry") == "false"
    assert gateway.asked == 0


async def test_a_chunk_of_seventeen_hex_digits_is_too_large(gateway: Gateway) -> None:
    data = keyed_head("Transfer-Encoding: chunked") + b"fffffffffffffffff\r\nabc"
    reply, closed = await exchange(gateway.server.address, data)
    _check_refusal(reply, 413)
    assert closed


async def test_a_chunk_of_sixteen_hex_digits_gets_no_more_time_than_another(gateway: Gateway) -> None:
    """2⁶⁴ - 1 bytes are announced; what counts is what comes."""
    data = keyed_head("Transfer-Encoding: chunked") + b"ffffffffffffffff\r\nabc"
    reply, closed = await exchange(gateway.server.address, data)
    _check_refusal(reply, 408)
    assert closed


@pytest.mark.parametrize(
    "tail", [b"1\r\n{}\r\n", b"2\r\n{}0\r\n\r\n", b"2\n{}\n0\n\n", b"2;\x00\r\n{}\r\n0\r\n\r\n", b"x\r\n"]
)
async def test_a_broken_chunk_is_refused(gateway: Gateway, tail: bytes) -> None:
    reply, closed = await exchange(gateway.server.address, keyed_head("Transfer-Encoding: chunked") + tail)
    _check_refusal(reply, 400)
    assert closed
    assert gateway.asked == 0


async def test_a_head_without_end_is_cut_off_at_64_kb(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        writing = asyncio.create_task(client.send(keyed_head()[:-2] + b"X-Note: " + b"a" * 8_000_000))
        reply = await client.read_reply()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    _check_refusal(reply, 431)
    assert gateway.server.ready().status == 200


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "Api-Key"])
async def test_a_key_header_sent_twice_is_ambiguous(gateway: Gateway, name: str) -> None:
    value = f"Bearer {KEY}" if name == "Authorization" else KEY
    head = f"{REQUEST_LINE}Host: gateway\r\n{name}: {value}\r\n{name}: {value}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    reply, _ = await exchange(gateway.server.address, head.encode() + BODY)
    assert reply.status == 401
    assert reply.error()["code"] == "invalid_api_key"
    assert gateway.asked == 0


async def test_two_key_headers_that_differ_are_refused(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(sized("X-Api-Key: sk-another"))
        reply = await client.read_reply()
    assert reply.status == 401
    assert gateway.asked == 0


async def test_a_key_in_a_trailer_opens_nothing(gateway: Gateway) -> None:
    head = REQUEST_LINE + "Host: gateway\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n"
    body = b"%x\r\n%s\r\n0\r\nAuthorization: Bearer %s\r\n\r\n" % (len(BODY), BODY, KEY.encode())
    async with connect(gateway.server.address) as client:
        await client.send(head.encode())
        await asyncio.sleep(0.05)  # the head is read by then
        await client.send(body)
        reply = await client.read_reply()
    assert reply.status == 401
    assert gateway.asked == 0


async def test_a_key_in_a_trailer_of_one_packet_opens_nothing(gateway: Gateway) -> None:
    head = REQUEST_LINE + "Host: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"%x\r\n%s\r\n0\r\nAuthorization: Bearer %s\r\n\r\n" % (len(BODY), BODY, KEY.encode())
    async with connect(gateway.server.address) as client:
        await client.send(head.encode() + body)
        reply = await client.read_reply()
    assert reply.status == 401
    assert gateway.asked == 0


async def test_connect_is_refused(gateway: Gateway) -> None:
    reply, closed = await exchange(
        gateway.server.address, b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n"
    )
    _check_refusal(reply, 400)
    assert closed


async def test_a_request_after_a_refused_one_on_the_same_connection_is_never_served(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(AMBIGUOUS["content-length twice, equal"] + sized("X-Request-Id: smuggled"))
        assert (await client.read_reply()).status == 400
        assert b"smuggled" not in await client.read_to_end()
    assert gateway.asked == 0


async def test_a_request_behind_an_upgrade_is_never_served(gateway: Gateway) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(AMBIGUOUS["an upgrade to h2c"] + sized("X-Request-Id: smuggled"))
        assert (await client.read_reply()).status == 400
        assert b"smuggled" not in await client.read_to_end()
    assert gateway.asked == 0
