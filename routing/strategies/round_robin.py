"""Round robin: each call starts one target further on; the rest follow in turn."""

from __future__ import annotations

from collections.abc import Sequence

from routing.types import Candidate, Target


class RoundRobin:
    """Deals calls out evenly, whatever they cost and however the targets fare."""

    name = "round_robin"

    def __init__(self, targets: Sequence[Target]) -> None:
        """`targets`: at least one."""
        if not targets:
            raise ValueError("a model needs at least one target")
        candidates = [Candidate(target, "round robin") for target in targets]
        # Every rotation is made here, once: order() then only picks one.
        self._rotations = tuple((*candidates[turn:], *candidates[:turn]) for turn in range(len(candidates)))
        self._turn = 0

    def order(self) -> tuple[Candidate, ...]:
        """All targets, the one whose turn it is first. O(1)."""
        rotation = self._rotations[self._turn]
        self._turn = (self._turn + 1) % len(self._rotations)
        return rotation
