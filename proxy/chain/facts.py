"""What routing may know of a call. Reads the request once, and only for models whose routing makes use of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Final

from proxy.call import Call
from proxy.chain.catalogue import Model
from proxy.wire.chat import ChatRequest
from proxy.wire.embeddings import EmbeddingsRequest
from routing import Facts, Target
from routing.affinity import sticky_key
from routing.needs import CHAT, EMBEDDINGS, needs

#: Bytes of JSON for a token: between Latin script (four and more) and Chinese (three).
_BYTES_PER_TOKEN: Final = 4
#: A smaller request is not searched for images.
_LARGE_BYTES: Final = 10_000
#: Characters of text for a token, at most: English has four or five, Hindi and deeply indented code up to six, Chinese
#: one or two. Only long runs of blanks or dashes have more.
_MAX_CHARS_PER_TOKEN: Final = 8
#: Such parts carry data that is written as text.
_MEDIA: Final = frozenset({"vision", "audio"})
_CHAT: Final = frozenset({CHAT})
_EMBEDDINGS: Final = frozenset({EMBEDDINGS})
#: An answer that comes later than this before the client's own limit would cross it.
_MARGIN_S: Final = 0.2


def facts_of(call: Call, model: Model) -> Facts:
    """The facts of a call for one model: its own, or one it falls back to."""
    request, body = call.request, call.request.body
    deadline_at = deadline_of(call, model)
    if isinstance(request, EmbeddingsRequest):  # of many inputs each is read on its own: their sum outgrows no context
        input_tokens = request.size_bytes // _BYTES_PER_TOKEN
        return Facts(model.name, False, input_tokens=input_tokens, needs=_EMBEDDINGS, deadline_at=deadline_at)
    if not model.is_chosen:
        return Facts(model.name, request.stream, deadline_at=deadline_at)
    cap = output_cap_of(body)
    needed = needs(body) | _CHAT if model.has_no_chat else needs(body)
    input_tokens, least_tokens = request.size_bytes // _BYTES_PER_TOKEN, 0
    context = model.least_context
    if (context is not None and input_tokens + (cap or 0) > context) or not needed.isdisjoint(_MEDIA):
        text_chars, media_chars = _weigh(body.get("messages"))
        input_tokens = max(0, request.size_bytes - media_chars) // _BYTES_PER_TOKEN
        least_tokens = text_chars // _MAX_CHARS_PER_TOKEN
    return Facts(
        model.name,
        request.stream,
        input_tokens=input_tokens,
        least_tokens=least_tokens,
        max_output_tokens=cap,
        needs=needed,
        sticky=sticky_key(body, call.principal.team if call.principal is not None else ""),
        deadline_at=deadline_at,
        first_token_at=call.received_at + model.ttft_s,
    )


def outgrown(facts: Facts, target: Target) -> Facts | None:
    """The facts after this target refused the call as too long for it: now only a larger context, and then one that
    nobody stated, is worth asking. None if its own is not known: then nobody is known to have a larger one.
    """
    context = target.context_tokens
    if context is None:
        return None
    least_tokens = max(facts.least_tokens, context + 1 - (facts.max_output_tokens or 0))
    return replace(facts, tried=(*facts.tried, target.name), least_tokens=least_tokens, is_outgrown=True)


def deadline_of(call: Call, model: Model) -> float:
    """By when the answer must be complete, in monotonic seconds: the model's time for a whole call, and the client's
    own.
    """
    deadline_at = inf if model.patience.total_s is None else call.received_at + model.patience.total_s
    patience_s = client_patience_s(call)
    if patience_s is not None and not call.request.stream:  # a stream is kept alive with comments
        deadline_at = min(deadline_at, call.received_at + max(patience_s - _MARGIN_S, patience_s / 2))
    return deadline_at


def output_cap_of(body: Mapping[str, object]) -> int | None:
    """The client's own bound for the tokens of one answer."""
    return _cap(body.get("max_completion_tokens")) or _cap(body.get("max_tokens"))


def output_bound_of(body: Mapping[str, object]) -> int | None:
    """The same where it must not be too low: of two, providers differ in which one they go by."""
    caps = _cap(body.get("max_completion_tokens")), _cap(body.get("max_tokens"))
    return max(caps[0] or 0, caps[1] or 0) or None


def input_tokens_of(request: ChatRequest) -> int:
    """How many tokens the prompt has, roughly: by its size, without images and the like that are written as text."""
    size_bytes = request.size_bytes
    if size_bytes > _LARGE_BYTES:
        size_bytes = max(0, size_bytes - _weigh(request.body.get("messages"))[1])
    return size_bytes // _BYTES_PER_TOKEN


def client_patience_s(call: Call) -> float | None:
    """How long the client waits for something to read, as the official SDKs say with each request."""
    value = call.headers.get(b"x-stainless-read-timeout")
    if value is None:
        return None
    try:
        patience_s = float(value)
    except ValueError:
        return None
    return patience_s if 0 < patience_s < inf else None


def _weigh(messages: object) -> tuple[int, int]:
    """Characters of text in all messages, and of data that is written as text: images, audio, files. O(messages)."""
    text_chars = media_chars = 0
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            text_chars += len(content)
        elif isinstance(content, list):
            for part in content:
                values = part.values() if isinstance(part, dict) else ()
                text_chars += len(part["text"]) if values and isinstance(part.get("text"), str) else 0
                media_chars += sum(map(_data_chars, values))
    return text_chars, media_chars


def _data_chars(value: object) -> int:
    """Characters of `image_url: {url}`, `input_audio: {data}`, `file: {file_data}`."""
    return sum(len(one) for one in value.values() if isinstance(one, str)) if isinstance(value, dict) else 0


def _cap(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
