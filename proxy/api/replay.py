"""`/admin/v1/replay/{id}`: a call that was made, its plans, and what each strategy would have chosen."""

from __future__ import annotations

from dataclasses import asdict
from time import monotonic

from starlette.requests import Request
from starlette.responses import Response

from proxy.api.json_response import json_response
from proxy.api.surface import Desk
from proxy.call import Attempt, Planned
from proxy.chain import KeptCall
from proxy.errors import NotFound
from routing import Alternative, alternatives


class ReplayEndpoint:
    """What operators may know of the last calls."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request) -> Response:
        """One call by its id: the gateway's own, or its `x-request-id` (the latest call that had it)."""
        surface = self._desk.surface
        surface.identify_admin(request.state.headers)
        kept = surface.history.find(request.path_params["name"])
        if kept is None:
            raise NotFound(
                "No plan is kept under this id. Ask with the x-request-id of an answer, or the id of its log line; only"
                f" the last calls that were routed since the start are kept, {len(surface.history)} just now."
            )
        return json_response(_describe(kept, monotonic()))


def _describe(kept: KeptCall, now: float) -> dict[str, object]:
    return {
        "id": kept.id,
        "request_id": kept.request_id,
        "age_s": round(now - kept.received_at, 3),
        "model": kept.model,
        "fallback": kept.fallback,
        "status": kept.status,
        "error": kept.error,
        "plans": [_describe_plan(planned, kept.received_at) for planned in kept.plans],
        "attempts": [_describe_attempt(attempt, kept.received_at) for attempt in kept.attempts],
    }


def _describe_plan(planned: Planned, received_at: float) -> dict[str, object]:
    made_at, facts, plan = planned
    return {
        "model": facts.model,
        "strategy": plan.strategy,
        "at_s": round(made_at - received_at, 6),
        "input_tokens": facts.input_tokens,
        "max_output_tokens": facts.max_output_tokens,
        "tried": facts.tried,
        "order": [candidate.target.name for candidate in plan.candidates],
        "excluded": [
            {"target": one.target.name, "reason": one.reason, "until_s": one.until_s} for one in plan.excluded
        ],
        "limit_s": None if plan.basis is None else plan.basis.limit_s,
        "strategies": [_describe_strategy(one) for one in alternatives(plan)],
    }


def _describe_strategy(one: Alternative) -> dict[str, object]:
    return {
        "strategy": one.strategy,
        "in_force": one.is_in_force,
        "miss_usd": one.miss_usd,
        "targets": [
            {
                "target": standing.target,
                "place": standing.place,
                "estimate": asdict(standing.estimate),
                "margin_usd": standing.margin_usd,
                "is_stranger": standing.is_stranger,
            }
            for standing in one.standings
        ],
    }


def _describe_attempt(attempt: Attempt, received_at: float) -> dict[str, object]:
    """Of an attempt that is still under way (a loser of a race, say) only when and where it went."""
    outcome = attempt.outcome
    return {
        "target": attempt.target,
        "at_s": round(attempt.started_at - received_at, 6),
        "kind": None if outcome is None else outcome.kind,
        "error": attempt.error,
        "ttft_s": None if outcome is None else outcome.ttft_s,
        "duration_s": None if outcome is None else outcome.duration_s,
        "input_tokens": None if outcome is None else outcome.input_tokens,
        "output_tokens": None if outcome is None else outcome.output_tokens,
        "cached_tokens": None if outcome is None else outcome.cached_tokens,
    }
