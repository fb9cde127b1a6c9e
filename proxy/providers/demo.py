"""Simulated providers behind the transport interface: the gateway's whole path without anybody's key.

It speaks OpenAI's chat completions and embeddings, so the ordinary openai adapter stands on top. What is said is
decided in `simulated/`; here it is timed, broken on purpose, and sent.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx

from proxy.providers.simulated import (
    FAULTY_ANSWERS,
    BadRequestError,
    DemoProfile,
    ErrorAnswer,
    Fault,
    chunk_steps,
    complete,
    completion_body,
    embed,
    not_found,
    rate_limit_headers,
    read_request,
    refusal,
)

Sleep = Callable[[float], Awaitable[None]]


class DemoTransport(httpx.AsyncBaseTransport):
    """One simulated provider. Answers the same request with the same words; timing and faults are drawn from `rng`."""

    active: int  #: requests being answered, streams that are neither read to their end nor closed included
    steps_sent: int  #: blocks of streams handed out so far; it stands still once a stream is closed

    def __init__(
        self,
        profile: DemoProfile,
        *,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: Unix time in seconds, for `created`. `sleep` waits for that many seconds."""
        self.active = 0
        self.steps_sent = 0
        self._profile = profile
        self._sleep = sleep
        self._rng = rng if rng is not None else random.Random()
        self._clock = clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, once its first token is due. Raises httpx.ReadTimeout, and its stream also httpx.ReadError.

        Of `request.extensions["timeout"]` the keys `first_byte`, `idle` and `total` count, in seconds.
        """
        content = await request.aread()
        path = request.url.path
        if request.method != "POST" or not path.endswith(("/chat/completions", "/embeddings")):
            return self._failure(not_found(request.method, path), 0.0)
        with ExitStack() as stack:
            stack.enter_context(self._counted())
            pace = _Pace.of(request, self._sleep)
            fault = self._profile.draw_fault(self._rng)
            if fault is Fault.HANG:
                await pace.first_byte(math.inf)
            first_s = self._profile.draw_first_token_s(self._rng)
            if fault is Fault.ERROR:
                await pace.first_byte(first_s)
                return self._failure(self._rng.choice(FAULTY_ANSWERS), first_s)
            if path.endswith("/embeddings"):
                return await self._embed(content, pace, first_s, is_cut=fault is Fault.CUT)
            return await self._answer(content, pace, first_s, fault, stack)

    async def _embed(self, content: bytes, pace: _Pace, first_s: float, *, is_cut: bool) -> httpx.Response:
        try:
            body, tokens = embed(content)
        except BadRequestError as error:
            return self._failure(refusal(error), 0.0)
        await pace.first_byte(first_s)
        return self._whole(body, tokens, first_s, is_cut=is_cut)

    async def _answer(
        self, content: bytes, pace: _Pace, first_s: float, fault: Fault | None, stack: ExitStack
    ) -> httpx.Response:
        try:
            request = read_request(content)
            completion = complete(request)
        except BadRequestError as error:
            return self._failure(refusal(error), 0.0)
        created = int(self._clock())
        if not request.stream:
            longest = max(
                len(choice.pieces) + sum(len(c.pieces) for c in choice.calls) for choice in completion.choices
            )
            whole_s = first_s + sum(self._profile.draw_token_s(self._rng) for _ in range(longest))
            await pace.first_byte(whole_s)
            body = completion_body(completion, created)
            return self._whole(body, completion.tokens, whole_s, is_cut=fault is Fault.CUT)
        await pace.first_byte(first_s)
        steps = list(chunk_steps(completion, created, include_usage=request.include_usage))
        if fault is Fault.CUT:
            steps = steps[: self._rng.randint(1, max(1, len(steps) - 1))]
        headers = {"content-type": "text/event-stream; charset=utf-8", **self._headers(completion.tokens, first_s)}
        stream = _EventStream(self, steps, pace, is_cut=fault is Fault.CUT, closing=stack.pop_all())
        return httpx.Response(200, headers=headers, stream=stream)

    async def next_token(self, pace: _Pace) -> None:
        """Wait for as long as the next token takes."""
        await pace.next_piece(self._profile.draw_token_s(self._rng))

    def _whole(self, body: bytes, tokens: int, took_s: float, *, is_cut: bool) -> httpx.Response:
        headers = {"content-type": "application/json", **self._headers(tokens, took_s)}
        if not is_cut:
            return httpx.Response(200, headers=headers, content=body)
        headers["content-length"] = str(len(body))
        return httpx.Response(200, headers=headers, stream=_CutBody(body[: len(body) // 2]))

    def _failure(self, answer: ErrorAnswer, took_s: float) -> httpx.Response:
        headers = {"content-type": "application/json", **self._common_headers(took_s), **answer.headers}
        return httpx.Response(answer.status, headers=headers, content=answer.body)

    def _headers(self, tokens: int, took_s: float) -> dict[str, str]:
        return {**self._common_headers(took_s), **rate_limit_headers(tokens)}

    def _common_headers(self, took_s: float) -> dict[str, str]:
        return {
            "openai-processing-ms": str(round(took_s * 1000)),
            "openai-version": "2020-10-01",
            "x-request-id": f"req_{self._rng.getrandbits(128):032x}",
        }

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1


@dataclass(slots=True)
class _Pace:
    """Simulated waiting, cut short by the time-outs of one request."""

    sleep: Sleep
    first_byte_s: float
    idle_s: float
    left_s: float

    @classmethod
    def of(cls, request: httpx.Request, sleep: Sleep) -> _Pace:
        timeouts = request.extensions.get("timeout")
        first_byte, idle, total = (_seconds(timeouts, name) for name in ("first_byte", "idle", "total"))
        return cls(sleep, first_byte, idle, total)

    async def first_byte(self, delay_s: float) -> None:
        """Wait for the answer to begin."""
        await self._wait(delay_s, self.first_byte_s, "the first byte")

    async def next_piece(self, delay_s: float) -> None:
        """Wait for the answer to go on."""
        await self._wait(delay_s, self.idle_s, "the next piece")

    async def _wait(self, delay_s: float, limit_s: float, awaited: str) -> None:
        limit_s = min(limit_s, self.left_s)
        if delay_s > limit_s:
            await self.sleep(limit_s)
            raise httpx.ReadTimeout(f"simulated: {awaited} did not come within {limit_s:g} s")
        if math.isinf(delay_s):
            await asyncio.Event().wait()  # until cancelled
        self.left_s -= delay_s
        await self.sleep(delay_s)


def _seconds(timeouts: object, name: str) -> float:
    value = timeouts.get(name) if isinstance(timeouts, Mapping) else None
    return float(value) if isinstance(value, int | float) else math.inf


class _EventStream(httpx.AsyncByteStream):
    """The steps of a stream, each after its time; the first one at once: its time has passed already.

    No generator: closing it needs no help from the event loop, whoever left it where.
    `closing` is closed at the end, at a failure and by `aclose`.
    """

    def __init__(
        self, transport: DemoTransport, steps: list[bytes], pace: _Pace, *, is_cut: bool, closing: ExitStack
    ) -> None:
        self._transport = transport
        self._steps = steps
        self._pace = pace
        self._is_cut = is_cut
        self._closing = closing
        self._at = 0
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            step = await self._next()
        except (httpx.TransportError, StopAsyncIteration):
            await self.aclose()
            raise
        self._transport.steps_sent += 1
        self._at += 1
        return step

    async def _next(self) -> bytes:
        is_over = self._at == len(self._steps)
        if self._at and not self._is_closed and (self._is_cut or not is_over):
            await self._transport.next_token(self._pace)
        if self._is_closed:
            raise StopAsyncIteration
        if not is_over:
            return self._steps[self._at]
        if self._is_cut:
            raise httpx.ReadError("simulated: the connection was lost in the middle of the answer")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._is_closed = True
        self._closing.close()


class _CutBody(httpx.AsyncByteStream):
    """A body that ends too early."""

    def __init__(self, start: bytes) -> None:
        self._start = start

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._start
        raise httpx.ReadError("simulated: the connection was lost in the middle of the answer")
