"""How failures reach the official SDK: as the exception that the same failure of OpenAI's would be, tried once."""

from __future__ import annotations

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from tests.fakes import completion, error_body, sse_chunks
from tests.integration.gateway import ANSWER, PROMPT, PROVIDER_KEY, SEARCH_KEY, Gateway
from tests.upstream import Behaviour, End, hang, play, reply_html, reply_json, stream

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": PROMPT}]


async def test_a_wrong_key_is_an_authentication_error(gateway: Gateway) -> None:
    async with gateway.async_client("sk-wrong") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="chat", messages=MESSAGES)
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id is not None
    assert gateway.asked == 0


async def test_an_unknown_model_is_a_not_found_error(gateway: Gateway) -> None:
    async with gateway.async_client() as client:
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.create(model="gpt-9", messages=MESSAGES)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_a_model_that_is_not_allowed_is_a_permission_error(gateway: Gateway) -> None:
    async with gateway.async_client(SEARCH_KEY) as client:
        with pytest.raises(openai.PermissionDeniedError) as caught:
            await client.chat.completions.create(model="sim", messages=MESSAGES)
    assert caught.value.code == "model_not_allowed"


async def test_a_fallback_opens_no_model_that_the_team_may_not_use(gateway: Gateway) -> None:
    gateway.play(reply_json(error_body(), 500))
    async with gateway.async_client(SEARCH_KEY) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="falls-back", messages=MESSAGES)
    assert caught.value.status_code == 502
    assert gateway.spare.requests == []


async def test_a_fallback_answers_and_is_named(gateway: Gateway) -> None:
    gateway.play(reply_json(error_body(), 500))
    async with gateway.async_client() as client:
        raw = await client.chat.completions.with_raw_response.create(model="falls-back", messages=MESSAGES)
    assert raw.headers["x-waystation-fallback"] == "spare"
    assert raw.headers["x-waystation-provider"] == "spare"
    assert raw.headers["x-waystation-attempts"] == "2"


async def test_a_bad_request_names_the_parameter(gateway: Gateway) -> None:
    async with gateway.async_client() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="chat", messages=MESSAGES, temperature="hot")  # type: ignore[call-overload]
    assert caught.value.param == "temperature"
    assert gateway.asked == 0


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (reply_json(error_body(), 500), 502, "upstream_error"),
        (reply_json(error_body("Slow down."), 503), 503, "upstream_unavailable"),
        (
            reply_json(error_body("Wrong key.", "invalid_request_error", "invalid_api_key"), 401),
            502,
            "upstream_auth_error",
        ),
        (reply_json(error_body("No.", "x", "model_not_found"), 404), 502, "upstream_misconfigured"),
        (
            reply_json(error_body("Pay.", "insufficient_quota", "insufficient_quota"), 429),
            503,
            "upstream_quota_exhausted",
        ),
        (reply_html(), 502, "upstream_error"),
        (play(end=End.CLOSE), 502, "upstream_error"),
    ],
)
async def test_the_sdk_does_not_repeat_what_the_gateway_has_tried(
    gateway: Gateway, behaviour: Behaviour, status: int, code: str
) -> None:
    gateway.play(behaviour)
    async with gateway.async_client() as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model="chat", messages=MESSAGES)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.type == "upstream_error"
    assert PROVIDER_KEY not in str(caught.value)
    assert len(gateway.main.requests) == 1


async def test_a_provider_that_cannot_be_reached_is_unavailable(gateway: Gateway) -> None:
    async with gateway.async_client() as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="refused", messages=MESSAGES)
    assert (caught.value.status_code, caught.value.code) == (503, "upstream_unavailable")
    assert "127.0.0.1" not in str(caught.value)


async def test_a_provider_that_is_silent_is_a_timeout(gateway: Gateway) -> None:
    gateway.play(hang())
    async with gateway.async_client() as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
    assert len(gateway.main.requests) == 1


async def test_a_providers_400_keeps_its_words_but_not_our_key(gateway: Gateway) -> None:
    said = f"Bad schema for key {PROVIDER_KEY} at {gateway.main.url}/v1."
    gateway.play(reply_json(error_body(said, "invalid_request_error", "invalid_schema", "response_format"), 400))
    async with gateway.async_client() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="pair", messages=MESSAGES)
    assert caught.value.message.startswith("Error code: 400") or "Bad schema" in caught.value.message
    assert (caught.value.code, caught.value.param) == ("invalid_schema", "response_format")
    assert PROVIDER_KEY not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    assert len(gateway.main.requests) == 1


async def test_a_providers_429_is_a_rate_limit_with_its_retry_after(gateway: Gateway) -> None:
    limited = reply_json(error_body("Slow down.", "requests", "rate_limit_exceeded"), 429, ("Retry-After-Ms", "150"))
    gateway.play(limited, reply_json(completion(ANSWER)))
    async with gateway.async_client(max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="chat", messages=MESSAGES)
    assert caught.value.response.headers["retry-after-ms"] == "150"
    assert caught.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
@pytest.mark.parametrize("model", ["chat", "chat-httpx"])
async def test_a_cut_stream_raises(gateway: Gateway, end: End, model: str) -> None:
    gateway.play(stream(sse_chunks("one ", "two", finish=None, done=False), delay_s=0.01, complete=False, end=end))
    chunks: list[ChatCompletionChunk] = []
    async with gateway.async_client() as client:
        events = await client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError) as caught:
            await _collect(events, chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two"
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)
    assert caught.value.code == "upstream_error"
    assert len(gateway.main.requests) == 1


async def _collect(events: openai.AsyncStream[ChatCompletionChunk], chunks: list[ChatCompletionChunk]) -> None:
    """Append to `chunks` as long as it goes well."""
    async for chunk in events:
        chunks.append(chunk)  # noqa: PERF401  # what came before the failure counts too
