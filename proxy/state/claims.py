"""What calls claim of rates and quotas that many processes share: the values, and what is asked of their place."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

from proxy.state.base import Use
from proxy.state.entries import Intent


class RateTerms(NamedTuple):
    """The rates of a team, or of one key; 0: no limit."""

    key_name: str  #: empty: the team's
    rpm: int
    tpm: int
    concurrency: int


class QuotaPlace(NamedTuple):
    """One quota in one period."""

    period: str  #: such as `day:2026-11-21`
    expires_s: int  #: when its counters may be forgotten, Unix seconds
    quota: str  #: what its counter is called: `QuotaTerms.counter` of proxy/accounting
    size: int  #: nano-dollars or tokens, grants included
    is_cache_only: bool = False  #: may the cache still answer when it is spent?


@dataclass(frozen=True, slots=True)
class ClaimTerms:
    """What the calls of one key for one model must fit. Made once, for many calls."""

    team: str
    rates: tuple[RateTerms, ...]
    quotas: tuple[QuotaPlace, ...]
    words: tuple[bytes, ...]  #: the same, as it is sent


class Verdict(IntEnum):
    """What became of a claim."""

    QUOTA_SHORT = -1
    RATE_SHORT = 0
    ADMITTED = 1
    CACHE_ONLY = 2  #: of the rates alone: a quota is spent, and only the cache may answer
    KNOWN = 3  #: it was made before, or given up


class Claimed(NamedTuple):
    """The answer to a claim. Where it was refused nothing was taken."""

    verdict: int  #: see Verdict
    which: int  #: of the rates or the quotas, which is short: from 1 on
    limit: int  #: rpm 1, tpm 2, concurrency 3
    remaining: int  #: of that limit
    wait_ms: int  #: after this there is room, if nobody else calls; -1: nobody knows
    #: For each of the rates what is left and the reset in ms, of requests and then of tokens; for each of the quotas
    #: what is used and what is held.
    standing: Sequence[int]


class Lapsed(NamedTuple):
    """A call of which nobody was heard for too long."""

    call_id: str
    since_ms: int  #: when that was found, Unix milliseconds
    intent: Intent | None  #: None: it fell under no quota, or can't be read


class ClaimStore(Protocol):
    """For one event loop. What is awaited raises StateAway or StateFailed, and takes no longer than agreed."""

    @property
    def is_away(self) -> bool:
        """Is it known that nobody can be asked just now?"""
        ...

    def terms(self, team: str, rates: Iterable[RateTerms], quotas: Iterable[QuotaPlace]) -> ClaimTerms:
        """Make terms of these."""
        ...

    def claim(
        self,
        terms: ClaimTerms,
        call_id: str,
        tokens: int,
        bound: tuple[int, int],
        intent: bytes,
        exempt: int = 0,
        *,
        may_cache: bool = False,
    ) -> Awaitable[Claimed]:
        """Take of all of it or of nothing: `tokens` of the minute's, `bound` of the quotas, in nano-dollars and tokens.
        From quota number `exempt` (from 1 on) it is taken with room or without.

        If it raises, or is cancelled, it may have been made all the same: then `void` it.
        """
        ...

    def extend(
        self, terms: ClaimTerms, call_id: str, attempt: int, bound: tuple[int, int], exempt: int = 0
    ) -> Awaitable[bool]:
        """Reserve so much more of the quotas, for this attempt (2, 3 …). False: there is no room, or no such claim."""
        ...

    def settle(
        self,
        team: str,
        call_id: str,
        tokens: int | None,
        key_name: str,
        model: str,
        spent: tuple[int, int],
        periods: Sequence[str | int],
    ) -> None:
        """The call is over: free what it holds, and count what it spent, in nano-dollars and tokens. Nobody waits. Of
        the minute's tokens it used so many; None: what was reserved stands.
        """
        ...

    def void(self, team: str, call_id: str) -> None:
        """Free what it holds, as if it had never been; and what it would, if the claim is still on its way. While
        nobody can be asked it is kept, and sent later.
        """
        ...

    def look(self, terms: ClaimTerms) -> Awaitable[Sequence[int]]:
        """Used and held of each of the quotas."""
        ...

    def uses(self, teams: Iterable[str], period: str) -> Awaitable[Sequence[Use]]:
        """All that these teams, and others that have books, used in a period, by team, key and model."""
        ...

    def tell(self, team: str, place: QuotaPlace, event: str) -> Awaitable[bool]:
        """Is this the first to tell of it in this period?"""
        ...

    def keep(self) -> Awaitable[None]:
        """Do what has to be done every second: renew what calls under way hold, send what could not be sent."""
        ...
