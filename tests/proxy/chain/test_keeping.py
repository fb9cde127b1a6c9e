from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson

from proxy.cache import Flight, Shelf, Stored
from proxy.call import Answer, Call
from proxy.chain.keeping import stored_of
from proxy.errors import UpstreamError
from tests.calls import a_call
from tests.fakes import completion, sse_chunks

ANSWER = orjson.dumps(completion("Hello!"))


async def landed(answer: Answer | None, **facts: object) -> Stored | None:
    """What is kept of a flight that ends with this answer."""

    async def handler(call: Call) -> Answer:
        if answer is None:
            raise UpstreamError("down")
        call.cost_nusd = 700
        for name, value in facts.items():
            setattr(call, name, value)
        return answer

    call = a_call(principal=None) if facts.pop("is_nobody_s", False) else a_call()
    over = asyncio.Event()
    flight = Flight(call, handler, Shelf(10**6), lambda _: None, lambda _: over.set(), lambda _: None)
    flight.board(call)
    await flight.begun()
    await over.wait()
    kept = stored_of(flight, b"s", 9.0, 1e12)
    await call.closing.aclose()
    return kept


async def blocks() -> AsyncIterator[bytes]:
    for block in sse_chunks("Hel", "lo!"):
        yield block


async def test_an_answer_is_kept_as_it_was() -> None:
    stored = await landed(Answer(200, (), "upstream", ANSWER))
    assert stored is not None
    assert (stored.body, stored.team, stored.model, stored.scope) == (ANSWER, "search", "chat", b"s")
    assert (stored.stored_at, stored.cost_nusd, stored.streamed_s) == (9.0, 700, 0.0)


async def test_a_stream_is_kept_as_one_answer() -> None:
    stored = await landed(Answer(200, (), "upstream", blocks=blocks()))
    assert stored is not None
    assert orjson.loads(stored.body)["choices"] == completion("Hello!")["choices"]
    assert stored.streamed_s > 0


async def test_what_is_not_the_model_s_own_whole_answer_is_not_kept() -> None:
    answer = Answer(200, (), "upstream", ANSWER)
    assert await landed(None) is None
    assert await landed(Answer(500, (), "upstream", ANSWER)) is None
    assert await landed(answer, fallback="other") is None
    assert await landed(answer, is_rescued=True) is None
    assert await landed(answer, is_nobody_s=True) is None
    assert await landed(Answer(200, (), "upstream", b'{"choices":[]}')) is None
