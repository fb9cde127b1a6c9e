"""`GET /v1/usage` for a team, with its own client key and about itself alone, and `/admin/v1/usage` for operators: the
report of `waystation report --format json`. Parameters are read into values before the books are asked.
"""

from __future__ import annotations

from datetime import timedelta
from time import time
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from proxy.accounting.report_json import as_json
from proxy.accounting.report_query import (
    BadQuery,
    Query,
    compared_spans,
    parse_granularity,
    parse_groups,
    parse_span,
    shown,
)
from proxy.accounting.reports import Reporter
from proxy.api.reading import Reports
from proxy.api.surface import Desk, Surface
from proxy.errors import InvalidRequest, NotFound

_OWN: Final = ("period", "from", "to", "group_by", "granularity", "compare")
_ALL: Final = (*_OWN, "team")
_MAX_SPAN: Final = timedelta(days=400)
_MAX_HOURLY_SPAN: Final = timedelta(days=31)
_MAX_LINES: Final = 20_000
#: So many single calls are checked against their sums: 0.1 s.
_CHECKED_CALLS: Final = 50_000


class UsageEndpoint:
    """What was called, and what it cost."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def own(self, request: Request) -> Response:
        """The caller's team, all its keys; by key if nothing else is asked for."""
        surface = self._desk.surface
        principal = surface.identify(request.state.headers)
        asked = _parameters(request, _OWN)
        return await _answer(reports_of(surface), {"group_by": "key", **asked, "team": principal.team})

    async def all(self, request: Request) -> Response:
        """Every team, or the one that is named; by team if nothing else is asked for. For both roles."""
        surface = self._desk.surface
        surface.identify_admin(request.state.headers)
        return await _answer(reports_of(surface), {"group_by": "team", **_parameters(request, _ALL)})


def reports_of(surface: Surface) -> Reports:
    """The books of this gateway. Raises NotFound if it keeps none that can be read here."""
    if surface.reports is None:
        raise NotFound("This gateway keeps no books that can be read here: they need a state.url of sqlite:///FILE.")
    return surface.reports


def _parameters(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    """What was asked, each at most once. Raises InvalidRequest."""
    asked: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise InvalidRequest(f"There is no parameter {shown(name)}; known: {', '.join(known)}.", param=name[:60])
        if name in asked:
            raise InvalidRequest(f"The parameter '{name}' was given twice.", param=name)
        asked[name] = value
    return asked


async def _answer(reports: Reports, asked: dict[str, str]) -> Response:
    """Raises InvalidRequest, Overloaded."""
    now_s = time()
    try:
        content = await reports.room.ask(lambda: _report(reports.reporter, asked, now_s))
    except BadQuery as error:
        raise InvalidRequest(f"'{error.parameter}': {error.message}.", param=error.parameter) from error
    return Response(content, media_type="application/json")


def _report(reporter: Reporter, asked: dict[str, str], now_s: float) -> bytes:
    """On a thread: the report as JSON. Raises BadQuery, StateFailed."""
    today = reporter.calendar.day(now_s)
    team = asked.get("team")
    query = Query(
        parse_span(asked.get("period"), asked.get("from"), asked.get("to"), today),
        parse_groups(asked["group_by"], reporter.config.accounting.tag_keys, team),
        parse_granularity(asked.get("granularity")),
        team,
    )
    longest = _MAX_HOURLY_SPAN if query.granularity == "hour" else _MAX_SPAN
    if query.span.end - query.span.first > longest:
        raise BadQuery("from", f"a report of this granularity covers at most {longest.days} days")
    compare = asked.get("compare")
    if compare not in (None, "previous"):
        raise BadQuery("compare", f"expected previous, not {shown(str(compare))}")
    if team is not None:
        reporter.check_team(team)
    spans = compared_spans(query.span, today) if compare else None
    report = reporter.build(query, now_s, _CHECKED_CALLS, spans)
    if len(report.lines) > _MAX_LINES:
        raise BadQuery(
            "granularity",
            f"that would be {len(report.lines):,} lines; ask for fewer groups, a coarser granularity or a shorter span",
        )
    return orjson.dumps(as_json(report))
