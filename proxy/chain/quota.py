"""Quotas: money and tokens a day, a week or a month, of a team and of a key, all or nothing.

A call reserves what it may come to at most, so that no quota is exceeded however many calls there are at once; what it
came to is counted where it is booked (`bookkeeping.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Final, Protocol

from proxy.accounting import Allowance, Ceiling, Quotas, Raise, Reserve
from proxy.accounting.usd import USD
from proxy.call import Answer, Call, Handler
from proxy.chain.bookkeeping import Journal
from proxy.chain.scale import Scale
from proxy.errors import BooksFull, QuotaSpent
from proxy.observe import Metrics
from proxy.state import Registry
from proxy.wire.embeddings import EmbeddingsRequest

#: When calls that are under way hold the rest of a quota: nobody knows how soon they end.
_NEXT_TRY_S: Final = 1.0


class Grants:
    """Keeps quotas up to date with the clock, and with what was granted on top of them."""

    def __init__(self, quotas: Quotas, registry: Registry | None) -> None:
        """`registry`: None grants nothing."""
        self._quotas = quotas
        self._registry = registry
        self._version: int | None = None

    def advance(self, now_s: float) -> None:
        """Make quotas what they are now (Unix time), by what the registry found when it was refreshed last."""
        registry = self._registry
        if registry is not None and registry.version != self._version:
            self._version = registry.version
            self._quotas.grant(
                [Raise(one.team, one.quota, one.amount, one.until_ms / 1000) for one in registry.grants_in_force(now_s)]
            )
        self._quotas.advance(now_s)

    def look(self, now_s: float) -> None:
        """The same by what the registry has now. Raises StateFailed."""
        if self._registry is not None:
            self._registry.refresh()
        self.advance(now_s)


class Spending:
    """The layer behind the rates, one a world, and only in worlds that have quotas."""

    def __init__(
        self,
        quotas: Quotas,
        grants: Grants,
        scales: Mapping[str, Scale],
        journal: Journal | None,
        metrics: Metrics,
        wall_clock: Callable[[], float],
        cached: Container[str] = (),
    ) -> None:
        """`scales` by configured model; `wall_clock` gives Unix time; `cached`: the models that have a cache."""
        self._quotas = quotas
        self._grants = grants
        self._scales = scales
        self._journal = journal
        self._metrics = metrics
        self._wall_clock = wall_clock
        self._cached = cached

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Reserve, then go on. Raises QuotaSpent, and BooksFull."""
        principal = call.principal
        if principal is not None:
            now_s = call.began_at  # a call counts where it began, and that is where it reserves
            self._grants.advance(now_s)
            if self._quotas.gate(principal.team, principal.key_name, call.model):
                self._enter(call, principal.team, principal.key_name, now_s)
        return await next(call)

    def _enter(self, call: Call, team: str, key_name: str, now_s: float) -> None:
        """One step of the event loop, nothing is awaited: what is checked here is still so when it is taken."""
        if self._journal is not None and not self._journal.has_room:
            raise books_full()
        exempt: Allowance | None = None
        while True:
            allowances = self._quotas.gate(team, key_name, call.model)
            scale = self._scales[call.model]
            input_tokens, output_tokens = scale.tokens(call)
            nusd, tokens = scale.ceiling.nusd(input_tokens, output_tokens, now_s), input_tokens + output_tokens
            reserve = Reserve(allowances)
            short = reserve.extend(nusd, tokens, exempt)
            if short is None:
                break
            # Another model's embeddings would be of no use beside those that the caller has.
            down = None if isinstance(call.request, EmbeddingsRequest) else short.terms.downgrade_to
            if down is None or exempt is not None:
                amount = nusd if short.terms.unit == "usd" else tokens
                refusal = partial(refuse, call, team, short, amount, now_s, self._quotas, self._metrics)
                if call.model in self._cached and _leaves_cache(allowances, nusd, tokens, exempt):
                    call.unpaid = refusal
                    return
                raise refusal()
            exempt = short
            if call.model != down:
                call.downgraded_from, call.model = call.model, down
        call.closing.callback(reserve.release)
        call.on_last_byte.append(reserve.release)
        bound = partial(bound_of, scale.ceiling, self._wall_clock, input_tokens, output_tokens)
        call.cover = Cover(reserve, bound, exempt).cover


def bound_of(
    ceiling: Ceiling, wall_clock: Callable[[], float], input_tokens: int, output_tokens: int, more_tokens: int
) -> tuple[int, int]:
    """Nano-dollars and tokens of one more attempt at most, with so many tokens of input more."""
    input_tokens += more_tokens
    return ceiling.nusd(input_tokens, output_tokens, wall_clock()), input_tokens + output_tokens


def books_full() -> BooksFull:
    """The refusal while the disk takes nothing."""
    return BooksFull("This gateway cannot record what calls cost just now, so calls with a quota have to wait.")


def refuse(
    call: Call, team: str, short: Allowance, amount: int, now_s: float, quotas: Quotas, metrics: Metrics
) -> QuotaSpent:
    """The refusal of a call that may come to so much, which this quota has no room for; counted, and told."""
    terms = short.terms
    call.limited_by = terms.name
    metrics.limit_refused(team, terms.name)
    text = describe(short)
    if short.used + amount <= short.size:
        error = QuotaSpent(
            f"{text} is nearly spent: calls that are under way have reserved the rest of it. Try again in a moment."
        )
        error.retry_after_s, error.should_retry = _NEXT_TRY_S, True
        return error
    if amount > short.size:  # whoever asks for too much does not spend it: nobody is told, and waiting is no use
        return QuotaSpent(
            f"{text} is smaller than what this call may take, {_amount(amount, terms.unit)}; a smaller "
            "'max_tokens' takes less, and whoever runs this gateway can raise the quota."
        )
    quotas.spent(short)
    left = _amount(max(0, short.size - short.used), terms.unit)
    error = QuotaSpent(
        f"{text} has too little left: {left}, and this call may take {_amount(amount, terms.unit)}; a smaller "
        "'max_tokens' takes less. There is more when the period ends, and whoever runs this gateway can raise it."
    )
    error.retry_after_s = max(1.0, float(ceil(short.end_s - now_s)))
    return error


def describe(allowance: Allowance) -> str:
    """A quota as refusals begin: `Your team's quota of $500.00 per month`."""
    terms = allowance.terms
    whose = "team" if len(terms.owner) == 1 else "key"
    text = f"Your {whose}'s quota of {_amount(allowance.size, terms.unit)} per {terms.per}"
    return text if terms.models is None else f"{text} for {', '.join(sorted(terms.models))}"


def _leaves_cache(allowances: Sequence[Allowance], nusd: int, tokens: int, exempt: Allowance | None) -> bool:
    """Does each quota that has no room for so much let the cache answer?"""
    return all(
        one is exempt or one.terms.is_cache_only or one.has_room(nusd if one.terms.unit == "usd" else tokens)
        for one in allowances
    )


class Reserved(Protocol):
    """See `proxy.accounting.Reserve`."""

    def extend(self, nusd: int, tokens: int, exempt: Allowance | None = None) -> Allowance | None: ...


class Cover:
    """What a call has reserved so far, and what one more attempt adds."""

    __slots__ = ("_bound", "_covered", "_exempt", "_reserve")

    def __init__(
        self, reserve: Reserved, bound: Callable[[int], tuple[int, int]], exempt: Allowance | None = None
    ) -> None:
        """`bound` gives nano-dollars and tokens of one more attempt at most, with so many tokens of input more."""
        self._reserve = reserve
        self._bound = bound
        self._exempt = exempt
        self._covered = 1  # attempts that may be billed

    async def cover(self, call: Call, more_tokens: int) -> bool:
        """See `Call.cover`: attempts that surely cost nothing need none."""
        wanted = 1 + sum(one.may_cost for one in call.attempts)
        while self._covered < wanted:
            if self._reserve.extend(*self._bound(more_tokens), self._exempt) is not None:
                return False
            self._covered += 1
        return True


def _amount(amount: int, unit: str) -> str:
    if unit == "tokens":
        return f"{amount:,} tokens"
    usd = amount / USD
    return f"${usd:,.2f}" if usd >= 1 or not amount else f"${usd:.6f}"
