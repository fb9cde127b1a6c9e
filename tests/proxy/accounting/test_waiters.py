import asyncio

import pytest

from proxy.accounting.waiters import Waiters
from tests.fakes import HandClock


async def test_nobody_waits_for_what_is_done() -> None:
    waiters = Waiters(HandClock())
    waiters.reach(2)
    assert waiters.reached(2)
    assert not waiters.reached(3)
    assert not waiters.reached(0)
    assert await waiters.wait(2)


async def test_each_waits_for_its_own_number_whoever_came_first() -> None:
    waiters = Waiters(HandClock())
    second, first = asyncio.create_task(waiters.wait(2)), asyncio.create_task(waiters.wait(1))
    await asyncio.sleep(0)
    await asyncio.to_thread(waiters.reach, 2)
    assert await second
    assert await first


async def test_what_takes_its_time_is_waited_for_no_longer() -> None:
    clock = HandClock()
    waiters = Waiters(clock)
    one = asyncio.create_task(waiters.wait(1, 0.001))
    other = asyncio.create_task(waiters.wait(1, 60))
    await asyncio.sleep(0)
    clock.now += 0.001
    assert not await one
    assert waiters.late == 1
    assert not other.done()
    waiters.reach(1)
    assert await other


async def test_all_are_let_go_when_nothing_can_be_done() -> None:
    waiters = Waiters(HandClock())
    tasks = [asyncio.create_task(waiters.wait(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    waiters._reached = 1  # done, but nobody was told yet
    await asyncio.to_thread(waiters.release)
    assert [await task for task in tasks] == [True, False]


async def test_who_was_cancelled_is_passed_over() -> None:
    waiters = Waiters(HandClock())
    gone, other = asyncio.create_task(waiters.wait(1)), asyncio.create_task(waiters.wait(2))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    waiters.reach(2)
    assert await other


def test_a_loop_that_was_closed_is_no_hindrance() -> None:
    waiters = Waiters(HandClock())

    async def leave() -> None:
        task = asyncio.create_task(waiters.wait(1))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    waiters.reach(1)
    assert waiters.reached(1)
