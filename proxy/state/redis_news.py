"""The meeting place of a fleet of gateways in Redis: what one changes the others hear of within a second.

Each gateway gives a sign of life every second, and is told for it what it may have missed: the version of the keys,
which targets are drained, the id of the last news, who else is alive. News (a stream) say that there is something to be
told before the second is over; only a purge of the cache is in the news themselves. So nothing hangs on a single
message: who was cut off, or began late, is up to date with its next sign of life.

News know after which one they come. One that is missing is fetched; if it is gone (the stream keeps 10,000, and a Redis
may have lost its data), it may have been any purge.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from proxy.state.base import StateFailed
from proxy.state.news import Hearer, Replica
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_listener import Listener
from proxy.state.redis_place import RedisPlace
from proxy.state.scripts import load_script

if TYPE_CHECKING:
    from proxy.state.redis_registry import RedisRegistry

#: How often a sign of life is given, how often it is tried while Redis is away, and when who gave none counts as gone.
_BEAT_S: Final = 1.0
_AWAY_S: Final = 0.2
_GONE_MS: Final = 5000
#: Keys that change all the time are read no more often than this, in seconds.
_READ_EVERY_S: Final = 0.1
#: So many news are fetched at a time.
_FETCHED: Final = 1000
#: What reading raises that does not understand what is said.
_UNREADABLE: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)

_logger = logging.getLogger(__name__)

#: The id of an entry in a stream.
_Id = tuple[int, int]


class RedisNews:
    """See `News`. One gateway's seat, for its event loop."""

    def __init__(
        self, link: Link, place: RedisPlace, keys: RedisKeys, timeout_s: float, registry: RedisRegistry
    ) -> None:
        """`link` is started and closed by others. `registry` is one that is followed."""
        self._link = link
        self._fleet = keys.fleet
        self._registry = registry
        self._scripts = {name: load_script(name) for name in ("beat", "tell", "shout")}
        self._listener = Listener(
            *(place, timeout_s),
            stream=f"{self._fleet}:news",
            channel=f"{self._fleet}:fleet",
            on_entry=self._on_entry,
            on_message=self._on_message,
        )
        self._hearer: Hearer | None = None
        self._known: _Id | None = None  # the last news that was heard
        self._version = b""  # of the keys, as it was last told
        self._wake = asyncio.Event()
        self._beating = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._reading: asyncio.Task[None] | None = None
        self._is_away = True
        self._has_failed = False
        self._began_late = False  # was this gateway cut off from the start?
        self.me = Replica("", "", "", "", 0, 0)
        self.replicas: Sequence[Replica] = ()  #: as of the last sign of life, this one included; empty before the first

    @property
    def count(self) -> int:
        """See `News.count`."""
        return max(1, len(self.replicas))

    @property
    def is_away(self) -> bool:
        """See `News.is_away`."""
        return self._is_away or self._listener.is_away

    async def start(self, me: Replica, hearer: Hearer) -> None:
        """See `News.start`."""
        self.me, self._hearer = me, hearer
        await self._listener.start()
        with suppress(StateFailed):
            await self.beat()
        self._tasks = [asyncio.create_task(self._keep())]

    async def aclose(self) -> None:
        """See `News.aclose`."""
        for task in (*self._tasks, *([self._reading] if self._reading is not None else [])):
            task.cancel()
            await asyncio.wait([task])
        await self._listener.aclose()
        if self.me.id:
            with suppress(StateFailed):
                await self._link.ask("HDEL", f"{self._fleet}:replicas", self.me.id)

    def show(self, config_hash: str) -> None:
        """See `News.show`."""
        self.me = replace(self.me, config_hash=config_hash)
        self._wake.set()

    async def tell_drain(self, target: str, seconds: float) -> None:
        """See `News.tell_drain`."""
        await self._tell("drain", b"", target, round(seconds * 1000))

    async def tell_undrain(self, target: str) -> None:
        """See `News.tell_undrain`."""
        await self._tell("undrain", b"", target)

    async def tell_purge(self, data: bytes) -> None:
        """See `News.tell_purge`."""
        await self._tell("purge", data)

    def shout(self, message: bytes) -> None:
        """See `News.shout`."""
        self._link.send(self._scripts["shout"], [self._fleet], [message])

    async def beat(self) -> None:
        """Give a sign of life, and act on what is told for it. Raises StateFailed."""
        async with self._beating:
            known = self._known
            about = orjson.dumps(asdict(self.me))
            try:
                told = await self._link.run(self._scripts["beat"], [self._fleet], [self.me.id, about, _GONE_MS])
            except StateFailed as error:
                if not self._has_failed:
                    _logger.error("Redis: other gateways are not heard: %s", error)
                self._is_away = self._has_failed = True
                self._began_late |= known is None
                raise
            if self._has_failed:
                _logger.warning("Redis: other gateways are heard again")
                self._has_failed = False
            version, last, drained, alive = told
            self.replicas = _read_replicas(alive)
            self._look_at(version)
            if self._hearer is not None:
                self._hearer.drained({name.decode(): left_ms / 1000 for name, left_ms in _pairs(drained)})
            await self._catch_up(known, _read_id(last))
            self._is_away = False

    async def _tell(self, kind: str, data: bytes, *more: str | int) -> None:
        await self._link.run(self._scripts["tell"], [self._fleet], [kind, self.me.id, data, *more])
        with suppress(StateFailed):  # it was told; this gateway hears of it when Redis is back
            await self.beat()

    async def _keep(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_AWAY_S if self._is_away else _BEAT_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.beat()
            except StateFailed:
                continue  # it has been said
            except _UNREADABLE as error:  # another version's; the next sign of life is due all the same
                _logger.error("what other gateways say can't be read", exc_info=error)

    def _on_entry(self, id: bytes, entry: dict[bytes, bytes]) -> None:
        if self._known is None or _read_id(id) <= self._known:
            return  # the first sign of life says where to begin
        if _read_id(entry.get(b"after", b"0")) == self._known:
            self._hear(id, entry)
        else:
            self._wake.set()

    def _on_message(self, message: bytes) -> None:
        if self._hearer is not None:
            self._hearer.shouted(message)

    def _hear(self, id: bytes, entry: dict[bytes, bytes]) -> None:
        self._known = _read_id(id)
        if entry.get(b"kind") != b"purge":
            self._wake.set()
        elif self._hearer is not None and entry.get(b"origin") != self.me.id.encode():
            self._hearer.purged(entry.get(b"data", b""))

    async def _catch_up(self, known: _Id | None, last: _Id) -> None:
        """Hear what was told up to `last` and did not come; `known`: what had been heard before that was asked."""
        if known is not None and known <= last:
            while (here := self._known or known) < last:
                after = f"({here[0]}-{here[1]}"
                entries = await self._link.ask("XRANGE", f"{self._fleet}:news", after, "+", "COUNT", _FETCHED)
                for id, entry in entries:
                    self._on_entry(id, dict(_pairs(entry)))
                if self._known == here:
                    break  # what follows it is gone
            else:
                return
        self._known = last
        if known is not None or self._began_late:
            _logger.warning("news of other gateways may have been missed: what memory has cached is forgotten")
            if self._hearer is not None:
                self._hearer.missed()

    def _look_at(self, version: bytes) -> None:
        """Have the keys read if they are not of this version."""
        self._version = version
        is_new = version != self._registry.seen or not self._registry.is_read
        if is_new and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            await asyncio.to_thread(self._registry.look)
        except StateFailed as error:
            _logger.error("keys were changed and can't be read; those that were read last hold: %s", error)
            return
        await asyncio.sleep(_READ_EVERY_S)
        if self._version != self._registry.seen:
            self._wake.set()


def _read_id(text: bytes) -> _Id:
    first, _, second = text.partition(b"-")
    return int(first), int(second or 0)


def _pairs(flat: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _read_replicas(alive: Sequence[Any]) -> Sequence[Replica]:
    """Who is alive, in the order of their starts."""
    found = []
    for seen_ms_ago, about in zip(alive[1::3], alive[2::3], strict=True):
        with suppress(ValueError, TypeError):  # one of another version may say more of itself, or less
            said = orjson.loads(about)
            known = {field.name: said[field.name] for field in fields(Replica) if field.name in said}
            found.append(replace(Replica(**known), seen_ms_ago=seen_ms_ago))
    return sorted(found, key=lambda one: (one.started_ms, one.id))
