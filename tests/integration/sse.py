"""What a client finds in a stream that it reads byte by byte."""

from __future__ import annotations

import orjson

DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"


def text_of(body: bytes) -> str:
    """The text of all content deltas."""
    text = ""
    for event in body.split(b"\n\n"):
        if event.startswith(b"data: {"):
            for choice in orjson.loads(event[6:]).get("choices", []):
                text += choice["delta"].get("content") or ""
    return text


def error_at_the_end(body: bytes) -> dict[str, object]:
    """The error event that must end a broken stream, with no [DONE] in sight."""
    assert b"[DONE]" not in body
    last = body.rstrip(b"\n").split(b"\n\n")[-1]
    document = orjson.loads(last.removeprefix(b"data: "))
    assert list(document) == ["error"]
    error: dict[str, object] = document["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error
