"""`GET /v1/quota` and `GET /admin/v1/quota`: how each quota stands just now, and whether its counters and the books
agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import time

from starlette.requests import Request
from starlette.responses import Response

from proxy.accounting import Allowance
from proxy.api.json_response import json_response
from proxy.api.surface import Desk, Surface
from proxy.chain import amount_of, instant
from proxy.errors import NotFound, Overloaded
from proxy.state import StateFailed, Use


class QuotaEndpoint:
    """Reads the counters that calls are admitted by."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def of_caller(self, request: Request) -> Response:
        """The quotas of the team whose key is sent, and of all its keys. Raises InvalidKey."""
        surface = self._desk.surface
        team = surface.identify(request.state.headers).team
        _look(surface)
        return json_response({"team": team, "quotas": _shown(surface.quotas.of_team(team))})

    async def of_all(self, request: Request) -> Response:
        """Every team's, or that of the parameter `team`. Raises InvalidKey, NotFound."""
        surface = self._desk.surface
        surface.identify_admin(request.state.headers)
        _look(surface)
        wanted = request.query_params.get("team")
        if wanted is not None and wanted not in surface.teams:
            raise NotFound(f"There is no team '{wanted[:100]}' in the config.")
        teams = [_team(surface, name) for name in surface.teams if wanted in (None, name)]
        return json_response({"teams": teams, "check": await _check(surface)})


def _look(surface: Surface) -> None:
    try:
        surface.grants.look(time())
    except StateFailed as error:
        raise Overloaded("The gateway's database can't be read just now. Try again; its log says why.") from error


def _team(surface: Surface, name: str) -> dict[str, object]:
    return {"team": name, "quotas": _shown(surface.quotas.of_team(name))}


async def _check(surface: Surface) -> dict[str, object] | None:
    """What the counters say of this month, all teams together, beside what the books do: the same, once all that has
    ended is booked. None if these can't be read.
    """
    if surface.reports is None:
        return None
    tally, books = surface.quotas.tally, surface.reports.reporter.books
    span, picture = tally.span("month"), surface.picture
    try:
        uses = (
            tally.uses("month")
            if picture is None
            else await picture.used_in([*surface.teams], tally.bounds("month")[0])
        )
        counted = _sum(uses)
        booked = _sum(await surface.reports.room.ask(lambda: books.use(span)))
    except (Overloaded, StateFailed):
        return None  # how quotas stand is known all the same
    return {
        "from": span.first.isoformat(),
        "to": span.end.isoformat(),
        "counters": counted,
        "books": booked,
        "agree": counted == booked,
    }


def _sum(uses: Iterable[Use]) -> dict[str, object]:
    found = list(uses)
    return {
        "requests": sum(one.calls for one in found),
        "tokens": sum(one.tokens for one in found),
        "cost_usd": amount_of(sum(one.cost_nusd for one in found), "usd"),
    }


def _shown(allowances: Iterable[Allowance]) -> list[dict[str, object]]:
    return [_describe(one) for one in allowances]


def _describe(one: Allowance) -> dict[str, object]:
    terms = one.terms
    return {
        "quota": terms.name,
        "key": terms.owner[1] if len(terms.owner) > 1 else None,
        "unit": terms.unit,
        "models": None if terms.models is None else sorted(terms.models),
        "size": amount_of(one.size, terms.unit),
        "granted": amount_of(one.granted, terms.unit),
        "used": amount_of(one.used, terms.unit),
        "reserved": amount_of(one.reserved, terms.unit),
        "remaining": amount_of(one.remaining, terms.unit),
        "used_ratio": round(one.ratio, 6),
        "per": terms.per,
        "period_begins": instant(one.begin_s),
        "period_ends": instant(one.end_s),
        "when_spent": terms.when_spent,
    }
