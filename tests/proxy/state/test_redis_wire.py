import asyncio
from typing import Any

import pytest

from proxy.state.base import StateAway, StateFailed
from proxy.state.redis_wire import Trip, Wire


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_aborted = False

    def write(self, data: Any) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.is_aborted = True


class Asker:
    """Sends commands, and keeps what is said of them."""

    def __init__(self, timeout_s: float = 60.0) -> None:
        self.unheard = 0
        self.refusals: list[str] = []
        self.lost: list[str] = []
        self.heard: list[Any] = []
        self.transport = Transport()
        self.wire = Wire(timeout_s, lambda _, reason: self.lost.append(reason), self.heard.append)
        self.wire.connection_made(self.transport)

    def refused(self, trip: Trip, wire: Wire, text: str) -> None:
        self.refusals.append(text)
        trip.failed(StateFailed("refused"))

    def put(self, *command: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.wire.put(Trip(self, command, future))
        return future


async def test_the_commands_of_a_turn_are_one_write_and_answers_go_to_their_askers() -> None:
    asker = Asker()
    first, second = asker.put("GET", "a"), asker.put("GET", b"b")
    assert asker.transport.written == []
    await asyncio.sleep(0)
    assert asker.transport.written == [b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"]
    asker.wire.data_received(b"$1\r\nx\r\n:")
    asker.wire.data_received(b"7\r\n")
    assert (await first, await second) == (b"x", 7)
    asker.wire.close()


async def test_who_has_left_does_not_get_anothers_answer() -> None:
    asker = Asker()
    gone, there = asker.put("GET", "a"), asker.put("GET", "b")
    gone.cancel()
    asker.wire.data_received(b"+a\r\n+b\r\n")
    assert await there == b"b"
    asker.wire.close()


@pytest.mark.parametrize("word", [None, "\ud800", [1]])
async def test_what_can_not_be_written_is_nobodys_answer(word: object) -> None:
    asker = Asker()
    with pytest.raises(StateFailed):
        asker.put("GET", word)
    good = asker.put("GET", "a")
    asker.wire.data_received(b"+a\r\n")
    assert await good == b"a"
    asker.wire.close()


async def test_an_error_is_told_to_who_sent_the_command() -> None:
    asker = Asker()
    asked = asker.put("GET", "a")
    asker.wire.data_received(b"-ERR no\r\n")
    with pytest.raises(StateFailed):
        await asked
    assert asker.refusals == ["ERR no"]
    assert asker.wire.is_open
    asker.wire.close()


async def test_a_lost_connection_fails_all_that_wait_and_is_told_once() -> None:
    asker = Asker()
    asked = asker.put("GET", "a")
    asker.wire.put(Trip(asker, ("SET", "a", "b")))
    asker.wire.connection_lost(None)
    asker.wire.connection_lost(None)
    with pytest.raises(StateAway):
        await asked
    with pytest.raises(StateAway):
        asker.put("GET", "a")
    assert asker.unheard == 1
    assert asker.lost == ["the connection was lost"]
    assert asker.transport.is_aborted


async def test_garbage_ends_a_connection() -> None:
    asker = Asker()
    asked = asker.put("GET", "a")
    asker.wire.data_received(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(StateAway):
        await asked
    assert asker.lost == ["it answered with what is no answer"]


async def test_an_answer_that_is_late_ends_the_connection() -> None:
    asker = Asker(timeout_s=0.001)
    with pytest.raises(StateAway, match="no answer within"):
        await asker.put("GET", "a")
    assert asker.lost == ["no answer within 0.001 s"]


async def test_what_follows_in_a_closed_connection_is_nobodys() -> None:
    asker = Asker()
    asker.put("GET", "a").add_done_callback(lambda _: None)

    class Closing(Asker):
        def refused(self, trip: Trip, wire: Wire, text: str) -> None:
            super().refused(trip, wire, text)
            wire.fail(text)

    asker = Closing()
    first, second = asker.put("GET", "a"), asker.put("GET", "b")
    asker.wire.data_received(b"-READONLY\r\n+b\r\n")
    for asked in (first, second):
        with pytest.raises(StateFailed):
            await asked
    assert asker.lost == ["READONLY"]


async def test_what_nobody_asked_for_is_heard_or_ends_the_connection() -> None:
    asker = Asker()
    asker.wire.data_received(b"*1\r\n+message\r\n")
    assert asker.heard == [[b"message"]]
    asker.wire.data_received(b"-NOPERM s3cret\r\n")
    assert asker.lost == ["it says NOPERM"]


async def test_too_many_that_wait_are_as_good_as_none_that_can() -> None:
    asker = Asker()
    for _ in range(10_000):
        asker.wire.put(Trip(asker, ("PING",)))
    with pytest.raises(StateAway):
        asker.put("PING")
    asker.wire.close()
    assert asker.unheard == 10_000
    assert asker.lost == []
