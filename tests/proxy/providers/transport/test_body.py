import asyncio
import base64
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from proxy.providers.transport import (
    Content,
    HttpxTransport,
    Request,
    Response,
    Transport,
    make_transport,
    pieces,
)
from proxy.providers.transport.body import tls_context
from proxy.providers.transport.errors import TransportError
from tests.fakes import completion, sse_chunks
from tests.upstream import (
    BROKEN,
    SSE_HEAD,
    Behaviour,
    End,
    ScriptedUpstream,
    drip_comments,
    hang,
    hang_after_head,
    head,
    play,
    redirect,
    refuse_early,
    reply,
    reply_gzip,
    reply_json,
    stream,
)

OK = reply(b"{}", 200, ("Content-Type", "application/json"))
EVENT = b"data: {}\n\n"


@pytest.fixture(params=["aiohttp", "httpx"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    transport = make_transport(request.param, reuse=True, proxy=None)
    yield transport
    await transport.aclose()


async def send(
    transport: Transport, upstream: ScriptedUpstream | str, body: bytes = b"{}", **timeouts: float | None
) -> Response:
    """The head of the answer."""
    request = Request(
        "POST",
        (upstream if isinstance(upstream, str) else upstream.url) + "/v1/chat/completions?api-version=1",
        headers=[(b"accept-encoding", b"identity"), (b"Content-Type", b"application/json"), (b"x-Key", b"k\xc3\xa9")],
        content=body,
        extensions={"timeout": timeouts},
    )
    return await transport.handle_async_request(request)


async def fetch(
    transport: Transport, upstream: ScriptedUpstream | str, body: bytes = b"{}", **timeouts: float | None
) -> tuple[int, bytes]:
    """Status and the whole body."""
    response = await send(transport, upstream, body, **timeouts)
    try:
        return response.status_code, b"".join([piece async for piece in pieces(response)])
    finally:
        await response.aclose()


async def test_the_request_is_sent_as_given_and_nothing_added_but_host(transport: Transport) -> None:
    async with ScriptedUpstream(OK) as upstream:
        assert await fetch(transport, upstream, b'{"a":1}') == (200, b"{}")
        assert await fetch(transport, upstream, b'{"a":1}') == (200, b"{}")
        for received in upstream.requests:
            lines = received.raw.split(b"\r\n")
            assert lines[0] == b"POST /v1/chat/completions?api-version=1 HTTP/1.1"
            assert sorted(lines[1:-2], key=bytes.lower) == [
                b"accept-encoding: identity",
                b"Content-Length: 7",
                b"Content-Type: application/json",
                b"Host: 127.0.0.1:%d" % upstream.port,
                b"x-Key: k\xc3\xa9",
            ]
            assert lines[-2:] == [b"", b'{"a":1}']


async def test_a_request_built_from_a_stream_alone_gets_host_and_length(transport: Transport) -> None:
    async with ScriptedUpstream(OK) as upstream:
        request = Request("POST", f"{upstream.url}/x", headers=[(b"a", b"b")], stream=Content(b"12345"))
        response = await transport.handle_async_request(request)
        await response.aclose()
        received = upstream.requests[0]
        assert sorted(name.lower() for name, _ in received.headers) == ["a", "content-length", "host"]
        assert (received.body, received.header("host")) == (b"12345", f"127.0.0.1:{upstream.port}")


async def test_status_headers_and_body_come_as_sent(transport: Transport) -> None:
    behaviour = reply(b"\x00\xff", 207, ("X-One", "1"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d"))
    async with ScriptedUpstream(behaviour) as upstream:
        response = await send(transport, upstream)
        assert response.status_code == 207
        assert response.headers.get_list("set-cookie") == ["a=b", "c=d"]
        assert response.headers["x-one"] == "1"
        assert [piece async for piece in pieces(response)] == [b"\x00\xff"]
        assert await fetch(transport, upstream) == (207, b"\x00\xff")
        assert upstream.requests[1].header("cookie") is None


async def test_redirects_are_not_followed(transport: Transport) -> None:
    async with ScriptedUpstream(OK) as other, ScriptedUpstream(redirect(f"{other.url}/x")) as upstream:
        assert await fetch(transport, upstream) == (302, b"")
        assert (len(upstream.requests), len(other.requests)) == (1, 0)


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
async def test_the_environments_proxy_is_ignored_and_a_configured_one_used(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedUpstream(OK) as upstream, ScriptedUpstream(reply(b"by proxy")) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        direct = make_transport("aiohttp" if kind == "aiohttp" else "httpx", reuse=True, proxy=None)
        assert await fetch(direct, upstream) == (200, b"{}")
        assert not proxy.requests
        await direct.aclose()
        through = make_transport("aiohttp" if kind == "aiohttp" else "httpx", reuse=True, proxy=proxy.url)
        assert await fetch(through, upstream) == (200, b"by proxy")
        assert proxy.requests[0].target == f"{upstream.url}/v1/chat/completions?api-version=1"
        await through.aclose()


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
async def test_a_proxys_credentials_go_to_the_proxy_with_every_request(kind: str) -> None:
    async with ScriptedUpstream(reply(b"by proxy")) as proxy:
        url = proxy.url.replace("://", "://user:secret@")
        through = make_transport("aiohttp" if kind == "aiohttp" else "httpx", reuse=True, proxy=url)
        for _ in range(2):
            assert await fetch(through, "http://upstream.invalid") == (200, b"by proxy")
        expected = "Basic " + base64.b64encode(b"user:secret").decode()
        assert [received.header("proxy-authorization") for received in proxy.requests] == [expected] * 2
        await through.aclose()


async def test_a_compressed_answer_is_refused_and_its_connection_closed(transport: Transport) -> None:
    endless = play(head(200, ("Content-Encoding", "br"), ("Transfer-Encoding", "chunked")), end=End.HANG)
    async with ScriptedUpstream(reply_gzip({"a": 1}), endless) as upstream:
        for _ in range(2):
            with pytest.raises(httpx.DecodingError):
                await fetch(transport, upstream)
        await upstream.all_closed()


ERRORS: dict[str, type[TransportError] | tuple[type[TransportError], ...]] = {
    "close before headers": httpx.RemoteProtocolError,
    "half the headers": httpx.RemoteProtocolError,
    "reset before headers": httpx.ReadError,
    "reset in the body": (httpx.ReadError, httpx.RemoteProtocolError),
    "body too short": httpx.RemoteProtocolError,
    "cut in a chunk": httpx.RemoteProtocolError,
    "cut between chunks": httpx.RemoteProtocolError,
    "chunk size is no number": httpx.RemoteProtocolError,
    "two framings": httpx.RemoteProtocolError,
    "garbage": httpx.RemoteProtocolError,
    "huge header": httpx.RemoteProtocolError,
}


@pytest.mark.parametrize("name", sorted(BROKEN))
async def test_a_broken_answer_is_a_protocol_or_read_error(transport: Transport, name: str) -> None:
    async with ScriptedUpstream(BROKEN[name]) as upstream:
        with pytest.raises(ERRORS[name]) as failure:
            await fetch(transport, upstream, total=5)
        assert type(failure.value).__module__ == "httpx"
        assert "127.0.0.1" not in str(failure.value)
        await upstream.all_closed()


async def test_the_start_of_a_broken_body_is_given_out_before_the_error(transport: Transport) -> None:
    async with ScriptedUpstream(stream([EVENT, EVENT], complete=False, delay_s=0.02, end=End.CLOSE)) as upstream:
        response = await send(transport, upstream)
        source = pieces(response)
        assert await anext(source) + await anext(source) == 2 * EVENT
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(source)


async def test_nobody_there_is_a_connect_error(transport: Transport) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        with pytest.raises(httpx.ConnectError):
            await fetch(transport, url, total=10)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "chat"])
async def test_a_url_of_another_kind_is_unsupported(transport: Transport, url: str) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        await fetch(transport, url)


async def test_an_unanswered_connection_attempt_is_a_connect_timeout(transport: Transport) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:  # once the backlog is full, the system drops what comes
            filler.setblocking(False)
            filler.connect_ex(address)
        started_at = time.monotonic()
        with pytest.raises(httpx.ConnectTimeout):
            await fetch(transport, f"http://127.0.0.1:{address[1]}", connect=0.1)
        assert 0.09 < time.monotonic() - started_at < 1
        for filler in fillers:
            filler.close()


async def test_what_speaks_no_tls_is_a_connect_error(transport: Transport) -> None:
    async def say_hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(say_hello, "127.0.0.1", 0)
    async with server:
        with pytest.raises(httpx.ConnectError):
            await fetch(transport, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", total=5)


def test_certificates_and_host_names_are_verified() -> None:
    context = tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize(
    ("behaviour", "timeouts", "words"),
    [
        (hang(), {"first_byte": 0.1, "idle": 9.0, "total": 9.0}, "first_byte"),
        (hang_after_head(), {"first_byte": 0.1, "idle": 9.0, "total": 9.0}, "first_byte"),
        (hang_after_head(), {"first_byte": None, "total": 0.1}, "total"),
        (
            stream([EVENT], complete=False, end=End.HANG),
            {"first_byte": 9.0, "idle": 0.1, "total": 9.0},
            "idle",
        ),
        (hang(), {"total": 0.1}, "total"),
        (drip_comments(), {"first_byte": 9.0, "idle": 9.0, "total": 0.2}, "total"),
    ],
)
async def test_silence_is_a_read_timeout_that_names_its_limit(
    transport: Transport, behaviour: Behaviour, timeouts: Any, words: str
) -> None:
    async with ScriptedUpstream(behaviour) as upstream:
        started_at = time.monotonic()
        with pytest.raises(httpx.ReadTimeout, match=words):
            await fetch(transport, upstream, **timeouts)
        assert 0.09 < time.monotonic() - started_at < 1
        await upstream.all_closed()


async def test_a_spent_total_sends_nothing(transport: Transport) -> None:
    async with ScriptedUpstream(OK) as upstream:
        with pytest.raises(httpx.ReadTimeout):
            await fetch(transport, upstream, total=0.0)
        assert not upstream.requests


async def test_a_slow_reader_is_not_the_upstreams_silence(transport: Transport) -> None:
    async with ScriptedUpstream(stream([EVENT] * 3, delay_s=0.01)) as upstream:
        response = await send(transport, upstream, first_byte=0.1, idle=0.1)
        got = b""
        async for piece in pieces(response):
            got += piece
            await asyncio.sleep(0.15)
        assert got == 3 * EVENT


async def test_a_reader_that_falls_behind_gets_every_byte(transport: Transport) -> None:
    events = [b"%07d\n" % number * 4096 for number in range(100)]  # 3 MB, more than all buffers on the way
    async with ScriptedUpstream(stream(events)) as upstream:
        response = await send(transport, upstream, idle=5)
        got = bytearray()
        async for piece in pieces(response):
            got += piece
            await asyncio.sleep(0.001)
        assert got == b"".join(events)


@pytest.mark.parametrize("interim", [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_heads_before_the_real_one_are_passed_over(transport: Transport, interim: bytes) -> None:
    behaviour = play(interim, 0.01, *OK.steps)
    async with ScriptedUpstream(behaviour) as upstream:
        for _ in range(2):
            assert await fetch(transport, upstream) == (200, b"{}")
        assert len(upstream.links) == 1


@pytest.mark.parametrize("count", [16, 17])
async def test_so_many_heads_before_the_real_one_are_too_many(count: int) -> None:
    transport = make_transport("aiohttp", reuse=True, proxy=None)
    async with ScriptedUpstream(play(b"HTTP/1.1 103 Early Hints\r\n\r\n" * count, *OK.steps)) as upstream:
        if count == 16:
            assert await fetch(transport, upstream) == (200, b"{}")
        else:
            with pytest.raises(httpx.RemoteProtocolError):
                await fetch(transport, upstream)
            await upstream.all_closed()
    await transport.aclose()


async def test_a_body_that_turns_to_garbage_is_noticed_at_once(transport: Transport) -> None:
    behaviour = play(*stream([EVENT], complete=False).steps, b"zz\r\n", end=End.HANG)
    async with ScriptedUpstream(behaviour) as upstream:
        with pytest.raises(httpx.RemoteProtocolError):
            await fetch(transport, upstream, idle=5)
        await upstream.all_closed()


async def test_each_event_is_given_out_within_20_ms_of_its_sending(transport: Transport) -> None:
    events = sse_chunks("Hel", "lo", usage=(5, 2))
    async with ScriptedUpstream(stream(events, delay_s=0.1)) as upstream:
        response = await send(transport, upstream, idle=1, first_byte=1, total=5)
        came = [(time.monotonic(), piece) async for piece in pieces(response)]
        assert [piece for _, piece in came] == events
        sent_at = upstream.sent_at[1:-1]  # without the head and the body's end
        assert max(at - sent for (at, _), sent in zip(came, sent_at, strict=True)) < 0.02


async def test_a_cancelled_request_closes_its_connection_at_once(transport: Transport) -> None:
    async with ScriptedUpstream(hang()) as upstream:
        task = asyncio.create_task(fetch(transport, upstream, first_byte=60, total=60))
        while not upstream.requests:
            await asyncio.sleep(0.001)
        task.cancel()
        await upstream.all_closed(within_s=0.1)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_cancelled_reader_closes_its_connection_at_once(transport: Transport) -> None:
    async with ScriptedUpstream(stream([EVENT], complete=False, end=End.HANG)) as upstream:
        response = await send(transport, upstream, idle=60)
        source = pieces(response)
        assert await anext(source) == EVENT
        task = asyncio.ensure_future(anext(source))
        await asyncio.sleep(0)
        task.cancel()
        await upstream.all_closed(within_s=0.1)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_response_closed_early_closes_its_connection_at_once(transport: Transport) -> None:
    async with ScriptedUpstream(stream([EVENT], complete=False, end=End.HANG), OK) as upstream:
        response = await send(transport, upstream, idle=60)
        assert await anext(pieces(response)) == EVENT
        await response.aclose()
        await response.aclose()
        await upstream.all_closed(within_s=0.1)
        assert await fetch(transport, upstream) == (200, b"{}")


async def test_a_caller_that_leaves_during_a_time_out_is_not_held_back(transport: Transport) -> None:
    async with ScriptedUpstream(hang()) as upstream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await fetch(transport, upstream, first_byte=0.1)
        with pytest.raises(httpx.ReadTimeout):
            async with asyncio.timeout(1):
                await fetch(transport, upstream, first_byte=0.05)
        await upstream.all_closed()


async def test_a_caller_that_leaves_with_the_time_out_leaves_no_connection_behind(transport: Transport) -> None:
    for _ in range(30):  # two cancellations in one turn of the loop or in the next: not every round hits it
        async with ScriptedUpstream(hang()) as upstream:
            with pytest.raises((TimeoutError, httpx.ReadTimeout)):
                async with asyncio.timeout(0.02):
                    await fetch(transport, upstream, first_byte=0.02)
            await upstream.all_closed()


async def test_a_body_read_to_its_end_gives_its_connection_back(transport: Transport) -> None:
    async with ScriptedUpstream(reply_json(completion()), stream(sse_chunks("Hi")), OK) as upstream:
        for _ in range(3):
            await fetch(transport, upstream, first_byte=5, idle=5, total=5)
        assert (len(upstream.requests), len(upstream.links)) == (3, 1)


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
async def test_without_reuse_every_request_has_its_own_connection_and_says_so(kind: str) -> None:
    transport = make_transport("aiohttp" if kind == "aiohttp" else "httpx", reuse=False, proxy=None)
    async with ScriptedUpstream(OK) as upstream:
        for _ in range(2):
            assert await fetch(transport, upstream) == (200, b"{}")
            await upstream.all_closed()
        assert len(upstream.links) == 2
        assert {received.header("connection") for received in upstream.requests} == {"close"}
    await transport.aclose()


@pytest.mark.parametrize("first", [reply(b"mine"), stream([b"mine"])], ids=["length", "chunked"])
@pytest.mark.parametrize("delay_s", [0.0, 0.01], ids=["at once", "later"])
async def test_bytes_past_the_end_of_an_answer_reach_nobody(
    transport: Transport, first: Behaviour, delay_s: float
) -> None:
    *start, last = first.steps
    stray = reply(b"of somebody else").steps[0]
    assert isinstance(last, bytes)
    assert isinstance(stray, bytes)
    end: list[bytes | float] = [last, delay_s, stray] if delay_s else [last + stray]
    async with ScriptedUpstream(play(*start, *end), reply(b"yours")) as upstream:
        assert await fetch(transport, upstream) == (200, b"mine")
        await asyncio.sleep(2 * delay_s)
        assert await fetch(transport, upstream) == (200, b"yours")
        assert len(upstream.links) == 2


@pytest.mark.parametrize("size", [1_048_577, 5_000_000])
async def test_a_large_body_is_sent_whole_and_without_a_warning(transport: Transport, size: int) -> None:
    async with ScriptedUpstream(OK) as upstream:
        body = b"x" * size
        assert await fetch(transport, upstream, body) == (200, b"{}")
        assert upstream.requests[0].body == body
        assert upstream.requests[0].header("content-length") == str(size)


@pytest.mark.parametrize("end", [End.HANG, End.CLOSE])
async def test_an_answer_before_the_body_is_sent_is_seen(transport: Transport, end: End) -> None:
    async with ScriptedUpstream(refuse_early(429, b'{"error":{}}', end)) as upstream:
        if isinstance(transport, HttpxTransport):
            # httpx reads only when it has sent everything.
            with pytest.raises((httpx.ReadTimeout, httpx.ReadError)):
                await fetch(transport, upstream, b"x" * 20_000_000, total=0.5)
        else:
            assert await fetch(transport, upstream, b"x" * 20_000_000, total=5) == (429, b'{"error":{}}')


async def test_a_closed_transport_refuses_to_send() -> None:
    transport = make_transport("aiohttp", reuse=True, proxy=None)
    await transport.aclose()
    with pytest.raises(httpx.LocalProtocolError):
        await fetch(transport, "http://127.0.0.1:1")


async def test_a_header_that_would_split_the_request_is_not_sent(transport: Transport) -> None:
    async with ScriptedUpstream(OK) as upstream:
        request = Request("POST", upstream.url, headers=[(b"a", b"b\r\nc: d")], content=b"")
        with pytest.raises(httpx.LocalProtocolError):
            await transport.handle_async_request(request)
        assert not upstream.requests


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@pytest.mark.parametrize("count", [4096, 4097, 4098])
async def test_a_reader_far_behind_in_tiny_chunks_gets_the_end_too(transport: Transport, count: int) -> None:
    first = chunks(*[b"x"] * count)
    behaviour = play(SSE_HEAD + first, 0.1, chunks(b"A", b"B") + b"0\r\n\r\n")
    async with ScriptedUpstream(behaviour) as upstream:
        response = await send(transport, upstream, idle=2)
        await asyncio.sleep(0.05)
        got = b"".join([piece async for piece in pieces(response)])
        assert got == b"x" * count + b"AB"


@pytest.mark.parametrize("head_of", [SSE_HEAD + chunks(b"one"), head(200) + b"one"], ids=["chunked", "until the end"])
async def test_a_reader_whose_answer_is_closed_under_it_is_told(transport: Transport, head_of: bytes) -> None:
    async with ScriptedUpstream(play(head_of, end=End.HANG)) as upstream:
        response = await send(transport, upstream)
        source = pieces(response)
        await anext(source)
        reading = asyncio.ensure_future(anext(source))
        await asyncio.sleep(0.01)
        await response.aclose()
        with pytest.raises(httpx.TransportError):
            async with asyncio.timeout(2):
                await reading


async def test_a_body_without_a_length_that_ends_in_a_reset_is_no_whole_body(transport: Transport) -> None:
    async with ScriptedUpstream(play(head(200) + b"half", 0.05, end=End.RESET)) as upstream:
        with pytest.raises(httpx.TransportError):
            await fetch(transport, upstream)


async def test_a_connection_whose_request_was_refused_unread_serves_nobody_else(transport: Transport) -> None:
    if isinstance(transport, HttpxTransport):
        pytest.skip("httpx sends everything before it reads")
    async with ScriptedUpstream(refuse_early(429, b"{}"), OK) as upstream:
        assert await fetch(transport, upstream, b"x" * 900_000, total=5) == (429, b"{}")
        assert await fetch(transport, upstream, total=5) == (200, b"{}")
        assert len(upstream.links) == 2


@pytest.mark.parametrize("url", ["http://u:p@h.invalid:1/v1#part", "http://h..invalid/"])
async def test_a_url_that_leads_nowhere_is_our_error(url: str) -> None:
    transport = make_transport("aiohttp", reuse=True, proxy=None)
    with pytest.raises(httpx.RequestError):
        await fetch(transport, url, connect=1)
    await transport.aclose()


@pytest.mark.parametrize(
    "header",
    [("Content-Encoding", "identity, gzip"), ("Transfer-Encoding", "gzip, chunked")],
)
async def test_a_coding_nobody_asked_for_is_refused_wherever_it_stands(
    transport: Transport, header: tuple[str, str]
) -> None:
    framing = () if header[0] == "Transfer-Encoding" else (("Transfer-Encoding", "chunked"),)
    behaviour = play(head(200, ("Content-Encoding", "identity"), header, *framing) + chunks(b"{}") + b"0\r\n\r\n")
    async with ScriptedUpstream(behaviour) as upstream:
        with pytest.raises((httpx.DecodingError, httpx.RemoteProtocolError)):
            await fetch(transport, upstream, total=2)
