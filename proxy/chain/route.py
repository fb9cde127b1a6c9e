"""The end of the chain: a call's model, then its fallbacks in order, until one answers. How one model is asked is the
engine's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from math import inf
from time import time
from typing import Final

from proxy.call import Answer, Call
from proxy.chain.catalogue import Catalogue, Fallback, Model, Static
from proxy.chain.engine import Engine, Quest, Won
from proxy.chain.facts import facts_of
from proxy.chain.rescue import RescuedStream
from proxy.errors import Cause, ContextLengthExceeded, GatewayError, Overloaded, UpstreamFailure, UpstreamUnavailable
from proxy.observe import Metrics
from proxy.wire.fixed import fixed_completion, fixed_stream
from proxy.wire.seam import can_be_resumed

JSON_HEADERS: Final = ((b"content-type", b"application/json"),)
SSE_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
)


class Route:
    """Asks the model that was named, then the models and answers of its `fallbacks:`."""

    def __init__(
        self, engine: Engine, catalogue: Catalogue, metrics: Metrics, wall_clock: Callable[[], float] = time
    ) -> None:
        """`wall_clock` gives Unix time."""
        self._engine = engine
        self._catalogue = catalogue
        self._metrics = metrics
        self._wall_clock = wall_clock

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
        failures: list[GatewayError] = []
        for step in steps:
            if not isinstance(result, GatewayError):
                return result
            if not failures or failures[-1] is not result:
                failures.append(result)
            kept -= step.model is not None  # those that follow
            if not any(_applies(step.cause, failure) for failure in failures):
                continue
            if step.model is not None:
                limit = max(max_attempts - kept, len(call.attempts) + 1)
                result = await self._ask(call, self._catalogue[step.model], limit, result)
            elif step.static is not None:
                return self._give_static(call, step.static, result)
            elif step.is_from_cache and call.spare is not None and (spared := await call.spare()) is not None:
                call.fallback = "cache"
                return spared
        if not isinstance(result, GatewayError):
            return result
        call.fallback = None
        # A fallback that is at odds with the request says nothing of the model that was asked for.
        return failures[0] if failures and result.status < 500 and result.status != 429 else result

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
        return Answer(static.status, JSON_HEADERS, "static", body=body)

    async def _ask(
        self, call: Call, model: Model, max_attempts: int, failure: GatewayError | None
    ) -> Answer | GatewayError:
        """Ask one model; `failure` is what made us come here from another one."""
        call.fallback = None if model.name == call.model else model.name
        facts = facts_of(call, model)
        if failure is not None:  # the call's deadline is that of the model that was named
            own_s = self._catalogue[call.model].patience.total_s
            own_deadline_at = inf if own_s is None else call.received_at + own_s
            deadline_at = min(facts.deadline_at, own_deadline_at)
            facts = replace(facts, deadline_at=deadline_at, may_wait=not call.attempts)
        quest = Quest(call, model, call.request, facts, max_attempts, failure)
        won = await self._engine.pursue(quest)
        if not isinstance(won, Won):
            self._engine.gave_up(quest)
            return won
        if won.stream is None:
            return Answer(200, JSON_HEADERS, "upstream", body=won.body)
        blocks: AsyncIterator[bytes] = won.stream
        if model.is_rescued and can_be_resumed(call.request):
            blocks = RescuedStream(self._engine, quest, won, won.stream, self._metrics)
        return Answer(200, SSE_HEADERS, "upstream", blocks=blocks)


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
    elif isinstance(failure, ContextLengthExceeded):
        cause = "context_length"
    else:
        return False
    return wanted == cause or (wanted == "unavailable" and cause == "rate_limited")
