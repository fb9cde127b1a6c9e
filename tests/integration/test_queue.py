"""Calls that find no room: they wait their turn, or are told when to come again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest

from tests.fakes import completion, sse_chunks
from tests.integration.gateway import (
    ANSWER,
    KEY,
    PROMPT,
    SEARCH_KEY,
    Gateway,
    chat_body,
    running_gateway,
    until,
)
from tests.integration.raw_client import connect, request_bytes
from tests.upstream import hang, play, reply_json, stream

pytestmark = pytest.mark.integration

_ONE_AT_ONCE = {
    "targets: [{provider: main, model: up-chat}]": (
        "targets: [{provider: main, model: up-chat, capacity: {concurrency: 1}}]"
    )
}


def _admission(settings: str) -> dict[str, str]:
    return {**_ONE_AT_ONCE, "drain: 5s": f"drain: 5s\n  admission: {settings}"}


async def _ask(gateway: Gateway, **options: object) -> str:
    async with gateway.async_client(max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="chat",
            messages=[{"role": "user", "content": PROMPT}],
            **options,  # type: ignore[call-overload]
        )
    return str(answer.choices[0].message.content)


def _at_once(gateway: Gateway) -> int:
    """How many requests the provider had at once, at most: each but the first came after an earlier answer."""
    events = sorted([(one.at, 1) for one in gateway.main.requests] + [(at, -1) for at in gateway.main.sent_at])
    now = most = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most


def _queued(gateway: Gateway) -> float:
    return gateway.server.metric("llm_queued_requests")


def _calls(gateway: Gateway) -> list[dict[str, Any]]:
    """The log lines of calls so far."""
    return [event for event in gateway.server.log.events() if event["event"] == "call"]


async def test_clients_of_a_full_target_are_answered_one_after_the_other(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, changes=_ONE_AT_ONCE) as gateway:
        gateway.play(play(0.1, *reply_json(completion(ANSWER)).steps))
        assert await asyncio.gather(*(_ask(gateway) for _ in range(6))) == [ANSWER] * 6
        assert (gateway.asked, _at_once(gateway)) == (6, 1)
        await until(lambda: len(_calls(gateway)) == 6)
        calls = _calls(gateway)
        waited = sorted(call["queued_ms"] for call in calls if "queued_ms" in call)
        assert len(waited) == 5
        assert waited[-1] > 400
        assert all(call["overhead_ms"] < call["duration_ms"] - call.get("queued_ms", 0.0) for call in calls)
        assert _queued(gateway) == 0


async def test_streams_give_their_place_on_when_they_have_ended(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, changes=_ONE_AT_ONCE) as gateway:
        gateway.play(stream(sse_chunks(*"abc"), delay_s=0.05))
        replies = await asyncio.gather(*(gateway.post(streams=True) for _ in range(4)))
        assert [reply.status for reply in replies] == [200] * 4
        assert all(reply.body.endswith(b"data: [DONE]\n\n") for reply in replies)
        assert gateway.asked == 4


async def test_without_a_queue_the_others_are_told_when_to_come_again(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, changes=_admission("{queue: 0}")) as gateway:
        gateway.play(play(1.0, *reply_json(completion(ANSWER)).steps))
        first = asyncio.create_task(_ask(gateway))
        await until(lambda: gateway.asked == 1)
        for _ in range(3):
            with pytest.raises(openai.InternalServerError) as caught:
                await _ask(gateway)
            assert (caught.value.status_code, caught.value.code) == (503, "overloaded")
            assert int(caught.value.response.headers["retry-after"]) >= 1
            assert int(caught.value.response.headers["retry-after-ms"]) >= 1000
        assert await first == ANSWER
        assert gateway.asked == 1
        assert gateway.server.metric('llm_shed_requests_total{reason="queue_full"}') == 3


async def test_a_call_that_waited_too_long_is_refused_and_its_place_is_free(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, changes=_admission("{max_wait: 200ms}")) as gateway:
        gateway.play(play(1.0, *reply_json(completion(ANSWER)).steps), reply_json(completion(ANSWER)))
        first = asyncio.create_task(gateway.post())
        await until(lambda: gateway.asked == 1)
        late = await gateway.post()
        assert (late.status, late.error()["code"]) == (503, "overloaded")
        assert "waited 0.2 s" in late.error()["message"]
        assert late.header("retry-after") is not None
        assert (await first).status == 200
        assert (await gateway.post()).status == 200


async def test_the_bound_on_all_calls_holds_for_every_model(tmp_path: Path) -> None:
    changes = {"drain: 5s": "drain: 5s\n  admission: {concurrency: 2}"}
    async with running_gateway(tmp_path, changes=changes) as gateway:
        gateway.play(play(0.1, *reply_json(completion(ANSWER)).steps))
        models = ("chat", "pair", "falls-back", "patient", "chat", "pair")
        replies = await asyncio.gather(*(gateway.post(model) for model in models))
        assert [reply.status for reply in replies] == [200] * 6
        assert _at_once(gateway) == 2


async def test_the_team_of_higher_priority_goes_first_and_a_caller_may_stand_back(tmp_path: Path) -> None:
    changes = {**_ONE_AT_ONCE, "models: [chat, falls-back]": "models: [chat, falls-back]\n    priority: 8"}
    async with running_gateway(tmp_path, changes=changes) as gateway:
        gateway.play(play(0.6, *reply_json(completion(ANSWER)).steps), reply_json(completion(ANSWER)))
        lower = {"x-waystation-priority": "2"}
        callers: tuple[tuple[str, str, dict[str, str]], ...] = (
            ("first", KEY, {}),
            ("low", KEY, lower),
            ("usual", KEY, {}),
            ("high", SEARCH_KEY, {}),
        )
        tasks = []
        for count, (content, key, extra) in enumerate(callers):
            body = chat_body(content=content)
            sent = {"Authorization": f"Bearer {key}", **extra}
            tasks.append(asyncio.create_task(gateway.post(body=body, headers=sent)))
            await until(lambda: gateway.asked == 1)
            await until(lambda count=count: _queued(gateway) == count)  # type: ignore[misc]
        assert [reply.status for reply in await asyncio.gather(*tasks)] == [200] * 4
        order = [request.json()["messages"][0]["content"] for request in gateway.main.requests]
        assert order == ["first", "high", "usual", "low"]


async def test_a_priority_that_is_none_is_a_400_that_does_not_repeat_it(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        reply = await gateway.post(headers={"x-waystation-priority": PROMPT})
        assert (reply.status, reply.error()["type"]) == (400, "invalid_request_error")
        assert "x-waystation-priority" in reply.error()["message"]
        assert PROMPT not in reply.error()["message"]
        assert gateway.asked == 0


async def test_a_client_that_leaves_the_queue_lets_the_next_one_through(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, changes=_ONE_AT_ONCE) as gateway:
        gateway.play(play(0.6, *reply_json(completion(ANSWER)).steps), reply_json(completion(ANSWER)))
        first = asyncio.create_task(gateway.post())
        await until(lambda: gateway.asked == 1)
        async with connect(gateway.server.address) as impatient:
            await impatient.send(request_bytes(headers={"Authorization": f"Bearer {KEY}"}, body=chat_body()))
            await until(lambda: _queued(gateway) == 1)
        await until(lambda: _queued(gateway) == 0)
        last = asyncio.create_task(gateway.post())
        assert [(await task).status for task in (first, last)] == [200, 200]
        assert gateway.asked == 2


async def test_the_end_of_a_drain_ends_the_queue_too(tmp_path: Path) -> None:
    changes = {**_ONE_AT_ONCE, "drain_delay: 500ms": "drain_delay: 0s", "drain: 5s": "drain: 500ms"}
    async with running_gateway(tmp_path, changes=changes) as gateway:
        gateway.play(hang())
        tasks = [asyncio.create_task(gateway.post()) for _ in range(3)]
        await until(lambda: _queued(gateway) == 2)
        gateway.server.terminate()
        replies = await asyncio.gather(*tasks)
        assert [(reply.status, reply.error()["code"]) for reply in replies] == [(503, "overloaded")] * 3
        assert await asyncio.to_thread(gateway.server.wait, 5) == 0


async def test_a_waiting_stream_is_kept_alive(tmp_path: Path) -> None:
    changes = {**_ONE_AT_ONCE, "commit_after: 5s}": "commit_after: 200ms}"}
    async with running_gateway(tmp_path, changes=changes) as gateway:
        gateway.play(play(0.8, *reply_json(completion(ANSWER)).steps), stream(sse_chunks("late")))
        first = asyncio.create_task(gateway.post())
        await until(lambda: gateway.asked == 1)
        reply = await gateway.post(streams=True)
        assert (await first).status == 200
        assert reply.status == 200
        assert reply.body.startswith(b": keep-alive\n\n")
        assert orjson.loads(reply.body.split(b"data: ")[2].strip())["choices"][0]["delta"] == {"content": "late"}
