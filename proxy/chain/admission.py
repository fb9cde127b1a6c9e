"""How many calls are inside, and who waits for room. The calls themselves come through `admit.py`.

Room is short in two ways. The gateway serves so many calls at once (`server.admission.concurrency`), each counted from
here until it is closed. And all targets of a model may be full: then the call waits until an attempt at one of them has
ended, or its rest is over.

Whoever has its turn is called, one at a time for each place, and tries; then the next in that line is called, if there
is still room. One that finds none after all goes back to where it stood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final, Protocol

from proxy.call import Call
from proxy.chain.queue import Queue, Ticket, refusal
from proxy.errors import AtCapacity, Overloaded
from proxy.observe import Metrics, ShedReason
from routing import Fleet

#: The place of those who wait for room in the gateway itself; no target has this name.
GATEWAY: Final = ""
#: A target is looked at again no sooner than this.
_LEAST_LOOK_S: Final = 0.01


class Timer(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None:
        """It shall not happen."""
        ...


def call_later(delay_s: float, run: Callable[[], None]) -> Timer:
    """Run it in so many seconds, on the running event loop."""
    return asyncio.get_running_loop().call_later(delay_s, run)


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """The bounds."""

    concurrency: int = 5000  #: calls past admission at once
    queue: int = 1000  #: calls that wait
    max_wait_s: float = 10.0  #: how long each may


class Waiter(Ticket):
    """One call that waits, or is just about to try."""

    __slots__ = ("call", "called_to", "has_news", "is_counted", "timer", "turn", "until")

    def __init__(self, call: Call, priority: int, number: int, until: float, is_counted: bool) -> None:
        """`until`: monotonic seconds. `is_counted`: has it been past admission before?"""
        super().__init__(call.model, priority, number)
        self.call = call
        self.until = until
        self.is_counted = is_counted
        self.called_to: str | None = None  #: the place where it was told to try last
        self.has_news = False  #: was there word of more room at that place since?
        self.turn: asyncio.Future[Overloaded | None]  #: None: it may try; an error: it never will
        self.timer: Timer


class Admission:
    """The calls inside and those that wait. Outlives worlds: a call of an old one counts until it is closed."""

    def __init__(
        self,
        settings: AdmissionSettings,
        fleet: Fleet,
        metrics: Metrics,
        clock: Callable[[], float],
        later: Callable[[float, Callable[[], None]], Timer] = call_later,
    ) -> None:
        """`clock` gives monotonic seconds."""
        self._settings = settings
        self._fleet = fleet
        self._metrics = metrics
        self._clock = clock
        self._later = later
        self._queue: Queue[Waiter] = Queue()
        self._called: dict[str, Waiter] = {}  # by the place that each was called to, until it has tried
        self._looks: dict[str, tuple[float, Timer]] = {}  # when a target's rest is over
        self._counted = 0  # calls that came past admission and are not closed yet
        self._parked = 0  # of these, the ones that had to come back and wait
        fleet.watch(self._heard_of)
        metrics.watch_queue(lambda: len(self._queue))

    @property
    def inside(self) -> int:
        """Calls past admission."""
        return self._counted - self._parked

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    def adapt(self, settings: AdmissionSettings) -> None:
        """Go by these bounds from now on; nobody who is inside or waits already is turned out."""
        self._settings = settings
        self._call_next(GATEWAY)

    def obstacles(self, model: str, priority: int) -> tuple[str, ...]:
        """The places that a new call must wait for; none: it may try.

        It overtakes nobody who waits for the gateway, or for the same model, with its priority or a higher one, and
        for something that it might get.
        """
        if self._counted - self._parked >= self._settings.concurrency:
            return (GATEWAY,)
        if self._queue.all or self._called:
            for ahead, places in self._ahead_of(model):
                if ahead.priority >= priority and self._is_askable(places):
                    return places
        return ()

    def let_in(self, call: Call) -> None:
        """Count it until it is closed."""
        self._counted += 1
        call.closing.callback(self._count_out)

    def queue_up(self, call: Call, priority: int, deadline_at: float, why: AtCapacity | tuple[str, ...]) -> Waiter:
        """Give it a place in the queue. `why`: what it met inside, or the obstacles before it. Raises Overloaded."""
        now, is_counted = self._clock(), isinstance(why, AtCapacity)
        until = min(now + self._settings.max_wait_s, deadline_at)
        least_wait_s = why.least_wait_s if isinstance(why, AtCapacity) else 0.0
        if until - now <= least_wait_s:
            raise self._shed(call, "wait_too_long", least_wait_s)
        if len(self._queue) >= self._settings.queue:
            last = self._queue.last_below(priority)
            if last is None:
                raise self._shed(call, "queue_full", least_wait_s)
            self._refuse(last, "displaced")
        waiter = Waiter(call, priority, self._queue.next_number(), until, is_counted)
        if isinstance(why, AtCapacity):
            self._park_at_targets(waiter, why)
        else:
            self._park(waiter, why)
            for place in why:  # it has not tried by itself: perhaps somebody can
                self._call_next(place)
        return waiter

    async def wait(self, waiter: Waiter) -> None:
        """Return when it shall try. Raises Overloaded if it never will."""
        call = waiter.call
        call.queued_at = self._clock()
        try:
            refusal = await waiter.turn
        except asyncio.CancelledError:
            self._give_up(waiter)
            raise
        finally:
            waiter.timer.cancel()
            call.queued_s += self._clock() - call.queued_at
            call.queued_at = None
        if refusal is not None:
            self._give_up(waiter)
            raise refusal
        # By then, after this turn of the event loop, an attempt has begun, or it is back in the queue, or it has even
        # been called once more.
        asyncio.get_running_loop().call_soon(self._tried, waiter, waiter.called_to)

    def let_try(self, waiter: Waiter) -> bool:
        """Is there room in the gateway for one that was called? If not, it waits for that."""
        if self.inside >= self._settings.concurrency:
            self._park(waiter, (GATEWAY,))
            return False
        if waiter.is_counted:
            self._parked -= 1
        else:
            waiter.is_counted = True
            self.let_in(waiter.call)
        return True

    def put_back(self, waiter: Waiter, full: AtCapacity) -> None:
        """It has tried in vain, and waits on where it stood. Raises Overloaded if that has no point any more."""
        if waiter.until - self._clock() <= full.least_wait_s:
            raise self._shed(waiter.call, "wait_too_long", full.least_wait_s)
        self._park_at_targets(waiter, full)

    def _park_at_targets(self, waiter: Waiter, full: AtCapacity) -> None:
        self._parked += 1
        self._park(waiter, tuple(full.waits_s))
        for target, wait_s in full.waits_s.items():
            if wait_s is not None:
                self._look_in(target, wait_s)
        self._call_next(GATEWAY)  # where it stood inside is free

    def _park(self, waiter: Waiter, places: tuple[str, ...]) -> None:
        now = self._clock()
        waiter.turn = asyncio.get_running_loop().create_future()
        waiter.timer = self._later(max(0.0, waiter.until - now), partial(self._expire, waiter))
        self._queue.enter(waiter, places, now)

    def _heard_of(self, target: str) -> None:
        if self._queue.all:
            self._call_next(target)

    def _call_next(self, place: str) -> None:
        """There may be room: call the first in its line, unless one is on its way already."""
        waiter, called = self._queue.first(place), self._called.get(place)
        if called is not None:
            called.has_news = True
            return
        if waiter is None:
            return
        wait_s = self._wait_s(place)
        if wait_s < inf and wait_s > 0:
            self._look_in(place, wait_s)
        while wait_s <= 0 and waiter is not None:
            self._queue.leave(waiter)
            if not waiter.turn.done():
                self._called[place] = waiter
                waiter.called_to, waiter.has_news = place, False
                waiter.turn.set_result(None)
                return
            waiter = self._queue.first(place)  # that one's client has left in this very turn of the event loop

    def _refuse(self, waiter: Waiter, reason: ShedReason, least_wait_s: float = 0.0) -> None:
        if not waiter.turn.done():
            waiter.turn.set_result(self._shed(waiter.call, reason, least_wait_s))
        self._queue.leave(waiter)

    def _tried(self, waiter: Waiter, place: str | None) -> None:
        if not waiter.places and waiter.called_to == place:
            self._queue.served(waiter, self._clock())
        self._pass_on(waiter, place)

    def _pass_on(self, waiter: Waiter, place: str | None) -> None:
        """Its turn at this place is over: is there room for another one?"""
        if waiter.called_to == place:
            waiter.called_to = None
        if place is not None and self._called.get(place) is waiter:
            del self._called[place]
            if place not in waiter.places or waiter.has_news:  # else it has just seen that there is none
                self._call_next(place)

    def _give_up(self, waiter: Waiter) -> None:
        self._queue.leave(waiter)
        if waiter.is_counted:
            self._parked -= 1
        self._pass_on(waiter, waiter.called_to)

    def _expire(self, waiter: Waiter) -> None:
        if waiter.places:
            least_wait_s = min(map(self._wait_s, waiter.places))
            self._refuse(waiter, "deadline", least_wait_s if least_wait_s < inf else 0.0)

    def _look_in(self, place: str, wait_s: float) -> None:
        """See after so long whether there is room; one look for all who wait there."""
        wait_s = max(wait_s, _LEAST_LOOK_S)
        due_at, look = self._clock() + wait_s, self._looks.get(place)
        if look is not None:
            if look[0] <= due_at:
                return
            look[1].cancel()
        self._looks[place] = due_at, self._later(wait_s, partial(self._look, place))

    def _look(self, place: str) -> None:
        del self._looks[place]
        self._call_next(place)

    def _count_out(self) -> None:
        self._counted -= 1
        if self._queue.all:
            self._call_next(GATEWAY)

    def _ahead_of(self, model: str) -> Iterator[tuple[Ticket, tuple[str, ...]]]:
        """Who may have a better claim than a new call for this model, and to what."""
        for place, waiter in self._called.items():
            if place == GATEWAY or waiter.model == model:
                yield waiter, (place,)
        for ticket in (self._queue.first(GATEWAY), self._queue.first_of(model)):
            if ticket is not None:
                yield ticket, ticket.places

    def _is_askable(self, places: tuple[str, ...]) -> bool:
        return GATEWAY in places or self._fleet.is_askable(places, self._clock())

    def _wait_s(self, place: str) -> float:
        if place == GATEWAY:
            return 0.0 if self.inside < self._settings.concurrency else inf
        return self._fleet.wait_s(place, self._clock())

    def _shed(self, call: Call, reason: ShedReason, least_wait_s: float = 0.0) -> Overloaded:
        """Count a call that is refused. `least_wait_s`: until then there is no room for certain."""
        self._metrics.shed(reason)
        now = self._clock()
        wait_s = max(least_wait_s, self._queue.estimate_s(call.model, now))
        waited_s = call.queued_s if call.queued_at is None else call.queued_s + now - call.queued_at
        return refusal(reason, wait_s, waited_s)
