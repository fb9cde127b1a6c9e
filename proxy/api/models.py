"""`GET /v1/models` and `GET /v1/models/{id}`: what this key may name, in OpenAI's shape."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from proxy.api.json_response import json_response
from proxy.api.surface import Desk, Surface
from proxy.errors import ModelNotFound


class ModelsEndpoint:
    """Lists and shows the models that the caller's team may use; others don't exist for it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, request: Request) -> Response:
        """Every model and alias the caller may use."""
        surface = self._desk.surface
        principal = surface.identify(request.state.headers)
        names = surface.catalogue.visible_to(principal)
        return json_response({"object": "list", "data": [_describe(surface, name) for name in names]})

    async def show(self, request: Request) -> Response:
        """One model or alias. Raises ModelNotFound also for one that the caller may not use."""
        surface = self._desk.surface
        principal = surface.identify(request.state.headers)
        name = request.path_params["name"]
        if name not in surface.catalogue.visible_to(principal):
            raise ModelNotFound(f"The model '{name[:256]}' does not exist here, or your team may not use it.")
        return json_response(_describe(surface, name))


def _describe(surface: Surface, name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": int(surface.loaded_at), "owned_by": "waystation"}
