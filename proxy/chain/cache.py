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
from typing import Any, Final

import orjson

from proxy.cache import Control, Flight, Stored, is_eligible, key_of, read_control, replayed, unfit
from proxy.cache.served import Hit
from proxy.call import Answer, CacheNote, Call, Handler
from proxy.chain.cache_state import CacheRule, CacheState
from proxy.chain.catalogue import Catalogue
from proxy.chain.facts import deadline_of
from proxy.chain.route import JSON_HEADERS, SSE_HEADERS
from proxy.chain.semantic import Semantic, Sought
from proxy.errors import CacheMiss, GatewayError, UpstreamTimeout
from proxy.wire.replay import completion_from

#: So many flights a call waits for, one after the other, before it goes on alone: their failures need not be its own.
_MAX_FLIGHTS: Final = 2
_BYPASS: Final = CacheNote("bypass")
_MISS: Final = CacheNote("miss")
_COALESCED: Final = CacheNote("coalesced")

#: Key, is it a stream, and does it end with its usage? Only calls whose answers are the same bytes share one.
_Route = tuple[bytes, bool, bool]


@dataclass(slots=True)
class Caching:
    """The layer behind quotas, one a world, and only in worlds in which some model has a cache."""

    rules: Mapping[str, CacheRule]  #: by configured model
    state: CacheState
    catalogue: Catalogue
    intend: Callable[[Call], None]  #: writes down that a call may cost something
    clock: Callable[[], float]  #: monotonic seconds
    semantic: Semantic
    _flights: dict[_Route, Flight] = field(default_factory=dict)

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Answer from the cache, or go on. Raises CacheMiss, QuotaSpent."""
        rule, control = self.rules.get(call.model), read_control(call.headers)
        key = None
        if rule is not None:
            call.cache = _BYPASS
            team = "" if call.principal is None else call.principal.team
            if control.may_store and is_eligible(call.request, is_sampled=rule.is_sampled):
                key = key_of(rule.scope, team, call.request.body)
        if rule is None or key is None:
            if rule is not None:
                self.state.counts.events["bypass"] += 1
            _check_asking(call, control)
            return await next(call)
        if control.may_find:
            now_s = self.state.wall_clock()
            entry = await self.state.find(key, rule, now_s)
            if entry is not None and now_s - entry.stored_at <= control.max_age_s:
                self.state.counts.events["hit"] += 1
                call.cache = CacheNote("exact", _age(entry, now_s), entry.cost_nusd)
                return self._give(call, entry, rule, Hit(team, key))
            call.cache = _MISS
        route, sought = (key, call.request.stream, call.request.include_usage), None
        if rule.semantic is not None and control.may_find and route not in self._flights:
            sought = await self.semantic.seek(call, rule, rule.semantic, team, control.max_age_s)
            entry = None if sought is None else self.semantic.decide(sought, rule.semantic)
            if sought is not None and entry is not None:
                age_s = _age(entry, self.state.wall_clock())
                call.cache = CacheNote("semantic", age_s, entry.cost_nusd, sought.probability)
                assert sought.seen.match is not None, "an answer is some match's"
                hit = Hit(team, sought.seen.match.entry_id, sought.probability, sought.calibrator)
                return self._give(call, entry, rule, hit)
        _check_asking(call, control)
        if sought is not None:
            call.spare = partial(self._spare, call, rule, sought)
        self.state.counts.events["miss" if control.may_find else "bypass"] += 1
        return await self._ask(call, next, rule, route, control, sought)

    def _give(self, call: Call, entry: Stored, rule: CacheRule, hit: Hit) -> Answer:
        self.state.served.add(hit, call.id, call.request_id)
        call.cost_nusd = 0
        self.state.counts.saved_nusd += entry.cost_nusd
        return self._answer(call, entry, rule)

    def _answer(self, call: Call, entry: Stored, rule: CacheRule) -> Answer:
        request, source = call.request, f"cache:{'exact' if call.cache is None else call.cache.result}"
        if not request.stream:
            return Answer(200, JSON_HEADERS, source, body=entry.body)
        blocks = replayed(entry, include_usage=request.include_usage, pace=rule.pace)
        return Answer(200, SSE_HEADERS, source, blocks=blocks)

    async def _spare(self, call: Call, rule: CacheRule, sought: Sought) -> Answer | None:
        """See `Call.spare`."""
        entry = self.semantic.spare(sought)
        return None if entry is None else self._answer(call, entry, rule)

    async def _ask(
        self, call: Call, next: Handler, rule: CacheRule, route: _Route, control: Control, sought: Sought | None
    ) -> Answer:
        for _ in range(_MAX_FLIGHTS if control.may_find else 0):
            flight = self._flights.get(route)
            if flight is None:
                break
            answer = await self._ride(call, flight)
            if answer is not None:
                return answer
        return await self._lead(call, next, rule, route, control.may_find, sought)

    async def _ride(self, call: Call, flight: Flight) -> Answer | None:
        """Wait with another call. None: nothing came of it that this one should take for its own."""
        flight.board(call)
        deadline_at = deadline_of(call, self.catalogue[call.model])
        try:
            await asyncio.wait_for(flight.begun(), None if deadline_at == inf else deadline_at - self.clock())
        except TimeoutError:
            raise UpstreamTimeout(
                "The model did not answer in time, nor another call that asks for the same."
            ) from None
        if flight.is_paid_by(call):  # those before it have left: it is its own by now
            return flight.give(call)
        error = flight.error
        if flight.call.failed_status is not None or (error is not None and not _is_for_all(error)):
            flight.get_off(call)
            return None
        call.cache = _COALESCED
        self.state.counts.events["miss"] -= 1
        self.state.counts.events["coalesced"] += 1
        call.closing.callback(self._count_saved, call)
        call.fallback = flight.call.fallback
        call.cost_nusd = 0
        return flight.give(call)

    async def _lead(
        self, call: Call, next: Handler, rule: CacheRule, route: _Route, is_shared: bool, sought: Sought | None
    ) -> Answer:
        state = self.state
        key, purges = route[0], state.purges

        def landed(flight: Flight) -> None:
            stored = _stored_of(flight, rule.scope, state.wall_clock(), self.clock())
            is_kept = stored is not None and purges == state.purges and state.add(key, stored, rule)
            state.counts.events["stored" if is_kept else "unfit"] += 1
            if sought is not None and stored is not None and rule.semantic is not None:
                self.semantic.landed(sought, key, stored, rule.semantic, is_kept)

        def over(flight: Flight) -> None:
            if self._flights.get(route) is flight:
                del self._flights[route]

        flight = Flight(call, next, state.shelf, landed, over, self.intend)
        flight.board(call)
        if is_shared:
            self._flights.setdefault(route, flight)
        await flight.begun()
        return flight.give(call)

    def _count_saved(self, call: Call) -> None:
        if call.error is None and call.cache is not None and call.cache.is_hit:
            self.state.counts.saved_nusd += call.cache.saved_nusd


def caching_of(
    rules: Mapping[str, CacheRule], state: CacheState, catalogue: Catalogue, intend: Callable[[Call], None]
) -> Caching | None:
    """The layer of one world; None if no model has a cache."""
    return Caching(rules, state, catalogue, intend, monotonic, Semantic(state, random)) if rules else None


def _age(entry: Stored, now_s: float) -> int:
    return max(0, int(now_s - entry.stored_at))


def _check_asking(call: Call, control: Control) -> None:
    """May a provider be asked for this call? Raises what is in the way."""
    if control.only_if_cached:
        raise CacheMiss(
            "There is no stored answer to this request, and 'cache-control: only-if-cached' forbids asking for one."
        )
    if call.unpaid is not None:
        raise call.unpaid()


def _is_for_all(error: GatewayError) -> bool:
    """Would the same request meet the same again?"""
    return error.status < 500 and error.status not in (408, 429, 499)


def _stored_of(flight: Flight, scope: bytes, now_s: float, at: float) -> Stored | None:
    """The answer as it is to be kept; None if it is not worth it. `at`: monotonic seconds."""
    call, answer = flight.call, flight.answer
    if answer is None or answer.status != 200 or call.fallback is not None or call.is_rescued or call.principal is None:
        return None
    document, body = _read(flight, answer)
    if document is None or unfit(document, len(body)) is not None:
        return None
    answer_id = document.get("id")
    return Stored(
        body,
        call.principal.team,
        call.model,
        scope,
        call.id,
        call.request_id,
        answer_id if isinstance(answer_id, str) else "",
        now_s,
        call.cost_nusd or 0,
        0.0 if flight.began_at is None or answer.blocks is None else at - flight.began_at,
    )


def _read(flight: Flight, answer: Answer) -> tuple[dict[str, Any] | None, bytes]:
    """A whole answer, parsed and as JSON."""
    if answer.blocks is None:
        return orjson.loads(answer.body), answer.body
    document = completion_from(flight.reel.contents, flight.call.usage) if flight.reel.is_whole else None
    return document, b"" if document is None else orjson.dumps(document)
