"""What one process knows of quotas that many count together: looked at every second, so that endpoints, metrics and
alarms say what is so; and each alarm told once, by whoever is first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from proxy.accounting import Allowance, Calendar, Quotas
from proxy.chain.claims import place_of
from proxy.chain.share import Allotments
from proxy.state import ClaimStore, ClaimTerms, QuotaPlace, StateFailed, Use

_LOOK_EVERY_S: Final = 1.0
#: Teams looked at in one turn of the loop: each takes 10 µs.
_AT_ONCE: Final = 100
#: Alarms that wait for the shared state to be back, at most: each is told once a period in any case.
_MAX_NEWS: Final = 10_000


class Picture:
    """One a process."""

    def __init__(
        self,
        store: ClaimStore,
        calendar: Calendar,
        allotments: Allotments,
        tell: Callable[[Allowance, float], None],
        wall_clock: Callable[[], float],
    ) -> None:
        """`tell` is told of the share of a quota that is used, as `proxy.accounting.Quotas` says it. `wall_clock` gives
        Unix time.
        """
        self._store = store
        self._calendar = calendar
        self._allotments = allotments
        self._tell = tell
        self._wall_clock = wall_clock
        self._news: deque[tuple[Allowance, float, QuotaPlace]] = deque(maxlen=_MAX_NEWS)
        self._terms: dict[str, tuple[Sequence[Allowance], Sequence[str | int], ClaimTerms]] = {}

    def note(self, allowance: Allowance, level: float) -> None:
        """For `Quotas`: here so large a share is used. Told soon, if nobody else has."""
        periods = self._calendar.counted(max(self._wall_clock(), allowance.begin_s))
        self._news.append((allowance, level, place_of(allowance, periods)))

    async def run(self, quotas: Quotas) -> None:
        """For ever."""
        while True:
            try:
                await self.look(quotas)
            except StateFailed:
                self._allotments.missed()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self, quotas: Quotas) -> None:
        """Once: renew what calls under way hold, see how quotas stand, tell what there is. Raises StateFailed."""
        await self._store.keep()
        periods = self._calendar.counted(quotas.counted_at(self._wall_clock()))
        teams = list(quotas.by_team.items())
        for at in range(0, len(teams), _AT_ONCE):
            await asyncio.gather(*(self._see(quotas, *one, periods) for one in teams[at : at + _AT_ONCE]))
        while self._news:
            allowance, level, place = self._news[0]
            event = f"{level:g}\n{place.size}"  # of a quota that was raised the levels may be reached again
            is_first = await self._store.tell(allowance.terms.owner[0], place, event)
            self._news.popleft()
            if is_first:
                self._tell(allowance, level)
        self._allotments.heard()

    async def used_in(self, teams: Sequence[str], begin_s: float) -> Sequence[Use]:
        """All that these teams used in the month that begins then (Unix time). Raises StateFailed."""
        name = self._calendar.span("month", begin_s).first.isoformat()
        return await self._store.uses(teams, f"month:{name}")

    async def _see(
        self, quotas: Quotas, team: str, allowances: Sequence[Allowance], periods: Sequence[str | int]
    ) -> None:
        known = self._terms.get(team)
        if known is None or known[0] is not allowances or known[1] is not periods:
            terms = self._store.terms(team, (), [place_of(one, periods) for one in allowances])
            known = self._terms[team] = allowances, periods, terms
        begun = [one.begin_s for one in allowances]
        found = await self._store.look(known[2])
        for at, (one, begin_s) in enumerate(zip(allowances, begun, strict=True)):
            if one.begin_s == begin_s:  # else a period has begun meanwhile
                one.refresh(found[2 * at], found[2 * at + 1])
                quotas.watch(one)
