"""What the workers of one server show to each other and to their parent: a page of shared memory, made before they are
forked. Nothing of it outlives them, and no file or directory is left behind.

Each word has one writer, and is written in one piece; who reads may be a moment late and is never held up.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

#: `absent`: nobody has the slot.
WorkerState = Literal["absent", "starting", "ready", "draining"]

_STATES: Final[tuple[WorkerState, ...]] = ("absent", "starting", "ready", "draining")
_RECORD_BYTES: Final = 64
# Words of the header, and of a record, in units of four bytes; the time of the last beat is a double.
_EPOCH, _OPENED, _DRAINING, _DEATHS, _RELOADS = range(5)
_STATE, _PID, _CALLS, _CONNECTIONS, _SERIAL, _LENGTHS = 0, 1, 4, 5, 6, 7
_BEAT: Final = 1  # in units of eight bytes
#: Room for one sheet. The file has holes: only what was written takes memory.
_SHEET_BYTES: Final = 64_000_000
#: A reader that comes between two writes tries again; a writer that died there is not waited for.
_MAX_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """One worker, as it was at its last beat."""

    slot: int
    pid: int  #: 0 until the parent has written it
    state: WorkerState
    beat_s: float  #: monotonic seconds, the same clock in every process
    calls: int
    connections: int


class Board:
    """So many slots, one for each worker, and a sheet (bytes, as large as they come) for each slot and for the parent.

    Make it before the first fork. A slot's record is its worker's, but for `assign` and `clear`, which are the
    parent's while nobody has it; the header is the parent's, but for `call_for_reload`.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        memory = memoryview(mmap.mmap(-1, _RECORD_BYTES * (slots + 2)))
        self._words, self._doubles = memory.cast("I"), memory.cast("d")
        self._sheets = _memory_file()

    @property
    def opened(self) -> bool:
        """Whether all workers were ready at once, and clients were told so."""
        return bool(self._words[_OPENED])

    @opened.setter
    def opened(self, value: bool) -> None:
        self._words[_OPENED] = value

    @property
    def draining(self) -> bool:
        """Whether the whole is told to stop."""
        return bool(self._words[_DRAINING])

    @draining.setter
    def draining(self, value: bool) -> None:
        self._words[_DRAINING] = value

    @property
    def deaths(self) -> int:
        """Workers that ended without being told to."""
        return self._words[_DEATHS]

    @deaths.setter
    def deaths(self, value: int) -> None:
        self._words[_DEATHS] = value & 0xFFFFFFFF

    @property
    def reloads(self) -> int:
        """Another number each time that somebody called for a reload of the config."""
        return self._words[_RELOADS]

    def call_for_reload(self) -> None:
        """Have every worker read its config again, within a beat."""
        self._words[_RELOADS] = (self._words[_RELOADS] + 1) & 0xFFFFFFFF

    def assign(self, slot: int, now_s: float) -> None:
        """Somebody is about to have this slot."""
        at = self._word(slot)
        self._words[at + _PID] = self._words[at + _CALLS] = self._words[at + _CONNECTIONS] = 0
        self.beat(slot, now_s, 0)
        self.enter(slot, "starting")

    def clear(self, slot: int) -> None:
        """Nobody has it any more."""
        self.enter(slot, "absent")

    def name(self, slot: int, pid: int) -> None:
        """Note which process has the slot."""
        self._words[self._word(slot) + _PID] = pid

    def enter(self, slot: int, state: WorkerState) -> None:
        """The worker is in this state from now on."""
        self._words[self._word(slot) + _STATE] = _STATES.index(state)

    def beat(self, slot: int, now_s: float, calls: int) -> None:
        """The worker's loop turns. `calls`: in flight."""
        self._words[self._word(slot) + _CALLS] = calls
        self._doubles[self._word(slot) // 2 + _BEAT] = now_s

    def connected(self, slot: int, connections: int) -> None:
        """How many connections of clients the worker has open."""
        self._words[self._word(slot) + _CONNECTIONS] = connections

    def standing(self, slot: int) -> Standing:
        """How the worker of a slot stands."""
        at, words = self._word(slot), self._words
        return Standing(
            slot,
            words[at + _PID],
            _STATES[words[at + _STATE]],
            self._doubles[at // 2 + _BEAT],
            words[at + _CALLS],
            words[at + _CONNECTIONS],
        )

    def standings(self) -> Iterator[Standing]:
        """All workers that there are."""
        words = self._words
        return (self.standing(slot) for slot in range(self.slots) if words[self._word(slot) + _STATE])

    def publish(self, slot: int, sheet: bytes) -> None:
        """Show this sheet in place of the last one, in one step: whoever is killed half-way leaves the last one.

        Raises ValueError if it is beyond all measure.
        """
        if len(sheet) > _SHEET_BYTES:
            raise ValueError(f"a sheet of {len(sheet)} bytes: there is room for {_SHEET_BYTES}")
        at = self._word(slot)
        serial = (self._words[at + _SERIAL] + 1) & 0xFFFFFFFF
        os.pwrite(self._sheets, sheet, self._area(slot, serial))
        self._words[at + _LENGTHS + serial % 2] = len(sheet)
        self._words[at + _SERIAL] = serial

    def bury(self, slot: int, kept: bytes) -> None:
        """The slot's sheet goes, and `kept` is what all that are gone have left, itself among them: nobody sees both,
        or neither. For the parent.
        """
        with self._epoch():
            self.publish(self.slots, kept)
            at = self._word(slot) + _LENGTHS
            self._words[at] = self._words[at + 1] = 0

    def sheet(self, slot: int) -> bytes:
        """The last one that the slot's worker showed; empty if there is none."""
        at, words = self._word(slot), self._words
        for _ in range(_MAX_TRIES):
            serial = words[at + _SERIAL]
            sheet = os.pread(self._sheets, words[at + _LENGTHS + serial % 2], self._area(slot, serial))
            if words[at + _SERIAL] == serial:
                return sheet
        return b""

    @property
    def kept(self) -> bytes:
        """What those that are gone have left."""
        return self.sheet(self.slots)

    def sheets(self) -> tuple[bytes, dict[int, bytes]]:
        """What was left, and each slot's sheet, as they were at one moment between two burials."""
        for _ in range(_MAX_TRIES):
            epoch = self._words[_EPOCH]
            found = self.kept, {slot: sheet for slot in range(self.slots) if (sheet := self.sheet(slot))}
            if epoch % 2 == 0 and self._words[_EPOCH] == epoch:
                break
        return found

    @contextlib.contextmanager
    def _epoch(self) -> Iterator[None]:
        self._words[_EPOCH] = (self._words[_EPOCH] + 1) & 0xFFFFFFFF
        yield
        self._words[_EPOCH] = (self._words[_EPOCH] + 1) & 0xFFFFFFFF

    def _word(self, slot: int) -> int:
        return (slot + 1) * _RECORD_BYTES // 4

    def _area(self, slot: int, serial: int) -> int:
        return (2 * slot + serial % 2) * _SHEET_BYTES


def _memory_file() -> int:
    """A file that has no name, and is gone with the last process that has it open."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("waystation-workers")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
