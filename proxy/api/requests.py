"""`GET /v1/requests/{id}`: how one call of the caller's team ended, what it cost and whom it was tried at. What the
headers of a stream could not say yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from proxy.accounting.report_json import TOKENS
from proxy.accounting.usd import exact_usd
from proxy.api.json_response import json_response
from proxy.api.surface import Desk
from proxy.api.usage import reports_of
from proxy.errors import NotFound
from proxy.state import AttemptEntry, Settlement

_MAX_ID_CHARS: Final = 200


class RequestsEndpoint:
    """Single calls, for the team that made them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request) -> Response:
        """One call by its `x-request-id`, the latest that had it, or by the gateway's own id. Raises InvalidKey,
        NotFound (also for another team's), Overloaded.
        """
        surface = self._desk.surface
        principal = surface.identify(request.state.headers)
        reports = reports_of(surface)
        name: str = request.path_params["name"]
        books = reports.reporter.books
        found = None
        if len(name) <= _MAX_ID_CHARS:
            found = await reports.room.ask(lambda: books.call(name, principal.team))
        if found is None:
            raise NotFound(
                "Your team has no finished call of this id. Ask with the x-request-id of an answer, about a second "
                "after its end; how long single calls are kept is set by state.retain."
            )
        return json_response(_describe(found))


def _describe(call: Settlement) -> Mapping[str, object]:
    answered = call.answered
    return {
        "object": "request",
        "id": call.call_id,
        "request_id": call.request_id,
        "status": call.status,
        "error": call.error,
        "model": call.model,
        "asked_model": call.asked_model,
        "target": None if answered is None else call.attempts[answered].target or None,
        "source": call.source,
        "fallback": call.fallback,
        "stream": call.is_stream,
        "key": call.payer.key_name,
        "cost_center": call.payer.cost_center or None,
        "tags": dict(call.payer.tags),
        "began_at": _instant(call.began_ms),
        "ended_at": _instant(call.ended_ms),
        "duration_ms": call.duration_ms,
        "first_ms": call.first_ms,
        "ttft_ms": call.ttft_ms,
        "tokens": {name.removesuffix("_tokens"): sum(getattr(one, name) for one in call.attempts) for name in TOKENS},
        "cost_usd": exact_usd(sum(one.cost_nusd for one in call.attempts)),
        "low_usd": exact_usd(sum(one.low_nusd for one in call.attempts)),
        "high_usd": exact_usd(sum(one.high_nusd for one in call.attempts)),
        "saved_usd": exact_usd(call.saved_nusd),
        "attempts": [_describe_attempt(one) for one in call.attempts],
    }


def _describe_attempt(one: AttemptEntry) -> Mapping[str, object]:
    """Without the credential, which is the operators' business."""
    return {
        "target": one.target or None,
        "provider": one.provider or None,
        "role": one.role,
        "error": one.error,
        "is_answer": one.is_answer,
        "metering": one.metering,
        "tokens": {name.removesuffix("_tokens"): getattr(one, name) for name in TOKENS},
        "cost_usd": exact_usd(one.cost_nusd),
        "low_usd": exact_usd(one.low_nusd),
        "high_usd": exact_usd(one.high_nusd),
        "upstream_id": one.upstream_id or None,
        "service_tier": one.service_tier or None,
        "price_version": one.price_version or None,
    }


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
