"""One Router per world: from the facts of a call to a plan, and back from what became of it.

The fleet, which holds what was learned of each target, outlives the router: a reload makes a new router over it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal, Protocol

from routing.explain import Explanation, Verdict
from routing.fit import is_tight, unfit
from routing.fleet import Fleet
from routing.retry import RetryBudget, RetrySettings
from routing.score import PRESETS
from routing.strategies.plain import RoundRobin, Weighted
from routing.strategies.scored import Scored
from routing.types import Candidate, Facts, Objective, Outcome, Plan, Target

StrategyName = Literal["cheapest", "fastest", "reliable", "balanced", "round_robin", "weighted"]


class Strategy(Protocol):
    """A way to order a model's targets."""

    name: str

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        """See `Router.plan`."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """One configured model: its targets, and how to choose among them."""

    targets: Sequence[Target]  #: at least one
    strategy: StrategyName = "round_robin"
    objective: Objective = field(default_factory=Objective)
    hedge_share: float = 0.0  #: what second attempts may add to the cost; 0 is off
    retries: RetrySettings = field(default_factory=RetrySettings)


class Router:
    """Plans calls over the targets of every configured model, and learns from how they went."""

    def __init__(self, groups: Mapping[str, Group], fleet: Fleet | None = None) -> None:
        """`groups`: by the model's configured name. `fleet`: what earlier worlds learned."""
        self.fleet = fleet or Fleet()
        self._strategies: dict[str, Strategy] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._groups = dict(groups)
        for model, group in groups.items():
            if not group.targets:
                raise ValueError("a model needs at least one target")
            self.fleet.join(group.targets)
            self._strategies[model] = _make_strategy(group, self.fleet)
            self._budgets[model] = RetryBudget(group.retries)

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        """Whom to ask, best first. Raises KeyError for a model that is not configured."""
        plan = self._strategies[facts.model].plan(facts, now, rng)
        if not facts.tried and plan.candidates:  # a call that must wait is planned again
            self._budgets[facts.model].deposit(now)
        return plan

    def explain(self, facts: Facts, now: float) -> Explanation:
        """What would become of a call, and why. Changes nothing. Raises KeyError for a model that is not configured."""
        strategy = self._strategies[facts.model]
        verdicts = [self._judge(target, strategy, facts, now) for target in self._groups[facts.model].targets]
        standing = [one for one in verdicts if one.excluded is None]
        standing.sort(key=lambda one: (is_tight(one.target, facts), _score_of(one)))
        best = _score_of(standing[0]) if standing else 0.0
        placed = [
            replace(one, place=place, margin_usd=None if one.estimate is None else _score_of(one) - best)
            for place, one in enumerate(standing, 1)
        ]
        others = [one for one in verdicts if one.excluded is not None]
        if not isinstance(strategy, Scored):
            return Explanation(strategy.name, None, None, None, (*placed, *others))
        success, (miss_usd, failure_usd, _) = self._groups[facts.model].objective.success, strategy.stakes
        failure = None if success is None else failure_usd
        return Explanation(strategy.name, miss_usd, success, failure, (*placed, *others))

    def _judge(self, target: Target, strategy: Strategy, facts: Facts, now: float) -> Verdict:
        state = self.fleet[target.name]
        tokens = strategy.tokens(facts) if isinstance(strategy, Scored) else facts.input_tokens
        obstacle = unfit(target, facts) or state.obstacle(tokens, now)
        return Verdict(
            target=target,
            place=None,
            excluded=obstacle[0] if obstacle is not None else None,
            until_s=obstacle[1] if obstacle is not None else None,
            breaker=state.breaker.state(now),
            headroom=state.pacer.headroom(now),
            in_flight=state.in_flight,
            estimate=strategy.estimate(target.name, facts, now) if isinstance(strategy, Scored) else None,
            margin_usd=None,
        )

    def may_retry(self, facts: Facts, now: float) -> bool:
        """May this call cost one more attempt? Asked once for each: a yes spends from the model's budget."""
        return self._budgets[facts.model].withdraw(now)

    def hedge(
        self, facts: Facts, first: Candidate, sent_at: float, now: float, rng: Random
    ) -> tuple[Candidate | None, float | None]:
        """A second target to race an attempt that is silent since `sent_at`; if none yet, after how many seconds to ask
        again (None: never).
        """
        strategy = self._strategies[facts.model]
        return strategy.hedge(facts, first.target.name, sent_at, now) if isinstance(strategy, Scored) else (None, None)

    def patience_s(self, target: str, facts: Facts, now: float) -> float:
        """After how many seconds without a first token an attempt is better made elsewhere; inf: that is not known."""
        return self.fleet[target].patience_s(facts.input_tokens, now)

    def began(self, target: str, facts: Facts, now: float) -> int:
        """An attempt is being sent. Gives the tokens it was counted for, for `Outcome.reserved_tokens`."""
        strategy = self._strategies[facts.model]
        tokens = strategy.tokens(facts) if isinstance(strategy, Scored) else facts.input_tokens
        self.fleet[target].began(tokens, now, facts.input_tokens if facts.stream else None)
        return tokens

    def first_token(self, target: str, facts: Facts, started_at: float, now: float) -> None:
        """The first content of an attempt that `began` has come: what can be learned of it need not wait for the end of
        the answer. May be left out; whoever tells it says so in `Outcome.is_ttft_told`.
        """
        strategy = self._strategies[facts.model]
        warm_tokens = strategy.warm_tokens(target, facts, now) if isinstance(strategy, Scored) else 0
        self.fleet[target].first_token(started_at, facts.input_tokens - warm_tokens, now)
        if isinstance(strategy, Scored):
            strategy.saw_first_token(now, started_at, facts)

    def observe(self, outcome: Outcome, now: float, facts: Facts | None = None) -> None:
        """An attempt that `began` has ended; to be told once for each. `facts`: of its call."""
        self.fleet.ended(outcome, now, facts is None or facts.stream)
        if facts is not None:
            strategy = self._strategies[facts.model]
            if isinstance(strategy, Scored):
                strategy.learn(outcome, facts, now)

    def gave_up(self, model: str) -> None:
        """A call has failed for good, by the fault of the model's targets: none of its attempts, which were observed by
        themselves, began to answer.
        """
        strategy = self._strategies[model]
        if isinstance(strategy, Scored):
            strategy.gave_up()


def _score_of(verdict: Verdict) -> float:
    return 0.0 if verdict.estimate is None else verdict.estimate.score


def _make_strategy(group: Group, fleet: Fleet) -> Strategy:
    if group.strategy == "round_robin":
        return RoundRobin(group.targets, fleet)
    if group.strategy == "weighted":
        return Weighted(group.targets, fleet)
    return Scored(PRESETS[group.strategy], group.targets, group.objective, fleet, group.hedge_share)
