import asyncio
from collections.abc import Iterator
from threading import Event

import pytest

from proxy.api.reading import ReadingRoom
from proxy.errors import Overloaded
from proxy.state import StateFailed


@pytest.fixture
def room() -> Iterator[ReadingRoom]:
    room = ReadingRoom()
    yield room
    room.close()


async def test_a_question_is_answered(room: ReadingRoom) -> None:
    assert await room.ask(lambda: 6 * 7) == 42


async def test_more_questions_than_places_are_refused_and_room_comes_back(room: ReadingRoom) -> None:
    held = Event()
    asked = [asyncio.create_task(room.ask(held.wait)) for _ in range(16)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="Too many reports"):
        await room.ask(held.wait)
    held.set()
    assert await asyncio.gather(*asked) == [True] * 16
    assert await room.ask(lambda: 1) == 1


async def test_who_leaves_keeps_his_place_until_the_thread_is_done(room: ReadingRoom) -> None:
    held, begun = Event(), Event()

    def question() -> None:
        begun.set()
        held.wait()

    asked = [asyncio.create_task(room.ask(question)) for _ in range(2)]
    await asyncio.to_thread(begun.wait)
    waiting = [asyncio.create_task(room.ask(lambda: None)) for _ in range(14)]
    await asyncio.sleep(0)
    for task in (*asked, *waiting):
        task.cancel()
    assert all(
        isinstance(one, asyncio.CancelledError)
        for one in await asyncio.gather(*asked, *waiting, return_exceptions=True)
    )
    held.set()
    assert await room.ask(lambda: 1) == 1


async def test_books_that_cannot_be_read_are_a_fault_that_passes(
    room: ReadingRoom, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise StateFailed("the database /secret/place: disk I/O error")

    with pytest.raises(Overloaded) as caught:
        await room.ask(fail)
    assert "/secret" not in caught.value.message
    assert "disk I/O error" in caplog.text


async def test_a_closed_room_answers_nobody() -> None:
    room = ReadingRoom()
    room.close()
    for _ in range(20):
        with pytest.raises(Overloaded, match="stopping"):
            await room.ask(lambda: 1)
