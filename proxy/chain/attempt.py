"""One attempt, as routing learns of it: counted in when it is sent, and out exactly once, however it ended."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from proxy.call import Attempt, Call
from proxy.chain.outcomes import kind_of, retry_after_s
from proxy.errors import ClientGone, InternalError, Overloaded, UpstreamFailure, UpstreamTimeout
from proxy.providers import ChatStream
from proxy.wire.answer import ChatAnswer
from proxy.wire.usage import Usage
from routing import Facts, Kind, Outcome, RateLimits, Router

#: A call that ended so was ended by us or by its client: no fault of the provider's.
_NOBODYS_FAULT = frozenset({ClientGone.kind, Overloaded.kind, InternalError.kind})
#: A time limit may strike this much before its time.
_MARGIN_S: Final = 0.01
#: Of a whole answer, for a rough count where none was reported.
_BYTES_PER_TOKEN: Final = 4


#: What an attempt ended in that nobody waits for any more, and one that lost a race.
CANCELLED: Final = "cancelled"
OUTRUN: Final = "outrun"


class Report:
    """What routing is told of one attempt."""

    __slots__ = ("_clock", "_facts", "_is_told", "_reserved_tokens", "_router", "_ttft_s", "attempt")

    def __init__(
        self,
        router: Router,
        clock: Callable[[], float],
        facts: Facts,
        attempt: Attempt,
    ) -> None:
        """The attempt is being sent. `clock` gives monotonic seconds."""
        self._router = router
        self._clock = clock
        self._facts = facts
        self.attempt = attempt
        self._ttft_s: float | None = None
        self._is_told = False
        self._reserved_tokens = router.began(attempt.target, facts, attempt.started_at)

    def opened(self, call: Call, stream: ChatStream) -> None:
        """A stream's first event has come; how it goes on is told by `settle`."""
        now = self._clock()
        self.attempt.produced_tokens = 0
        call.on_last_byte.append(partial(self._take, call, stream))
        self.attempt.waited_s = self._ttft_s = now - self.attempt.started_at
        self._router.first_token(self.attempt.target, self._facts, self.attempt.started_at, now)

    def answered(self, call: Call, answer: ChatAnswer) -> None:
        """A whole answer has come."""
        attempt, usage = self.attempt, answer.usage
        attempt.credential_id = answer.credential_id
        attempt.upstream_id, attempt.service_tier = answer.id, answer.service_tier
        attempt.produced_tokens = len(answer.body) // _BYTES_PER_TOKEN if usage is None else usage.output_tokens
        self._spent(call, usage)
        self._tell("ok", usage, limits=answer.limits)

    def failed(self, failure: UpstreamFailure, is_ours: bool = False) -> None:
        """No answer has come."""
        self.attempt.error = failure.kind
        self.attempt.may_be_billed, self.attempt.credential_id = failure.may_be_billed, failure.credential_id
        # One of several credentials was at fault: that says nothing about the target.
        self._tell("gone" if failure.has_spare or is_ours else kind_of(failure), None, retry_after_s(failure))

    def left(self) -> None:
        """Whatever happened, nobody waits for this attempt's beginning any more."""
        if self._ttft_s is None and not self._is_told:  # it was cancelled
            is_outrun = self.attempt.error == OUTRUN
            self.attempt.error = self.attempt.error or CANCELLED
            self.attempt.may_be_billed = True
            self._tell("outrun" if is_outrun else "gone", None)

    async def lost(self, call: Call, stream: ChatStream) -> None:
        """The stream began when another attempt had won already."""
        self.attempt.error = OUTRUN
        try:
            await stream.aclose()
        finally:
            self._take(call, stream)
            self._tell("outrun", None, limits=stream.limits)

    async def broke(self, call: Call, stream: ChatStream, failure: UpstreamFailure) -> None:
        """The stream broke after content had come; another one is to make that good."""
        self.attempt.error = failure.kind
        if failure.cause == "rate_limited":
            await self._end(call, stream, "rate_limited", retry_after_s(failure))
        else:
            await self._end(call, stream, self._kind_of_end(failure.kind))

    async def settle(self, call: Call, stream: ChatStream) -> None:
        """The stream is over for the client: let go of the provider, and keep what it reported."""
        kind: Kind = "ok"
        if call.error is not None:
            kind = self._kind_of_end(call.error)
        await self._end(call, stream, kind)

    def _kind_of_end(self, error: str) -> Kind:
        is_over = error == UpstreamTimeout.kind and self._clock() >= self._facts.deadline_at - _MARGIN_S  # `total`
        return "gone" if is_over or error in _NOBODYS_FAULT else "cut"

    async def _end(self, call: Call, stream: ChatStream, kind: Kind, asked_s: float | None = None) -> None:
        try:
            await stream.aclose()
        finally:  # whoever cancels us here: an attempt that was counted in is counted out
            if not self._is_told:
                self._take(call, stream)
                self._tell(kind, stream.usage, asked_s, stream.limits)

    def _take(self, call: Call, stream: ChatStream) -> None:
        """Take what a stream has come to by now: when its last byte goes out, and again when it is let go."""
        attempt = self.attempt
        attempt.credential_id, attempt.upstream_id = stream.credential_id, stream.id
        attempt.service_tier = stream.service_tier
        if attempt.usage is None:
            attempt.produced_tokens = stream.produced_tokens
            self._spent(call, stream.usage)

    def _spent(self, call: Call, usage: Usage | None) -> None:
        if usage is not None:
            self.attempt.usage = usage
            call.usage = usage if call.usage is None else call.usage + usage
            if self.attempt.price is not None:
                self.attempt.cost_nusd = cost = self.attempt.price.cost_nusd(usage)
                call.cost_nusd = cost if call.cost_nusd is None else call.cost_nusd + cost

    def _tell(
        self, kind: Kind, usage: Usage | None, asked_s: float | None = None, limits: RateLimits | None = None
    ) -> None:
        if self._is_told:
            return
        self._is_told = True
        now = self._clock()
        duration_s = now - self.attempt.started_at
        if self.attempt.waited_s is None:
            self.attempt.waited_s = duration_s
        outcome = Outcome(
            target=self.attempt.target,
            kind=kind,
            started_at=self.attempt.started_at,
            duration_s=duration_s,
            ttft_s=self._ttft_s,
            input_tokens=usage.input_tokens if usage is not None else self._facts.input_tokens,
            output_tokens=usage.output_tokens if usage is not None else 0,
            cached_tokens=usage.cached_tokens if usage is not None else 0,
            retry_after_s=asked_s,
            limits=limits,
            reserved_tokens=self._reserved_tokens,
            is_ttft_told=self._ttft_s is not None,
        )
        self.attempt.outcome = outcome
        self._router.observe(outcome, now, self._facts)
