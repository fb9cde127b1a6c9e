"""Tool calls and structured answers through the official SDK, from scripted providers and from simulated ones."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.fakes import completion, sse_event
from tests.integration.gateway import PROMPT, Gateway
from tests.upstream import reply_json, stream

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": PROMPT}]
TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class Answer(BaseModel):
    """What parse() is asked for."""

    city: str
    degrees: float
    tags: list[str]


def _tool_chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return sse_event(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "upstream-model", "choices": [choice]}
    )


async def test_tool_calls_that_an_upstream_streams_badly_are_mended(gateway: Gateway) -> None:
    """Role, id and name repeated, no index: the SDK's accumulator would give "call_1call_1" or raise."""
    pieces = [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": part}}
        for part in ('{"ci', 'ty": "Pa', 'ris"}')
    ]
    events = [_tool_chunk({"role": "assistant", "content": None, "tool_calls": [piece]}) for piece in pieces]
    gateway.play(stream([*events, _tool_chunk({}, "tool_calls"), b"data: [DONE]\n\n"]))
    async with (
        gateway.async_client() as client,
        client.chat.completions.stream(model="chat", messages=MESSAGES, tools=TOOLS) as got,
    ):
        final = await got.get_final_completion()
    message = final.choices[0].message
    assert message.role == "assistant"
    assert message.tool_calls is not None
    assert [call.id for call in message.tool_calls] == ["call_1"]
    assert message.tool_calls[0].function.name == "get_weather"
    assert message.tool_calls[0].function.arguments == '{"city": "Paris"}'
    assert final.choices[0].finish_reason == "tool_calls"
    assert gateway.main.requests[0].json()["tools"] == TOOLS


async def test_a_whole_tool_call(gateway: Gateway) -> None:
    answer = completion("", finish="tool_calls")
    call = {"id": "call_9", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'}}
    answer["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
    gateway.play(reply_json(answer))
    async with gateway.async_client() as client:
        got = await client.chat.completions.create(model="chat", messages=MESSAGES, tools=TOOLS, tool_choice="required")
    calls = got.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.arguments == '{"city":"Rome"}'


async def test_simulated_providers_call_tools_streamed_and_not(gateway: Gateway) -> None:
    async with gateway.async_client() as client:
        whole = await client.chat.completions.create(
            model="sim", messages=MESSAGES, tools=TOOLS, tool_choice="required", seed=1
        )
        async with client.chat.completions.stream(
            model="sim", messages=MESSAGES, tools=TOOLS, tool_choice="required", seed=1
        ) as got:
            final = await got.get_final_completion()
    one, other = whole.choices[0].message.tool_calls, final.choices[0].message.tool_calls
    assert one is not None
    assert other is not None
    assert one[0].type == "function"
    assert one[0].function.name == other[0].function.name == "get_weather"
    assert one[0].function.arguments == other[0].function.arguments


async def test_parse_gives_the_model_that_was_asked_for(gateway: Gateway) -> None:
    async with gateway.async_client() as client:
        got = await client.chat.completions.parse(model="sim", messages=MESSAGES, response_format=Answer)
    parsed = got.choices[0].message.parsed
    assert isinstance(parsed, Answer)
    assert got.choices[0].message.refusal is None
