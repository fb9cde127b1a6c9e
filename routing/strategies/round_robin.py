"""Round robin: each call starts one target further on; the rest follow in turn."""

from __future__ import annotations

from collections.abc import Sequence

from routing.types import Candidate, Plan, Target


class RoundRobin:
    """Deals calls out evenly, whatever they cost and however the targets fare."""

    name = "round_robin"

    def __init__(self, targets: Sequence[Target]) -> None:
        """`targets`: at least one."""
        if not targets:
            raise ValueError("a model needs at least one target")
        candidates = [Candidate(target, "round robin") for target in targets]
        # Every plan is made here, once: plan() then only picks one.
        rotations = [(*candidates[turn:], *candidates[:turn]) for turn in range(len(candidates))]
        self._plans = tuple(Plan(self.name, rotation) for rotation in rotations)
        self._turn = 0

    def plan(self) -> Plan:
        """All targets, the one whose turn it is first. O(1)."""
        plan = self._plans[self._turn]
        self._turn = (self._turn + 1) % len(self._plans)
        return plan
