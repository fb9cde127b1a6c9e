"""How many attempts one target takes at once: a fixed number, or a limit that finds the point where the target slows
down. It counts; it does not queue.
"""

from __future__ import annotations

from math import exp, inf, log, sqrt
from typing import Final

#: A target this much slower than unloaded is still taken for well.
_TOLERANCE: Final = 1.5
#: One sample says little: with a spread of sigma 0.6 the mean of 10 logarithms is good to 20 %.
_MIN_SAMPLES: Final = 10
#: However slow, one round never cuts deeper; and what an overload leaves.
_DEEPEST_CUT: Final = 0.5
#: A sample counts for at most this factor either way.
_MAX_SLOWNESS: Final = 10.0
#: Overloads within this time are one overload.
_STORM_S: Final = 5.0


class ConcurrencyLimit:
    """AIMD on overloads, a gradient on slowness.

    After Netflix's Gradient2, changed where single answers of a language model are too noisy for it: the limit moves
    once a round (as many answers as the limit), by the geometric mean of the round, and slowness is measured against
    the unloaded target instead of a long average, which creeps up to any overload that lasts.
    A round gives limit × clamp(1.5 ÷ slowness, 0.5, 1) + √limit, grown only if half the limit was in use.
    """

    __slots__ = (
        "_cut_at",
        "_fixed",
        "_largest",
        "_limit",
        "_log_sum",
        "_passed_over",
        "_peak",
        "_samples",
        "_smallest",
        "in_flight",
    )

    def __init__(self, fixed: int | None, *, start: int = 20, smallest: int = 2, largest: int = 500) -> None:
        """`fixed`: attempts at once, never changed; None: adaptive, 1 ≤ `smallest` ≤ `start` ≤ `largest`."""
        self.in_flight = 0
        self._fixed = fixed is not None
        self._limit = float(start if fixed is None else fixed)
        self._smallest = float(smallest)
        self._largest = float(largest)
        self._samples = 0
        self._log_sum = 0.0
        self._peak = 0  # most in flight in this round
        self._passed_over = 0  # endings still to come of attempts begun under an older limit
        self._cut_at = -inf

    def limit(self) -> float:
        """Attempts at once; a fraction does not admit one more."""
        return self._limit

    def is_allowed(self) -> bool:
        """Is there room for one more?"""
        return self.in_flight + 1 <= self._limit

    def began(self) -> None:
        """An attempt was sent, with room or without."""
        self.in_flight += 1
        if self.in_flight > self._peak:
            self._peak = self.in_flight

    def ended(self, slowness: float | None, is_overload: bool, now: float) -> None:
        """An attempt ended. `slowness`: its TTFT ÷ the TTFT to expect of the unloaded target for a call of this size,
        above 0; None: it says nothing. `is_overload`: 429, 503 or a time-out.
        """
        self.in_flight = max(0, self.in_flight - 1)
        if self._fixed:
            return
        if self._passed_over > 0:
            self._passed_over -= 1
        elif is_overload:
            self._overloaded(now)
        elif slowness is not None and slowness > 0:
            self._samples += 1
            self._log_sum += log(min(max(slowness, 1 / _MAX_SLOWNESS), _MAX_SLOWNESS))
            if self._samples >= max(_MIN_SAMPLES, self._limit):
                self._turn()

    def _overloaded(self, now: float) -> None:
        if now - self._cut_at < _STORM_S:
            return
        self._cut_at = now
        self._move(self._limit * _DEEPEST_CUT)
        self._passed_over = self.in_flight

    def _turn(self) -> None:
        slowness = exp(self._log_sum / self._samples)
        gradient = min(1.0, max(_DEEPEST_CUT, _TOLERANCE / slowness))
        moved = self._limit * gradient + sqrt(self._limit)
        self._move(moved if moved < self._limit or 2 * self._peak >= self._limit else self._limit)

    def _move(self, limit: float) -> None:
        self._limit = min(self._largest, max(self._smallest, limit))
        self._samples = 0
        self._log_sum = 0.0
        self._peak = self.in_flight
