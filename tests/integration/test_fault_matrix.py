"""Every fault of the catalogue, asked for as a stream and not: what the client is told where nobody else can be asked,
that it notices nothing where somebody can, what the upstream saw of it, and what routing learned.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import orjson
import pytest
import pytest_asyncio

from tests.integration.fault import Case, Seen, Unreachable
from tests.integration.fault_bench import CERTIFIER, PROVIDER_KEY, WELL, Bench, Play, running_bench
from tests.integration.fault_catalogue import CATALOGUE
from tests.integration.raw_client import RawReply
from tests.integration.sse import DONE, error_at_the_end, text_of

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

#: What depends on the transport; the rest is decided behind it.
OVER_HTTPX = {
    *("refused connection", "bad certificate", "stall before headers", "stall mid-body", "error object mid-stream"),
    *("close before headers", "garbage", "content-length and chunked", "gzip", "HTML", "500", "error object first"),
    *("reset mid-body", "short content-length", "cut between chunks", "chunked end in the middle"),
}
CASES = [
    *(fault.case(is_stream=is_stream) for fault in CATALOGUE for is_stream in (False, True)),
    *(
        fault.case(is_stream=is_stream, transport="httpx")
        for fault in CATALOGUE
        for is_stream in (False, True)
        if fault.name in OVER_HTTPX
    ),
]
EACH_CASE = pytest.mark.parametrize("case", CASES, ids=str)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Bench, None]:
    async with running_bench(tmp_path_factory.mktemp("faults"), CASES) as bench:
        yield bench
        assert PROVIDER_KEY not in bench.server.log.text


@EACH_CASE
async def test_a_fault_where_nobody_else_can_be_asked(bench: Bench, case: Case) -> None:
    _need_a_certificate(case)
    played = await bench.play(case, "alone")
    attempts = 2 if case.seen.is_repeated else 1
    check_client(played.reply, case, attempts)
    await check_upstream(played, attempts)
    await check_lesson(bench, played)
    assert bench.healthy.requests == []


@EACH_CASE
async def test_a_fault_with_a_healthy_target_behind_it(bench: Bench, case: Case) -> None:
    _need_a_certificate(case)
    played = await bench.play(case, "backed")
    if case.seen.is_passed_on:
        check_well(played.reply, case)
        [request] = bench.healthy.requests
        check_request(request.json(), case)
        assert bench.healthy.links[-1].closed_at is None
    else:
        check_client(played.reply, case, 1)
        assert bench.healthy.requests == []
    await check_upstream(played, 1)
    await check_lesson(bench, played)


def _need_a_certificate(case: Case) -> None:
    if case.does is Unreachable.UNTRUSTED and CERTIFIER is None:
        pytest.skip("the command openssl, which makes the certificate, is not there")


def check_client(reply: RawReply, case: Case, attempts: int) -> None:
    """The client got what the catalogue says."""
    seen = case.seen
    assert reply.status == seen.status
    assert reply.header("x-waystation-attempts") == str(attempts)
    assert PROVIDER_KEY.encode() not in reply.body
    assert b"127.0.0.1" not in reply.body
    if seen.text is None:
        error = reply.error()
        check_retry_headers(reply, seen)
    elif seen.type is None:
        assert answer_of(reply, case) == seen.text
        return
    else:
        assert text_of(reply.body) == seen.text
        error = error_at_the_end(reply.body)
    assert (error["code"], error["type"]) == (seen.code, seen.type)


def check_retry_headers(reply: RawReply, seen: Seen) -> None:
    """Whether, and when, its SDK may try again."""
    assert reply.header("x-should-retry") == seen.should_retry
    after, after_ms = reply.header("retry-after"), reply.header("retry-after-ms")
    if seen.retry_after_s is None:
        assert (after, after_ms) == (None, None)
        return
    least_s, most_s = seen.retry_after_s
    assert after is not None
    assert after_ms is not None
    assert least_s <= int(after) <= most_s
    assert 0 <= int(after) - int(after_ms) / 1000 < 1


def check_well(reply: RawReply, case: Case, attempts: int = 2) -> None:
    """The client got the healthy target's answer, and no sign of another."""
    assert reply.status == 200
    assert answer_of(reply, case) == WELL
    assert reply.header("x-waystation-attempts") == str(attempts)
    assert reply.header("x-waystation-provider") == "healthy"
    assert b'"error"' not in reply.body


def answer_of(reply: RawReply, case: Case) -> str:
    """The text of a whole answer."""
    if case.is_stream:
        assert reply.body.endswith(DONE)
        return text_of(reply.body)
    return str(orjson.loads(reply.body)["choices"][0]["message"]["content"])


async def check_upstream(played: Play, attempts: int) -> None:
    """It was asked as often as the policy says, with the whole request; what it broke is closed, what it did not is
    kept.
    """
    upstream, behaviour = played.upstream, played.case.does
    if upstream is None or isinstance(behaviour, Unreachable):
        return
    assert len(upstream.requests) == attempts
    for request in upstream.requests:
        assert request.header("authorization") == f"Bearer {PROVIDER_KEY}"
        if behaviour.reads_body:
            check_request(request.json(), played.case)
    if played.case.is_kept:
        if played.case.transport == "aiohttp":  # httpx closes it too where it has not read everything
            assert [link.closed_at for link in upstream.links] == [None]
    else:
        assert len(upstream.links) == attempts
        if behaviour.reads_body:  # who reads nothing does not notice a close either
            await upstream.all_closed()


def check_request(body: dict[str, object], case: Case) -> None:
    """An upstream got the client's request, for its own model."""
    assert body["model"] == "up"
    assert body["messages"] == [{"role": "user", "content": case.fault.prompt}]
    assert body.get("stream", False) is case.is_stream


async def check_lesson(bench: Bench, played: Play) -> None:
    """Routing learned what it should: faults of the request count against nobody."""
    target, untouched = await bench.fare(played.target)
    lesson = played.case.seen.lesson
    assert (target["p_ok"] < untouched["p_ok"]) == (lesson == "failed")
    assert (target["p_cut"] > untouched["p_cut"]) == (lesson == "cut")
    assert target["breaker"] == ("open" if lesson == "refused" else "closed")
    assert (target["opens_in_s"] > 30) == (lesson == "refused")
    assert (target["headroom"] == 0) == (lesson == "limited")
