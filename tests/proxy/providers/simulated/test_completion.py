"""Whole simulated answers."""

from __future__ import annotations

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.simulated.completion import Choice, Completion, complete
from proxy.providers.simulated.request import BadRequestError, read_request

PARAMETERS: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city"],
    "additionalProperties": False,
}


def assert_valid(value: object, schema: dict[str, object]) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)


def function(name: str, parameters: object = PARAMETERS) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [function("get_weather"), function("get_local_time")]


def answer(content: str = "Hello", **fields: object) -> Completion:
    body = {"model": "demo-fast", "messages": [{"role": "user", "content": content}], **fields}
    return complete(read_request(orjson.dumps(body)))


def only(completion: Completion) -> Choice:
    (choice,) = completion.choices
    return choice


def called(completion: Completion) -> list[str]:
    return [call.name for call in only(completion).calls]


def test_the_answer_is_a_function_of_the_request() -> None:
    assert answer() == answer()
    assert answer() != answer("Hello!")


def test_the_words_do_not_depend_on_how_they_are_sent() -> None:
    assert answer(stream=True, stream_options={"include_usage": True}) == answer()


def test_it_is_friendly_prose_that_says_what_it_is() -> None:
    choice = only(answer())
    assert "".join(choice.pieces).startswith("This is a simulated answer from demo-fast.")
    assert choice.finish_reason == "stop"
    assert choice.calls == ()


@given(st.integers(1, 100))
def test_max_tokens_cuts_the_text(limit: int) -> None:
    whole, cut = only(answer()), only(answer(max_tokens=limit))
    assert cut.pieces == whole.pieces[:limit]
    assert cut.finish_reason == ("length" if limit < len(whole.pieces) else "stop")


def test_a_stop_sequence_ends_the_text_before_itself() -> None:
    choice = only(answer(stop=["simulated", "never"]))
    assert "".join(choice.pieces) == "This is a "
    assert choice.finish_reason == "stop"


def test_several_choices_differ_and_the_first_is_the_only_one_otherwise() -> None:
    completion = answer(n=3)
    assert len({choice.pieces for choice in completion.choices}) == 3
    assert completion.choices[0] == only(answer())


def test_completion_tokens_are_the_pieces_of_all_choices() -> None:
    completion = answer(n=2)
    assert completion.completion_tokens == sum(len(choice.pieces) for choice in completion.choices)
    call = only(answer("weather", tools=TOOLS))
    assert answer("weather", tools=TOOLS).completion_tokens == len(call.calls[0].pieces)


def test_json_mode_gives_an_object() -> None:
    value = orjson.loads("".join(only(answer(response_format={"type": "json_object"})).pieces))
    assert value["simulated"] is True
    assert value["answer"].startswith("This is a simulated answer")


def test_json_schema_mode_gives_an_instance() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": PARAMETERS}}
    assert_valid(orjson.loads("".join(only(answer(response_format=wanted)).pieces)), PARAMETERS)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("What's the weather in Oslo?", ["get_weather"]),
        ("WEATHER!", ["get_weather"]),
        ("call get_weather", ["get_weather"]),
        ("what time is it, local or otherwise?", ["get_local_time"]),
        ("weather and time please", ["get_weather", "get_local_time"]),
        ("Hello", []),
        ("get me something", []),
        ("whether or not", []),
    ],
)
def test_a_tool_is_called_if_the_user_mentions_it(content: str, expected: list[str]) -> None:
    assert called(answer(content, tools=TOOLS)) == expected


def test_camel_case_names_have_words_too() -> None:
    assert called(answer("the weather?", tools=[function("getCityWeather2")])) == ["getCityWeather2"]


def test_arguments_are_an_instance_of_the_parameters() -> None:
    choice = only(answer("weather", tools=TOOLS))
    assert_valid(orjson.loads("".join(choice.calls[0].pieces)), PARAMETERS)
    assert choice.pieces == ()
    assert choice.finish_reason == "tool_calls"


def test_a_tool_without_parameters_gets_an_object() -> None:
    choice = only(answer("ping", tools=[{"type": "function", "function": {"name": "ping"}}]))
    assert isinstance(orjson.loads("".join(choice.calls[0].pieces)), dict)


def test_one_tool_at_a_time_if_asked() -> None:
    assert called(answer("weather and time", tools=TOOLS, parallel_tool_calls=False)) == ["get_weather"]


def test_required_calls_the_mentioned_tool_else_the_first() -> None:
    assert called(answer("Hello", tools=TOOLS, tool_choice="required")) == ["get_weather"]
    assert called(answer("the time", tools=TOOLS, tool_choice="required")) == ["get_local_time"]
    assert only(answer(tools=TOOLS, tool_choice="required")).finish_reason == "tool_calls"


def test_a_named_function_is_called_and_finishes_with_stop() -> None:
    choice = only(answer(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "get_local_time"}}))
    assert [call.name for call in choice.calls] == ["get_local_time"]
    assert choice.finish_reason == "stop"


def test_none_gives_text() -> None:
    assert called(answer("weather", tools=TOOLS, tool_choice="none")) == []


def test_after_a_tool_has_answered_there_is_text() -> None:
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"},
    ]
    choice = only(answer(messages=messages, tools=TOOLS))
    assert choice.calls == ()
    assert "18 degrees" in "".join(choice.pieces)


def test_ids_of_calls_differ() -> None:
    completion = answer("weather and time", tools=TOOLS, n=2)
    ids = [call.id for choice in completion.choices for call in choice.calls]
    assert len(set(ids)) == 4
    assert all(name.startswith("call_") for name in ids)


@given(st.integers(1, 60))
def test_max_tokens_counts_arguments_of_all_calls(limit: int) -> None:
    whole = only(answer("weather and time", tools=TOOLS))
    cut = only(answer("weather and time", tools=TOOLS, max_tokens=limit))
    size = sum(len(call.pieces) for call in whole.calls)
    assert sum(len(call.pieces) for call in cut.calls) == min(limit, size)
    assert cut.finish_reason == ("length" if limit < size else "tool_calls")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}},
            "response_format",
        ),
        ({"tools": [function("weather", {"minProperties": 10**9})]}, "tools[0].function.parameters"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}], "tool_choice": "required"}, "tools"),
    ],
)
def test_schemas_beyond_simulation_are_refused(fields: dict[str, object], param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        answer("weather", **fields)
    assert caught.value.param == param


def test_many_choices_share_one_budget() -> None:
    deep: dict[str, object] = {"type": "array", "minItems": 300, "items": {"type": "object", "minProperties": 3}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": deep}}
    assert answer(response_format=wanted).completion_tokens > 300
    with pytest.raises(BadRequestError):
        answer(response_format=wanted, n=128)
