"""The event loop's way to Redis: a connection that is made anew by itself, and a breaker in front of it. Whoever asks
waits no longer than the time-out, once; while Redis is away nobody waits at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import hiredis

from proxy.state.base import StateAway, StateFailed
from proxy.state.redis_place import RedisPlace
from proxy.state.redis_wire import Told, Wire
from proxy.state.scripts import Script

#: How long making a connection may take, in seconds: nobody waits for it.
_CONNECT_S: Final = 1.0
#: How long to wait before the next try, in seconds: it doubles up to the second figure.
_RETRY_S: Final = 0.1
_MAX_RETRY_S: Final = 1.0
#: Answers by which a server says that it is not the one to ask just now.
_NOT_NOW: Final = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "BUSY")

_logger = logging.getLogger(__name__)

#: What a key, or an argument, may be.
Word = str | bytes | int


class Link:
    """For one event loop. Nothing here raises anything but StateAway and StateFailed."""

    def __init__(self, place: RedisPlace, timeout_s: float) -> None:
        """`timeout_s`: how long whoever asks waits at most."""
        self.unheard = 0  #: commands that nobody waited for and that failed
        self._place = place
        self._timeout_s = timeout_s
        self._wire: Wire | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()

    @property
    def is_away(self) -> bool:
        """Is there no connection?"""
        return self._wire is None

    async def start(self) -> None:
        """Try to connect once; from then on it is tried again by itself whenever the connection is lost."""
        await self._connect()
        self._keeper = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Let go."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    async def run(self, script: Script, keys: Sequence[Word], args: Sequence[Word] = ()) -> Any:
        """What a script gives, on keys of one hash tag. Raises StateAway, or StateFailed if it fails in itself."""
        return await self._asked(("EVALSHA", script.digest, len(keys), *keys, *args), script)

    async def ask(self, *command: Word) -> Any:
        """What a command gives. Raises StateAway, StateFailed."""
        return await self._asked(command, None)

    def send(self, script: Script, keys: Sequence[Word], args: Sequence[Word] = ()) -> None:
        """Run a script without waiting: if it fails, it is counted in `unheard`."""
        command = ("EVALSHA", script.digest, len(keys), *keys, *args)

        def told(answer: object) -> None:
            if isinstance(answer, hiredis.ReplyError) and self._again(answer, command, script, told):
                return
            self.unheard += isinstance(answer, Exception)

        try:
            self._put(command, told)
        except StateAway:
            self.unheard += 1

    async def _asked(self, command: tuple[Any, ...], script: Script | None) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def told(answer: object) -> None:
            if isinstance(answer, hiredis.ReplyError) and self._again(answer, command, script, told):
                return
            if not future.done():  # else whoever asked has left
                future.set_result(answer)

        self._put(command, told)
        answer = await future
        if isinstance(answer, StateAway):
            raise answer
        if isinstance(answer, hiredis.ReplyError):
            raise self._fault(answer)
        return answer

    def _put(self, command: tuple[Any, ...], told: Told) -> None:
        if self._wire is None:
            raise StateAway("Redis can't be asked just now")
        self._wire.put(command, told)

    def _again(self, error: Exception, command: tuple[Any, ...], script: Script | None, told: Told) -> bool:
        """Redis has forgotten the script: send it whole, which also makes it known again."""
        if script is None or not str(error).startswith("NOSCRIPT") or command[0] != "EVALSHA":
            return False
        try:
            self._put(("EVAL", script.source, *command[2:]), told)
        except StateAway:
            return False
        return True

    def _fault(self, error: Exception) -> StateFailed:
        kind = str(error).partition(" ")[0]
        if kind in _NOT_NOW:
            if self._wire is not None:
                self._wire.close(kind)
                self._on_lost(self._wire, kind)
            return StateAway(f"Redis says {kind}")
        return StateAway("Redis is full") if kind == "OOM" else StateFailed(f"Redis refused a command: {error}")

    def _on_lost(self, wire: Wire, reason: str) -> None:
        if wire is self._wire:
            self._wire = None
            _logger.error("Redis: %s; going on without it", reason)
            self._lost.set()

    async def _keep(self) -> None:
        retry_s = _RETRY_S
        while True:
            if self._wire is not None:
                retry_s = _RETRY_S
                await self._lost.wait()
            self._lost.clear()
            await self._connect()
            if self._wire is None:
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _MAX_RETRY_S)
            else:
                _logger.warning("Redis: connected again")

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, wire = await loop.create_connection(
                    lambda: Wire(self._timeout_s, self._on_lost), self._place.host, self._place.port
                )
        except (OSError, TimeoutError):
            return
        self._wire = wire
        try:
            for command in self._place.greetings:
                await self._asked(command, None)
        except StateFailed:
            wire.close()
            self._wire = None
