"""Why a call would go where it would go: every target of a model with what is expected of it. Asks nobody, changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from routing.types import Estimate, Target


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target, as it stands for one call."""

    target: Target
    place: int | None  #: 1 is asked first; None: it is not asked
    excluded: str | None  #: why not
    until_s: float | None  #: seconds until it may be asked; None: not by waiting
    breaker: str  #: closed, open or half_open
    headroom: float  #: 0..1: what its provider's limits leave
    in_flight: int
    estimate: Estimate | None  #: None under a strategy that does not score
    margin_usd: float | None  #: by how much its score is above the first one's


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would become of a call."""

    strategy: str
    miss_usd: float | None  #: what missing the objective is reckoned to cost; None under a strategy without one
    success: float | None  #: the share of calls that must succeed; None where nothing is promised or looked at
    failure_usd: float | None  #: what a failure is reckoned to cost besides, for that; None as `success`
    verdicts: tuple[Verdict, ...]  #: those that are asked in their order, then the others
