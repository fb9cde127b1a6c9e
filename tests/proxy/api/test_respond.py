import asyncio
import json
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest

from proxy.api.respond import Exchange, Pace
from proxy.call import Answer, Attempt, CacheNote, Call
from proxy.errors import ModelNotAllowed, UpstreamError
from tests.calls import Client, ScriptedStream, a_call, never

PACE = Pace(commit_after_s=60, comment_every_s=60)
DONE = b"data: [DONE]\n\n"
HELLO = b'data: {"choices":[]}\n\n'


def json_answer(body: bytes = b'{"ok":true}') -> Callable[[Call], Awaitable[Answer]]:
    async def handle(call: Call) -> Answer:
        call.strategy = "round_robin"
        call.attempts.append(Attempt("openai/gpt", "gpt", "openai", 0.0))
        return Answer(200, ((b"content-type", b"application/json"),), "upstream", body)

    return handle


def stream_answer(stream: ScriptedStream, after_s: float = 0.0) -> Callable[[Call], Awaitable[Answer]]:
    async def handle(call: Call) -> Answer:
        await asyncio.sleep(after_s)
        call.closing.push_async_callback(stream.aclose)
        return Answer(200, ((b"content-type", b"text/event-stream"),), "upstream", blocks=stream)

    return handle


async def run(
    handler: Callable[[Call], Awaitable[Answer]], *, stream: bool = False, pace: Pace = PACE
) -> tuple[Client, Call]:
    client, call = Client(), a_call(stream=stream)
    await asyncio.wait_for(Exchange(call, handler, client.receive, client.send, pace).run(), 5)
    return client, call


def is_closed(call: Call) -> list[str]:
    seen: list[str] = []
    call.closing.callback(seen.append, "closed")
    return seen


async def test_a_json_answer_goes_out_whole_with_the_headers_that_explain_it() -> None:
    client, call = await run(json_answer())
    assert (client.status, client.body, client.is_complete) == (200, b'{"ok":true}', True)
    headers = client.headers
    assert headers[b"content-length"] == b"11"
    assert headers[b"x-request-id"] == b"req_1"
    assert headers[b"x-waystation-provider"] == b"openai"
    assert headers[b"x-waystation-model"] == b"gpt"
    assert headers[b"x-waystation-strategy"] == b"round_robin"
    assert headers[b"x-waystation-attempts"] == b"1"
    assert float(headers[b"x-waystation-overhead-ms"]) >= 0
    assert call.status == 200


def with_rates(handler: Callable[[Call], Awaitable[Answer]], told: list[str], client: Client) -> Any:
    """The handler, for a call that has a rate to tell of and something to free."""

    async def handle(call: Call) -> Answer:
        call.rate_headers = lambda: ((b"x-ratelimit-remaining-requests", b"7"),)
        call.on_last_byte.append(lambda: told.append(f"after {len(client.messages)} messages"))
        call.closing.callback(told.append, "closed")
        return await handler(call)

    return handle


async def _fail(call: Call) -> Answer:
    raise ModelNotAllowed("no")


@pytest.mark.parametrize("kind", ["json", "stream", "error", "cut"])
async def test_rates_are_told_with_every_answer_and_what_is_held_is_freed_before_the_last_byte(kind: str) -> None:
    lasting = asyncio.Event()

    async def linger() -> None:
        await lasting.wait()

    async def slow_to_close(call: Call) -> Answer:
        call.closing.push_async_callback(linger)
        script: list[bytes | Exception | float] = [HELLO, UpstreamError("gone")] if kind == "cut" else [HELLO, DONE]
        return await {"json": json_answer(), "error": _fail}.get(kind, stream_answer(ScriptedStream(script)))(call)

    client, told, call = Client(), list[str](), a_call(stream=kind in ("stream", "cut"))
    handler = with_rates(slow_to_close, told, client)
    task = asyncio.create_task(Exchange(call, handler, client.receive, client.send, PACE).run())
    while not (client.messages and client.is_complete):
        await asyncio.sleep(0)
    assert client.headers[b"x-ratelimit-remaining-requests"] == b"7"
    assert told in ([f"after {len(client.messages) - 1} messages"], [f"after {len(client.messages) - 2} messages"])
    lasting.set()
    await asyncio.wait_for(task, 5)
    assert told[1:] == ["closed"]


async def test_a_stream_goes_out_block_by_block_and_done_ends_it() -> None:
    client, call = await run(stream_answer(ScriptedStream([HELLO, HELLO + DONE])), stream=True)
    assert [message.get("body") for message in client.messages[1:]] == [HELLO, HELLO + DONE]
    assert client.is_complete
    assert call.error is None


async def test_a_refusal_is_written_in_openais_shape_with_its_status() -> None:
    async def refuse(call: Call) -> Answer:
        raise ModelNotAllowed("Not yours.")

    client, call = await run(refuse)
    assert client.status == 403
    assert json.loads(client.body)["error"]["code"] == "model_not_allowed"
    assert client.headers[b"x-should-retry"] == b"false"
    assert (call.status, call.error) == (403, "model_not_allowed")


async def test_a_stream_that_breaks_ends_with_an_error_event_and_no_done() -> None:
    client, call = await run(stream_answer(ScriptedStream([HELLO, UpstreamError("cut")])), stream=True)
    last = client.messages[-1]
    assert last["body"].startswith(b'data: {"error":')
    assert DONE not in client.body
    assert client.is_complete
    assert (call.status, call.error) == (502, "upstream_error")


async def test_what_breaks_after_done_spoils_nothing() -> None:
    client, call = await run(stream_answer(ScriptedStream([HELLO + DONE, UpstreamError("late")])), stream=True)
    assert client.body == HELLO + DONE
    assert (call.status, call.error) == (200, None)


async def test_a_fault_of_ours_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def break_down(call: Call) -> Answer:
        raise RuntimeError("sk-secret")

    client, call = await run(break_down)
    assert client.status == 500
    assert b"secret" not in client.body
    assert call.error == "internal"
    assert "internal error" in caplog.text


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cancels_the_work_and_gets_nothing(stream: bool) -> None:
    client, call = Client(), a_call(stream=stream)
    closed = is_closed(call)
    task = asyncio.create_task(Exchange(call, never(), client.receive, client.send, PACE).run())
    await asyncio.sleep(0)
    client.leave()
    await asyncio.wait_for(task, 1)
    assert client.messages == []
    assert (call.status, call.error, closed) == (499, "client_gone", ["closed"])


async def test_a_client_that_leaves_mid_stream_closes_the_upstream() -> None:
    client, call = Client(), a_call(stream=True)
    stream = ScriptedStream([HELLO, 60.0, DONE])
    task = asyncio.create_task(Exchange(call, stream_answer(stream), client.receive, client.send, PACE).run())
    while len(client.messages) < 2:
        await asyncio.sleep(0)
    client.leave()
    await asyncio.wait_for(task, 1)
    assert stream.closed
    assert call.status == 499


@pytest.mark.parametrize("started", [True, False])
async def test_a_call_that_outlives_the_drain_ends_with_an_error_it_can_retry_on(started: bool) -> None:
    client, call = Client(), a_call(stream=True)
    handler = stream_answer(ScriptedStream([HELLO, 60.0])) if started else never()
    exchange = Exchange(call, handler, client.receive, client.send, PACE)
    task = asyncio.create_task(exchange.run())
    while len(client.messages) < (2 if started else 0):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    exchange.stop("draining")
    await asyncio.wait_for(task, 1)
    assert client.is_complete
    assert b'"code":"overloaded"' in client.body
    assert client.status == (200 if started else 503)
    assert (call.status, call.error) == (503, "overloaded")


async def test_a_silent_stream_is_committed_and_kept_alive_while_work_goes_on_behind() -> None:
    pace = Pace(commit_after_s=0.02, comment_every_s=0.02)
    client, _ = await run(stream_answer(ScriptedStream([HELLO + DONE]), after_s=0.1), stream=True, pace=pace)
    assert client.status == 200
    assert client.headers[b"content-type"].startswith(b"text/event-stream")
    comments = client.body.count(b": keep-alive\n\n")
    assert 2 <= comments <= 5
    assert client.body.endswith(HELLO + DONE)
    assert sum(message["type"] == "http.response.start" for message in client.messages) == 1


async def test_silence_in_the_middle_of_a_stream_is_filled_with_comments() -> None:
    pace = Pace(commit_after_s=60, comment_every_s=0.02)
    client, _ = await run(stream_answer(ScriptedStream([HELLO, 0.07, HELLO + DONE])), stream=True, pace=pace)
    assert 1 <= client.body.count(b": keep-alive\n\n") <= 3


async def test_a_failure_after_the_commit_is_an_error_event() -> None:
    async def fail_late(call: Call) -> Answer:
        await asyncio.sleep(0.05)
        raise UpstreamError("all failed")

    client, call = await run(fail_late, stream=True, pace=Pace(0.01, 60))
    assert client.status == 200
    assert client.body.startswith(b': keep-alive\n\ndata: {"error":')
    assert client.is_complete
    assert call.status == 502


async def test_an_unstreamed_call_gets_no_comments() -> None:
    async def slow(call: Call) -> Answer:
        await asyncio.sleep(0.05)
        return await json_answer()(call)

    client, _ = await run(slow, pace=Pace(0.01, 0.01))
    assert client.body == b'{"ok":true}'


async def test_the_call_is_closed_once_even_if_the_server_tears_the_task_down() -> None:
    client, call = Client(), a_call()
    closed = is_closed(call)
    task = asyncio.create_task(Exchange(call, never(), client.receive, client.send, PACE).run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == ["closed"]


async def test_a_stream_committed_early_has_the_headers_of_any_stream_and_blames_the_provider() -> None:
    async def slow(call: Call) -> Answer:
        call.attempts.append(Attempt("a/m", "m", "a", monotonic()))
        await asyncio.sleep(0.05)
        raise UpstreamError("all failed")

    client, _ = await run(slow, stream=True, pace=Pace(0.03, 60))
    assert client.headers[b"x-accel-buffering"] == b"no"
    assert float(client.headers[b"x-waystation-overhead-ms"]) < float("inf")


async def test_comments_do_not_pile_up_behind_a_client_that_does_not_read() -> None:
    client, call = Client(), a_call(stream=True)
    sending = 0

    async def stuck(message: Any) -> None:
        nonlocal sending
        sending += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(Exchange(call, never(), client.receive, stuck, Pace(0.01, 0.01)).run())
    await asyncio.sleep(0.1)
    client.leave()
    await asyncio.wait_for(task, 1)
    assert sending == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_cannot_be_settled_is_answered_all_the_same(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def record(call: Call) -> None:
        raise RuntimeError("the journal is broken")

    async def handle(call: Call) -> Answer:
        call.record = record
        return await (stream_answer(ScriptedStream([HELLO, DONE])) if stream else json_answer())(call)

    client, _ = await run(handle, stream=stream)
    assert (client.status, client.body) == (200, HELLO + DONE if stream else b'{"ok":true}')
    assert client.is_complete
    assert "could not be settled before its last byte" in caplog.text


async def test_a_hit_says_so_and_how_old_it_is() -> None:
    async def handle(call: Call) -> Answer:
        call.cache, call.cost_nusd = CacheNote("exact", 41, 700), 0
        return Answer(200, (), "cache:exact", b"{}")

    client, _ = await run(handle)
    assert client.headers[b"x-waystation-cache"] == b"exact"
    assert client.headers[b"age"] == b"41"
    assert client.headers[b"x-waystation-cost-usd"] == b"0.000000000"
    assert b"x-waystation-provider" not in client.headers


@pytest.mark.parametrize(
    ("note", "said"), [(CacheNote("miss"), b"miss"), (CacheNote("bypass"), b"bypass"), (None, b"bypass")]
)
async def test_what_a_provider_answered_is_no_hit(note: CacheNote | None, said: bytes) -> None:
    answer = json_answer()

    async def handle(call: Call) -> Answer:
        call.cache = note
        return await answer(call)

    client, _ = await run(handle)
    assert client.headers[b"x-waystation-cache"] == said
    assert b"age" not in client.headers


async def test_an_answer_out_of_the_cache_in_place_of_targets_that_nobody_asked_says_so() -> None:
    """Their breakers are open: there is no attempt to speak of."""

    async def fallen_back(call: Call) -> Answer:
        call.cache, call.fallback = CacheNote("miss"), "cache"
        return Answer(200, (), "cache:semantic", b"{}")

    client, _ = await run(fallen_back)
    assert client.headers[b"x-waystation-cache"] == b"semantic"
    assert client.headers[b"x-waystation-fallback"] == b"cache"
