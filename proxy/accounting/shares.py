"""Whole numbers cut into parts: tokens and money of one upstream call that several share. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


class Shares:
    """Parts in proportion to weights. Of any total ≥ 0 they are whole, and together they are the total."""

    __slots__ = ("_upto",)

    def __init__(self, weights: Sequence[int]) -> None:
        """`weights` ≥ 0, at least one; even parts if none is above 0."""
        self._upto = [0, *accumulate(weights if any(weights) else [1] * len(weights))]

    def part(self, total: int, at: int) -> int:
        """One part of a total, off by less than 1. O(1)."""
        upto = self._upto
        whole = upto[-1]
        return total * upto[at + 1] // whole - total * upto[at] // whole

    def split(self, total: int) -> list[int]:
        """All of them."""
        return [self.part(total, at) for at in range(len(self._upto) - 1)]
