"""What surrounds a picker in a usual gateway: cool-downs, plain retries, no hedge. After LiteLLM's router."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Final

from routing.simulate.baselines import (
    InversePriceSquared,
    LeastBusy,
    LowestCost,
    LowestLatency,
    PeakEwma,
    Picker,
    RoundRobin,
    Uniform,
    Weighted,
)
from routing.simulate.routes import CallPolicy
from routing.types import Candidate, Exclusion, Facts, Outcome, Plan, Target

_COOL_DOWN_S: Final = 5.0
_LEAST_COUNT: Final = 5  #: attempts in the calendar minute before their share of failures counts
_MAX_FAILURES: Final = 0.5  #: the share beyond which a target cools down

#: LiteLLM's two retries, and a time-out of 60 s: its own default is 6,000 s.
USUAL: Final = CallPolicy(max_attempts=3, first_token_timeout_s=60.0)
#: The same with a time-out for the first token, which nobody has by default.
TUNED: Final = CallPolicy(max_attempts=3, first_token_timeout_s=5.0)
PATIENT: Final = CallPolicy(max_attempts=5, first_token_timeout_s=5.0)
NO_RETRY: Final = CallPolicy(max_attempts=1, first_token_timeout_s=60.0)


class Shell:
    """A picker as a router: `Routes` with cool-downs.

    A target cools down for 5 s on a 429, and when more than half of at least 5 attempts of the calendar minute failed.
    Targets that were tried are picked again like any other.
    """

    def __init__(self, targets: Sequence[Target], picker: Picker, *, cools: bool = True) -> None:
        """`cools`: False leaves out the cool-downs."""
        self._targets = tuple(targets)
        self._candidates = {target.name: (Candidate(target, picker.name),) for target in targets}
        self._picker = picker
        self._cools = cools
        self._cool_until: dict[str, float] = {}
        self._minute = -1
        self._ended: defaultdict[str, int] = defaultdict(int)
        self._failed: defaultdict[str, int] = defaultdict(int)

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        """The one target that the picker picks; none if all cool down."""
        cool_until = self._cool_until
        able: Sequence[Target] = self._targets
        if cool_until:
            able = [target for target in able if cool_until.get(target.name, 0.0) <= now]
        picked = self._picker.pick(able, facts, now, rng) if able else None
        if picked is None:
            excluded = tuple(
                Exclusion(target, "cools down or is full", max(0.0, cool_until.get(target.name, 0.0) - now))
                for target in self._targets
            )
            return Plan(self._picker.name, (), excluded)
        return Plan(self._picker.name, self._candidates[picked.name])

    def patience_s(self, target: str, facts: Facts, now: float) -> float:
        """See `Routes.patience_s`: the policy's time-out is all there is."""
        return inf

    def began(self, target: str, facts: Facts, now: float) -> None:
        """Hand on to the picker."""
        self._picker.began(target, facts, now)

    def first_token(self, target: str, sent_at: float, now: float) -> None:
        """Nothing: what is copied here learns when an attempt ends."""

    def observe(self, outcome: Outcome, now: float) -> None:
        """Hand on to the picker, and count failures."""
        self._picker.observe(outcome, now)
        if not self._cools or outcome.kind == "gone":
            return
        if int(now // 60) != self._minute:
            self._minute = int(now // 60)
            self._ended.clear()
            self._failed.clear()
        target = outcome.target
        self._ended[target] += 1
        self._failed[target] += outcome.kind in ("failed", "timeout", "rate_limited")
        is_mostly_failing = (
            self._ended[target] >= _LEAST_COUNT and self._failed[target] > _MAX_FAILURES * self._ended[target]
        )
        if outcome.kind == "rate_limited" or (is_mostly_failing and outcome.kind != "ok"):
            self._cool_until[target] = now + _COOL_DOWN_S

    def gave_up(self, facts: Facts, now: float) -> None:
        """Nothing: what is copied here learns of attempts."""

    def may_retry(self, facts: Facts, now: float) -> bool:
        """Always: there is no budget."""
        return True

    def hedge(
        self, facts: Facts, first: Candidate, sent_at: float, now: float, rng: Random
    ) -> tuple[Candidate | None, float | None]:
        """Never."""
        return None, None


@dataclass(frozen=True, slots=True)
class Baseline:
    """A router to compare with, under its policy."""

    name: str
    make: Callable[[], Picker]
    policy: CallPolicy = USUAL
    cools: bool = True

    def routes(self, targets: Sequence[Target]) -> Shell:
        """A fresh router over these targets."""
        return Shell(targets, self.make(), cools=self.cools)


def _peak_ewma_on_ttft() -> PeakEwma:
    return PeakEwma(on_ttft=True)


def _peak_ewma_on_duration() -> PeakEwma:
    return PeakEwma(on_ttft=False)


def _lowest_cost_blind() -> LowestCost:
    return LowestCost(knows_limits=False)


BASELINES: Final = (
    Baseline("round robin, no retry", RoundRobin, NO_RETRY, cools=False),
    Baseline("lowest cost, no retry", _lowest_cost_blind, NO_RETRY, cools=False),
    Baseline("round robin", RoundRobin),
    Baseline("random", Uniform),
    Baseline("weighted", Weighted),
    Baseline("weighted, tuned", Weighted, PATIENT),
    Baseline("least busy", LeastBusy),
    Baseline("lowest latency", LowestLatency),
    Baseline("lowest latency, tuned", LowestLatency, TUNED),
    Baseline("lowest cost", LowestCost),
    Baseline("lowest cost, tuned", LowestCost, PATIENT),
    Baseline("1/price²", InversePriceSquared, TUNED),
    Baseline("P2C peak EWMA, duration", _peak_ewma_on_duration),
    Baseline("P2C peak EWMA, TTFT", _peak_ewma_on_ttft, TUNED),
)
