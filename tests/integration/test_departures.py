"""Clients that leave: the provider is let go within 100 ms, wherever the call is just then."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from tests.fakes import sse_chunks
from tests.integration.gateway import KEY, Gateway, chat_body, running_gateway, until
from tests.integration.raw_client import RawClient, connect, request_bytes
from tests.integration.sse import DONE
from tests.upstream import (
    Behaviour,
    End,
    hang,
    hang_after_head,
    stream,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

TRANSPORTS = pytest.mark.parametrize("suffix", ["", "-httpx"])


def _request(model: str, *, streams: bool = True) -> bytes:
    return request_bytes(headers={"Authorization": f"Bearer {KEY}"}, body=chat_body(model, stream=streams))


async def _read_until(client: RawClient, wanted: bytes) -> float:
    """When a line that starts so came, in monotonic seconds."""
    while not (await client.read_line()).startswith(wanted):
        pass
    return time.monotonic()


async def _closed_after(gateway: Gateway, left_at: float) -> float:
    """Seconds from the client's leaving to the end of the connection that served it."""

    def closed() -> list[float]:
        return [link.closed_at for link in gateway.main.links if link.closed_at and link.closed_at > left_at]

    await until(lambda: bool(closed()), 2)
    return closed()[0] - left_at


@TRANSPORTS
async def test_leaving_in_mid_stream_closes_the_upstream_connection(gateway: Gateway, suffix: str) -> None:
    gateway.play(stream(sse_chunks(*"abcdefghij" * 20), delay_s=0.05))
    async with connect(gateway.server.address) as client:
        await client.send(_request(f"chat{suffix}"))
        await _read_until(client, b"data: ")
        left_at = time.monotonic()
    assert await _closed_after(gateway, left_at) < 0.1


@TRANSPORTS
@pytest.mark.parametrize("behaviour", [hang(), hang_after_head()])
async def test_leaving_before_the_first_token_closes_the_upstream_connection(
    gateway: Gateway, suffix: str, behaviour: Behaviour
) -> None:
    gateway.play(behaviour)
    async with connect(gateway.server.address) as client:
        await client.send(_request(f"chat{suffix}"))
        await until(lambda: gateway.asked == 1)
        await asyncio.sleep(0.05)
        left_at = time.monotonic()
    assert await _closed_after(gateway, left_at) < 0.1


@TRANSPORTS
async def test_leaving_during_a_call_without_stream_closes_the_upstream_connection(
    gateway: Gateway, suffix: str
) -> None:
    gateway.play(hang())
    async with connect(gateway.server.address) as client:
        await client.send(_request(f"chat{suffix}", streams=False))
        await until(lambda: gateway.asked == 1)
        left_at = time.monotonic()
    assert await _closed_after(gateway, left_at) < 0.1


async def test_a_departure_is_logged_as_499_and_not_repeated_elsewhere(gateway: Gateway) -> None:
    gateway.play(hang())
    body = chat_body("pair", stream=True)
    headers = {"Authorization": f"Bearer {KEY}", "X-Request-Id": "left-1"}
    async with connect(gateway.server.address) as client:
        await client.send(request_bytes(headers=headers, body=body))
        await until(lambda: gateway.asked == 1)
    event = await asyncio.to_thread(
        gateway.server.log.wait_for, lambda event: event.get("request_id") == "left-1" and event["event"] == "call"
    )
    assert (event["status"], event["error"], event["attempts"]) == (499, "client_gone", 1)
    assert gateway.asked == 1


async def test_leaving_after_the_answer_is_no_departure(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("a"), complete=False, end=End.HANG))
    headers = {"Authorization": f"Bearer {KEY}", "X-Request-Id": "stayed-1"}
    async with connect(gateway.server.address) as client:
        await client.send(request_bytes(headers=headers, body=chat_body(stream=True)))
        assert (await client.read_reply()).body.endswith(DONE)
    event = await asyncio.to_thread(gateway.server.log.wait_for, lambda event: event.get("request_id") == "stayed-1")
    assert (event["status"], event["error"]) == (200, None)


async def test_leaving_is_noticed_on_a_connection_that_was_used_before(gateway: Gateway) -> None:
    """The first call lingers behind its [DONE]; when that ends, the second one's client must still be watched."""
    gateway.play(stream(sse_chunks("a"), complete=False, end=End.HANG), hang())
    async with connect(gateway.server.address) as client:
        await client.send(_request("chat"))
        assert (await client.read_reply()).body.endswith(DONE)
        await client.send(_request("chat"))
        await until(lambda: gateway.asked == 2)
        await asyncio.sleep(0.7)
        left_at = time.monotonic()
    assert await _closed_after(gateway, left_at) < 0.1


async def test_a_hundred_departures_leave_nothing_behind(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks(*"abcdefghij" * 20), delay_s=0.02))

    async def leave_early(index: int) -> None:
        async with connect(gateway.server.address) as client:
            await client.send(_request("chat" if index % 2 else "chat-httpx"))
            if index % 4 > 1:
                await _read_until(client, b"data: ")

    await asyncio.gather(*(leave_early(index) for index in range(100)))
    health = f"{gateway.server.url}/healthz"
    await until(lambda: gateway.server.metric("llm_active_requests") == 0)
    assert orjson.loads((await _get(gateway, "/healthz")).encode())["calls_in_flight"] == 0, health
    await until(lambda: all(link.closed_at for link in gateway.main.links[-50:]))


async def _get(gateway: Gateway, path: str) -> str:
    async with connect(gateway.server.address) as client:
        await client.send(request_bytes("GET", path))
        return (await client.read_reply()).body.decode()


async def test_a_client_that_stops_reading_is_cut_off_and_its_provider_let_go(tmp_path: Path) -> None:
    changes = {"max_body: 20MB": "max_body: 20MB\n  client_write_timeout: 500ms"}
    async with running_gateway(tmp_path, changes=changes) as own:
        own.play(stream(sse_chunks(*["x" * 1_000_000] * 60)))
        async with connect(own.server.address) as deaf:
            deaf.pause_reading()
            await deaf.send(_request("chat"))
            await until(lambda: own.asked == 1)
            await own.main.all_closed(within_s=5)
            await until(lambda: own.server.metric("llm_active_requests") == 0)
            assert own.server.ready().status == 200
