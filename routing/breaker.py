"""Whether a target is asked at all after it failed: one breaker per target. It counts failures; it neither judges what
a failure is nor knows rate limits (see `pacer.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random
from typing import Final, Literal

from routing.tally import Tally
from routing.window import MovingSum

State = Literal["closed", "open", "half_open"]

_SLOTS: Final = 10
#: However many others have failed in a row, so many failures of one's own are needed to go by it.
_OWN_IN_A_ROW: Final = 2
#: A cool-down is stretched by up to this factor, so that several gateways do not probe at once.
_MAX_STRETCH: Final = 1.3


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a breaker opens, and for how long."""

    consecutive: int = 5  #: failures in a row; at least 1
    ratio: float = 0.5  #: failures ÷ attempts within the window; above 0, at most 1
    min_count: int = 10  #: attempts that the window must hold before the ratio counts
    window_s: float = 15.0
    cool_down_s: float = 2.0  #: the first; doubles with each failed probe
    max_cool_down_s: float = 30.0


class Breaker:
    """Closed, open for a cool-down, then half-open: one probe decides whether it closes or cools down for longer.

    Only attempts begun since the last change of state say anything. One sent before it opened may end minutes later,
    in half-open or after it closed: it is told by its `began_at` and passed over, whatever became of it.
    Rules after Linkerd (failures in a row, or an exact ratio over ten time slots) and Finagle (growing back-off).

    What others saw of the target (`heard`) opens it too, but not against what this gateway sees itself: one whose own
    way there is broken must not close the way of all. While its own attempts succeed, two failures of its own are
    needed; then those of the others count as if they had come before.
    """

    __slots__ = (
        "_attempts",
        "_failures",
        "_in_a_row",
        "_next_cool_down_s",
        "_probe_at",
        "_rng",
        "_settings",
        "_shared",
        "_since",
        "_until",
        "is_closed",
    )

    def __init__(self, settings: BreakerSettings, rng: Random | None = None) -> None:
        """With `rng` its own cool-downs are stretched by U(1, 1.3); without, they are exact."""
        self._settings = settings
        self._rng = rng
        self._attempts = MovingSum(settings.window_s, _SLOTS)
        self._failures = MovingSum(settings.window_s, _SLOTS)
        self._in_a_row = 0
        self.is_closed = True
        self._until = -inf  # end of the cool-down, unless closed
        self._since = -inf  # end of the cool-down before the last probe: what began earlier says nothing any more
        self._probe_at: float | None = None
        self._next_cool_down_s = settings.cool_down_s
        self._shared: _Shared | None = None

    def share(self, tally: Tally) -> None:
        """From now on others are told what is counted here, and may be `heard`."""
        self._shared = _Shared(tally, self._settings)

    @property
    def is_shared(self) -> bool:
        """Are others told?"""
        return self._shared is not None

    def state(self, now: float) -> State:
        """The state at `now`; asking changes nothing."""
        if self.is_closed:
            return "closed"
        return "open" if now < self._until else "half_open"

    def is_allowed(self, now: float) -> bool:
        """May an attempt be sent: closed, or half-open with no probe out. Asking changes nothing."""
        return self.is_closed or (now >= self._until and not self._has_probe(now))

    def open_for_s(self, now: float) -> float:
        """Seconds until it is half-open; 0 unless open."""
        return 0.0 if self.is_closed else max(0.0, self._until - now)

    def began(self, now: float) -> None:
        """An attempt was sent. In half-open it takes the probe; sent in spite of an open breaker it says nothing."""
        if not self.is_closed and now >= self._until:
            self._probe_at = now
            self._since = self._until

    def ended(self, is_failure: bool | None, now: float, began_at: float) -> None:
        """An attempt begun at `began_at` ended.

        `is_failure`: None if it says nothing about the target (the client left, the request was at fault); that gives
        a probe back. While open it changes nothing, unless it is a probe during which `cool_down` was asked for.
        """
        if began_at < self._since:
            return
        if self.is_closed:
            if is_failure is not None:
                self._count(is_failure, now)
        elif self._probe_at is not None:
            self._probe_at = None
            if is_failure:
                self._open(now)
            elif is_failure is not None:
                self._succeeded(now)

    def cool_down(self, seconds: float, now: float) -> None:
        """Stay open for at least `seconds`, as the provider asked (the caller has capped it); a longer one extends, a
        shorter one never shortens, zero or less is passed over. The next own cool-down does not grow by it.
        """
        if not seconds > 0:
            return
        self._until = max(self._until, now + seconds)
        self.is_closed = False
        if self._shared is not None:
            self._shared.tally.open_until = max(self._shared.tally.open_until, now + seconds)

    def heard(self, attempts: float, failures: float, open_s: float, now: float) -> None:
        """What another gateway saw since it told last: attempts that said something, how many of them failed, and for
        how long it leaves the target out if its breaker has opened since (0: it has not). Needs `share`.
        """
        shared = self._shared
        if shared is None or self._probe_at is not None:  # the probe of one's own says more
            return
        if self.is_closed:
            shared.attempts.add(attempts, now)
            shared.failures.add(failures, now)
            if open_s > 0:
                shared.in_a_row = max(shared.in_a_row, self._settings.consecutive)
            elif attempts:
                shared.in_a_row = shared.in_a_row + failures if failures == attempts else 0.0
            if now - shared.ok_at < self._settings.window_s:
                return
            if open_s <= 0 and self._is_too_much(shared.in_a_row, now):
                open_s = self._settings.cool_down_s
        if open_s > 0:
            self._until = max(self._until, now + open_s)
            self.is_closed = False
            self._forget()

    def _has_probe(self, now: float) -> bool:
        # A probe whose end is never told must not keep the target out for ever.
        return self._probe_at is not None and now - self._probe_at <= 2 * self._settings.max_cool_down_s

    def _count(self, is_failure: bool, now: float) -> None:
        shared = self._shared
        if shared is not None:
            shared.count(is_failure, now)
        self._attempts.add(1, now)
        if not is_failure:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        self._failures.add(1, now)
        most = max(0, self._settings.consecutive - _OWN_IN_A_ROW)
        lent = 0.0 if shared is None else min(shared.in_a_row, most)
        if self._is_too_much(lent, now):
            self._open(now)

    def _is_too_much(self, lent: float, now: float) -> bool:
        """Have so many failed that it should open? `lent`: failures of others that count as come before."""
        settings, shared = self._settings, self._shared
        if self._in_a_row + lent >= settings.consecutive:
            return True
        attempts, failures = self._attempts.total(now), self._failures.total(now)
        if attempts < settings.min_count and shared is not None:  # too few of one's own to judge by
            attempts += shared.attempts.total(now)
            failures += shared.failures.total(now)
        return attempts >= settings.min_count and failures >= settings.ratio * attempts

    def _open(self, now: float) -> None:
        cool_down_s = self._next_cool_down_s
        self._next_cool_down_s = min(2 * cool_down_s, self._settings.max_cool_down_s)
        if self._rng is not None:
            cool_down_s *= self._rng.uniform(1.0, _MAX_STRETCH)
        self.is_closed = False
        self._until = max(self._until, now + cool_down_s)
        if self._shared is not None:
            self._shared.tally.open_until = self._until
        self._forget()

    def _succeeded(self, now: float) -> None:
        self._next_cool_down_s = self._settings.cool_down_s
        # The target answers, but a cool-down that the provider asked for in the meantime still holds.
        self.is_closed = now >= self._until
        self._forget()
        if self._shared is not None:
            self._shared.count(False, now)

    def _forget(self) -> None:
        self._in_a_row = 0
        self._attempts.clear()
        self._failures.clear()
        if self._shared is not None:
            self._shared.forget()


class _Shared:
    """What others are told, and what they told."""

    __slots__ = ("attempts", "failures", "in_a_row", "ok_at", "tally")

    def __init__(self, tally: Tally, settings: BreakerSettings) -> None:
        self.tally = tally
        self.attempts = MovingSum(settings.window_s, _SLOTS)  # of others
        self.failures = MovingSum(settings.window_s, _SLOTS)
        self.in_a_row = 0.0  # failures of others, since one of them or this gateway was answered
        self.ok_at = -inf  # when this gateway was answered last

    def count(self, is_failure: bool, now: float) -> None:
        self.tally.attempts += 1
        if is_failure:
            self.tally.failures += 1
        else:
            self.ok_at = now
            self.in_a_row = 0.0

    def forget(self) -> None:
        self.in_a_row = 0.0
        self.attempts.clear()
        self.failures.clear()
