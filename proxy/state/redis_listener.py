"""Hears what others have to say: the entries of one stream, none of which is lost, and the messages of one channel,
some of which may be. Each has a connection of its own, made anew by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Any, Final

from proxy.state.base import StateAway, StateFailed
from proxy.state.redis_door import CONNECT_S, Door
from proxy.state.redis_finder import Finder
from proxy.state.redis_place import RedisPlace
from proxy.state.redis_stream import OnEntry, StreamReader

#: How often the channel's server is asked for a sign of life, in seconds, and for how long it may be silent.
_BEAT_S: Final = 1.0
_SILENT_S: Final = 2.5
#: How far apart tries to connect begin, in seconds: it doubles up to the second figure.
_RETRY_S: Final = 0.1
_MAX_RETRY_S: Final = 1.0

_logger = logging.getLogger(__name__)

OnMessage = Callable[[bytes], None]
#: Hears until the connection is lost; tells what it is given once there is one.
Hear = Callable[[Callable[[], None]], Awaitable[None]]


class Listener:
    """For one event loop, which calls back. What a callback raises the loop logs; the next entry or message follows."""

    def __init__(
        self,
        place: RedisPlace,
        timeout_s: float,
        *,
        stream: str | None = None,
        channel: str | None = None,
        on_entry: OnEntry = lambda *_: None,
        on_message: OnMessage = lambda _: None,
        on_gap: Callable[[], None] = lambda: None,
    ) -> None:
        """`stream`: a key; `on_entry` is told of each entry added after `start`, by id and fields, in order and once,
        whatever happens to the connection. `on_gap` is told if some may be missing after all: Redis was away at the
        start, the stream was cut behind our place, or it is another one. `on_message` is told what is published to
        `channel`. `timeout_s`: how long a new connection's first PING may take.

        Raises StateUnusable if a file for TLS can't be read.
        """
        self._door = Door(place, timeout_s)
        self._finder = Finder(self._door)
        self._on_message = on_message
        self._heard_s = 0.0
        self._is_subscribed = asyncio.Event()
        self._ears: list[_Ear] = []
        self._tasks: list[asyncio.Task[None]] = []
        if stream is not None:
            self._ears.append(_Ear("stream", StreamReader(self._door, self._finder, stream, on_entry, on_gap).hear))
        if channel is not None:
            self._ears.append(_Ear("channel", partial(self._subscribe, channel)))

    @property
    def is_away(self) -> bool:
        """Is one of its connections missing?"""
        return not all(ear.is_up for ear in self._ears)

    async def start(self) -> None:
        """Try once to connect, for a second or two at most; from then on it is tried again by itself."""
        self._tasks += [asyncio.create_task(ear.keep()) for ear in self._ears]
        await asyncio.gather(*(ear.tried.wait() for ear in self._ears))

    async def aclose(self) -> None:
        """Let go."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _subscribe(self, channel: str, up: Callable[[], None]) -> None:
        lost = asyncio.Event()
        self._is_subscribed.clear()
        servers = await self._finder.primaries(channel)
        wire = (await self._door.open_primary(servers, lambda *_: lost.set(), self._hear)).wire
        try:
            self._heard_s = monotonic()
            wire.write("SUBSCRIBE", channel)
            async with asyncio.timeout(CONNECT_S):
                await self._is_subscribed.wait()
            up()
            while monotonic() - self._heard_s < _SILENT_S:
                try:
                    async with asyncio.timeout(_BEAT_S):
                        await lost.wait()
                    raise StateAway("the connection was lost")
                except TimeoutError:
                    wire.write("PING")
            raise StateAway(f"nothing was heard for {_SILENT_S:g} s")
        except TimeoutError:
            raise StateAway("it does not let us subscribe") from None
        finally:
            wire.close()

    def _hear(self, answer: Any) -> None:
        self._heard_s = monotonic()
        if answer[0] == b"message":
            asyncio.get_running_loop().call_soon(self._on_message, answer[2])
        elif answer[0] == b"subscribe":
            self._is_subscribed.set()


class _Ear:
    """Hears one thing: whenever that ends, it is begun anew."""

    def __init__(self, name: str, hear: Hear) -> None:
        self.is_up = False
        self.tried = asyncio.Event()  #: set once it was tried
        self._name = name
        self._hear = hear
        self._said = ""
        self._wait_s = _RETRY_S

    async def keep(self) -> None:
        """Go on for ever."""
        while True:
            begun_s = monotonic()
            try:
                await self._hear(self._up)
            except StateFailed as fault:
                self._say(str(fault))
            finally:
                self.is_up = False
                self.tried.set()
            await asyncio.sleep(max(0.0, begun_s + self._wait_s - monotonic()))
            self._wait_s = min(2 * self._wait_s, _MAX_RETRY_S)

    def _up(self) -> None:
        if self._said:
            _logger.warning("Redis: the %s is heard again", self._name)
        self._said, self._wait_s = "", _RETRY_S
        self.is_up = True
        self.tried.set()

    def _say(self, text: str) -> None:
        """Log it, once."""
        if text != self._said:
            self._said = text
            _logger.error("Redis: the %s is not heard: %s", self._name, text)
