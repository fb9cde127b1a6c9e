"""Reads one stream to its end and waits there for more. It knows its place: after a pause it goes on behind the last
entry that it told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from proxy.state.base import StateAway, StateFailed
from proxy.state.redis_door import Door
from proxy.state.redis_finder import Finder
from proxy.state.redis_wire import Wire

#: How long Redis waits for an entry before it says that there is none, in seconds; one that is silent for so long and
#: another second is away.
_BLOCK_S: Final = 2.0
_GRACE_S: Final = 1.0
#: Entries that are read at once.
_COUNT: Final = 1_000
#: Before all entries.
_START: Final = b"0-0"

OnEntry = Callable[[bytes, dict[bytes, bytes]], None]


class StreamReader:
    """For one stream."""

    def __init__(self, door: Door, finder: Finder, key: str, on_entry: OnEntry, on_gap: Callable[[], None]) -> None:
        self._door = door
        self._finder = finder
        self._key = key
        self._on_entry = on_entry
        self._on_gap = on_gap
        self._last: bytes | None = None  #: the id of the last entry that was told; None: not known yet
        self._was_tried = False

    async def hear(self, up: Callable[[], None]) -> None:
        """Read on, until the connection is lost; `up` is told once there is one. Raises StateAway, StateFailed."""
        is_late, self._was_tried = self._was_tried, True
        wire = (await self._door.open_primary(await self._finder.primaries(self._key))).wire
        try:
            self._go_on(await self._look(wire), is_late)
            up()
            wire.set_timeout(_BLOCK_S + _GRACE_S)
            block = ("BLOCK", int(1000 * _BLOCK_S), "COUNT", _COUNT)
            while True:
                for _, entries in await wire.ask(self._door, "XREAD", *block, "STREAMS", self._key, self._last) or ():
                    self._tell(entries)
        finally:
            wire.close()

    async def _look(self, wire: Wire) -> Any:
        """What Redis says of the stream; None if there is none."""
        try:
            return await wire.ask(self._door, "XINFO", "STREAM", self._key)
        except StateAway:
            raise
        except StateFailed:
            return None

    def _go_on(self, info: Any, is_late: bool) -> None:
        if self._last is None:  # from now on; but now may be later than it was meant
            self._last, is_gap = resume(None, info)[0], is_late
        else:
            self._last, is_gap = resume(self._last, info)
        if is_gap:
            asyncio.get_running_loop().call_soon(self._on_gap)

    def _tell(self, entries: Any) -> None:
        loop = asyncio.get_running_loop()
        for entry_id, fields in entries:
            self._last = entry_id
            # By the loop, which logs what a callback raises and goes on.
            loop.call_soon(self._on_entry, entry_id, dict(zip(fields[::2], fields[1::2], strict=True)))


def resume(last: bytes | None, info: Any) -> tuple[bytes, bool]:
    """Where to go on behind `last` (None: behind all there is) in a stream of which XINFO says this (None: there is
    none), and whether entries may be missing.
    """
    said = {} if info is None else dict(zip(info[::2], info[1::2], strict=True))
    newest: bytes = said.get(b"last-generated-id", _START)
    if last is None:
        return newest, False
    if _place(newest) < _place(last):  # another stream of the same name: all of it is new
        return _START, True
    first = said.get(b"first-entry")
    is_whole = newest == last or (first is not None and _place(first[0]) <= _place(last))
    return last, not is_whole


def _place(entry_id: bytes) -> tuple[int, int]:
    ms, _, number = entry_id.partition(b"-")
    return int(ms), int(number)
