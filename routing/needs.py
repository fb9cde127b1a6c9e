"""What a request asks of a target beyond text, by name; `Target.lacks` and `Facts.needs` use these names.

Only presence is looked at, never whether a value is valid: that is for the parser and the provider. Which target lacks
what is the config's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

#: What kind of answer is wanted. These depend on where a request was sent, not on what is in it.
CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"


def needs(request: Mapping[str, object]) -> frozenset[str]:
    """Names of what a parsed chat request needs; null and empty mean absent. O(parameters + message parts); never
    raises, whatever JSON stands where.
    """
    found = frozenset[str]()
    if not _PARAMETERS.isdisjoint(request):
        found = _of_parameters(request)
    messages = request.get("messages")
    if isinstance(messages, list):
        for message in messages:
            if type(message) is dict and type(content := message.get("content")) is list:
                found |= _of_parts(content)
    return found


def describe(need: str) -> str:
    """The need in words that complete "this target cannot serve …"; an unknown name comes back as it is."""
    return _WORDS.get(need, need)


def parameter_of(need: str) -> str:
    """The request parameter that asks for it."""
    return _ASKED_BY.get(need, need)


def _of_parameters(request: Mapping[str, object]) -> frozenset[str]:
    found = set[str]()
    for name, read in _READERS.items():
        value = request.get(name)
        if value is not None:
            found.update(read(value))
    return frozenset(found)


def _of_parts(parts: list[object]) -> frozenset[str]:
    found = set[str]()
    for part in parts:
        if isinstance(part, dict) and isinstance(kind := part.get("type"), str) and kind in _PARTS:
            found.add(_PARTS[kind])
    return frozenset(found)


# -- what a parameter's value asks for; null never gets here --


def _given(need: str) -> Callable[[object], tuple[str, ...]]:
    return lambda value: (need,)


def _filled(need: str) -> Callable[[object], tuple[str, ...]]:
    return lambda value: (need,) if value else ()


def _of_tools(value: object) -> tuple[str, ...]:
    if not value or not isinstance(value, list):
        return ()
    kinds = [tool.get("type") for tool in value if isinstance(tool, dict)]
    searches = any(isinstance(kind, str) and kind.startswith("web_search") for kind in kinds)
    return ("tools", "web_search") if searches else ("tools",)


def _of_response_format(value: object) -> tuple[str, ...]:
    kind = value.get("type") if isinstance(value, dict) else None
    return (kind,) if kind in ("json_object", "json_schema") else ()


def _of_choices(value: object) -> tuple[str, ...]:
    return ("n",) if isinstance(value, (int, float)) and value > 1 else ()


def _of_modalities(value: object) -> tuple[str, ...]:
    return ("audio",) if isinstance(value, list) and "audio" in value else ()


_READERS: Final[Mapping[str, Callable[[object], tuple[str, ...]]]] = MappingProxyType(
    {
        "tools": _of_tools,
        "functions": _filled("tools"),
        "parallel_tool_calls": _given("parallel_tool_calls"),  # false asks for something too: one at a time
        "response_format": _of_response_format,
        "modalities": _of_modalities,
        "logprobs": _filled("logprobs"),
        "top_logprobs": _filled("logprobs"),
        "n": _of_choices,
        "seed": _given("seed"),  # zero is a seed
        "stop": _filled("stop"),
        "logit_bias": _filled("logit_bias"),
        "prediction": _filled("prediction"),
        "web_search_options": _given("web_search"),  # usually an empty object
        "reasoning_effort": _filled("reasoning_effort"),
    }
)
_PARAMETERS: Final = frozenset(_READERS)
_PARTS: Final[Mapping[str, str]] = MappingProxyType({"image_url": "vision", "input_audio": "audio"})
_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tools": "tool calls",
        "parallel_tool_calls": "the choice of parallel tool calls",
        "json_object": "JSON mode",
        "json_schema": "answers by a JSON schema",
        "vision": "images",
        "audio": "audio",
        "logprobs": "log probabilities",
        "n": "more than one choice",
        "seed": "a seed",
        "stop": "stop sequences",
        "logit_bias": "a logit bias",
        "prediction": "a predicted output",
        "web_search": "web search",
        "reasoning_effort": "a reasoning effort",
        CHAT: "chat completions",
        EMBEDDINGS: "embeddings",
    }
)
#: Needs that are not asked for by a parameter of their own name.
_ASKED_BY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "json_object": "response_format",
        "json_schema": "response_format",
        "vision": "messages",
        "audio": "messages",
        "web_search": "web_search_options",
        CHAT: "model",
        EMBEDDINGS: "model",
    }
)
#: Every name that `needs` can give, and what kind of answer is wanted.
NEEDS: Final = frozenset(_WORDS)

#: Need -> the request parameters without which it vanishes, for an operator who allows it by `drop_params`. Absent are
#: those whose loss would change what kind of answer comes: tools, formats, images, audio, the number of choices.
DROPPABLE: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "parallel_tool_calls": ("parallel_tool_calls",),
        "logprobs": ("logprobs", "top_logprobs"),
        "seed": ("seed",),
        "stop": ("stop",),
        "logit_bias": ("logit_bias",),
        "prediction": ("prediction",),
        "reasoning_effort": ("reasoning_effort",),
    }
)
