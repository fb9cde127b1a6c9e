"""Bounds the waits of one exchange with an upstream at a cost that every chunk of a stream can bear.

One timer per exchange, armed anew only when it fires or a nearer limit comes into force; a wait merely notes when it
is due. Only time spent waiting for the upstream counts as silence: while a slow client holds the stream up, nobody
waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Protocol


class TimerHandle(Protocol):
    """One armed timer."""

    def cancel(self) -> None:
        """It will not fire any more."""
        ...


class Timers(Protocol):
    """The part of an event loop that keeps time."""

    def time(self) -> float:
        """Monotonic seconds."""
        ...

    def call_at(self, when: float, callback: Callable[[], None], /) -> TimerHandle:
        """Call back at that time."""
        ...


class Watch:
    """The time limits of one exchange, in seconds by name; None or absent is no limit.

    `first_byte` runs from the making of the watch to the first byte of the body, connecting included: an upstream may
    send its head at once and think afterwards. `idle` runs between two pieces of the body. `total` bounds it all.
    """

    __slots__ = (
        "_due_at",
        "_error",
        "_first_at",
        "_has_expired",
        "_idle_s",
        "_limits",
        "_loop",
        "_outer_cancels",
        "_task",
        "_timer",
        "_timer_at",
        "_timers",
        "_total_at",
    )

    def __init__(self, timers: Timers, error: Callable[[str], Exception], limits: Mapping[str, float | None]) -> None:
        """`error` makes the exception of a time-out from the sentence that says what was missing."""
        now = timers.time()
        # current_task() would look the loop up for each chunk, which costs more than the rest of begin().
        self._loop = timers if isinstance(timers, asyncio.AbstractEventLoop) else asyncio.get_running_loop()
        first_byte_s, idle_s, total_s = limits.get("first_byte"), limits.get("idle"), limits.get("total")
        self._timers = timers
        self._error = error
        self._limits = limits
        self._first_at = inf if first_byte_s is None else now + first_byte_s  # 0 once the first byte has come
        self._idle_s = inf if idle_s is None else idle_s
        self._total_at = inf if total_s is None else now + total_s
        self._timer: TimerHandle | None = None
        self._timer_at = inf
        self._due_at = inf
        self._task: asyncio.Task[object] | None = None  # the one that waits
        self._outer_cancels = 0
        self._has_expired = False

    def begin(self) -> None:
        """The current task begins to wait for the upstream. Raises the time-out if a limit has passed already."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        now = self._timers.time()
        due_at = self._first_at or now + self._idle_s
        if due_at > self._total_at:
            due_at = self._total_at
        self._due_at = due_at
        if due_at <= now:
            raise self._time_out()
        if due_at < self._timer_at:
            self._arm(due_at)
        self._outer_cancels = task.cancelling()
        self._task = task

    def pause(self) -> None:
        """The wait is over, but no byte of the body has come yet."""
        self._task = None

    def end(self) -> None:
        """The wait is over: a piece of the body has come."""
        self._task = None
        self._first_at = 0.0

    def settle(self) -> Exception | None:
        """To be called where a wait ended in CancelledError: the time-out to raise in its place, or None when somebody
        else cancelled the task too, who must not be cheated of it. Ends the watch.
        """
        error = self._time_out() if self._has_expired else None
        return None if self.stop() > self._outer_cancels else error

    def stop(self) -> int:
        """End the watch. May be called twice. Gives the number of cancellations the waiting task is left with."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        task, self._task = self._task, None
        if task is None:
            return 0
        if self._has_expired:
            self._has_expired = False
            return task.uncancel()
        return task.cancelling()

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.call_at(when, self._fire)
        self._timer_at = when

    def _fire(self) -> None:
        self._timer, self._timer_at = None, inf
        task = self._task
        if task is None:
            return  # the next wait arms it again
        if self._timers.time() < self._due_at:
            self._arm(self._due_at)
        else:
            self._has_expired = True
            task.cancel()

    def _time_out(self) -> Exception:
        if self._due_at == self._total_at:
            return self._error(f"the answer was not complete within {self._limits['total']:g} s (total)")
        if self._first_at:
            return self._error(f"the answer did not begin within {self._limits['first_byte']:g} s (first_byte)")
        return self._error(f"the answer did not go on for {self._limits['idle']:g} s (idle)")
