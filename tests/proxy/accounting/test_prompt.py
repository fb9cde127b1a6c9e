from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting.prompt import Prompt, read_chat


def read(*messages: dict[str, Any], **fields: Any) -> Prompt:
    return read_chat({"messages": list(messages), **fields})


def test_each_message_costs_three_a_name_one_and_the_answer_three() -> None:
    prompt = read({"role": "user", "content": "Hi", "name": "ann"}, {"role": "assistant", "content": None})
    assert prompt.texts == ["user", "Hi", "ann", "assistant"]
    assert prompt.overhead_tokens == 3 + 1 + 3 + 3


def test_parts_that_are_no_text_are_told_apart() -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "x"}}, "loose", 5]
    prompt = read({"role": "user", "content": [*parts, {"type": "refusal", "refusal": "No."}]})
    assert prompt.texts == ["user", "What is this?", "loose", "No."]
    assert prompt.uncounted_parts == 2


def test_tool_calls_count_with_their_arguments() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"q":1}'}}
    prompt = read({"role": "assistant", "tool_calls": [call, "?"], "function_call": {"name": "old", "arguments": "{}"}})
    assert prompt.texts == ["assistant", "look_up", '{"q":1}', "old", "{}"]


def test_tools_cost_their_names_descriptions_and_properties_at_every_depth() -> None:
    inner = {"type": "object", "properties": {"b": {"type": ["string", "null"], "description": "Deep."}}}
    properties = {"a": {"type": "array", "items": inner}, "c": {"enum": ["x", 1]}, "d": True, "e": {"anyOf": [inner]}}
    function = {"name": "f", "description": "Does it.", "parameters": {"type": "object", "properties": properties}}
    prompt = read(tools=[{"type": "function", "function": function}, {"type": "custom"}])
    deep = 'b:["string","null"]:Deep'
    assert prompt.texts == ["f:Does it", "a:array:", deep, "x", "1", "c::", "d", "e::", deep]
    assert prompt.tools == 1
    assert prompt.overhead_tokens == 3 + 12 + 3 * 3 + 6 * 3 + (-3 + 2 * 3)


def test_old_functions_cost_as_tools_do() -> None:
    function = {"name": "f", "description": "Does it."}
    assert read(functions=[function]) == read(tools=[{"function": function}])


def test_an_output_schema_is_read_too() -> None:
    prompt = read(response_format={"type": "json_schema", "json_schema": {"name": "\ud800", "n": 2**70}})
    assert prompt.texts == ['{"name":"\ud800","n":1180591620717411303424}']


NAMES = [
    *("role", "content", "name", "type", "text", "tool_calls", "function"),
    *("parameters", "properties", "items", "anyOf", "enum", "description"),
]
JSON = st.recursive(
    st.sampled_from([None, True, 0, 2**70, 0.5, "text", "x", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["messages", "tools", "functions", "response_format"]))
def test_whatever_stands_there_is_read(value: object, field: str) -> None:
    assert all(isinstance(text, str) for text in read_chat({field: value}).texts)


@pytest.mark.parametrize("field", ["messages", "tools", "functions"])
def test_nothing_is_made_of_what_is_no_list(field: str) -> None:
    assert read_chat({field: {"role": "user"}}) == Prompt(overhead_tokens=3)
