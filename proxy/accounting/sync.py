"""Makes what was written survive a loss of power: syncs on a thread of its own, so that nobody who writes waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from math import inf
from typing import Final

from proxy.accounting.segments import SegmentFile
from proxy.accounting.waiters import Waiters

#: What a loss of power may cost, in seconds. Each sync costs 0.2 ms of CPU, and none is made while nothing is written.
SYNC_EVERY_S: Final = 0.05
_RETRY_S: Final = 0.5

_logger = logging.getLogger(__name__)


class Syncer:
    """Syncs the segment being written, and those before it for the last time."""

    def __init__(self, clock: Callable[[], float], every_s: float = SYNC_EVERY_S) -> None:
        """`clock` gives monotonic seconds."""
        self.is_failing = False
        self.began_at = inf  #: the sync under way, in monotonic seconds; inf if there is none
        self._clock = clock
        self._every_s = every_s
        self._waiters = Waiters(clock)
        self._latest: tuple[SegmentFile | None, int] = None, 0  # one value, so that no thread sees half of it
        self._lock = threading.Lock()  # guards the next two
        self._retired: list[SegmentFile] = []
        self._is_closing = False
        self._due = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
        self._thread.start()

    async def wait(self, token: int) -> bool:
        """Wait until all up to this token is synced. False: syncing failed."""
        if self._waiters.reached(token):
            return True
        self._hurry.set()
        return await self._waiters.wait(token)

    def wrote(self, file: SegmentFile, token: int) -> None:
        """All up to this token is written, the latest of it to this file. For who writes."""
        self._latest = file, token
        if not self._due.is_set():  # setting it costs 1 µs
            self._due.set()

    def retire(self, file: SegmentFile) -> None:
        """Nothing more will be written to this file: sync and close it. For who writes."""
        with self._lock:
            self._retired.append(file)
            latest, token = self._latest
            if latest is file:
                self._latest = None, token
        self._due.set()

    def close(self, timeout_s: float) -> None:
        """Sync what is left, and end the thread; wait for a stuck disk no longer than this. Blocks."""
        with self._lock:
            self._is_closing = True
        self._hurry.set()
        self._due.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        is_closing = False
        while not is_closing:
            self._due.wait()
            self._hurry.wait(_RETRY_S if self.is_failing else self._every_s)
            self._hurry.clear()
            self._due.clear()
            with self._lock:
                (file, token), is_closing = self._latest, self._is_closing
                retired, self._retired = self._retired, []
            self.began_at = self._clock()
            try:
                for one in (*retired, file):
                    if one is not None:
                        one.sync()
            except OSError as error:
                self._fail(error, retired)
            else:
                for one in retired:
                    one.close()
                self.is_failing = False
                self._waiters.reach(token)
            self.began_at = inf

    def _fail(self, error: OSError, retired: list[SegmentFile]) -> None:
        if not self.is_failing:
            self.is_failing = True
            _logger.error(
                "journal: can't be synced (%s); what was written last may not survive a loss of power", error.strerror
            )
        self._waiters.release()
        with self._lock:
            self._retired = retired + self._retired
        self._due.set()
