"""What goes into the books of one team with one script (`lua/book.lua`): encoded, added up and written as its words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import orjson

from proxy.state.base import Booking, EntryRefused, Folded
from proxy.state.entries import MAX_INTEGER, Settlement
from proxy.state.redis_books import is_found, named, suffix
from proxy.state.redis_entries import HOUR_S, STAMP_BYTES, Kept, encode_kept, hour_of, read_kept, settlement_of
from proxy.state.redis_link import Word
from proxy.state.shared_ledger import Periods
from proxy.state.sums import SumsToAdd, attempt_rows, reversal

#: Settlements of one script at most: it keeps Redis from everything else for 1 ms or less.
BATCH: Final = 32
_NO_STAMP: Final = bytes(STAMP_BYTES)


class Known(NamedTuple):
    """A call that was in the way."""

    place: int  #: among the calls of the batch
    first: bytes | None  #: what was booked of it
    truth: bytes | None  #: and what became of it, if that was an orphan


class _Item(NamedTuple):
    hour: int
    call_id: str
    kept: bytes
    assumed: bytes | None  #: the orphan that it replaces


class Batch:
    """For one team; each call is in it once."""

    def __init__(self, team: str, periods: Periods) -> None:
        self.team = team
        self._periods = periods
        self._items: dict[str, _Item] = {}
        self._calls: list[tuple[object, ...]] = []
        self._names: list[tuple[object, ...]] = []
        self._counts: list[tuple[object, ...]] = []
        self._sums = SumsToAdd()
        self._counted: dict[Sequence[str | int], int] = {}  # periods -> their number
        self._booked = 0

    def __len__(self) -> int:
        return len(self._items)

    def takes(self, call_id: str) -> bool:
        """Is there room for it?"""
        return len(self._items) < BATCH and call_id not in self._items

    @property
    def folded(self) -> Folded:
        """What it comes to when it is entered."""
        return Folded(self._booked, len(self._items) - self._booked)

    def book(self, booking: Booking) -> None:
        """A call that is not in the books yet. Raises EntryRefused. Cost: 20 µs."""
        one = booking.settlement
        self._enter(booking, None)
        self._sums.add(one, 1, booking.period, attempt_rows(0, one))
        self._count(one, False, 1)
        self._booked += 1

    def adjust(self, booking: Booking, assumed: Settlement, first: bytes) -> None:
        """A call that was booked as an orphan, which is taken back; `first` is how that lies in Redis. Raises
        EntryRefused.
        """
        one = booking.settlement
        self._enter(booking, first)
        undone = reversal(assumed)
        self._sums.add(undone, -1, booking.period, attempt_rows(0, undone))
        self._sums.add(one, 1, booking.period, attempt_rows(0, one))
        self._count(assumed, True, -1)
        self._count(one, True, 1)

    def without(self, known: Sequence[Known]) -> tuple[Batch, int]:
        """What is still to be done, as there are these; and how many of its settlements are in the books already."""
        rest, ignored = Batch(self.team, self._periods), 0
        found = {one.place: one for one in known}
        for place, item in enumerate(self._items.values()):
            kept, settled = self._read(_NO_STAMP + item.kept, item)
            first = found[place].first if place in found else item.assumed
            if first is None:
                rest.book(Booking(settled, kept.period))
                continue
            assumed = self._read(first, item)[1]
            if settled.is_orphan or not assumed.is_orphan or (place in found and found[place].truth is not None):
                ignored += 1
            else:
                rest.adjust(Booking(settled, kept.period), assumed, first)
        return rest, ignored

    def words(self) -> Sequence[Word]:
        """What the script is given. A number that a double can't hold goes as text."""
        parts = [*self._counted], self._calls, self._names, self._counts, [*self._sums_rows()]
        return [orjson.dumps(parts), *(item.kept for item in self._items.values())]

    def _read(self, data: bytes, item: _Item) -> tuple[Kept, Settlement]:
        kept = read_kept(data, item.hour)
        return kept, settlement_of(kept, self.team, item.call_id, item.hour)

    def _enter(self, booking: Booking, assumed: bytes | None) -> None:
        (one, period), kept = booking, encode_kept(booking)
        call_id, hour = one.call_id, hour_of(one.began_ms)
        late = "" if period.hour == hour * HOUR_S else period.day
        self._items[call_id] = _Item(hour, call_id, kept, assumed)
        self._calls.append((hour, call_id, int(assumed is not None), period.hour // HOUR_S, late, one.ended_ms))
        if not is_found(call_id, one.began_ms):
            self._names.append((hour // 24, call_id, named(call_id, one.began_ms)))
        if one.request_id != call_id:
            self._names.append((hour // 24, one.request_id, named(call_id, one.began_ms)))

    def _count(self, one: Settlement, is_counted: bool, sign: int) -> None:
        periods = tuple(self._periods(one.began_ms / 1000))
        number = self._counted.setdefault(periods, len(self._counted) + 1)
        cost_nusd = tokens = 0
        for attempt in one.attempts:
            cost_nusd += attempt.cost_nusd
            tokens += attempt.tokens
        if abs(cost_nusd) > MAX_INTEGER or abs(tokens) > MAX_INTEGER:
            raise EntryRefused(f"call {one.call_id}: its attempts come to more than {MAX_INTEGER}")
        call_id = "" if is_counted else one.call_id
        self._counts.append((number, call_id, one.payer.key_name, one.model, sign * cost_nusd, sign * tokens))

    def _sums_rows(self) -> Iterator[tuple[object, ...]]:
        for (tag_key, hour, day, _, *group), measures in self._sums.hours().items():
            changed: list[int | str] = []
            for at, amount in enumerate(measures):
                if amount:
                    changed += (at, amount if -MAX_INTEGER <= amount <= MAX_INTEGER else str(amount))
            if changed:
                yield suffix(day, tag_key), hour // HOUR_S, orjson.dumps(group).decode(), changed
