"""The scorer with nothing to learn: it is told how each target is just now, and only luck is hidden from it.

What it costs beyond the oracle is what foreseeing the luck of each answer is worth; what a strategy of ours costs
beyond that is the price of having to learn how the targets are.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from random import Random

from routing.forecast import OutputForecast
from routing.rating import score
from routing.score import PRESETS, Preset, Promise, Tariff
from routing.simulate.cloud import Cloud
from routing.simulate.profiles import Profile
from routing.types import Candidate, Exclusion, Facts, Objective, Outcome, Plan


class Informed:
    """`Routes` by the score of one preset over what the cloud says of its targets. It learns how long answers are and
    how dear a late beginning is, as ours do.
    """

    def __init__(
        self,
        cloud: Cloud,
        profiles: Sequence[Profile],
        preset: Preset = PRESETS["balanced"],
        objective: Objective | None = None,
    ) -> None:
        """`cloud`: the one that will be asked; `profiles`: at least one, all with a price."""
        self._cloud = cloud
        self._preset = preset
        self._candidates = {profile.name: Candidate(profile.target, "told") for profile in profiles}
        self._tariffs = {profile.name: Tariff(profile.target, None) for profile in profiles}
        self._cheapest = min(self._tariffs.values(), key=Tariff.usual_usd)
        self._promise = Promise(preset, objective or Objective(), self._cheapest.usual_usd())
        self._forecast = OutputForecast()
        self._objective_s = (objective or Objective()).ttft_s
        self._asked: dict[tuple[str, float], Facts] = {}  # by target and time, until the attempt is over

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        """Those with room, best first; last come those that were asked before."""
        output_tokens = self._forecast.expect(facts.max_output_tokens)
        if not facts.tried:
            self._promise.saw_cheapest(self._cheapest.cost_usd(facts.input_tokens, 0, output_tokens))
        limit_s = self._objective_s
        if facts.first_token_at is not None and facts.first_token_at > now:
            limit_s = facts.first_token_at - now
        scores: list[tuple[bool, float, str]] = []
        excluded = []
        for name, tariff in self._tariffs.items():
            prospect = self._cloud.prospect(facts.input_tokens, int(output_tokens), name, now)
            if prospect is None:
                excluded.append(Exclusion(self._candidates[name].target, "rate limit"))
                continue
            worth = score(
                self._preset,
                facts.stream,
                self._promise.stakes,
                limit_s,
                tariff.cost_usd(facts.input_tokens, 0, output_tokens),
                prospect.p_ok,
                prospect.median_s,
                prospect.sigma,
                prospect.p_cut,
                prospect.used,
            )
            scores.append((name in facts.tried, worth, name))
        scores.sort()
        return Plan("informed", tuple(self._candidates[name] for _, _, name in scores), tuple(excluded))

    def patience_s(self, target: str, facts: Facts, now: float) -> float:
        """See `Routes.patience_s`: the policy's time-out is all there is."""
        return inf

    def began(self, target: str, facts: Facts, now: float) -> None:
        """Remember whose attempt it is; the cloud knows what is under way."""
        self._asked[target, now] = facts

    def first_token(self, target: str, sent_at: float, now: float) -> None:
        """Learn how dear a late beginning must be."""
        facts = self._asked.get((target, sent_at))
        if facts is not None and facts.first_token_at is not None:
            self._promise.learn(now > facts.first_token_at)

    def observe(self, outcome: Outcome, now: float) -> None:
        """Learn how long answers are."""
        facts = self._asked.pop((outcome.target, outcome.started_at), None)
        if outcome.kind == "ok" and facts is not None:
            self._forecast.learn(facts.max_output_tokens, outcome.output_tokens)

    def gave_up(self, facts: Facts, now: float) -> None:
        """Nothing: no promise is made of that."""

    def may_retry(self, facts: Facts, now: float) -> bool:
        """Always."""
        return True

    def hedge(
        self, facts: Facts, first: Candidate, sent_at: float, now: float, rng: Random
    ) -> tuple[Candidate | None, float | None]:
        """Never."""
        return None, None
