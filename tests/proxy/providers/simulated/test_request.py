"""Requests as a simulated provider reads them."""

from __future__ import annotations

from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.simulated.request import BadRequestError, SimulatedRequest, read_request, text_of

HELLO: dict[str, object] = {"role": "user", "content": "Hello"}
WEATHER: dict[str, object] = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
CLOCK: dict[str, object] = {"type": "function", "function": {"name": "get_time"}}


def read(**fields: object) -> SimulatedRequest:
    return read_request(orjson.dumps({"model": "demo", "messages": [HELLO], **fields}))


def refused(**fields: object) -> BadRequestError:
    with pytest.raises(BadRequestError) as caught:
        read(**fields)
    return caught.value


def test_a_plain_request_asks_for_one_whole_text() -> None:
    request = read()
    assert (request.model, request.question, request.asks, request.tool_result) == ("demo", "Hello", True, None)
    assert (request.mode, request.tools, request.schema) == ("none", (), None)
    assert (request.choices, request.max_tokens, request.stops) == (1, None, ())
    assert (request.stream, request.include_usage) == (False, False)


def test_a_last_message_of_the_assistants_is_gone_on_with_only_if_that_is_asked_for() -> None:
    messages = [HELLO, {"role": "assistant", "content": "Hi, I"}]
    assert read(messages=messages, continue_final_message=True).so_far == "Hi, I"
    assert read(messages=messages).so_far == ""
    assert read(continue_final_message=True).so_far == ""


def test_only_model_and_messages_make_the_digest() -> None:
    same = [read(), read(temperature=2, stream=True, n=3), read(messages=[{"content": "Hello", "role": "user"}])]
    assert len({request.digest for request in same}) == 1
    assert read(model="other").digest != same[0].digest
    assert read(messages=[HELLO, HELLO]).digest != same[0].digest


def test_unknown_and_null_fields_are_let_through() -> None:
    empty = dict.fromkeys(
        ("n", "stop", "max_tokens", "tools", "tool_choice", "response_format", "stream_options", "stream")
    )
    assert read(top_k=3, **empty) == read()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a":' * 2000, b'{"a":' * 400 + b"1" + b"}" * 400])
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(BadRequestError, match="could not parse the JSON body"):
        read_request(content)


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b"true", b'"a"', b"1.5"])
def test_what_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(BadRequestError, match="expected a JSON object"):
        read_request(content)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, None, None),
        ({"model": ""}, None, None),
        ({"model": "x" * 257}, "model", "string_above_max_length"),
        ({"tools": [{"function": {"name": "x" * 257}}]}, "tools[0].function.name", "string_above_max_length"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "Hello"}, "messages", "invalid_type"),
        ({"messages": ["Hello"]}, "messages[0]", "invalid_type"),
        ({"messages": [HELLO, {"content": "x"}]}, "messages[1].role", "missing_required_parameter"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_type"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"n": True}, "n", "invalid_type"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": "9"}, "max_completion_tokens", "invalid_type"),
        ({"stop": 3}, "stop", "invalid_type"),
        ({"stop": ["a", 3]}, "stop", "invalid_type"),
        ({"stop": ["a"] * 5}, "stop", "array_above_max_length"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name", "missing_required_parameter"),
        ({"tool_choice": "auto"}, "tool_choice", None),
        ({"tools": [WEATHER], "tool_choice": "perhaps"}, "tool_choice", None),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", None),
        ({"response_format": {"type": "yaml"}}, "response_format.type", "invalid_value"),
        ({"response_format": "json"}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
            "missing_required_parameter",
        ),
    ],
)
def test_faults_are_named_as_openai_names_them(fields: dict[str, object], param: str | None, code: str | None) -> None:
    error = refused(**fields)
    assert (error.param, error.code) == (param, code)
    assert error.message


def test_an_assistant_message_needs_no_content() -> None:
    called = {
        "role": "assistant",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    request = read(messages=[HELLO, called, {"role": "tool", "tool_call_id": "1", "content": "18 degrees"}])
    assert (request.tool_result, request.question, request.asks) == ("18 degrees", "Hello", False)


def test_the_smaller_token_limit_counts() -> None:
    assert read(max_tokens=5).max_tokens == 5
    assert read(max_completion_tokens=7).max_tokens == 7
    assert read(max_tokens=5, max_completion_tokens=7).max_tokens == 5


def test_stop_may_be_one_string_or_several() -> None:
    assert read(stop="a").stops == ("a",)
    assert read(stop=["a", "b", ""]).stops == ("a", "b")


@pytest.mark.parametrize(
    ("choice", "mode", "names"),
    [
        (None, "auto", ["get_weather", "get_time"]),
        ("auto", "auto", ["get_weather", "get_time"]),
        ("none", "none", ["get_weather", "get_time"]),
        ("required", "required", ["get_weather", "get_time"]),
        ({"type": "function", "function": {"name": "get_time"}}, "named", ["get_time"]),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [CLOCK]}}, "required", ["get_time"]),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CLOCK]}}, "auto", ["get_time"]),
    ],
)
def test_the_tool_choice_decides_who_may_be_called(choice: object, mode: str, names: list[str]) -> None:
    request = read(tools=[WEATHER, {"type": "custom", "custom": {"name": "x"}}, CLOCK], tool_choice=choice)
    assert request.mode == mode
    assert [tool.name for tool in request.tools] == names


def test_parameters_are_an_object_even_if_not_declared() -> None:
    (tool,) = read(tools=[CLOCK]).tools
    assert tool.parameters == {"type": "object"}


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, True),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "null"}}}, {"type": "null"}),
    ],
)
def test_the_response_format_gives_the_schema(wanted: object, schema: object) -> None:
    assert read(response_format=wanted).schema == schema


def test_prompt_tokens_are_a_quarter_of_the_bytes_and_some() -> None:
    assert read(messages=[{"role": "user", "content": "é" * 8}]).prompt_tokens == 4 + 3 + 3
    assert read(messages=[HELLO, HELLO]).prompt_tokens == 3 + 6 + 3
    assert read(tools=[WEATHER]).prompt_tokens > read().prompt_tokens + 10


def test_an_image_counts_no_bytes() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    assert read(messages=[{"role": "user", "content": [{"type": "text", "text": "Hello"}, image]}]).prompt_tokens < 20


def test_text_parts_are_joined() -> None:
    assert text_of([{"type": "text", "text": "one"}, {"type": "image_url"}, "x", {"text": "two"}]) == "one two"
    assert text_of(None) == ""


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "function", "name", "role"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = [
    "model",
    "messages",
    "n",
    "stop",
    "max_tokens",
    "tools",
    "tool_choice",
    "response_format",
    "stream_options",
    "stream",
]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_json_is_read_or_refused(fields: dict[str, object]) -> None:
    with suppress(BadRequestError):
        assert read(**fields).choices >= 1
