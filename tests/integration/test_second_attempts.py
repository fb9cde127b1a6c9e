"""Second attempts that a client never notices: the rest of a cut stream, and a race against a silent start."""

from __future__ import annotations

import pytest

from tests.fakes import sse_chunks
from tests.integration.gateway import Gateway, until
from tests.integration.sse import DONE, error_at_the_end, text_of
from tests.upstream import Behaviour, End, hang, stream

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

TEXT = "The quick brown fox jumps over the lazy dog and sleeps."
CUT = stream(sse_chunks(TEXT[:16], finish=None, done=False), complete=False, end=End.RESET)
STALL = stream(sse_chunks(TEXT[:16], finish=None, done=False), complete=False, end=End.HANG)


@pytest.mark.parametrize("broken", [CUT, STALL], ids=["reset", "silence"])
async def test_a_stream_that_breaks_goes_on_at_the_other_target(gateway: Gateway, broken: Behaviour) -> None:
    gateway.play(broken, stream(sse_chunks(TEXT[4:30], TEXT[30:], usage=(30, 9))))
    reply = await gateway.post("rescued", streams=True)
    assert (reply.status, text_of(reply.body)) == (200, TEXT)
    assert reply.body.endswith(DONE)
    assert b": waystation: continued at main/up-" in reply.body
    first, second = [request.json() for request in gateway.main.requests]
    assert {first["model"], second["model"]} == {"up-one", "up-two"}
    assert second["messages"][-2] == {"role": "assistant", "content": TEXT[:16]}
    assert "exactly these last words" in second["messages"][-1]["content"]


async def test_the_sdk_reads_a_rescued_stream_as_one_answer(gateway: Gateway) -> None:
    gateway.play(CUT, stream(sse_chunks(TEXT[8:30], TEXT[30:])))
    async with gateway.async_client(max_retries=0) as client:
        chunks = [
            part
            async for part in await client.chat.completions.create(
                model="rescued", messages=[{"role": "user", "content": "Go"}], stream=True
            )
        ]
    assert "".join(part.choices[0].delta.content or "" for part in chunks if part.choices) == TEXT
    assert len({part.id for part in chunks}) == 1
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_where_nobody_can_go_on_the_client_is_told(gateway: Gateway) -> None:
    gateway.play(CUT, CUT, CUT)
    reply = await gateway.post("rescued", streams=True)
    assert error_at_the_end(reply.body)["code"] == "upstream_error"
    assert DONE not in reply.body
    assert gateway.asked == 3


async def test_a_client_that_leaves_during_a_rescue_closes_the_second_upstream_too(gateway: Gateway) -> None:
    gateway.play(CUT, hang())
    async with gateway.async_client(max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="rescued", messages=[{"role": "user", "content": "Go"}], stream=True
        )
        await until(lambda: gateway.asked == 2)
        await answer.close()
    await until(lambda: gateway.main.links[-1].closed_at is not None)
    assert gateway.asked == 2


async def test_a_silent_first_attempt_is_raced_by_a_second_which_wins(gateway: Gateway) -> None:
    gateway.play(stream(sse_chunks("quick", usage=(100, 100))))
    gateway.spare.script[:] = [stream(sse_chunks("spare", usage=(100, 100)))]
    for _ in range(20):  # what they cost is what second attempts have a share of
        assert (await gateway.post("hedged", streams=True)).status == 200
    gateway.play(hang())
    before = len(gateway.spare.requests)
    reply = await gateway.post("hedged", streams=True)
    assert (reply.status, text_of(reply.body)) == (200, "spare")
    assert reply.header("x-waystation-provider") == "spare"
    assert reply.header("x-waystation-attempts") == "2"
    assert len(gateway.spare.requests) == before + 1
    await until(lambda: gateway.main.links[-1].closed_at is not None)
    assert gateway.server.metrics()['llm_hedges_total{result="won"}'] == 1
