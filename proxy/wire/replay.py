"""One chat completion, both ways: a stream's events as the JSON answer that says the same, and a JSON answer as the
stream that does. Its id and its time stay: it is the same answer, however often it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from proxy.wire.usage import Usage

_EVENT: Final = b"data: "
_DONE: Final = b"[DONE]"
#: Characters of text in one event: some clients read no longer lines than 64 KB.
_PIECE_CHARS: Final = 4096
#: What the events of a stream repeat, and a completion says once.
_HEAD: Final = ("id", "created", "model", "system_fingerprint", "service_tier")
_TEXTS: Final = ("reasoning_content", "reasoning", "content")
#: Members of a chunk that say nothing of its text, of its choice too.
_SILENT: Final = frozenset(
    {*_HEAD, "object", "choices", "usage", "obfuscation", "x_groq", "prompt_filter_results", "timings", "provider"}
)
_SILENT_IN_CHOICE: Final = frozenset(
    {"index", "delta", "finish_reason", "content_filter_results", "content_filter_offsets", "native_finish_reason"}
)
_NOTHING: Final[tuple[object, ...]] = (None, "", [], {})


def completion_from(blocks: bytes, usage: Usage | None) -> dict[str, Any] | None:
    """The completion that these events of a stream, [DONE] included, come to; None if they say more than text in a
    single choice. `usage`: as the provider reported it. Cost: 1 µs an event.
    """
    document: dict[str, Any] = {}
    texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
    reason = None
    for chunk in _chunks(blocks):
        if chunk is None or not _says_only(chunk, _SILENT):
            return None
        for name in _HEAD:
            if chunk.get(name) is not None:
                document[name] = chunk[name]
        choices = chunk.get("choices")
        if not choices:
            continue
        choice = choices[0]
        if len(choices) != 1 or choice.get("index") != 0 or not _says_only(choice, _SILENT_IN_CHOICE):
            return None
        if not _add_texts(choice.get("delta") or {}, texts):
            return None
        reason = choice.get("finish_reason") or reason
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts["content"]), "refusal": None}
    message |= {name: "".join(parts) for name, parts in texts.items() if parts and name != "content"}
    document["object"] = "chat.completion"
    document["choices"] = [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}]
    if usage is not None:
        document["usage"] = usage_object(usage)
    return document


def stream_from(body: bytes, *, include_usage: bool) -> bytes:
    """All events of the stream that says what this completion, of text in a single choice, does: one block."""
    return b"".join(events_from(body, include_usage=include_usage))


def events_from(body: bytes, *, include_usage: bool, piece_chars: int = _PIECE_CHARS) -> list[bytes]:
    """The same, one by one, [DONE] with the last; no more than `piece_chars` characters of text in each."""
    document = orjson.loads(body)
    head: dict[str, object] = {name: document[name] for name in _HEAD if name in document}
    head["object"] = "chat.completion.chunk"
    choice = document["choices"][0]
    message = choice["message"]
    deltas: list[dict[str, object]] = [{"role": "assistant", "content": ""}]
    for name in _TEXTS:
        text = message.get(name) or ""
        deltas += [{name: text[at : at + piece_chars]} for at in range(0, len(text), piece_chars)]
    events: list[dict[str, object]] = [{**head, "choices": [_choice(delta, None)]} for delta in deltas]
    events.append({**head, "choices": [_choice({}, choice["finish_reason"])]})
    if include_usage:
        events = [{**event, "usage": None} for event in events]
        if document.get("usage") is not None:
            events.append({**head, "choices": [], "usage": document["usage"]})
    blocks = [_EVENT + orjson.dumps(event) + b"\n\n" for event in events]
    blocks[-1] += _EVENT + _DONE + b"\n\n"
    return blocks


def usage_object(usage: Usage) -> dict[str, Any]:
    """A `usage` object in OpenAI's shape."""
    sent, made = usage.input_tokens, usage.output_tokens
    return {
        "prompt_tokens": sent,
        "completion_tokens": made,
        "total_tokens": sent + made,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": usage.audio_input_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
    }


def _chunks(blocks: bytes) -> Iterator[dict[str, Any] | None]:
    """Each event's chunk; None for one that is none, comments included."""
    for event in blocks.split(b"\n\n"):
        if not event or event == _EVENT + _DONE:
            continue
        try:
            chunk = orjson.loads(event[len(_EVENT) :]) if event.startswith(_EVENT) else None
        except orjson.JSONDecodeError:
            chunk = None
        yield chunk if isinstance(chunk, dict) else None


def _add_texts(delta: Mapping[str, object], texts: Mapping[str, list[str]]) -> bool:
    """Is there nothing in it but text?"""
    for name, value in delta.items():
        parts = texts.get(name)
        if parts is not None and isinstance(value, str):
            if value:
                parts.append(value)
        elif name != "role" and value not in _NOTHING:
            return False
    return True


def _says_only(part: Mapping[str, object], names: frozenset[str]) -> bool:
    return all(name in names or value in _NOTHING for name, value in part.items())


def _choice(delta: dict[str, object], finish_reason: str | None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
