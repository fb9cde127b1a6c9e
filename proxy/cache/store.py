"""Answers in memory, under a budget of bytes that holds whatever comes. Each team has a queue of its own, which is
evicted by SIEVE (Zhang et al., NSDI '24); when memory is short, the team that holds most gives way, so that one team's
flood does not wash out what the others have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from proxy.state import Meant

#: What an entry takes beyond its answer's bytes: two objects, a key, a place in a table. Measured: 560 to 590 B.
OVERHEAD_BYTES: Final = 768
#: A single answer may take this share of the budget at most.
_LARGEST_SHARE: Final = 1 / 16
#: Entries end up to this much before their time, so that those of one moment do not all end at once.
_JITTER: Final = 0.1
#: So many entries the hand spares at most in one go: 0.1 ms.
_MAX_SPARED: Final = 2000


@dataclass(frozen=True, slots=True)
class Stored:
    """One answer, as it was given once."""

    body: bytes  #: the completion as JSON
    team: str
    model: str  #: as configured
    scope: bytes  #: see `key.scope_of`
    call_id: str  #: of the call that it was the answer to
    request_id: str  #: what that call's client knew it by
    answer_id: str  #: as the completion says; empty if it says none
    stored_at: float  #: Unix time in seconds
    cost_nusd: int  #: what it cost then
    streamed_s: float = 0.0  #: how long its stream took from the first event to the last; 0 if it was none

    @property
    def size_bytes(self) -> int:
        """What it takes of the memory."""
        return len(self.body) + OVERHEAD_BYTES


def is_meant(stored: Stored, meant: Meant) -> bool:
    """Is this one among those that are to be forgotten?"""
    return (
        (meant.id is None or meant.id in (stored.call_id, stored.request_id, stored.answer_id))
        and (meant.team is None or meant.team == stored.team)
        and (meant.model is None or meant.model == stored.model)
        and (meant.stored_before_ms is None or stored.stored_at * 1000 < meant.stored_before_ms)
    )


@dataclass(frozen=True, slots=True)
class Stats:
    """How full the store is, and what became of what is not in it any more."""

    entries: int
    used_bytes: int
    budget_bytes: int
    evicted: int  #: to make room
    expired: int  #: found too old
    purged: int  #: by an operator, or because a config made them useless
    cost_nusd: int  #: what all that is in it cost


class _Node:
    __slots__ = ("entry", "is_visited", "key", "life", "newer", "older")

    def __init__(self, key: bytes, entry: Stored, life: float) -> None:
        self.key = key
        self.entry = entry
        self.life = life  # share of its time that it lives
        self.is_visited = False
        self.newer: _Node | None = None
        self.older: _Node | None = None


class _Queue:
    """One team's entries, by age. SIEVE: the hand goes from the oldest to the newest, spares those that were asked for
    since it passed last, and evicts the first that was not; then it stays there.
    """

    __slots__ = ("count", "hand", "newest", "oldest", "used_bytes")

    def __init__(self) -> None:
        self.newest: _Node | None = None
        self.oldest: _Node | None = None
        self.hand: _Node | None = None
        self.count = self.used_bytes = 0

    def add(self, node: _Node) -> None:
        node.older = self.newest
        if self.newest is not None:
            self.newest.newer = node
        self.newest = node
        self.oldest = self.oldest or node
        self.count += 1
        self.used_bytes += node.entry.size_bytes

    def remove(self, node: _Node) -> None:
        if node is self.hand:
            self.hand = node.newer
        if node.newer is None:
            self.newest = node.older
        else:
            node.newer.older = node.older
        if node.older is None:
            self.oldest = node.newer
        else:
            node.older.newer = node.newer
        node.newer = node.older = None
        self.count -= 1
        self.used_bytes -= node.entry.size_bytes

    def victim(self) -> _Node | None:
        """Whose turn it is; None if there is nobody."""
        node, spared = self.hand or self.oldest, 0
        while node is not None and node.is_visited and spared < _MAX_SPARED:
            node.is_visited = False
            node = node.newer or self.oldest
            spared += 1
        self.hand = node
        return node


class Store:
    """The memory level of the cache. Outlives worlds. Not for other threads than the event loop's."""

    def __init__(self, budget_bytes: int, rng: Random) -> None:
        self._budget_bytes = budget_bytes
        self._rng = rng
        self._nodes: dict[bytes, _Node] = {}
        self._queues: dict[str, _Queue] = {}
        self._used_bytes = self._cost_nusd = 0
        self._evicted = self._expired = self._purged = 0

    def __contains__(self, key: bytes) -> bool:
        """Is there an answer of this key, however old? From any thread."""
        return key in self._nodes

    @property
    def stats(self) -> Stats:
        """As it is now."""
        counts = self._evicted, self._expired, self._purged
        return Stats(len(self._nodes), self._used_bytes, self._budget_bytes, *counts, self._cost_nusd)

    def find(self, key: bytes, now_s: float, ttl_s: float) -> Stored | None:
        """The answer of this key, if it is not too old for such a time to live. `now_s`: Unix time. Cost: 0.3 µs."""
        node = self._nodes.get(key)
        if node is None:
            return None
        if now_s - node.entry.stored_at >= ttl_s * node.life:
            self._drop(node)
            self._expired += 1
            return None
        node.is_visited = True
        return node.entry

    def add(self, key: bytes, entry: Stored) -> bool:
        """Keep it in the place of whatever had this key. Was there room? O(1) but for what it evicts."""
        before = self._nodes.get(key)
        if before is not None:
            self._drop(before)
        if entry.size_bytes > self._budget_bytes * _LARGEST_SHARE:
            return False
        node = _Node(key, entry, 1 - self._rng.random() * _JITTER)
        queue = self._queues.get(entry.team)
        if queue is None:
            queue = self._queues[entry.team] = _Queue()
        self._nodes[key] = node
        queue.add(node)
        self._used_bytes += entry.size_bytes
        self._cost_nusd += entry.cost_nusd
        self._make_room(entry.team)
        return key in self._nodes

    def remove(self, key: bytes) -> bool:
        """Forget this one; was it there?"""
        node = self._nodes.get(key)
        if node is None:
            return False
        self._drop(node)
        self._purged += 1
        return True

    def resize(self, budget_bytes: int) -> None:
        """From now on this is the budget."""
        self._budget_bytes = budget_bytes
        self._make_room("")

    def purge(self, is_meant: Callable[[Stored], bool]) -> list[bytes]:
        """Forget every answer that is meant; their keys. O(entries): 0.1 s for a million."""
        meant = [node for node in self._nodes.values() if is_meant(node.entry)]
        for node in meant:
            self._drop(node)
        self._purged += len(meant)
        return [node.key for node in meant]

    def _make_room(self, team: str) -> None:
        """Evict until the budget holds. `team` is whose entry came last."""
        while self._used_bytes > self._budget_bytes:
            queue = self._queues.get(team)
            if queue is None or queue.used_bytes * len(self._queues) < self._used_bytes:  # it holds less than its share
                queue = max(self._queues.values(), key=lambda one: one.used_bytes)
            victim = queue.victim()
            if victim is None:
                return  # nothing is left at all
            self._drop(victim)
            self._evicted += 1

    def _drop(self, node: _Node) -> None:
        del self._nodes[node.key]
        team = node.entry.team
        queue = self._queues[team]
        queue.remove(node)
        if not queue.count:
            del self._queues[team]
        self._used_bytes -= node.entry.size_bytes
        self._cost_nusd -= node.entry.cost_nusd
