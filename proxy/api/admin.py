"""`/metrics` and `/admin/v1/config`: answered on the admin address only. Admin keys open the latter, and every change
is logged.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from proxy.api.changes import identify_changer, record
from proxy.api.json_response import json_response
from proxy.api.surface import Desk
from proxy.config import ConfigFaults, Fault
from proxy.keyring import Admin

_logger = logging.getLogger(__name__)


class Reloader(Protocol):
    """Reads the config file again."""

    async def reload(self) -> bool:
        """Build the next world and swap it in. True if the config had changed. Raises ConfigFaults, keeping the old
        world.
        """
        ...

    async def check(self) -> tuple[Fault, ...]:
        """Read and verify the file as it stands now, changing nothing; gives warnings. Raises ConfigFaults."""
        ...


class AdminEndpoint:
    """What operators may see and do."""

    def __init__(self, desk: Desk, reloader: Reloader) -> None:
        self._desk = desk
        self._reloader = reloader

    async def metrics(self, request: Request) -> Response:
        """The Prometheus exposition. Open to whoever reaches the admin address: its labels are names of the config."""
        metrics, crew = self._desk.surface.metrics, self._desk.crew
        text = metrics.exposition() if crew is None else await crew.exposition(metrics)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def show_config(self, request: Request) -> Response:
        """Which config is in force, since when."""
        self._identify(request)
        surface = self._desk.surface
        loaded_at = datetime.fromtimestamp(surface.loaded_at, UTC).isoformat(timespec="seconds")
        return json_response({"config_hash": surface.config_hash, "loaded_at": loaded_at})

    async def check_config(self, request: Request) -> Response:
        """Would the file as it stands now be taken?"""
        self._identify(request)
        try:
            warnings = await self._reloader.check()
        except ConfigFaults as error:
            return json_response({"ok": False, "faults": [str(fault) for fault in error.faults]}, 422)
        return json_response({"ok": True, "warnings": [str(fault) for fault in warnings]})

    async def reload_config(self, request: Request) -> Response:
        """Take the file as it stands now. For the role admin."""
        surface = self._desk.surface
        admin = identify_changer(surface, request)
        _logger.info("audit: '%s' asked for a reload of the config", admin.name)
        try:
            changed = await self._reloader.reload()
        except ConfigFaults as error:
            await record(surface, admin, "config.reload", surface.config_hash, "rejected")
            return json_response({"ok": False, "faults": [str(fault) for fault in error.faults]}, 422)
        if self._desk.crew is not None:
            self._desk.crew.call_for_reload()
        await record(surface, admin, "config.reload", self._desk.surface.config_hash, "" if changed else "unchanged")
        return json_response({"ok": True, "changed": changed, "config_hash": self._desk.surface.config_hash})

    def _identify(self, request: Request) -> Admin:
        return self._desk.surface.identify_admin(request.state.headers)
