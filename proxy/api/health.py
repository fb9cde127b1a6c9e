"""Probes: is the process alive, should it get traffic? None of them ever calls a provider."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from proxy import __version__
from proxy.api.json_response import json_response
from proxy.api.surface import Desk


class HealthEndpoint:
    """`/livez`, `/readyz`, `/healthz`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def live(self, request: Request) -> Response:
        """The event loop turns: 200."""
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """200 while traffic is welcome, 503 from the moment we are asked to stop."""
        ready = not self._desk.draining
        body = {"status": "ready" if ready else "draining", "config_hash": self._desk.surface.config_hash}
        return json_response(body, 200 if ready else 503)

    async def health(self, request: Request) -> Response:
        """For people: as `/readyz`, with the version and the calls in flight."""
        ready = not self._desk.draining
        body = {
            "status": "ok" if ready else "draining",
            "version": __version__,
            "config_hash": self._desk.surface.config_hash,
            "calls_in_flight": len(self._desk.exchanges),
        }
        return json_response(body, 200 if ready else 503)
