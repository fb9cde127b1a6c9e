"""Simulated answers and errors in the bytes that api.openai.com would send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

import orjson

from proxy.providers.simulated.completion import Choice, Completion, ToolCall
from proxy.providers.simulated.request import BadRequestError
from proxy.providers.simulated.values import JsonObject

_DONE: Final = b"data: [DONE]\n\n"
_REQUESTS_PER_MINUTE: Final = 10_000
_TOKENS_PER_MINUTE: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An answer that is no completion."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def completion_body(completion: Completion, created: int) -> bytes:
    """The answer to a request without `stream`."""
    return orjson.dumps(
        {
            "id": completion.id,
            "object": "chat.completion",
            "created": created,
            "model": completion.model,
            "choices": [_choice(choice, at) for at, choice in enumerate(completion.choices)],
            "usage": _usage(completion),
            "service_tier": "default",
            "system_fingerprint": completion.fingerprint,
        }
    )


def chunk_steps(completion: Completion, created: int, *, include_usage: bool) -> Iterator[bytes]:
    """The same answer as server-sent events, one step for each token time; every step holds whole events.

    Several choices go on side by side. Of a tool call only the first delta has id, type and name. The first step also
    holds the role, the last one the finish reasons, the usage if asked for, and [DONE].
    """
    head: JsonObject = {
        "id": completion.id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": completion.model,
        "service_tier": "default",
        "system_fingerprint": completion.fingerprint,
    }
    tail: JsonObject = {"usage": None} if include_usage else {}

    def event(delta: JsonObject, at: int, finish_reason: str | None = None) -> bytes:
        choice = {"index": at, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event({**head, "choices": [choice], **tail})

    waiting = b"".join(
        event({"role": "assistant", "content": None if choice.calls else "", "refusal": None}, at)
        for at, choice in enumerate(completion.choices)
    )
    for row in zip_longest(*map(_deltas, completion.choices)):
        yield waiting + b"".join(event(delta, at) for at, delta in enumerate(row) if delta is not None)
        waiting = b""
    waiting += b"".join(event({}, at, choice.finish_reason) for at, choice in enumerate(completion.choices))
    if include_usage:
        waiting += _event({**head, "choices": [], "usage": _usage(completion)})
    yield waiting + _DONE


def refusal(error: BadRequestError) -> ErrorAnswer:
    """The 400 for a bad request."""
    return ErrorAnswer(400, _error(error.message, "invalid_request_error", param=error.param, code=error.code))


def not_found(method: str, path: str) -> ErrorAnswer:
    """The 404 for what is simulated by nobody."""
    return ErrorAnswer(404, _error(f"Invalid URL ({method} {path})", "invalid_request_error"))


def rate_limit_headers(tokens: int) -> dict[str, str]:
    """The limits of an account that is hardly used."""
    return {
        "x-ratelimit-limit-requests": str(_REQUESTS_PER_MINUTE),
        "x-ratelimit-limit-tokens": str(_TOKENS_PER_MINUTE),
        "x-ratelimit-remaining-requests": str(_REQUESTS_PER_MINUTE - 1),
        "x-ratelimit-remaining-tokens": str(max(0, _TOKENS_PER_MINUTE - tokens)),
        "x-ratelimit-reset-requests": f"{60_000 // _REQUESTS_PER_MINUTE}ms",
        "x-ratelimit-reset-tokens": f"{60_000 * min(tokens, _TOKENS_PER_MINUTE) // _TOKENS_PER_MINUTE}ms",
    }


def _choice(choice: Choice, at: int) -> JsonObject:
    message: JsonObject = {
        "role": "assistant",
        "content": None if choice.calls else "".join(choice.pieces),
        "refusal": None,
        "annotations": [],
    }
    if choice.calls:
        message["tool_calls"] = [_tool_call(call) for call in choice.calls]
    return {"index": at, "message": message, "logprobs": None, "finish_reason": choice.finish_reason}


def _tool_call(call: ToolCall) -> JsonObject:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(call.pieces)}}


def _deltas(choice: Choice) -> Iterator[JsonObject]:
    for piece in choice.pieces:
        yield {"content": piece}
    for index, call in enumerate(choice.calls):
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]}
        for piece in call.pieces:
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _usage(completion: Completion) -> JsonObject:
    sent, made = completion.prompt_tokens, completion.completion_tokens
    return {
        "prompt_tokens": sent,
        "completion_tokens": made,
        "total_tokens": sent + made,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _event(chunk: JsonObject) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _error(message: str, kind: str, *, param: str | None = None, code: str | None = None) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


#: What a failing provider says; one of them is drawn for each fault.
FAULTY_ANSWERS: Final = (
    ErrorAnswer(500, _error("The server had an error while processing your request. (Simulated.)", "server_error")),
    ErrorAnswer(
        503, _error("The engine is currently overloaded, please try again later. (Simulated.)", "server_error")
    ),
    ErrorAnswer(
        429,
        _error("Rate limit reached for requests. (Simulated.)", "requests", code="rate_limit_exceeded"),
        {
            "retry-after": "1",
            "retry-after-ms": "1000",
            "x-ratelimit-limit-requests": str(_REQUESTS_PER_MINUTE),
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "1s",
        },
    ),
)
