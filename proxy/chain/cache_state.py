"""What is kept of the cache when the config changes: the answers, in memory and in the shared level, and the counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final, Self

import orjson

from proxy.cache import Doorkeeper, OpenShared, Pace, Shared, Shelf, Store, Stored, without_shared
from proxy.cache.meaning import REMOTE_PATIENCE_S, Meaning, OpenMeaning, open_meaning
from proxy.cache.nearest import LookupFailed, Remote
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
    purges: int = 0  #: what set out before the last of them is not stored: it may be just what was meant

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
        if purges != self.purges:  # it may be just what was meant
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
        count = self.forget(lambda entry: _is_meant(entry, meant))
        return count if self.shared is None else max(count, await self.shared.purge(meant))

    async def complain(self, team: str, id: str) -> int:
        """What this team's call of that id was given is wrong: forget it, and learn. How many answers were forgotten:
        of a call that was no hit, its own. Raises StateFailed.
        """
        hit = self.served.take(team, id)
        if hit is None:
            return await self.purge(Meant(id, team))
        if hit.calibrator is not None:
            hit.calibrator.judged(hit.probability, is_same=False)
        if self.meaning is not None:
            self.meaning.index.remove([hit.key])
        count = int(self.store.remove(hit.key))
        if self.shared is not None:
            count = max(count, await self.shared.discard(hit.key))
        self.purges += 1
        return count

    def forget(self, is_meant: Callable[[Stored], bool]) -> int:
        """Forget what is meant and in memory; how many there were."""
        self.purges += 1
        count = self.store.purge(is_meant)
        self.counts.used_bytes = self.store.stats.used_bytes
        return count

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
        try:
            if settings is not None:
                provider = config.providers[settings.provider]
                self._remote = build_embeddings(settings.provider, provider, settings.model, REMOTE_PATIENCE_S)
                remote = Remote(f"{settings.provider}/{settings.model}", settings.dimensions, self._remote.ask)
            notes = None if self.shared is None else await self.shared.find_note(_LEARNED)
            self.meaning = await self.open_meaning(config.cache.memory_bytes // _INDEX_SHARE, remote, notes)
        except (ImportError, LookupFailed, OSError, ValueError) as error:
            _logger.exception("cache by meaning: it can't be opened, and is done without", exc_info=error)

    def _keep(self, key: bytes, entry: Stored) -> bool:
        is_kept = self.store.add(key, entry)
        self.counts.used_bytes = self.store.stats.used_bytes
        return is_kept


def _is_meant(entry: Stored, meant: Meant) -> bool:
    return (
        (meant.id is None or meant.id in (entry.call_id, entry.request_id, entry.answer_id))
        and (meant.team is None or meant.team == entry.team)
        and (meant.model is None or meant.model == entry.model)
        and (meant.stored_before_ms is None or entry.stored_at * 1000 < meant.stored_before_ms)
    )
