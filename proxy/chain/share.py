"""What one replica lets in by itself while the state that it shares with others can't be asked: its part of every rate,
and a bounded grant of every quota. A call that is admitted here is settled here; the books have all of it later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from proxy.accounting import Allowance, Limits, MeterName
from proxy.call import Call, Principal, ResponseHeaders
from proxy.chain.limits import Limiter, Meters
from proxy.chain.quota import Cover, describe
from proxy.errors import QuotaUnknown
from proxy.observe import Metrics

#: So long after it is back, in seconds, all that was admitted without it is in its books: the ledger tries again every
#: half minute at the least.
_SETTLED_AFTER_S: Final = 40.0
_DEGRADED: Final = (b"x-ratelimit-degraded", b"1")

_Place = tuple[tuple[str, ...], str]  # a quota's owner and name


@dataclass(slots=True)
class _Spent:
    used: int = 0
    reserved: int = 0


class Allotments:
    """What was spent of the grants since the outage began. Outlives worlds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self.is_refused = False  #: is the shared state there, and takes no claims? One that is full is
        self._clock = clock
        self._spent: dict[_Place, _Spent] = {}
        self._back_at: float | None = None  # since when the shared state has been there again, without a break

    def spent(self, allowance: Allowance) -> _Spent:
        """What was spent of this one's grant."""
        return self._spent.setdefault((allowance.terms.owner, allowance.terms.name), _Spent())

    def missed(self) -> None:
        """The shared state is away."""
        self._back_at = None

    def heard(self) -> None:
        """It is there. Some seconds later nothing is left of what was granted without it, and the next outage begins
        with all of it: so one that comes and goes is granted no more than one that lasts.
        """
        if not self._spent:
            return
        if self.is_refused:
            self._back_at = None
            return
        now = self._clock()
        if self._back_at is None or any(one.reserved for one in self._spent.values()):
            self._back_at = now
        elif now - self._back_at >= _SETTLED_AFTER_S:
            self._spent.clear()


class Allotment:
    """What one call holds of the grants. See `proxy.call.Claim`, and `proxy.accounting.Reserve`."""

    __slots__ = ("_allotments", "_allowances", "_nusd", "_part", "_tokens")

    def __init__(self, allotments: Allotments, allowances: Sequence[Allowance], part: float) -> None:
        """`part`: of each quota, what this replica may spend."""
        self._allotments = allotments
        self._allowances = allowances
        self._part = part
        self._nusd = self._tokens = 0

    def extend(self, nusd: int, tokens: int, exempt: Allowance | None = None) -> Allowance | None:
        """Reserve so much more of each, or of none. Gives the one that has no room; None: it is done."""
        for one in self._allowances:
            amount, spent = nusd if one.terms.unit == "usd" else tokens, self._allotments.spent(one)
            granted = max(1, int(one.size * self._part)) - spent.used
            # What was spent when it was seen last is spent, whoever granted what.
            if one is not exempt and 0 < amount > min(granted, one.size - one.used) - spent.reserved:
                return one
        self._add(nusd, tokens)
        return None

    def settle(self, call: Call, cost_nusd: int, tokens: int) -> bool:
        """See `Claim`."""
        for one in self._allowances:
            self._allotments.spent(one).used += cost_nusd if one.terms.unit == "usd" else tokens
        self.release()
        return False

    def release(self) -> None:
        """Free what is reserved."""
        self._add(-self._nusd, -self._tokens)

    def _add(self, nusd: int, tokens: int) -> None:
        for one in self._allowances:
            self._allotments.spent(one).reserved += nusd if one.terms.unit == "usd" else tokens
        self._nusd += nusd
        self._tokens += tokens


class Share:
    """One a world."""

    def __init__(
        self,
        meters: Meters,
        limits: Mapping[MeterName, Limits],
        allotments: Allotments,
        grant: float | None,
        replicas: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        """`grant`: of each quota, what all replicas together may spend; None: nothing. `replicas`: how many there were
        when that was known last.
        """
        self._meters = meters
        self._limits = limits
        self.allotments = allotments
        self._grant = grant
        self._replicas = replicas
        self._metrics = metrics
        self._limiter: Limiter | None = None
        self._parts = 0  # by how many the limits are divided

    def enter(
        self,
        call: Call,
        principal: Principal,
        allowances: Sequence[Allowance],
        bound: Callable[[int], tuple[int, int]],
    ) -> None:
        """Let a call in. `bound`: see `Cover`. Raises RateLimited, QuotaUnknown."""
        limiter = self._limiter_now()
        try:
            hold = limiter.enter(call, principal)
        finally:
            call.rate_headers = partial(_degraded, call.rate_headers)
        if not allowances:
            return
        allotment = self._allot(allowances)
        short = allowances[0] if allotment is None else allotment.extend(*bound(0))
        if allotment is None or short is not None:
            if hold is not None:
                limiter.cancel(hold)
            raise self._refuse(call, principal.team, short or allowances[0])
        call.claim = allotment
        call.cover = Cover(allotment, bound).cover

    def cover(self, call: Call, allowances: Sequence[Allowance], nusd: int, tokens: int) -> bool:
        """Is there room in the grants for one more attempt of a call that all admitted? Freed when it is over."""
        allotment = self._allot(allowances)
        if allotment is None or allotment.extend(nusd, tokens) is not None:
            return False
        call.closing.callback(allotment.release)
        return True

    def _allot(self, allowances: Sequence[Allowance]) -> Allotment | None:
        if self._grant is None:
            return None
        self.allotments.missed()
        return Allotment(self.allotments, allowances, self._grant / max(1, self._replicas()))

    def _limiter_now(self) -> Limiter:
        parts = max(1, self._replicas())
        if self._limiter is None or parts != self._parts:
            limits = {name: _part_of(one, parts) for name, one in self._limits.items()}
            self._meters.adapt(limits)
            self._limiter, self._parts = Limiter(self._meters, limits, self._metrics), parts
        return self._limiter

    def _refuse(self, call: Call, team: str, short: Allowance) -> QuotaUnknown:
        call.limited_by = short.terms.name
        self._metrics.limit_refused(team, short.terms.name)
        spent = " and what this gateway may spend of it without knowing is spent" if self._grant is not None else ""
        return QuotaUnknown(f"{describe(short)} can't be looked up just now{spent}. Try again in a moment.")


def _part_of(limits: Limits, parts: int) -> Limits:
    """At least 1 of each."""
    rpm, tpm, concurrency = (
        None if size is None else max(1, size // parts) for size in (limits.rpm, limits.tpm, limits.concurrency)
    )
    return Limits(rpm, tpm, concurrency)


def _degraded(inner: Callable[[], ResponseHeaders] | None) -> ResponseHeaders:
    return [_DEGRADED] if inner is None else [*inner(), _DEGRADED]
