"""A cache by meaning without models: texts mean the same if their first words are the same, and what is near is all
that has the same last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from proxy.cache.meaning import Meaning
from proxy.cache.nearest import IndexStats, LookupFailed
from proxy.cache.nearest.base import Reason
from proxy.cache.nearest.scope import Entry
from proxy.cache.semantic.calibrate import Calibrator
from proxy.cache.semantic.judge import Match


@dataclass
class FakeEmbedder:
    """Vectors are texts."""

    failure: Reason | None = None
    dims: int = 1
    id: str = "fake"

    async def embed_then(self, texts: Sequence[str], then: Callable[[Any], Any]) -> Any:
        if self.failure is not None:
            raise LookupFailed(self.failure)
        return then([_One(text) for text in texts])

    async def aclose(self) -> None:
        pass


@dataclass
class _One:
    text: str

    def __matmul__(self, other: Any) -> float:
        return 1.0 if self.text == other.text else 0.3


@dataclass
class FakeIndex:
    """Entries by scope."""

    entries: dict[tuple[bytes, bytes], tuple[str, float]] = field(default_factory=dict)
    teams: dict[bytes, str] = field(default_factory=dict)
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)
    touched: list[bytes] = field(default_factory=list)
    removed: list[bytes] = field(default_factory=list)
    budget_bytes: int = 0
    is_closed: bool = False

    @property
    def stats(self) -> IndexStats:
        return IndexStats(len(self.entries), 1, 0, self.budget_bytes, 0, 0, 0)

    async def nearest_then(self, scope_key: bytes, text: str, now: float, then: Callable[[Any], Any]) -> Any:
        if self.embedder.failure is not None:
            raise LookupFailed(self.embedder.failure)
        return then(_Near(scope_key, self))

    def add(
        self, scope_key: bytes, entry_id: bytes, text: str, vector: object, *, team: str, expires_at: float, now: float
    ) -> None:
        self.entries[scope_key, entry_id] = text, expires_at
        self.teams[entry_id] = team

    def touch(self, entry_id: bytes) -> None:
        self.touched.append(entry_id)

    def remove(self, entry_ids: Iterable[bytes]) -> None:
        for entry_id in entry_ids:
            self.removed.append(entry_id)
            self.entries = {place: entry for place, entry in self.entries.items() if place[1] != entry_id}

    def drop(self, is_meant: Callable[[Entry], bool]) -> None:
        self.remove(
            entry_id
            for (scope_key, entry_id), (text, expires_at) in [*self.entries.items()]
            if is_meant(Entry(entry_id, scope_key, self.teams[entry_id], text, expires_at))
        )

    def resize(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes

    async def aclose(self) -> None:
        self.is_closed = True


@dataclass
class _Near:
    scope_key: bytes
    index: FakeIndex
    vector: object = None


@dataclass
class FakeJudge:
    """The probability is what stands in `probability`; a question with `not` is vetoed."""

    probability: float = 0.99
    start: float = 0.9

    def threshold(self, max_error: float) -> float:
        return self.start

    def match(self, text: str, found: Any) -> Match | None:
        for (scope, entry_id), (stored, _) in found.index.entries.items():
            if scope == found.scope_key and stored != text and stored.split()[-1] == text.split()[-1]:
                vetoes = ("negation",) if "not" in text.split() else ()
                return Match(entry_id, stored, 0.0 if vetoes else self.probability, 0.9, cast(Any, vetoes))
        return None

    def same(self, fresh: str, cached: str, cosine: float) -> bool | None:
        if "?" in fresh:
            return None
        return fresh == cached


def a_meaning(judge: FakeJudge | None = None, index: FakeIndex | None = None, notes: Any = None) -> Meaning:
    return Meaning(cast(Any, index or FakeIndex()), cast(Any, judge or FakeJudge()), notes)


def prove(calibrator: Calibrator, count: int = 300) -> None:
    """Evidence enough that what is as sure as 0.99 may be served."""
    for _ in range(count):
        calibrator.judged(0.99, is_same=True)
