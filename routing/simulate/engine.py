"""Drives a router over a trace: a discrete-event simulation of attempts, time-outs, retries, hedges and clients.

Decides nothing about targets: that is the router's part. Two runs with the same arguments give the same records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Final

from routing.simulate.cloud import Cloud, Fate
from routing.simulate.luck import draw
from routing.simulate.records import CallRecord, Ending
from routing.simulate.routes import CallPolicy, Routes
from routing.simulate.trace import Request
from routing.types import Candidate, Facts, Kind, Outcome

_LEAST_ASK_S: Final = 0.001  #: a hedge that asks again at once would stop the clock
_BACKOFF: Final = -1  #: the "target" whose luck is the length of a call's waits


class _Attempt:
    __slots__ = ("call", "candidate", "fate", "has_begun", "is_over", "request", "sent_at")

    def __init__(self, call: _Call, candidate: Candidate, request: Request, fate: Fate, sent_at: float) -> None:
        self.call = call
        self.candidate = candidate
        self.request = request
        self.fate = fate
        self.sent_at = sent_at
        self.has_begun = self.is_over = False

    def output_tokens(self, at: float) -> int:
        """Tokens that came until now."""
        streaming_s = at - self.sent_at - self.fate.first_s
        return min(self.fate.output_tokens, int(streaming_s * self.fate.tokens_per_s)) if streaming_s > 0 else 0


class _Call:
    __slots__ = (
        *("attempts", "billed_tokens", "cost_usd", "facts", "first_token_at", "hedges", "leaves_at"),
        *("rate_limited", "request", "rest", "retries", "running", "target"),
    )

    def __init__(self, request: Request, facts: Facts, leaves_at: float) -> None:
        self.request = request
        self.rest = request  #: what is still to be asked for: after a cut, less than the whole
        self.facts = facts
        self.leaves_at = leaves_at
        self.running: list[_Attempt] = []
        self.first_token_at: float | None = None
        self.target: str | None = None
        self.attempts = self.hedges = self.retries = self.rate_limited = self.billed_tokens = 0
        self.cost_usd = 0.0


class Simulation:
    """One run of one router over one trace. Use it once."""

    def __init__(self, routes: Routes, cloud: Cloud, policy: CallPolicy, seed: int = 0, model: str = "chat") -> None:
        self._routes = routes
        self._cloud = cloud
        self._policy = policy
        self._seed = seed
        self._model = model
        self._rng = Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = 0
        self._records: list[CallRecord] = []

    def run(self, requests: Sequence[Request]) -> tuple[CallRecord, ...]:
        """Records in the order of the trace; `requests` are in the order of time. Raises RuntimeError if run twice."""
        if self._order:
            raise RuntimeError("a simulation runs once: its router and its providers have a past now")
        events = self._events
        for request in requests:
            while events and events[0][0] <= request.at:
                at, _, happen = heappop(events)
                happen(at)
            self._arrive(request)
        while events:
            at, _, happen = heappop(events)
            happen(at)
        return tuple(sorted(self._records, key=lambda record: record.index))

    def _push(self, at: float, happen: Callable[[float], None]) -> None:
        self._order += 1
        heappush(self._events, (at, self._order, happen))

    def _arrive(self, request: Request) -> None:
        at, policy = request.at, self._policy
        facts = Facts(
            self._model,
            request.stream,
            input_tokens=request.input_tokens,
            max_output_tokens=request.max_output_tokens,
            sticky=request.sticky,
            deadline_at=at + policy.deadline_s,
            first_token_at=at + policy.objective_s,
            may_wait=False,  # there is no queue here
        )
        self._ask(_Call(request, facts, at + min(policy.patience_s, policy.deadline_s)), at)

    def _ask(self, call: _Call, at: float) -> None:
        """Ask the router's best candidate, and the router for a hedge."""
        plan = self._routes.plan(call.facts, at, self._rng)
        if not plan.candidates:
            self._finish(call, at, "no_candidate" if call.first_token_at is None else "cut")
            return
        has_other = len(plan.candidates) > 1 and plan.candidates[1].target.name not in call.facts.tried
        attempt = self._send(call, plan.candidates[0], at, has_other)
        if call.first_token_at is None:
            self._ask_hedge(attempt, at)

    def _send(self, call: _Call, candidate: Candidate, at: float, has_other: bool = False) -> _Attempt:
        name, facts, patience_s = candidate.target.name, call.facts, self._policy.first_token_timeout_s
        if has_other:
            patience_s = min(patience_s, self._routes.patience_s(name, facts, at))
        self._routes.began(name, facts, at)
        fate = self._cloud.send(call.rest, name, facts.tried.count(name), at)
        attempt = _Attempt(call, candidate, call.rest, fate, at)
        call.facts = replace(facts, tried=(*facts.tried, name))
        call.running.append(attempt)
        call.attempts += 1
        # Before the first token an attempt has one event only, the first of those that may come.
        timeout_at = at + patience_s
        limit_at = min(timeout_at, call.leaves_at)
        if at + fate.first_s <= limit_at:
            self._push(at + fate.first_s, partial(self._begin_answer, attempt))
        elif at + fate.end_s <= limit_at:
            self._push(at + fate.end_s, partial(self._end, attempt))
        elif timeout_at < call.leaves_at:
            self._push(timeout_at, partial(self._time_out, attempt))
        else:
            self._push(call.leaves_at, partial(self._leave, attempt))
        return attempt

    def _ask_hedge(self, attempt: _Attempt, at: float) -> None:
        call = attempt.call
        lone = not attempt.is_over and call.first_token_at is None and len(call.running) == 1
        if not lone or call.attempts >= self._policy.max_attempts:
            return
        second, again_s = self._routes.hedge(call.facts, attempt.candidate, attempt.sent_at, at, self._rng)
        if second is not None:
            call.hedges += 1
            self._send(call, second, at)
        elif again_s is not None:
            self._push(at + max(again_s, _LEAST_ASK_S), partial(self._ask_hedge, attempt))

    def _begin_answer(self, attempt: _Attempt, at: float) -> None:
        """The first token: the race is over, the losers are cancelled."""
        if attempt.is_over:
            return
        call = attempt.call
        if call.first_token_at is None:
            call.first_token_at = at
            # Who reads does not leave: from here on only the deadline counts.
            call.leaves_at = call.facts.deadline_at
        attempt.has_begun = True
        call.target = attempt.candidate.target.name
        self._routes.first_token(call.target, attempt.sent_at, at)
        for loser in [other for other in call.running if other is not attempt]:
            self._over(loser, at, "outrun")
        end_at = attempt.sent_at + attempt.fate.end_s
        if end_at <= call.leaves_at:
            self._push(end_at, partial(self._end, attempt))
        else:
            self._push(call.leaves_at, partial(self._leave, attempt))

    def _end(self, attempt: _Attempt, at: float) -> None:
        """The attempt ends by itself: answered, cut, failed or refused."""
        if attempt.is_over:
            return
        call, kind = attempt.call, attempt.fate.kind
        self._over(attempt, at, kind)
        if kind == "ok":
            self._finish(call, at, "ok")
        elif kind == "cut":
            self._rescue(attempt, at)
        else:
            call.rate_limited += kind == "rate_limited"
            self._retry(call, at)

    def _time_out(self, attempt: _Attempt, at: float) -> None:
        if not attempt.is_over:
            self._over(attempt, at, "timeout")
            self._retry(attempt.call, at)

    def _leave(self, attempt: _Attempt, at: float) -> None:
        """The client's patience, or the call's time, is at its end."""
        call = attempt.call
        if attempt.is_over:
            return
        for running in [*call.running]:
            self._over(running, at, "gone")
        self._finish(call, at, "deadline" if at >= call.facts.deadline_at else "gave_up")

    def _rescue(self, attempt: _Attempt, at: float) -> None:
        """Ask for the rest of a cut answer: what came already goes along as input."""
        call, came = attempt.call, attempt.fate.output_tokens
        if not self._policy.is_rescued:
            self._finish(call, at, "cut")
            return
        rest = attempt.request
        call.rest = replace(
            rest, input_tokens=rest.input_tokens + came, output_tokens=max(1, rest.output_tokens - came)
        )
        call.facts = replace(call.facts, input_tokens=call.rest.input_tokens)
        self._retry(call, at)

    def _retry(self, call: _Call, at: float) -> None:
        """Ask again unless another attempt still runs, after a wait from the second retry on; or end the call."""
        if call.running:
            return
        policy = self._policy
        wait_s = 0.0
        if call.retries:
            longest_s = min(policy.max_backoff_s, policy.backoff_s * 2 ** (call.retries - 1))
            wait_s = longest_s * draw(self._seed, call.request.index, _BACKOFF, call.retries).delay
        is_possible = call.attempts < policy.max_attempts and at + wait_s < call.leaves_at
        if not is_possible or not self._routes.may_retry(call.facts, at):
            self._finish(call, at, "failed" if call.first_token_at is None else "cut")
            return
        call.retries += 1
        if wait_s > 0:
            self._push(at + wait_s, partial(self._ask, call))
        else:
            self._ask(call, at)

    def _over(self, attempt: _Attempt, at: float, kind: Kind) -> None:
        """Take the attempt out of the race, bill it and tell the router."""
        call, fate, name = attempt.call, attempt.fate, attempt.candidate.target.name
        attempt.is_over = True
        call.running.remove(attempt)
        self._cloud.ended(name)
        has_content = at >= attempt.sent_at + fate.first_s
        is_answered = kind in ("failed", "rate_limited")
        output = 0 if is_answered else fate.output_tokens if kind in ("ok", "cut") else attempt.output_tokens(at)
        billed_input = 0 if is_answered else attempt.request.input_tokens
        call.cost_usd += self._cloud.profile(name).cost_usd(billed_input, output, fate.cached_tokens)
        call.billed_tokens += billed_input + output
        outcome = Outcome(
            name,
            kind,
            attempt.sent_at,
            at - attempt.sent_at,
            fate.first_s if has_content else None,
            billed_input,
            output,
            fate.cached_tokens if has_content else 0,
            fate.retry_after_s if is_answered else None,
            fate.limits if is_answered or has_content else None,
            is_ttft_told=attempt.has_begun,
        )
        self._routes.observe(outcome, at)

    def _finish(self, call: _Call, at: float, ending: Ending) -> None:
        request = call.request
        if call.attempts and ending in ("failed", "no_candidate"):
            self._routes.gave_up(call.facts, at)
        useful = request.input_tokens + request.output_tokens if ending == "ok" else 0
        self._records.append(
            CallRecord(
                request.index,
                request.at,
                ending,
                None if call.first_token_at is None else call.first_token_at - request.at,
                at - request.at,
                call.cost_usd,
                call.billed_tokens,
                call.billed_tokens - useful,
                call.attempts,
                call.hedges,
                call.rate_limited,
                call.target,
            )
        )
