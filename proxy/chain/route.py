"""The end of the chain: turns a call into attempts at targets until one answers. The attempt engine.

Before the first event of an answer a failure is invisible to the client: routing is asked again, with what was just
learned, then the models of `fallbacks:`. After it, a failure is the client's to see (`proxy/api/respond.py` writes it
into the stream). One deadline and one budget of attempts hold for all of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from random import Random
from time import time
from typing import Final

from proxy.call import Answer, Attempt, Call
from proxy.chain.attempt import Report
from proxy.chain.catalogue import Catalogue, Fallback, Model, Static
from proxy.chain.facts import facts_of
from proxy.chain.outcomes import is_worth_repeating
from proxy.errors import Cause, GatewayError, InvalidRequest, Overloaded, UpstreamFailure, UpstreamUnavailable
from proxy.observe import Metrics
from proxy.providers import Patience, Provider
from proxy.wire.fixed import fixed_completion, fixed_stream
from routing import Exclusion, Facts, Router, Target, backoff_s

_JSON_HEADERS: Final = ((b"content-type", b"application/json"),)
SSE_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
)
#: With less time left, nobody is asked any more.
_MIN_LEFT_S: Final = 0.01
#: A first attempt has its model's whole patience but for this much: not worth a value of its own.
_NEAR_S: Final = 0.05

_logger = logging.getLogger(__name__)


class Route:
    """Asks the router where to go, goes there, and tells it how it went."""

    def __init__(
        self,
        router: Router,
        catalogue: Catalogue,
        providers: Mapping[str, Provider],
        metrics: Metrics,
        clock: Callable[[], float],
        rng: Random,
        wall_clock: Callable[[], float] = time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` gives monotonic seconds, `wall_clock` Unix time."""
        self._router = router
        self._catalogue = catalogue
        self._providers = providers
        self._metrics = metrics
        self._clock = clock
        self._rng = rng
        self._wall_clock = wall_clock
        self._sleep = sleep

    async def __call__(self, call: Call, /) -> Answer:
        """Answer the call. Raises the last failure when nothing is left to try."""
        model = self._catalogue[call.model]
        if not model.fallbacks:
            result = await self._ask(call, model, model.retries.max_attempts, None)
        else:
            result = await self._fall_back(call, model, [step for step in model.fallbacks if _is_open(step, call)])
        if isinstance(result, GatewayError):
            raise result
        return result

    async def _fall_back(self, call: Call, model: Model, steps: Sequence[Fallback]) -> Answer | GatewayError:
        # Each fallback may need an attempt: the model itself must not use them all up.
        max_attempts = model.retries.max_attempts
        kept = sum(step.model is not None for step in steps)
        result = await self._ask(call, model, max(1, max_attempts - kept), None)
        for step in steps:
            if not isinstance(result, GatewayError):
                break
            if not _applies(step.cause, result):
                continue
            if step.model is not None:
                result = await self._ask(call, self._catalogue[step.model], max(max_attempts, kept + 1), result)
            elif step.static is not None:
                return self._give_static(call, step.static, result)
        return result

    def _give_static(self, call: Call, static: Static, failure: GatewayError) -> Answer | GatewayError:
        """The fixed answer. For the client it is one; for everybody who counts, the failure that it hides."""
        call.fallback, call.error, call.failed_status = "static", failure.kind, failure.status
        created, request = int(self._wall_clock()), call.request
        if static.status >= 400:  # an error like any other: in a stream that has begun it can only be an event
            error = UpstreamUnavailable(static.text)
            error.status = static.status
            return error
        if request.stream:
            block = fixed_stream(
                static.text, id=call.id, model=call.model, created=created, include_usage=request.include_usage
            )
            return Answer(200, SSE_HEADERS, "static", blocks=_once(block))
        body = fixed_completion(static.text, id=call.id, model=call.model, created=created)
        return Answer(static.status, _JSON_HEADERS, "static", body=body)

    async def _ask(
        self, call: Call, model: Model, max_attempts: int, failure: GatewayError | None
    ) -> Answer | GatewayError:
        """Ask the model's targets until one answers; `failure` is what made us come here from another model."""
        facts = facts_of(call, model)
        call.fallback = None if model.name == call.model else model.name
        is_repeated = False
        while True:
            now = self._clock()
            if failure is not None and facts.deadline_at - now < _MIN_LEFT_S:
                return failure
            plan = self._router.plan(facts, now, self._rng)
            if not plan.candidates:
                return failure if is_repeated and failure is not None else _nobody(model.name, plan.excluded)
            target = plan.candidates[0].target
            if is_repeated and not await self._may_retry(facts, model, target, failure, now):
                assert failure is not None
                return failure
            if failure is not None:
                self._note_failover(call, failure, target)
            call.strategy = plan.strategy
            result = await self._attempt(call, facts, target, model.patience)
            if not isinstance(result, UpstreamFailure):
                return result
            failure, is_repeated = result, True
            if len(call.attempts) >= max_attempts or result.cause not in ("unavailable", "rate_limited"):
                return result  # else the request itself is at odds with the model: other targets would say the same
            if not result.has_spare:
                facts = replace(facts, tried=(*facts.tried, target.name))

    async def _may_retry(
        self, facts: Facts, model: Model, target: Target, failure: GatewayError | None, now: float
    ) -> bool:
        """Is another attempt, at this target, within the budget? Waits before one is asked for the second time."""
        wait_s = 0.0
        if target.name in facts.tried:
            if not (isinstance(failure, UpstreamFailure) and is_worth_repeating(failure)):
                return False
            wait_s = backoff_s(model.retries, len(facts.tried) - 1, self._rng)
            if now + wait_s >= facts.deadline_at:
                return False
        if not self._router.may_retry(facts, now):
            return False
        if wait_s:
            await self._sleep(wait_s)
        return True

    async def _attempt(self, call: Call, facts: Facts, target: Target, patience: Patience) -> Answer | UpstreamFailure:
        now = self._clock()
        attempt = Attempt(target.name, target.model, target.provider, now)
        left_s = facts.deadline_at - now
        if left_s < (inf if patience.total_s is None else patience.total_s - _NEAR_S):
            patience = replace(patience, total_s=left_s)
        call.attempts.append(attempt)
        provider = self._providers[target.provider]
        report = Report(self._router, self._clock, facts, attempt)
        try:
            if call.request.stream:
                stream = await provider.open_stream(target.model, call.request, patience)
                report.opened()
                call.closing.push_async_callback(report.settle, call, stream)
                return Answer(200, SSE_HEADERS, "upstream", blocks=stream)
            answer = await provider.answer(target.model, call.request, patience)
            call.usage = answer.usage
            report.answered(answer.usage, answer.limits)
            return Answer(200, _JSON_HEADERS, "upstream", body=answer.body)
        except UpstreamFailure as failure:
            report.failed(failure)
            return failure
        finally:
            report.left()

    def _note_failover(self, call: Call, failure: GatewayError, next_target: Target) -> None:
        if not call.attempts:
            return
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


def _is_open(step: Fallback, call: Call) -> bool:
    """The team's allow-list governs fallbacks too: failing over opens no model that asking for it would not."""
    return step.model is None or (call.principal is not None and call.principal.may_use(step.model))


async def _once(block: bytes) -> AsyncIterator[bytes]:
    yield block


def _applies(wanted: Cause, failure: GatewayError) -> bool:
    """Does a fallback for `wanted` apply after this failure? Being limited by a provider, or by our own care not to
    be, also means that the model is unavailable.
    """
    if isinstance(failure, UpstreamFailure):
        cause = failure.cause
    elif isinstance(failure, Overloaded):
        cause = "rate_limited"
    else:
        return False
    return wanted == cause or (wanted == "unavailable" and cause == "rate_limited")


def _nobody(model: str, excluded: Sequence[Exclusion]) -> GatewayError:
    """Why no target of the model may be asked."""
    waits = [item.until_s for item in excluded if item.until_s is not None]
    if not waits and all(item.reason.startswith(("lacks", "context")) for item in excluded):
        reasons = "; ".join(sorted({item.reason for item in excluded}))
        return InvalidRequest(f"No target of the model '{model}' can serve this request: {reasons}.")
    error = Overloaded(f"Every target of the model '{model}' is at its limit. Try again.")
    error.retry_after_s = max(1.0, min(waits)) if waits else 1.0
    return error
