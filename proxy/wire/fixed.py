"""A chat completion with a fixed text, whole or as a stream, for when no model answers. It reports no tokens: none were
used.
"""

from __future__ import annotations

from typing import Final

import orjson

_NO_USAGE: Final = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def fixed_completion(text: str, *, id: str, model: str, created: int) -> bytes:
    """The body of a JSON answer. `created`: Unix time in seconds."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": id, "object": "chat.completion", "created": created, "model": model}
    return orjson.dumps({**head, "choices": [choice], "usage": _NO_USAGE})


def fixed_stream(text: str, *, id: str, model: str, created: int, include_usage: bool) -> bytes:
    """All events of a streamed answer, as one block."""
    head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
    events: list[dict[str, object]] = [
        {**head, "choices": [_choice({"role": "assistant", "content": text}, None)]},
        {**head, "choices": [_choice({}, "stop")]},
    ]
    if include_usage:
        events.append({**head, "choices": [], "usage": _NO_USAGE})
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def _choice(delta: dict[str, object], finish_reason: str | None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
