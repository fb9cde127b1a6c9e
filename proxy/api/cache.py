"""`/admin/v1/cache`: how the cache fares, and forgetting what it has."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from time import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from proxy.accounting.usd import exact_usd
from proxy.api.changes import identify_changer, read_object, record
from proxy.api.json_response import json_response
from proxy.api.surface import Desk
from proxy.chain import CacheState
from proxy.config import seconds_of
from proxy.errors import InvalidRequest, Overloaded
from proxy.state import Meant, StateFailed

_NAMES: Final = ("id", "team", "model", "older_than")
_MAX_CHARS: Final = 256

_logger = logging.getLogger(__name__)


class CacheEndpoint:
    """What operators see of the cache and do to it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request) -> Response:
        """Hits, misses, memory, and what was saved, since the start of the process."""
        surface = self._desk.surface
        surface.identify_admin(request.state.headers)
        counts, stats, shared = surface.cache.counts, surface.cache.store.stats, surface.cache.shared
        return json_response(
            {
                "exact": {
                    **{_PLURALS[name]: count for name, count in counts.events.items()},
                    "saved_usd": exact_usd(counts.saved_nusd - counts.semantic.saved_nusd),
                },
                "semantic": _semantic(surface.cache),
                "memory": {
                    "entries": stats.entries,
                    "used_bytes": stats.used_bytes,
                    "budget_bytes": stats.budget_bytes,
                    "evicted": stats.evicted,
                    "expired": stats.expired,
                    "purged": stats.purged,
                },
                "shared": None if shared is None else {**asdict(shared.stats), "budget_bytes": shared.budget_bytes},
            }
        )

    async def complain(self, request: Request) -> Response:
        """`{"id": ID}` of a call, the gateway's own or its `x-request-id`: what it was given is wrong. For the team
        whose call it was.
        """
        surface = self._desk.surface
        team = surface.identify(request.state.headers).team
        body = await read_object(request)
        if set(body) != {"id"}:
            raise InvalidRequest("Give 'id', of the call whose answer was wrong, and nothing else.", param="id")
        try:
            count = await surface.cache.complain(team, _read(body)["id"])
        except StateFailed as error:
            raise _half_done() from error
        return json_response({"purged": count})

    async def purge(self, request: Request) -> Response:
        """Forget answers: `{"id": ID, "team": NAME, "model": NAME, "older_than": "1h"}`, one of them or several, which
        must then all be true. For the role admin.
        """
        surface = self._desk.surface
        admin = identify_changer(surface, request)
        wanted = _read(await read_object(request))
        span_s = seconds_of(wanted.get("older_than"))
        if span_s is None and "older_than" in wanted:
            raise InvalidRequest("Give 'older_than' as a time such as 250ms, 2s, 5m, 1h or 30d.", param="older_than")
        before_ms = None if span_s is None else max(0, int((time() - span_s) * 1000))
        try:
            meant = Meant(wanted.get("id"), wanted.get("team"), wanted.get("model"), before_ms)
            count = await surface.cache.purge(meant)
        except StateFailed as error:
            raise _half_done() from error
        subject = ", ".join(f"{name}={value}" for name, value in wanted.items())
        _logger.warning("audit: '%s' purged %d answers from the cache (%s)", admin.name, count, subject)
        await record(surface, admin, "cache.purge", subject, f"{count} answers")
        return json_response({"purged": count})


_PLURALS: Final[Mapping[str, str]] = {
    "hit": "hits",
    "coalesced": "coalesced",
    "miss": "misses",
    "bypass": "bypassed",
    "stored": "stored",
    "unfit": "unfit",
}


def _half_done() -> Overloaded:
    return Overloaded(
        "The shared level of the cache fails, or other gateways can't be told: what they have is not forgotten. Try "
        "again."
    )


def _semantic(cache: CacheState) -> dict[str, object] | None:
    """None: no model has had a cache by meaning, or it is not open yet."""
    meaning, counts = cache.meaning, cache.counts.semantic
    if meaning is None:
        return None
    return {
        **{str(name): count for name, count in counts.events.items()},
        "vetoes": counts.vetoes,
        "ineligible_by_reason": counts.ineligible,
        "saved_usd": exact_usd(counts.saved_nusd),
        "saved_seconds": round(counts.saved_s, 3),
        "answers_compared": meaning.judged,
        "answers_not_told_apart": meaning.untold,
        "promises": {
            name: {
                "max_error": one.max_error,
                "threshold": one.threshold if one.threshold <= 1 else None,
                "error_bound": one.bound,
                "judged": one.judged_count,
            }
            for name, one in meaning.calibrators.items()
        },
        "index": asdict(meaning.index.stats),
    }


def _read(body: Mapping[str, object]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for name, value in body.items():
        if name not in _NAMES:
            raise InvalidRequest("Give 'id', 'team', 'model' or 'older_than'.")
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_CHARS or not value.isprintable():
            raise InvalidRequest(f"Give '{name}' as a text of at most {_MAX_CHARS} printable characters.", param=name)
        wanted[name] = value
    if not wanted:
        raise InvalidRequest("Say what to forget: 'id', 'team', 'model' or 'older_than'.")
    return wanted
