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

from proxy.call import Attempt, Call, PriceTag
from proxy.chain.attempt import OUTRUN, Report
from proxy.chain.catalogue import Model
from proxy.chain.drops import request_for
from proxy.chain.facts import outgrown
from proxy.chain.outcomes import THEIR_FAULT, is_worth_repeating
from proxy.chain.race import race
from proxy.chain.refusal import nobody
from proxy.errors import GatewayError, UpstreamFailure, UpstreamTimeout
from proxy.observe import Metrics
from proxy.providers import ChatStream, Patience, Provider
from proxy.state import Role
from proxy.wire.chat import ChatRequest
from proxy.wire.embeddings import Embeddings
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
    embeddings: Embeddings | None = None
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
    failed: Attempt | None = None  #: the attempt that `failure` is of
    has_larger: bool = False  #: was the call too long for the last target, and is a larger one worth asking?


def _no_price(model: str, target: str) -> None:
    """Nobody knows what it costs."""


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
        price_of: Callable[[str, str], PriceTag | None] = _no_price,
    ) -> None:
        """`clock` gives monotonic seconds, `price_of` what a model's target costs now."""
        self._router = router
        self._providers = providers
        self._metrics = metrics
        self._clock = clock
        self._rng = rng
        self._sleep = sleep
        self._price_of = price_of

    async def pursue(self, quest: Quest) -> Won | GatewayError:
        """Ask until somebody answers, or nothing is left to try: then the last failure."""
        call, model, plan = quest.call, quest.model, None
        while True:
            now, failure, facts = self._clock(), quest.failure, quest.facts
            if failure is not None and facts.deadline_at - now < _MIN_LEFT_S:
                return failure
            if plan is None or not (isinstance(failure, UpstreamFailure) and failure.has_spare):
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
                if quest.is_repeated and not await self._may_retry(quest, first.target, now):
                    return failure
                self._note_failover(quest, failure, first.target)
            if call.attempts and not await _is_covered(quest):
                return failure or nobody(facts, plan.excluded, None)
            call.strategy = plan.strategy
            if model.is_hedged and quest.request.stream and not quest.request.text_so_far:
                result = await self._race(quest, first)
            else:
                has_other = len(plan.candidates) > 1 and plan.candidates[1].target.name not in facts.tried
                result = await self._attempt(quest, first.target, self._begin(quest, first.target), has_other)
            if isinstance(result, Won):
                call.answered = result.report.attempt
                return result
            result.retry_after_s = _sooner(failure, result)
            quest.failure, quest.is_repeated = result, True
            if len(call.attempts) >= quest.max_attempts:
                return result
            has_larger = result.cause == "context_length" and quest.has_larger
            if result.cause not in ("unavailable", "rate_limited") and not has_larger:
                return result  # the request itself is at odds with the model: other targets would say the same

    def gave_up(self, quest: Quest) -> None:
        """Nobody has answered, and the client will be told so: let routing know, if the targets were at fault."""
        outcome = None if quest.failed is None else quest.failed.outcome
        if outcome is not None and outcome.kind in THEIR_FAULT:
            self._router.gave_up(quest.model.name)

    async def _may_retry(self, quest: Quest, target: Target, now: float) -> bool:
        """Is another attempt, at this target, within the budget? Waits before one is asked for the second time."""
        facts, wait_s = quest.facts, 0.0
        if target.name in facts.tried and not quest.has_waited:
            last = next(one for one in reversed(quest.call.attempts) if one.target == target.name)
            if not last.is_repeatable:
                return False
            asked_s = last.outcome.retry_after_s or 0.0 if last.outcome is not None else 0.0
            wait_s = max(asked_s, backoff_s(quest.model.retries, len(facts.tried) - 1, self._rng))
            if asked_s > _MAX_WAIT_S or now + wait_s + _MIN_LEFT_S >= facts.deadline_at:
                return False
        if not self._router.may_retry(facts, now):
            return False
        if not wait_s:
            return True
        await self._sleep(wait_s)
        plan = self._router.plan(facts, self._clock(), self._rng)  # it may have been drained meanwhile
        return any(candidate.target is target for candidate in plan.candidates)

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

        async def backup() -> tuple[Coroutine[Any, Any, Won | UpstreamFailure] | None, float | None]:
            if len(call.attempts) >= quest.max_attempts:
                return None, None
            second, again_s = self._router.hedge(quest.facts, first, sent_at, self._clock(), self._rng)
            if second is None or not await _is_covered(quest):
                return None, again_s
            if call.attempts[begun].waited_s is not None:  # the first one has ended while room was asked for
                return None, None
            return start(second.target, "hedge"), None

        def start(target: Target, role: Role | None = None) -> Coroutine[Any, Any, Won | UpstreamFailure]:
            report = self._begin(quest, target, role)
            call.closing.callback(report.left)  # its task may be cancelled before it has run at all
            return self._attempt(quest, target, report)

        result, others = await race(
            start(first.target), backup, lambda one: isinstance(one, Won), call.closing, self._sleep
        )
        runners = call.attempts[begun:]
        winner = result.report.attempt if isinstance(result, Won) else None
        for attempt in runners:
            if winner is not None and attempt is not winner and attempt.error is None:
                attempt.error = OUTRUN  # its task learns of it when it is cancelled, which is after this turn
        for other in others:
            if isinstance(other, Won) and other.stream is not None:  # in the same turn, but too late
                await other.report.lost(call, other.stream)
        if len(runners) > 1:
            self._metrics.hedge("failed" if winner is None else "won" if winner is runners[1] else "lost")
        return result

    def _begin(self, quest: Quest, target: Target, role: Role | None = None) -> Report:
        """Count an attempt in. Not a coroutine: two calls of one turn must see each other."""
        attempt = Attempt(target.name, target.model, target.provider, self._clock())
        attempt.price = self._price_of(quest.model.name, target.name)
        if quest.call.attempts:
            attempt.role = role or _role_in(quest)
        quest.call.attempts.append(attempt)
        return Report(self._router, self._clock, quest.facts, attempt)

    async def _attempt(
        self, quest: Quest, target: Target, report: Report, has_other: bool = False
    ) -> Won | UpstreamFailure:
        call, attempt = quest.call, report.attempt
        patience, left_s = quest.model.patience, quest.facts.deadline_at - attempt.started_at
        if has_other and quest.request.stream:
            enough_s = self._router.patience_s(target.name, quest.facts, attempt.started_at)
            if enough_s < (inf if patience.first_token_s is None else patience.first_token_s):
                patience = replace(patience, first_token_s=enough_s)
        is_hurried = left_s < (inf if patience.total_s is None else patience.total_s - _NEAR_S)
        if is_hurried:
            patience = replace(patience, total_s=left_s)
        try:
            provider, request = self._providers[target.provider], request_for(target, quest.request, attempt)
            if request.stream:
                stream = await provider.open_stream(target.model, request, patience)
                report.opened(call, stream)
                call.closing.push_async_callback(report.settle, call, stream)
                return Won(report, stream=stream)
            answer = await provider.answer(target.model, request, patience)
            report.answered(call, answer)
            return Won(report, body=answer.body, embeddings=answer.embeddings)
        except UpstreamFailure as failure:
            report.failed(failure, is_ours=is_hurried and self._is_haste(failure, left_s, patience, quest.facts))
            attempt.is_repeatable = is_worth_repeating(failure)
            quest.failed = attempt
            larger = outgrown(quest.facts, target) if failure.cause == "context_length" else None
            quest.has_larger = larger is not None
            if larger is not None:
                quest.facts = larger
            elif not failure.has_spare:
                quest.facts = replace(quest.facts, tried=(*quest.facts.tried, target.name))
            return failure
        finally:
            report.left()

    def _is_haste(self, failure: UpstreamFailure, left_s: float, patience: Patience, facts: Facts) -> bool:
        """Was it cut short by the call's own deadline, before it had had what a stream has to begin?"""
        fair_s = inf if patience.first_token_s is None else patience.first_token_s
        is_over = self._clock() >= facts.deadline_at - _MIN_LEFT_S
        return isinstance(failure, UpstreamTimeout) and left_s < fair_s and is_over

    def _note_failover(self, quest: Quest, failure: GatewayError, next_target: Target) -> None:
        call, failed = quest.call, quest.failed or (quest.call.attempts[-1] if quest.call.attempts else None)
        if failed is None:
            return
        self._metrics.failover(failed.provider, failure.kind)
        _logger.warning(
            "call %s: attempt %d at %s failed (%s); trying %s",
            call.id,
            call.attempts.index(failed) + 1,
            failed.target,
            failure.kind,
            next_target.name,
        )


async def _is_covered(quest: Quest) -> bool:
    """Is what one more attempt may cost within its quotas? What is sent to rescue an answer is longer."""
    call = quest.call
    return call.cover is None or await call.cover(call, quest.request.size_bytes - call.request.size_bytes)


def _role_in(quest: Quest) -> Role:
    """Why one more attempt is made."""
    if quest.request.text_so_far:
        return "rescue"
    return "retry" if quest.call.fallback is None else "fallback"


def _sooner(failure: GatewayError | None, last: UpstreamFailure) -> float | None:
    """When the client may try again: as soon as any of the targets that failed may be asked."""
    waits = [one.retry_after_s for one in (failure, last) if one is not None and one.retry_after_s is not None]
    return min(waits, default=None)
