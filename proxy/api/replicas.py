"""`/admin/v1/replicas`: which gateways share this one's state, and whether they go by the same config."""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response

from proxy.api.changes import instant
from proxy.api.json_response import json_response
from proxy.api.surface import Desk
from proxy.errors import NotFound
from proxy.state import Replica


class ReplicasEndpoint:
    """Who else is there."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, request: Request) -> Response:
        """Every gateway that is alive, this one included. `agree`: is one config in force at all of them?"""
        surface = self._desk.surface
        surface.identify_admin(request.state.headers)
        if surface.fleet_news is None:
            raise NotFound("This gateway is alone: its state.url names no Redis that others could share.")
        news = surface.fleet_news.news
        return json_response(
            {
                "replicas": [_describe(one, one.id == news.me.id) for one in news.replicas],
                "agree": len({one.config_hash for one in news.replicas}) <= 1,
                "heard": not news.is_away,
            }
        )


def _describe(replica: Replica, is_this: bool) -> dict[str, object]:
    row = asdict(replica)
    row["started"] = instant(row.pop("started_ms"))
    row["seen_s_ago"] = row.pop("seen_ms_ago") / 1000
    return {**row, "this": is_this}
