"""What the cache has of the inputs of one request for embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from proxy.cache import KeptVector, Stored, unpack_vector


@dataclass(frozen=True, slots=True)
class Further:
    """What is being looked for where other replicas keep it."""

    model: str  #: as configured: a quota may send the call to another one meanwhile
    purges: int  #: see `CacheState.purges`, when it began
    finding: asyncio.Future[Mapping[bytes, Stored]]


@dataclass(slots=True)
class Looked:
    """Of one request."""

    keys: Sequence[bytes]  #: of its inputs, in their order
    found: dict[bytes, KeptVector] = field(default_factory=dict)
    stored_at: float = 0.0  #: Unix time in seconds; of the oldest
    saved_nusd: int = 0

    @property
    def differs(self) -> bool:
        """Are their vectors of different sizes?"""
        return len({len(kept.vector) for kept in self.found.values()}) > 1

    def take(self, key: bytes, entry: Stored) -> None:
        """This one is there."""
        self.found[key] = unpack_vector(entry.body)
        self.stored_at = min(self.stored_at, entry.stored_at)
        self.saved_nusd += entry.cost_nusd

    def clear(self, now_s: float) -> None:
        """Nothing is, after all. `now_s`: Unix time."""
        self.found.clear()
        self.stored_at, self.saved_nusd = now_s, 0

    def missing(self, inputs: Sequence[str | list[int]]) -> dict[bytes, str | list[int]]:
        """The inputs that are not there, each once."""
        return {key: one for key, one in zip(self.keys, inputs, strict=True) if key not in self.found}
