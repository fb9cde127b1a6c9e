"""Which large answers are worth their room when memory is short: those that somebody asked for before, or that save
more for each byte than what is there (after TinyLFU's doorkeeper, Einziger et al., ACM TOS 2017).
"""

from __future__ import annotations

from typing import Final

from proxy.cache.sketch import Sketch
from proxy.cache.store import Stats

#: Smaller answers are kept whatever they are: it is the large ones that wash others out.
_LARGE_BYTES: Final = 64_000
#: From this share of the budget on memory is short.
_SHORT_FROM: Final = 0.75
#: So many keys are remembered, and as many before them; then the older half is forgotten.
_REMEMBERED: Final = 10_000
_SKETCH_BYTES: Final = 15_000_000


class Doorkeeper:
    """Remembers who stood at the door."""

    def __init__(self) -> None:
        self._young, self._old = Sketch(_SKETCH_BYTES), Sketch(_SKETCH_BYTES)
        self._count = 0

    def lets_in(self, key: bytes, size_bytes: int, cost_nusd: int, stats: Stats) -> bool:
        """Is an answer of this size, which cost so much, to be kept in a store that looks like this?"""
        if size_bytes <= _LARGE_BYTES or stats.used_bytes < stats.budget_bytes * _SHORT_FROM:
            return True
        if self._young.may_have(key) or self._old.may_have(key):
            return True
        self._young.add(key)
        self._count += 1
        if self._count >= _REMEMBERED:
            self._young, self._old, self._count = Sketch(_SKETCH_BYTES), self._young, 0
        return cost_nusd * stats.used_bytes > stats.cost_nusd * size_bytes
