"""The ledger: brings what the journal holds into the books, on a thread of its own, and gives up calls of which
nothing more will be heard.

An intent is entered in the books only if its call is still open 10 to 20 s later. A segment of the journal is removed
once all of it is in the books, such intents included. Every step may be done twice, since calls are known by their ids.
So whatever ends the process, the next one reads what is left of the journal, but for settlements that are booked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from time import time
from typing import Final, Protocol

from proxy.accounting.opened import OpenCalls
from proxy.accounting.periods import Calendar
from proxy.accounting.reader import Reader, Stretch
from proxy.accounting.segments import Segments
from proxy.state import (
    BadEntry,
    Booking,
    Entry,
    EntryRefused,
    Intent,
    LedgerStore,
    Period,
    Position,
    Settlement,
    StateFailed,
    decode_entry,
    encode_entry,
    orphan_of,
    peek_entry,
)

#: How often the journal is looked at, in seconds. The more calls a transaction holds, the more of them share a row of
#: the sums: at 500 calls a second, looking every half second takes twice the CPU.
_EVERY_S: Final = 2.0
#: How often intents that grew old are entered, and calls that were never settled looked for, in seconds.
_OLD_EVERY_S: Final = 10.0
_MAX_RETRY_S: Final = 30.0
#: Entries that are read, and settlements that are booked, in 1 ms at most, before the event loop gets a turn.
_READ_CHUNK: Final = 256
_CHUNK: Final = 32
#: How long a turn is, in seconds.
_PAUSE_S: Final = 0.0005
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
        chore: Callable[[], object] | None = None,
    ) -> None:
        """A call of this process is given up after `lease_s`; no call may take as long. `clock` gives Unix seconds;
        `chore` is done on the thread after each fold, and raises what folding does.
        """
        self.refused = 0  #: records that could not be read or booked
        self.orphaned = 0  #: calls that were given up
        self.is_behind = False  #: did the last try to write the books fail?
        self._journal = journal
        self._store = store
        self._calendar = calendar
        self._lease_s = lease_s
        self._clock = clock
        self._chore = chore
        self._known: Position | None = None  # settlements before it are in the books; None: not asked yet
        self._reader = Reader(journal.segments)
        self._opened = OpenCalls()
        self._has_recovered = False
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    @property
    def torn_bytes(self) -> int:
        """Of earlier processes' segments: the end that was being written when they died."""
        return self._reader.torn_bytes

    @property
    def damaged_bytes(self) -> int:
        """Skipped in the midst of a segment; the segment is set aside."""
        return self._reader.damaged_bytes

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
        earlier, known = self._journal.earlier, self._position()
        if known.segment not in earlier:
            known = Position()  # the books may be those of another journal
        for stretch in self._reader.finish(earlier, known):
            self._enter(stretch)
        self._enter_old()  # of the young ones nothing more will be heard either
        self._enter_old()
        self._give_up(_EVER_MS)
        self._has_recovered = True

    def fold(self) -> None:
        """Bring in what this process has written by now. Raises StateFailed."""
        written, earlier = self._journal.position, self._journal.earlier
        names = [one for one in self._journal.segments.names() if one not in earlier and one < written.segment]
        for stretch in self._reader.finish(names):
            self._enter(stretch)
        if written.segment:
            for stretch in self._reader.follow(written):
                self._enter(stretch)

    def give_up(self, intents: Sequence[Intent]) -> int:
        """Book these as orphans; of how many that could be done. Raises StateFailed."""
        now_ms, refused = int(self._clock() * 1000), self.refused
        self._book([encode_entry(orphan_of(one, now_ms)) for one in intents], self._position())
        given_up = len(intents) - (self.refused - refused)
        self.orphaned += given_up
        if given_up:
            _logger.warning(
                "ledger: %d calls were never settled (the latest began at %d ms Unix time); each is booked with all "
                "that it may have cost",
                given_up,
                max(one.began_ms for one in intents),
            )
        return given_up

    def give_up_leases(self) -> None:
        """Enter the calls that have been open for a while, and give up those that have been for too long: their
        settlement went missing. Raises StateFailed.
        """
        self._enter_old()
        self._give_up(int((self._clock() - self._lease_s) * 1000))

    def _run(self) -> None:
        retry_s, old_at = _EVERY_S, 0.0
        is_ending = False
        while not is_ending:
            is_ending = self._ending.wait(retry_s if self.is_behind else _EVERY_S if self._has_recovered else 0)
            try:
                if not self._has_recovered:
                    self.recover()
                self.fold()
                if abs(self._clock() - old_at) >= _OLD_EVERY_S:
                    old_at = self._clock()
                    self.give_up_leases()
                if self._chore is not None and not is_ending:
                    self._chore()
            except (StateFailed, OSError) as error:
                retry_s = min(2 * retry_s, _MAX_RETRY_S)
                if not self.is_behind:
                    _logger.error("ledger: behind, the journal keeps what is not in the books yet: %s", error)
                self.is_behind = True
            else:
                if self.is_behind:
                    _logger.warning("ledger: up to date again")
                retry_s, self.is_behind = _EVERY_S, False

    def _enter(self, stretch: Stretch) -> None:
        settlements = []
        for at, payload in enumerate(stretch.payloads):
            if at % _READ_CHUNK == _READ_CHUNK - 1:
                self._pause()
            try:
                key, is_settlement = peek_entry(payload)
            except BadEntry as error:
                self._refuse(error)
                continue
            if not is_settlement:
                self._opened.open(key, payload)
                continue
            self._opened.close(key)
            if not stretch.is_known:
                settlements.append(payload)
        if settlements:
            self._book(settlements, stretch.end)

    def _book(self, settlements: Sequence[bytes], position: Position) -> None:
        def book(some: Sequence[bytes]) -> None:
            is_last = some[-1] is settlements[-1]
            self._store.fold((), self._bookings(some), position if is_last else before)

        before = self._position()
        self._by_parts(book, settlements)
        self._known = position

    def _by_parts(self, enter: Callable[[Sequence[bytes]], object], entries: Sequence[bytes]) -> None:
        """Enter these, in their order; if one is to blame for a refusal, the others go in without it."""
        try:
            enter(entries)
        except EntryRefused as error:
            if len(entries) == 1:
                self._refuse(error)
                return
            middle = len(entries) // 2
            self._by_parts(enter, entries[:middle])
            self._by_parts(enter, entries[middle:])

    def _bookings(self, settlements: Sequence[bytes]) -> Iterator[Booking]:
        """Decoded as they are taken: what thousands at once are made of would set the garbage collector to work."""
        now_s = self._clock()
        for at, payload in enumerate(settlements):
            if at % _CHUNK == _CHUNK - 1:
                self._pause()
            entry, period = self._decode(payload, now_s)
            if isinstance(entry, Settlement):
                yield Booking(entry, period)

    def _decode(self, payload: bytes, now_s: float) -> tuple[Entry, Period]:
        """An entry, and where it is booked. Raises EntryRefused."""
        try:
            entry = decode_entry(payload)
            return entry, self._calendar.booked(entry.began_ms / 1000, now_s)
        except (BadEntry, *_NO_INSTANT) as error:
            raise EntryRefused(f"{type(error).__name__}: {error}") from error

    def _enter_old(self) -> None:
        """Enter the intents that have grown old, and remove the segments of which nothing more is needed."""

        def enter(some: Sequence[bytes]) -> None:
            entries = [self._decode(payload, self._clock())[0] for payload in some]
            self._store.fold([one for one in entries if isinstance(one, Intent)], (), self._position())

        if old := self._opened.old:
            self._by_parts(enter, old)
        self._reader.remove_ripe()
        self._opened.age()

    def _pause(self) -> None:
        """Lets go of the interpreter, unless it is the end: the event loop comes first."""
        self._ending.wait(_PAUSE_S)

    def _refuse(self, error: Exception) -> None:
        self.refused += 1
        _logger.error("ledger: a record can't be booked and is left out: %s", error)

    def _give_up(self, began_before_ms: int) -> None:
        while intents := self._store.open_calls(began_before_ms, _CHUNK):
            if not self.give_up(intents):
                return  # they would be found again, without end

    def _position(self) -> Position:
        if self._known is None:
            self._known = self._store.position()
        return self._known
