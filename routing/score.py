"""The one scorer: what a target costs, and what its failing the call would.

    score = cost + λ · P(fails, or begins too late) + λ · k · P(stream dies) + μ · P(fails, or its stream dies)
            + what waiting itself is worth

argmin over the candidates: an absolute objective is kept at the least cost, where ranking by cost alone or by latency
alone keeps neither promise in a brown-out. λ and μ are prices in units of what a call usually costs: λ rises while
calls begin too late more often than promised, μ while they fail more often, and it is 0 where nothing is promised of
that. The presets are weights of the same formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Final

from routing.types import Objective, Stakes, Target

_PER_TOKEN: Final = 1e-6
#: Of a call, before any has been seen.
_USUAL_INPUT_TOKENS: Final = 1000
_USUAL_OUTPUT_TOKENS: Final = 200
#: λ, in costs of a usual call. From 1 (a failure is a call wasted) to what no price difference outweighs.
_FIRST_LAMBDA: Final = 20.0
_MIN_LAMBDA: Final = 1.0
_MAX_LAMBDA: Final = 250.0
_LAMBDA_STEP: Final = 0.005
#: λ falls while fewer calls miss than this share of what the objective allows.
_SPARE: Final = 0.8
#: What λ moves by at an objective of 95 %, by shares of what is allowed; so μ moves, one failure by no more than the
#: second figure. One share more of what is allowed counts for no more than the third, as with λ.
_FAILURE_STEP: Final = 0.05 * _LAMBDA_STEP
_MAX_FAILURE_STEP: Final = 0.7
_MAX_SHARE: Final = 0.05 * _MAX_LAMBDA
#: So many failures are always allowed: nobody can keep a promise of none.
_LEAST_ALLOWED: Final = 1e-5
_REFERENCE_KEPT: Final = 0.99
#: Where nothing has a price, risk alone decides: any unit will do.
_LEAST_USD: Final = 1e-9
#: A beginning later than so many times the objective is no near miss.
LATE: Final = 1.75


@dataclass(frozen=True, slots=True)
class Preset:
    """The weights of one strategy."""

    name: str
    cost: float = 1.0
    miss: float = 1.0  #: of failing, or beginning later than the objective, times λ
    late: float = 0.0  #: of failing, or beginning later still (`LATE` times the objective), times λ
    cut: float = 6.0  #: times λ
    room: float = 2.0  #: of the last room that a target's limits leave, in costs of a usual call
    wait: float = 0.0  #: of each second to the first token, in costs of a usual call
    has_objective: bool = True  #: is beginning too late a failure?
    is_adaptive: bool = True  #: does λ follow what is missed?


PRESETS: Final = {
    preset.name: preset
    for preset in (
        Preset("balanced", miss=0.7, late=2.0),
        Preset("cheapest", has_objective=False, is_adaptive=False),
        Preset("fastest", cost=0.0, miss=2.0, cut=2.0, room=0.0, wait=100.0, has_objective=False, is_adaptive=False),
        Preset("reliable", miss=5.0, cut=30.0),
    )
}


class Tariff:
    """One target's price for a call, in dollars; a target without a price costs what the dearest would."""

    __slots__ = ("_cached", "_input", "_output")

    def __init__(self, target: Target, dearest: Target | None) -> None:
        price = target.price or (dearest.price if dearest is not None else None)
        self._input = price.input * _PER_TOKEN if price is not None else 0.0
        self._output = price.output * _PER_TOKEN if price is not None else 0.0
        cached = price.cached_input if price is not None else None
        self._cached = self._input if cached is None else cached * _PER_TOKEN

    def cost_usd(self, input_tokens: int, warm_tokens: int, output_tokens: float) -> float:
        """Of a call with these tokens; `warm_tokens` of the input are in the provider's cache."""
        return (input_tokens - warm_tokens) * self._input + warm_tokens * self._cached + output_tokens * self._output

    def usual_usd(self) -> float:
        """What a call costs before any has been seen."""
        return self.cost_usd(_USUAL_INPUT_TOKENS, 0, _USUAL_OUTPUT_TOKENS)


class Promise:
    """How dear it is to miss a model's objective, learned from how often it is missed."""

    __slots__ = (*("_failures", "_late", "_preset", "failure_multiplier", "multiplier", "price_usd", "reference_usd"),)

    def __init__(self, preset: Preset, objective: Objective, reference_usd: float) -> None:
        """`reference_usd`: what a call will usually cost where it is cheapest, as far as can be said beforehand."""
        self._preset = preset
        self._late = 1 - objective.within  #: the share that may begin late
        self._failures = None if objective.success is None else max(1 - objective.success, _LEAST_ALLOWED)
        self.multiplier = _FIRST_LAMBDA  #: λ, in costs of a usual call
        self.failure_multiplier = 0.0 if objective.success is None else _FIRST_LAMBDA  #: μ
        self.reference_usd = max(reference_usd, _LEAST_USD)  #: of a usual call of this model where it is cheapest
        self.price_usd = self.multiplier * self.reference_usd  #: λ in dollars

    def saw_cheapest(self, cost_usd: float) -> None:
        """Keep the usual cost up to date."""
        self.reference_usd += (1 - _REFERENCE_KEPT) * (max(cost_usd, _LEAST_USD) - self.reference_usd)
        self.price_usd = self.multiplier * self.reference_usd

    def learn(self, is_missed: bool) -> None:
        """Raise λ after a late beginning, lower it slowly while all is well."""
        if self._preset.is_adaptive:
            step = _LAMBDA_STEP * (is_missed - _SPARE * self._late)
            self.multiplier = min(_MAX_LAMBDA, max(_MIN_LAMBDA, self.multiplier * exp(step)))
            self.price_usd = self.multiplier * self.reference_usd

    def ended(self, is_failure: bool) -> None:
        """A call was answered in full, or it failed: raise μ by how much of what is allowed that was, lower it slowly
        while all is well.
        """
        if self._failures is not None:
            step = _FAILURE_STEP * (is_failure / self._failures - _SPARE)
            risen = self.failure_multiplier * exp(min(step, _MAX_FAILURE_STEP))
            self.failure_multiplier = min(_MAX_SHARE / self._failures, max(_MIN_LAMBDA, risen))

    @property
    def stakes(self) -> Stakes:
        """What this comes to just now."""
        return self.price_usd, self.failure_multiplier * self.reference_usd, self.reference_usd
