"""The blocks of one stream, for several readers who came at different times: each gets all of them from the first, then
follows live. What is kept for those who are still to come has its bounds; beyond them the reel keeps only what its
slowest reader has not read, and nobody can join any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

#: So much of one stream is kept.
MAX_KEPT_BYTES: Final = 4_000_000
#: So far the source may be ahead of the reader that has read most.
_AHEAD_BYTES: Final = 256_000
#: So much a reader gets at once, who is far behind: each has a copy of its own.
_AT_ONCE_BYTES: Final = 256_000


class Shelf:
    """How much all reels keep together."""

    __slots__ = ("limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0


class Reel:
    """One stream on its way. Positions are counted in bytes from its beginning."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._blocks: list[bytes] = []
        self._offset = 0  # where the first of these blocks begins
        self._end = 0
        self._places: dict[str, int] = {}  # how far each reader has come
        self._error: Exception | None = None
        self._is_over = self._is_closed = False
        self._news = asyncio.Event()
        self._was_read = asyncio.Event()
        self.is_whole = True  #: is all of it kept, so that a reader may still join?

    @property
    def contents(self) -> bytes:
        """All of it, as long as it is whole."""
        return b"".join(self._blocks)

    def join(self, name: str) -> None:
        """One more reader, from the first block."""
        self._places[name] = 0

    def leave(self, name: str) -> None:
        """It reads no more."""
        if self._places.pop(name, None) is not None:
            self._was_read.set()
        if self._is_closed:
            self.close()

    def add(self, block: bytes) -> None:
        """The next block. Wait for room before there is another."""
        self._blocks.append(block)
        self._end += len(block)
        if self.is_whole:
            self._shelf.used_bytes += len(block)
            if self._end > MAX_KEPT_BYTES or self._shelf.used_bytes > self._shelf.limit_bytes:
                self._give_up()
        self._tell()

    async def room(self) -> None:
        """Returns when there is room for one more: when some reader is not far behind or, where not all is kept, none
        is.
        """
        while self._places and not self._has_room():
            self._was_read.clear()
            await self._was_read.wait()
        if not self.is_whole:
            self._drop()

    def end(self, error: Exception | None = None) -> None:
        """Nothing follows; with an error: readers meet it when they have read what there is."""
        if not self._is_over:
            self._is_over, self._error = True, error
            self._tell()

    def close(self) -> None:
        """Nobody joins any more. What is kept counts on the shelf until the last reader has left."""
        self._is_closed = True
        if self.is_whole and not self._places:
            self._give_up()

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """The blocks for this reader, many of those that are there already as one. Raises what it ended with."""
        while True:
            place = self._places.get(name, self._end)
            if place < self._end:
                unread = self._from(place)
                self._places[name] = place + len(unread)
                self._was_read.set()
                yield unread
            elif self._is_over:
                if self._error is not None:
                    raise self._error
                return
            else:
                await self._news.wait()

    def _has_room(self) -> bool:
        read = max(self._places.values()) if self.is_whole else min(self._places.values())
        return self._end - read <= _AHEAD_BYTES

    def _from(self, place: int) -> bytes:
        at = self._offset
        if place == self._end - len(self._blocks[-1]):
            return self._blocks[-1]
        unread: list[bytes] = []
        for block in self._blocks:
            if at >= place:
                unread.append(block)
            at += len(block)
            if at - place >= _AT_ONCE_BYTES:
                break
        return b"".join(unread)

    def _give_up(self) -> None:
        self.is_whole = False
        self._shelf.used_bytes -= self._end

    def _drop(self) -> None:
        """Forget what everybody has read."""
        read = min(self._places.values(), default=self._end)
        while self._blocks and self._offset + len(self._blocks[0]) <= read:
            self._offset += len(self._blocks.pop(0))

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
