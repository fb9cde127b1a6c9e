"""A clock moved by hand, and answers in OpenAI's shape for whoever plays the provider. The upstream on a real socket
that sends them is in `upstream.py`.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from struct import pack
from typing import Any


class HandClock:
    """A clock that stands still until it is moved. Give it wherever a `now` is called for."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def sse_event(value: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(value, separators=(",", ":")).encode()


def sse_chunks(
    *texts: str, finish: str | None = "stop", usage: tuple[int, int] | None = None, done: bool = True
) -> list[bytes]:
    """The events of a streamed completion in OpenAI's shape. `usage`: prompt and completion tokens."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": text}, None) for text in texts]
    deltas.insert(0, ({"role": "assistant", "content": ""}, None))
    if finish is not None:
        deltas.append(({}, finish))
    events = [
        sse_event(_chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]))
        for delta, reason in deltas
    ]
    if usage is not None:
        events.append(sse_event({**_chunk([]), "usage": usage_body(usage)}))
    return [*events, b"data: [DONE]\n\n"] if done else events


def _chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "upstream-model",
        "choices": choices,
    }


def completion(text: str = "Hello!", *, finish: str = "stop", usage: tuple[int, int] = (5, 2)) -> dict[str, Any]:
    """A whole completion in OpenAI's shape. `usage`: prompt and completion tokens."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {**_chunk([choice]), "object": "chat.completion", "usage": usage_body(usage)}


def usage_body(usage: tuple[int, int]) -> dict[str, int]:
    prompt, answer = usage
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def error_body(
    message: str = "It broke.", type: str = "server_error", code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """OpenAI's error envelope. As a JSON answer: reply_json(error_body(...), 429); in a stream: sse_event(...)."""
    return {"error": {"message": message, "type": type, "code": code, "param": param}}


def embeddings(
    *vectors: Sequence[float], as_base64: bool = False, tokens: int | None = 5, model: str = "upstream-embed"
) -> dict[str, Any]:
    """Vectors in OpenAI's shape. `tokens`: of the usage; None reports none."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": b64encode(pack(f"<{len(vector)}f", *vector)).decode() if as_base64 else list(vector),
        }
        for index, vector in enumerate(vectors)
    ]
    usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return {"object": "list", "data": data, "model": model, **usage}
