"""Entries for the books, and journals and disks that do as they are told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from proxy.accounting.frames import frame
from proxy.accounting.segments import Appender, DiskSegment, SegmentFile, Segments
from proxy.state import (
    AttemptEntry,
    Booking,
    Entry,
    Intent,
    Payer,
    Period,
    Position,
    Settlement,
    Span,
    SqliteLedger,
    SqliteReports,
    encode_entry,
)

#: 2026-11-21 07:00 UTC, a Saturday, as Unix milliseconds.
MORNING_MS = 1_795_244_400_000
MORNING_S = MORNING_MS / 1000
NOVEMBER = Span(date(2026, 11, 1), date(2026, 12, 1))
PAYER = Payer("search", "ci", "4711", {"env": "prod"})


def unix_s(text: str) -> float:
    """Unix seconds of an ISO instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def intent(call_id: str = "req_1", *, began_ms: int = MORNING_MS, cost_nusd: int = 1000) -> Intent:
    return Intent(call_id, call_id, began_ms, PAYER, "chat", False, cost_nusd, 30, 70)


def attempt(provider: str = "openai", cost_nusd: int = 500, **changes: object) -> AttemptEntry:
    members: dict[str, object] = {
        "target": f"{provider}/m",
        "provider": provider,
        "role": "first",
        "metering": "reported",
        "cost_nusd": cost_nusd,
        "low_nusd": cost_nusd,
        "high_nusd": cost_nusd,
        "uncached_tokens": 10,
        "visible_tokens": 20,
        "is_answer": True,
    }
    return AttemptEntry(**(members | changes))  # type: ignore[arg-type]


def settlement(
    call_id: str = "req_1",
    *attempts: AttemptEntry,
    began_ms: int = MORNING_MS,
    payer: Payer = PAYER,
    model: str = "chat",
    **changes: object,
) -> Settlement:
    members: dict[str, object] = {
        "request_id": call_id,
        "ended_ms": began_ms + 100,
        "asked_model": model,
        "status": 200,
        "source": "upstream",
        "attempts": attempts or (attempt(),),
    }
    return Settlement(call_id=call_id, began_ms=began_ms, payer=payer, model=model, **(members | changes))  # type: ignore[arg-type]


def booking(one: Settlement) -> Booking:
    """Booked when it began, in UTC."""
    began = datetime.fromtimestamp(one.began_ms / 1000, UTC)
    hour = began.replace(minute=0, second=0, microsecond=0)
    return Booking(one, Period(int(hour.timestamp()), began.date().isoformat()))


class WrittenJournal:
    """A journal without threads: what is written is there at once."""

    def __init__(self, folder: Path) -> None:
        self.segments = Segments(folder)
        self.earlier: Sequence[str] = tuple(self.segments.names())
        self._folder = folder
        self._retired: list[SegmentFile] = []
        self._appender = Appender(self.segments, self._retired.append)

    @property
    def position(self) -> Position:
        return self._appender.position

    def write(self, *entries: Entry) -> None:
        self._appender.append(b"".join(frame(encode_entry(entry)) for entry in entries))

    def rotate(self) -> None:
        """Go on in a new segment."""
        self._appender = Appender(self.segments, self._retired.append)

    def tear(self, data: bytes) -> None:
        """Write something that is no record, or only part of one."""
        if self._appender.file is None:
            self.write()
        assert self._appender.file is not None
        self._appender.file.write(data)

    def die(self) -> None:
        """As the end of the process would: nothing is finished."""
        self._appender.close()
        for file in self._retired:
            file.close()
        self.segments.release()


class Disk:
    """Creates segments on a disk that can be full, fail to sync, or be slow to answer."""

    def __init__(self) -> None:
        self.room_bytes: int | None = None  #: None: as much as one likes
        self.can_sync = True
        self.can_truncate = True
        self.on_write: Callable[[], object] = lambda: None  #: called by who writes
        self.on_sync: Callable[[], object] = lambda: None
        self.synced = 0
        self.closed = 0

    def __call__(self, path: Path) -> SegmentFile:
        if self.room_bytes == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return _Segment(path, self)


class _Segment:
    def __init__(self, path: Path, disk: Disk) -> None:
        self._file = DiskSegment(path)
        self._disk = disk

    def write(self, data: bytes) -> int:
        self._disk.on_write()
        room = self._disk.room_bytes
        if room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._file.write(data if room is None else data[:room])
        if room is not None:
            self._disk.room_bytes = room - written
        return written

    def truncate(self, size: int) -> None:
        if not self._disk.can_truncate:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._file.truncate(size)

    def sync(self) -> None:
        self._disk.on_sync()
        if not self._disk.can_sync:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._file.sync()
        self._disk.synced += 1

    def close(self) -> None:
        self._file.close()
        self._disk.closed += 1


def booked(path: Path, *entries: Settlement | Booking) -> SqliteReports:
    """Books in this file that hold these; where a call alone is given, it is booked when it began, in UTC."""
    store = SqliteLedger(path)
    bookings = [one if isinstance(one, Booking) else booking(one) for one in entries]
    store.fold((), bookings, Position())
    store.close()
    return SqliteReports(path)


def booked_at(one: Settlement, text: str) -> Booking:
    """Booked at this instant of UTC, whenever it began."""
    at_s = int(unix_s(text))
    return Booking(one, Period(at_s // 3600 * 3600, text[:10]))
