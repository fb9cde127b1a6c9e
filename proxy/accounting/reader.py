"""Reads a journal: each segment once, a stretch at a time, and removes those that are needed no more. What is no record
is skipped and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from math import inf
from typing import Final, NamedTuple

from proxy.accounting.frames import read_frames
from proxy.accounting.segments import Segments
from proxy.state import Position

#: What is read at once, in bytes; about 3,500 calls, which go into the books together.
_READ_BYTES: Final = 2 << 20

_logger = logging.getLogger(__name__)


class Stretch(NamedTuple):
    """Records that follow each other."""

    payloads: Sequence[bytes]
    end: Position  #: behind the last of them
    is_known: bool  #: does it lie before the offset that the reader was told of?


class Reader:
    """Reads the segments of one journal. A stretch counts as read when the next one is asked for: whoever fails over it
    gets it again.
    """

    def __init__(self, segments: Segments) -> None:
        self.torn_bytes = 0  #: at the end of segments: what was being written when their process died
        self.damaged_bytes = 0  #: skipped in the midst of a segment; the segment is set aside
        self._segments = segments
        self._read_to = Position()
        self._has_damage = False  # the segment that is being read
        self._finished: dict[str, bool] = {}  # segments that were read to their end: are they damaged?
        self._ripe: Sequence[str] = ()  # those of them that were when `remove_ripe` was called last

    def finish(self, names: Sequence[str], known: Position | None = None) -> Iterator[Stretch]:
        """The rest of these segments, the oldest first, which grow no more. What lies before `known` is marked."""
        for name in names:
            if name in self._finished:
                continue
            torn_bytes = yield from self._read(name, inf, _known_bytes(name, known))
            if torn_bytes:
                self.torn_bytes += torn_bytes
                _logger.warning("journal: %s ends in %d bytes that are no record; skipped", name, torn_bytes)
            self._finished[name] = self._has_damage
            self._has_damage = False

    def follow(self, end: Position) -> Iterator[Stretch]:
        """What was written to a segment that still grows, up to `end`."""
        yield from self._read(end.segment, end.offset, 0)

    def remove_ripe(self) -> None:
        """Remove the segments that had been read to their end when this was called last. Raises OSError."""
        for name in self._ripe:
            if name in self._finished:
                self._segments.drop(name, keep=self._finished[name])
                del self._finished[name]
        self._ripe = tuple(self._finished)

    def _read(self, name: str, end: float, known: float) -> Generator[Stretch, None, int]:
        """Returns how many bytes behind the last record are none."""
        offset = self._read_to.offset if self._read_to.segment == name else 0
        tail = b""
        while True:
            begin = offset + len(tail)
            is_known = begin < known
            wanted = min(begin + _READ_BYTES, end, known if is_known else inf)
            more = self._segments.read(name, begin, int(wanted)) if wanted > begin else b""
            data = tail + more
            found = read_frames(data)
            if found.damaged_bytes:
                self.damaged_bytes += found.damaged_bytes
                self._has_damage = True
                _logger.warning("journal: %s has %d bytes that are no record", name, found.damaged_bytes)
            offset += found.end
            tail = data[found.end :]
            if found.payloads:
                yield Stretch(found.payloads, Position(name, offset), is_known)
                self._read_to = Position(name, offset)
            if not more:
                return len(tail)


def _known_bytes(name: str, known: Position | None) -> float:
    if known is None or name > known.segment:
        return 0
    return known.offset if name == known.segment else inf
