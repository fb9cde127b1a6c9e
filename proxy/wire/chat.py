"""Chat completion requests: the one parse of a body, and the types of the parameters everybody knows.

No stricter than OpenAI's API: unknown parameters and roles travel untouched, null means absent, and ranges that differ
between models are the upstream's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

import orjson

from proxy.errors import InvalidRequest
from proxy.wire.duplicates import TooDeep, has_duplicate_keys, locate_duplicate

_MAX_MODEL_CHARS: Final = 256
_MAX_CHOICES: Final = 128
_JSON_NAMES: Final[Mapping[type, str]] = {
    str: "a string",
    int: "an integer",
    float: "a decimal",
    bool: "a boolean",
    list: "an array",
    dict: "an object",
    NoneType: "null",
}


@dataclass(slots=True)
class ChatRequest:
    """One chat completion request as the client sent it."""

    body: dict[str, object]  #: the whole of it, unknown parameters included
    model: str
    stream: bool
    include_usage: bool  #: did the client itself ask for `stream_options.include_usage`?
    n: int  #: choices asked for
    size_bytes: int = 0  #: of the body as it came
    #: What of the answer has come already, from a stream that was cut: only the rest is wanted.
    text_so_far: str = ""


def parse_chat_request(raw: bytes) -> ChatRequest:
    """The request in a body. Raises InvalidRequest, which names the parameter and never repeats a value."""
    return read_chat_request(parse_object(raw), len(raw))


def parse_object(raw: bytes) -> dict[str, object]:
    """The JSON object in a body, of whatever request. Raises InvalidRequest, also for keys that occur twice."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _unreadable(raw, error) from None  # the decoder's error carries the whole body
    if type(body) is not dict:
        raise InvalidRequest(f"The request body must be a JSON object, but is {_JSON_NAMES[type(body)]}.")
    try:
        is_doubled = has_duplicate_keys(raw, body)
    except TooDeep:
        raise InvalidRequest("The request body is nested too deeply: at most 254 levels are accepted.") from None
    if is_doubled:
        raise _doubled(raw)
    return body


def read_chat_request(body: dict[str, Any], size_bytes: int) -> ChatRequest:
    """The request in a parsed body that had so many bytes. Raises InvalidRequest."""
    for name, value in body.items():
        field = _FIELDS.get(name)
        if field is None or value is None:
            continue
        types, check = field
        if type(value) not in types:
            raise wrong_type(name, value, types)
        if check is not None:
            check(name, value)
    for name in ("model", "messages"):
        if body.get(name) is None:
            raise missing(name)
    stream = body.get("stream") is True
    options = body.get("stream_options")
    if options is not None and not stream:
        raise InvalidRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    include_usage = options is not None and options.get("include_usage") is True
    return ChatRequest(body, body["model"], stream, include_usage, body.get("n") or 1, size_bytes)


# -- what is checked beyond the type --


def check_model(name: str, model: str) -> None:
    """May a model be named so? Raises InvalidRequest."""
    if not model:
        raise InvalidRequest(f"Invalid '{name}': empty string.", param=name, code="empty_string")
    if len(model) > _MAX_MODEL_CHARS or not model.isprintable():
        raise InvalidRequest(
            f"Invalid '{name}': expected at most {_MAX_MODEL_CHARS} printable characters.",
            param=name,
            code="invalid_value",
        )


def _check_messages(name: str, messages: list[object]) -> None:
    if not messages:
        raise InvalidRequest(
            f"Invalid '{name}': empty array. Expected an array with minimum length 1.", param=name, code="empty_array"
        )
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise wrong_type(f"{name}[{index}]", message, _OBJECT)
        role = message.get("role")
        if type(role) is not str:
            path = f"{name}[{index}].role"
            raise missing(path) if role is None else wrong_type(path, role, _STRING)
        if type(message.get("content")) not in _CONTENT:
            raise wrong_type(f"{name}[{index}].content", message["content"], _CONTENT)


def _check_choices(name: str, n: int) -> None:
    check_positive(name, n)
    if n > _MAX_CHOICES:
        raise InvalidRequest(
            f"Invalid '{name}': integer above maximum value. Expected a value <= {_MAX_CHOICES}.",
            param=name,
            code="integer_above_max_value",
        )


def check_positive(name: str, value: int) -> None:
    """Is it 1 at least? Raises InvalidRequest."""
    if value < 1:
        raise InvalidRequest(
            f"Invalid '{name}': integer below minimum value. Expected a value >= 1.",
            param=name,
            code="integer_below_min_value",
        )


def _check_stop(name: str, stop: str | list[object]) -> None:
    if isinstance(stop, list):
        _check_items(name, stop, _STRING)


def _check_objects(name: str, items: list[object]) -> None:
    _check_items(name, items, _OBJECT)


def _check_items(name: str, items: list[object], types: frozenset[type]) -> None:
    for index, item in enumerate(items):
        if type(item) not in types:
            raise wrong_type(f"{name}[{index}]", item, types)


def _check_stream_options(name: str, options: dict[str, object]) -> None:
    if type(options.get("include_usage")) not in _FLAG:
        raise wrong_type(f"{name}.include_usage", options["include_usage"], _FLAG)


_STRING: Final = frozenset({str})
_INTEGER: Final = frozenset({int})  # type() of a bool is bool, so true is no integer here
_NUMBER: Final = frozenset({int, float})
_BOOLEAN: Final = frozenset({bool})
_FLAG: Final[frozenset[type]] = frozenset({bool, NoneType})
_ARRAY: Final = frozenset({list})
_OBJECT: Final = frozenset({dict})
_CONTENT: Final[frozenset[type]] = frozenset({str, list, NoneType})
_NAME_OR_OBJECT: Final = frozenset({str, dict})

#: Parameter → accepted JSON types, and what else must hold. Null is absent, so it never gets here.
_FIELDS: Final[Mapping[str, tuple[frozenset[type], Callable[[str, Any], None] | None]]] = {
    "model": (_STRING, check_model),
    "messages": (_ARRAY, _check_messages),
    "stream": (_BOOLEAN, None),
    "stream_options": (_OBJECT, _check_stream_options),
    "n": (_INTEGER, _check_choices),
    "max_tokens": (_INTEGER, check_positive),
    "max_completion_tokens": (_INTEGER, check_positive),
    "temperature": (_NUMBER, None),
    "top_p": (_NUMBER, None),
    "presence_penalty": (_NUMBER, None),
    "frequency_penalty": (_NUMBER, None),
    "stop": (frozenset({str, list}), _check_stop),
    "tools": (_ARRAY, _check_objects),
    "tool_choice": (_NAME_OR_OBJECT, None),
    "parallel_tool_calls": (_BOOLEAN, None),
    "functions": (_ARRAY, _check_objects),
    "function_call": (_NAME_OR_OBJECT, None),
    "response_format": (_OBJECT, None),
    "seed": (_INTEGER, None),
    "user": (_STRING, None),
    "logit_bias": (_OBJECT, None),
    "logprobs": (_BOOLEAN, None),
    "top_logprobs": (_INTEGER, None),
    "metadata": (_OBJECT, None),
    "modalities": (_ARRAY, None),
    "audio": (_OBJECT, None),
    "prediction": (_OBJECT, None),
    "reasoning_effort": (_STRING, None),
    "verbosity": (_STRING, None),
    "service_tier": (_STRING, None),
    "store": (_BOOLEAN, None),
    "prompt_cache_key": (_STRING, None),
    "safety_identifier": (_STRING, None),
    "web_search_options": (_OBJECT, None),
}


# -- what is said about it --


def _unreadable(raw: bytes, error: orjson.JSONDecodeError) -> InvalidRequest:
    if not raw.strip():
        return InvalidRequest("The request body is empty; a JSON object was expected.")
    try:
        raw.decode()
    except UnicodeDecodeError as fault:
        return InvalidRequest(f"The request body is not valid UTF-8: byte {fault.start} is wrong.")
    return InvalidRequest(
        "We could not parse the JSON body of your request: "
        f"{error.msg} at line {error.lineno}, column {error.colno} (character {error.pos})."
    )


def _doubled(raw: bytes) -> InvalidRequest:
    path = locate_duplicate(raw)
    if path is None:
        return InvalidRequest("A key occurs more than once in one object of the request body.", code="duplicate_key")
    return InvalidRequest(
        f"The key '{path}' occurs more than once in the request body.", param=path, code="duplicate_key"
    )


def missing(name: str) -> InvalidRequest:
    """A parameter that must be there is not."""
    return InvalidRequest(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def wrong_type(name: str, value: object, types: frozenset[type]) -> InvalidRequest:
    """A parameter is of another type than one of these."""
    expected = " or ".join(sorted(_JSON_NAMES[kind] for kind in types if kind is not NoneType))
    return InvalidRequest(
        f"Invalid type for '{name}': expected {expected}, but got {_JSON_NAMES[type(value)]} instead.",
        param=name,
        code="invalid_type",
    )
