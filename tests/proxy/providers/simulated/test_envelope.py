"""The wire forms; OpenAI's own models are the oracle."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from proxy.providers.simulated.completion import Completion, complete
from proxy.providers.simulated.envelope import (
    FAULTY_ANSWERS,
    chunk_steps,
    completion_body,
    not_found,
    rate_limit_headers,
    refusal,
)
from proxy.providers.simulated.request import BadRequestError, read_request

CREATED = 1_750_000_000
TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
    for name in ("get_weather", "get_time")
]
QUESTIONS = st.sampled_from(["Hello", "weather", "weather and time", "天気 weather ☀", ""])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(1, 3),
        "max_tokens": st.integers(1, 40),
        "stop": st.sampled_from(["simulated", "This", ["a", "b"]]),
        "tools": st.just(TOOLS),
        "response_format": st.just({"type": "json_object"}),
    },
)


def answer(content: str, fields: dict[str, Any]) -> Completion:
    body = {"model": "demo-fast", "messages": [{"role": "user", "content": content}], **fields}
    return complete(read_request(orjson.dumps(body)))


def events(steps: list[bytes]) -> list[bytes]:
    return b"".join(steps).removesuffix(b"\n\n").split(b"\n\n")


def parsed(steps: list[bytes]) -> list[ChatCompletionChunk]:
    *chunks, last = events(steps)
    assert last == b"data: [DONE]"
    assert all(chunk.startswith(b"data: ") for chunk in chunks)
    return [ChatCompletionChunk.model_validate_json(chunk.removeprefix(b"data: "), strict=True) for chunk in chunks]


@given(QUESTIONS, FIELDS)
def test_the_openai_model_accepts_every_body(content: str, fields: dict[str, Any]) -> None:
    completion = answer(content, fields)
    body = ChatCompletion.model_validate_json(completion_body(completion, CREATED), strict=True)
    assert (body.id, body.created, body.model) == (completion.id, CREATED, "demo-fast")
    assert [choice.index for choice in body.choices] == list(range(len(completion.choices)))
    assert body.usage is not None
    assert body.usage.total_tokens == completion.prompt_tokens + completion.completion_tokens
    assert not body.model_extra


@given(QUESTIONS, FIELDS, st.booleans())
def test_chunks_add_up_to_the_body(content: str, fields: dict[str, Any], include_usage: bool) -> None:
    completion = answer(content, fields)
    body = ChatCompletion.model_validate_json(completion_body(completion, CREATED))
    chunks = parsed(list(chunk_steps(completion, CREATED, include_usage=include_usage)))
    assert {(chunk.id, chunk.created, chunk.model) for chunk in chunks} == {(body.id, CREATED, body.model)}
    for choice in body.choices:
        mine = [part for chunk in chunks for part in chunk.choices if part.index == choice.index]
        assert [part.delta.role for part in mine] == ["assistant"] + [None] * (len(mine) - 1)
        assert [part.finish_reason for part in mine] == [None] * (len(mine) - 1) + [choice.finish_reason]
        assert "".join(part.delta.content or "" for part in mine) == (choice.message.content or "")
        assert calls_of_chunks(mine) == calls_of_body(choice.message)


def calls_of_chunks(parts: list[Any]) -> list[tuple[str, str, str]]:
    calls: list[tuple[str, str, str]] = []
    for delta in [call for part in parts for call in part.delta.tool_calls or []]:
        if delta.id is not None:
            assert delta.index == len(calls)
            assert delta.type == "function"
            calls.append((delta.id, delta.function.name, ""))
        else:
            assert delta.index == len(calls) - 1
            assert (delta.type, delta.function.name) == (None, None)
        identity, name, arguments = calls[-1]
        calls[-1] = (identity, name, arguments + delta.function.arguments)
    return calls


def calls_of_body(message: Any) -> list[tuple[str, str, str]]:
    return [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or []]


def test_each_step_holds_whole_events_and_a_piece() -> None:
    completion = answer("Hello", {})
    steps = list(chunk_steps(completion, CREATED, include_usage=False))
    assert all(step.endswith(b"\n\n") for step in steps)
    assert len(steps) == len(completion.choices[0].pieces) + 1
    assert [len(events([step])) for step in steps] == [2] + [1] * (len(steps) - 2) + [2]


def test_usage_comes_last_with_no_choices_and_is_null_before() -> None:
    raw = [orjson.loads(event.removeprefix(b"data: ")) for event in events(steps_of("Hello", include_usage=True))[:-1]]
    assert raw[-1]["choices"] == []
    assert raw[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0
    assert raw[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert all(chunk["usage"] is None and chunk["choices"] for chunk in raw[:-1])


def test_no_chunk_mentions_usage_unless_asked() -> None:
    assert b"usage" not in b"".join(steps_of("Hello", include_usage=False))


def steps_of(content: str, *, include_usage: bool) -> list[bytes]:
    return list(chunk_steps(answer(content, {}), CREATED, include_usage=include_usage))


def test_an_empty_text_still_has_role_and_end() -> None:
    steps = list(chunk_steps(answer("Hello", {"stop": "This"}), CREATED, include_usage=False))
    assert [len(events([step])) for step in steps] == [3]


def test_the_message_has_a_null_refusal_and_null_content_beside_calls() -> None:
    raw = orjson.loads(completion_body(answer("weather", {"tools": TOOLS}), CREATED))
    message = raw["choices"][0]["message"]
    assert (message["content"], message["refusal"], raw["choices"][0]["logprobs"]) == (None, None, None)
    assert raw["system_fingerprint"].startswith("fp_")


@pytest.mark.parametrize(
    "body",
    [
        refusal(BadRequestError("no", param="messages", code="empty_array")).body,
        not_found("GET", "/v1/models").body,
        *(faulty.body for faulty in FAULTY_ANSWERS),
    ],
)
def test_errors_have_all_four_keys(body: bytes) -> None:
    error = orjson.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]


def test_a_faulty_provider_says_500_503_or_429_with_a_time_to_wait() -> None:
    assert [faulty.status for faulty in FAULTY_ANSWERS] == [500, 503, 429]
    assert FAULTY_ANSWERS[2].headers["retry-after"] == "1"


def test_rate_limits_never_go_below_nothing() -> None:
    headers = rate_limit_headers(10**9)
    assert headers["x-ratelimit-remaining-tokens"] == "0"
    assert headers["x-ratelimit-reset-tokens"] == "60000ms"
    assert rate_limit_headers(100)["x-ratelimit-remaining-tokens"] == "1999900"
