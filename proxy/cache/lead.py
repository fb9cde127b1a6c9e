"""One look-up in a level that many replicas share, and the lead that it may bring: of all who could share an answer
that nobody has yet, one replica asks for it, and the others wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from math import inf
from typing import Any, Final, Literal, Protocol

from proxy.cache.store import Stored

#: For how long a lead is good at first, in milliseconds: it is taken within this time or never. Whoever was given one
#: and never heard of it keeps the others waiting no longer.
FIRST_MS: Final = 1000
#: For how long it is when it is kept, and how often that is said, in seconds: a replica that dies keeps the others
#: waiting for so long.
KEPT_MS: Final = 5000
KEEP_EVERY_S: Final = 1.0
#: For how long it is known that there is nothing to be shared, in milliseconds: longer than any replica's next look.
VAIN_MS: Final = 1000

#: `found`: here it is. `lead`: ask for it, others will wait. `flying`: another replica does. `vain`: one did, and got
#: nothing that can be shared. `alone`: nobody knows, so ask for yourself.
Fate = Literal["found", "lead", "flying", "vain", "alone"]


class Fly(Protocol):
    """Says what becomes of a flight: team, flight, token, `keep`, `free` or `vain`, and for how many milliseconds."""

    def __call__(self, team: str, flight: str, token: str, what: str, ms: int, /) -> None:
        """Returns at once."""
        ...


class Lead:
    """The lead of one flight. It ends once: when its answer is stored, or there is none."""

    def __init__(self, leads: Leads, team: str, flight: str, token: str) -> None:
        self.team = team
        self.flight = flight
        self.token = token
        self.is_over = False
        self._leads = leads

    def keep(self) -> None:
        """It has set out: keep it until it is over."""
        self._leads.keep(self)

    def store(self) -> tuple[str, str] | None:
        """Flight and token, for whoever ends it by storing its answer; None if it is over."""
        return None if not self._leads.end(self) else (self.flight, self.token)

    def free(self) -> None:
        """Nothing came of it: the next one may try."""
        if self._leads.end(self):
            self._leads.fly(self.team, self.flight, self.token, "free", 0)

    def in_vain(self) -> None:
        """What came of it can't be shared: nobody need wait."""
        if self._leads.end(self):
            self._leads.fly(self.team, self.flight, self.token, "vain", VAIN_MS)


class Leads:
    """All leads of this process."""

    def __init__(self, origin: str, fly: Fly) -> None:
        """`origin`: as no other process is called."""
        self.fly = fly
        self._origin = origin
        self._numbers = count(1)
        self._kept: set[Lead] = set()
        self._timer: asyncio.TimerHandle | None = None

    def token(self) -> str:
        """As no other look-up has it."""
        return f"{self._origin}{next(self._numbers):x}"

    def keep(self, lead: Lead) -> None:
        """See `Lead.keep`."""
        if lead.is_over:
            return
        self._kept.add(lead)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEEP_EVERY_S / 2, self._keep_all)

    def end(self, lead: Lead) -> bool:
        """It is over; was it not before?"""
        was_over, lead.is_over = lead.is_over, True
        self._kept.discard(lead)
        return not was_over

    def close(self) -> None:
        """Free all of them."""
        if self._timer is not None:
            self._timer.cancel()
        for lead in [*self._kept]:
            lead.free()

    def _keep_all(self) -> None:
        self._timer = None
        for lead in self._kept:
            self.fly(lead.team, lead.flight, lead.token, "keep", KEPT_MS)
        if self._kept:
            self._timer = asyncio.get_running_loop().call_later(KEEP_EVERY_S, self._keep_all)


class Look:
    """One look-up, for all calls of this process that want the same just then. Whoever has it leaves it once."""

    def __init__(self, purges: int, over: Callable[[Look], None]) -> None:
        """`purges`: see `CacheState.purges`; `over` is told when nobody else can join it any more."""
        self.purges = purges
        self.fate: Fate = "alone"
        self.holder = b""  #: where another replica flies: as no other flight is called
        self._over = over
        self._users = 0
        self._lead: Lead | None = None
        self._lead_until = inf  # by the loop's clock
        self._task: asyncio.Task[Stored | None] | None = None

    def begin(self, work: Coroutine[Any, Any, Stored | None]) -> asyncio.Task[Stored | None]:
        """Start it. The work calls `settle`, never raises, and goes on if all have left."""
        self._task = asyncio.get_running_loop().create_task(work)
        return self._task

    def join(self) -> None:
        """One more who wants it."""
        self._users += 1

    def leave(self) -> None:
        """It is done with it. A lead that nobody took is freed."""
        self._users -= 1
        if self._users == 0 and self._lead is not None:
            self._lead.free()
            self._end()

    def settle(self, fate: Fate, lead: Lead | None = None, holder: bytes = b"") -> None:
        """That is what it came to."""
        self.fate, self.holder = fate, holder
        if lead is not None and self._users:
            self._lead = lead
            self._lead_until = asyncio.get_running_loop().time() + FIRST_MS / 1000
            return
        if lead is not None:  # all have left meanwhile
            lead.free()
        self._end()

    @property
    def is_stale(self) -> bool:
        """Is its lead, which nobody took, good no more? Another replica may have the answer by now."""
        return self._lead is not None and asyncio.get_running_loop().time() >= self._lead_until

    async def found(self) -> Stored | None:
        """What is found."""
        assert self._task is not None, "it was begun"
        return await asyncio.shield(self._task)

    def take(self) -> Lead | None:
        """The lead, for the first who sets out; None if there is none, or it is taken."""
        lead = self._lead
        if lead is not None:
            self._end()
            lead.keep()
        return lead

    def _end(self) -> None:
        self._lead = None
        self._over(self)
