"""Whether a target is asked at all after it failed: one breaker per target. It counts failures; it neither judges what
a failure is nor knows rate limits (see `pacer.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random
from typing import Final, Literal

from routing.window import MovingSum

State = Literal["closed", "open", "half_open"]

_SLOTS: Final = 10
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
    """

    __slots__ = (
        "_attempts",
        "_failures",
        "_in_a_row",
        "_next_cool_down_s",
        "_probe_at",
        "_rng",
        "_settings",
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

    def _has_probe(self, now: float) -> bool:
        # A probe whose end is never told must not keep the target out for ever.
        return self._probe_at is not None and now - self._probe_at <= 2 * self._settings.max_cool_down_s

    def _count(self, is_failure: bool, now: float) -> None:
        self._attempts.add(1, now)
        if not is_failure:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        self._failures.add(1, now)
        settings = self._settings
        if self._in_a_row < settings.consecutive:
            attempts = self._attempts.total(now)
            if attempts < settings.min_count or self._failures.total(now) < settings.ratio * attempts:
                return
        self._open(now)

    def _open(self, now: float) -> None:
        cool_down_s = self._next_cool_down_s
        self._next_cool_down_s = min(2 * cool_down_s, self._settings.max_cool_down_s)
        if self._rng is not None:
            cool_down_s *= self._rng.uniform(1.0, _MAX_STRETCH)
        self.is_closed = False
        self._until = max(self._until, now + cool_down_s)
        self._forget()

    def _succeeded(self, now: float) -> None:
        self._next_cool_down_s = self._settings.cool_down_s
        # The target answers, but a cool-down that the provider asked for in the meantime still holds.
        self.is_closed = now >= self._until
        self._forget()

    def _forget(self) -> None:
        self._in_a_row = 0
        self._attempts.clear()
        self._failures.clear()
