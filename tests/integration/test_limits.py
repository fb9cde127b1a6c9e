"""Rates of teams and keys, as the official SDK meets them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes import completion, sse_chunks
from tests.integration.gateway import ANSWER, KEY, PROMPT, SEARCH_KEY, Gateway, running_gateway, until
from tests.upstream import hang, play, reply_json, stream

pytestmark = pytest.mark.integration

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": PROMPT}]


def _limits(team: str, key: str = "{}") -> dict[str, str]:
    """Limits of the team `platform`, and of its key `ci`."""
    old = f'keys: [{{name: ci, key: "{KEY}"}}]'
    return {old: f'limits: {team}\n    keys: [{{name: ci, key: "{KEY}", limits: {key}}}]'}


def _refusals(limit: str) -> str:
    return f'llm_limit_refusals_total{{limit="{limit}",team="platform"}}'


async def _ask(gateway: Gateway, key: str = KEY, **options: int) -> dict[str, str]:
    """The headers of an answer."""
    async with gateway.async_client(key, **{"max_retries": 0, **options}) as client:
        raw = await client.chat.completions.with_raw_response.create(model="chat", messages=MESSAGES)
    assert raw.parse().choices[0].message.content == ANSWER
    return dict(raw.headers)


async def test_a_used_up_rate_is_a_rate_limit_error_that_says_when_to_come_again(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, changes=_limits("{rpm: 3, tpm: 50k}", "{rpm: 2}")) as gateway:
        headers = await _ask(gateway)
        assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("2", "1")
        assert headers["x-ratelimit-reset-requests"].startswith(("59.", "1m"))
        assert headers["x-ratelimit-limit-tokens"] == "50000"
        assert 48_000 < int(headers["x-ratelimit-remaining-tokens"]) < 50_000
        gateway.play(stream(sse_chunks("Hello")))
        async with gateway.async_client(max_retries=0) as client:
            raw = await client.chat.completions.with_raw_response.create(model="chat", messages=MESSAGES, stream=True)
            assert [chunk async for chunk in raw.parse()]
            assert raw.headers["x-ratelimit-remaining-requests"] == "0"
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(model="chat", messages=MESSAGES)
        error, told = caught.value, caught.value.response.headers
        assert (error.code, error.type) == ("rate_limit_exceeded", "requests")
        assert "Your key's limit on requests a minute is reached: 2." in error.message
        assert 50_000 < int(told["retry-after-ms"]) <= 60_500
        assert int(told["retry-after"]) * 1000 >= int(told["retry-after-ms"])
        assert (told["x-ratelimit-remaining-requests"], gateway.asked) == ("0", 2)
        gateway.reset()
        assert "x-ratelimit-limit-requests" not in await _ask(gateway, SEARCH_KEY)
        assert gateway.server.metric(_refusals("key_rpm")) == 1
        await until(lambda: any(event.get("limit") == "key_rpm" for event in gateway.server.log.events()))


async def test_the_sdk_waits_as_long_as_it_is_told_and_is_answered(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, changes=_limits("{concurrency: 1}")) as gateway:
        gateway.play(play(0.6, *reply_json(completion(ANSWER)).steps), reply_json(completion(ANSWER)))
        slow = asyncio.create_task(_ask(gateway))
        await until(lambda: gateway.asked == 1)
        started = time.monotonic()
        await _ask(gateway, max_retries=1)
        assert time.monotonic() - started >= 0.9
        await slow
        assert gateway.server.metric(_refusals("team_concurrency")) == 1


async def test_a_place_is_free_as_soon_as_the_last_byte_is_there(tmp_path: Path) -> None:
    """Whoever streams one call after the other is never refused for the one that has just ended, although its provider
    holds the connection a little longer.
    """
    async with running_gateway(tmp_path, changes=_limits("{concurrency: 1}")) as gateway:
        steps = stream(sse_chunks("Hello")).steps
        gateway.play(play(*steps[:-1], 0.3, *steps[-1:]))
        async with gateway.async_client(max_retries=0) as client:
            for _ in range(4):
                answer = await client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
                assert [chunk async for chunk in answer]
        assert gateway.asked == 4
        # A client that leaves frees its place too.
        gateway.play(hang())
        call = asyncio.create_task(_ask(gateway))
        await until(lambda: gateway.asked == 5)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        gateway.reset()
        await until(lambda: gateway.server.metric("llm_active_requests") == 0)
        await _ask(gateway)
