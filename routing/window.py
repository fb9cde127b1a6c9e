"""A sum over the last seconds, kept in time slots. For counts that must be exact: no decay, no average, no clock."""

from __future__ import annotations

from math import inf


class MovingSum:
    """Forgets each amount between `span_s` and one slot later, never sooner.

    Decayed counts hide a tight burst behind a quiet minute; slots do not (Linkerd's breaker counts so). A call costs
    O(1), and O(slots) when a new slot begins. Time that goes backward is taken as standing still.
    """

    __slots__ = ("_amounts", "_ends_at", "_slot", "_sum", "_width_s")

    def __init__(self, span_s: float, slots: int) -> None:
        """`span_s` > 0 is covered by `slots` ≥ 1 whole slots besides the one that is being filled."""
        self._width_s = span_s / slots
        self._amounts = [0.0] * (slots + 1)
        self._slot = 0  # number of the newest slot since time 0
        self._ends_at = -inf
        self._sum = 0.0

    def add(self, amount: float, now: float) -> None:
        """Count `amount`, which may be negative, at `now`."""
        if now >= self._ends_at:
            self._advance(now)
        self._amounts[self._slot % len(self._amounts)] += amount
        self._sum += amount

    def total(self, now: float) -> float:
        """What was added lately and is not forgotten yet."""
        if now >= self._ends_at:
            self._advance(now)
        return self._sum

    def wait_s(self, excess: float, now: float) -> float:
        """Seconds until the total has lost at least `excess` by forgetting; inf if it never loses so much."""
        self.total(now)
        count = len(self._amounts)
        freed = 0.0
        for slot in range(self._slot + 1 - count, self._slot + 1):
            freed += self._amounts[slot % count]
            if freed >= excess:
                return max(0.0, (slot + count) * self._width_s - now)
        return inf

    def clear(self) -> None:
        """Forget all."""
        self._amounts = [0.0] * len(self._amounts)
        self._sum = 0.0

    def _advance(self, now: float) -> None:
        slot = int(now // self._width_s)
        count = len(self._amounts)
        if slot - self._slot >= count:
            self._amounts = [0.0] * count
        else:
            for passed in range(self._slot + 1, slot + 1):
                self._amounts[passed % count] = 0.0
        self._slot = slot
        self._ends_at = (slot + 1) * self._width_s
        # Summed anew, so that rounding does not add up over weeks of adding and taking away.
        self._sum = sum(self._amounts)
