"""What the cache did, in plain numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

#: `hit`, `coalesced`, `miss`, `bypass`: how a call fared; `stored`, `unfit`: what became of an answer that was awaited.
CacheEvent = Literal["hit", "coalesced", "miss", "bypass", "stored", "unfit"]

#: `hit`: served; `would_hit`: would have been, but for `mode: shadow`; `audited`: would have been, and was asked for
#: all the same, to learn; `miss`: nothing was sure enough; `vetoed`: guards objected to what was nearest; `ineligible`:
#: the request is none to be looked up; `slow`, `busy`, `failed`, `closed`: nothing could be looked up.
SemanticEvent = Literal[
    "hit", "would_hit", "audited", "miss", "vetoed", "ineligible", "slow", "busy", "failed", "closed"
]


@dataclass(slots=True)
class SemanticCounts:
    """Of the cache by meaning, since the start of the process."""

    events: dict[SemanticEvent, int] = field(default_factory=lambda: dict.fromkeys(get_args(SemanticEvent), 0))
    vetoes: Counter[str] = field(default_factory=Counter)  #: by guard, each time that it objected
    ineligible: Counter[str] = field(default_factory=Counter)  #: by reason
    saved_nusd: int = 0  #: what hits would have cost
    saved_s: float = 0.0  #: how long their answers took when somebody paid for them


@dataclass(slots=True)
class CacheCounts:
    """Counts since the start of the process."""

    events: dict[CacheEvent, int] = field(default_factory=lambda: dict.fromkeys(get_args(CacheEvent), 0))
    saved_nusd: int = 0  #: what hits would have cost
    used_bytes: int = 0  #: memory that answers take
    semantic: SemanticCounts = field(default_factory=SemanticCounts)

    def by_tier(self) -> Iterator[tuple[tuple[str, str], int]]:
        """All events, by tier and name."""
        yield from ((("exact", name), count) for name, count in self.events.items())
        yield from ((("semantic", name), count) for name, count in self.semantic.events.items())
