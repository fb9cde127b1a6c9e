"""All scopes, under a budget of bytes that holds whatever comes. When memory is short, the team that holds most gives
way, with what it has not served for the longest time: so one team's flood does not wash out what the others have.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.cache.nearest.base import Found, IndexStats, Vector, Vectors
from proxy.cache.nearest.matrix import Rows, Sketcher
from proxy.cache.nearest.packed import Packed
from proxy.cache.nearest.scope import Entry, Scope

#: A single entry may take this share of the budget at most.
_LARGEST_SHARE: Final = 1 / 16
#: How often a search is done again because some of what it found had expired.
_MAX_SEARCHES: Final = 3
#: Entries that have expired are looked for among so many that are the next to give way, whenever one is added.
_LOOKED_AT: Final = 2


@dataclass(slots=True)
class _Team:
    entries: OrderedDict[bytes, Entry] = field(default_factory=OrderedDict)  # the next to give way first
    used_bytes: int = 0


class Collection:
    """Entries by scope. For one thread, but for what only reads: `pending_of`, `stats`."""

    def __init__(self, dims: int, budget_bytes: int) -> None:
        self._sketcher = Sketcher(dims)
        self._budget_bytes = budget_bytes
        self._scopes: dict[bytes, Scope] = {}
        self._teams: dict[str, _Team] = {}
        self._entries: dict[bytes, Entry] = {}
        self._used_bytes = self._evicted = self._expired = self._dropped = 0

    @property
    def stats(self) -> IndexStats:
        """As it is now; from any thread."""
        return IndexStats(
            len(self._entries),
            len(self._scopes),
            self._used_bytes,
            self._budget_bytes,
            self._evicted,
            self._expired,
            self._dropped,
        )

    def has_scope(self, scope_key: bytes) -> bool:
        """Is there an entry in it? From any thread."""
        return scope_key in self._scopes

    def pending_of(self, scope_key: bytes) -> Entry | None:
        """The scope's entry that has no vector yet. From any thread."""
        scope = self._scopes.get(scope_key)
        return None if scope is None else scope.pending

    def add(self, entry: Entry, vector: Vector | None, now: float) -> None:
        """Keep it in the place of whatever had this id. Without a vector it must be the first of its scope, and is
        found when it has been given one; else it is dropped. O(1) but for what it evicts: 0.05 ms.
        """
        self.remove([entry.id])
        self._drop_expired_of(entry.team, now)
        if entry.size_bytes + self._sketcher.dims > self._budget_bytes * _LARGEST_SHARE:
            self._dropped += 1
            return
        scope = self._scopes.get(entry.scope_key)
        if scope is not None and vector is None:
            self._dropped += 1
            return
        before = 0 if scope is None else scope.used_bytes
        if scope is None:
            scope = self._scopes[entry.scope_key] = Scope(self._sketcher)
        if vector is None:
            scope.pending = entry
        else:
            scope.add(entry, vector)
        self._entries[entry.id] = entry
        self._teams.setdefault(entry.team, _Team()).entries[entry.id] = entry
        self._count(entry.team, scope.used_bytes - before + entry.size_bytes)
        self._make_room(entry.team)

    def take(self, fresh: Iterable[Packed], now: float) -> list[Entry]:
        """Keep what came from elsewhere, where it is not known already. Returns those that must be embedded first: they
        have no vector, and are not the first of their scopes. 15 µs each.
        """
        by_scope: dict[bytes, list[Packed]] = {}
        for one in fresh:
            known = self._entries.get(one.entry.id)
            if known is not None and known.expires_at >= one.entry.expires_at:
                continue
            if known is not None:
                self._drop(known)
            by_scope.setdefault(one.entry.scope_key, []).append(one)
        ready = [one for group in by_scope.values() for one in group if one.numbers]
        rows = self._sketcher.rows(b"".join([one.numbers for one in ready]), [one.scale for one in ready])
        begin, left = 0, []
        for scope_key, group in by_scope.items():
            placed = [one for one in group if one.numbers]
            waiting = [one.entry for one in group if not one.numbers]
            if placed:
                end = begin + len(placed)
                self._extend(scope_key, placed, rows.part(begin, end))
                begin = end
            elif scope_key not in self._scopes:
                self.add(waiting.pop(0), None, now)
            left += waiting
        return left

    def _extend(self, scope_key: bytes, placed: Sequence[Packed], rows: Rows) -> None:
        """All of one scope, and so of one team."""
        entries = [one.entry for one in placed]
        scope, team = self._scopes.get(scope_key), entries[0].team
        before = 0 if scope is None else scope.used_bytes
        if scope is None:
            scope = self._scopes[scope_key] = Scope(self._sketcher)
        scope.extend(entries, rows, [one.terms for one in placed])
        holder = self._teams.setdefault(team, _Team())
        for entry in entries:
            self._entries[entry.id] = holder.entries[entry.id] = entry
        self._count(team, scope.used_bytes - before + sum([entry.size_bytes for entry in entries]))
        self._make_room(team)

    def search(self, scope_key: bytes, text: str, vectors: Vectors, pending: Entry | None, now: float) -> Found:
        """What is near to the text whose vector is the first; a second one is that of `pending`."""
        vector = vectors[0]
        scope = self._scopes.get(scope_key)
        if scope is not None:
            before = scope.used_bytes
            if pending is not None and len(vectors) > 1:
                scope.place(pending, vectors[1])
            scope.prepare()
            if scope.used_bytes != before:
                self._count(scope.team, scope.used_bytes - before)
                self._make_room(scope.team)
        for _ in range(_MAX_SEARCHES):
            scope = self._scopes.get(scope_key)
            found = [] if scope is None else scope.nearest(text, vector)
            expired = [entry for entry, _ in found if entry.expires_at <= now]
            self._expire(expired)
            if not expired:
                break
        return Found(vector, tuple(candidate for entry, candidate in found if entry.expires_at > now))

    def touch(self, entry_id: bytes) -> None:
        """It was served: it is the last of its team to give way."""
        entry = self._entries.get(entry_id)
        if entry is not None:
            self._teams[entry.team].entries.move_to_end(entry_id)

    def remove(self, entry_ids: Iterable[bytes]) -> int:
        """Forget these; how many there were. 0.05 ms each."""
        found = [entry for one in entry_ids if (entry := self._entries.get(one)) is not None]
        for entry in found:
            self._drop(entry)
        return len(found)

    def purge(self, is_meant: Callable[[Entry], bool]) -> int:
        """Forget every entry that is meant; how many there were. O(entries): 1 µs each, 40 µs for each that leaves a
        large scope in which others stay.
        """
        meant: dict[bytes, list[Entry]] = {}
        for entry in self._entries.values():
            if is_meant(entry):
                meant.setdefault(entry.scope_key, []).append(entry)
        for key, entries in meant.items():
            if len(entries) == len(self._scopes[key]):
                self._drop_scope(key, entries)
            else:
                for entry in entries:
                    self._drop(entry)
        return sum(map(len, meant.values()))

    def resize(self, budget_bytes: int) -> None:
        """From now on this is the budget."""
        self._budget_bytes = budget_bytes
        self._make_room("")

    def _make_room(self, team: str) -> None:
        """Evict until the budget holds. `team` is whose entry came last."""
        while self._used_bytes > self._budget_bytes and self._teams:
            holder = self._teams.get(team)
            if (
                holder is None or holder.used_bytes * len(self._teams) < self._used_bytes
            ):  # it holds less than its share
                holder = max(self._teams.values(), key=lambda one: one.used_bytes)
            self._drop(next(iter(holder.entries.values())))
            self._evicted += 1

    def _drop_expired_of(self, team: str, now: float) -> None:
        holder = self._teams.get(team)
        if holder is None:
            return
        first = [entry for entry, _ in zip(holder.entries.values(), range(_LOOKED_AT), strict=False)]
        self._expire([entry for entry in first if entry.expires_at <= now])

    def _expire(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._drop(entry)
            self._expired += 1

    def _drop(self, entry: Entry) -> None:
        scope, holder = self._scopes[entry.scope_key], self._teams[entry.team]
        before = scope.used_bytes
        scope.remove(entry)
        del self._entries[entry.id]
        del holder.entries[entry.id]
        is_empty = len(scope) == 0
        if is_empty:
            del self._scopes[entry.scope_key]
        self._count(entry.team, (0 if is_empty else scope.used_bytes) - before - entry.size_bytes)
        if not holder.entries:
            del self._teams[entry.team]

    def _drop_scope(self, key: bytes, entries: Sequence[Entry]) -> None:
        """`entries`: all that it has, of one team as ever."""
        team = entries[0].team
        used_bytes = self._scopes.pop(key).used_bytes
        for entry in entries:
            del self._entries[entry.id]
            del self._teams[team].entries[entry.id]
            used_bytes += entry.size_bytes
        self._count(team, -used_bytes)
        if not self._teams[team].entries:
            del self._teams[team]

    def _count(self, team: str, change_bytes: int) -> None:
        self._used_bytes += change_bytes
        self._teams[team].used_bytes += change_bytes
