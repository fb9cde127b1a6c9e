"""What several gateways tell each other of the targets that they all ask: how it went, what they sent, who is to be
left alone. Each goes on deciding by itself; it only knows more.

Twice a second or so each one collects what happened here since it told last, one `Share` a target, and absorbs what the
others tell. Only what was seen here is told, never what was heard, so nothing comes back as an echo. What gets lost is
missed and nothing worse. The cost is one step a target each time, however many calls there are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import isfinite
from typing import Final

from routing.fleet import Fleet, TargetState
from routing.tally import Share, Tally

#: What one gateway tells: by target, the fields of `Share` in their order.
Digest = dict[str, list[float]]

_FIELDS: Final = len(Share._fields)
#: No sum of half a second is as large, and nobody is left out for longer on the word of others (an hour).
_MOST: Final = 1e12
_LONGEST_S: Final = 3600.0
_DIGITS: Final = 4


class Sharing:
    """One gateway's part in it."""

    def __init__(self, fleet: Fleet) -> None:
        """From the first `collect` on, what happens at the targets of this fleet is written down for the others."""
        self._fleet = fleet
        self._tallies: dict[str, Tally] = {}
        self._told_in_flight: dict[str, int] = {}
        self._in_flight: dict[str, dict[str, int]] = {}  # by sender and target
        self._others = 0

    def keep_only(self, senders: Collection[str]) -> None:
        """These are the other gateways that are alive."""
        self._others = len(senders)
        for tally in self._tallies.values():
            tally.others = self._others
        self._in_flight = {name: known for name, known in self._in_flight.items() if name in senders}

    def in_flight_elsewhere(self, target: str) -> int:
        """Attempts that the others said they have under way there."""
        return sum(known.get(target, 0) for known in self._in_flight.values())

    def collect(self, now: float, *, are_others_heard: bool = True) -> Digest:
        """What to tell: of each target that there is something to tell of. `are_others_heard`: False while nothing gets
        through; then each takes no more than its share of the limits.
        """
        digest: Digest = {}
        for name in self._fleet:
            state = self._fleet[name]
            if not state.breaker.is_shared:
                self._begin(name, state)
            state.pacer.turn(now, are_others_heard=are_others_heard)
            share = self._tallies[name].take(state.in_flight, now)
            if any(share[:-1]) or state.in_flight != self._told_in_flight.get(name, 0):
                self._told_in_flight[name] = state.in_flight
                digest[name] = [round(figure, _DIGITS) for figure in share]
        if len(self._tallies) > len(digest):
            self._forget_gone()
        return digest

    def absorb(self, sender: str, digest: Mapping[str, Sequence[object]], now: float) -> None:
        """Learn what another gateway told. Targets that this one does not have are passed over, and so is what makes no
        sense: another version may have said it.
        """
        in_flight = self._in_flight.setdefault(sender, {})
        for name, figures in digest.items():
            share = _read(figures)
            if share is None or name not in self._tallies or name not in self._fleet:
                continue
            state = self._fleet[name]
            state.breaker.heard(share.attempts, share.failures, min(share.open_s, _LONGEST_S), now)
            state.pacer.heard(share.requests, share.tokens, min(share.rest_s, _LONGEST_S), now)
            state.health.heard(share, now)
            in_flight[name] = int(share.in_flight)

    def _begin(self, name: str, state: TargetState) -> None:
        tally = self._tallies[name] = Tally(self._others)
        state.breaker.share(tally)
        state.pacer.share(tally)
        state.health.share(tally)

    def _forget_gone(self) -> None:
        gone = [name for name in self._tallies if name not in self._fleet]
        for name in gone:
            del self._tallies[name]
            self._told_in_flight.pop(name, None)


def _read(figures: Sequence[object]) -> Share | None:
    """What was told; None if it can't have been meant so. Only tokens and logarithms may be negative."""
    numbers = [one for one in figures if isinstance(one, int | float) and isfinite(one)]
    if len(numbers) != _FIELDS or len(figures) != _FIELDS:
        return None
    share = Share(*numbers)
    if max(map(abs, share)) > _MOST or share.failures > share.attempts:
        return None
    counts = (
        *(share.attempts, share.failures, share.open_s, share.requests, share.rest_s, share.ok, share.failed),
        *(share.record_failed, share.late, share.cuts, share.lasted, share.begins, share.wholes, share.in_flight),
        *(share.begins_squares, share.wholes_squares),
    )
    return None if min(counts) < 0 else share
