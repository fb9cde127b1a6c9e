"""What this gateway tells the others of its fleet, and what it makes of what they tell: how targets fare, which are
drained, what the cache is to forget. Only where several gateways share a Redis.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from math import inf
from secrets import token_hex
from time import monotonic, time
from typing import Final

import orjson

from proxy import __version__
from proxy.chain.cache_state import CacheState
from proxy.state import Meant, News, Replica, StateFailed
from routing import Fleet, Sharing

#: How often others are told how targets fare, in seconds.
_SHARE_EVERY_S: Final = 0.5
#: Complaints of others' clients that are taken at once; more are passed over.
_MOST_COMPLAINTS: Final = 100


class FleetNews:
    """For the event loop."""

    def __init__(
        self, news: News, fleet: Fleet, cache: CacheState, config_hash: str, clock: Callable[[], float] = monotonic
    ) -> None:
        """`news` is closed with it. `clock` gives monotonic seconds."""
        self.sharing = Sharing(fleet)
        self.news = news
        self._fleet = fleet
        self._cache = cache
        self._clock = clock
        self._me = Replica(
            token_hex(6), config_hash, __version__, socket.gethostname(), os.getpid(), round(time() * 1000)
        )
        self._complaints: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Tell and hear, for ever."""
        await self.news.start(self._me, self)
        while True:
            self.share()
            await asyncio.sleep(_SHARE_EVERY_S)

    async def aclose(self) -> None:
        """Hear and tell no more."""
        for task in self._complaints:
            task.cancel()
        await self.news.aclose()

    def show(self, config_hash: str) -> None:
        """From now on this config is in force here."""
        self.news.show(config_hash)

    def share(self) -> None:
        """Tell the others how targets have fared here since they were told last."""
        others = [one.id for one in self.news.replicas if one.id != self._me.id]
        self.sharing.keep_only(others)
        digest = self.sharing.collect(self._clock(), are_others_heard=not self.news.is_away)
        if digest and others:
            self.news.shout(orjson.dumps({"from": self._me.id, "targets": digest}))

    async def drain(self, target: str, seconds: float) -> None:
        """Have every gateway leave the target out for so long. Raises StateFailed."""
        await self.news.tell_drain(target, seconds)

    async def undrain(self, target: str) -> None:
        """Have every gateway take it in again. Raises StateFailed."""
        await self.news.tell_undrain(target)

    async def tell_purge(self, meant: Meant, key: bytes | None = None) -> None:
        """See `Others.tell_purge`."""
        await self.news.tell_purge(orjson.dumps({**asdict(meant), "key": None if key is None else key.hex()}))

    def ask_complaint(self, team: str, id: str) -> None:
        """See `Others.ask_complaint`."""
        self.news.shout(orjson.dumps({"from": self._me.id, "complaint": [team, id]}))

    def drained(self, left_s: Mapping[str, float]) -> None:
        """See `Hearer.drained`."""
        now = self._clock()
        for name in self._fleet:
            self._fleet[name].drained_until = now + left_s[name] if name in left_s else -inf

    def purged(self, data: bytes) -> None:
        """See `Hearer.purged`. What another version says and this one does not understand may be anything."""
        try:
            said = orjson.loads(data)
            key = said.pop("key")
            meant, digest = Meant(**said), None if key is None else bytes.fromhex(key)
        except (ValueError, TypeError, KeyError, AttributeError):
            meant, digest = Meant(), None
        if not self._cache.is_fleetwide:  # else the shared level has said so, and better: it knows the keys
            self._cache.forget_elsewhere(meant, digest)

    def missed(self) -> None:
        """See `Hearer.missed`. A Redis that lost its news may have lost what the shared level had to say, too."""
        self._cache.forget_elsewhere(Meant(), None)

    def shouted(self, message: bytes) -> None:
        """See `Hearer.shouted`. What is not understood is passed over."""
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            said = orjson.loads(message)
            sender = str(said["from"])
            if sender == self._me.id:
                return
            if "targets" in said:
                self.sharing.absorb(sender, dict(said["targets"]), self._clock())
            elif "complaint" in said and len(self._complaints) < _MOST_COMPLAINTS:
                team, id = map(str, said["complaint"])
                task = asyncio.get_running_loop().create_task(self._take_complaint(team, id))
                self._complaints.add(task)
                task.add_done_callback(self._complaints.discard)

    async def _take_complaint(self, team: str, id: str) -> None:
        with suppress(StateFailed):
            await self._cache.complain(team, id, may_ask=False)
