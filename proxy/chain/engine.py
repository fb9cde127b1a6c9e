"""The attempt engine: asks one model's targets, one after the other, until one answers.

Before the first event of an answer a failure is invisible to the client: routing is asked again, with what was just
learned; a second attempt may race a silent first one. After it, a failure is the client's to see, unless the model's
streams are rescued (`proxy/chain/rescue.py`). One deadline and one budget of attempts hold for all of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import Any, Final

from proxy.call import Attempt, Call
from proxy.chain.attempt import OUTRUN, Report
from proxy.chain.catalogue import Model
from proxy.chain.drops import request_for
from proxy.chain.facts import outgrown
from proxy.chain.outcomes import is_worth_repeating
from proxy.chain.race import race
from proxy.chain.refusal import nobody
from proxy.errors import GatewayError, UpstreamFailure
from proxy.observe import Metrics
from proxy.providers import ChatStream, Provider
from proxy.wire.chat import ChatRequest
from routing import Candidate, Exclusion, Facts, Router, Target, backoff_s

#: With less time left, nobody is asked any more.
_MIN_LEFT_S: Final = 0.01
#: Nobody is kept waiting longer than this for a target that asked to be left alone.
_MAX_WAIT_S: Final = 2.0
#: A timer may fire this much before its time.
_TIMER_SLACK_S: Final = 0.005
#: A first attempt has its model's whole patience but for this much: not worth a value of its own.
_NEAR_S: Final = 0.05

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Won:
    """A target answers: a whole body, or a stream whose first event has come."""

    report: Report
    body: bytes = b""
    stream: ChatStream | None = None


@dataclass(slots=True)
class Quest:
    """What one model is asked for on a call's behalf, and how far that has come."""

    call: Call
    model: Model
    request: ChatRequest
    facts: Facts  #: with the names of the targets that have failed
    max_attempts: int  #: of the whole call, those before this quest included
    failure: GatewayError | None = None  #: what the next attempt is to make good; None at first
    is_repeated: bool = False  #: has one of this model's targets been asked?
    has_waited: bool = False  #: has the time passed that its targets asked to be left alone for?


class Engine:
    """Asks the router where to go, goes there, and tells it how it went."""

    def __init__(
        self,
        router: Router,
        providers: Mapping[str, Provider],
        metrics: Metrics,
        clock: Callable[[], float],
        rng: Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` gives monotonic seconds."""
        self._router = router
        self._providers = providers
        self._metrics = metrics
        self._clock = clock
        self._rng = rng
        self._sleep = sleep

    async def pursue(self, quest: Quest) -> Won | GatewayError:
        """Ask until somebody answers, or nothing is left to try: then the last failure."""
        call, model = quest.call, quest.model
        while True:
            now, failure, facts = self._clock(), quest.failure, quest.facts
            if failure is not None and facts.deadline_at - now < _MIN_LEFT_S:
                return failure
            plan = self._router.plan(facts, now, self._rng)
            call.plans.append((now, facts, plan))
            if not plan.candidates:
                if not quest.is_repeated or failure is None:
                    return nobody(facts, plan.excluded, failure)
                if failure.retry_after_s is None or not await self._wait_for_one(quest, plan.excluded, now):
                    return failure
                continue
            first = plan.candidates[0]
            if failure is not None:
                if quest.is_repeated and not await self._may_retry(quest, first.target, failure, now):
                    return failure
                self._note_failover(call, failure, first.target)
            call.strategy = plan.strategy
            if model.is_hedged and quest.request.stream and not quest.request.text_so_far:
                result = await self._race(quest, first)
            else:
                result = await self._attempt(quest, first.target)
            if isinstance(result, Won):
                call.answered = result.report.attempt
                return result
            result.retry_after_s = _sooner(failure, result)
            quest.failure, quest.is_repeated = result, True
            if len(call.attempts) >= quest.max_attempts:
                return result
            has_larger = result.cause == "context_length" and quest.facts is not facts
            if result.cause not in ("unavailable", "rate_limited") and not has_larger:
                return result  # the request itself is at odds with the model: other targets would say the same

    async def _may_retry(self, quest: Quest, target: Target, failure: GatewayError, now: float) -> bool:
        """Is another attempt, at this target, within the budget? Waits before one is asked for the second time."""
        facts, wait_s = quest.facts, 0.0
        if target.name in facts.tried and not quest.has_waited:
            if not (isinstance(failure, UpstreamFailure) and is_worth_repeating(failure)):
                return False
            wait_s = backoff_s(quest.model.retries, len(facts.tried) - 1, self._rng)
            asked_s = failure.retry_after_s or 0.0
            if asked_s > _MAX_WAIT_S or now + max(wait_s, asked_s) >= facts.deadline_at:
                return False
            wait_s = max(wait_s, asked_s)
        if not self._router.may_retry(facts, now):
            return False
        if wait_s:
            await self._sleep(wait_s)
        return True

    async def _wait_for_one(self, quest: Quest, excluded: Sequence[Exclusion], now: float) -> bool:
        """Wait, once, for the first of the targets that may be asked again soon; False if that is not worth it."""
        waits = [item.until_s for item in excluded if item.until_s is not None]
        wait_s = min(waits, default=inf)
        if quest.has_waited or wait_s > _MAX_WAIT_S or now + wait_s >= quest.facts.deadline_at:
            return False
        quest.has_waited = True
        await self._sleep(wait_s + _TIMER_SLACK_S)
        return True

    async def _race(self, quest: Quest, first: Candidate) -> Won | UpstreamFailure:
        """As `_attempt`, but a second target may be asked too while the first one is silent."""
        call, sent_at, begun = quest.call, self._clock(), len(quest.call.attempts)

        def backup() -> tuple[Coroutine[Any, Any, Won | UpstreamFailure] | None, float | None]:
            if len(call.attempts) >= quest.max_attempts:
                return None, None
            second, again_s = self._router.hedge(quest.facts, first, sent_at, self._clock(), self._rng)
            if second is None:
                return None, again_s
            return self._attempt(quest, second.target), None

        result, others = await race(
            self._attempt(quest, first.target), backup, lambda one: isinstance(one, Won), call.closing, self._sleep
        )
        runners = call.attempts[begun:]
        winner = result.report.attempt if isinstance(result, Won) else None
        for attempt in runners:
            if winner is not None and attempt is not winner and attempt.error is None:
                attempt.error = OUTRUN  # its task learns of it when it is cancelled, which is after this turn
        for other in others:
            if isinstance(other, Won) and other.stream is not None:  # in the same turn, but too late
                await other.report.lost(other.stream)
        if len(runners) > 1:
            self._metrics.hedge("failed" if winner is None else "won" if winner is runners[1] else "lost")
        return result

    async def _attempt(self, quest: Quest, target: Target) -> Won | UpstreamFailure:
        call, now = quest.call, self._clock()
        attempt = Attempt(target.name, target.model, target.provider, now)
        patience, left_s = quest.model.patience, quest.facts.deadline_at - now
        if left_s < (inf if patience.total_s is None else patience.total_s - _NEAR_S):
            patience = replace(patience, total_s=left_s)
        call.attempts.append(attempt)
        provider, request = self._providers[target.provider], request_for(target, quest.request, attempt)
        report = Report(self._router, self._clock, quest.facts, attempt)
        try:
            if request.stream:
                stream = await provider.open_stream(target.model, request, patience)
                report.opened()
                call.closing.push_async_callback(report.settle, call, stream)
                return Won(report, stream=stream)
            answer = await provider.answer(target.model, request, patience)
            report.answered(call, answer.usage, answer.limits)
            return Won(report, body=answer.body)
        except UpstreamFailure as failure:
            report.failed(failure)
            if failure.cause == "context_length":
                quest.facts = outgrown(quest.facts, target) or quest.facts
            elif not failure.has_spare:
                quest.facts = replace(quest.facts, tried=(*quest.facts.tried, target.name))
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


def _sooner(failure: GatewayError | None, last: UpstreamFailure) -> float | None:
    """When the client may try again: as soon as any of the targets that failed may be asked."""
    waits = [one.retry_after_s for one in (failure, last) if one is not None and one.retry_after_s is not None]
    return min(waits, default=None)
