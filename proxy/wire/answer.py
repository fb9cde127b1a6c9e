"""Whole answers: chat completions as upstreams give them, brought to the shape that the official SDKs rely on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import orjson

from proxy.wire.chat import ChatRequest
from proxy.wire.embeddings import Embeddings, EmbeddingsRequest, read_embeddings
from proxy.wire.failure import ErrorAnswer, MalformedAnswer, find_error, parse_answer
from proxy.wire.usage import Usage, read_usage
from routing import RateLimits

__all__ = ["ChatAnswer", "ErrorAnswer", "MalformedAnswer", "read_answer", "read_chat_answer"]


@dataclass(slots=True)
class ChatAnswer:
    """One whole answer."""

    body: bytes  #: the upstream's own bytes, unless something had to be mended
    usage: Usage | None  #: None if the upstream reported none
    limits: RateLimits | None = None  #: what its headers said of the provider's limits
    id: object = None  #: what the upstream calls it
    service_tier: object = None  #: what the upstream says how it was served
    credential_id: str = ""  #: which of the provider's credentials was used
    embeddings: Embeddings | None = None  #: what it is instead, where these were asked for; the body is empty then


def read_answer(raw: bytes, request: ChatRequest) -> ChatAnswer:
    """What the body of a 200 says to a request. Raises as `read_chat_answer`."""
    if isinstance(request, EmbeddingsRequest):
        found = read_embeddings(raw, len(request.inputs), as_base64=request.as_base64)
        return ChatAnswer(b"", found.usage, embeddings=found)
    return read_chat_answer(raw)


def read_chat_answer(raw: bytes) -> ChatAnswer:
    """The completion in the body of a 200. Raises ErrorAnswer if it holds an error, MalformedAnswer if it is none."""
    document = parse_answer(raw)
    error = find_error(document)
    if error is not None:
        raise ErrorAnswer(error)
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices:
        raise MalformedAnswer("the answer has no choices")
    usage = read_usage(document.get("usage"))
    try:
        body = orjson.dumps(document) if _mend(choices) else raw
        return ChatAnswer(body, usage, id=document.get("id"), service_tier=document.get("service_tier"))
    except orjson.JSONEncodeError:  # orjson writes fewer levels than it reads
        raise MalformedAnswer("the answer is nested too deeply") from None


def _mend(choices: list[object]) -> bool:
    """Did anything have to be changed?"""
    is_changed = False
    calls: list[dict[str, object]] = []
    for choice in choices:
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise MalformedAnswer("a choice has no message")
        if not message.get("role"):
            message["role"] = "assistant"
            is_changed = True
        calls.extend(_tool_calls(message))
    if calls:
        ids = _fresh_ids(calls)
        for call in calls:
            is_changed |= _mend_call(call, ids)
    return is_changed


def _tool_calls(message: dict[str, object]) -> Iterator[dict[str, object]]:
    calls = message.get("tool_calls")
    if calls is None:
        return
    if not isinstance(calls, list):
        raise MalformedAnswer("tool_calls is no array")
    for call in calls:
        if not isinstance(call, dict):
            raise MalformedAnswer("a tool call is no object")
        yield call


def _fresh_ids(calls: Iterable[dict[str, object]]) -> Iterator[str]:
    """`call_0`, `call_1` …, without those that the answer uses already."""
    taken = {call.get("id") for call in calls if isinstance(call.get("id"), str)}
    return (name for index in count() if (name := f"call_{index}") not in taken)


def _mend_call(call: dict[str, object], ids: Iterator[str]) -> bool:
    is_changed = False
    if not isinstance(call.get("id"), str) or not call["id"]:
        call["id"] = next(ids)
        is_changed = True
    if not call.get("type"):
        call["type"] = "function"
        is_changed = True
    function = call.get("function")
    if isinstance(function, dict) and not isinstance(function.get("arguments"), str):
        arguments = function.get("arguments")
        function["arguments"] = "{}" if arguments is None else orjson.dumps(arguments).decode()
        is_changed = True
    return is_changed
