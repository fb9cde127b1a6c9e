"""Which model a call gets by how hard it looks, for models with a `tier`. After this layer `call.model` is the one that
answers, as if the client had named it; a tier of that one is not looked at again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.call import Answer, Call, Handler, Tier, TierName
from proxy.observe import Metrics
from routing.complexity import complexity


@dataclass(frozen=True, slots=True)
class TierRule:
    """One model's tiers. Between the bounds, a call stays with the model itself."""

    simple: str  #: the configured model for calls below `simple_below`
    hard: str  #: and the one for calls above `hard_above`
    simple_below: float = 0.3
    hard_above: float = 0.8
    is_shadow: bool = False  #: decide, count and log, but change nothing


class Tiers:
    """Moves calls to the model of their tier."""

    def __init__(self, rules: Mapping[str, TierRule], metrics: Metrics) -> None:
        """`rules`: by configured model; one without a rule is left alone."""
        self._rules = rules
        self._metrics = metrics

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Choose the model, then go on. Reads the prompt: up to 1 ms of CPU (`routing/complexity.py` bounds it)."""
        rule = self._rules.get(call.model)
        if rule is not None:
            self._choose(call, rule)
        return await next(call)

    def _choose(self, call: Call, rule: TierRule) -> None:
        score = complexity(call.request.body)
        name: TierName = "middle"
        chosen = call.model
        if score < rule.simple_below:
            name, chosen = "simple", rule.simple
        elif score > rule.hard_above:
            name, chosen = "hard", rule.hard
        self._metrics.tier_decided(call.model, name, shadow=rule.is_shadow)
        note = ""
        if rule.is_shadow:
            note = "shadow"
        elif call.principal is None or not call.principal.may_use(chosen):
            note = "not allowed"  # the team's list governs tiers as it does fallbacks
        call.tier = Tier(name, score, call.model, note)
        if not note:
            call.model = chosen
