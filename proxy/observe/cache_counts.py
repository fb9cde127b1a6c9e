"""What the cache did, in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

#: `hit`, `coalesced`, `miss`, `bypass`: how a call fared; `stored`, `unfit`: what became of an answer that was awaited.
CacheEvent = Literal["hit", "coalesced", "miss", "bypass", "stored", "unfit"]


@dataclass(slots=True)
class CacheCounts:
    """Counts since the start of the process."""

    events: dict[CacheEvent, int] = field(default_factory=lambda: dict.fromkeys(get_args(CacheEvent), 0))
    saved_nusd: int = 0  #: what hits would have cost
    used_bytes: int = 0  #: memory that answers take
