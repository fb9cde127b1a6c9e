"""Why a target may not be asked just now, in the words that people read, and whom a call is sent to all the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from routing.types import Exclusion, Facts

#: An operator took it out; its provider refused the last attempt and is waited for; it holds as many as it takes.
DRAINED: Final = "drained"
LIMITED: Final = "rate limit"
FULL: Final = "concurrency limit"
#: It failed lately; by our own reckoning its provider would refuse. Both are guesses.
BROKEN: Final = "breaker open"
PACED: Final = "pacing"

_GUESSES: Final = frozenset({BROKEN, PACED})


def asked_in_need(excluded: Sequence[Exclusion], facts: Facts) -> list[str]:
    """Of a model whose targets all have an obstacle, the names of those that are asked all the same: where a guess is
    all that stands in the way, not asking is a failure for certain. None while the call had better wait for another
    one that is only full.
    """
    if facts.may_wait and not facts.tried and any(item.reason == FULL for item in excluded):
        return []
    return [item.target.name for item in excluded if item.reason in _GUESSES]


def is_askable(reasons: Collection[str | None]) -> bool:
    """Would a call be sent to any of the targets that these obstacles are of? None is no obstacle."""
    return None in reasons or (FULL not in reasons and not _GUESSES.isdisjoint(reasons))
