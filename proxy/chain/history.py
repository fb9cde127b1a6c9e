"""The plans of the last calls, for those who ask afterwards why a call went where it went.

Kept in memory only, a bounded number, across reloads. What is kept is what routing knew (facts, ratings, outcomes):
never a prompt, never a key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.call import Attempt, Call, Planned

_MAX_CALLS: Final = 2000
#: What a call weighs: what it compared and left out, and so much for each plan besides. One is about 280 bytes, so all
#: that is kept stays below 15 MB, however many targets a model has and however often a call is tried; it is 6 MB of
#: calls with one attempt among six targets.
_MAX_WEIGHT: Final = 50_000
_PLAN_WEIGHT: Final = 5

#: The fields of KeptCall, and the weight.
_Entry = tuple[str, str, str, float, int, str | None, str | None, list[Planned], list[Attempt], int]


@dataclass(frozen=True, slots=True)
class KeptCall:
    """A call that was made, as routing saw it."""

    id: str
    request_id: str
    model: str
    received_at: float  #: monotonic seconds
    status: int
    error: str | None
    fallback: str | None
    plans: Sequence[Planned]  #: in the order in which they were made
    attempts: Sequence[Attempt]


class History:
    """The last 2,000 calls that routing planned, or fewer if they were large. The oldest goes first."""

    def __init__(self, max_calls: int = _MAX_CALLS, max_weight: int = _MAX_WEIGHT) -> None:
        self._entries: deque[_Entry] = deque()
        self._weight = 0
        self._max_calls = max_calls
        self._max_weight = max_weight

    def __len__(self) -> int:
        """How many calls are kept."""
        return len(self._entries)

    def keep(self, call: Call) -> None:
        """Remember a call that is over. O(1); a call that was never planned has nothing to remember."""
        plans = call.plans
        if not plans:
            return
        weight = 0
        for _, _, plan in plans:
            basis = plan.basis
            weight += _PLAN_WEIGHT + len(plan.excluded) + (0 if basis is None else len(basis.ratings))
        # A plain tuple: this is on the way of every call, looking it up is not.
        self._entries.append(
            (
                call.id,
                call.request_id,
                call.model,
                call.received_at,
                call.failed_status or call.status,
                call.error,
                call.fallback,
                plans,
                call.attempts,
                weight,
            )
        )
        self._weight += weight
        while len(self._entries) > self._max_calls or self._weight > self._max_weight:
            self._weight -= self._entries.popleft()[-1]

    def find(self, id: str) -> KeptCall | None:
        """The latest call with this id, the gateway's own or the client's `x-request-id`. O(n)."""
        found = None
        for entry in reversed(self._entries):
            if id == entry[0]:
                return KeptCall(*entry[:-1])  # no client can stand in for an id of ours
            if found is None and id == entry[1]:
                found = entry
        return None if found is None else KeptCall(*found[:-1])
