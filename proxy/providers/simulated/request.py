"""A chat request as a simulated provider understands it: checked as OpenAI checks it, unknown fields let through."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

import orjson

from proxy.providers.simulated.steps import TooComplexError
from proxy.providers.simulated.values import JsonObject, canonical, list_of, object_of

_ROLES: Final = ("system", "assistant", "user", "function", "tool", "developer")
_MAX_CHOICES: Final = 128
_MAX_STOPS: Final = 4
_MAX_NAME_CHARS: Final = 256
_BYTES_PER_TOKEN: Final = 4
_TOKENS_PER_MESSAGE: Final = 3
_TOKENS_PER_ANSWER: Final = 3  # the answer is primed with its role

Mode = Literal["none", "auto", "required", "named"]


class BadRequestError(ValueError):
    """The request gets a 400."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the answer may call."""

    name: str
    parameters: object  #: JSON schema
    param: str  #: where in the request it stands


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """What decides the answer, and nothing else."""

    model: str
    digest: str  #: of model and messages, hex; the seed of everything
    question: str  #: text of the last user message; empty if there is none
    tool_result: str | None  #: text of the last message if a tool wrote it
    asks: bool  #: is the last message a user's?
    prompt_tokens: int
    tools: tuple[Tool, ...]  #: those the answer may choose from
    mode: Mode
    parallel: bool
    schema: object | None  #: what the text must be an instance of; None for prose, True for any JSON object
    choices: int
    max_tokens: int | None
    stops: tuple[str, ...]
    stream: bool
    include_usage: bool
    so_far: str = ""  #: what of the answer has been given already; only the rest is wanted


def read_request(content: bytes) -> SimulatedRequest:
    """The request in a body. Raises BadRequestError with OpenAI's words where OpenAI would refuse."""
    body = read_object(content)
    model = model_of(body)
    messages = _messages(body)
    last = messages[-1]
    asked = [text_of(message.get("content")) for message in messages if message.get("role") == "user"]
    tools = _tools(body)
    mode, allowed = _tool_choice(body, tools)
    return SimulatedRequest(
        model=model,
        digest=hashlib.sha256(canonical([model, messages])).hexdigest(),
        question=asked[-1] if asked else "",
        tool_result=text_of(last.get("content")) if last.get("role") in ("tool", "function") else None,
        asks=last.get("role") == "user",
        prompt_tokens=_prompt_tokens(messages, body.get("tools")),
        tools=allowed,
        mode=mode,
        parallel=body.get("parallel_tool_calls") is not False,
        schema=_schema(body),
        choices=_count(body, "n", most=_MAX_CHOICES) or 1,
        max_tokens=_max_tokens(body),
        stops=_stops(body.get("stop")),
        stream=body.get("stream") is True,
        include_usage=object_of(body.get("stream_options")).get("include_usage") is True,
        so_far=text_of(last.get("content")) if _is_continued(body, last) else "",
    )


def _is_continued(body: JsonObject, last: JsonObject) -> bool:
    """Is the last message one to go on with? By vLLM's name for it."""
    return body.get("continue_final_message") is True and last.get("role") == "assistant"


def text_of(content: object) -> str:
    """The text of a message's content, whether a string or a list of parts."""
    if isinstance(content, str):
        return content
    parts = [object_of(part).get("text") for part in list_of(content)]
    return " ".join(part for part in parts if isinstance(part, str))


def read_object(content: bytes) -> JsonObject:
    """The JSON object in a body. Raises BadRequestError."""
    try:
        body = orjson.loads(content)
        canonical(body)
    except (orjson.JSONDecodeError, TooComplexError) as error:
        message = "We could not parse the JSON body of your request. The API expects a JSON payload."
        raise BadRequestError(message) from error
    if not isinstance(body, dict):
        raise BadRequestError(f"Invalid body: expected a JSON object, but got {_kind(body)} instead.")
    return body


def model_of(body: JsonObject) -> str:
    """The model that a request names. Raises BadRequestError."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequestError("you must provide a model parameter")
    _check_length("model", model)
    return model


def _messages(body: JsonObject) -> list[JsonObject]:
    given = body.get("messages")
    if given is None:
        raise _missing("messages")
    if not isinstance(given, list):
        raise _wrong_type("messages", "an array of objects", given)
    if not given:
        raise BadRequestError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    return [_message(message, f"messages[{at}]") for at, message in enumerate(given)]


def _message(message: object, param: str) -> JsonObject:
    if not isinstance(message, dict):
        raise _wrong_type(param, "an object", message)
    role, content = message.get("role"), message.get("content")
    if role is None:
        raise _missing(f"{param}.role")
    if role not in _ROLES:
        supported = ", ".join(f"'{name}'" for name in _ROLES)
        refusal = f"Invalid value for '{param}.role'. Supported values are: {supported}."
        raise BadRequestError(refusal, param=f"{param}.role", code="invalid_value")
    if not isinstance(content, str | list) and not (content is None and role == "assistant"):
        raise _wrong_type(f"{param}.content", "a string or an array of objects", content)
    return message


def _prompt_tokens(messages: list[JsonObject], tools: object) -> int:
    """About what a tokenizer would count: a quarter of the bytes, and some for each message. Images count nothing."""
    size = len(canonical(tools)) if tools else 0
    for message in messages:
        size += len(text_of(message.get("content")).encode())
        size += len(canonical(message["tool_calls"])) if message.get("tool_calls") else 0
    return -(-size // _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE * len(messages) + _TOKENS_PER_ANSWER


def _tools(body: JsonObject) -> list[Tool]:
    """The functions among the tools; other kinds are never called."""
    given = body.get("tools")
    if given is not None and not isinstance(given, list):
        raise _wrong_type("tools", "an array of objects", given)
    tools: list[Tool] = []
    for at, item in enumerate(given or []):
        tool = object_of(item)
        function = object_of(tool.get("function"))
        name = function.get("name")
        if tool.get("type", "function") != "function":
            continue
        if not isinstance(name, str) or not name:
            raise _missing(f"tools[{at}].function.name")
        _check_length(f"tools[{at}].function.name", name)
        parameters = {"type": "object", **object_of(function.get("parameters"))}
        tools.append(Tool(name, parameters, f"tools[{at}].function.parameters"))
    return tools


def _tool_choice(body: JsonObject, tools: list[Tool]) -> tuple[Mode, tuple[Tool, ...]]:
    choice = body.get("tool_choice")
    if choice is None:
        return ("auto" if tools else "none"), tuple(tools)
    if choice != "none" and not body.get("tools"):
        raise BadRequestError(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
            param="tool_choice",
        )
    if choice in ("none", "auto", "required"):
        mode: Mode = "none" if choice == "none" else "auto" if choice == "auto" else "required"
        return mode, tuple(tools)
    chosen = object_of(choice)
    allowed = object_of(chosen.get("allowed_tools"))
    if allowed:
        names = {object_of(object_of(tool).get("function")).get("name") for tool in list_of(allowed.get("tools"))}
        return ("required" if allowed.get("mode") == "required" else "auto"), tuple(t for t in tools if t.name in names)
    name = object_of(chosen.get("function")).get("name")
    named = tuple(tool for tool in tools if tool.name == name)
    if not named:
        raise BadRequestError(
            "Invalid value for 'tool_choice': it names no function of the 'tools' parameter.", param="tool_choice"
        )
    return "named", named[:1]


def _schema(body: JsonObject) -> object | None:
    wanted = object_of(body.get("response_format"))
    kind = wanted.get("type")
    if body.get("response_format") is None or kind == "text":
        return None
    if kind == "json_object":
        return True
    if kind != "json_schema":
        raise BadRequestError(
            "Invalid value for 'response_format.type'. Supported values are: 'json_object', 'json_schema', and 'text'.",
            param="response_format.type",
            code="invalid_value",
        )
    schema = object_of(wanted.get("json_schema")).get("schema")
    if schema is None:
        raise _missing(
            "response_format.json_schema.schema" if wanted.get("json_schema") else "response_format.json_schema"
        )
    return schema


def _max_tokens(body: JsonObject) -> int | None:
    limits = [_count(body, "max_tokens"), _count(body, "max_completion_tokens")]
    return min((limit for limit in limits if limit is not None), default=None)


def _count(body: JsonObject, param: str, most: int | None = None) -> int | None:
    value = body.get(param)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(param, "an integer", value)
    if value < 1:
        raise BadRequestError(
            f"Invalid '{param}': integer below minimum value. Expected a value >= 1, but got {value} instead.",
            param=param,
            code="integer_below_min_value",
        )
    if most is not None and value > most:
        raise BadRequestError(
            f"Invalid '{param}': integer above maximum value. Expected a value <= {most}, but got {value} instead.",
            param=param,
            code="integer_above_max_value",
        )
    return value


def _stops(value: object) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise _wrong_type("stop", "a string or an array of strings", value)
    if len(stops) > _MAX_STOPS:
        raise BadRequestError(
            f"Invalid 'stop': array too long. Expected an array with maximum length {_MAX_STOPS}, "
            f"but got an array with length {len(stops)} instead.",
            param="stop",
            code="array_above_max_length",
        )
    return tuple(stop for stop in stops if stop)


def _check_length(param: str, name: str) -> None:
    """Every chunk repeats the model's name: a long one would be multiplied."""
    if len(name) > _MAX_NAME_CHARS:
        message = f"Invalid '{param}': string too long. Expected a string with maximum length {_MAX_NAME_CHARS}."
        raise BadRequestError(message, param=param, code="string_above_max_length")


def _missing(param: str) -> BadRequestError:
    return BadRequestError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def _wrong_type(param: str, expected: str, value: object) -> BadRequestError:
    message = f"Invalid type for '{param}': expected {expected}, but got {_kind(value)} instead."
    return BadRequestError(message, param=param, code="invalid_type")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {int: "an integer", float: "a decimal", str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), "something else")
