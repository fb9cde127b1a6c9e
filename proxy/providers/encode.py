"""A request as the body that a target is sent, in its provider's dialect. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from proxy.providers.dialects import Dialect
from proxy.wire.chat import ChatRequest
from proxy.wire.embeddings import EmbeddingsRequest
from proxy.wire.seam import resuming_messages


def encode(dialect: Dialect, model: str, request: ChatRequest) -> bytes:
    """JSON. `model`: as the provider calls it."""
    body: dict[str, Any] = {**request.body, "model": model}
    if isinstance(request, EmbeddingsRequest):
        return orjson.dumps(body)
    if request.stream and dialect.stream_usage:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    for theirs, ours in dialect.renames.items():
        if theirs in body:
            value = body.pop(theirs)
            body.setdefault(ours, value)
    if request.text_so_far:
        body["messages"] = [*body["messages"], *resuming_messages(request.text_so_far, not dialect.resuming)]
        body.update(dialect.resuming)
    if dialect.roles:
        body["messages"] = _translate_roles(body["messages"], dialect.roles)
    return orjson.dumps(body)


def _translate_roles(messages: list[Any], roles: Mapping[str, str]) -> list[Any]:
    if not any(message["role"] in roles for message in messages):
        return messages
    return [{**message, "role": roles.get(message["role"], message["role"])} for message in messages]
