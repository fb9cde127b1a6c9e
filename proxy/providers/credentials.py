"""Several keys of one provider: which to use next, which rest after a 429, which are out after a 401 or 403.

Nothing here sends or logs. A key is known to logs and to /admin by its place in the config (`k1`, `k2`), never by
anything made from the key itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final, Literal

#: How long a refused key is out at first: a provider that refuses by mistake for a moment is not done without for long,
#: and one that means it is asked ever more seldom.
_PARKED_S: Final = 30.0
_MAX_PARKED_S: Final = 6 * 3600.0

Standing = Literal["usable", "cooling", "parked"]


@dataclass(frozen=True, slots=True)
class Credential:
    """One key of a provider."""

    id: str  #: `k1`, `k2` … by its place in the config
    secret: str = field(repr=False)  #: empty for a provider that wants none


@dataclass(slots=True)
class _Slot:
    credential: Credential
    picked: int = 0  #: the turn in which it was picked last
    cooling_until: float = -inf
    parked_until: float = -inf
    parked_s: float = 0.0  #: how long it was out last, 0 since its last success

    def usable_at(self) -> float:
        return max(self.cooling_until, self.parked_until)

    def standing(self, now: float) -> Standing:
        if now < self.parked_until:
            return "parked"
        return "cooling" if now < self.cooling_until else "usable"


class Credentials:
    """The keys of one provider and how each stands. `now` is monotonic seconds; a credential that is not one of these
    (the config was reloaded meanwhile) is passed over in silence. All calls are O(keys).
    """

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys`: at least one, `[""]` for a provider without. Raises ValueError if there is none."""
        if not keys:
            raise ValueError("a provider needs at least one key; give an empty one if it wants none")
        self._slots = [_Slot(Credential(f"k{place}", key)) for place, key in enumerate(keys, 1)]
        self._turn = 0

    def __iter__(self) -> Iterator[Credential]:
        """Every credential, in the order of the config."""
        return (slot.credential for slot in self._slots)

    def pick(self, now: float) -> Credential | None:
        """The usable key that was picked least recently, or None while all are parked or cooling."""
        chosen: _Slot | None = None
        for slot in self._slots:
            if slot.usable_at() <= now and (chosen is None or slot.picked < chosen.picked):
                chosen = slot
        if chosen is None:
            return None
        self._turn += 1
        chosen.picked = self._turn
        return chosen.credential

    def cool(self, credential: Credential, wait_s: float, now: float) -> None:
        """After a 429: let it rest for `wait_s` (finite, already capped). Extends a rest, never shortens it."""
        slot = self._find(credential)
        if slot is not None and now + wait_s > slot.cooling_until:
            slot.cooling_until = now + wait_s

    def park(self, credential: Credential, now: float) -> None:
        """After a 401 or 403: out for a while, and twice as long, up to six hours, each time that it comes back and is
        refused again without a success between. Refusals while it is out (of calls sent before) change nothing.
        """
        slot = self._find(credential)
        if slot is None or now < slot.parked_until:
            return
        slot.parked_s = min(slot.parked_s * 2 or _PARKED_S, _MAX_PARKED_S)
        slot.parked_until = now + slot.parked_s

    def worked(self, credential: Credential) -> None:
        """The provider took it: its next parking is a short one again. A rest that was ordered goes on."""
        slot = self._find(credential)
        if slot is not None:
            slot.parked_s = 0.0

    def usable_in_s(self, now: float) -> float:
        """Seconds until some key is usable; 0 if one is."""
        return max(0.0, min(slot.usable_at() for slot in self._slots) - now)

    def states(self, now: float) -> list[tuple[str, Standing, float]]:
        """Of each key in the order of the config: id, how it stands, seconds until it is usable (0 if it is)."""
        return [(slot.credential.id, slot.standing(now), max(0.0, slot.usable_at() - now)) for slot in self._slots]

    def _find(self, credential: Credential) -> _Slot | None:
        for slot in self._slots:
            if slot.credential == credential:
                return slot
        return None
