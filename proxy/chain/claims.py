"""Rates and quotas that many processes share: all of a call's are claimed in one trip, before a provider is asked. The
layer takes the place of `limits.py` and `quota.py`, computes what they do, and refuses with their words.

What a call claims is settled by the bookkeeper, once, whatever becomes of the call; nobody waits for it. A claim of
which nobody knows whether it was made is given up. While the shared state is away, calls are let in by `share.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from proxy.accounting import Allowance, Calendar, Lengths, Limits, MeterName, Quotas, Shortage
from proxy.accounting.reserve import Limit
from proxy.call import Answer, Call, Handler, Principal
from proxy.chain.bookkeeping import Journal
from proxy.chain.limits import REQUEST_HEADERS, TOKEN_HEADERS, Meters, duration, refuse, tokens_of, tokens_used
from proxy.chain.quota import Grants, books_full, bound_of
from proxy.chain.quota import refuse as refuse_quota
from proxy.chain.scale import Scale
from proxy.chain.share import Share
from proxy.errors import GatewayError, QuotaSpent
from proxy.observe import Metrics
from proxy.state import (
    Claimed,
    ClaimStore,
    ClaimTerms,
    Intent,
    QuotaPlace,
    RateTerms,
    StateAway,
    StateFailed,
    Verdict,
    encode_entry,
)
from proxy.wire.embeddings import EmbeddingsRequest

#: Where the name and the expiry of a period stand in `Calendar.counted`.
_AT: Final = {"day": 0, "week": 2, "month": 4}
_LIMITS: Final[tuple[Limit, ...]] = ("rpm", "tpm", "concurrency")

_logger = logging.getLogger(__name__)


def rates_of(limits: Mapping[MeterName, Limits]) -> dict[MeterName, tuple[RateTerms, ...]]:
    """What the calls of each team and key must fit: the team's rates, then the key's own."""

    def terms(name: MeterName) -> tuple[RateTerms, ...]:
        one = limits.get(name)
        return () if one is None else (RateTerms("".join(name[1:]), one.rpm or 0, one.tpm or 0, one.concurrency or 0),)

    return {name: terms(name) if len(name) == 1 else terms(name[:1]) + terms(name) for name in limits}


def place_of(allowance: Allowance, periods: Sequence[str | int]) -> QuotaPlace:
    """Where a quota is counted. `periods`: see `Calendar.counted`."""
    terms = allowance.terms
    at = _AT[terms.per]
    return QuotaPlace(
        str(periods[at]), int(periods[at + 1]), terms.counter, allowance.size, is_cache_only=terms.is_cache_only
    )


@dataclass(slots=True)
class _Held:
    """What one call claimed. See `proxy.call.Claim`."""

    store: ClaimStore
    terms: ClaimTerms
    periods: Sequence[str | int]
    lengths: Lengths | None  #: None: no tokens of a minute
    is_made: bool = False
    has_quotas: bool = False

    def settle(self, call: Call, cost_nusd: int, tokens: int) -> bool:
        """See `Claim`."""
        team, principal = self.terms.team, call.principal
        if not self.is_made or principal is None:
            self.store.void(team, call.id)
            return False
        used_tokens = None if self.lengths is None else tokens_used(call, self.lengths)
        spent = cost_nusd, tokens
        self.store.settle(team, call.id, used_tokens, principal.key_name, call.model, spent, self.periods)
        return self.has_quotas


@dataclass(slots=True)
class _Asked:
    """What a call asks for, and has reserved of its quotas so far."""

    claims: Claims
    terms: ClaimTerms
    allowances: Sequence[Allowance]
    bound: Callable[[int], tuple[int, int]]  #: see `bound_of`
    nusd: int  #: what its first attempt may come to
    tokens: int  #: the same
    exempt: int  #: number of the quota that it is exempt from, 0: none
    covered: int = 1  #: attempts that may be billed

    async def cover(self, call: Call, more_tokens: int) -> bool:
        """See `Call.cover`."""
        wanted = 1 + sum(one.may_cost for one in call.attempts)
        while self.covered < wanted:
            bound, next_one = self.bound(more_tokens), self.covered + 1
            try:
                has_room = await self.claims.store.extend(self.terms, call.id, next_one, bound, self.exempt)
            except StateFailed:
                has_room = self.claims.share.cover(call, self.allowances, *bound)
            if not has_room:
                return False
            self.covered = next_one
        return True


@dataclass(slots=True)
class Claims:
    """The layer behind tiers, one a world. Calls without limits and quotas pass at once."""

    store: ClaimStore
    share: Share
    rates: Mapping[MeterName, tuple[RateTerms, ...]]  #: see `rates_of`
    meters: Meters  #: know how long answers are
    quotas: Quotas
    grants: Grants
    scales: Mapping[str, Scale]  #: by configured model
    calendar: Calendar
    journal: Journal | None
    intent_of: Callable[[Call], Intent]  #: what is written down of a call before a provider is asked
    metrics: Metrics
    wall_clock: Callable[[], float]  #: Unix time
    cached: Container[str] = ()  #: the models that have a cache
    #: Called just before a call waits: what it sends goes the same way in the same packet.
    prefetch: Callable[[Call], None] | None = None
    _made: dict[tuple[str, str, str], tuple[Sequence[Allowance], ClaimTerms]] = field(default_factory=dict)
    _periods: Sequence[str | int] = ()  # of what was made

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Claim, then go on. Raises RateLimited, QuotaSpent, BooksFull, QuotaUnknown."""
        principal = call.principal
        if principal is not None:
            self.grants.advance(call.began_at)  # a call counts where it began, and that is where it reserves
            team, key_name = principal.team, principal.key_name
            rates = self.rates.get((team, key_name)) or self.rates.get((team,), ())
            if rates or self.quotas.gate(team, key_name, call.model):
                await self._enter(call, principal, rates)
                if call.unpaid is not None:
                    return await self._ask_cache(call, team, next)
        return await next(call)

    async def _ask_cache(self, call: Call, team: str, next: Handler) -> Answer:
        """Only the cache may answer; if it can't, the call has used nothing, not even a request."""
        try:
            return await next(call)
        except QuotaSpent:
            call.claim = None
            self.store.void(team, call.id)
            raise

    async def _enter(self, call: Call, principal: Principal, rates: tuple[RateTerms, ...]) -> None:
        team, key_name = principal.team, principal.key_name
        allowances = self.quotas.gate(team, key_name, call.model)
        if allowances and self.journal is not None and not self.journal.has_room:
            raise books_full()
        lengths, tokens = None, 0
        if any(one.tpm for one in rates):
            lengths = self.meters.lengths(team, call.model)
            tokens = tokens_of(call, lengths)
        if self.prefetch is not None:
            self.prefetch(call)
        exempt: Allowance | None = None
        while True:
            asked = self._asked(call, principal, rates, exempt)
            claimed = await self._claim(call, asked, lengths, tokens)
            if claimed is None:
                self.share.enter(call, principal, asked.allowances, asked.bound)
                return
            call.rate_headers = partial(_headers, rates, claimed.standing)
            if claimed.verdict == Verdict.RATE_SHORT:
                raise self._refuse(call, team, rates, claimed, tokens)
            if self.quotas.gate(team, key_name, call.model) is asked.allowances:  # else a period has begun meanwhile
                self._refresh(asked.allowances, claimed.standing[4 * len(rates) :])
            short = self._judge(call, team, asked, claimed, exempt)
            if short is None:
                return
            exempt = short

    def _asked(
        self, call: Call, principal: Principal, rates: tuple[RateTerms, ...], exempt: Allowance | None
    ) -> _Asked:
        allowances = self.quotas.gate(principal.team, principal.key_name, call.model)
        terms, scale = self._terms_of(principal, call, rates, allowances), self.scales[call.model]
        input_tokens, output_tokens = scale.tokens(call)
        nusd = scale.ceiling.nusd(input_tokens, output_tokens, call.began_at) if allowances else 0
        bound = partial(bound_of, scale.ceiling, self.wall_clock, input_tokens, output_tokens)
        number = next((at for at, one in enumerate(allowances, 1) if one is exempt), 0)
        return _Asked(self, terms, allowances, bound, nusd, input_tokens + output_tokens, number)

    def _judge(
        self, call: Call, team: str, asked: _Asked, claimed: Claimed, exempt: Allowance | None
    ) -> Allowance | None:
        """A quota that sends the call to another model; None: it is let in. Raises QuotaSpent."""
        if claimed.verdict == Verdict.ADMITTED:
            if asked.allowances:
                call.cover = asked.cover
            return None
        short = asked.allowances[claimed.which - 1]
        amount = asked.nusd if short.terms.unit == "usd" else asked.tokens
        refusal = partial(refuse_quota, call, team, short, amount, call.began_at, self.quotas, self.metrics)
        if claimed.verdict == Verdict.CACHE_ONLY:
            call.unpaid = refusal
            return None
        # Another model's embeddings would be of no use beside those that the caller has.
        down = None if isinstance(call.request, EmbeddingsRequest) else short.terms.downgrade_to
        if down is None or exempt is not None:
            raise refusal()
        if call.model != down:
            call.downgraded_from, call.model = call.model, down
        return short

    async def _claim(self, call: Call, asked: _Asked, lengths: Lengths | None, tokens: int) -> Claimed | None:
        """What became of it; None: nobody can say. Whatever it is, the call's end frees what it holds by then."""
        store, terms, bound = self.store, asked.terms, (asked.nusd, asked.tokens)
        if self.store.is_away:
            return None
        intent = encode_entry(self.intent_of(call)) if terms.quotas else b""
        # From here on it may have been made, even if we are cancelled: then its settlement gives it up.
        call.claim = held = _Held(store, terms, self._periods, lengths)
        may_cache = call.model in self.cached
        try:
            claimed = await store.claim(terms, call.id, tokens, bound, intent, asked.exempt, may_cache=may_cache)
        except StateFailed as error:
            call.claim = None
            if isinstance(error, StateAway):  # it was on its way when the connection was lost
                store.void(terms.team, call.id)
            elif not self.share.allotments.is_refused:
                self.share.allotments.is_refused = True
                _logger.error("limits and quotas are kept by each replica for itself: %s", error)
            return None
        self.share.allotments.is_refused = False
        if claimed.verdict in (Verdict.ADMITTED, Verdict.CACHE_ONLY):
            held.is_made, held.has_quotas = True, claimed.verdict == Verdict.ADMITTED and bool(terms.quotas)
        else:
            call.claim = None
        return None if claimed.verdict == Verdict.KNOWN else claimed

    def _terms_of(
        self, principal: Principal, call: Call, rates: tuple[RateTerms, ...], allowances: Sequence[Allowance]
    ) -> ClaimTerms:
        """As long as quotas and periods are the same objects, the terms are."""
        periods = self.calendar.counted(call.counted_at)
        if periods is not self._periods:
            self._made.clear()
            self._periods = periods
        place = principal.team, principal.key_name, call.model
        made = self._made.get(place)
        if made is None or made[0] is not allowances:
            terms = self.store.terms(principal.team, rates, [place_of(one, periods) for one in allowances])
            made = self._made[place] = allowances, terms
        return made[1]

    def _refresh(self, allowances: Sequence[Allowance], standing: Sequence[int]) -> None:
        for at, one in enumerate(allowances):
            one.refresh(standing[2 * at], standing[2 * at + 1])
            self.quotas.watch(one)

    def _refuse(self, call: Call, team: str, rates: Sequence[RateTerms], claimed: Claimed, tokens: int) -> GatewayError:
        rate, limit = rates[claimed.which - 1], _LIMITS[claimed.limit - 1]
        size = (rate.rpm, rate.tpm, rate.concurrency)[claimed.limit - 1]
        wait_s = None if claimed.wait_ms < 0 else claimed.wait_ms / 1000
        short = Shortage("key" if rate.key_name else "team", limit, size, claimed.remaining, wait_s)
        return refuse(call, team, short, tokens, self.metrics)


def _headers(rates: Sequence[RateTerms], standing: Sequence[int]) -> list[tuple[bytes, bytes]]:
    """`x-ratelimit-*` as it was when the call was let in, each of the limit that leaves less."""
    headers: list[tuple[bytes, bytes]] = []
    sizes = (((one.rpm for one in rates), REQUEST_HEADERS), ((one.tpm for one in rates), TOKEN_HEADERS))
    for first, (of_each, (limit, remaining, reset)) in zip((0, 2), sizes, strict=True):
        found = [(standing[4 * at + first], at, size) for at, size in enumerate(of_each) if size]
        if found:
            left, at, size = min(found)
            headers += (
                (limit, b"%d" % size),
                (remaining, b"%d" % left),
                (reset, duration(standing[4 * at + first + 1] / 1000)),
            )
    return headers
