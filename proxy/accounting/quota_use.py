"""How much of each quota is used, by the ledger, and when it will run out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Final

from proxy.accounting.burndown import MAX_DAYS, MIN_DAYS, BurnDown, project
from proxy.accounting.periods import Calendar
from proxy.accounting.quota_terms import QuotaTerms
from proxy.state import Dimension, LedgerReports, Line, Span

_ONE_DAY: Final = timedelta(days=1)
_SEED: Final = 1  #: the same books make the same projection


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """One quota of a team or a key, in one of its periods."""

    terms: QuotaTerms
    used: int  #: nano-dollars, or tokens: as booked; calls under way are not in it
    span: Span  #: the period
    burn_down: BurnDown | None
    blank: str  #: why there is no burn-down; empty if there is one
    granted: int = 0  #: on top of the quota's own, at that instant

    @property
    def cap(self) -> int:
        """What may be used, grants included."""
        return self.terms.cap + self.granted

    @property
    def owner(self) -> str:
        """The team, or the team and the key."""
        return "/".join(self.terms.owner)


def quota_use(
    books: LedgerReports, terms: Sequence[QuotaTerms], calendar: Calendar, at_s: float, now_s: float
) -> Sequence[QuotaUse]:
    """Each of these quotas in its period at that instant (Unix seconds). Raises StateFailed.

    A quota is as large as grants make it at that instant. Cost: two queries, and 10 ms for each projection.
    """
    if not terms:
        return ()
    today = calendar.day(now_s)
    spans = [calendar.span(one.per, at_s) for one in terms]
    first = min((today - timedelta(days=MAX_DAYS), *(span.first for span in spans)))
    end = max((today + _ONE_DAY, *(span.end for span in spans)))
    teams = {one.owner[0] for one in terms}
    where: Mapping[Dimension, str] = {"team": terms[0].owner[0]} if len(teams) == 1 else {}
    lines = books.sums(Span(first, end), ("team", "key_name", "model"), "day", where)
    left_s = int(calendar.begin_s(today + _ONE_DAY) - now_s)
    granted = books.granted(int(at_s * 1000))
    return tuple(
        _use(one, span, [line for line in lines if _counts(one, line)], today, left_s, _granted(one, granted))
        for one, span in zip(terms, spans, strict=True)
    )


def _counts(terms: QuotaTerms, line: Line) -> bool:
    team, key_name, model = line.group
    return team == terms.owner[0] and terms.covers(key_name, model)


def _granted(terms: QuotaTerms, granted: Mapping[tuple[str, str], int]) -> int:
    """Grants raise quotas of teams."""
    return granted.get((terms.owner[0], terms.name), 0) if len(terms.owner) == 1 else 0


def _use(terms: QuotaTerms, span: Span, lines: Sequence[Line], today: date, left_s: int, granted: int) -> QuotaUse:
    days: dict[date, int] = {}
    for line in lines:
        day, sums = date.fromisoformat(line.period), line.sums
        spent = sums.cost_nusd if terms.unit == "usd" else sums.input_tokens + sums.output_tokens
        days[day] = days.get(day, 0) + spent
    used = sum(spent for day, spent in days.items() if span.first <= day < span.end)
    cap = terms.cap + granted
    burn_down = None
    blank = _why_blank(terms, span, used >= cap, today)
    if not blank:
        oldest = today - timedelta(days=MAX_DAYS)
        past = {day: days.get(day, 0) for day in _days(max(min(days, default=today), oldest), today)}
        burn_down = project(past, used, cap, today, span.end, left_s, Random(_SEED))
        if burn_down is None:
            blank = f"needs {MIN_DAYS} whole days of calls, there are {len(past)}"
    return QuotaUse(terms, used, span, burn_down, blank, granted)


def _why_blank(terms: QuotaTerms, span: Span, is_spent: bool, today: date) -> str:
    if today >= span.end:
        return "the period is over"
    if today < span.first:
        return "the period has not begun"
    if is_spent:
        return "it is spent"
    return "a period of one day is not projected" if terms.per == "day" else ""


def _days(first: date, end: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((end - first).days))
