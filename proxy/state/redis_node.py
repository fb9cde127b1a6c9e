"""A connection that is kept: made anew by itself whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

from proxy.state.base import StateFailed
from proxy.state.redis_door import Door
from proxy.state.redis_faults import LOSING, kind_of
from proxy.state.redis_place import Address
from proxy.state.redis_wire import Trip, Wire

#: How far apart tries to connect begin, in seconds: it doubles up to the second figure.
_RETRY_S: Final = 0.1
_MAX_RETRY_S: Final = 1.0
#: A connection that lived for so long, in seconds, was a good one: the next is tried at once. One that is lost sooner
#: belongs to a server that is too slow, and each loss costs somebody the time-out.
_STEADY_S: Final = 2.0
#: How often the server is asked for a sign of life, in seconds: without calls too it is known to be away.
_BEAT_S: Final = 1.0

_logger = logging.getLogger(__name__)

#: Gives the servers that may be the right one, the likeliest first. May raise StateAway.
Find = Callable[[], Awaitable[Sequence[Address]]]


class Node:
    """One server's connection, or that of whichever server has its role."""

    def __init__(self, door: Door, find: Find, lost: Callable[[], None] = lambda: None) -> None:
        """`find` is asked before each try, `lost` told after each loss."""
        self.wire: Wire | None = None  #: None while the server is away
        self.is_old = False  #: a Redis before version 7
        self.unheard = 0
        self._door = door
        self._find = find
        self._tell_lost = lost
        self._lost = asyncio.Event()
        self._up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._said = ""

    async def start(self) -> None:
        """Try to connect once, for a second at most; from then on it goes on by itself."""
        await self._connect()
        self._keeper = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Let go."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.close()

    async def until_up(self, within_s: float) -> None:
        """Wait for a connection. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            await self._up.wait()

    def refused(self, trip: Trip, wire: Wire, text: str) -> None:
        """See Sender: what became of a sign of life."""
        kind = kind_of(text)
        if kind in LOSING:
            wire.fail(f"it says {kind}")

    async def _keep(self) -> None:
        wait_s = _RETRY_S
        while True:
            tried_s = monotonic()
            if self.wire is None:
                await self._connect()
            if self.wire is not None:
                up_s = monotonic()
                await self._until_lost()
                if monotonic() - up_s >= _STEADY_S:
                    wait_s = _RETRY_S
                    continue
            await asyncio.sleep(max(0.0, tried_s + wait_s - monotonic()))
            wait_s = min(2 * wait_s, _MAX_RETRY_S)

    async def _connect(self) -> None:
        self._lost.clear()
        try:
            opened = await self._door.open_primary(await self._find(), self._on_lost)
        except StateFailed as fault:
            self._say(f"{fault}; going on without it")
            return
        if opened.wire.is_open:  # else it was lost in the meantime
            self.is_old, self.wire = opened.is_old, opened.wire
            self._up.set()
            if self._said:
                self._said = ""
                _logger.warning("Redis: connected again")

    async def _until_lost(self) -> None:
        while self.wire is not None:
            try:
                async with asyncio.timeout(_BEAT_S):
                    await self._lost.wait()
            except TimeoutError:
                self._beat()

    def _beat(self) -> None:
        if self.wire is not None:
            try:
                self.wire.put(Trip(self, ("PING",)))
            except StateFailed as fault:
                _logger.debug("Redis: no sign of life was asked for: %s", fault)

    def _on_lost(self, wire: Wire, reason: str) -> None:
        if wire is self.wire:
            self.wire = None
            self._up.clear()
            self._say(f"{reason}; going on without it")
            self._lost.set()
            self._tell_lost()

    def _say(self, text: str) -> None:
        """Log it, once."""
        if text != self._said:
            self._said = text
            _logger.error("Redis: %s", text)
