"""`POST /api/count-tokens`: how many tokens a prompt has for a model, without asking the model. For older clients."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from proxy.accounting import encoding_for
from proxy.api.body import read_json_body
from proxy.api.json_response import json_response
from proxy.api.surface import Desk, Surface
from proxy.errors import InvalidRequest
from proxy.wire.chat import parse_object, read_chat_request

#: How long a first question waits for its tokenizer before it is answered by ratio, in seconds. It takes half of one.
_LOAD_S: Final = 5.0
#: Names under which a text may come.
_TEXT_NAMES: Final = ("text", "prompt", "input")


class TokensEndpoint:
    """Counts what a client would send."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def count(self, request: Request) -> Response:
        """`{"model", "input_tokens", "method"}` for `{"model", "messages"}` (and `tools`, as for a chat completion) or
        `{"model", "text"}`. The model's first target decides how. Raises InvalidKey, BodyTooLarge, InvalidRequest,
        ModelNotFound, ModelNotAllowed.
        """
        surface, headers = self._desk.surface, request.state.headers
        principal = surface.identify(headers)
        raw = await read_json_body(headers, request.receive, surface.max_body_bytes, lambda: None)
        body = parse_object(raw)
        named = _model_of(body)
        texts = _texts_of(body, len(raw))
        model = surface.catalogue.resolve(named, principal).counted_as
        await _load(surface, model)
        if texts is None:
            counted = await surface.tokens.count_chat(body, model, len(raw))
        else:
            counted = await surface.tokens.count_texts(texts, model)
        answer: dict[str, object] = {"model": named, "input_tokens": counted.tokens, "method": counted.method}
        if counted.uncounted_parts:
            answer["uncounted_parts"] = counted.uncounted_parts
        return json_response(answer)


async def _load(surface: Surface, model: str) -> None:
    """Give the tokenizer time to load: unlike a call, who asks for a count can wait for a good one."""
    encoding = encoding_for(model)
    if encoding is None:
        return
    try:
        async with asyncio.timeout(_LOAD_S):
            await surface.tokens.load(encoding)
    except TimeoutError:
        return


def _model_of(body: dict[str, object]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("The 'model' must be a string: a model or alias that GET /v1/models lists.", param="model")
    return model


def _texts_of(body: dict[str, object], size_bytes: int) -> list[str] | None:
    """The texts to count; None if it is a chat."""
    if body.get("messages") is not None:
        read_chat_request(body, size_bytes)
        return None
    for name in _TEXT_NAMES:
        value = body.get(name)
        if value is None:
            continue
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            raise InvalidRequest(f"The '{name}' must be a string or an array of strings.", param=name)
        return [str(text) for text in texts]
    raise InvalidRequest(
        "There is nothing to count: send 'messages' as for a chat completion, or a 'text'.",
        param="messages",
        code="missing_required_parameter",
    )
