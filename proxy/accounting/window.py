"""What was used in the last minute, and what may still be: one limit's account, for one team or key. Pure: `now` is an
argument, in monotonic seconds, so a wall clock that is set back grants nothing.
"""

from __future__ import annotations

from math import inf
from typing import Final

SPAN_S: Final = 60.0
_SLOTS: Final = 120
_WIDTH_S: Final = SPAN_S / _SLOTS
_COUNT: Final = _SLOTS + 1  # the slot that is being filled comes on top
_CYCLE_S: Final = _COUNT * _WIDTH_S
#: What reservations held back in vain may raise the limit by this share of it, at most, for a minute.
MAX_CREDIT: Final = 0.5
#: An overrun is repaid for so many minutes, at most; a slip of the tongue must not lock a team out for a day.
_MAX_OWED: Final = 60


class Window:
    """A sliding minute in slots of half a second: what is taken is forgotten 60 s later, or up to one slot after that,
    never sooner. So there is no edge at which a limit could be had twice.

    Two things a plain sliding sum gets wrong. More than the limit, from a call that turned out larger than was
    reserved for it, would be forgotten with the rest after one minute: here the excess is owed, and whatever is
    forgotten is first filled up with it. And a reservation larger than what is used keeps others out while the call
    lasts, so that less than the limit is used on average: what was held back in vain is credited for a minute.

    Sums are integers, exact. A call costs O(1), and O(slots) when slots have passed. Time that goes backward is taken
    as standing still.
    """

    __slots__ = ("_credit", "_ends_at", "_newest", "_owed", "_slot", "_spared", "_taken", "_total", "limit")

    def __init__(self, limit: int) -> None:
        """`limit` ≥ 1 a minute. It may be changed at any time; what was taken stays taken."""
        self.limit = limit
        self._taken = [0] * _COUNT
        self._spared = [0] * _COUNT  # credit, by the slot it was given in
        self._total = self._credit = self._owed = 0
        self._slot = self._newest = 0  # numbers since time 0: the slot being filled, and the last that holds something
        self._ends_at = -inf

    def remaining(self, now: float) -> int:
        """How much a call may take now. From 0 to the limit."""
        if now >= self._ends_at:
            self._advance(now)
        left = self.limit - self._total - self._owed
        if self._credit:
            left += self._usable_credit()
        return left if 0 <= left <= self.limit else max(0, min(left, self.limit))

    def has_room(self, amount: int, now: float) -> bool:
        """May so much be taken? More than the whole limit may if nothing else is there: else it never could."""
        return min(amount, self.limit) <= self.remaining(now)

    def take(self, amount: int, now: float) -> None:
        """Count so much, with room or without."""
        if now >= self._ends_at:
            self._advance(now)
        room = self.limit - self._total
        if amount > room:
            room = max(0, room + self._usable_credit())
            if amount > room:
                self._owed = min(self._owed + amount - room, _MAX_OWED * self.limit)
                amount = room
        self._taken[self._slot % _COUNT] += amount
        self._total += amount
        self._newest = self._slot

    def give_back(self, amount: int, taken_at: float, now: float) -> None:
        """Of what was taken at `taken_at`, so much was not used."""
        if now >= self._ends_at:
            self._advance(now)
        forgiven = min(amount, self._owed)
        self._owed -= forgiven
        amount -= forgiven
        # So many tokens of a minute's worth were kept from others.
        credit = int(amount * min(now - taken_at, SPAN_S) / SPAN_S)
        if credit > 0:
            self._spared[self._slot % _COUNT] += credit
            self._credit += credit
            self._newest = self._slot
        slot = min(int(taken_at // _WIDTH_S), self._slot)
        if slot > self._slot - _COUNT:
            back = min(amount, self._taken[slot % _COUNT])
            self._taken[slot % _COUNT] -= back
            self._total -= back

    def wait_s(self, amount: int, now: float) -> float:
        """Seconds after which there is room for so much, and stays so until somebody takes it. 0: at once. O(slots)."""
        self._advance(now)
        need = min(amount, self.limit)
        left, credit = self._total + self._owed, self._credit
        cap = int(MAX_CREDIT * self.limit)
        fits = left - min(credit, cap) + need <= self.limit
        if fits and not credit:
            return 0.0
        since = self._slot - _COUNT if fits else None  # the slot from whose end on there is room
        for slot in range(self._slot - _COUNT + 1, self._slot + 1):
            left -= self._taken[slot % _COUNT]
            credit -= self._spared[slot % _COUNT]
            if left - min(credit, cap) + need > self.limit:
                since = None
            elif since is None:
                since = slot
        if since is not None:
            return max(0.0, (since + _COUNT) * _WIDTH_S - now)
        # It owes more than a minute can repay; each further one repays the limit.
        cycles = 1 + -(-(left + need - self.limit) // self.limit)
        return (self._slot + 1) * _WIDTH_S - now + cycles * _CYCLE_S

    def reset_s(self, now: float) -> float:
        """Seconds after which all of the limit is there again, if nobody takes anything."""
        if now >= self._ends_at:
            self._advance(now)
        if not self._total and not self._credit:
            return 0.0
        wait_s = (self._newest + _COUNT) * _WIDTH_S - now
        return wait_s if not self._owed else wait_s - (-self._owed // self.limit) * _CYCLE_S

    def _usable_credit(self) -> int:
        return min(self._credit, int(MAX_CREDIT * self.limit))

    def _advance(self, now: float) -> None:
        """Forget what is a minute old, and let what is owed take its place."""
        if now < self._ends_at:
            return
        slot = int(now // _WIDTH_S)
        self._ends_at = (slot + 1) * _WIDTH_S
        if self._owed and slot - self._slot > 3 * _COUNT:  # after a long rest: each cycle repaid the limit
            cycles = min(self._owed // self.limit, (slot - self._slot) // _COUNT - 2)
            self._owed -= cycles * self.limit
            self._slot += cycles * _COUNT
        while self._slot < slot and (self._total or self._credit):
            if not self._owed and slot - self._slot >= _COUNT:
                self._taken, self._spared = [0] * _COUNT, [0] * _COUNT
                self._total = self._credit = 0
                break
            self._slot += 1
            self._pass(self._slot % _COUNT)
        self._slot = slot

    def _pass(self, place: int) -> None:
        self._total -= self._taken[place]
        self._credit -= self._spared[place]
        self._taken[place] = self._spared[place] = 0
        if self._owed:
            paid = max(0, min(self._owed, self.limit + self._usable_credit() - self._total))
            self._owed -= paid
            self._taken[place] = paid
            self._total += paid
            self._newest = self._slot
