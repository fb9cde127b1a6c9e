"""Reports over the books: what was called, what it cost, how sure that is, who pays, and how long it will last.

Whatever is added up here was added up before, when the calls were booked: a report reads sums, and single calls only
to check them. It asks nobody but the books it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Final, Literal, TypeVar

from proxy.accounting.figures import DETAILS, Figures, Totals
from proxy.accounting.periods import Calendar, find_zone
from proxy.accounting.quota_terms import terms_of
from proxy.accounting.quota_use import QuotaUse, quota_use
from proxy.accounting.report_query import BadQuery, Query, shown
from proxy.config import Config, suggest
from proxy.state import Dimension, Drift, Extent, Granularity, LedgerReports, Line, Span, Sums

_ONE_DAY: Final = timedelta(days=1)
_EVER: Final = Span(date.min, date.max)
_NO_DETAILS: Final = ("",) * len(DETAILS)
#: A line of the report: period and group.
_Key = tuple[str, tuple[str, ...]]
_At = TypeVar("_At", bound=tuple[object, ...])
#: Rows of the books; before each the hour in which its calls began, where that is told, in Unix seconds.
_Asked = Iterable[tuple[int, Line]]


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One line: calls that were booked where they began."""

    period: str  #: `2026-11`, `2026-11-21`, `2026-11-21T07:00:00Z`; empty if it is one sum of all
    group: tuple[str, ...]  #: values of what the report groups by; empty where there is none
    figures: Figures


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What became known of a month after it was closed; booked in this span, and in no line."""

    of_month: str  #: in which the calls began: `2026-10`
    period: str  #: in which it was booked, as for a line
    group: tuple[str, ...]
    figures: Figures  #: calls count as -1 where what was assumed of them is taken back


@dataclass(frozen=True, slots=True)
class Change:
    """One group, in both of the spans that are compared."""

    group: tuple[str, ...]
    now: Sums
    before: Sums


@dataclass(frozen=True, slots=True)
class Check:
    """Is Σ calls = Σ sums?"""

    state: Literal["holds", "drift", "not_made"]
    span: Span | None  #: the days that were looked at
    calls: int  #: and how many calls they have
    drift: Sequence[Drift]
    why: str  #: why it covers less than the report; empty if it does not


@dataclass(frozen=True, slots=True)
class Report:
    """A report, ready to be shown."""

    query: Query
    zone: str
    made_s: float  #: Unix seconds
    is_closed: bool  #: can nothing be booked in this span any more?
    extent: Extent
    lines: Sequence[ReportLine]
    adjustments: Sequence[Adjustment]
    total: Figures  #: of all lines and adjustments
    changes: Sequence[Change]
    spans: tuple[Span, Span] | None  #: of the changes: now, before
    quotas: Sequence[QuotaUse]
    check: Check


@dataclass(frozen=True, slots=True)
class Reporter:
    """Makes reports from one set of books. For any thread; nothing is kept between two reports."""

    books: LedgerReports
    config: Config

    @property
    def calendar(self) -> Calendar:
        """The calendar of the books: of one thread. Raises UnknownTimeZone."""
        return Calendar(find_zone(self.config.accounting.timezone))

    def check_team(self, team: str) -> None:
        """Is there such a team, or was there? Raises BadQuery, StateFailed."""
        if team in self.config.teams:
            return
        booked = [line.group[0] for line in self.books.sums(_EVER, ("team",))]
        if team not in booked:
            hint = suggest(team, sorted({*self.config.teams, *booked}))
            raise BadQuery("team", f"there is no team {shown(team)}{f' ({hint})' if hint else ''}")

    def build(self, query: Query, now_s: float, check_calls: int = 0, spans: tuple[Span, Span] | None = None) -> Report:
        """The report. `check_calls`: of so many single calls at most, the latest, it is checked that they come to what
        was added up; `spans`: what to compare by group, the later first. Raises StateFailed, UnknownTimeZone.
        """
        calendar = self.calendar
        extent = self.books.extent()
        total = Totals()
        tallies = _tallies(self.books, query, total)
        adjustments = self._adjustments(query, tallies, calendar)
        lines = [
            ReportLine(*at, figures) for at, tally in sorted(tallies.items(), key=_at) if (figures := tally.figures())
        ]
        return Report(
            query=query,
            zone=self.config.accounting.timezone,
            made_s=now_s,
            is_closed=calendar.is_closed(query.span.end - _ONE_DAY, now_s),
            extent=extent,
            lines=lines,
            adjustments=adjustments,
            total=total.figures() or Figures.none(),
            changes=() if spans is None else _changes(self.books, query, *spans),
            spans=spans,
            quotas=self._quotas(query, calendar, now_s),
            check=_check(self.books, query, extent, check_calls),
        )

    def _adjustments(self, query: Query, tallies: dict[_Key, Totals], calendar: Calendar) -> Sequence[Adjustment]:
        """What was booked late, taken out of the lines that it is in."""
        found: dict[tuple[str, str, tuple[str, ...]], Totals] = {}
        for began_hour, line, is_taken in _rows(query, DETAILS, partial(_late, self.books, query)):
            at, details = _place(line)
            of_month = calendar.day(began_hour).isoformat()[:7]
            found.setdefault((of_month, *at), Totals()).add(details, line.sums, is_taken=is_taken)
            tallies.setdefault(at, Totals()).add(details, line.sums, is_taken=not is_taken)
        return [
            Adjustment(*at, figures) for at, tally in sorted(found.items(), key=_at) if (figures := tally.figures())
        ]

    def _quotas(self, query: Query, calendar: Calendar, now_s: float) -> Sequence[QuotaUse]:
        """At the end of the span, or now if that is earlier."""
        terms = [one for one in terms_of(self.config) if query.team in (None, one.owner[0])]
        at_s = min(now_s, calendar.begin_s(query.span.end) - 1)
        return quota_use(self.books, terms, calendar, at_s, now_s)


def _rows(
    query: Query, details: Sequence[Dimension], ask: Callable[[Sequence[Dimension], str], _Asked]
) -> Iterator[tuple[int, Line, bool]]:
    """Rows of the books by the query's groups and by `details`; True: to be taken away again.

    Of a report by a tag, calls without it are in the group whose tag is empty: all calls, less those that carry it.
    """
    by = (*query.dimensions, *details)
    if not query.tag_key:
        yield from ((hour, line, False) for hour, line in ask(by, ""))
        return
    at = by.index("tag")
    for hour, line in ask(by, query.tag_key):
        yield hour, line, False
        yield hour, line._replace(group=(*line.group[:at], "", *line.group[at + 1 :])), True
    for hour, line in ask((*by[:at], *by[at + 1 :]), ""):
        yield hour, line._replace(group=(*line.group[:at], "", *line.group[at:])), False


def _sums(
    books: LedgerReports, query: Query, span: Span, granularity: Granularity, by: Sequence[Dimension], tag_key: str
) -> _Asked:
    return ((0, line) for line in books.sums(span, by, granularity, query.where, tag_key))


def _late(books: LedgerReports, query: Query, by: Sequence[Dimension], tag_key: str) -> _Asked:
    return books.late(query.span, by, query.granularity, query.where, tag_key)


def _place(line: Line) -> tuple[_Key, tuple[str, ...]]:
    """Which line of the report a row belongs to, and its details."""
    groups = len(line.group) - len(DETAILS)
    return (line.period, line.group[:groups]), line.group[groups:]


def _at(item: tuple[_At, Totals]) -> _At:
    return item[0]


def _tallies(books: LedgerReports, query: Query, total: Totals) -> dict[_Key, Totals]:
    """By line; all of it goes into `total` as well."""
    tallies: dict[_Key, Totals] = {}
    ask = partial(_sums, books, query, query.span, query.granularity)
    for _, line, is_taken in _rows(query, DETAILS, ask):
        at, details = _place(line)
        tally = tallies.get(at)
        if tally is None:
            tally = tallies[at] = Totals()
        tally.add(details, line.sums, is_taken=is_taken)
        total.add(details, line.sums, is_taken=is_taken)
    return tallies


def _changes(books: LedgerReports, query: Query, now: Span, before: Span) -> Sequence[Change]:
    """By group, whatever the granularity; with what was booked late, as it was booked."""
    both = []
    for span in (now, before):
        sums: dict[tuple[str, ...], Totals] = {}
        for _, line, is_taken in _rows(query, (), partial(_sums, books, query, span, "total")):
            sums.setdefault(line.group, Totals()).add(_NO_DETAILS, line.sums, is_taken=is_taken)
        both.append({group: figures.sums for group, tally in sums.items() if (figures := tally.figures())})
    nothing = Sums()
    return [
        Change(group, both[0].get(group, nothing), both[1].get(group, nothing))
        for group in sorted({*both[0], *both[1]})
    ]


def _check(books: LedgerReports, query: Query, extent: Extent, most_calls: int) -> Check:
    """Of the days whose single calls are all there, the latest that have no more than `most_calls` together, of all
    teams: to check one of them is to read past the calls of the others.
    """
    first, end = query.span.first, query.span.end
    if not extent.calls_from:
        return Check("not_made", None, 0, (), "no single call is in the books")
    why = ""
    if extent.calls_from > extent.first_day:
        kept_from = date.fromisoformat(extent.calls_from) + _ONE_DAY  # part of the first day may be forgotten
        if kept_from > first:
            first, why = kept_from, f"single calls from before {kept_from} are forgotten"
    if first >= end:
        return Check("not_made", None, 0, (), why)
    calls, span = 0, Span(end, end)
    by_day = {line.period: line.sums.calls for line in books.sums(Span(first, end), granularity="day")}
    for day in sorted(by_day, reverse=True):
        if calls + by_day[day] > most_calls:
            why = f"only the latest days, of at most {most_calls:,} calls, are checked"
            break
        calls += by_day[day]
        span = Span(date.fromisoformat(day), end)
    else:
        span = Span(first, end)
    if span.first == end:
        return Check("not_made", None, 0, (), why)
    if query.where:
        calls = sum(line.sums.calls for line in books.sums(span, where=query.where))
    drift = books.drift(span, query.team)
    return Check("drift" if drift else "holds", span, calls, drift, why)
