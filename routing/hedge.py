"""When a second attempt is worth racing a slow first one, before the first token only.

By value, not by a fixed quantile: the longer the first one is silent, the likelier it will miss the objective, and the
less time a second one has left to keep it. Under a budget of its own, without a floor: none is sent before there was
anything to take a share of. After Dean and Barroso, "The Tail at Scale", and Finagle's BackupRequestFilter.
"""

from __future__ import annotations

from typing import Final

from routing.window import MovingSum

#: A second attempt must promise this much more than it costs.
_MARGIN: Final = 1.2
_SPAN_S: Final = 300.0
_SLOTS: Final = 10
#: Silence that fewer than this share of answers keep is a hang.
HUNG: Final = 0.01
#: How often a silent attempt is looked at, in seconds.
INTERVAL_S: Final = 0.1


class HedgeBudget:
    """What second attempts may cost: a share of what all calls of a model cost lately."""

    __slots__ = ("_hedges", "_share", "_total")

    def __init__(self, share: float) -> None:
        """`share`: of the calls' cost; 0 is off."""
        self._share = share
        self._total = MovingSum(_SPAN_S, _SLOTS)
        self._hedges = MovingSum(_SPAN_S, _SLOTS)

    @property
    def is_on(self) -> bool:
        """Does anybody want second attempts?"""
        return self._share > 0

    def spent(self, cost_usd: float, now: float) -> None:
        """A call has cost this."""
        self._total.add(cost_usd, now)

    def has(self, cost_usd: float, now: float) -> bool:
        """Is there room for a second attempt that costs this?"""
        return self._hedges.total(now) + cost_usd <= self._share * self._total.total(now)

    def take(self, cost_usd: float, now: float) -> None:
        """A second attempt is being sent."""
        self._hedges.add(cost_usd, now)


def is_worth(miss_usd: float, p_late: float, p_rescue: float, cost_usd: float) -> bool:
    """Is what a second attempt probably saves worth what it costs?

    `miss_usd`: the price of a miss; `p_late`: that the first misses, given its silence; `p_rescue`: that the second
    keeps what is left of the objective.
    """
    return miss_usd * p_late * p_rescue > _MARGIN * cost_usd
