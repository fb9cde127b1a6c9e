import asyncio
from collections.abc import Callable

import pytest

from proxy.providers.deadline import Watch
from tests.fakes import HandClock


class Late(Exception):
    """The time-out these tests ask for."""


class HandTimer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class HandTimers:
    """An event loop's timers on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = HandClock()
        self.armed: list[HandTimer] = []
        self.made = 0

    def call_at(self, when: float, callback: Callable[[], None], /) -> HandTimer:
        timer = HandTimer(when, callback)
        self.armed.append(timer)
        self.made += 1
        return timer

    @property
    def pending(self) -> list[HandTimer]:
        return [timer for timer in self.armed if not timer.is_cancelled]

    def advance(self, seconds: float) -> None:
        self.time.advance(seconds)
        for timer in [timer for timer in self.pending if timer.when <= self.time.now]:
            self.armed.remove(timer)
            timer.callback()


def watch(timers: HandTimers, **limits: float | None) -> Watch:
    return Watch(timers, Late, limits)


async def wait(watch: Watch, came: asyncio.Event) -> str:
    """One wait, as a transport makes it."""
    try:
        watch.begin()
        await came.wait()
    except asyncio.CancelledError:
        error = watch.settle()
        if error is not None:
            raise error from None
        raise
    watch.end()
    return "came"


async def start(watch: Watch) -> tuple[asyncio.Task[str], asyncio.Event]:
    came = asyncio.Event()
    task = asyncio.create_task(wait(watch, came))
    await asyncio.sleep(0)
    return task, came


@pytest.mark.parametrize(
    ("limits", "due_s", "words"),
    [
        ({"first_byte": 2.0, "idle": 1.0, "total": 9.0}, 2.0, "did not begin within 2 s"),
        ({"first_byte": 9.0, "idle": 1.0, "total": 2.5}, 2.5, "not complete within 2.5 s"),
        ({"total": 3}, 3.0, "not complete within 3 s"),
    ],
)
async def test_the_nearest_limit_ends_the_first_wait(limits: dict[str, float | None], due_s: float, words: str) -> None:
    timers = HandTimers()
    task, _ = await start(watch(timers, **limits))
    timers.advance(due_s - 0.01)
    await asyncio.sleep(0)
    assert not task.done()
    timers.advance(0.01)
    with pytest.raises(Late, match=words):
        await task
    assert not timers.pending


async def test_silence_after_the_first_byte_is_bounded_by_idle() -> None:
    timers = HandTimers()
    subject = watch(timers, first_byte=60.0, idle=1.0)
    task, came = await start(subject)
    came.set()
    assert await task == "came"
    task, _ = await start(subject)
    timers.advance(1.0)
    with pytest.raises(Late, match="did not go on for 1 s"):
        await task


async def test_the_head_of_an_answer_is_no_first_byte() -> None:
    timers = HandTimers()
    subject = watch(timers, first_byte=5.0, idle=1.0)
    subject.begin()
    timers.advance(0.5)
    subject.pause()
    task, _ = await start(subject)
    timers.advance(4.4)
    await asyncio.sleep(0)
    assert not task.done()
    timers.advance(0.1)
    with pytest.raises(Late, match="did not begin within 5 s"):
        await task


async def test_time_in_which_nobody_waits_is_no_silence() -> None:
    timers = HandTimers()
    subject = watch(timers, idle=1.0)
    for _ in range(3):
        task, came = await start(subject)
        came.set()
        assert await task == "came"
        timers.advance(100.0)


async def test_a_spent_total_refuses_the_next_wait() -> None:
    timers = HandTimers()
    subject = watch(timers, idle=1.0, total=10.0)
    task, came = await start(subject)
    came.set()
    await task
    timers.advance(10.0)
    with pytest.raises(Late, match="not complete within 10 s"):
        subject.begin()
    subject.stop()
    assert not timers.pending


async def test_a_busy_stream_arms_a_timer_no_more_than_once_in_an_idle_time() -> None:
    timers = HandTimers()
    subject = watch(timers, first_byte=60.0, idle=10.0, total=600.0)
    for _ in range(1000):
        subject.begin()
        timers.advance(0.1)  # 100 s in all
        subject.end()
    assert timers.made <= 2 + 10
    subject.stop()
    assert not timers.pending


async def test_without_limits_no_timer_is_armed() -> None:
    timers = HandTimers()
    subject = watch(timers, first_byte=None, idle=None)
    subject.begin()
    subject.end()
    subject.begin()
    subject.stop()
    assert timers.made == 0


@pytest.mark.parametrize("outer_first", [True, False])
async def test_a_cancellation_from_outside_wins_over_a_time_out_at_the_same_moment(outer_first: bool) -> None:
    timers = HandTimers()
    task, _ = await start(watch(timers, idle=1.0, first_byte=1.0))
    if outer_first:
        task.cancel()
    timers.advance(1.0)
    if not outer_first:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert task.cancelling() == 1  # the watch has taken back its own, not the other's


async def test_a_time_out_leaves_the_task_uncancelled() -> None:
    timers = HandTimers()

    async def go_on_after_the_time_out() -> int:
        with pytest.raises(Late):
            await wait(watch(timers, first_byte=1.0), asyncio.Event())
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0)
        return task.cancelling()

    task = asyncio.create_task(go_on_after_the_time_out())
    await asyncio.sleep(0)
    timers.advance(1.0)
    assert await task == 0


async def test_a_cancellation_the_task_has_survived_before_does_not_hide_a_time_out() -> None:
    timers = HandTimers()

    async def survive() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await wait(watch(timers, first_byte=1.0), asyncio.Event())

    task = asyncio.create_task(survive())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    timers.advance(1.0)
    with pytest.raises(Late):
        await task


async def test_each_wait_may_be_made_by_another_task() -> None:
    timers = HandTimers()
    subject = watch(timers, first_byte=5.0, idle=1.0)
    first, came = await start(subject)
    came.set()
    await first
    bystander = asyncio.create_task(asyncio.Event().wait())
    second, _ = await start(subject)
    timers.advance(1.0)
    with pytest.raises(Late):
        await second
    assert not bystander.done()
    bystander.cancel()
