"""Identical calls that are under way at once, and the one upstream call that they share.

The upstream call belongs to the flight: it is made on a call of the flight's own, in a task of its own, and goes on as
long as anybody waits for it. Of those who do, the first pays: what the flight's call meets (attempts, tokens, cost) is
booked as that one's. If it leaves, the next one pays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Final

from proxy.cache.reel import Reel, Shelf
from proxy.call import Answer, Call, Handler
from proxy.errors import ClientGone, GatewayError, InternalError

_DONE: Final = b"data: [DONE]\n\n"
#: What an upstream call leaves behind on its call, and what whoever pays for it is shown as its own.
_TRACKS: Final = (
    *("attempts", "answered", "is_rescued", "plans", "usage", "cost_nusd", "queued_s", "queued_at"),
    *("strategy", "fallback", "failed_status"),
)

_logger = logging.getLogger(__name__)


class Flight:
    """One upstream call, and all who wait for its answer."""

    def __init__(
        self,
        first: Call,
        handler: Handler,
        shelf: Shelf,
        landed: Callable[[Flight], None],
        over: Callable[[Flight], None],
        intend: Callable[[Call], None],
    ) -> None:
        """Set out for `first`, who is to board at once. `landed` is called when the answer is whole, `over` when nobody
        can board any more, `intend` writes down that a call may cost something.
        """
        self.call = _twin_of(first)
        self.call.cover = self._cover
        # It may have waited for another flight before, and even have paid for it.
        self.call.attempts, self.call.queued_s = first.attempts, first.queued_s
        self.call.usage, self.call.cost_nusd = first.usage, first.cost_nusd
        self.answer: Answer | None = None  #: as soon as it has begun
        self.began_at: float | None = None  #: monotonic seconds; when that was
        self.error: GatewayError | None = None  #: what came instead of it
        self.brought_by = first.id  #: the call that the answer was given to first, here or elsewhere
        self.reel = Reel(shelf)
        self._landed = landed
        self._over = over
        self._intend = intend
        self._riders: dict[str, Call] = {}  # who is not accounted for, by the call's id; the first pays
        self._is_paid = False
        self._is_whole = False
        self._is_over = False
        self._begun = asyncio.Event()
        self._task = asyncio.create_task(self._fly(handler))
        self._task.add_done_callback(self._log_fault)

    def board(self, call: Call) -> None:
        """Wait with the others."""
        is_first = not self._riders
        self._riders[call.id] = call
        self.reel.join(call.id)
        call.on_last_byte.append(partial(self._account, call))
        call.closing.push_async_callback(self._leave, call)
        if is_first:
            self._show(call)

    def is_paid_by(self, call: Call) -> bool:
        """Is it this call that pays?"""
        return not self._is_paid and next(iter(self._riders), None) == call.id

    def get_off(self, call: Call) -> None:
        """It does not want this answer; it does not pay either."""
        self._riders.pop(call.id, None)
        self.reel.leave(call.id)

    def pay(self, call: Call) -> None:
        """It pays for what came of it, and goes on elsewhere."""
        self._account(call)

    async def begun(self) -> None:
        """Returns when there is an answer, or an error in its place."""
        await self._begun.wait()

    def give(self, call: Call) -> Answer:
        """The answer for one who has boarded. Raises what came instead of it."""
        if self.is_paid_by(call):
            self._show(call)
        if self.answer is None:
            assert self.error is not None, "a flight that has begun has one or the other"
            raise self.error
        answer = self.answer
        return answer if answer.blocks is None else replace(answer, blocks=self.reel.read(call.id))

    # -- the way there --

    async def _fly(self, handler: Handler) -> None:
        call = self.call
        try:
            answer = await handler(call)
            if answer.blocks is None:
                self.answer = answer
                self._land()
            else:
                self.answer, self.began_at = answer, monotonic()
                self._begun.set()
                async for block in answer.blocks:
                    self.reel.add(block)
                    if not self.reel.is_whole:  # who came now would miss its beginning
                        self._over(self)
                    if block.endswith(_DONE):
                        self._land()
                    await self.reel.room()
        except GatewayError as error:
            self.error = error
            call.error = error.kind
        except asyncio.CancelledError:
            call.error = ClientGone.kind
            raise
        finally:
            self._is_over = True
            if not self._is_whole and self.error is None:  # a fault of ours
                self.error = InternalError("The gateway failed to handle this call. The fault is logged.")
                call.error = call.error or self.error.kind
            self._over(self)
            self.reel.close()
            self.reel.end(self.error)
            self._begun.set()
            call.cover = None  # or the two would be left to the garbage collector
            await call.closing.aclose()

    def _log_fault(self, task: asyncio.Task[None]) -> None:
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            _logger.error("call %s: internal error", self.call.id, exc_info=fault)

    def _land(self) -> None:
        """The answer is whole: whoever comes now finds it stored, or begins anew."""
        self._take()
        self._is_whole = True
        self._landed(self)
        self._over(self)

    async def _cover(self, call: Call, more_tokens: int) -> bool:
        payer = next(iter(self._riders.values()), None)
        return payer is None or payer.cover is None or await payer.cover(call, more_tokens)

    # -- who pays --

    def _account(self, call: Call) -> None:
        """Its last byte goes out."""
        if call.id not in self._riders:
            return
        is_payer = self.is_paid_by(call)
        self.get_off(call)
        if not (self._is_whole or self._is_over) and self._riders:  # it ends with an error of its own
            if is_payer:
                self._hand_on(call)
            return
        self._take()
        if is_payer:
            self._is_paid = True
            self._show(call)
        elif call.cache is not None:
            call.cache = self.call.cache or replace(call.cache, saved_nusd=self.call.cost_nusd or 0)

    async def _leave(self, call: Call) -> None:
        """It is over, with its last byte or without."""
        is_payer = self.is_paid_by(call)
        self.get_off(call)
        if self._riders:
            if is_payer:
                self._hand_on(call)
            return
        try:
            if not (self._is_whole or self._is_over):
                self._over(self)  # before anybody else boards
                self._task.cancel()
            if not self._task.done():
                await asyncio.wait([self._task])
        finally:
            if is_payer:
                self._is_paid = True
                self._take()
                self._show(call)

    def _hand_on(self, call: Call) -> None:
        """The next one pays from here on, as if this one never had."""
        _copy(_twin_of(call), call)
        heir = next(iter(self._riders.values()))
        if heir.cache is not None and self.call.cache is None:
            heir.cache = replace(heir.cache, result="miss")
        self._intend(heir)
        self._show(heir)

    def _take(self) -> None:
        """Take what the upstream has reported by now."""
        for step in self.call.on_last_byte:
            step()
        self.call.on_last_byte.clear()

    def _show(self, payer: Call) -> None:
        _copy(self.call, payer)
        if self.call.failed_status is not None:  # a fixed answer hides this failure
            payer.error = self.call.error


def _twin_of(call: Call) -> Call:
    """The same call, to which nothing has happened yet."""
    return Call(
        call.id,
        call.request_id,
        call.received_at,
        call.headers,
        call.request,
        call.model,
        call.principal,
        began_at=call.began_at,
        counted_at=call.counted_at,
        tier=call.tier,
        downgraded_from=call.downgraded_from,
        spare=call.spare,
    )


def _copy(source: Call, target: Call) -> None:
    for name in _TRACKS:
        setattr(target, name, getattr(source, name))
