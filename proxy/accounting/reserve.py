"""Reserve, then settle: what a call counts as before anybody knows, and what it turned out to be. For rates: requests
and tokens a minute, calls at once. Pure; the layer that goes by it is `proxy/chain/limits.py`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from proxy.accounting.window import Window

#: Output tokens of a first answer, until answers are known.
_GUESSED_TOKENS: Final = 500
#: The last answers that count, and how many there must be before the guess does not count among them any more.
_KEPT: Final = 128
_FEW: Final = 20

Limit = Literal["rpm", "tpm", "concurrency"]
Whose = Literal["team", "key"]
#: One team's limits, or one key's: (team,) or (team, key).
MeterName = tuple[str, ...]


class Lengths:
    """How long the answers of one model are for one team: the 95th percentile of the last 128, in tokens."""

    __slots__ = ("_latest", "_ordered", "p95_tokens")

    def __init__(self) -> None:
        self._latest: deque[int] = deque()
        self._ordered: list[int] = []
        self.p95_tokens = _GUESSED_TOKENS

    def expect(self, cap_tokens: int | None, choices: int) -> int:
        """Output tokens to reserve for a call with this cap and so many choices. A cap only lowers it, however huge."""
        tokens = self.p95_tokens
        if cap_tokens is not None and cap_tokens < tokens:
            tokens = cap_tokens
        return tokens * choices

    def learn(self, output_tokens: int, choices: int) -> None:
        """An answer of so many choices had this many tokens in all. About 1 µs."""
        tokens = -(-output_tokens // choices)
        ordered = self._ordered
        if len(self._latest) >= _KEPT:
            del ordered[bisect_left(ordered, self._latest.popleft())]
        self._latest.append(tokens)
        insort(ordered, tokens)
        count = len(ordered)
        self.p95_tokens = ordered[count * 95 // 100] if count >= _FEW else max(ordered[-1], _GUESSED_TOKENS)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be used; None: as much as is wanted."""

    rpm: int | None = None  #: requests a minute
    tpm: int | None = None  #: tokens a minute
    concurrency: int | None = None  #: calls at once

    @property
    def any(self) -> bool:
        """Is there a limit at all?"""
        return self.rpm is not None or self.tpm is not None or self.concurrency is not None


class Meter:
    """One team's account, or one key's. Outlives configs: limits are changed in place, what was used stays used."""

    __slots__ = ("id", "in_flight", "limits", "name", "requests", "tokens")

    def __init__(self, name: MeterName) -> None:
        self.name = name
        self.id = "\n".join(name)
        self.limits = Limits()
        self.requests = Window(1)  # of no effect until there are limits
        self.tokens = Window(1)
        self.in_flight = 0

    @property
    def whose(self) -> Whose:
        """Whom it is kept for."""
        return "team" if len(self.name) == 1 else "key"

    def limit_to(self, limits: Limits) -> None:
        """From now on these are the limits."""
        self.limits = limits
        self.requests.limit = limits.rpm or self.requests.limit
        self.tokens.limit = limits.tpm or self.tokens.limit

    def has_room(self, tokens: int, now: float) -> bool:
        """Is there a place for one more call, and so many tokens? Requests are counted elsewhere."""
        limits = self.limits
        if limits.concurrency is not None and self.in_flight >= limits.concurrency:
            return False
        return limits.tpm is None or self.tokens.has_room(tokens, now)

    def is_at_rest(self, now: float) -> bool:
        """Is there nothing left to remember?"""
        return not self.in_flight and self.requests.reset_s(now) <= 0 and self.tokens.reset_s(now) <= 0


class Hold:
    """What one call has of several meters: a place in each, and the tokens that were reserved for it."""

    __slots__ = ("_is_in", "_meters", "_since", "_tokens", "_windows")

    def __init__(self, meters: Sequence[Meter], tokens: int, now: float) -> None:
        """Take it, with room or without."""
        self._meters = meters
        self._tokens = tokens
        self._since = now
        self._is_in = True
        self._windows = [meter.tokens for meter in meters if meter.limits.tpm is not None]
        for meter in meters:
            meter.in_flight += 1
        for window in self._windows:
            window.take(tokens, now)

    def leave(self) -> None:
        """Free the places; a second time has no effect."""
        if self._is_in:
            self._is_in = False
            for meter in self._meters:
                meter.in_flight -= 1

    def cancel(self, now: float) -> None:
        """Another limit refused it: it has used nothing of these, not even a request. At once, or not at all."""
        self.settle(0, now)
        self._windows = []
        self.leave()
        for meter in self._meters:
            if meter.limits.rpm is not None:
                meter.requests.give_back(1, self._since, now)

    def settle(self, used_tokens: int, now: float) -> None:
        """It used so many tokens in the end: the rest is given back, what is lacking is taken. Once a call."""
        for window in self._windows:
            if used_tokens <= self._tokens:
                window.give_back(self._tokens - used_tokens, self._since, now)
            else:
                window.take(used_tokens - self._tokens, now)


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a call cannot be let in: the limit that takes longest to have room again."""

    whose: Whose
    limit: Limit
    size: int  #: of the limit
    remaining: int
    wait_s: float | None  #: after this there is room, if nobody else calls; None: when one of its calls has ended

    @property
    def name(self) -> str:
        """`team_rpm`, `key_tpm` …: of a closed set."""
        return f"{self.whose}_{self.limit}"


def shortage(meters: Sequence[Meter], tokens: int, now: float) -> Shortage | None:
    """What stands against one more call of so many tokens: of several limits the one that takes longest. None: nothing.

    O(slots), for refusals only.
    """
    found: Shortage | None = None
    longest_s = longest_lacking_s = 0.0
    for meter in meters:
        most = meter.limits.concurrency
        if most is not None and meter.in_flight >= most and found is None:
            found = Shortage(meter.whose, "concurrency", most, 0, None)
        rates: tuple[tuple[Limit, int | None, Window, int], ...] = (
            ("rpm", meter.limits.rpm, meter.requests, 1),
            ("tpm", meter.limits.tpm, meter.tokens, tokens),
        )
        for limit, size, window, amount in rates:
            if size is None:
                continue
            wait_s = window.wait_s(amount, now)
            longest_s = max(
                longest_s, wait_s
            )  # one that has room now may have lost it by the time the others have some
            if not window.has_room(amount, now) and wait_s > longest_lacking_s:
                found, longest_lacking_s = Shortage(meter.whose, limit, size, window.remaining(now), wait_s), wait_s
    return found if found is None or found.wait_s is None else replace(found, wait_s=longest_s)
