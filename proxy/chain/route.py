"""The end of the chain: turns a call into attempts at targets until one answers. The attempt engine.

Before the first event of an answer a failure is invisible to the client: the next candidate is asked, then the models
of `fallbacks:`. After it, a failure is the client's to see (`proxy/api/respond.py` writes it into the stream).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from proxy.call import Answer, Attempt, Call
from proxy.chain.catalogue import Catalogue, Model
from proxy.errors import Cause, UpstreamFailure
from proxy.observe import Metrics
from proxy.providers import ChatStream, Patience, Provider
from routing import Facts, Router, Target

_JSON_HEADERS: Final = ((b"content-type", b"application/json"),)
SSE_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
)
#: Attempts that one call may cost, over all its targets and fallbacks.
_MAX_ATTEMPTS: Final = 8

_logger = logging.getLogger(__name__)


class Route:
    """Asks the router where to go, and goes there."""

    def __init__(
        self,
        router: Router,
        catalogue: Catalogue,
        providers: Mapping[str, Provider],
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives monotonic seconds."""
        self._router = router
        self._catalogue = catalogue
        self._providers = providers
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, call: Call, /) -> Answer:
        """Answer the call. Raises the last UpstreamFailure when nothing is left to try."""
        model = self._catalogue[call.model]
        deadline = None if model.patience.total_s is None else call.received_at + model.patience.total_s
        result = await self._ask(call, model, deadline)
        for fallback in model.fallbacks:
            if not isinstance(result, UpstreamFailure):
                break
            # The team's allow-list governs fallbacks too: failing over opens no model that asking for it would not.
            if (
                _applies(fallback.cause, result.cause)
                and call.principal is not None
                and call.principal.may_use(fallback.model)
            ):
                result = await self._ask(call, self._catalogue[fallback.model], deadline, result)
        if isinstance(result, UpstreamFailure):
            raise result
        return result

    async def _ask(
        self, call: Call, model: Model, deadline: float | None, failure: UpstreamFailure | None = None
    ) -> Answer | UpstreamFailure:
        """Try the model's targets in turn; `failure` is what made us come here from another model."""
        plan = self._router.plan(Facts(model.name, call.request.stream))
        for candidate in plan.candidates:
            left_s = None if deadline is None else deadline - self._clock()
            if failure is not None:
                if len(call.attempts) >= _MAX_ATTEMPTS or (left_s is not None and left_s <= 0):
                    break
                self._note_failover(call, failure, candidate.target)
            try:
                call.strategy = plan.strategy
                call.fallback = None if model.name == call.model else model.name
                patience = model.patience if failure is None else _within(model.patience, left_s)
                return await self._attempt(call, candidate.target, patience)
            except UpstreamFailure as error:
                failure = error
            if failure.cause not in ("unavailable", "rate_limited"):
                break  # the request itself is at odds with this model: its other targets would say the same
        assert failure is not None, "a plan is never empty"
        return failure

    async def _attempt(self, call: Call, target: Target, patience: Patience) -> Answer:
        started_at = self._clock()
        attempt = Attempt(target.name, target.model, target.provider, started_at)
        call.attempts.append(attempt)
        provider = self._providers[target.provider]
        try:
            if call.request.stream:
                stream = await provider.open_stream(target.model, call.request, patience)
                call.closing.push_async_callback(_settle, call, stream)
                return Answer(200, SSE_HEADERS, "upstream", blocks=stream)
            answer = await provider.answer(target.model, call.request, patience)
            call.usage = answer.usage
            return Answer(200, _JSON_HEADERS, "upstream", body=answer.body)
        except UpstreamFailure as failure:
            attempt.error = failure.kind
            raise
        finally:
            attempt.waited_s = self._clock() - started_at

    def _note_failover(self, call: Call, failure: UpstreamFailure, next_target: Target) -> None:
        failed = call.attempts[-1]
        self._metrics.failover(failed.provider, failure.kind)
        _logger.warning(
            "call %s: attempt %d at %s failed (%s); trying %s",
            call.id,
            len(call.attempts),
            failed.target,
            failure.kind,
            next_target.name,
        )


async def _settle(call: Call, stream: ChatStream) -> None:
    """Let go of the provider and keep what it reported, whether the stream was read to its end or not."""
    await stream.aclose()
    call.usage = stream.usage


def _within(patience: Patience, left_s: float | None) -> Patience:
    """The model's patience, its total cut to what is left for the whole call."""
    return Patience(patience.connect_s, patience.first_token_s, patience.idle_s, left_s)


def _applies(wanted: Cause, cause: Cause | None) -> bool:
    """Does a fallback for `wanted` apply after a failure of this cause? Being limited by a provider also means it is
    unavailable.
    """
    return wanted == cause or (wanted == "unavailable" and cause == "rate_limited")
