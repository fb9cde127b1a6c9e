"""What a flight of this replica has to do with those of others: where another one asks for the same answer already, it
waits for that one, and asks itself as soon as nothing will come of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final

from proxy.cache import Lead, Look, Stored
from proxy.call import Answer, CacheNote, Call, Handler
from proxy.chain.cache_rules import CacheRule
from proxy.chain.cache_state import CacheState
from proxy.chain.route import JSON_HEADERS
from proxy.errors import UpstreamTimeout

#: How long it waits between two looks, in seconds: an eighth of the time that it has waited, within these bounds. So
#: whoever waits does so an eighth longer than the answer takes, and a quarter of a second at most.
_FIRST_S: Final = 0.025
_LONGEST_S: Final = 0.25
_SHARE: Final = 1 / 8
#: So many flights of others it waits for, one after the other: their failures need not be its own.
_MAX_FLIGHTS: Final = 2


class Abroad:
    """Of one flight."""

    def __init__(
        self,
        state: CacheState,
        look: Look,
        place: tuple[str, bytes, bytes],
        rule: CacheRule,
        deadline_of: Callable[[Call], float],
        clock: Callable[[], float],
    ) -> None:
        """`look`: what was looked up before it set out; `place`: team, key and flight; `deadline_of` a call and `clock`
        are in monotonic seconds.
        """
        self.lead: Lead | None = look.take()  #: others wait for this one
        self.stored: Stored | None = None  #: what another replica's flight brought
        self._state = state
        self._place = place
        self._rule = rule
        self._deadline_of = deadline_of
        self._clock = clock
        self._holders = {look.holder} if look.fate == "flying" else set()

    async def ask(self, call: Call, next: Handler) -> Answer:
        """Another's answer, or one of one's own. Raises UpstreamTimeout, and what `next` does."""
        if self._holders:
            self.stored = await self._wait(call)
        if self.stored is None:
            return await next(call)
        call.cost_nusd, call.cache = 0, CacheNote("coalesced", saved_nusd=self.stored.cost_nusd)
        return Answer(200, JSON_HEADERS, "cache:coalesced", body=self.stored.body)

    def over(self) -> None:
        """The flight is: unless its answer was stored, the next one may try."""
        if self.lead is not None:
            self.lead.free()

    def in_vain(self) -> None:
        """Its answer is none that others may be given."""
        if self.lead is not None:
            self.lead.in_vain()

    async def _wait(self, call: Call) -> Stored | None:
        came_at, deadline_at = self._clock(), self._deadline_of(call)
        try:
            async with asyncio.timeout(None if deadline_at == inf else deadline_at - came_at):
                while True:
                    waited_s = self._clock() - came_at
                    await asyncio.sleep(min(_LONGEST_S, max(_FIRST_S, waited_s * _SHARE)))
                    is_over, stored = await self._look_again()
                    if is_over:
                        return stored
        except TimeoutError:
            raise UpstreamTimeout(
                "The model did not answer in time, nor another replica that asks for the same."
            ) from None
        finally:
            call.queued_s += self._clock() - came_at  # no time of ours, and no provider's of its own

    async def _look_again(self) -> tuple[bool, Stored | None]:
        """Need nobody wait any longer, and what came."""
        team, key, flight = self._place
        look = self._state.look(team, key, flight)
        if look is None:
            return True, None
        try:
            stored = await self._state.find(team, key, self._rule, self._state.wall_clock(), look)
            if look.fate != "flying":
                self.lead = look.take()
                return True, stored
            self._holders.add(look.holder)
            return stored is not None or len(self._holders) > _MAX_FLIGHTS, stored
        finally:
            look.leave()
