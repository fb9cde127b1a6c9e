"""The shared level of the cache in a Redis that many replicas share. Look-ups wait as long as its link does, and are
misses then; what is stored is sent behind the call's back. What it may take is Redis' own to say (`maxmemory`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Final

from proxy.cache.codec import decode, encode
from proxy.cache.errands import LARGEST_BYTES, Errands
from proxy.cache.follower import Follower, Source
from proxy.cache.lead import FIRST_MS, VAIN_MS, Lead, Leads, Look
from proxy.cache.notices import read_notice, write_notice
from proxy.cache.shared_level import Listener, Purged, SharedStats
from proxy.cache.store import Stored
from proxy.cache.vectors import is_vector
from proxy.state import Indexed, IndexEntry, Meant, StateFailed
from proxy.state.redis_cache import MAX_LEARNED, MAX_NOTICES, Claim, RedisCache

#: From this size on an answer is read on a thread: it takes 0.3 ms.
_LONG_BYTES: Final = 64_000
#: Inputs of one request that are looked for. With 1,536 numbers each they are 0.8 MB.
_MAX_VECTORS: Final = 128
#: How often a note is looked for, and after how many seconds again.
_NOTE_TRIES: Final = 20
_NOTE_RETRY_S: Final = 0.1
#: How long others are told later that an index has something new, in seconds: many at once.
_TOUCH_AFTER_S: Final = 0.1


class RedisLevel:
    """See `Shared`."""

    is_fleetwide = True

    def __init__(
        self,
        rows: RedisCache,
        open_source: Callable[[], Source],
        let_go: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`open_source` is called on a thread; `let_go` when all is done: it closes what is this level's own."""
        self.stats = SharedStats()
        self._rows = rows
        self._open_source = open_source
        self._let_go = let_go
        self._origin = secrets.token_hex(8)
        self._leads = Leads(
            self._origin, lambda team, flight, token, *what: rows.fly(team, Claim(flight, token), *what)
        )
        self._looks: dict[tuple[bytes | None, bytes], Look] = {}
        self._errands = Errands(self.stats)
        self._touched: set[tuple[str, bytes]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._follower: Follower | None = None
        self._listener: Listener | None = None
        self._limit_bytes: int | None = None

    @property
    def budget_bytes(self) -> int | None:
        """What Redis may take in all; None: it has no bound."""
        return self._limit_bytes

    @property
    def is_current(self) -> bool:
        """Is all known here that can be found by meaning?"""
        return self._follower is not None and self._follower.is_current

    async def find(self, team: str, key: bytes) -> Stored | None:
        """See `Shared.find`."""
        data = await self._errands.asked(self._rows.find(team, key))
        return None if data is None else await self._read(team, key, data)

    async def find_vectors(self, team: str, keys: Sequence[bytes]) -> Mapping[bytes, Stored]:
        """See `Shared.find_vectors`."""
        found = await self._errands.asked(self._rows.find_many(team, keys[:_MAX_VECTORS])) or {}
        read: dict[bytes, Stored] = {}
        for key, data in found.items():
            stored = self._sound(team, key, decode(key, data, is_vector))
            if stored is not None:
                read[key] = stored
        return read

    def forget_vectors(self, team: str, keys: Sequence[bytes]) -> None:
        """See `Shared.forget_vectors`."""
        for key in keys:
            self._rows.drop(team, key)

    def look(self, team: str, key: bytes, flight: bytes | None, purges: int) -> Look:
        """See `Shared.look`."""
        place = (flight, key)
        look = self._looks.get(place)
        if look is None or look.is_stale:
            look = self._looks[place] = Look(purges, partial(self._ended, place))
            self._errands.track(look.begin(self._look(look, team, key, flight)))
        look.join()
        return look

    def add(
        self,
        key: bytes,
        stored: Stored,
        ttl_s: float,
        under_way_s: float = 0.0,
        lead: Lead | None = None,
        indexed: Indexed | None = None,
    ) -> None:
        """See `Shared.add`."""
        data = encode(key, stored)
        if not self._errands.has_room(len(data)):
            if lead is not None:
                lead.in_vain()
            return
        claim = None if lead is None else lead.store()
        spans = max(1, int(ttl_s * 1000)), int(under_way_s * 1000)
        storing = self._rows.store(
            stored.team, key, data, *spans, None if claim is None else Claim(*claim), VAIN_MS, indexed
        )
        self._errands.write(storing, len(data), 1)
        if indexed is not None:
            self._touch(stored.team, indexed.scope)

    def add_vectors(self, values: Mapping[bytes, Stored], ttl_s: float, under_way_s: float) -> None:
        """See `Shared.add_vectors`."""
        pieces: list[dict[bytes, bytes]] = []
        size = room = count = 0
        for key, stored in values.items():
            data = encode(key, stored)
            if self._errands.has_room(len(data), size):
                if len(data) > room:
                    pieces.append({})
                    room = LARGEST_BYTES
                pieces[-1][key] = data
                size, room, count = size + len(data), room - len(data), count + 1
        if pieces:
            team = next(iter(values.values())).team
            spans = max(1, int(ttl_s * 1000)), int(under_way_s * 1000)
            self._errands.write(self._store_pieces(team, pieces, *spans), size, count)

    async def purge(self, meant: Meant, teams: Collection[str]) -> Purged:
        """See `Shared.purge`. Others are told before, so that they need not wait for the end of it, and again then:
        what they have found meanwhile goes too.
        """
        keys: list[bytes] = []
        await self._notify(meant, None, keys)  # none yet: their indexes need not lose what may stay
        async for step in self._rows.purge(meant, sorted(teams)):
            keys += step
        await self._notify(meant, None, keys)
        return Purged(len(keys), keys)

    async def discard(self, team: str, key: bytes) -> int:
        """See `Shared.discard`."""
        count = await self._rows.discard(team, key)
        await self._notify(Meant(team=team), key, None)
        return count

    def keep_scopes(self, scopes: Collection[bytes]) -> None:
        """Nothing is forgotten: while a new config is rolled out others go by the old one. It ends with its time."""

    def note(self, name: str, data: bytes) -> None:
        """See `Shared.note`."""
        self._errands.begin(self._errands.asked(self._rows.note(name, data)))

    async def find_note(self, name: str) -> bytes | None:
        """See `Shared.find_note`."""
        for _ in range(_NOTE_TRIES):  # nobody waits for it, and at the start there may be no connection yet
            try:
                return await self._rows.find_note(name)
            except StateFailed:
                await asyncio.sleep(_NOTE_RETRY_S)
        return None

    def teach(self, data: bytes, unheard: Callable[[], None]) -> bool:
        """See `Shared.teach`."""

        async def tell() -> None:
            try:
                await self._rows.tell("learned", data, MAX_LEARNED)
            except StateFailed as error:
                self._errands.fail(error)
                unheard()

        self._errands.begin(tell())
        return True

    def follow(self, listener: Listener) -> None:
        """See `Shared.follow`."""
        self._listener = listener
        self._follower = Follower(self._open_source, self)

    def follow_meaning(self, scopes: Collection[bytes], lesson: str) -> None:
        """See `Shared.follow_meaning`."""
        if self._follower is not None:
            self._follower.follow_meaning(scopes, lesson.encode() or b"0")

    async def noticed(self, notices: Sequence[bytes], lessons: Sequence[tuple[bytes, bytes]]) -> None:
        """See `Told.noticed`."""
        assert self._listener is not None, "it follows for somebody"
        for data in notices:
            notice = read_notice(data, self._origin)
            if notice is not None:
                self._listener.forget_elsewhere(*notice)
        for id, data in lessons:
            self._listener.learned_elsewhere(id.decode(), data)

    async def missed(self) -> None:
        """See `Told.missed`."""
        assert self._listener is not None, "it follows for somebody"
        self._listener.forget_elsewhere(Meant(), None)

    async def measured(self, used_bytes: int, limit_bytes: int | None) -> None:
        """See `Told.measured`."""
        self.stats.used_bytes, self._limit_bytes = used_bytes, limit_bytes

    async def indexed(self, team: str, entries: Sequence[IndexEntry]) -> None:
        """See `Told.indexed`."""
        assert self._listener is not None, "it follows for somebody"
        await self._listener.indexed_elsewhere(team, entries)

    async def aclose(self) -> None:
        """See `Shared.aclose`."""
        self._leads.close()
        if self._follower is not None:
            await self._follower.aclose()
        if self._timer is not None:
            self._timer.cancel()
            self._touch_all()
        await self._errands.settled()
        if self._let_go is not None:
            await self._let_go()

    async def _store_pieces(self, team: str, pieces: Sequence[Mapping[bytes, bytes]], ttl_ms: int, ago_ms: int) -> int:
        """One after the other, so that what calls wait for gets in between."""
        began_at, count = monotonic(), 0
        for piece in pieces:
            waited_ms = int(1000 * (monotonic() - began_at))
            count += await self._rows.store_many(team, piece, ttl_ms, ago_ms + waited_ms)
        return count

    async def _look(self, look: Look, team: str, key: bytes, flight: bytes | None) -> Stored | None:
        """The work of a `Look`."""
        stored = None
        try:
            if flight is None:
                stored = await self.find(team, key)
                look.settle("found" if stored is not None else "alone")
                return stored
            claim = Claim(flight.hex(), self._leads.token())
            fate, *rest = await self._errands.asked(self._rows.look(team, key, claim, FIRST_MS)) or (b"alone",)
            if fate == b"found":
                stored = await self._read(team, key, rest[0])
                look.settle("alone" if stored is None else "found")
            elif fate == b"lead":
                look.settle("lead", Lead(self._leads, team, *claim))
            elif fate == b"flying":
                look.settle("flying", holder=rest[0])
            else:
                look.settle("vain" if fate == b"vain" else "alone")
        except asyncio.CancelledError:
            look.settle("alone")
            raise
        return stored

    async def _read(self, team: str, key: bytes, data: bytes) -> Stored | None:
        is_long = len(data) > _LONG_BYTES
        stored = await asyncio.to_thread(decode, key, data) if is_long else decode(key, data)
        return self._sound(team, key, stored)

    def _sound(self, team: str, key: bytes, stored: Stored | None) -> Stored | None:
        if stored is None or stored.team != team:
            self.stats.damaged += 1
            self._rows.drop(team, key)
            return None
        self.stats.found += 1
        return stored

    async def _notify(self, meant: Meant, key: bytes | None, keys: Sequence[bytes] | None) -> None:
        await self._rows.tell("purges", write_notice(self._origin, meant, key, keys), MAX_NOTICES)

    def _touch(self, team: str, scope: bytes) -> None:
        self._touched.add((team, scope))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TOUCH_AFTER_S, self._touch_all)

    def _touch_all(self) -> None:
        self._timer = None
        self._rows.touch([*self._touched])
        self._touched.clear()

    def _ended(self, place: tuple[bytes | None, bytes], look: Look) -> None:
        if self._looks.get(place) is look:
            del self._looks[place]
