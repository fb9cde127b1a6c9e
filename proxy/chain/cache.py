"""Answers from the cache, and shares upstream calls that are under way: for models with a `cache`.

A hit skips the queue and the provider and costs nothing; it is given even where a quota with `when_spent: cache_only`
is spent. Everything here is about one team and one configured model: nothing is shared beyond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf
from random import random
from time import monotonic
from typing import Final

from proxy.cache import Control, Flight, Stored, read_control, replayed
from proxy.cache.served import Hit
from proxy.call import Answer, CacheNote, Call, Handler
from proxy.chain.abroad import Abroad
from proxy.chain.asked import Asked, Route, flight_of, read_call
from proxy.chain.cache_rules import CacheRule, SemanticRule
from proxy.chain.cache_state import CacheState
from proxy.chain.catalogue import Catalogue
from proxy.chain.facts import deadline_of
from proxy.chain.keeping import stored_of
from proxy.chain.route import JSON_HEADERS, SSE_HEADERS
from proxy.chain.semantic import Semantic, Sought
from proxy.errors import CacheMiss, GatewayError, UpstreamTimeout

#: So many flights a call waits for, one after the other, before it goes on alone: their failures need not be its own.
_MAX_FLIGHTS: Final = 2
_BYPASS: Final = CacheNote("bypass")
_MISS: Final = CacheNote("miss")
_COALESCED: Final = CacheNote("coalesced")


@dataclass(slots=True)
class Caching:
    """The layer behind quotas, one a world, and only in worlds in which some model has a cache."""

    rules: Mapping[str, CacheRule]  #: by configured model
    state: CacheState
    catalogue: Catalogue
    intend: Callable[[Call], None]  #: writes down that a call may cost something
    clock: Callable[[], float]  #: monotonic seconds
    semantic: Semantic
    _flights: dict[Route, Flight] = field(default_factory=dict)

    def prefetch(self, call: Call) -> None:
        """Begin to look the call up where that takes a trip, before this layer's turn: so it goes out with what else
        is asked there.
        """
        rule, shared = self.rules.get(call.model), self.state.shared
        if rule is None or shared is None or not shared.is_fleetwide:
            return
        call.sought = asked = read_call(call, rule)
        if asked.key and asked.control.may_find:
            self._look(call, asked)

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Answer from the cache, or go on. Raises CacheMiss, QuotaSpent."""
        rule = self.rules.get(call.model)
        if rule is None:
            _check_asking(call, read_control(call.headers))
            return await next(call)
        call.cache = _BYPASS
        call.closing.callback(self._count, call)
        asked = call.sought
        if not isinstance(asked, Asked) or asked.model != call.model:
            asked = read_call(call, rule)
        control, key, team = asked.control, asked.key, asked.team
        if not key:
            _check_asking(call, control)
            return await next(call)
        sought = None
        if control.may_find:
            now_s = self.state.wall_clock()
            entry = await self._find(call, asked, now_s)
            if entry is not None and now_s - entry.stored_at <= control.max_age_s:
                return self._give_exact(call, entry, rule, Hit(team, key, entry.call_id), now_s)
            call.cache = _MISS
            if rule.semantic is not None and asked.route not in self._flights:
                sought = await self.semantic.seek(call, rule, rule.semantic, team, control.max_age_s)
                if (answer := self._known(call, rule, key, team, control)) is not None:  # it came meanwhile
                    return answer
                if sought is not None:
                    answer = self._serve(call, rule, rule.semantic, team, sought, may_ask=_may_ask(call, control))
                    if answer is not None:
                        return answer
        _check_asking(call, control)
        return await self._ask(call, next, asked, sought)

    async def _find(self, call: Call, asked: Asked, now_s: float) -> Stored | None:
        """Out of memory or the shared level; of a call that can join another one, not where that has looked before."""
        state, place = self.state, (asked.team, asked.key, asked.rule, now_s)
        if state.shared is None or not state.shared.is_fleetwide:
            return await state.find(*place)
        if asked.look is None:
            self._look(call, asked)
        if asked.look is None:
            return state.store.find(asked.key, now_s, asked.rule.ttl_s)
        return await state.find(*place, asked.look)

    def _look(self, call: Call, asked: Asked) -> None:
        """Begin to look elsewhere, unless memory has it or another call has looked before."""
        state, request = self.state, call.request
        if asked.route in self._flights or state.store.find(asked.key, state.wall_clock(), asked.rule.ttl_s):
            return
        look = asked.look = state.look(asked.team, asked.key, None if request.stream else flight_of(asked.route))
        if look is not None:
            call.closing.callback(look.leave)

    def _known(self, call: Call, rule: CacheRule, key: bytes, team: str, control: Control) -> Answer | None:
        """The answer to the very same request, if memory has it by now."""
        now_s = self.state.wall_clock()
        entry = self.state.store.find(key, now_s, rule.ttl_s)
        if entry is None or now_s - entry.stored_at > control.max_age_s:
            return None
        return self._give_exact(call, entry, rule, Hit(team, key, entry.call_id), now_s)

    def _serve(
        self, call: Call, rule: CacheRule, terms: SemanticRule, team: str, sought: Sought, *, may_ask: bool
    ) -> Answer | None:
        """The answer to a question that means the same, if it is sure enough. `may_ask`: see `Semantic.decide`."""
        entry, match = self.semantic.decide(sought, terms, may_ask=may_ask), sought.seen.match
        if entry is None or match is None:
            call.spare = partial(self._spare, call, rule, team, sought)
            return None
        age_s = _age(entry, self.state.wall_clock())
        call.cache = CacheNote("semantic", age_s, entry.cost_nusd, match.probability)
        return self._give(
            call, entry, rule, Hit(team, match.entry_id, entry.call_id, match.probability, sought.calibrator)
        )

    def _give_exact(self, call: Call, entry: Stored, rule: CacheRule, hit: Hit, now_s: float) -> Answer:
        call.cache = CacheNote("exact", _age(entry, now_s), entry.cost_nusd)
        return self._give(call, entry, rule, hit)

    def _give(self, call: Call, entry: Stored, rule: CacheRule, hit: Hit) -> Answer:
        self.state.served.add(hit, call.id, call.request_id)
        call.cost_nusd = 0
        return self._answer(call, entry, rule)

    def _answer(self, call: Call, entry: Stored, rule: CacheRule) -> Answer:
        request, source = call.request, f"cache:{'exact' if call.cache is None else call.cache.result}"
        if not request.stream:
            return Answer(200, JSON_HEADERS, source, body=entry.body)
        blocks = replayed(entry, include_usage=request.include_usage, pace=rule.pace)
        return Answer(200, SSE_HEADERS, source, blocks=blocks)

    async def _spare(self, call: Call, rule: CacheRule, team: str, sought: Sought) -> Answer | None:
        """See `Call.spare`. Nobody promised anything of it, so whoever complains of it teaches nothing."""
        entry, match = await self.semantic.spare(sought, rule), sought.seen.match
        if entry is None or match is None:
            return None
        self.state.served.add(Hit(team, match.entry_id, entry.call_id), call.id, call.request_id)
        return self._answer(call, entry, rule)

    async def _ask(self, call: Call, next: Handler, asked: Asked, sought: Sought | None) -> Answer:
        for _ in range(_MAX_FLIGHTS if asked.control.may_find else 0):
            flight = self._flights.get(asked.route)
            if flight is None:
                break
            answer = await self._ride(call, flight, asked.key)
            if answer is not None:
                return answer
            if call.attempts:  # it has paid for one: what it still may try is its own
                break
        return await self._lead(call, next, asked, sought)

    async def _ride(self, call: Call, flight: Flight, key: bytes) -> Answer | None:
        """Wait with another call. None: nothing came of it that this one should take for its own."""
        flight.board(call)
        deadline_at, came_at = self._deadline_of(call), self.clock()
        try:
            async with asyncio.timeout(None if deadline_at == inf else deadline_at - came_at):
                await flight.begun()
        except TimeoutError:
            raise UpstreamTimeout(
                "The model did not answer in time, nor another call that asks for the same."
            ) from None
        call.queued_s += self.clock() - came_at  # no time of ours, and no provider's of its own
        is_payer, error = flight.is_paid_by(call), flight.error  # have those before it left? Then it is its own by now
        has_failed = flight.call.failed_status is not None and not is_payer
        if has_failed or (error is not None and not _is_for_all(error, call, flight.call)):
            (flight.pay if is_payer else flight.get_off)(call)
            call.fallback = call.failed_status = call.error = None
            return None
        if not is_payer:
            call.fallback = flight.call.fallback
            self._shared(call, flight, key)
        return flight.give(call)

    async def _lead(self, call: Call, next: Handler, asked: Asked, sought: Sought | None) -> Answer:
        look, route, abroad = asked.look, asked.route, None
        if look is not None and look.fate in ("lead", "flying") and (flight_id := flight_of(route)):
            place = asked.team, asked.key, flight_id
            abroad = Abroad(self.state, look, place, asked.rule, self._deadline_of, self.clock)
        purges, set_out_at = self.state.purges, self.clock()

        def landed(flight: Flight) -> None:
            if abroad is not None and abroad.stored is not None:
                flight.brought_by = abroad.stored.call_id  # it is kept by who found it
            else:
                self._keep(flight, asked, sought, purges, set_out_at, abroad)

        def over(flight: Flight) -> None:
            if self._flights.get(route) is flight:
                del self._flights[route]
            if abroad is not None:
                abroad.over()

        handler = next if abroad is None else partial(abroad.ask, next=next)
        flight = Flight(call, handler, self.state.shelf, landed, over, self.intend)
        flight.board(call)
        if asked.control.may_find:
            self._flights.setdefault(route, flight)
        await flight.begun()
        if flight.call.cache is not None:
            self._shared(call, flight, asked.key)
        return flight.give(call)

    def _keep(
        self,
        flight: Flight,
        asked: Asked,
        sought: Sought | None,
        purges: int,
        set_out_at: float,
        abroad: Abroad | None,
    ) -> None:
        """It has brought an answer: store it, if it is worth it, and learn from it."""
        state, rule, key = self.state, asked.rule, asked.key
        stored, is_kept, terms = stored_of(flight, rule.scope, state.wall_clock(), self.clock()), False, rule.semantic
        if stored is not None and not state.has_purged(purges, stored.team):
            indexed = None if sought is None or terms is None else self.semantic.indexed(sought, stored, terms)
            lead = None if abroad is None else abroad.lead
            is_kept = state.add(key, stored, rule, self.clock() - set_out_at, lead, indexed)
        if is_kept and stored is not None:
            state.served.add(Hit(stored.team, key, stored.call_id), stored.call_id, stored.request_id)
        elif abroad is not None:
            abroad.in_vain()
        state.counts.events["stored" if is_kept else "unfit"] += 1
        if sought is not None and stored is not None and terms is not None:
            self.semantic.landed(sought, key, stored, terms, is_kept)

    def _shared(self, call: Call, flight: Flight, key: bytes) -> None:
        """It is given an answer that another call has brought, of this replica or another."""
        call.cache = flight.call.cache or _COALESCED
        call.cost_nusd = 0
        if call.principal is not None and call.fallback != "cache":
            self.state.served.add(Hit(call.principal.team, key, flight.brought_by), call.id, call.request_id)

    def _deadline_of(self, call: Call) -> float:
        return deadline_of(call, self.catalogue[call.model])

    def _count(self, call: Call) -> None:
        """It is over: who leads a flight by then may have joined it, and what is saved is known."""
        note, counts = call.cache, self.state.counts
        if note is None:
            return
        saved_nusd = note.saved_nusd if call.error is None else 0
        counts.saved_nusd += saved_nusd
        if note.result == "semantic":
            counts.semantic.saved_nusd += saved_nusd
        else:
            counts.events["hit" if note.result == "exact" else note.result] += 1


def caching_of(
    rules: Mapping[str, CacheRule], state: CacheState, catalogue: Catalogue, intend: Callable[[Call], None]
) -> Caching | None:
    """The layer of one world; None if no model has a cache."""
    return Caching(rules, state, catalogue, intend, monotonic, Semantic(state, random)) if rules else None


def _age(entry: Stored, now_s: float) -> int:
    return max(0, int(now_s - entry.stored_at))


def _may_ask(call: Call, control: Control) -> bool:
    return not control.only_if_cached and call.unpaid is None


def _check_asking(call: Call, control: Control) -> None:
    """May a provider be asked for this call? Raises what is in the way."""
    if control.only_if_cached:
        raise CacheMiss(
            "There is no stored answer to this request, and 'cache-control: only-if-cached' forbids asking for one."
        )
    if call.unpaid is not None:
        raise call.unpaid()


def _is_for_all(error: GatewayError, call: Call, asked: Call) -> bool:
    """Would this call meet the same error as the one that asked? Fields that the key leaves out may be at fault too."""
    is_ours = error.status < 500 and error.status not in (408, 429, 499)
    return is_ours and call.request.body == asked.request.body
