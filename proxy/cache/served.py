"""Which answers were served to whom lately, for those who say that one was wrong."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from proxy.cache.semantic.calibrate import Calibrator

#: So many hits are remembered; each under the call's own id and what its client calls it.
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer from the cache."""

    team: str
    key: bytes  #: of the answer
    call_id: str  #: of the call that brought it; another answer may have its key by now
    probability: float = 1.0  #: that it was right, as it was thought then
    calibrator: Calibrator | None = None  #: whose decision it was; None: it was the very same question


class Served:
    """The latest hits, by both ids of their calls."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._hits: OrderedDict[tuple[str, str], tuple[Hit, str]] = OrderedDict()

    def add(self, hit: Hit, call_id: str, request_id: str) -> None:
        """This one was served in that call."""
        self._hits[hit.team, call_id] = hit, request_id
        if request_id != call_id:
            self._hits[hit.team, request_id] = hit, call_id
        while len(self._hits) > 2 * self._limit:
            self._hits.popitem(last=False)

    def take(self, team: str, id: str) -> Hit | None:
        """The hit of this team's call with that id; it is forgotten, so that nobody complains of it twice."""
        found = self._hits.pop((team, id), None)
        if found is None:
            return None
        hit, other_id = found
        self._hits.pop((team, other_id), None)
        return hit
