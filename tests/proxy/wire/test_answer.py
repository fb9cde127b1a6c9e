"""Whole chat completions."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.types.chat import ChatCompletion

from proxy.wire.answer import ErrorAnswer, MalformedAnswer, read_chat_answer
from proxy.wire.usage import Usage


def answer(*messages: dict[str, object], **members: object) -> bytes:
    choices = [{"index": index, "message": message, "finish_reason": "stop"} for index, message in enumerate(messages)]
    return orjson.dumps(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices} | members
    )


def calls_in(body: bytes) -> list[dict[str, Any]]:
    document = orjson.loads(body)
    return [call for choice in document["choices"] for call in choice["message"]["tool_calls"]]


def test_normal_answer_keeps_its_very_bytes() -> None:
    raw = b"\n\n  " + answer(
        {"role": "assistant", "content": "Hi", "tool_calls": None}, usage={"prompt_tokens": 2, "completion_tokens": 1}
    )
    read = read_chat_answer(raw)
    assert read.body is raw
    assert read.usage == Usage(2, 1)


def test_normal_tool_call_keeps_its_very_bytes() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    raw = answer({"role": "assistant", "content": None, "tool_calls": [call]})
    assert read_chat_answer(raw).body is raw


def test_missing_usage_is_none() -> None:
    assert read_chat_answer(answer({"role": "assistant", "content": "Hi"})).usage is None


@pytest.mark.parametrize("message", [{"content": "Hi"}, {"role": None, "content": "Hi"}, {"role": "", "content": "Hi"}])
def test_missing_role_is_assistant(message: dict[str, object]) -> None:
    read = read_chat_answer(answer(message, custom={"kept": [1.5]}))
    document = orjson.loads(read.body)
    assert document["choices"][0]["message"] == {"role": "assistant", "content": "Hi"}
    assert document["custom"] == {"kept": [1.5]}


def test_tool_calls_without_ids_get_unique_ones_across_choices() -> None:
    nameless = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    taken = nameless | {"id": "call_1"}
    raw = answer(
        {"role": "assistant", "tool_calls": [nameless, nameless | {"id": ""}, taken]},
        {"role": "assistant", "tool_calls": [nameless | {"id": None}, nameless | {"id": 5}]},
    )
    ids = [call["id"] for call in calls_in(read_chat_answer(raw).body)]
    assert ids == ["call_0", "call_2", "call_1", "call_3", "call_4"]
    assert read_chat_answer(raw).body == read_chat_answer(raw).body


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ({"name": "f", "arguments": {"city": "Köln"}}, '{"city":"Köln"}'),
        ({"name": "f", "arguments": None}, "{}"),
        ({"name": "f"}, "{}"),
        ({"name": "f", "arguments": ""}, ""),
    ],
)
def test_arguments_become_a_string(function: dict[str, object], arguments: str) -> None:
    raw = answer({"role": "assistant", "tool_calls": [{"id": "a", "function": function}]})
    (call,) = calls_in(read_chat_answer(raw).body)
    assert call == {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}


def test_mended_answer_is_read_by_the_official_sdk() -> None:
    raw = answer({"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]})
    completion = ChatCompletion.model_validate_json(read_chat_answer(raw).body)
    call = (completion.choices[0].message.tool_calls or [])[0]
    assert (call.type, call.id) == ("function", "call_0")
    assert read_chat_answer(read_chat_answer(raw).body).body == read_chat_answer(raw).body


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" \n",
        b"<html>secret</html>",
        b'{"choices": [{"message": {"content": "secret',
        b"null",
        b'["secret"]',
        b'{"id": "secret"}',
        b'{"choices": null}',
        b'{"choices": []}',
        b'{"choices": {"message": {}}}',
        b'{"choices": ["secret"]}',
        b'{"choices": [{"text": "secret"}]}',
        b'{"choices": [{"message": "secret"}]}',
        b'{"choices": [{"message": {"tool_calls": "secret"}}]}',
        b'{"choices": [{"message": {"tool_calls": ["secret"]}}]}',
        b'{"choices": [{"message": {"x": ' + b"[" * 260 + b"]" * 260 + b"}}]}",
        b'{"choices": [{"message": {"tool_calls": [{"function": {"arguments": ' + b"[" * 260 + b"]" * 260 + b"}}]}}]}",
    ],
)
def test_what_is_no_completion_is_malformed_and_stays_unsaid(raw: bytes) -> None:
    with pytest.raises(MalformedAnswer) as caught:
        read_chat_answer(raw)
    assert str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"error": {"message": "Overloaded", "code": 529}}',
        b'{"error": {"message": "Overloaded", "code": 529}, "choices": [{"message": {}}]}',
        b'{"object": "error", "message": "Overloaded", "code": 529}',
    ],
)
def test_error_inside_a_200_is_an_error(raw: bytes) -> None:
    with pytest.raises(ErrorAnswer) as caught:
        read_chat_answer(raw)
    assert (caught.value.error.message, caught.value.error.status) == ("Overloaded", 529)


def test_null_error_beside_choices_is_none() -> None:
    raw = answer({"role": "assistant", "content": "Hi"}, error=None)
    assert read_chat_answer(raw).body is raw
