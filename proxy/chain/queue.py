"""Who waits for what, and whose turn it is: by priority, then in order of arrival. Pure; `admit.py` acts on it.

A call waits for places: room at a target, or in the gateway. Each place has a line of its own, so nobody who waits for
one stands in the way of those who wait for another. A call stands in several lines if it can go to several targets.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from itertools import count
from math import ceil
from typing import Final, Generic, TypeVar

from proxy.errors import Overloaded
from proxy.observe import ShedReason
from routing.window import MovingSum

#: The pace of a line is that of this time.
_PACE_S: Final = 30.0
_SLOTS: Final = 6
#: What a client is told to wait, at the least and at the most: beyond a minute it would be a guess.
_LEAST_WAIT_S: Final = 1.0
_MOST_WAIT_S: Final = 60.0
_TEXTS: Final[Mapping[ShedReason, str]] = {
    "queue_full": "There is no room for this call now, and none in the queue.",
    "displaced": "The queue is full, and a call of higher priority took this one's place in it.",
    "deadline": "The call waited {waited_s:.1f} s in the queue, as long as it may, and there was no room for it.",
    "wait_too_long": "There is no room for this call now, nor will there be while it may wait.",
}


class Ticket:
    """One call's place in the order."""

    __slots__ = ("model", "places", "priority", "rank")

    def __init__(self, model: str, priority: int, number: int) -> None:
        """`priority`: the higher goes first. `number`: lower for whoever came earlier."""
        self.model = model
        self.priority = priority
        self.rank = (-priority, number)
        self.places: tuple[str, ...] = ()  #: what it waits for, any of them; empty while it is not in the queue


AnyTicket = TypeVar("AnyTicket", bound=Ticket)


class _Model(Generic[AnyTicket]):
    """Those who wait for one model, and how fast they get their turn."""

    __slots__ = ("line", "served", "since")

    def __init__(self, now: float) -> None:
        self.line: list[AnyTicket] = []
        self.since = now  # monotonic seconds: the line was empty before
        self.served = MovingSum(_PACE_S, _SLOTS)


class Queue(Generic[AnyTicket]):
    """The calls that wait. Lines are sorted lists: a thousand entries move in less than a microsecond."""

    def __init__(self) -> None:
        self._numbers = count()
        self.all: list[AnyTicket] = []  #: who waits, in order; not for others to change
        self._lines: dict[str, list[AnyTicket]] = {}
        self._models: dict[str, _Model[AnyTicket]] = {}

    def __len__(self) -> int:
        return len(self.all)

    def next_number(self) -> int:
        """For the ticket of a call that has just come."""
        return next(self._numbers)

    def enter(self, ticket: AnyTicket, places: tuple[str, ...], now: float) -> None:
        """Put it where it belongs, in the line of each of these places, which are all different."""
        ticket.places = places
        insort(self.all, ticket, key=_rank)
        for place in places:
            insort(self._lines.setdefault(place, []), ticket, key=_rank)
        model = self._models.get(ticket.model)
        if model is None:
            model = self._models[ticket.model] = _Model(now)
        insort(model.line, ticket, key=_rank)

    def leave(self, ticket: AnyTicket) -> None:
        """Take it out; it may have left already."""
        if not ticket.places:
            return
        _take(self.all, ticket)
        for place in ticket.places:
            line = self._lines[place]
            _take(line, ticket)
            if not line:
                del self._lines[place]
        model = self._models[ticket.model]
        _take(model.line, ticket)
        if not model.line:
            del self._models[ticket.model]
        ticket.places = ()

    def served(self, ticket: AnyTicket, now: float) -> None:
        """One that has left got what it waited for: so fast goes its model's line."""
        model = self._models.get(ticket.model)
        if model is not None:
            model.served.add(1, now)

    def first(self, place: str) -> AnyTicket | None:
        """Whose turn it is when there is room."""
        line = self._lines.get(place)
        return line[0] if line else None

    def first_of(self, model: str) -> AnyTicket | None:
        """Who waits for this model, and goes before all others who do."""
        found = self._models.get(model)
        return found.line[0] if found is not None else None

    def last_below(self, priority: int) -> AnyTicket | None:
        """Who must go when one of this priority needs a place in a full queue: the last of the lowest priority, if
        that is below it.
        """
        return self.all[-1] if self.all and self.all[-1].priority < priority else None

    def estimate_s(self, model: str, now: float) -> float:
        """In how many seconds one more call for this model would have its turn, by the pace of its line: 1 to 60."""
        found = self._models.get(model)
        if found is None:
            return _LEAST_WAIT_S
        elapsed_s = min(now - found.since, _PACE_S)
        wait_s = (len(found.line) + 1) * elapsed_s / max(1.0, found.served.total(now))
        return min(_MOST_WAIT_S, max(_LEAST_WAIT_S, wait_s))


def refusal(reason: ShedReason, wait_s: float, waited_s: float) -> Overloaded:
    """What a call is told that can't be served, after it has waited so long: to come again after `wait_s`."""
    error = Overloaded(f"{_TEXTS[reason].format(waited_s=waited_s)} Try again in {ceil(wait_s)} s.")
    error.retry_after_s = wait_s
    return error


def _rank(ticket: Ticket) -> tuple[int, int]:
    return ticket.rank


def _take(line: list[AnyTicket], ticket: AnyTicket) -> None:
    del line[bisect_left(line, ticket.rank, key=_rank)]
