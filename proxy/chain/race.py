"""A race of two attempts: the first one, and a second that joins it when it has been silent for too long.

Knows nothing of what is raced for; when a second one is worth its cost is routing's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from proxy.call import Closing

T = TypeVar("T")
Pause = Callable[[float], Awaitable[None]]


async def race(
    first: Coroutine[Any, Any, T],
    backup: Callable[[], Awaitable[tuple[Coroutine[Any, Any, T] | None, float | None]]],
    is_won: Callable[[T], bool],
    closing: Closing,
    pause: Pause,
) -> tuple[T, tuple[T, ...]]:
    """What won, and what else had ended by then; if nobody won, the last to fail, and what failed before it. What a
    runner raises is raised if nobody won.

    `backup` gives the second runner; or none yet, and after how many seconds to ask again (None: never). Who loses is
    cancelled at once, and waited for when `closing` closes: the winner is not held up by it. `pause` sleeps.
    """
    running = [_start(first, closing)]
    ended: list[T] = []
    broken: BaseException | None = None
    try:
        second, wait_s = await backup()
        while True:
            if second is not None:
                running.append(_start(second, closing))
                second = wait_s = None
            await _wait(running, wait_s, pause)
            news = [runner for runner in running if runner.done()]
            for runner in news:
                running.remove(runner)
                broken = broken or runner.exception()
                if runner.exception() is None:
                    ended.append(runner.result())
            won = next((one for one in ended if is_won(one)), None)
            if won is not None:
                return won, tuple(one for one in ended if one is not won)
            if not running:
                if broken is not None:
                    raise broken
                return ended[-1], tuple(ended[:-1])
            if wait_s is not None:
                second, wait_s = await backup()
    finally:
        for runner in running:
            runner.cancel()


def _start(runner: Coroutine[Any, Any, T], closing: Closing) -> asyncio.Task[T]:
    task = asyncio.create_task(runner)
    closing.push_async_callback(_reap, task)
    return task


async def _reap(task: asyncio.Task[Any]) -> None:
    """See the task to its end: nothing of it outlives the call."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # who raced has seen it, or was cancelled before it could


async def _wait(running: list[asyncio.Task[T]], wait_s: float | None, pause: Pause) -> None:
    """Until one ends, or so many seconds have passed."""
    if wait_s is None:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        return
    timer: asyncio.Future[Any] = asyncio.ensure_future(pause(wait_s))
    try:
        await asyncio.wait([*running, timer], return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
