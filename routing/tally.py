"""What happened at one target since other gateways were told last. Breaker, pacer and health write it as they learn,
where sharing is on; `sharing.py` takes it away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple


class Share(NamedTuple):
    """What one gateway tells the others of one target. Sums are of what happened since it told last."""

    attempts: float = 0.0  #: whose end says something of the target
    failures: float = 0.0  #: of these
    open_s: float = 0.0  #: for how many seconds more it is left out since its breaker opened; 0: it did not
    requests: float = 0.0
    tokens: float = 0.0  #: may be negative: less was used than had been reckoned
    rest_s: float = 0.0  #: for how many seconds more it rests after a 429; 0: there was none
    ok: float = 0.0
    failed: float = 0.0
    record_failed: float = 0.0  #: of the failed ones, those that are not one fault with the one before
    late: float = 0.0  #: of those that count as answered, how many were given up before
    cuts: float = 0.0  #: streams that were cut
    lasted: float = 0.0  #: and those that came to their end
    begins: float = 0.0  #: first tokens by which `begins_sum` and `begins_squares` are known
    begins_sum: float = 0.0  #: of the logarithms of their times against the usual
    begins_squares: float = 0.0
    wholes: float = 0.0  #: the same of answers that came whole
    wholes_sum: float = 0.0
    wholes_squares: float = 0.0
    in_flight: float = 0.0  #: just now


@dataclass(slots=True)
class Ratios:
    """Logarithms of times against the usual: how many, their sum, and that of their squares."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, logarithm: float, square: float) -> None:
        """Count one."""
        self.count += 1.0
        self.total += logarithm
        self.squares += square


@dataclass(slots=True)
class Tally:
    """One target's. Instants are monotonic seconds, of this gateway's clock."""

    others: int = 0  #: gateways beside this one; what they are sending just now nobody has told yet
    attempts: int = 0
    failures: int = 0
    open_until: float = -inf  #: the latest cool-down that began here
    requests: int = 0
    tokens: int = 0
    rest_until: float = -inf  #: the latest rest after a 429 to an attempt of this gateway
    ok: float = 0.0
    failed: float = 0.0
    record_failed: float = 0.0
    late: float = 0.0
    cuts: int = 0
    lasted: int = 0
    begins: Ratios = field(default_factory=Ratios)
    wholes: Ratios = field(default_factory=Ratios)

    def take(self, in_flight: int, now: float) -> Share:
        """What there is to tell; from here on it is counted anew."""
        begins, wholes = self.begins, self.wholes
        share = Share(
            *(self.attempts, self.failures, _left_s(self.open_until, now)),
            *(self.requests, self.tokens, _left_s(self.rest_until, now)),
            *(self.ok, self.failed, self.record_failed, self.late, self.cuts, self.lasted),
            *(begins.count, begins.total, begins.squares, wholes.count, wholes.total, wholes.squares),
            in_flight,
        )
        self.attempts = self.failures = self.requests = self.tokens = self.cuts = self.lasted = 0
        self.open_until = self.rest_until = -inf
        self.ok = self.failed = self.record_failed = self.late = 0.0
        begins.count = begins.total = begins.squares = wholes.count = wholes.total = wholes.squares = 0.0
        return share


def _left_s(until: float, now: float) -> float:
    return until - now if until > now else 0.0
