"""One attempt, as routing learns of it: counted in when it is sent, and out exactly once, however it ended."""

from __future__ import annotations

from collections.abc import Callable

from proxy.call import Attempt, Call
from proxy.chain.outcomes import kind_of, retry_after_s
from proxy.errors import ClientGone, Overloaded, UpstreamFailure
from proxy.providers import ChatStream
from proxy.wire.usage import Usage
from routing import Facts, Kind, Outcome, RateLimits, Router

#: A call that ended so was ended by us or by its client: no fault of the provider's.
_NOBODYS_FAULT = frozenset({ClientGone.kind, Overloaded.kind})


class Report:
    """What routing is told of one attempt."""

    __slots__ = ("_attempt", "_clock", "_facts", "_is_told", "_reserved_tokens", "_router", "_ttft_s")

    def __init__(self, router: Router, clock: Callable[[], float], facts: Facts, attempt: Attempt) -> None:
        """The attempt is being sent. `clock` gives monotonic seconds."""
        self._router = router
        self._clock = clock
        self._facts = facts
        self._attempt = attempt
        self._ttft_s: float | None = None
        self._is_told = False
        self._reserved_tokens = router.began(attempt.target, facts, attempt.started_at)

    def opened(self) -> None:
        """A stream's first event has come; how it goes on is told by `settle`."""
        self._attempt.waited_s = self._ttft_s = self._clock() - self._attempt.started_at

    def answered(self, usage: Usage | None, limits: RateLimits | None) -> None:
        """A whole answer has come."""
        self._tell("ok", usage, limits=limits)

    def failed(self, failure: UpstreamFailure) -> None:
        """No answer has come."""
        self._attempt.error = failure.kind
        # One of several credentials was at fault: that says nothing about the target.
        self._tell("gone" if failure.has_spare else kind_of(failure), None, retry_after_s(failure))

    def left(self) -> None:
        """Whatever happened, nobody waits for this attempt's beginning any more."""
        if self._ttft_s is None and not self._is_told:  # the call was cancelled
            self._tell("gone", None)

    async def settle(self, call: Call, stream: ChatStream) -> None:
        """The stream is over for the client: let go of the provider, and keep what it reported."""
        try:
            await stream.aclose()
        finally:  # whoever cancels us here: an attempt that was counted in is counted out
            call.usage = stream.usage
            kind: Kind = "ok"
            if call.error is not None:
                kind = "gone" if call.error in _NOBODYS_FAULT else "cut"
            self._tell(kind, call.usage, limits=stream.limits)

    def _tell(
        self, kind: Kind, usage: Usage | None, asked_s: float | None = None, limits: RateLimits | None = None
    ) -> None:
        if self._is_told:
            return
        self._is_told = True
        now = self._clock()
        duration_s = now - self._attempt.started_at
        if self._attempt.waited_s is None:
            self._attempt.waited_s = duration_s
        outcome = Outcome(
            target=self._attempt.target,
            kind=kind,
            started_at=self._attempt.started_at,
            duration_s=duration_s,
            ttft_s=self._ttft_s,
            input_tokens=usage.input_tokens if usage is not None else self._facts.input_tokens,
            output_tokens=usage.output_tokens if usage is not None else 0,
            cached_tokens=usage.cached_tokens if usage is not None else 0,
            retry_after_s=asked_s,
            limits=limits,
            reserved_tokens=self._reserved_tokens,
        )
        self._router.observe(outcome, now, self._facts)
