"""The journal: where a call's intent and settlement are recorded first, so that they survive the end of this process.

The event loop writes an entry itself, which takes 5 to 10 µs, since it only reaches the page cache: from then on
`kill -9` can't lose it. To have a thread do it costs 120 µs of CPU a call when there is little to do, in wake-ups, and
makes the end of a call wait for its turn. But a write may block, and then the loop must not: while the disk is slow to
write or to sync, while it fails, and to begin a new segment, entries are queued for a thread.

A second thread (`sync.py`) syncs the file 50 ms later: from then on neither can a loss of power lose it.

When writing fails (disk full) or hangs, entries stay in memory, and go out when the disk is back. Beyond `MAX_KEPT`
they are given up, counted and logged; well before that, at `MAX_ROOM`, `has_room` turns false.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

from proxy.accounting.frames import MAX_PAYLOAD_BYTES, frame
from proxy.accounting.segments import Appender, DiskSegment, Opener, Segments
from proxy.accounting.sync import Syncer
from proxy.accounting.waiters import Waiters
from proxy.state import BadEntry, Entry, Intent, Position, Settlement, encode_entry

#: Entries that wait for the disk before calls with a budget should be refused: two entries a call, 0.6 KB each.
MAX_ROOM: Final = 50_000
#: Entries that are kept at most, so that the calls under way then can still be settled.
MAX_KEPT: Final = 2 * MAX_ROOM
#: How long `written` waits at most, in seconds: volumes get throttled.
PATIENCE_S: Final = 0.05
#: When writes take the loop longer than this on average, of the last 32 or so, the thread writes for a while; all in
#: seconds. None counts for more than the second figure: a few may take long for other reasons, as when the garbage
#: collector runs.
_SLOW_S: Final = 0.001
_WORST_S: Final = 0.01
_SHARE: Final = 1 / 32
_REST_S: Final = 5.0
#: So does it while a sync takes longer than this, in seconds: what can't be synced may soon not be written either.
_SYNC_S: Final = 0.25
#: A write of the thread that takes longer than this, in seconds, makes the journal degraded.
_STALLED_S: Final = 1.0
_RETRY_S: Final = 0.5
#: Frames written at once, at most.
_MAX_BATCH: Final = 1000

_logger = logging.getLogger(__name__)


class Journal:
    """The journal of one process. Methods are for the event loop's thread; none waits for a slow disk, but `close`."""

    def __init__(
        self, folder: Path, clock: Callable[[], float] = monotonic, open_segment: Opener = DiskSegment
    ) -> None:
        """Take the directory. `clock` gives monotonic seconds. Raises StateUnusable if another process has it."""
        self.segments = Segments(folder)
        self.earlier = tuple(self.segments.names())  #: what earlier processes left behind
        self.lost = 0  #: entries given up, because there was no room or they could not be written down
        self._clock = clock
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._entered = 0
        self._done = 0  # entries written or given up
        self._left_at = 0  # the same, when the thread has left everything to the loop
        self._is_failing = False
        self._began_at: float | None = None  # the thread's write under way
        self._took_s = 0.0  # what a write takes the loop, on average
        self._rests_until = 0.0  # until then the thread writes
        self._written = Waiters(clock)
        self._syncer = Syncer(clock)
        self._appender = Appender(self.segments, self._syncer.retire, open_segment)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def intend(self, intent: Intent) -> int:
        """Record that a call was let in. Returns the entry's token. Cost: 6 µs."""
        return self._enter(intent)

    def settle(self, settlement: Settlement) -> int:
        """Record how a call ended. Returns the entry's token. Cost: 8 µs."""
        return self._enter(settlement)

    async def written(self, token: int) -> bool:
        """Wait until this entry survives the end of the process, but at most `PATIENCE_S`, and not at all while the
        disk is known not to take it. False: it is not written, or nobody knows.
        """
        if self._written.reached(token):
            return True
        return token > 0 and not self._takes_nothing() and await self._written.wait(token, PATIENCE_S)

    async def flushed(self, token: int) -> bool:
        """Wait until this entry survives a loss of power, however long it takes. False: it was given up, or
        the disk failed.
        """
        return token > 0 and await self._syncer.wait(token)

    @property
    def position(self) -> Position:
        """How far it is written. For any thread."""
        return self._appender.position

    @property
    def unwritten(self) -> int:
        """Entries in memory only."""
        return self._entered - self._done

    @property
    def has_room(self) -> bool:
        """May calls go on that must not be lost?"""
        return self._entered - self._done < MAX_ROOM

    @property
    def is_degraded(self) -> bool:
        """Is the disk full, failing or stuck?"""
        return self._takes_nothing() or self._syncer.is_failing

    @property
    def late(self) -> int:
        """How often `written` did not wait any longer."""
        return self._written.late

    def close(self, timeout_s: float = 5.0) -> int:
        """Write and sync what is queued, waiting for a stuck disk no longer than this. Returns how many entries could
        not be written. Blocks.
        """
        self._queue.put(None)
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._syncer.close(timeout_s)
        if self.unwritten:
            _logger.error("journal: %d entries could not be written before the end and are lost", self.unwritten)
        return self.unwritten

    def release(self) -> None:
        """Give the directory back, after `close`, when nobody reads it any more."""
        self.segments.release()

    def _takes_nothing(self) -> bool:
        began_at = self._began_at
        return self._is_failing or (began_at is not None and self._clock() - began_at > _STALLED_S)

    def _enter(self, entry: Entry) -> int:
        now = self._clock()
        if (
            self._entered == self._left_at  # else they would not be in order, and the thread uses the appender
            and now >= self._rests_until
            and self._appender.has_room
            and now - self._syncer.began_at < _SYNC_S
        ):
            return self._write_here(entry, now)
        return self._queue_up(entry)

    def _write_here(self, entry: Entry, now: float) -> int:
        token = self._entered + 1
        try:
            if data := self._frame(entry):
                self._syncer.wrote(self._appender.append(data), token)
        except OSError:
            return self._queue_up(entry)  # the thread tries again, and says what is wrong
        ended_at = self._clock()
        took_s = ended_at - now
        self._took_s += ((took_s if took_s < _WORST_S else _WORST_S) - self._took_s) * _SHARE
        if self._took_s > _SLOW_S:
            self._took_s, self._rests_until = 0.0, ended_at + _REST_S
        self._entered = self._done = self._left_at = token
        self._written.reach(token)
        return token

    def _queue_up(self, entry: Entry) -> int:
        if self._entered - self._done >= MAX_KEPT:
            if self.lost % MAX_ROOM == 0:
                _logger.error("journal: no room in memory is left, entries are lost: see to the disk of state.journal")
            self.lost += 1
            return 0
        self._entered += 1
        self._queue.put(entry)
        return self._entered

    # From here on: the journal's thread, which alone uses the appender while something is queued.

    def _run(self) -> None:
        frames: list[bytes] = []  # one an entry, in their order; empty for one that can't be written down
        is_open, retry_at = True, 0.0
        while is_open or frames:
            if is_open:
                is_open = self._take(frames, _RETRY_S if self._is_failing else 0.0 if frames else None)
            if is_open and self._is_failing and self._clock() < retry_at:
                continue
            if not self._write(frames):
                retry_at = self._clock() + _RETRY_S
                if not is_open:
                    break
        self._appender.close()

    def _take(self, frames: list[bytes], timeout_s: float | None) -> bool:
        """Move what is queued to `frames`; wait so long for the first, None for ever. False: it was the last."""
        try:
            entry = self._queue.get(True, timeout_s)
            for _ in range(_MAX_BATCH):
                if entry is None:
                    return False
                frames.append(self._frame(entry))
                entry = self._queue.get_nowait()
            if entry is None:
                return False
            frames.append(self._frame(entry))
        except queue.Empty:
            pass
        return True

    def _frame(self, entry: Entry) -> bytes:
        try:
            payload = encode_entry(entry)
            if len(payload) > MAX_PAYLOAD_BYTES:
                raise BadEntry(f"call {entry.call_id}: its entry is too large")
        except BadEntry as error:
            self.lost += 1
            _logger.error("journal: an entry is lost: %s", error)
            return b""
        return frame(payload)

    def _write(self, frames: list[bytes]) -> bool:
        batch = frames[:_MAX_BATCH]
        done = self._done + len(batch)
        self._began_at = self._clock()
        try:
            if data := b"".join(batch):
                self._syncer.wrote(self._appender.append(data), done)
        except OSError as error:
            if not self._is_failing:
                self._is_failing = True
                _logger.error("journal: can't be written (%s); entries are kept in memory", error.strerror)
            self._written.release()
            return False
        finally:
            self._began_at = None
        del frames[: len(batch)]
        self._done = done
        if self._is_failing:
            self._is_failing = False
            _logger.warning("journal: is written again; all that was kept is going out")
        # Whoever wakes up enters the next one: by then the loop must know that it may write again, or it never would.
        self._written.note(done)
        self._left_at = done
        self._written.wake()
        return True
