import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from proxy.errors import UpstreamError, UpstreamFailure, UpstreamTimeout, UpstreamUnavailable
from proxy.providers import Patience
from proxy.providers.failures import Scrubber
from proxy.providers.sse import SSEStream, read_body
from proxy.wire.answer import MalformedAnswer
from proxy.wire.chat import ChatRequest
from proxy.wire.usage import Usage

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}\n\n'
ERROR = b'data: {"error":{"message":"busy","type":"overloaded_error"}}\n\n'
DONE = b"data: [DONE]\n\n"
NO_CHOICES = b'data: {"choices":[],"prompt_filter_results":[]}\n\n'


class Body(httpx.AsyncByteStream):
    """Pieces in turn; an exception is raised, a float slept."""

    def __init__(self, *script: bytes | Exception | float) -> None:
        self._script = script
        self.closed = False
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._script:
            self.read += 1
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield step

    async def aclose(self) -> None:
        self.closed = True


def open_over(body: Body, *, include_usage: bool = False, first_token_s: float = 1, idle_s: float = 1) -> SSEStream:
    request = ChatRequest(body={}, model="chat", stream=True, include_usage=include_usage, n=1)
    patience = Patience(1, first_token_s, idle_s, 60)
    return SSEStream("p", httpx.Response(200, stream=body), request, patience, Scrubber([], "http://up"))


async def read(stream: SSEStream) -> tuple[bytes, UpstreamFailure | None]:
    """All blocks, and how it ended."""
    blocks = b""
    try:
        await stream.begin()
        async for block in stream:
            blocks += block
    except UpstreamFailure as failure:
        return blocks, failure
    return blocks, None


@pytest.mark.parametrize("include_usage", [False, True])
async def test_a_stream_comes_through_and_its_usage_is_kept(include_usage: bool) -> None:
    body = Body(ROLE, WORD, STOP, USAGE, DONE)
    stream = open_over(body, include_usage=include_usage)
    blocks, failure = await read(stream)
    assert failure is None
    assert blocks == ROLE + WORD + STOP + (USAGE if include_usage else b"") + DONE
    assert stream.usage == Usage(3, 1)
    assert body.closed


async def test_bytes_cut_anywhere_make_the_same_stream() -> None:
    whole = ROLE + WORD + STOP + DONE
    blocks, failure = await read(open_over(Body(*(whole[at : at + 1] for at in range(len(whole))))))
    assert (blocks, failure) == (whole, None)


async def test_done_is_added_where_an_upstream_forgets_it() -> None:
    assert await read(open_over(Body(ROLE, WORD, STOP))) == (ROLE + WORD + STOP + DONE, None)


@pytest.mark.parametrize(
    ("script", "shown", "kind"),
    [
        ((ROLE, WORD), ROLE + WORD, UpstreamError),
        ((ROLE, WORD, httpx.ReadError("cut")), ROLE + WORD, UpstreamError),
        ((ROLE, WORD, ERROR), ROLE + WORD, UpstreamUnavailable),
        ((ROLE, WORD + ERROR), ROLE + WORD, UpstreamUnavailable),
        ((ROLE, b"data: nonsense\n\n"), ROLE, UpstreamError),
        ((ROLE, httpx.ReadTimeout("silent")), ROLE, UpstreamTimeout),
        ((ERROR,), b"", UpstreamUnavailable),
        ((ERROR, DONE), b"", UpstreamUnavailable),
        ((), b"", UpstreamError),
        ((DONE,), b"", UpstreamError),
        ((NO_CHOICES + DONE,), b"", UpstreamError),
        ((NO_CHOICES, DONE), b"", UpstreamError),
        ((NO_CHOICES,), b"", UpstreamError),
        ((NO_CHOICES, ERROR), b"", UpstreamUnavailable),
        ((NO_CHOICES, httpx.ReadError("cut")), b"", UpstreamError),
        ((b": comment\n\n",), b"", UpstreamError),
    ],
)
async def test_a_broken_stream_is_never_taken_for_a_whole_one(
    script: tuple[bytes | Exception, ...], shown: bytes, kind: type[UpstreamFailure]
) -> None:
    body = Body(*script)
    stream = open_over(body)
    blocks, failure = await read(stream)
    assert blocks == shown
    assert type(failure) is kind
    await stream.aclose()
    assert body.closed


async def test_comments_do_not_pass_for_an_answer() -> None:
    drip: list[bytes | float] = [b": still here\n\n", 0.02] * 20
    _, failure = await read(open_over(Body(*drip), first_token_s=0.1))
    assert isinstance(failure, UpstreamTimeout)
    assert "first_token" in failure.message


async def test_chunks_without_choices_do_not_pass_for_an_answer() -> None:
    drip: list[bytes | float] = [NO_CHOICES, 0.02] * 20
    _, failure = await read(open_over(Body(*drip), first_token_s=0.1))
    assert isinstance(failure, UpstreamTimeout)
    blocks, failure = await read(open_over(Body(*[NO_CHOICES * 1000] * 50)))
    assert (blocks, type(failure)) == (b"", UpstreamError)


async def test_a_chunk_without_choices_before_an_answer_is_passed_on_with_it() -> None:
    stream = open_over(Body(NO_CHOICES, b": comment\n\n", ROLE, WORD, STOP, DONE))
    await stream.begin()
    assert await anext(stream) == NO_CHOICES + ROLE
    assert b"".join([block async for block in stream]) == WORD + STOP + DONE


async def test_a_first_chunk_may_be_large_and_come_in_pieces() -> None:
    large = WORD.replace(b"Hi", b"x" * 3_000_000)
    pieces = [large[:1_500_000], large[1_500_000:]]
    assert await read(open_over(Body(NO_CHOICES, *pieces, STOP, DONE))) == (NO_CHOICES + large + STOP + DONE, None)


async def test_what_is_no_chat_completion_is_not_worth_asking_for_again() -> None:
    for script, is_lasting in (((b"data: nonsense\n\n",), True), ((httpx.ReadError("cut"),), False)):
        _, failure = await read(open_over(Body(*script)))
        assert failure is not None
        assert failure.is_lasting is is_lasting


async def test_comments_do_not_pass_for_progress() -> None:
    drip: list[bytes | float] = [b": still here\n\n", 0.02] * 20
    blocks, failure = await read(open_over(Body(ROLE, *drip), idle_s=0.1))
    assert blocks == ROLE
    assert isinstance(failure, UpstreamTimeout)


async def test_after_done_the_body_is_read_to_its_end_so_that_the_connection_can_be_used_again() -> None:
    body = Body(ROLE, STOP, DONE, b"", b"")
    assert (await read(open_over(body)))[1] is None
    assert body.read == 5


async def test_a_body_that_never_ends_after_done_is_not_waited_for() -> None:
    body = Body(ROLE, STOP, DONE, 60.0)
    async with asyncio.timeout(2):
        assert await read(open_over(body)) == (ROLE + STOP + DONE, None)
    assert body.closed


async def test_a_body_is_read_whole_but_not_without_end() -> None:
    assert await read_body(httpx.Response(200, stream=Body(b"ab", b"cd")), 4) == b"abcd"
    with pytest.raises(MalformedAnswer, match="exceeds 3 bytes"):
        await read_body(httpx.Response(200, stream=Body(b"ab", b"cd")), 3)


async def test_a_slow_client_is_not_taken_for_a_silent_provider() -> None:
    stream = open_over(Body(ROLE, b": ping\n\n", WORD, STOP, DONE), idle_s=0.05)
    await stream.begin()
    blocks = [await anext(stream)]
    await asyncio.sleep(0.1)
    blocks += [block async for block in stream]
    assert b"".join(blocks) == ROLE + WORD + STOP + DONE
