"""`/admin/v1/targets` and `/admin/v1/explain`: how the targets fare, who is left out, and why a call would go where it
would go. No provider is called, and looking changes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from math import exp, inf
from time import monotonic, time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from proxy.accounting import PriceBook
from proxy.api.changes import identify_changer, read_object, record
from proxy.api.json_response import json_response
from proxy.api.surface import Desk
from proxy.chain import Model
from proxy.errors import InvalidRequest, ModelNotFound, NotFound, Overloaded
from proxy.state import StateFailed
from routing import Facts, TargetState, Verdict
from routing.needs import CHAT, EMBEDDINGS, NEEDS

_MAX_DRAIN_S: Final = 86_400.0
_GUESSED_TOKENS: Final = 1000

_logger = logging.getLogger(__name__)


class TargetsEndpoint:
    """What operators may know of targets, and order."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, request: Request) -> Response:
        """Every target and how it fares; `waystation simulate --targets` reads a saved answer."""
        surface = self._desk.surface
        surface.identify_admin(request.state.headers)
        now, fleet, fleet_news = monotonic(), surface.router.fleet, surface.fleet_news
        rows = [_describe_state(name, fleet[name], now) for name in fleet]
        if fleet_news is not None:
            elsewhere = fleet_news.sharing.in_flight_elsewhere
            rows = [{**row, "in_flight_elsewhere": elsewhere(name)} for row, name in zip(rows, fleet, strict=True)]
        return json_response({"targets": rows})

    async def drain(self, request: Request) -> Response:
        """Leave a target out for a while: `{"target": NAME, "seconds": N}`. It comes back by itself."""
        admin = identify_changer(self._desk.surface, request)
        body = await read_object(request)
        seconds = body.get("seconds", 600)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1 <= seconds <= _MAX_DRAIN_S:
            raise InvalidRequest("Give 'seconds' as a number from 1 to 86400.", param="seconds")
        await self._order(self._name(body), float(seconds))
        _logger.warning("audit: '%s' drained the target %s for %g s", admin.name, body["target"], seconds)
        await record(self._desk.surface, admin, "target.drain", str(body["target"]), f"{seconds:g} s")
        return json_response({"target": body["target"], "drained_for_s": seconds})

    async def undrain(self, request: Request) -> Response:
        """Take a target in again: `{"target": NAME}`."""
        admin = identify_changer(self._desk.surface, request)
        body = await read_object(request)
        await self._order(self._name(body), None)
        _logger.warning("audit: '%s' took the target %s in again", admin.name, body["target"])
        await record(self._desk.surface, admin, "target.undrain", str(body["target"]))
        return json_response({"target": body["target"], "drained_for_s": 0})

    async def explain(self, request: Request) -> Response:
        """Where a call would go: `{"model": NAME, "tokens": N, "max_tokens": N, "needs": ["tools"], "stream": true,
        "team": NAME}`.
        """
        surface = self._desk.surface
        surface.identify_admin(request.state.headers)
        body = await read_object(request)
        named = body.get("model")
        model = surface.catalogue.find(named) if isinstance(named, str) else None
        if model is None:
            raise ModelNotFound("There is no such model in the config in force.", param="model")
        input_tokens = _count(body, "tokens") or _GUESSED_TOKENS
        facts = Facts(
            model.name,
            stream=body.get("stream", True) is True,
            input_tokens=input_tokens,
            least_tokens=input_tokens,
            max_output_tokens=_count(body, "max_tokens"),
            needs=_needs(body),
        )
        explanation = surface.router.explain(facts, monotonic())
        answer: dict[str, object] = {
            "model": model.name,
            "strategy": explanation.strategy,
            "objective_ttft_s": model.ttft_s,
            "miss_usd": explanation.miss_usd,
            "objective_success": explanation.success,
            "failure_usd": explanation.failure_usd,
            "candidates": [
                {**_describe(verdict), **_price_source(surface.book, model.name, verdict)}
                for verdict in explanation.verdicts
            ],
        }
        if isinstance(team := body.get("team"), str):
            answer["team_may_use_it"] = self._may_use(team, model)
        return json_response(answer)

    async def _order(self, name: str, seconds: float | None) -> None:
        """Leave the target out for so long, or take it in again: here and at every other gateway of a fleet, or
        nowhere. Raises Overloaded.
        """
        surface = self._desk.surface
        if surface.fleet_news is None:
            surface.router.fleet[name].drained_until = -inf if seconds is None else monotonic() + seconds
            return
        try:
            if seconds is None:
                await surface.fleet_news.undrain(name)
            else:
                await surface.fleet_news.drain(name, seconds)
        except StateFailed as error:
            _logger.error("an operator's request failed: %s", error)
            raise Overloaded(
                "Redis can't be asked just now, so the other gateways would not hear of it. Take it as not done, and "
                "try again."
            ) from error

    def _may_use(self, team: str, model: Model) -> bool:
        principals = [one for one in self._desk.surface.keyring.owners() if one.team == team]
        if not principals:
            raise NotFound(f"There is no team '{team[:200]}' with a key in the config in force.")
        return any(principal.may_use(model.name) for principal in principals)

    def _name(self, body: dict[str, object]) -> str:
        name = body.get("target")
        if not isinstance(name, str) or name not in self._desk.surface.router.fleet:
            raise InvalidRequest("There is no such target. GET /admin/v1/targets lists them.", param="target")
        return name


def _describe_state(name: str, state: TargetState, now: float) -> dict[str, object]:
    health = state.health
    mean, sigma = health.ratio(now)
    base_s = health.usual_ttft_s(0)
    return {
        "target": name,
        "breaker": state.breaker.state(now),
        "opens_in_s": round(state.breaker.open_for_s(now), 3),
        "drained_for_s": round(max(0.0, state.drained_until - now), 3),
        "in_flight": state.in_flight,
        "p_ok": round(health.p_ok(now), 4),
        "p_cut": round(health.p_cut(now), 4),
        "slowness": round(exp(mean), 3),
        "headroom": round(state.pacer.headroom(now), 3),
        "samples": state.health.first_tokens,
        "base_s": round(base_s, 4),
        "per_ktok_s": round(health.usual_ttft_s(1000) - base_s, 4),
        "sigma": round(sigma, 3),
        "tokens_per_s": None if state.tokens_per_s is None else round(state.tokens_per_s, 1),
    }


def _count(body: dict[str, object], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise InvalidRequest(f"Give '{name}' as a whole number above 0.", param=name)
    return value


def _needs(body: dict[str, object]) -> frozenset[str]:
    names = body.get("needs", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name in NEEDS for name in names):
        raise InvalidRequest(f"Give 'needs' as an array of these: {', '.join(sorted(NEEDS))}.", param="needs")
    return frozenset(names) if EMBEDDINGS in names else frozenset([*names, CHAT])


def _describe(verdict: Verdict) -> dict[str, object]:
    price, estimate = verdict.target.price, verdict.estimate
    return {
        "target": verdict.target.name,
        "place": verdict.place,
        "excluded": verdict.excluded,
        "until_s": verdict.until_s,
        "breaker": verdict.breaker,
        "headroom": verdict.headroom,
        "in_flight": verdict.in_flight,
        "context_tokens": verdict.target.context_tokens,
        "lacks": sorted(verdict.target.lacks),
        "drop_params": list(verdict.target.drop_params),
        "price_usd_per_mtok": None if price is None else asdict(price),
        "estimate": None if estimate is None else asdict(estimate),
        "margin_usd": verdict.margin_usd,
    }


def _price_source(book: PriceBook, model: str, verdict: Verdict) -> dict[str, object]:
    """Who says what the target costs: `config`, `table`, `simulated`, or null where nobody does."""
    tariff = book.tariff(model, verdict.target.name, time())
    prices = None if tariff is None else tariff.prices
    return {
        "price_source": None if prices is None else prices.source,
        "price_version": None if prices is None else prices.version,
    }
