"""`/admin/v1/grants`: raising a quota of a team until a date. What it does to calls is for whoever keeps the quotas."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from time import time as wall_clock
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from proxy.accounting import name_quota
from proxy.accounting.usd import USD
from proxy.api.changes import (
    author,
    identify_changer,
    instant,
    limit_of,
    name_in,
    read_object,
    registry_of,
    with_registry,
)
from proxy.api.json_response import json_response
from proxy.api.surface import Desk
from proxy.config import QuotaConfig, TeamConfig, suggest
from proxy.errors import InvalidRequest
from proxy.state import Grant

_MAX_USD: Final = 10**9
_MAX_TOKENS: Final = 10**15
_MAX_NOTE_CHARS: Final = 500

_logger = logging.getLogger(__name__)


class GrantsEndpoint:
    """What operators grant to teams."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, request: Request) -> Response:
        """The latest grants, the newest first; `?limit=N`."""
        surface = self._desk.surface
        surface.identify_admin(request.state.headers)
        grants = await with_registry(registry_of(surface).grants, limit_of(request))
        now_ms = wall_clock() * 1000
        return json_response({"grants": [_describe(grant, now_ms) for grant in grants]})

    async def add(self, request: Request) -> Response:
        """Raise a quota: `{"team": NAME, "quota": "usd per month", "usd": 100, "until": "2027-01-31", "note": TEXT}`,
        or `tokens` for a quota of tokens.
        """
        surface = self._desk.surface
        admin = identify_changer(surface, request)
        registry, body = registry_of(surface), await read_object(request)
        now_s = wall_clock()
        team, quota = _quota(body, surface.teams)
        amount, unit = _amount(body, quota)
        until_ms, note = _until_ms(body, now_s), _note(body)
        grant = await with_registry(
            registry.add_grant, team, name_quota(quota), amount, unit, until_ms, note, author(admin)
        )
        _logger.warning(
            "audit: '%s' raised '%s' of the team %s by %d %s until %s (grant %d)",
            *(admin.name, grant.quota, team, amount, unit, instant(until_ms), grant.id),
        )
        return json_response(_describe(grant, now_s * 1000))

    async def withdraw(self, request: Request) -> Response:
        """End a grant before its time: `{"id": N}`."""
        surface = self._desk.surface
        admin = identify_changer(surface, request)
        registry, body = registry_of(surface), await read_object(request)
        grant_id = body.get("id")
        if type(grant_id) is not int or not 0 < grant_id < 2**53:
            raise InvalidRequest("Give 'id' as GET /admin/v1/grants shows it.", param="id")
        grant = await with_registry(registry.withdraw_grant, grant_id, author(admin))
        _logger.warning("audit: '%s' withdrew grant %d of the team %s", admin.name, grant.id, grant.team)
        return json_response(_describe(grant, wall_clock() * 1000))


def _describe(grant: Grant, now_ms: float) -> dict[str, object]:
    is_over = grant.withdrawn_ms is not None or grant.until_ms <= now_ms
    return {
        "id": grant.id,
        "team": grant.team,
        "quota": grant.quota,
        "usd": grant.amount / USD if grant.unit == "nusd" else None,
        "tokens": grant.amount if grant.unit == "tokens" else None,
        "until": instant(grant.until_ms),
        "in_force": not is_over,
        "created": instant(grant.created_ms),
        "created_by": grant.created_by,
        "note": grant.note,
        "withdrawn": instant(grant.withdrawn_ms),
    }


def _quota(body: Mapping[str, object], teams: Mapping[str, TeamConfig]) -> tuple[str, QuotaConfig]:
    """The team, and the quota that it has under this name."""
    team = name_in(body, "team")
    if team not in teams:
        raise InvalidRequest(f"The config has no team '{team}'. {suggest(team, teams)}", param="team")
    quotas = {name_quota(quota): quota for quota in teams[team].quotas}
    named = body.get("quota")
    if not isinstance(named, str) or named not in quotas:
        has = ", ".join(f"'{name}'" for name in quotas) or "none"
        raise InvalidRequest(f"Give 'quota' as one that the team '{team}' has: {has}.", param="quota")
    return team, quotas[named]


def _amount(body: Mapping[str, object], quota: QuotaConfig) -> tuple[int, Literal["nusd", "tokens"]]:
    """How much more, in nano-dollars or tokens, whichever the quota counts."""
    if quota.tokens is not None:
        tokens = body.get("tokens")
        if type(tokens) is not int or not 0 < tokens <= _MAX_TOKENS or "usd" in body:
            raise InvalidRequest("The quota counts tokens: give 'tokens', a whole number above 0.", param="tokens")
        return tokens, "tokens"
    usd = body.get("usd")
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 < usd <= _MAX_USD or "tokens" in body:
        raise InvalidRequest("The quota counts money: give 'usd', a number above 0.", param="usd")
    nusd = round(Decimal(str(usd)) * USD)  # str: 0.1 is meant as one tenth, which no float is
    if not nusd:
        raise InvalidRequest("That is less than a billionth of a dollar.", param="usd")
    return nusd, "nusd"


def _until_ms(body: Mapping[str, object], now_s: float) -> int:
    """A day, until it begins in UTC; or an instant with its offset."""
    value = body.get("until")
    try:
        if not isinstance(value, str):
            raise ValueError
        at = datetime.combine(date.fromisoformat(value), time(), UTC) if len(value) == 10 else _instant(value)
        until_s = at.timestamp()
    except (ValueError, OverflowError):
        raise InvalidRequest(
            "Give 'until' as a day such as 2027-01-31 (until it begins, in UTC) or as an instant with its offset such "
            "as 2027-01-31T18:00:00+01:00.",
            param="until",
        ) from None
    if until_s <= now_s:
        raise InvalidRequest("'until' is over already: give a later day or instant.", param="until")
    return round(until_s * 1000)


def _instant(value: str) -> datetime:
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError
    return at


def _note(body: Mapping[str, object]) -> str:
    note = body.get("note", "")
    if not isinstance(note, str) or len(note) > _MAX_NOTE_CHARS or not note.isprintable():
        raise InvalidRequest(f"Give 'note' as one line of at most {_MAX_NOTE_CHARS} characters.", param="note")
    return note
