"""The answer writer: runs the chain for one call, writes JSON or SSE, notices a client that left, and closes the call
once.

Nothing here waits for the client before the provider is let go: a client's departure cancels this task, which closes
the upstream connection wherever the call is just then, streaming or not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any, Final, Literal, NamedTuple

from proxy.api.errors import envelope, retry_headers
from proxy.call import Answer, Call, Handler
from proxy.chain.route import SSE_HEADERS
from proxy.errors import ClientGone, GatewayError, InternalError, Overloaded

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Where a listener offers to call back when the client leaves before its answer is complete: `watch(callback)`.
#: Costs 5 µs less than a task that awaits `http.disconnect`, which is what any other ASGI server gets.
WATCH: Final = "waystation.watch"
Watch = Callable[[Callable[[], None]], None]

_COMMENT: Final = b": keep-alive\n\n"
#: A timer may fire this much before its time.
_TIMER_SLACK_S: Final = 0.002
_DONE: Final = b"data: [DONE]\n\n"

_logger = logging.getLogger(__name__)


class Pace(NamedTuple):
    """When a silent stream is kept alive, in seconds."""

    commit_after_s: float  #: a stream's 200 and first comment go out after this much silence
    comment_every_s: float  #: then a comment this often


class Exchange:
    """One HTTP exchange: a call in, its answer out."""

    def __init__(
        self, call: Call, handler: Handler, receive: Receive, send: Send, pace: Pace, watch: Watch | None = None
    ) -> None:
        """`handler` is the chain of the world in force when the call came; it serves the call to its end."""
        self.call = call
        self.handler = handler
        self._receive = receive
        self._send = send
        self._pace = pace
        self._watch = watch
        self._task: asyncio.Task[Any] | None = None
        self._stopped: Literal["client_gone", "draining"] | None = None
        self._started = False  # have status and headers been sent?
        self._finished = False  # is the last byte on its way? From then on nobody can leave too early
        self._sent_at = 0.0
        self._silence_s = 0.0
        self._pulse: asyncio.TimerHandle | None = None
        self._pulse_at = 0.0
        self._comment: asyncio.Task[None] | None = None

    def stop(self, reason: Literal["client_gone", "draining"]) -> None:
        """End the exchange at once: silently if the client has gone, with an error it can retry on if we are going."""
        if self._stopped is None and not self._finished and self._task is not None:
            self._stopped = reason
            self._task.cancel()

    async def run(self) -> None:
        """Answer the call. Returns when the last byte is out, or nobody is left to read it."""
        self._task = asyncio.current_task()
        watcher: asyncio.Task[None] | None = None
        if self._watch is not None:
            self._watch(self._client_left)
        else:
            watcher = asyncio.create_task(self._await_disconnect())
        if self.call.request.stream:
            self._arm_pulse(self._pace.commit_after_s)
        try:
            try:
                await self._answer()
            except asyncio.CancelledError:
                if self._stopped is None or self._task is None:  # the server itself is being torn down
                    if not self._finished:
                        self.call.error = self.call.error or ClientGone.kind
                    raise
                self._task.uncancel()
                await self._write_stopped()
            finally:
                self._finished = True
                self._disarm_pulse()
                if watcher is not None:
                    watcher.cancel()
        finally:
            self.call.on_last_byte.clear()
            await self.call.closing.aclose()

    async def _answer(self) -> None:
        try:
            answer = await self.handler(self.call)
            if answer.blocks is None:
                await self._write_body(answer)
            else:
                await self._write_stream(answer, answer.blocks)
        except GatewayError as error:
            await self._write_error(error)
        except Exception as error:  # the first of the three fences: whatever breaks, the client gets an answer
            _logger.exception("call %s: internal error", self.call.id, exc_info=error)
            await self._write_error(
                InternalError("The gateway failed to handle this call. The fault is logged under its id.")
            )

    async def _write_body(self, answer: Answer) -> None:
        call = self.call
        call.first_block_at = monotonic()
        call.status = answer.status
        self._started = True
        headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body)), *self._own_headers()]
        if call.cost_nusd is not None:  # of a stream it is known when the headers are long gone
            headers.append((b"x-waystation-cost-usd", b"%.9f" % (call.cost_nusd * 1e-9)))
        await self._finish()
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": answer.body})

    async def _write_stream(self, answer: Answer, blocks: AsyncIterator[bytes]) -> None:
        call, send = self.call, self._send
        call.first_block_at = monotonic()
        call.status = answer.status
        if not self._started:
            self._started = True
            headers = [*answer.headers, *self._own_headers()]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        self._arm_pulse(self._pace.comment_every_s)
        async for block in blocks:
            # [DONE] ends the body at once. Reading the upstream to its end, which frees its connection, goes on
            # behind it.
            if block.endswith(_DONE):
                self._disarm_pulse()
                await self._finish()
                await send({"type": "http.response.body", "body": block})
            else:
                await send({"type": "http.response.body", "body": block, "more_body": True})
                self._sent_at = monotonic()
        if not self._finished:
            await self._finish()
            await send({"type": "http.response.body", "body": b""})

    async def _write_error(self, error: GatewayError) -> None:
        if self._finished:
            return  # it came after [DONE]: the answer is whole
        call = self.call
        call.status, call.error = error.status, error.kind
        self._disarm_pulse()
        await self._finish()
        if self._started:
            # A clean end here would look like success to every SDK: an error event, and no [DONE].
            await self._send({"type": "http.response.body", "body": b"data: " + envelope(error) + b"\n\n"})
        else:
            self._started = True
            await write_error(self._send, error, self._own_headers())

    async def _finish(self) -> None:
        """The last byte goes out now."""
        call = self.call
        self._finished = True
        try:
            for step in call.on_last_byte:
                step()
            call.on_last_byte.clear()  # they hold on to the call
            if call.record is not None:
                await call.record(call)
        except Exception as error:  # of the first fence: the answer is there, and whoever asked shall have it
            _logger.exception("call %s: could not be settled before its last byte", call.id, exc_info=error)

    async def _write_stopped(self) -> None:
        """The exchange was stopped from outside."""
        if self._stopped == "client_gone":
            gone = ClientGone("The client left.")
            self.call.status, self.call.error = gone.status, gone.kind
        else:
            await self._write_error(
                Overloaded("This server is shutting down before the answer was complete. Try again.")
            )

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        """What is known of the call by now."""
        call = self.call
        headers = [(b"x-request-id", call.request_id.encode("ascii"))]
        if call.rate_headers is not None:
            headers += call.rate_headers()
        if call.tier is not None:
            headers.append((b"x-waystation-tier", str(call.tier).encode()))
        if call.downgraded_from is not None:
            headers.append((b"x-waystation-downgraded-from", call.downgraded_from.encode()))
        note, last = call.cache, call.last_attempt
        if note is not None and last is None:
            headers.append((b"x-waystation-cache", _cache_result(call)))
            if note.result in ("exact", "semantic"):
                headers.append((b"age", b"%d" % note.age_s))
            if note.probability is not None:
                headers.append((b"x-waystation-cache-probability", b"%.3f" % note.probability))
        if last is not None:
            headers += (
                (b"x-waystation-provider", last.provider.encode()),
                (b"x-waystation-model", last.model.encode()),
                (b"x-waystation-strategy", call.strategy.encode()),
                (b"x-waystation-attempts", b"%d" % len(call.attempts)),
                (b"x-waystation-cache", _cache_result(call)),
                (
                    b"x-waystation-overhead-ms",
                    b"%.2f" % (max(0.0, monotonic() - call.received_at - call.waited_by(monotonic())) * 1000),
                ),
            )
            if last.dropped:
                headers.append((b"x-waystation-dropped", ",".join(last.dropped).encode()))
        if call.fallback is not None:
            headers.append((b"x-waystation-fallback", call.fallback.encode()))
        return headers

    def _client_left(self) -> None:
        self.stop("client_gone")

    async def _await_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._client_left()

    # Keep-alive: one timer a stream, which looks at the clock when it fires instead of being moved at every block.

    def _arm_pulse(self, silence_s: float) -> None:
        """From now on, after this much silence, send a comment."""
        now = monotonic()
        self._sent_at, self._silence_s = now, silence_s
        if self._pulse is None or now + silence_s < self._pulse_at:
            self._set_pulse(now + silence_s)

    def _set_pulse(self, when: float) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
        self._pulse_at = when
        self._pulse = asyncio.get_running_loop().call_later(when - monotonic(), self._beat)

    def _disarm_pulse(self) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
            self._pulse = None
        if self._comment is not None:
            self._comment.cancel()
            self._comment = None

    def _beat(self) -> None:
        now = monotonic()
        due_at = self._sent_at + self._silence_s
        if now >= due_at - _TIMER_SLACK_S:
            if self._comment is None or self._comment.done():  # else the client is not even reading the last one
                self._comment = asyncio.create_task(self._write_comment())
            self._silence_s = self._pace.comment_every_s
            due_at = now + self._silence_s
        self._set_pulse(due_at)

    async def _write_comment(self) -> None:
        self._sent_at = monotonic()
        if not self._started:
            # Committed: from here on a failure can only be an error event, while failover goes on behind the comments.
            self._started = True
            self.call.status = 200
            headers = [*SSE_HEADERS, *self._own_headers()]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": _COMMENT, "more_body": True})


def _cache_result(call: Call) -> bytes:
    if call.fallback == "cache":
        return b"semantic"
    return b"bypass" if call.cache is None else call.cache.result.encode()


async def write_error(send: Send, error: GatewayError, headers: list[tuple[bytes, bytes]]) -> None:
    """A whole error response; `headers` are added to the error's own."""
    body = envelope(error)
    sent = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *retry_headers(error),
        *headers,
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
