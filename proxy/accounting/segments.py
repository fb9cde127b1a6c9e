"""The files of a journal: append-only segments in one directory, which one process owns.

A segment's name is a number that grows and eight random digits. The digits keep a position in one journal from being
taken for one in another that was begun in its place.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Final, Protocol

from proxy.state import Position, StateUnusable

#: A segment is closed when it has grown to this; about 14,000 calls.
SEGMENT_BYTES: Final = 8 << 20
_NAME: Final = re.compile(r"([0-9]{10})-[0-9a-f]{8}\.journal")
_LOCK: Final = "lock"
_ID: Final = "id"
_DAMAGED: Final = ".damaged"


class JournalTaken(StateUnusable):
    """Another process has the directory."""


class SegmentFile(Protocol):
    """A segment while it is written. Each method raises OSError."""

    def write(self, data: bytes) -> int:
        """Append some of the data; how many bytes it was."""
        ...

    def truncate(self, size: int) -> None:
        """Cut off what lies behind so many bytes."""
        ...

    def sync(self) -> None:
        """Return when all that was written would survive a loss of power."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class DiskSegment:
    """A segment on disk."""

    def __init__(self, path: Path) -> None:
        """Create it; it must not be there yet."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._folder: Path | None = path.parent

    def write(self, data: bytes) -> int:
        """See `SegmentFile.write`."""
        return os.write(self._fd, data)

    def truncate(self, size: int) -> None:
        """See `SegmentFile.truncate`."""
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        """See `SegmentFile.sync`."""
        os.fdatasync(self._fd)
        if self._folder is not None:  # its name must survive too
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            self._folder = None

    def close(self) -> None:
        """See `SegmentFile.close`."""
        os.close(self._fd)


class Segments:
    """The directory of a journal."""

    def __init__(self, folder: Path) -> None:
        """Take the directory for this process, and make it if need be. Raises JournalTaken if another one has it, and
        StateUnusable.
        """
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateUnusable(
                f"the journal directory {folder} can't be used: {error.strerror}. Make it writable for this user, or "
                "set state.journal to another one."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets go of it when the process ends
        except OSError as error:
            owner = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            raise JournalTaken(
                f"the journal directory {folder} is in use by another gateway (process {owner or 'unknown'}). Stop "
                "that one, or set state.journal to a directory of this one's own."
            ) from error
        with suppress(OSError):  # on a full disk the lock holds without the number
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)
        self._number = max((int(name[:10]) for name in self.names()), default=0)

    def names(self) -> list[str]:
        """Names of all segments, the oldest first."""
        return sorted(name for name in os.listdir(self.folder) if _NAME.fullmatch(name))

    def id(self) -> str:
        """What no other journal is called, wherever it is; made when it is asked for first. Raises StateUnusable."""
        path = self.folder / _ID
        try:
            with suppress(FileNotFoundError):
                if found := path.read_text("ascii").strip():
                    return found
            made = token_hex(8)
            path.write_text(f"{made}\n", "ascii")
        except (OSError, ValueError) as error:
            raise StateUnusable(f"{path} can't be read or written: {error}. Make it writable for this user.") from error
        return made

    def next_path(self) -> Path:
        """Where the next segment goes."""
        self._number += 1
        return self.folder / f"{self._number:010d}-{token_hex(4)}.journal"

    def read(self, name: str, offset: int, end: int | None = None) -> bytes:
        """What lies in a segment from `offset` on, up to `end`. Raises OSError."""
        with open(self.folder / name, "rb", buffering=0) as file:
            file.seek(offset)
            return file.read() if end is None else file.read(end - offset)

    def drop(self, name: str, keep: bool = False) -> None:
        """Remove a segment that is in the books, or set it aside for a person to look at. Raises OSError."""
        path = self.folder / name
        if keep:
            path.rename(path.with_name(name + _DAMAGED))
        else:
            path.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the directory back. Call it once."""
        os.close(self._lock)


class Opener(Protocol):
    """Creates a segment. Raises OSError."""

    def __call__(self, path: Path, /) -> SegmentFile: ...


class Appender:
    """Writes to one segment after the other. For one thread at a time, but for `position`."""

    def __init__(
        self, segments: Segments, retire: Callable[[SegmentFile], None], open_segment: Opener = DiskSegment
    ) -> None:
        """`retire` is given each segment to which nothing more will be written, to sync and close it."""
        self._segments = segments
        self._retire = retire
        self._open = open_segment
        self._size = 0
        self._is_torn = False
        self._reached = "", 0  # one value, so that no thread sees half of it
        self.file: SegmentFile | None = None  #: the segment being written; None before the first

    @property
    def position(self) -> Position:
        """All before it is written."""
        return Position(*self._reached)

    @property
    def has_room(self) -> bool:
        """Does the next append go to the segment as it is, with no other to be created?"""
        return self.file is not None and not self._is_torn and self._size < SEGMENT_BYTES

    def append(self, data: bytes) -> SegmentFile:
        """Write whole frames; when it returns, they survive the end of this process. Returns where they went.

        Raises OSError; frames may then have been written or not, and may be written again.
        """
        file = self.file
        if file is None or not self.has_room:
            file = self._begin()
        try:
            written = file.write(data)
            while written < len(data):
                written += file.write(data[written:])
        except OSError:
            self._is_torn = True
            file.truncate(self._size)
            self._is_torn = False
            raise
        self._size += written
        self._reached = self._reached[0], self._size
        return file

    def close(self) -> None:
        """Write no more."""
        if self.file is not None:
            self._retire(self.file)
            self.file = None

    def _begin(self) -> SegmentFile:
        path = self._segments.next_path()
        file = self._open(path)
        self.close()
        self.file, self._size, self._is_torn = file, 0, False
        self._reached = path.name, 0
        return file
