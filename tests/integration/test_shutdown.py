"""How the gateway goes: seen to go by its balancer first, then without cutting anybody off, within bounds."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import openai
import orjson
import pytest

from tests.fakes import sse_chunks
from tests.integration.gateway import KEY, chat_body, running_gateway, until
from tests.integration.raw_client import connect, request_bytes
from tests.upstream import hang, stream

pytestmark = pytest.mark.integration

_REQUEST = request_bytes(headers={"Authorization": f"Bearer {KEY}"}, body=chat_body())
_STREAM = request_bytes(headers={"Authorization": f"Bearer {KEY}"}, body=chat_body(stream=True))


async def test_sigterm_drains(tmp_path: Path) -> None:
    """Not ready at once; new connections served through `drain_delay`; a stream in flight finishes; exit code 0."""
    async with running_gateway(tmp_path, changes={"drain_delay: 500ms": "drain_delay: 700ms"}) as gateway:
        gateway.play(stream(sse_chunks(*"abcdefghijklmno"), delay_s=0.1), *gateway.main.script)
        async with connect(gateway.server.address) as streaming:
            await streaming.send(_STREAM)
            await until(lambda: gateway.asked == 1)
            gateway.server.terminate()
            told_at = time.monotonic()
            await until(lambda: gateway.server.ready().status == 503)
            assert time.monotonic() - told_at < 0.3
            assert gateway.server.ready().json()["status"] == "draining"
            async with connect(gateway.server.address) as late:
                await late.send(_REQUEST)
                assert (await late.read_reply()).status == 200
            assert time.monotonic() - told_at < 0.6
            reply = await streaming.read_reply()
        assert reply.body.endswith(b"data: [DONE]\n\n")
        assert time.monotonic() - told_at > 0.9
        assert await asyncio.to_thread(gateway.server.wait, 5) == 0
        assert any(event.get("message") == "stopped" for event in gateway.server.log.events())


async def test_after_the_delay_nobody_is_let_in(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, changes={"drain_delay: 500ms": "drain_delay: 0s"}) as gateway:
        gateway.play(stream(sse_chunks(*"abcdefghij"), delay_s=0.15))
        async with connect(gateway.server.address) as streaming:
            await streaming.send(_STREAM)
            await until(lambda: gateway.asked == 1)
            gateway.server.terminate()
            await asyncio.sleep(0.5)
            with pytest.raises(ConnectionRefusedError):
                async with connect(gateway.server.address):
                    pass
            assert (await streaming.read_reply()).body.endswith(b"data: [DONE]\n\n")
        assert await asyncio.to_thread(gateway.server.wait, 5) == 0


async def test_an_idle_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway, connect(gateway.server.address) as idle:
        await idle.send(_REQUEST)
        assert (await idle.read_reply()).status == 200
        gateway.server.terminate()
        assert await asyncio.to_thread(gateway.server.wait, 3) == 0
        assert await idle.was_closed()


async def test_what_outlasts_the_drain_ends_with_an_error(tmp_path: Path) -> None:
    changes = {"drain_delay: 500ms": "drain_delay: 0s", "drain: 5s": "drain: 500ms"}
    async with running_gateway(tmp_path, changes=changes) as gateway:
        gateway.play(stream(sse_chunks(*"abcdefghij" * 20), delay_s=0.1), hang())
        async with connect(gateway.server.address) as streaming, connect(gateway.server.address) as waiting:
            await streaming.send(_STREAM)
            await until(lambda: gateway.asked == 1)
            await waiting.send(_REQUEST)
            await until(lambda: gateway.asked == 2)
            gateway.server.terminate()
            cut = await streaming.read_reply()
            refused = await waiting.read_reply()
        assert cut.status == 200
        assert b"[DONE]" not in cut.body
        error = orjson.loads(cut.body.rstrip().split(b"\n\n")[-1].removeprefix(b"data: "))["error"]
        assert error["code"] == "overloaded"
        assert (refused.status, refused.error()["code"]) == (503, "overloaded")
        assert refused.header("retry-after") == "1"
        assert await asyncio.to_thread(gateway.server.wait, 5) == 0
        await gateway.main.all_closed()
        calls = [event for event in gateway.server.log.events() if event["event"] == "call"]
        assert [call["error"] for call in calls] == ["overloaded", "overloaded"]


async def test_the_sdk_raises_when_the_drain_is_over(tmp_path: Path) -> None:
    changes = {"drain_delay: 500ms": "drain_delay: 0s", "drain: 5s": "drain: 300ms"}
    async with running_gateway(tmp_path, changes=changes) as gateway:
        gateway.play(stream(sse_chunks(*"abcdefghij" * 20), delay_s=0.1))
        async with gateway.async_client() as client:
            events = await client.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": "x"}], stream=True
            )
            await anext(events)
            gateway.server.terminate()
            with pytest.raises(openai.APIError):
                async for _ in events:
                    pass


async def test_ctrl_c_needs_no_delay(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, changes={"drain_delay: 500ms": "drain_delay: 30s"}) as gateway:
        started = time.monotonic()
        gateway.server.interrupt()
        assert await asyncio.to_thread(gateway.server.wait, 5) == 0
        assert time.monotonic() - started < 1.5


async def test_ctrl_c_twice_waits_for_nobody(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, changes={"drain: 5s": "drain: 60s"}) as gateway:
        gateway.play(hang())
        async with connect(gateway.server.address) as client:
            await client.send(_REQUEST)
            await until(lambda: gateway.asked == 1)
            gateway.server.interrupt()
            await asyncio.sleep(0.3)
            assert gateway.server.process.poll() is None
            gateway.server.interrupt()
            assert (await client.read_reply()).status == 503
            assert await asyncio.to_thread(gateway.server.wait, 5) == 0


async def test_ctrl_c_ends_a_drain_delay_at_once(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, changes={"drain_delay: 500ms": "drain_delay: 30s"}) as gateway:
        gateway.server.terminate()
        await until(lambda: gateway.server.ready().status == 503)
        gateway.server.interrupt()
        assert await asyncio.to_thread(gateway.server.wait, 5) == 0


async def test_a_client_that_does_not_read_cannot_hold_up_the_end(tmp_path: Path) -> None:
    changes = {"drain_delay: 500ms": "drain_delay: 0s", "drain: 5s": "drain: 500ms"}
    async with running_gateway(tmp_path, changes=changes) as gateway:
        gateway.play(stream(sse_chunks(*["x" * 1_000_000] * 40)))
        async with connect(gateway.server.address) as deaf:
            deaf.pause_reading()
            await deaf.send(_STREAM)
            await until(lambda: gateway.asked == 1)
            await asyncio.sleep(0.3)
            gateway.server.terminate()
            assert await asyncio.to_thread(gateway.server.wait, 8) == 0
