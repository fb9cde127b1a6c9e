"""What was used in the day, the week and the month that it is, by team, key and model: the counters that quotas are
made of. They begin with what the books say and go on with what is settled, so that Σ counters = Σ books.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, get_args

from proxy.accounting.periods import Calendar, Per
from proxy.accounting.quota_terms import QuotaTerms
from proxy.state import Span, Use

_PERS: Final[tuple[Per, ...]] = get_args(Per)
_Place = tuple[str, str, str]  # team, key, model


class _Period:
    __slots__ = ("begin_s", "end_s", "span", "used")

    def __init__(self) -> None:
        self.span: Span | None = None
        self.begin_s = self.end_s = 0.0
        self.used: dict[_Place, list[int]] = {}  # calls, nano-dollars, tokens


class Tally:
    """The counters of one process. Instants are Unix seconds; a clock that is set back opens no period again."""

    def __init__(self, calendar: Calendar, now_s: float) -> None:
        self._calendar = calendar
        self._periods = {per: _Period() for per in _PERS}
        self.roll(now_s)

    def roll(self, now_s: float) -> None:
        """Begin the periods that have begun by now; what was counted in those before is forgotten."""
        for per, period in self._periods.items():
            if now_s >= period.end_s:
                span = self._calendar.span(per, now_s)
                period.span, period.used = span, {}
                period.begin_s, period.end_s = self._calendar.begin_s(span.first), self._calendar.begin_s(span.end)

    def span(self, per: Per) -> Span:
        """The days of the period that it is."""
        span = self._periods[per].span
        assert span is not None, "it began with the first roll"
        return span

    def bounds(self, per: Per) -> tuple[float, float]:
        """When the period that it is began, and when it ends."""
        period = self._periods[per]
        return period.begin_s, period.end_s

    def load(self, per: Per, uses: Iterable[Use]) -> None:
        """What the books say of the period that it is."""
        used = self._periods[per].used
        for use in uses:
            used[use.team, use.key_name, use.model] = [use.calls, use.cost_nusd, use.tokens]

    def add(self, team: str, key_name: str, model: str, began_s: float, cost_nusd: int, tokens: int) -> None:
        """A call was settled. It counts where it began, as it does in the books. Cost: 0.5 µs."""
        if began_s >= self._periods["day"].end_s:
            self.roll(began_s)  # the first of its day to end; it may have been refused before anybody looked
        place = team, key_name, model
        for period in self._periods.values():
            if period.begin_s <= began_s < period.end_s:
                found = period.used.get(place)
                if found is None:
                    found = period.used[place] = [0, 0, 0]
                found[0] += 1
                found[1] += cost_nusd
                found[2] += tokens

    def used(self, terms: QuotaTerms) -> int:
        """What was used of a quota in its period by now."""
        at = 1 if terms.unit == "usd" else 2
        team = terms.owner[0]
        return sum(
            counts[at]
            for (of_team, key_name, model), counts in self._periods[terms.per].used.items()
            if of_team == team and terms.covers(key_name, model)
        )

    def uses(self, per: Per) -> list[Use]:
        """All that was used in the period that it is, in the order of team, key and model."""
        return [
            Use(team, key_name, model, calls, tokens, nusd)
            for (team, key_name, model), (calls, nusd, tokens) in sorted(self._periods[per].used.items())
        ]
