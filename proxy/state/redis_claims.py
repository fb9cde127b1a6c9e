"""Rates and quotas on Redis: what `lua/claim.lua` and its kin are sent, and what they say. Nothing is decided here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import redis

from proxy.state.base import Use
from proxy.state.claims import Claimed, ClaimTerms, Lapsed, QuotaPlace, RateTerms, Verdict
from proxy.state.entries import BadEntry, Intent, decode_entry
from proxy.state.redis_client import run_script
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.scripts import Script, load_script

#: A call of which nobody was heard for so long is not under way any more, and how often it is heard of, in seconds.
LEASE_S: Final = 60.0
RENEW_S: Final = 20.0
#: Claims that are to be given up and could not yet be, and calls renewed by one script, at most.
_MAX_VOIDS: Final = 10_000
_RENEWED_AT_ONCE: Final = 100
#: Counters in Redis are whole numbers of 64 bits, and Lua knows them up to this.
_MAX_AMOUNT: Final = 2**53


@dataclass(frozen=True, slots=True)
class _Scripts:
    claim: Script = field(default_factory=lambda: load_script("claim"))
    extend: Script = field(default_factory=lambda: load_script("extend"))
    settle: Script = field(default_factory=lambda: load_script("settle"))
    void: Script = field(default_factory=lambda: load_script("void"))
    renew: Script = field(default_factory=lambda: load_script("renew"))
    look: Script = field(default_factory=lambda: load_script("look"))


class RedisClaims:
    """See `ClaimStore`."""

    def __init__(
        self,
        link: Link,
        keys: RedisKeys,
        clock: Callable[[], float] = monotonic,
        now_ms: Callable[[], int] | None = None,
        lease_s: float = LEASE_S,
    ) -> None:
        """`clock` gives monotonic seconds. `now_ms` takes the place of Redis' own clock, for tests."""
        self.lost = 0  #: claims that could neither be made nor given up: their leases free them
        self._link = link
        self._keys = keys
        self._clock = clock
        self._now_ms = now_ms
        self._lease_ms = b"%d" % int(lease_s * 1000)
        self._scripts = _Scripts()
        self._tags: dict[str, str] = {}
        self._held: dict[str, tuple[str, float]] = {}  # by call: its team, and when it was heard of last
        self._voids: deque[tuple[str, str]] = deque()

    @property
    def is_away(self) -> bool:
        """See `ClaimStore`."""
        return self._link.is_away

    def terms(self, team: str, rates: Iterable[RateTerms], quotas: Iterable[QuotaPlace]) -> ClaimTerms:
        """See `ClaimStore`."""
        all_rates, all_quotas = tuple(rates), tuple(quotas)
        words = [len(all_rates), *(word for one in all_rates for word in one), len(all_quotas)]
        words += [word for one in all_quotas for word in (*one[:4], int(one.is_cache_only))]
        return ClaimTerms(team, all_rates, all_quotas, tuple(str(word).encode() for word in words))

    async def claim(
        self,
        terms: ClaimTerms,
        call_id: str,
        tokens: int,
        bound: tuple[int, int],
        intent: bytes,
        exempt: int = 0,
        *,
        may_cache: bool = False,
    ) -> Claimed:
        """See `ClaimStore`."""
        now = "" if self._now_ms is None else self._now_ms()
        nusd, most = bound
        amounts = tokens, min(nusd, _MAX_AMOUNT), min(most, _MAX_AMOUNT)
        words = (call_id, now, self._lease_ms, *amounts, intent, exempt, int(may_cache), *terms.words)
        told = await self._link.run(self._scripts.claim, (self._tag(terms.team),), words)
        if told[0] in (Verdict.ADMITTED, Verdict.CACHE_ONLY):
            self._held[call_id] = terms.team, self._clock()
        return Claimed(told[0], told[1], told[2], told[3], told[4], told[5:])

    async def extend(
        self, terms: ClaimTerms, call_id: str, attempt: int, bound: tuple[int, int], exempt: int = 0
    ) -> bool:
        """See `ClaimStore`."""
        sizes = [size for one in terms.quotas for size in (one.size, one.expires_s)]
        nusd, tokens = bound
        words: tuple[str | int, ...] = (
            call_id,
            attempt,
            min(nusd, _MAX_AMOUNT),
            min(tokens, _MAX_AMOUNT),
            exempt,
            *sizes,
        )
        return bool(await self._link.run(self._scripts.extend, (self._tag(terms.team),), words) == 1)

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
        """See `ClaimStore`. What is not heard is freed and counted when the call goes into the books."""
        self._held.pop(call_id, None)
        now = "" if self._now_ms is None else self._now_ms()
        amounts = min(spent[0], _MAX_AMOUNT), min(spent[1], _MAX_AMOUNT)
        words = (call_id, now, "" if tokens is None else tokens, key_name, model, *amounts, *periods)
        self._link.send(self._scripts.settle, (self._tag(team),), words)

    def void(self, team: str, call_id: str) -> None:
        """See `ClaimStore`."""
        self._held.pop(call_id, None)
        if not self._link.is_away:
            now = "" if self._now_ms is None else self._now_ms()
            self._link.send(self._scripts.void, (self._tag(team),), (call_id, now))
        elif len(self._voids) < _MAX_VOIDS:
            self._voids.append((team, call_id))
        else:
            self.lost += 1

    async def look(self, terms: ClaimTerms) -> Sequence[int]:
        """See `ClaimStore`."""
        words = [word for one in terms.quotas for word in one[:3]]
        found: list[int] = await self._link.run(self._scripts.look, (self._tag(terms.team),), words)
        return found

    async def uses(self, teams: Iterable[str], period: str) -> Sequence[Use]:
        """See `ClaimStore`."""
        booked = await self._link.ask("SMEMBERS", f"{self._keys.fleet}:teams")
        names = sorted({*teams, *(name.decode() for name in booked)})
        answers = await asyncio.gather(
            *(self._link.ask("HGETALL", f"{self._tag(name)}:use:{period}") for name in names)
        )
        return [use for name, answer in zip(names, answers, strict=True) for use in _uses_of(name, answer)]

    async def tell(self, team: str, place: QuotaPlace, event: str) -> bool:
        """See `ClaimStore`."""
        key = f"{self._tag(team)}:told:{place.period}"
        is_first = await self._link.ask("HSETNX", key, f"{place.quota}\n{event}", 1)
        await self._link.ask("EXPIREAT", key, place.expires_s)
        return bool(is_first)

    async def keep(self) -> None:
        """See `ClaimStore`."""
        for _ in range(len(self._voids) if not self._link.is_away else 0):
            self.void(*self._voids.popleft())
        now = self._clock()
        due: dict[str, list[str]] = {}
        for call_id, (team, heard_at) in self._held.items():
            if now - heard_at >= RENEW_S:
                due.setdefault(team, []).append(call_id)
        for team, calls in due.items():
            for at in range(0, len(calls), _RENEWED_AT_ONCE):
                await self._renew(team, calls[at : at + _RENEWED_AT_ONCE])

    async def _renew(self, team: str, calls: Sequence[str]) -> None:
        words = ("" if self._now_ms is None else self._now_ms(), self._lease_ms, *calls)
        await self._link.run(self._scripts.renew, (self._tag(team),), words)
        now = self._clock()
        for call_id in calls:
            if call_id in self._held:  # else it has ended meanwhile
                self._held[call_id] = team, now

    def _tag(self, team: str) -> str:
        tag = self._tags.get(team)
        if tag is None:
            tag = self._tags[team] = self._keys.team(team)
        return tag


def _uses_of(team: str, answer: Any) -> list[Use]:
    """What a hash `TAG:use:PERIOD` says."""
    pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
    found: dict[tuple[str, str], dict[str, int]] = {}
    for name, amount in pairs:
        key_name, model, what = name.decode().split("\n")
        found.setdefault((key_name, model), {})[what] = int(amount)
    return [
        Use(team, key_name, model, counts.get("calls", 0), counts.get("tokens", 0), counts.get("nusd", 0))
        for (key_name, model), counts in sorted(found.items())
    ]


# -- for threads and commands --


def lapsed(client: redis.Redis, tag: str, least_ms: int, limit: int) -> list[Lapsed]:
    """Calls of a team that hold something, and whose lease ran out at least so long ago: they are booked as orphans, if
    nobody else does, or given up. Raises StateAway, StateFailed.
    """
    told = run_script(client, load_script("lapsed"), (tag,), ("", least_ms, limit))
    return [
        Lapsed(call.decode(), since_ms, _intent_of(entry))
        for call, since_ms, entry in zip(told[::3], told[1::3], told[2::3], strict=True)
    ]


def give_up(client: redis.Redis, tag: str, call_id: str) -> None:
    """Free what a call holds, as if it had never been: it is in the books already, or nobody was asked for it.

    Raises StateAway, StateFailed.
    """
    run_script(client, load_script("void"), (tag,), (call_id, ""))


def _intent_of(entry: bytes) -> Intent | None:
    try:
        found = decode_entry(entry)
    except BadEntry:
        return None
    return found if isinstance(found, Intent) else None
