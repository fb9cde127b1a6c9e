import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from proxy.cache.flight import Flight
from proxy.cache.reel import MAX_KEPT_BYTES, Shelf
from proxy.call import Answer, Attempt, CacheNote, Call
from proxy.errors import InternalError, UpstreamError
from proxy.wire.usage import Usage
from tests.calls import a_call

DONE = b"data: [DONE]\n\n"


class Trip:
    """A flight over a scripted upstream, which says a block each time that it is told to."""

    def __init__(self, *, stream: bool = True, error: Exception | None = None) -> None:
        self.stream = stream
        self.error = error
        self.blocks: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.told: list[str] = []
        self.first = self.rider("req_1")
        self.flight = Flight(
            self.first,
            self.handle,
            Shelf(10**6),
            lambda flight: self.told.append("landed"),
            lambda flight: self.told.append("over"),
            lambda call: self.told.append(f"intend {call.id}"),
        )
        self.flight.board(self.first)

    def rider(self, id: str) -> Call:
        call = a_call(stream=self.stream)
        call.id, call.cache = id, CacheNote("miss" if id == "req_1" else "coalesced")
        return call

    async def follower(self, id: str = "req_2") -> Call:
        call = self.rider(id)
        self.flight.board(call)
        await self.flight.begun()
        return call

    async def handle(self, call: Call) -> Answer:
        attempt = Attempt("a/m", "m", "a", 0.0)
        call.attempts.append(attempt)
        call.closing.callback(self.told.append, "let go")
        call.on_last_byte.append(lambda: self.report(call, attempt))
        if self.error is not None:
            raise self.error
        call.answered = attempt
        return Answer(200, (), "upstream", blocks=self.given()) if self.stream else Answer(200, (), "upstream", b"{}")

    def report(self, call: Call, attempt: Attempt) -> None:
        attempt.usage = call.usage = Usage(5, 2)
        attempt.cost_nusd = call.cost_nusd = 700

    async def given(self) -> AsyncIterator[bytes]:
        while True:
            block = await self.blocks.get()
            if isinstance(block, Exception):
                raise block
            yield block
            if block == DONE:
                return

    def say(self, *blocks: bytes | Exception) -> None:
        for block in blocks:
            self.blocks.put_nowait(block)


async def read(trip: Trip, call: Call) -> bytes:
    """As the answer writer does: the last byte is accounted for when it is there."""
    blocks = trip.flight.give(call).blocks
    assert blocks is not None
    seen = b""
    async for block in blocks:
        seen += block
    last_byte(call)
    return seen


def last_byte(call: Call) -> None:
    for step in call.on_last_byte:
        step()
    call.on_last_byte.clear()


def paid(call: Call) -> tuple[int, int | None, int]:
    assert call.cache is not None
    return len(call.attempts), call.cost_nusd, call.cache.saved_nusd


async def test_a_flight_of_one_is_a_call_like_any_other() -> None:
    trip = Trip()
    await trip.flight.begun()
    trip.say(b"1", DONE)
    assert await read(trip, trip.first) == b"1" + DONE
    assert paid(trip.first) == (1, 700, 0)
    assert (trip.first.answered, trip.first.usage) == (trip.first.attempts[0], Usage(5, 2))
    await trip.first.closing.aclose()
    assert trip.told == ["landed", "over", "over", "let go"]


async def test_the_first_pays_and_the_others_have_saved_it() -> None:
    trip = Trip()
    await trip.flight.begun()
    trip.say(b"1", DONE)
    second = await trip.follower()
    assert await read(trip, second) == b"1" + DONE
    assert await read(trip, trip.first) == b"1" + DONE
    assert (paid(trip.first), paid(second)) == ((1, 700, 0), (0, None, 700))
    for call in (second, trip.first):
        await call.closing.aclose()
    assert trip.told.count("let go") == 1


async def test_a_json_answer_is_for_all_of_them() -> None:
    trip = Trip(stream=False)
    second = await trip.follower()
    assert trip.flight.give(trip.first).body == trip.flight.give(second).body == b"{}"
    assert trip.first.cost_nusd == 700, "for the header"
    last_byte(trip.first)
    last_byte(second)
    assert (paid(trip.first), paid(second)) == ((1, 700, 0), (0, None, 700))
    await trip.first.closing.aclose()
    await second.closing.aclose()


async def test_when_the_first_leaves_the_next_one_pays() -> None:
    trip = Trip()
    second, third = await trip.follower("req_2"), await trip.follower("req_3")
    trip.say(b"1")
    await trip.first.closing.aclose()
    assert "let go" not in trip.told
    assert trip.told == ["intend req_2"]
    trip.say(DONE)
    assert await read(trip, third) == b"1" + DONE
    assert await read(trip, second) == b"1" + DONE
    assert (paid(trip.first), paid(second), paid(third)) == ((0, None, 0), (1, 700, 0), (0, None, 700))
    assert second.cache == CacheNote("miss")
    await second.closing.aclose()
    await third.closing.aclose()


async def test_when_all_have_left_the_provider_is_let_go_and_the_last_one_pays() -> None:
    trip = Trip()
    second = await trip.follower()
    await trip.first.closing.aclose()
    await second.closing.aclose()
    assert trip.told[-1] == "let go"
    assert "landed" not in trip.told
    assert trip.flight.call.error == "client_gone"
    assert (paid(trip.first), paid(second)) == ((0, None, 0), (1, 700, 0))


async def test_nobody_can_board_what_all_have_left() -> None:
    trip = Trip()
    await trip.flight.begun()
    leaving = asyncio.create_task(trip.first.closing.aclose())
    await asyncio.sleep(0)
    assert trip.told == ["over"], "before the task has learned of it"
    await leaving


async def test_who_has_paid_leaves_the_others_their_answer() -> None:
    trip = Trip()
    second = await trip.follower()
    trip.say(b"1", DONE)
    await read(trip, trip.first)
    await asyncio.wait_for(trip.first.closing.aclose(), 5)
    await second.closing.aclose()
    assert (paid(trip.first), paid(second)) == ((1, 700, 0), (0, None, 0))


async def test_a_failure_is_the_first_ones_and_others_may_get_off() -> None:
    trip = Trip(error=UpstreamError("down"))
    second = await trip.follower()
    trip.flight.get_off(second)
    with pytest.raises(UpstreamError):
        trip.flight.give(trip.first)
    last_byte(trip.first)
    assert (paid(trip.first), paid(second)) == ((1, 700, 0), (0, None, 0))
    await second.closing.aclose()
    await trip.first.closing.aclose()
    assert trip.told.count("let go") == 1


async def test_a_stream_that_breaks_breaks_for_all() -> None:
    trip = Trip()
    second = await trip.follower()
    trip.say(b"1", UpstreamError("cut"))
    for call in (trip.first, second):
        with pytest.raises(UpstreamError):
            await read(trip, call)
        await call.closing.aclose()
    assert "landed" not in trip.told


async def test_nobody_can_board_a_stream_whose_beginning_is_gone() -> None:
    trip = Trip()
    second = await trip.follower()
    assert trip.told == []
    trip.say(b"1" * (MAX_KEPT_BYTES + 1), DONE)
    seen = await asyncio.gather(read(trip, trip.first), read(trip, second))
    assert trip.told[0] == "over", "before it was read by anybody"
    assert {len(one) for one in seen} == {MAX_KEPT_BYTES + 1 + len(DONE)}
    for call in (trip.first, second):
        await call.closing.aclose()


async def test_a_payer_whose_own_time_is_up_leaves_the_bill_to_the_next() -> None:
    """It is told so with an error, which has a last byte too."""
    trip = Trip()
    second = await trip.follower()
    trip.say(b"1")
    trip.first.error = "timeout"
    last_byte(trip.first)
    await trip.first.closing.aclose()
    trip.say(DONE)
    assert await read(trip, second) == b"1" + DONE
    await second.closing.aclose()
    assert (paid(trip.first), paid(second)) == ((0, None, 0), (1, 700, 0))


async def test_a_follower_whose_own_time_is_up_takes_nothing_with_it() -> None:
    trip = Trip()
    second = await trip.follower()
    last_byte(second)
    assert trip.flight.call.usage is None, "it is read when the last byte has come"
    trip.say(b"1", DONE)
    assert await read(trip, trip.first) == b"1" + DONE
    for call in (second, trip.first):
        await call.closing.aclose()
    assert (paid(trip.first), paid(second)) == ((1, 700, 0), (0, None, 0))


async def test_an_end_without_an_end_is_a_failure() -> None:
    async def nothing(call: Call) -> Answer:
        return Answer(200, (), "upstream", blocks=_some())

    call = a_call(stream=True)
    told: list[str] = []
    flight = Flight(call, nothing, Shelf(10**6), lambda _: told.append("landed"), lambda _: None, lambda _: None)
    flight.board(call)
    await flight.begun()
    blocks = flight.give(call).blocks
    assert blocks is not None
    with pytest.raises(InternalError):
        [block async for block in blocks]
    assert told == []
    await call.closing.aclose()


async def _some() -> AsyncIterator[bytes]:
    yield b"data: {}\n\n"


async def test_what_one_more_attempt_costs_is_for_the_payer_to_cover() -> None:
    trip = Trip()
    assert trip.flight.call.cover is not None
    assert await trip.flight.call.cover(trip.flight.call, 0), "who has no quota minds nothing"
    second = await trip.follower()

    async def cover_none(call: Call, more_tokens: int) -> bool:
        return False

    async def cover_it(call: Call, more_tokens: int) -> bool:
        return call is trip.flight.call

    trip.first.cover, second.cover = cover_none, cover_it
    assert not await trip.flight.call.cover(trip.flight.call, 0)
    await trip.first.closing.aclose()
    assert await trip.flight.call.cover(trip.flight.call, 0)
    await second.closing.aclose()


@pytest.mark.parametrize("seed", range(40))
async def test_exactly_one_pays_whoever_comes_and_goes(seed: int) -> None:
    rng, trip = Random(seed), Trip()
    await trip.flight.begun()
    calls, _readers = [trip.first], list[asyncio.Task[bytes]]()
    calls = [trip.first]
    waiting = {trip.first.id: trip.first}
    blocks = [b"1", b"2", b"3", DONE]
    while waiting:
        match rng.randint(0, 4):
            case 0 if "over" not in trip.told:
                call = await trip.follower(f"req_{len(calls) + 1}")
                calls.append(call)
                waiting[call.id] = call
            case 1 if blocks:
                trip.say(blocks.pop(0))
            case 2:
                call = waiting.pop(rng.choice(list(waiting)))
                await call.closing.aclose()  # it leaves
            case 3 if not blocks:
                call = waiting.pop(rng.choice(list(waiting)))
                assert await read(trip, call) == b"123" + DONE
                await call.closing.aclose()
            case _:
                await asyncio.sleep(0)
    assert [call.cost_nusd for call in calls if call.attempts] == [700]
    assert sum(call.cost_nusd or 0 for call in calls) == 700
    assert trip.told.count("let go") == 1
