"""round_robin and weighted: in turn, whatever targets cost and however they fare. Only what may not be asked at all
(breaker, rate limit, concurrency) stands back.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from routing.fit import is_tight, rank_last, unfit
from routing.fleet import Fleet
from routing.obstacles import asked_in_need
from routing.types import Candidate, Exclusion, Facts, Plan, Target


class RoundRobin:
    """Each call starts one target further on; the rest follow in turn."""

    name = "round_robin"

    def __init__(self, targets: Sequence[Target], fleet: Fleet) -> None:
        """`targets`: at least one, each of which has joined the fleet."""
        self._candidates = [Candidate(target, "round robin") for target in targets]
        self._fleet = fleet
        self._turn = 0

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        """All targets that may be asked, the one whose turn it is first."""
        turn = self._turn
        if not facts.tried:
            self._turn = (turn + 1) % len(self._candidates)
        return _admitted(self.name, self._candidates[turn:] + self._candidates[:turn], facts, self._fleet, now)


class Weighted:
    """Smooth weighted round robin, after nginx: shares are kept without bursts."""

    name = "weighted"

    def __init__(self, targets: Sequence[Target], fleet: Fleet) -> None:
        """`targets`: at least one, each of which has joined the fleet; those of weight 0 are asked only in need."""
        self._candidates = [Candidate(target, f"weight {target.weight:g}") for target in targets]
        self._fleet = fleet
        self._total = sum(target.weight for target in targets)
        self._credit = [0.0] * len(targets)

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        """All targets that may be asked, the one whose turn it is first, the others by how near their turn is."""
        credit = self._credit
        if not facts.tried:
            for position, candidate in enumerate(self._candidates):
                credit[position] += candidate.target.weight
        order = sorted(range(len(credit)), key=lambda position: -credit[position])
        if not facts.tried:
            credit[order[0]] -= self._total
        return _admitted(self.name, [self._candidates[position] for position in order], facts, self._fleet, now)


def _admitted(name: str, ordered: Sequence[Candidate], facts: Facts, fleet: Fleet, now: float) -> Plan:
    """The plan over these: those whose context is probably too small come last, with those that were asked before; if
    only guesses stand in the way, nobody does.
    """
    fresh: list[Candidate] = []
    tried: list[Candidate] = []
    excluded: list[Exclusion] = []
    for candidate in ordered:
        target = candidate.target
        obstacle = unfit(target, facts) or fleet[target.name].obstacle(facts.input_tokens, now)
        if obstacle is not None:
            excluded.append(Exclusion(target, *obstacle))
        elif target.name in facts.tried or is_tight(target, facts):
            tried.append(candidate)
        else:
            fresh.append(candidate)
    if len(tried) > 1:
        tried.sort(key=lambda candidate: rank_last(candidate.target, facts))
    candidates = (*fresh, *tried)
    if not candidates:
        asked = asked_in_need(excluded, facts)
        shut = [candidate for candidate in ordered if candidate.target.name in asked]
        candidates = tuple(sorted(shut, key=lambda candidate: candidate.target.name in facts.tried))
    return Plan(name, candidates, tuple(excluded))
