"""The official SDK against the running gateway: what works with OpenAI must work here, unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from tests.fakes import sse_chunks
from tests.integration.gateway import ANSWER, KEY, PROMPT, PROVIDER_KEY, SEARCH_KEY, Gateway
from tests.upstream import stream

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": PROMPT}]
Result = TypeVar("Result")


async def _in_thread(gateway: Gateway, use: Callable[[OpenAI], Result], key: str = KEY) -> Result:
    """The synchronous client, on a thread: the providers answer from this one."""

    def run() -> Result:
        with gateway.client(key) as client:
            return use(client)

    return await asyncio.to_thread(run)


def _text(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_a_synchronous_call(gateway: Gateway) -> None:
    answer = await _in_thread(gateway, lambda client: client.chat.completions.create(model="chat", messages=MESSAGES))
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 2)
    assert answer._request_id is not None
    assert answer._request_id.startswith("req_")


async def test_an_asynchronous_call(gateway: Gateway) -> None:
    async with gateway.async_client() as client:
        answer = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert answer.choices[0].message.content == ANSWER
    assert gateway.main.requests[0].json()["model"] == "up-chat"


async def test_the_answer_names_the_model_that_the_provider_named(gateway: Gateway) -> None:
    async with gateway.async_client() as client:
        answer = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert answer.model == "upstream-model"


async def test_a_synchronous_stream(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("one ", "two ", "three")))
    chunks = await _in_thread(
        gateway, lambda client: list(client.chat.completions.create(model="chat", messages=MESSAGES, stream=True))
    )
    assert _text(chunks) == "one two three"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert [chunk.choices[0].delta.role for chunk in chunks].count("assistant") == 1


async def test_an_asynchronous_stream(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("one ", "two ", "three")))
    async with gateway.async_client() as client:
        events = await client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
        chunks = [chunk async for chunk in events]
    assert _text(chunks) == "one two three"


async def test_usage_is_asked_of_the_provider_and_hidden_from_who_did_not_ask(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("one", usage=(11, 7))))
    async with gateway.async_client() as client:
        events = await client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
        chunks = [chunk async for chunk in events]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert gateway.main.requests[0].json()["stream_options"] == {"include_usage": True}


async def test_usage_comes_last_for_who_asked(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("one", usage=(11, 7))))
    async with gateway.async_client() as client:
        events = await client.chat.completions.create(
            model="chat", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in events]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (11, 7)
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_the_stream_helper_accumulates(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("one ", "two", usage=(11, 7))))
    async with gateway.async_client() as client, client.chat.completions.stream(model="chat", messages=MESSAGES) as got:
        kinds = [event.type async for event in got]
        final = await got.get_final_completion()
    assert kinds.count("content.delta") == 3  # the role comes with an empty one
    assert kinds[-1] == "content.done"
    assert final.choices[0].message.content == "one two"
    assert final.choices[0].message.role == "assistant"


async def test_two_choices(gateway: Gateway) -> None:
    async with gateway.async_client() as client:
        whole = await client.chat.completions.create(model="sim", messages=MESSAGES, n=2)
        events = await client.chat.completions.create(model="sim", messages=MESSAGES, n=2, stream=True)
        chunks = [chunk async for chunk in events]
    assert [choice.index for choice in whole.choices] == [0, 1]
    finished = {choice.index for chunk in chunks for choice in chunk.choices if choice.finish_reason}
    assert finished == {0, 1}


async def test_raw_responses_tell_who_answered(gateway: Gateway) -> None:
    async with gateway.async_client() as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="chat", messages=MESSAGES, extra_headers={"X-Request-Id": "mine-1"}
        )
        answer = raw.parse()
    assert answer.choices[0].message.content == ANSWER
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-waystation-provider"] == "main"
    assert raw.headers["x-waystation-model"] == "up-chat"
    assert raw.headers["x-waystation-strategy"] == "round_robin"
    assert raw.headers["x-waystation-attempts"] == "1"
    assert raw.headers["x-waystation-cache"] == "bypass"
    assert "x-waystation-fallback" not in raw.headers
    assert 0 < float(raw.headers["x-waystation-overhead-ms"]) < 1000
    assert "server" not in raw.headers


async def test_a_streams_head_tells_who_answers(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("one")))
    async with gateway.async_client() as client:
        raw = await client.chat.completions.with_raw_response.create(model="chat", messages=MESSAGES, stream=True)
        chunks = [chunk async for chunk in raw.parse()]
    assert _text(chunks) == "one"
    assert raw.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert raw.headers["cache-control"] == "no-cache"
    assert raw.headers["x-waystation-provider"] == "main"
    assert raw.headers["x-request-id"].startswith("req_")


async def test_models_lists_names_and_aliases(gateway: Gateway) -> None:
    async with gateway.async_client() as client:
        page = await client.models.list()
        alias = await client.models.retrieve("org/chat-v1")
    names = [model.id for model in page.data]
    assert names[:4] == ["chat", "gpt-4o-mini", "org/chat-v1", "chat-httpx"]
    assert "sim" in names
    assert alias.id == "org/chat-v1"
    assert alias.object == "model"
    assert alias.created > 1_700_000_000


async def test_models_shows_a_team_its_own_only(gateway: Gateway) -> None:
    async with gateway.async_client(SEARCH_KEY) as client:
        page = await client.models.list()
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("sim")
    assert [model.id for model in page.data] == ["chat", "gpt-4o-mini", "org/chat-v1", "falls-back"]
    assert caught.value.code == "model_not_found"


async def test_unknown_fields_reach_the_provider_untouched(gateway: Gateway) -> None:
    extra = {
        "top_k": 7,
        "thinking": {"type": "enabled", "budget": [1, 2.5, None, True, "\u00fcn\u00efcode \U0001f600"]},
        "big": 12345678901234567,
    }
    async with gateway.async_client() as client:
        await client.chat.completions.create(
            model="chat",
            messages=[{"role": "developer", "content": "Be brief."}, *MESSAGES],
            metadata={"team": "a"},
            logit_bias={"50256": -100},
            seed=4,
            extra_body=extra,
        )
    sent = gateway.main.requests[0].json()
    for name, value in extra.items():
        assert sent[name] == value
    assert sent["metadata"] == {"team": "a"}
    assert sent["logit_bias"] == {"50256": -100}
    assert sent["messages"][0] == {"role": "developer", "content": "Be brief."}
    assert sent["model"] == "up-chat"


@pytest.mark.parametrize("model", ["chat", "chat-httpx"])
async def test_nothing_of_the_clients_headers_reaches_the_provider(gateway: Gateway, model: str) -> None:
    async with gateway.async_client(organization="org-1", project="proj-1") as client:
        await client.chat.completions.create(
            model=model,
            messages=MESSAGES,
            extra_headers={
                "Cookie": "session=1",
                "X-Forwarded-For": "10.0.0.1",
                "X-Custom": "1",
                "Referer": "http://a",
            },
        )
    (received,) = gateway.main.requests
    names = [name.lower() for name, _ in received.headers]
    assert sorted(names) == ["accept-encoding", "authorization", "content-length", "content-type", "host"]
    assert received.header("authorization") == f"Bearer {PROVIDER_KEY}"
    assert received.header("accept-encoding") == "identity"
    assert received.header("host") == gateway.main.url.removeprefix("http://")
    assert KEY.encode() not in received.raw
    assert (received.method, received.target) == ("POST", "/v1/chat/completions")


async def test_unicode_survives_both_ways(gateway: Gateway) -> None:
    text = 'h\u00e9llo \u4f60\u597d \U0001f468\u200d\U0001f469 \u202e \u0000 \\ "quoted"'
    gateway.play(stream(sse_chunks(text, text)))
    async with gateway.async_client() as client:
        events = await client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": text}], stream=True
        )
        chunks = [chunk async for chunk in events]
    assert _text(chunks) == text * 2
    assert gateway.main.requests[0].json()["messages"][0]["content"] == text


async def test_fifty_calls_at_once_each_get_their_own_answer(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks(ANSWER, usage=(1, 1)), delay_s=0.01))
    async with gateway.async_client() as client:

        async def ask(index: int) -> tuple[str, str]:
            raw = await client.chat.completions.with_raw_response.create(
                model="chat", messages=MESSAGES, stream=True, extra_headers={"X-Request-Id": f"many-{index}"}
            )
            return raw.headers["x-request-id"], _text([chunk async for chunk in raw.parse()])

        answers = await asyncio.gather(*(ask(index) for index in range(50)))
    assert answers == [(f"many-{index}", ANSWER) for index in range(50)]
    assert len(gateway.main.requests) == 50
