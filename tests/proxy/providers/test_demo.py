"""The simulated transport, with a sleep that only takes notes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import httpx
import orjson
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from proxy.providers.demo import DemoTransport
from proxy.providers.simulated import DemoProfile

URL = "https://demo.test/v1/chat/completions"
CALM = DemoProfile("calm", 0.5, 0.01, spread=0.0, per_token_spread=0.0)


class Sleeper:
    """Notes how long it was asked to sleep, and lets others run once."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    async def __call__(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)
        await asyncio.sleep(0)


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()


@pytest.fixture
def make(sleeper: Sleeper) -> Callable[..., DemoTransport]:
    def build(profile: DemoProfile = CALM, seed: int = 1) -> DemoTransport:
        return DemoTransport(profile, sleep=sleeper, rng=random.Random(seed), clock=lambda: 1_750_000_000.9)

    return build


Make = Callable[..., DemoTransport]


def with_rates(**rates: float) -> DemoProfile:
    return DemoProfile("faulty", 0.5, 0.01, spread=0.0, per_token_spread=0.0, **rates)


def request(*, stream: bool = False, timeout: dict[str, float | None] | None = None, **fields: object) -> httpx.Request:
    body = {"model": "demo-fast", "messages": [{"role": "user", "content": "Hello"}], "stream": stream, **fields}
    return httpx.Request("POST", URL, content=orjson.dumps(body), extensions={"timeout": timeout} if timeout else {})


def stream_of(response: httpx.Response) -> AsyncIterator[bytes]:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return aiter(response.stream)


async def test_an_http_client_gets_the_same_words_streamed_and_not(make: Make) -> None:
    async with httpx.AsyncClient(transport=make()) as client:
        body = {"model": "demo-fast", "messages": [{"role": "user", "content": "Hello"}]}
        whole = ChatCompletion.model_validate_json((await client.post(URL, json=body)).content, strict=True)
        streamed = (await client.post(URL, json={**body, "stream": True})).content
    *events, last = streamed.removesuffix(b"\n\n").split(b"\n\n")
    chunks = [ChatCompletionChunk.model_validate_json(event.removeprefix(b"data: "), strict=True) for event in events]
    assert last == b"data: [DONE]"
    assert "".join([chunk.choices[0].delta.content or "" for chunk in chunks]) == whole.choices[0].message.content
    assert {whole.created, *(chunk.created for chunk in chunks)} == {1_750_000_000}
    assert {whole.id} == {chunk.id for chunk in chunks}


async def test_other_urls_and_methods_are_404(make: Make) -> None:
    transport = make()
    for other in (httpx.Request("GET", URL), httpx.Request("POST", "https://demo.test/v1/images", content=b"{}")):
        response = await transport.handle_async_request(other)
        assert response.status_code == 404
        assert (
            orjson.loads(await response.aread())["error"]["message"] == f"Invalid URL ({other.method} {other.url.path})"
        )


async def test_a_bad_request_is_400_at_once(make: Make, sleeper: Sleeper) -> None:
    response = await make().handle_async_request(httpx.Request("POST", URL, content=b'{"model": "x"}'))
    assert response.status_code == 400
    assert orjson.loads(await response.aread())["error"]["param"] == "messages"
    assert sleeper.slept_s == []


@pytest.mark.parametrize(("stream", "kind"), [(False, "application/json"), (True, "text/event-stream; charset=utf-8")])
async def test_headers_are_openais(make: Make, stream: bool, kind: str) -> None:
    response = await make().handle_async_request(request(stream=stream))
    assert response.headers["content-type"] == kind
    assert response.headers["x-request-id"].startswith("req_")
    assert int(response.headers["openai-processing-ms"]) >= 500
    assert response.headers["x-ratelimit-remaining-requests"] == "9999"
    assert int(response.headers["x-ratelimit-remaining-tokens"]) < 2_000_000
    await response.aclose()


async def test_request_ids_differ_though_the_words_are_the_same(make: Make) -> None:
    transport = make()
    first, second = [await transport.handle_async_request(request()) for _ in range(2)]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.content == second.content


async def test_a_whole_answer_takes_as_long_as_all_its_tokens(make: Make, sleeper: Sleeper) -> None:
    response = await make().handle_async_request(request(n=2))
    longest = max(len(choice) for choice in await two_choices(make))
    assert sleeper.slept_s[:1] == [pytest.approx(0.5 + 0.01 * longest)]
    assert response.headers["openai-processing-ms"] == str(round(1000 * (0.5 + 0.01 * longest)))


async def two_choices(make: Make) -> list[list[str]]:
    response = await make().handle_async_request(request(stream=True, n=2))
    events = (await response.aread()).removesuffix(b"\n\n").split(b"\n\n")[:-1]
    choices = [orjson.loads(event.removeprefix(b"data: "))["choices"][0] for event in events]
    return [[c["delta"]["content"] for c in choices if c["index"] == at and c["delta"].get("content")] for at in (0, 1)]


async def test_a_stream_begins_with_its_first_token_and_goes_on_token_by_token(make: Make, sleeper: Sleeper) -> None:
    transport = make()
    response = await transport.handle_async_request(request(stream=True))
    assert sleeper.slept_s == [0.5]
    steps = stream_of(response)
    first = await anext(steps)
    assert b'"content":"This"' in first
    assert sleeper.slept_s == [0.5]
    await anext(steps)
    assert sleeper.slept_s == [0.5, pytest.approx(0.01)]
    await response.aclose()


@pytest.mark.parametrize("timeout", [None, {"first_byte": 60.0, "idle": 60.0, "total": None}])
async def test_a_stream_read_to_its_end_is_no_longer_active(
    make: Make, timeout: dict[str, float | None] | None
) -> None:
    transport = make()
    response = await transport.handle_async_request(request(stream=True, timeout=timeout))
    assert transport.active == 1
    assert (await response.aread()).endswith(b"data: [DONE]\n\n")
    assert transport.active == 0


async def test_a_closed_stream_stops_at_once(make: Make) -> None:
    transport = make()
    response = await transport.handle_async_request(request(stream=True))
    unread = await transport.handle_async_request(request(stream=True))
    steps = stream_of(response)
    await anext(steps)
    for closed in (response, response, unread):
        await closed.aclose()
    assert transport.active == 0
    with pytest.raises(StopAsyncIteration):
        await anext(steps)
    assert transport.steps_sent == 1


async def test_a_stream_closed_while_it_waits_says_nothing_more() -> None:
    gate = asyncio.Event()
    naps = iter([0.0])

    async def sleep(delay_s: float) -> None:
        if next(naps, None) is None:
            await gate.wait()

    transport = DemoTransport(CALM, sleep=sleep, rng=random.Random(1))
    response = await transport.handle_async_request(request(stream=True))
    steps = stream_of(response)
    await anext(steps)
    waiting = asyncio.ensure_future(anext(steps, b"end"))
    await asyncio.sleep(0)
    await response.aclose()
    assert transport.active == 0
    gate.set()
    assert await waiting == b"end"
    assert transport.steps_sent == 1


async def test_a_cancelled_request_is_given_back() -> None:
    async def sleep(delay_s: float) -> None:
        await asyncio.Event().wait()

    transport = DemoTransport(CALM, sleep=sleep)
    task = asyncio.create_task(transport.handle_async_request(request()))
    await asyncio.sleep(0)
    assert transport.active == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert transport.active == 0


async def test_errors_are_of_mixed_kinds_and_come_after_the_first_token_time(make: Make, sleeper: Sleeper) -> None:
    transport = make(with_rates(error_rate=1.0))
    responses = [await transport.handle_async_request(request(stream=True)) for _ in range(30)]
    assert {response.status_code for response in responses} == {500, 503, 429}
    assert all(response.headers["retry-after"] == "1" for response in responses if response.status_code == 429)
    assert sleeper.slept_s == [0.5] * 30
    assert transport.active == 0


async def test_a_cut_stream_dies_after_some_content(make: Make) -> None:
    for seed in range(10):
        transport = make(with_rates(cut_rate=1.0), seed)
        response = await transport.handle_async_request(request(stream=True))
        blocks = [block async for block in until_broken(response)]
        assert b'"content":"This"' in blocks[0]
        assert b"[DONE]" not in b"".join(blocks)
        assert transport.active == 0


async def until_broken(response: httpx.Response) -> AsyncIterator[bytes]:
    steps = stream_of(response)
    while True:
        try:
            block = await anext(steps)
        except httpx.ReadError:
            return
        except StopAsyncIteration:
            pytest.fail("the stream ended in peace")
        yield block


async def test_a_cut_body_ends_before_its_announced_length(make: Make) -> None:
    response = await make(with_rates(cut_rate=1.0)).handle_async_request(request())
    assert response.status_code == 200
    body = stream_of(response)
    start = await anext(body)
    assert 0 < len(start) < int(response.headers["content-length"])
    with pytest.raises(httpx.ReadError):
        await anext(body)


async def test_a_hanging_provider_waits_until_it_is_cancelled(make: Make, sleeper: Sleeper) -> None:
    transport = make(with_rates(hang_rate=1.0))
    task = asyncio.create_task(transport.handle_async_request(request()))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (transport.active, sleeper.slept_s) == (0, [])


@pytest.mark.parametrize(
    ("profile", "timeout", "slept_s"),
    [
        (with_rates(hang_rate=1.0), {"first_byte": 2.0, "idle": None, "total": None}, [2.0]),
        (with_rates(hang_rate=1.0), {"first_byte": None, "idle": None, "total": 3.0}, [3.0]),
        (with_rates(error_rate=1.0), {"first_byte": 0.2}, [0.2]),
        (CALM, {"first_byte": 0.2}, [0.2]),
        (CALM, {"first_byte": 9.0, "total": 0.3}, [0.3]),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_late_first_byte_is_a_read_timeout(
    make: Make,
    sleeper: Sleeper,
    profile: DemoProfile,
    timeout: dict[str, float | None],
    slept_s: list[float],
    stream: bool,
) -> None:
    transport = make(profile)
    with pytest.raises(httpx.ReadTimeout):
        await transport.handle_async_request(request(stream=stream, timeout=timeout))
    assert sleeper.slept_s == slept_s
    assert transport.active == 0


@pytest.mark.parametrize(("timeout", "steps"), [({"idle": 0.005}, 1), ({"total": 0.525}, 3)])
async def test_a_stream_too_slow_is_a_read_timeout(make: Make, timeout: dict[str, float | None], steps: int) -> None:
    transport = make()
    response = await transport.handle_async_request(request(stream=True, timeout=timeout))
    with pytest.raises(httpx.ReadTimeout):
        await response.aread()
    assert transport.steps_sent == steps
    assert transport.active == 0
