"""Probes: is the process alive, should it get traffic? None of them ever calls a provider."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from proxy import __version__
from proxy.api.json_response import json_response
from proxy.api.surface import Desk
from proxy.observe import Crew


class HealthEndpoint:
    """`/livez`, `/readyz`, `/healthz`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def live(self, request: Request) -> Response:
        """The event loop turns: 200."""
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """200 while traffic is welcome; 503 from the moment we are asked to stop, and until keys could be read. Any of
        several workers answers for all of them.
        """
        status = self._status()
        body = {"status": status, "config_hash": self._desk.surface.config_hash}
        return json_response(body, 200 if status == "ready" else 503)

    async def health(self, request: Request) -> Response:
        """For people: as `/readyz`, with the version, the calls in flight and the workers."""
        status, crew = self._status(), self._desk.crew
        body: dict[str, object] = {
            "status": "ok" if status == "ready" else status,
            "version": __version__,
            "config_hash": self._desk.surface.config_hash,
            "calls_in_flight": len(self._desk.exchanges) if crew is None else crew.calls,
        }
        if crew is not None:
            body |= {"worker": crew.slot, "workers": _workers(crew), "workers_lost": crew.deaths}
        return json_response(body, 200 if status == "ready" else 503)

    def _status(self) -> str:
        crew, registry = self._desk.crew, self._desk.surface.registry
        status = crew.status if crew is not None else "draining" if self._desk.draining else "ready"
        return "keys unread" if status == "ready" and registry is not None and not registry.is_read else status


def _workers(crew: Crew) -> list[dict[str, object]]:
    return [
        {
            "worker": one.slot,
            "process": one.pid,
            "state": one.state,
            "calls_in_flight": one.calls,
            "connections": one.connections,
            "silent_s": round(silent_s, 3),
        }
        for one, silent_s in crew.standings()
    ]
