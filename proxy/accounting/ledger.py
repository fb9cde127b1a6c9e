"""The ledger: brings what the journal holds into the books, on a thread of its own, and gives up calls of which
nothing more will be heard.

A segment of the journal is removed once all of it is in the books. Every step may be done twice: calls are known by
their ids. So whatever ends the process, the next one begins where this one left off.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from time import sleep, time
from typing import Final, Protocol

from proxy.accounting.frames import read_frames
from proxy.accounting.periods import Calendar
from proxy.accounting.segments import Segments
from proxy.state import (
    BadEntry,
    Booking,
    EntryRefused,
    Folded,
    Intent,
    LedgerStore,
    Position,
    StateFailed,
    decode_entry,
    orphan_of,
)

#: How often the journal is looked at, in seconds.
_EVERY_S: Final = 0.5
#: How often calls that were never settled are looked for, in seconds.
_ORPHANS_EVERY_S: Final = 10.0
_MAX_RETRY_S: Final = 30.0
#: What is read of a journal at once, in bytes; about 1,500 calls, and one transaction.
_READ_BYTES: Final = 1 << 20
#: Entries that are decoded, and orphans that are booked, before the event loop gets a turn.
_CHUNK: Final = 64
#: Later than any call, even if the clock was set back.
_EVER_MS: Final = 2**62
#: What a calendar says to a number that is no instant.
_NO_INSTANT: Final = (OverflowError, TypeError, ValueError)

_logger = logging.getLogger(__name__)


class Source(Protocol):
    """The journal, as far as the ledger knows it. For any thread."""

    @property
    def segments(self) -> Segments: ...
    @property
    def earlier(self) -> Sequence[str]: ...
    @property
    def position(self) -> Position: ...


class Ledger:
    """Folds one journal into one store, of which it is the only writer."""

    def __init__(
        self,
        journal: Source,
        store: LedgerStore,
        calendar: Calendar,
        lease_s: float,
        clock: Callable[[], float] = time,
    ) -> None:
        """A call of this process is given up after `lease_s`; no call may take as long. `clock` gives Unix seconds.

        Raises StateFailed.
        """
        self.torn_bytes = 0  #: of earlier processes' segments: the end that was being written when they died
        self.damaged_bytes = 0  #: skipped in the midst of a segment; the segment is set aside
        self.refused = 0  #: records that could not be read or booked
        self.orphaned = 0  #: calls that were given up
        self.is_behind = False  #: did the last try to write the books fail?
        self._journal = journal
        self._store = store
        self._calendar = calendar
        self._lease_s = lease_s
        self._clock = clock
        self._position = store.position()
        self._has_recovered = False
        self._has_damage = False
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def start(self) -> None:
        """Go on with it on a thread, until `close`."""
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Bring in what is written (close the journal first), and end the thread; no longer than this. Blocks."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def recover(self) -> None:
        """Bring in what earlier processes left, and give up the calls that they had under way: whoever might settle
        them is gone, because the journal has one owner. Raises StateFailed.
        """
        for name in self._journal.earlier:
            self._finish(name)
        self._give_up(_EVER_MS)
        self._has_recovered = True

    def fold(self) -> None:
        """Bring in what this process has written by now. Raises StateFailed."""
        written = self._journal.position
        for name in self._journal.segments.names():
            if name not in self._journal.earlier and name < written.segment:
                self._finish(name)
        if written.segment:
            self._read(written.segment, written.offset)

    def give_up_leases(self) -> None:
        """Give up calls that have been open for too long: their settlement went missing. Raises StateFailed."""
        self._give_up(int((self._clock() - self._lease_s) * 1000))

    def _run(self) -> None:
        retry_s, orphans_at = _EVERY_S, 0.0
        is_ending = False
        while not is_ending:
            is_ending = self._ending.wait(retry_s if self.is_behind else _EVERY_S if self._has_recovered else 0)
            try:
                if not self._has_recovered:
                    self.recover()
                self.fold()
                if abs(self._clock() - orphans_at) >= _ORPHANS_EVERY_S:
                    orphans_at = self._clock()
                    self.give_up_leases()
            except (StateFailed, OSError) as error:
                retry_s = min(2 * retry_s, _MAX_RETRY_S)
                if not self.is_behind:
                    _logger.error("ledger: behind, the journal keeps what is not in the books yet: %s", error)
                self.is_behind = True
            else:
                if self.is_behind:
                    _logger.warning("ledger: up to date again")
                retry_s, self.is_behind = _EVERY_S, False

    def _finish(self, name: str) -> None:
        """Bring in the rest of a segment that grows no more, and remove it."""
        try:
            torn_bytes = self._read(name)
        except FileNotFoundError:
            return  # it was brought in before
        if torn_bytes:
            self.torn_bytes += torn_bytes
            _logger.warning("journal: %s ends in %d bytes that are no record; skipped", name, torn_bytes)
        self._journal.segments.drop(name, keep=self._has_damage)
        self._has_damage = False

    def _read(self, name: str, end: int | None = None) -> int:
        """Bring in a segment up to `end`; how many bytes of its end are no record."""
        offset = self._position.offset if self._position.segment == name else 0
        tail = b""
        while True:
            begin = offset + len(tail)
            wanted = begin + _READ_BYTES if end is None else min(end, begin + _READ_BYTES)
            more = self._journal.segments.read(name, begin, wanted) if wanted > begin else b""
            data = tail + more
            found = read_frames(data)
            if found.damaged_bytes:
                self.damaged_bytes += found.damaged_bytes
                self._has_damage = True
                _logger.warning("journal: %s has %d bytes that are no record", name, found.damaged_bytes)
            offset += found.end
            tail = data[found.end :]
            if found.payloads:
                self._enter(found.payloads, Position(name, offset))
            if not more:
                return len(tail)

    def _enter(self, payloads: Sequence[bytes], position: Position) -> None:
        opened: dict[str, Intent] = {}
        bookings: list[Booking] = []
        now_s = self._clock()
        for at, payload in enumerate(payloads):
            if at % _CHUNK == _CHUNK - 1:
                sleep(0)  # lets go of the interpreter: the event loop comes first
            try:
                entry = decode_entry(payload)
                period = self._calendar.booked(entry.began_ms / 1000, now_s)
            except (BadEntry, *_NO_INSTANT) as error:
                self._refuse(error)
                continue
            if isinstance(entry, Intent):
                opened[entry.call_id] = entry
            else:
                opened.pop(entry.call_id, None)
                bookings.append(Booking(entry, period))
        self._fold(list(opened.values()), bookings, position)
        self._position = position

    def _fold(self, opened: Sequence[Intent], bookings: Sequence[Booking], position: Position) -> Folded:
        try:
            return self._store.fold(opened, bookings, position)
        except EntryRefused as error:
            if len(opened) + len(bookings) <= 1:
                self._refuse(error)
                return self._store.fold((), (), position)
        for intent in opened:  # one is to blame: the others go in without it
            self._fold((intent,), (), self._position)
        for booking in bookings:
            self._fold((), (booking,), self._position)
        return self._store.fold((), (), position)

    def _refuse(self, error: Exception) -> None:
        self.refused += 1
        _logger.error("ledger: a record can't be booked and is left out: %s", error)

    def _give_up(self, began_before_ms: int) -> None:
        while intents := self._store.open_calls(began_before_ms, _CHUNK):
            now_s = self._clock()
            bookings = [
                Booking(orphan_of(one, int(now_s * 1000)), self._calendar.booked(one.began_ms / 1000, now_s))
                for one in intents
            ]
            self._fold((), bookings, self._position)
            self.orphaned += len(intents)
            _logger.warning(
                "ledger: %d calls were never settled (the latest began at %d ms Unix time); each is booked with all "
                "that it may have cost",
                len(intents),
                intents[-1].began_ms,
            )
