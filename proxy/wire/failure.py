"""Errors as upstreams write them, in whatever envelope, read into one; and the two ways an answer can be none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

#: Stands for an error that says nothing readable: HTML, plain text and garbage are never repeated.
NO_MESSAGE: Final = "The provider gave no readable reason."

#: A page of text at most; what reaches a client is cut shorter, after it was scrubbed.
_MAX_MESSAGE_CHARS: Final = 16_000
_MAX_WORD_CHARS: Final = 200
_MAX_DETAILS: Final = 3


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an upstream said went wrong. Its own words: not scrubbed."""

    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None
    status: int | None = None  #: 400 to 599, where the body itself names an HTTP status


class MalformedAnswer(Exception):
    """An upstream's 200 that is no chat completion. The message says in what, without any of its content."""


class ErrorAnswer(Exception):
    """An upstream's 200 that holds an error."""

    def __init__(self, error: ErrorBody) -> None:
        super().__init__("The answer is an error.")
        self.error = error


def read_error(raw: bytes) -> ErrorBody:
    """What the body of a failed answer says. Never raises; a body that can't be read gives a generic message.

    Knows the envelopes of OpenAI, Azure, Anthropic, Google, Mistral, DashScope, vLLM, FastAPI and Ollama.
    """
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ErrorBody(NO_MESSAGE)
    if isinstance(document, list) and document:  # Google's OpenAI-compatible endpoint wraps it in an array
        document = document[0]
    return _interpret(document) if isinstance(document, dict) else ErrorBody(NO_MESSAGE)


def find_error(document: Mapping[str, object]) -> ErrorBody | None:
    """The error in what came with a 200; None if it is none. `"error": null` and `{}` beside choices are none."""
    if document.get("error") or document.get("object") == "error" or document.get("type") == "error":
        return _interpret(document)
    if "choices" not in document and (
        isinstance(document.get("message"), str) or isinstance(document.get("detail"), (str, list))
    ):
        return _interpret(document)
    return None


def _interpret(document: Mapping[str, object]) -> ErrorBody:
    error = document.get("error")
    part: Mapping[str, object] = error if isinstance(error, dict) and error else document
    message, param = _reason(part)
    if isinstance(error, str) and error.strip():
        message = error
    kind = part.get("type")
    if part is document and kind == "error":  # Anthropic's envelope around an empty error
        kind = None
    code, status = _code(part.get("code"))
    return ErrorBody(
        message=message[:_MAX_MESSAGE_CHARS],
        # Google's `status` is a word, Hugging Face's type has a name of its own.
        type=_word(kind) or _word(part.get("status")) or _word(part.get("error_type")),
        code=code,
        param=_word(part.get("param")) or param,
        status=status or next(filter(None, map(_status, map(part.get, ("status", "statusCode", "status_code")))), None),
    )


def _reason(part: Mapping[str, object]) -> tuple[str, str | None]:
    """The message, and the parameter that it is about if the message itself is a list of faults."""
    for name in ("message", "detail", "msg"):
        said = part.get(name)
        if isinstance(said, dict):  # Mistral puts FastAPI's detail inside the message
            said = said.get("detail") or said.get("message")
        if isinstance(said, str) and said.strip():
            return said, None
        if isinstance(said, list):
            faults = [fault for fault in map(_fault, said[:_MAX_DETAILS]) if fault]
            if faults:
                return "; ".join(f"{where}: {what}" if where else what for where, what in faults), faults[0][0] or None
    return NO_MESSAGE, None


def _fault(item: object) -> tuple[str, str] | None:
    """Place and text of one of FastAPI's validation faults; its `input` is a prompt and stays out."""
    text = item.get("msg") if isinstance(item, dict) else item
    if not isinstance(text, str) or not text.strip():
        return None
    loc = item.get("loc") if isinstance(item, dict) else None
    steps = [str(step) for step in loc if step != "body"] if isinstance(loc, list) else []
    return ".".join(steps)[:_MAX_WORD_CHARS], text


def _code(value: object) -> tuple[str | None, int | None]:
    """A code and a status: a number from 400 to 599 is a status, any other is a code."""
    status = _status(value)
    if status is not None:
        return None, status
    if type(value) is int:
        return str(value), None
    return _word(value), None


def _status(value: object) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and 400 <= value <= 599 else None


def _word(value: object) -> str | None:
    return value[:_MAX_WORD_CHARS] if isinstance(value, str) and value else None


def parse_answer(raw: bytes) -> dict[str, Any]:
    """The JSON object in the body of an answer. Raises MalformedAnswer if there is none."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        reason = "is not JSON" if raw.strip() else "is empty"
        raise MalformedAnswer(f"the answer {reason}") from None  # the decoder's error carries the whole body
    if not isinstance(document, dict):
        raise MalformedAnswer("the answer is no JSON object")
    return document
