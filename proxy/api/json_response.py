"""A JSON response for the endpoints that are not on the hot path."""

from __future__ import annotations

import orjson
from starlette.responses import Response


def json_response(content: object, status: int = 200) -> Response:
    """`content` as JSON."""
    return Response(orjson.dumps(content), status, media_type="application/json")
