"""What is kept of the cache when the config changes: the answers, in memory and in the shared level, and the counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from random import Random
from typing import Final, Protocol, Self

import orjson

from proxy.cache import Doorkeeper, Lead, Look, OpenShared, Shared, Shelf, Store, Stored, without_shared
from proxy.cache.meaning import REMOTE_PATIENCE_S, Meaning, OpenMeaning, open_meaning
from proxy.cache.nearest import LookupFailed, Remote
from proxy.cache.served import Served
from proxy.cache.store import is_meant
from proxy.chain.cache_rules import CacheRule
from proxy.config import Config
from proxy.observe import CacheCounts
from proxy.providers import Embeddings, build_embeddings
from proxy.state import Indexed, IndexEntry, Meant

#: This part of `cache.memory`, on top of it, is for answers that are on their way.
_SHELF_SHARE: Final = 8
#: And this one for what is looked up by meaning.
_INDEX_SHARE: Final = 4
#: What was learned of meanings, among the notes of the shared level.
_LEARNED: Final = "learned"
#: How often what was learned is kept where many replicas learn together, in seconds.
_NOTED_S: Final = 60.0

_logger = logging.getLogger(__name__)


class Others(Protocol):
    """The other gateways of a fleet, whose memories may hold what is to be forgotten here."""

    async def tell_purge(self, meant: Meant, key: bytes | None = None) -> None:
        """Have them forget what is meant, or else the answer of this key. Raises StateFailed."""
        ...

    def ask_complaint(self, team: str, id: str) -> None:
        """Have the one that remembers this call take the complaint."""
        ...


@dataclass(slots=True)
class CacheState:
    """What outlives worlds."""

    store: Store
    shelf: Shelf  #: what calls under way keep for those who join
    counts: CacheCounts
    wall_clock: Callable[[], float]  #: Unix time in seconds
    door: Doorkeeper = field(default_factory=Doorkeeper)
    served: Served = field(default_factory=Served)
    open_shared: OpenShared = without_shared  #: asked once, as soon as some model has a cache
    shared: Shared | None = None  #: None: what memory forgets is gone
    is_open: bool = False  #: has that been asked?
    open_meaning: OpenMeaning = open_meaning  #: asked once, as soon as some model has a cache by meaning
    meaning: Meaning | None = None  #: None: it is not open, or not yet
    _opening: asyncio.Task[None] | None = None
    _remote: Embeddings | None = None
    others: Others | None = None  #: who is told where the shared level does not tell them; None: this gateway is alone
    purges: int = 0  #: what set out before the last that concerns its team is not stored: it may be just what was meant
    _purged_all_at: int = 0  # the last of them that concerned every team
    _purged_at: dict[str, int] = field(default_factory=dict)  # by team, the last that concerned it alone
    _teams: Collection[str] = ()
    _meant_scopes: Collection[bytes] = ()  # of models with a cache by meaning
    _noted_at: float = 0.0  # Unix time in seconds

    @classmethod
    def empty(
        cls, counts: CacheCounts, wall_clock: Callable[[], float], open_shared: OpenShared = without_shared
    ) -> Self:
        """Without room for anything, until it is adapted to a config."""
        return cls(Store(0, Random()), Shelf(0), counts, wall_clock, open_shared=open_shared)

    def adapt(self, config: Config, rules: Mapping[str, CacheRule]) -> None:
        """From now on these are the bounds and the rules; answers that no rule stands behind any more are forgotten."""
        memory_bytes = config.cache.memory_bytes
        self.store.resize(memory_bytes)
        self.shelf.limit_bytes = memory_bytes // _SHELF_SHARE
        self._teams = config.teams.keys()
        if (rules or self.others is not None) and not self.is_open:  # others may cache what it is asked to purge
            self.shared, self.is_open = self.open_shared(config), True
            if self.shared is not None:
                self.shared.follow(self)
        scopes = {rule.scope for rule in rules.values()}
        self.forget(lambda entry: entry.scope not in scopes)
        if self.shared is not None:
            self.shared.keep_scopes(scopes)
        self._meant_scopes = {rule.scope for rule in rules.values() if rule.semantic is not None}
        if self.meaning is not None:
            self.meaning.index.resize(memory_bytes // _INDEX_SHARE)
            self._follow_meaning(self.meaning)
        elif self._opening is None and self._meant_scopes:
            self._opening = asyncio.get_running_loop().create_task(self._open_meaning(config))
            self._opening.add_done_callback(_log_fault)

    def look(self, team: str, key: bytes, flight: bytes | None) -> Look | None:
        """Begin to look in the shared level, if other replicas have it too; see `Shared.look`."""
        return None if self.shared is None else self.shared.look(team, key, flight, self.purges)

    async def find(
        self, team: str, key: bytes, rule: CacheRule, now_s: float, look: Look | None = None
    ) -> Stored | None:
        """The answer of this key, out of memory or else out of the shared level. `now_s`: Unix time; `look`: it was
        begun before.
        """
        entry = self.store.find(key, now_s, rule.ttl_s)
        if entry is not None or self.shared is None:
            return entry
        purges = self.purges if look is None else look.purges
        entry = await (self.shared.find(team, key) if look is None else look.found())
        newer = self.store.find(key, now_s, rule.ttl_s)
        if newer is not None:  # it came in the meantime
            return newer
        if entry is None or entry.scope != rule.scope or now_s - entry.stored_at >= rule.ttl_s:
            return None
        if self.has_purged(purges, entry.team):  # it may be just what was meant
            return None
        self._keep(key, entry)
        return entry

    @property
    def is_fleetwide(self) -> bool:
        """Does the shared level tell the others of a fleet what was purged?"""
        return self.shared is not None and self.shared.is_fleetwide

    @property
    def is_blind(self) -> bool:
        """Can't it be told what the shared level has?"""
        return self.shared is not None and self.shared.stats.is_failing

    def add(
        self,
        key: bytes,
        entry: Stored,
        rule: CacheRule,
        under_way_s: float = 0.0,
        lead: Lead | None = None,
        indexed: Indexed | None = None,
    ) -> bool:
        """Keep it. Was it worth the room? `under_way_s`: how long ago its call set out; `lead`: it ends with it, if it
        is kept; `indexed`: by what other replicas find it.
        """
        is_worth = self.door.lets_in(key, entry.size_bytes, entry.cost_nusd, self.store.stats)
        if not is_worth or not self._keep(key, entry):
            return False
        if self.shared is not None:
            self.shared.add(key, entry, rule.ttl_s, under_way_s, lead, indexed)
        return True

    async def purge(self, meant: Meant) -> int:
        """Forget every answer that is meant; how many there were. Raises StateFailed."""
        count = self.forget(lambda entry: is_meant(entry, meant), meant.team)
        if self.shared is not None:
            if not self.is_fleetwide:
                self._unindex(meant, None)
            purged = await self.shared.purge(meant, self._teams)
            if self.is_fleetwide:
                self.forget(lambda entry: is_meant(entry, meant), meant.team)  # what was found there meanwhile
                self._unindex(meant, purged.keys)
            count = max(count, purged.count)
        if self.others is not None and not self.is_fleetwide:
            await self.others.tell_purge(meant)
        return count

    def forget_elsewhere(self, meant: Meant | None, key: bytes | None, keys: Sequence[bytes] | None = None) -> None:
        """See `Listener.forget_elsewhere`."""
        meant = meant or Meant()
        if key is None:
            self.forget(lambda entry: is_meant(entry, meant), meant.team)
            self._unindex(meant, keys)
        else:
            self._forget_key(meant.team, key)

    def learned_elsewhere(self, id: str, data: bytes) -> None:
        """See `Listener.learned_elsewhere`."""
        if self.meaning is None or self.shared is None:
            return
        self.meaning.told(id, data)
        now_s = self.wall_clock()
        if now_s - self._noted_at >= _NOTED_S:
            self._noted_at = now_s
            self.shared.note(_LEARNED, orjson.dumps(self.meaning.notes))

    async def indexed_elsewhere(self, team: str, entries: Sequence[IndexEntry]) -> None:
        """See `Listener.indexed_elsewhere`."""
        if self.meaning is not None:
            with suppress(LookupFailed):  # it is closed
                await self.meaning.index.take([(one.key, one.data) for one in entries], team, self.wall_clock())

    async def complain(self, team: str, id: str, *, may_ask: bool = True) -> int:
        """What this team's call of that id was given, or brought, is wrong: forget it, and learn. How many answers were
        forgotten: none of a call that nobody remembers, or only another gateway, which is asked. Raises StateFailed.
        """
        hit = self.served.take(team, id)
        if hit is None:  # to look for it in all that is kept would be work that anybody can ask for
            if self.others is not None and may_ask:
                self.others.ask_complaint(team, id)
            return 0
        entry = self.store.find(hit.key, self.wall_clock(), inf)
        if entry is not None and entry.call_id != hit.call_id:
            return 0  # that answer is gone, and another one has its place
        if hit.calibrator is not None and self.meaning is not None:
            self.meaning.complained(hit.calibrator, hit.probability)
        count = self._forget_key(team, hit.key)
        if self.shared is not None:
            self.served.add(replace(hit, calibrator=None), id, id)  # if that fails, who complains again is heard
            count = max(count, await self.shared.discard(team, hit.key))
            self.served.take(team, id)
            self._forget_key(team, hit.key)  # it may have been found there meanwhile
        if self.others is not None and not self.is_fleetwide:
            await self.others.tell_purge(Meant(team=team), hit.key)
        return count

    def has_purged(self, purges: int, team: str) -> bool:
        """Was something of this team purged since there had been so many `purges`?"""
        return max(self._purged_all_at, self._purged_at.get(team, 0)) > purges

    def forget(self, is_meant: Callable[[Stored], bool], team: str | None = None) -> int:
        """Forget what is meant and in memory; how many there were. `team`: the only one of which anything is meant."""
        self._purge_begins(team)
        keys = self.store.purge(is_meant)
        self.counts.used_bytes = self.store.stats.used_bytes
        if keys and self.meaning is not None:
            self.meaning.index.remove(keys)
        return len(keys)

    async def aclose(self) -> None:
        """Write what waits to be written."""
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self.meaning is not None:
            if self.shared is not None:
                self.shared.note(_LEARNED, orjson.dumps(self.meaning.notes))
            await self.meaning.aclose()
        if self._remote is not None:
            await self._remote.aclose()
        if self.shared is not None:
            await self.shared.aclose()

    async def _open_meaning(self, config: Config) -> None:
        settings, remote = config.cache.embedder, None
        if settings is not None:
            provider = config.providers[settings.provider]
            self._remote = build_embeddings(settings.provider, provider, settings.model, REMOTE_PATIENCE_S)
            remote = Remote(f"{settings.provider}/{settings.model}", settings.dimensions, self._remote.ask)
        notes = None if self.shared is None else await self.shared.find_note(_LEARNED)
        self.meaning = await self.open_meaning(config.cache.memory_bytes // _INDEX_SHARE, remote, notes)
        self.meaning.index.resize(self.store.stats.budget_bytes // _INDEX_SHARE)  # it may have changed meanwhile
        self._follow_meaning(self.meaning)

    def _follow_meaning(self, meaning: Meaning) -> None:
        if self.shared is not None and self.is_fleetwide:
            meaning.teach = self.shared.teach
            self.shared.follow_meaning(self._meant_scopes, meaning.place)

    def _unindex(self, meant: Meant, keys: Sequence[bytes] | None) -> None:
        """Forget what the index has and memory had not. `keys`: all that are meant; None: it is not known which."""
        if self.meaning is None:
            return
        if keys is not None:
            self.meaning.index.remove(keys)
        elif meant.id is None:  # the index knows no ages: whatever memory does not have, goes
            store, team = self.store, meant.team
            self.meaning.index.drop(lambda one: team in (None, one.team) and one.id not in store)

    def _forget_key(self, team: str | None, key: bytes) -> int:
        self._purge_begins(team)
        if self.meaning is not None:
            self.meaning.index.remove([key])
        count = int(self.store.remove(key))
        self.counts.used_bytes = self.store.stats.used_bytes
        return count

    def _purge_begins(self, team: str | None) -> None:
        self.purges += 1
        if team is None:
            self._purged_all_at = self.purges
        else:
            self._purged_at[team] = self.purges

    def _keep(self, key: bytes, entry: Stored) -> bool:
        is_kept = self.store.add(key, entry)
        self.counts.used_bytes = self.store.stats.used_bytes
        return is_kept


def _log_fault(task: asyncio.Task[None]) -> None:
    fault = None if task.cancelled() else task.exception()
    if fault is not None:
        _logger.error("cache by meaning: it can't be opened, and is done without", exc_info=fault)
