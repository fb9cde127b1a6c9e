"""Connections to providers: used again while they are good, and never trusted further than that."""

from __future__ import annotations

import orjson
import pytest

from tests.fakes import completion, sse_chunks
from tests.integration.gateway import ANSWER, Gateway
from tests.integration.sse import text_of
from tests.upstream import End, head, play, reply_json, stream

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

WELL = reply_json(completion(ANSWER))
TRANSPORTS = pytest.mark.parametrize("suffix", ["", "-httpx"])


async def _answer(gateway: Gateway, model: str) -> str:
    got = await gateway.post(model)
    assert got.status == 200
    return str(orjson.loads(got.body)["choices"][0]["message"]["content"])


@TRANSPORTS
async def test_a_connection_is_used_again(gateway: Gateway, suffix: str) -> None:
    gateway.play(WELL, stream(sse_chunks("one ", "two")), WELL)
    await _answer(gateway, f"chat{suffix}")
    links = len(gateway.main.links)
    assert text_of((await gateway.post(f"chat{suffix}", streams=True)).body) == "one two"
    assert await _answer(gateway, f"chat{suffix}") == ANSWER
    assert len(gateway.main.links) == links


@TRANSPORTS
async def test_bytes_behind_an_answer_are_never_given_to_the_next_caller(gateway: Gateway, suffix: str) -> None:
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    whole = orjson.dumps(completion(ANSWER))
    answer = head(200, ("Content-Type", "application/json"), ("Content-Length", str(len(whole)))) + whole
    gateway.play(play(answer + forged), WELL)
    for _ in range(3):
        assert await _answer(gateway, f"chat{suffix}") == ANSWER


@TRANSPORTS
async def test_a_connection_that_closes_under_a_call_costs_an_attempt_and_not_the_call(
    gateway: Gateway, suffix: str
) -> None:
    gateway.play(WELL, play(end=End.CLOSE), WELL)
    assert await _answer(gateway, f"pair{suffix}") == ANSWER
    got = await gateway.post(f"pair{suffix}")
    assert (got.status, got.header("x-waystation-attempts")) == (200, "2")
    assert gateway.asked == 3
