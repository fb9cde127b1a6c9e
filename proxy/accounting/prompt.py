"""What of a request a model reads as tokens: its texts, and what is wrapped around them. Pure, and never raises,
whatever JSON stands where: whether a request is valid is for its parser.

The overhead is that of OpenAI's cookbook ("How to count tokens with tiktoken", section 6 for messages, section 7 for
tools), which OpenAI calls an estimate itself. Tools go to a model as type declarations that nobody has published; the
cookbook's constants reproduce them for flat parameters, and nested ones are counted in the same way here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: Around each message; for a name; before the answer.
_MESSAGE_TOKENS: Final = 3
_NAME_TOKENS: Final = 1
_PRIMING_TOKENS: Final = 3
#: After the last tool; before the first property of one; for each property and each value of an enumeration.
_TOOLS_END_TOKENS: Final = 12
_PROPERTIES_TOKENS: Final = 3
_PROPERTY_TOKENS: Final = 3
_ENUM_TOKENS: Final = -3
_ENUM_VALUE_TOKENS: Final = 3
#: Where a schema holds others beside its properties.
_ITEMS: Final = ("items", "additionalProperties")
_CHOICES: Final = ("anyOf", "oneOf", "allOf")


@dataclass(slots=True)
class Prompt:
    """What is to be counted."""

    texts: list[str] = field(default_factory=list)
    overhead_tokens: int = 0  #: but for what a tool costs, which differs between encodings
    tools: int = 0
    uncounted_parts: int = 0  #: images, audio, files: their price hangs on what is in them

    def add(self, text: object) -> None:
        """Take a text in; anything else is passed over."""
        if isinstance(text, str):
            self.texts.append(text)


def read_chat(body: Mapping[str, object]) -> Prompt:
    """The prompt of a chat completion request. O(size of the body)."""
    prompt = Prompt(overhead_tokens=_PRIMING_TOKENS)
    for message in _list(body.get("messages")):
        if isinstance(message, dict):
            _add_message(prompt, message)
    _add_tools(prompt, [tool.get("function") for tool in _objects(body.get("tools"))])
    _add_tools(prompt, _list(body.get("functions")))
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("json_schema") is not None:
        prompt.add(_json(form["json_schema"]))
    return prompt


# -- messages --


def _add_message(prompt: Prompt, message: dict[str, object]) -> None:
    prompt.overhead_tokens += _MESSAGE_TOKENS
    prompt.add(message.get("role"))
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            _add_part(prompt, part)
    else:
        prompt.add(content)
    if isinstance(message.get("name"), str):
        prompt.overhead_tokens += _NAME_TOKENS
        prompt.add(message["name"])
    prompt.add(message.get("refusal"))
    for call in (*(call.get("function") for call in _objects(message.get("tool_calls"))), message.get("function_call")):
        if isinstance(call, dict):
            prompt.overhead_tokens += _MESSAGE_TOKENS  # addressed to a function, as a message of its own
            prompt.add(call.get("name"))
            prompt.add(call.get("arguments"))


def _add_part(prompt: Prompt, part: object) -> None:
    if isinstance(part, dict) and part.get("type") in ("text", "refusal"):
        prompt.add(part.get("text"))
        prompt.add(part.get("refusal"))
    elif isinstance(part, str):
        prompt.add(part)
    else:
        prompt.uncounted_parts += 1


# -- tools --


def _add_tools(prompt: Prompt, functions: list[object]) -> None:
    found = [function for function in functions if isinstance(function, dict)]
    for function in found:
        prompt.tools += 1
        prompt.add(f"{_text(function.get('name'))}:{_described(function)}")
        _add_properties(prompt, function.get("parameters"))
    if found:
        prompt.overhead_tokens += _TOOLS_END_TOKENS


def _add_properties(prompt: Prompt, schema: object) -> None:
    """Walk a JSON schema: each property costs its name, type and description."""
    if not isinstance(schema, dict):
        return
    properties = schema.get("properties")
    if isinstance(properties, dict) and properties:
        prompt.overhead_tokens += _PROPERTIES_TOKENS
        for name, details in properties.items():
            prompt.overhead_tokens += _PROPERTY_TOKENS
            if isinstance(details, dict):
                _add_enum(prompt, details.get("enum"))
                prompt.add(f"{name}:{_text(details.get('type'))}:{_described(details)}")
                _add_properties(prompt, details)
            else:
                prompt.add(str(name))
    for key in _ITEMS:
        _add_properties(prompt, schema.get(key))
    for key in _CHOICES:
        for choice in _list(schema.get(key)):
            _add_properties(prompt, choice)


def _add_enum(prompt: Prompt, values: object) -> None:
    if isinstance(values, list):
        prompt.overhead_tokens += _ENUM_TOKENS
        for value in values:
            prompt.overhead_tokens += _ENUM_VALUE_TOKENS
            prompt.add(_text(value))


def _described(schema: dict[str, object]) -> str:
    return _text(schema.get("description")).removesuffix(".")


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else _json(value)


def _json(value: object) -> str:
    # Not orjson: it refuses lone surrogates.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _objects(value: object) -> list[dict[str, object]]:
    return [item for item in _list(value) if isinstance(item, dict)]
