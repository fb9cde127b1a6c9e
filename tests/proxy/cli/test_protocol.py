from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from time import monotonic
from typing import Any, cast

import orjson
import pytest
import uvicorn
from uvicorn.server import ServerState

from proxy.api.guard import REFUSAL
from proxy.api.respond import WATCH
from proxy.cli.protocol import GuardedProtocol, Limits

LIMITS = Limits(header_timeout_s=10, body_timeout_s=30, write_timeout_s=60, max_connections=2)
HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SMALL = HEAD + b"Content-Length: 2\r\n\r\n{}"


class Wire(asyncio.Transport):
    """What the protocol writes, and what it does with the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.aborted = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class App:
    """An ASGI application that remembers what it was shown, and answers when it is told to."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.may_answer, self.may_end = asyncio.Event(), asyncio.Event()
        self.may_answer.set()
        self.may_end.set()

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await self.may_end.wait()
        await send({"type": "http.response.body", "body": b"ok"})


class Connection:
    """A protocol with both its ends in the test's hand."""

    def __init__(self, state: ServerState) -> None:
        self.app, self.wire = App(), Wire()
        config = uvicorn.Config(self.app, ws="none", lifespan="off", log_config=None)
        protocol = type("Limited", (GuardedProtocol,), {"limits": LIMITS})
        self.protocol: GuardedProtocol = protocol(config, state, {})
        self.protocol.connection_made(self.wire)

    async def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.wire.is_closing():
                self.protocol.data_received(piece)
            for _ in range(4):
                await asyncio.sleep(0)

    def sweep_after(self, seconds: float) -> None:
        self.protocol.sweep(monotonic() + seconds)

    @property
    def statuses(self) -> list[int]:
        return [int(part[:3]) for part in self.wire.written.split(b"HTTP/1.1 ")[1:]]

    @property
    def code(self) -> str:
        """Of the one error it was answered."""
        return cast(str, orjson.loads(self.wire.written.partition(b"\r\n\r\n")[2])["error"]["code"])


Connect = Callable[[], Connection]


@pytest.fixture
async def connect() -> AsyncGenerator[Connect, None]:
    """Makes connections to one server, and ends them as a client that leaves does."""
    state, made = ServerState(), list[Connection]()

    def make() -> Connection:
        made.append(Connection(state))
        return made[-1]

    yield make
    for connection in made:
        connection.app.may_answer.set()
        connection.app.may_end.set()
        connection.protocol.connection_lost(None)
    await asyncio.gather(*state.tasks)


async def test_requests_one_after_the_other_are_served_on_one_connection(connect: Connect) -> None:
    connection = connect()
    await connection.feed(SMALL, SMALL)
    assert connection.statuses == [200, 200]
    assert connection.app.bodies == [b"{}", b"{}"]
    assert not connection.wire.closed


@pytest.mark.parametrize(
    "pieces",
    [
        [CHUNKED + b"2\r\n{}\r\n0\r\nAuthorization: Bearer sk-trailer\r\n\r\n"],
        [CHUNKED, b"2\r\n{}\r\n0\r\n", b"Authorization: Bearer sk-trailer\r\n\r\n"],
    ],
)
async def test_trailers_are_shown_to_nobody(connect: Connect, pieces: list[bytes]) -> None:
    connection = connect()
    await connection.feed(*pieces)
    assert connection.statuses == [200]
    assert [name for name, _ in connection.app.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]


async def test_the_headers_of_the_next_request_are_its_own(connect: Connect) -> None:
    connection = connect()
    await connection.feed(CHUNKED + b"0\r\nX-Trailer: 1\r\n\r\n" + SMALL)
    assert [name for name, _ in connection.app.scopes[1]["headers"]] == [b"host", b"content-length"]


@pytest.mark.parametrize(
    "framing",
    [
        b"2\r\n{}\r\n0\r\n" + b"X-Note: a\r\n" * 8_000,
        b"2;" + b"a" * 70_000,
        b"2\r\n{}\r\n0\r\nX-Note: " + b"a" * 70_000,
    ],
)
async def test_framing_that_exceeds_the_body_by_far_is_refused(connect: Connect, framing: bytes) -> None:
    connection = connect()
    await connection.feed(CHUNKED, framing)
    assert connection.statuses == [431]
    assert connection.wire.closed


async def test_chunks_of_one_byte_are_fine(connect: Connect) -> None:
    connection = connect()
    await connection.feed(CHUNKED, *[b"1;x=y\r\na\r\n" * 1_000] * 50, b"0\r\n\r\n")
    assert connection.statuses == [200]
    assert connection.app.bodies == [b"a" * 50_000]


async def test_a_head_without_end_is_refused(connect: Connect) -> None:
    connection = connect()
    await connection.feed(HEAD, *[b"X-Note: " + b"a" * 1_000 + b"\r\n"] * 70)
    assert connection.statuses == [431]
    assert connection.code == "headers_too_large"
    assert connection.wire.closed


async def test_a_line_without_end_is_refused(connect: Connect) -> None:
    connection = connect()
    await connection.feed(b"GET /", *[b"a" * 10_000] * 8)
    assert connection.statuses == [414]


async def test_a_head_without_end_behind_a_call_that_is_served_is_refused(connect: Connect) -> None:
    connection = connect()
    connection.app.may_answer.clear()
    await connection.feed(SMALL, b"GET / HTTP/1.1\r\n", *[b"X-Note: " + b"a" * 10_000 + b"\r\n"] * 8)
    assert connection.wire.closed


async def test_a_large_head_that_came_at_once_reaches_the_guard_as_refused(connect: Connect) -> None:
    connection = connect()
    await connection.feed(HEAD + b"X-Note: " + b"a" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}")
    assert connection.app.scopes[0]["extensions"][REFUSAL].status == 431


async def test_a_large_body_in_the_packet_of_its_head_is_no_large_head(connect: Connect) -> None:
    connection = connect()
    await connection.feed(HEAD + b"Content-Length: 70000\r\n\r\n" + b"a" * 70_000)
    assert connection.statuses == [200]
    assert REFUSAL not in connection.app.scopes[0]["extensions"]


async def test_slow_headers_are_timed_out(connect: Connect) -> None:
    connection = connect()
    await connection.feed(HEAD)
    connection.sweep_after(9)
    assert connection.statuses == []
    connection.sweep_after(11)
    assert connection.statuses == [408]
    assert connection.wire.closed


async def test_a_connection_that_never_spoke_is_closed_without_a_word(connect: Connect) -> None:
    connection = connect()
    connection.sweep_after(11)
    assert connection.wire.closed
    assert connection.wire.written == b""


async def test_a_slow_body_is_timed_out_and_a_steady_one_is_not(connect: Connect) -> None:
    slow, steady = connect(), connect()
    await slow.feed(HEAD + b"Content-Length: 9000000\r\n\r\n", b"a")
    await steady.feed(HEAD + b"Content-Length: 9000000\r\n\r\n", b"a" * 400_000)
    for connection in (slow, steady):
        connection.sweep_after(60)
    assert slow.statuses == [408]
    assert steady.statuses == []
    assert not steady.wire.closed


async def test_the_rest_of_a_body_that_was_answered_is_not_awaited_for_ever(connect: Connect) -> None:
    connection = connect()
    await connection.feed(HEAD + b"Content-Length: 9000000\r\n\r\n", b"a" * 400_000)
    connection.protocol.cycle.response_started = connection.protocol.cycle.response_complete = True
    connection.sweep_after(31)
    assert connection.wire.closed
    assert connection.wire.written == b""


async def test_a_call_that_is_being_served_has_all_the_time_it_needs(connect: Connect) -> None:
    connection = connect()
    connection.app.may_answer.clear()
    await connection.feed(SMALL)
    connection.sweep_after(3600)
    assert not connection.wire.is_closing()


async def test_an_idle_connection_is_not_swept(connect: Connect) -> None:
    connection = connect()
    await connection.feed(SMALL)
    connection.sweep_after(60)
    assert not connection.wire.is_closing()


async def test_a_client_that_does_not_read_is_cut_off(connect: Connect) -> None:
    connection = connect()
    connection.app.may_answer.clear()
    await connection.feed(SMALL)
    connection.protocol.pause_writing()
    connection.sweep_after(61)
    assert connection.wire.aborted


async def test_a_client_that_reads_again_is_not(connect: Connect) -> None:
    connection = connect()
    connection.app.may_answer.clear()
    await connection.feed(SMALL)
    connection.protocol.pause_writing()
    connection.protocol.resume_writing()
    connection.sweep_after(61)
    assert not connection.wire.is_closing()


async def test_garbage_is_answered_in_openais_shape(connect: Connect) -> None:
    connection = connect()
    await connection.feed(b"\x16\x03\x01 no HTTP\r\n\r\n")
    assert connection.statuses == [400]
    assert connection.wire.closed


async def test_a_length_beyond_64_bits_is_too_large(connect: Connect) -> None:
    connection = connect()
    await connection.feed(HEAD + b"Content-Length: 99999999999999999999\r\n\r\n")
    assert connection.statuses == [413]


async def test_nothing_is_written_into_an_answer_that_is_under_way(connect: Connect) -> None:
    connection = connect()
    connection.app.may_answer.clear()
    await connection.feed(SMALL)
    connection.protocol.cycle.response_started = True
    await connection.feed(CHUNKED + b"zz\r\n")  # a second request whose body is broken
    assert connection.wire.closed
    assert connection.wire.written == b""


async def test_one_connection_too_many_is_turned_away(connect: Connect) -> None:
    first, second, third = (connect() for _ in range(3))
    assert (first.statuses, second.statuses, third.statuses) == ([], [], [503])
    assert third.wire.closed


async def test_who_watches_is_called_when_the_client_leaves(connect: Connect) -> None:
    connection = connect()
    connection.app.may_answer.clear()
    await connection.feed(SMALL)
    calls: list[str] = []
    connection.app.scopes[0]["extensions"][WATCH](lambda: calls.append("gone"))
    assert calls == []
    connection.protocol.connection_lost(None)
    assert calls == ["gone"]


async def test_who_watches_too_late_is_called_at_once(connect: Connect) -> None:
    connection = connect()
    connection.app.may_answer.clear()
    await connection.feed(SMALL)
    connection.wire.close()
    calls: list[str] = []
    connection.app.scopes[0]["extensions"][WATCH](lambda: calls.append("gone"))
    assert calls == ["gone"]


async def test_who_was_answered_is_not_called(connect: Connect) -> None:
    connection = connect()
    connection.app.may_answer.clear()
    await connection.feed(SMALL)
    calls: list[str] = []
    connection.app.scopes[0]["extensions"][WATCH](lambda: calls.append("gone"))
    connection.app.may_answer.set()
    await asyncio.gather(*connection.protocol.tasks)
    assert connection.statuses == [200]
    connection.protocol.connection_lost(None)
    assert calls == []


async def test_when_the_process_goes_away_an_idle_connection_is_closed(connect: Connect) -> None:
    connection = connect()
    await connection.feed(SMALL)
    connection.protocol.shutdown()
    assert connection.wire.closed


async def test_when_the_process_goes_away_an_answer_that_has_not_begun_says_close(connect: Connect) -> None:
    connection = connect()
    connection.app.may_answer.clear()
    await connection.feed(SMALL)
    connection.protocol.shutdown()
    assert not connection.wire.closed
    connection.app.may_answer.set()
    await connection.feed()
    await asyncio.gather(*connection.protocol.tasks)
    assert b"connection: close" in connection.wire.written.lower()
    assert connection.wire.closed


async def test_a_client_that_was_told_it_may_go_on_is_given_a_moment(connect: Connect) -> None:
    connection = connect()
    connection.app.may_end.clear()
    await connection.feed(SMALL)
    connection.protocol.shutdown()
    connection.app.may_end.set()
    await asyncio.gather(*connection.protocol.tasks)
    assert connection.wire.is_closing() is False
    assert b"connection: close" not in connection.wire.written.lower()
    for _ in range(300):
        if connection.wire.is_closing():
            break
        await asyncio.sleep(0.01)
    assert connection.wire.is_closing()
