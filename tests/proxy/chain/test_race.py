import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from proxy.call import Closing
from proxy.chain.race import race


class Runner:
    """Something to race: it ends when it is let go, with a word."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.word = ""
        self.is_started = self.is_cancelled = False

    def end(self, word: str) -> None:
        self.word = word
        self.gate.set()

    async def run(self) -> str:
        self.is_started = True
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        return self.word


class Course:
    """A race between two runners, in which only `won` wins; the second is offered after so many looks."""

    def __init__(self, looks: int | None) -> None:
        self.first, self.second = Runner(), Runner()
        self.closing = Closing()
        self.paused: list[float] = []
        self._looks = looks
        self._pauses = asyncio.Semaphore(0)

    async def backup(self) -> tuple[Coroutine[Any, Any, str] | None, float | None]:
        if self._looks is None:
            return None, None
        self._looks -= 1
        return (self.second.run(), None) if self._looks < 0 else (None, 0.1)

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        await self._pauses.acquire()

    def start(self) -> "asyncio.Task[tuple[str, tuple[str, ...]]]":
        return asyncio.create_task(
            race(self.first.run(), self.backup, lambda word: word.startswith("won"), self.closing, self.pause)
        )

    def let_time_pass(self) -> None:
        self._pauses.release()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_first_one_that_answers_is_raced_by_nobody() -> None:
    course = Course(looks=3)
    running = course.start()
    await settle()
    course.first.end("won")
    assert await running == ("won", ())
    assert (course.paused, course.second.is_started) == ([0.1], False)
    await course.closing.aclose()


@pytest.mark.parametrize("looks", [0, 2])
async def test_a_second_one_that_answers_first_wins_and_the_first_is_cancelled(looks: int) -> None:
    course = Course(looks)
    running = course.start()
    for _ in range(looks):
        await settle()
        course.let_time_pass()
    await settle()
    course.second.end("won")
    assert await running == ("won", ())
    await course.closing.aclose()
    assert (len(course.paused), course.first.is_cancelled) == (looks, True)


async def test_who_fails_leaves_the_race_to_the_other() -> None:
    course = Course(looks=0)
    running = course.start()
    await settle()
    course.first.end("down")
    await settle()
    assert not running.done()
    course.second.end("won")
    assert await running == ("won", ("down",))


async def test_when_both_fail_the_last_word_is_the_later_ones() -> None:
    course = Course(looks=0)
    running = course.start()
    await settle()
    course.second.end("down")
    await settle()
    course.first.end("broken")
    assert await running == ("broken", ("down",))


async def test_a_first_one_that_fails_before_anybody_joins_ends_the_race() -> None:
    course = Course(looks=None)
    running = course.start()
    await settle()
    course.first.end("down")
    assert await running == ("down", ())


async def test_of_two_in_the_same_turn_the_first_wins_and_the_other_is_handed_back() -> None:
    course = Course(looks=0)
    running = course.start()
    await settle()
    course.second.end("won second")
    course.first.end("won first")
    assert await running == ("won first", ("won second",))
    await course.closing.aclose()


async def test_a_cancelled_race_leaves_nobody_running() -> None:
    course = Course(looks=0)
    running = course.start()
    await settle()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await course.closing.aclose()
    assert course.first.is_cancelled
    assert course.second.is_cancelled


async def test_what_breaks_is_raised_if_nobody_wins_and_spoils_nothing_else() -> None:
    async def broken() -> str:
        raise RuntimeError("a bug")

    for word in ("won", "down"):
        course = Course(looks=0)
        running = asyncio.create_task(
            race(broken(), course.backup, lambda one: one == "won", course.closing, course.pause)
        )
        await settle()
        course.second.end(word)
        if word == "won":
            assert await running == ("won", ())
        else:
            with pytest.raises(RuntimeError):
                await running
        await course.closing.aclose()
