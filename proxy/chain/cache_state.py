"""What is kept of the cache when the config changes: the answers, in memory and in the shared level, and the counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Final, Protocol, Self

import orjson

from proxy.cache import Doorkeeper, OpenShared, Pace, Shared, Shelf, Store, Stored, without_shared
from proxy.cache.meaning import REMOTE_PATIENCE_S, Meaning, OpenMeaning, open_meaning
from proxy.cache.nearest import Remote
from proxy.cache.served import Served
from proxy.config import Config
from proxy.observe import CacheCounts
from proxy.providers import Embeddings, build_embeddings
from proxy.state import Meant

#: This part of `cache.memory`, on top of it, is for answers that are on their way.
_SHELF_SHARE: Final = 8
#: And this one for what is looked up by meaning.
_INDEX_SHARE: Final = 4
#: What was learned of meanings, among the notes of the shared level.
_LEARNED: Final = "learned"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CacheRule:
    """One model's cache."""

    scope: bytes  #: see `proxy.cache.scope_of`
    ttl_s: float
    is_sampled: bool = False  #: also for requests that ask for chance
    pace: Pace = "instant"  #: how a stored answer is streamed
    semantic: SemanticRule | None = None  #: None: only the very same request is answered


@dataclass(frozen=True, slots=True)
class SemanticRule:
    """One model's cache by meaning."""

    is_serving: bool  #: else it only says what it would have done
    ttl_s: float
    max_error: float  #: the share of hits that may be wrong


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
    others: Others | None = None  #: None: this gateway is alone
    purges: int = 0  #: what set out before the last that concerns its team is not stored: it may be just what was meant
    _purged_all_at: int = 0  # the last of them that concerned every team
    _purged_at: dict[str, int] = field(default_factory=dict)  # by team, the last that concerned it alone

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
        if rules and not self.is_open:
            self.shared, self.is_open = self.open_shared(config), True
        scopes = {rule.scope for rule in rules.values()}
        self.forget(lambda entry: entry.scope not in scopes)
        if self.shared is not None:
            self.shared.keep_scopes(scopes)
        if self.meaning is not None:
            self.meaning.index.resize(memory_bytes // _INDEX_SHARE)
        elif self._opening is None and any(rule.semantic is not None for rule in rules.values()):
            self._opening = asyncio.get_running_loop().create_task(self._open_meaning(config))
            self._opening.add_done_callback(_log_fault)

    async def find(self, key: bytes, rule: CacheRule, now_s: float) -> Stored | None:
        """The answer of this key, out of memory or else out of the shared level. `now_s`: Unix time."""
        entry = self.store.find(key, now_s, rule.ttl_s)
        if entry is not None or self.shared is None:
            return entry
        purges = self.purges
        entry = await self.shared.find(key)
        newer = self.store.find(key, now_s, rule.ttl_s)
        if newer is not None:  # it came in the meantime
            return newer
        if entry is None or entry.scope != rule.scope or now_s - entry.stored_at >= rule.ttl_s:
            return None
        if self.has_purged(purges, entry.team):  # it may be just what was meant
            return None
        self._keep(key, entry)
        return entry

    def add(self, key: bytes, entry: Stored, rule: CacheRule) -> bool:
        """Keep it. Was it worth the room?"""
        is_worth = self.door.lets_in(key, entry.size_bytes, entry.cost_nusd, self.store.stats)
        if not is_worth or not self._keep(key, entry):
            return False
        if self.shared is not None:
            self.shared.add(key, entry, rule.ttl_s)
        return True

    async def purge(self, meant: Meant) -> int:
        """Forget every answer that is meant; how many there were. Raises StateFailed."""
        count = self._forget_meant(meant)
        if self.shared is not None:
            count = max(count, await self.shared.purge(meant))
        if self.others is not None:  # after the shared level, or they would find it there again
            await self.others.tell_purge(meant)
        return count

    def forget_elsewhere(self, meant: Meant, key: bytes | None = None) -> None:
        """Another gateway has purged what is meant, or else the answer of this key: forget it in memory and in the
        index of meanings. Of the shared level it is gone already. An empty `Meant` is everything.
        """
        if key is None:
            self._forget_meant(meant)
        else:
            self._forget_key(key, meant.team)

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
        if hit.calibrator is not None:
            hit.calibrator.complained(hit.probability)
        count = self._forget_key(hit.key, team)
        if self.shared is not None:
            count = max(count, await self.shared.discard(hit.key))
        if self.others is not None:
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
            await asyncio.to_thread(self.shared.close)

    async def _open_meaning(self, config: Config) -> None:
        settings, remote = config.cache.embedder, None
        if settings is not None:
            provider = config.providers[settings.provider]
            self._remote = build_embeddings(settings.provider, provider, settings.model, REMOTE_PATIENCE_S)
            remote = Remote(f"{settings.provider}/{settings.model}", settings.dimensions, self._remote.ask)
        notes = None if self.shared is None else await self.shared.find_note(_LEARNED)
        self.meaning = await self.open_meaning(config.cache.memory_bytes // _INDEX_SHARE, remote, notes)
        self.meaning.index.resize(self.store.stats.budget_bytes // _INDEX_SHARE)  # it may have changed meanwhile

    def _forget_meant(self, meant: Meant) -> int:
        count = self.forget(lambda entry: _is_meant(entry, meant), meant.team)
        if self.meaning is not None and self.shared is not None and meant.id is None:
            store, team = self.store, meant.team  # the index knows no ages: what only the shared level had, goes
            self.meaning.index.drop(lambda one: team in (None, one.team) and one.id not in store)
        return count

    def _forget_key(self, key: bytes, team: str | None) -> int:
        if self.meaning is not None:
            self.meaning.index.remove([key])
        count = int(self.store.remove(key))
        self.counts.used_bytes = self.store.stats.used_bytes
        self._purge_begins(team)
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


def _is_meant(entry: Stored, meant: Meant) -> bool:
    return (
        (meant.id is None or meant.id in (entry.call_id, entry.request_id, entry.answer_id))
        and (meant.team is None or meant.team == entry.team)
        and (meant.model is None or meant.model == entry.model)
        and (meant.stored_before_ms is None or entry.stored_at * 1000 < meant.stored_before_ms)
    )
