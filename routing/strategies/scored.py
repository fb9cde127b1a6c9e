"""cheapest, fastest, reliable and balanced: the presets of the one scorer over a model's targets."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from routing.affinity import Affinity
from routing.fit import is_tight, rank_last, unfit
from routing.fleet import Fleet
from routing.forecast import OutputForecast
from routing.hedge import HUNG, INTERVAL_S, HedgeBudget, is_worth
from routing.obstacles import asked_in_need
from routing.rating import as_estimate
from routing.score import Preset, Promise, Tariff
from routing.strategies.member import Member
from routing.types import (
    Basis,
    Candidate,
    Estimate,
    Exclusion,
    Facts,
    Objective,
    Outcome,
    Plan,
    Rating,
    Stakes,
    Target,
)

#: Scores this close are equal: who is asked is left to chance, so that equals share the load.
_TIE: Final = 0.02
#: A cached prompt draws calls only as long as its target has no more than this times its share in flight.
_MAX_OVERLOAD: Final = 1.25
#: A target that was not asked for so long is asked once, if it costs no more than so many times the cheapest.
_LOOK_EVERY_S: Final = 120.0
_DEAREST_LOOK: Final = 4.0
#: An objective that is missed already can't be kept: then the rest counts as if the call came now.
_LEAST_LEFT: Final = 0.2


class Scored:
    """One model's targets under one preset."""

    def __init__(
        self, preset: Preset, targets: Sequence[Target], objective: Objective, fleet: Fleet, hedge_share: float = 0.0
    ) -> None:
        """`targets`: at least one, each of which has joined the fleet. `hedge_share`: what second attempts may add to
        the cost.
        """
        priced = [target for target in targets if target.price is not None]
        dearest = max(priced, key=_unit_price, default=None)
        self.name = preset.name
        self._preset = preset
        self._objective = objective
        self._members = [
            Member(target, position, fleet[target.name], Tariff(target, dearest), preset.name)
            for position, target in enumerate(targets)
        ]
        self._has_unfit = any(target.lacks or target.context_tokens is not None for target in targets)
        self._by_name = {member.target.name: member for member in self._members}
        self._cheapest = min((member.tariff for member in self._members), key=Tariff.usual_usd)
        self._promise = Promise(preset, objective, self._cheapest.usual_usd())
        self._forecast = OutputForecast()
        self._affinity = Affinity()
        self._look_at = 0.0
        self._hedges = HedgeBudget(hedge_share if preset.has_objective else 0.0)

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        """The targets that may be asked, best first; last come strangers, those whose context is probably too small,
        and those that this call has asked already. O(n log n).
        """
        output_tokens = self._forecast.expect(facts.max_output_tokens)
        tokens = facts.input_tokens + int(output_tokens)
        rated: list[Rating] = []
        strangers: list[Rating] = []
        tried: list[Member] = []
        excluded: list[Exclusion] = []
        limit_s = self._limit_s(facts, now)
        preset, stakes = self._preset, self._promise.stakes
        warm_of = self._affinity.warm(facts.sticky, facts.input_tokens, now)
        most_in_flight = self._most_in_flight() if warm_of else 0.0
        has_unfit, has_tight = self._has_unfit, self._has_unfit or facts.is_outgrown
        cheapest = 0.0
        for member in self._members:
            if now >= member.state.listens_at:
                member.state.listen(now)
            obstacle = (has_unfit and unfit(member.target, facts)) or member.state.obstacle(tokens, now)
            if obstacle is not None:
                excluded.append(Exclusion(member.target, *obstacle))
            elif member.name in facts.tried or (has_tight and is_tight(member.target, facts)):
                tried.append(member)
            else:
                warm = warm_of.get(member.name, 0) if member.state.in_flight <= most_in_flight else 0
                cost = member.tariff.cost_usd(facts.input_tokens, warm, output_tokens)
                rating = member.rate(preset, stakes, facts, warm, output_tokens, cost, limit_s, now)
                if rating[-1]:
                    strangers.append(rating)
                    continue
                if not rated or cost < cheapest:
                    cheapest = cost
                rated.append(rating)
        if not (rated or strangers or tried):
            return self._panic(facts, excluded, now)
        rated.sort()
        _spread(rated, rng)
        if rated and not facts.tried:
            self._planned_anew(rated, facts, output_tokens, cheapest, now)
        if len(tried) > 1:
            tried.sort(key=lambda member: rank_last(member.target, facts))
        ratings = (*rated, *sorted(strangers))
        candidates = [self._members[rating[1]].candidate for rating in ratings]
        candidates += [member.candidate for member in tried]
        basis = Basis(facts.stream, limit_s, stakes, ratings) if ratings else None
        return Plan(self.name, tuple(candidates), tuple(excluded), basis)

    def _planned_anew(
        self, rated: list[Rating], facts: Facts, output_tokens: float, cheapest_usd: float, now: float
    ) -> None:
        """What each call does once, however often it is planned."""
        # Where it is cheapest, with room or without: in a shortage a miss is no worse than else.
        self._promise.saw_cheapest(self._cheapest.cost_usd(facts.input_tokens, 0, output_tokens))
        if now >= self._look_at:
            self._look_around(rated, facts, _DEAREST_LOOK * cheapest_usd, now)

    def hedge(self, facts: Facts, first: str, sent_at: float, now: float) -> tuple[Candidate | None, float | None]:
        """See `Router.hedge`."""
        if not (self._hedges.is_on and facts.stream):
            return None, None
        member, limit_s = self._by_name[first], self._limit_s(facts, sent_at)
        age_s = max(now - sent_at, 1e-3)
        still_silent = 1.0 - member.p_within(facts, age_s, now)
        p_late, left_s = 1.0, limit_s
        if age_s < limit_s:
            p_late = min(1.0, (1.0 - member.p_within(facts, limit_s, now)) / max(still_silent, 1e-9))
            left_s = max(limit_s - age_s, 1e-3)
        elif still_silent > HUNG:
            return None, INTERVAL_S  # it is late already; only a hang is worth another attempt
        backup, p_rescue, cost_usd = self._best_backup(facts, first, left_s, now)
        if backup is None or not is_worth(self._promise.price_usd, p_late, p_rescue, cost_usd):
            return None, INTERVAL_S
        if not self._hedges.has(cost_usd, now):
            return None, INTERVAL_S
        self._hedges.take(cost_usd, now)
        return backup.candidate, None

    def _best_backup(self, facts: Facts, first: str, left_s: float, now: float) -> tuple[Member | None, float, float]:
        """Whose chance of answering in time is worth most beyond its cost; that chance, and the cost."""
        best: tuple[Member | None, float, float] = None, 0.0, 0.0
        best_gain = 0.0
        tokens, output_tokens = self.tokens(facts), self._forecast.expect(facts.max_output_tokens)
        for member in self._members:
            if member.target.name in (first, *facts.tried) or is_tight(member.target, facts):
                continue
            if unfit(member.target, facts) or member.state.obstacle(tokens, now) or member.state.is_stranger(now):
                continue
            cost = member.tariff.cost_usd(facts.input_tokens, 0, output_tokens)
            p_rescue = member.state.health.p_ok(now) * member.p_within(facts, left_s, now)
            gain = self._promise.price_usd * p_rescue - cost
            if gain > best_gain:
                best, best_gain = (member, p_rescue, cost), gain
        return best

    def tokens(self, facts: Facts) -> int:
        """What an attempt of this call will probably count for at a provider."""
        return facts.input_tokens + int(self._forecast.expect(facts.max_output_tokens))

    def learn(self, outcome: Outcome, facts: Facts | None, now: float) -> None:
        """Learn what is the model's to learn: how long answers are, how dear a miss or a failure is, which prompts are
        warm. A stream that was cut is a failure, though the rest may be asked for elsewhere.
        """
        kind = outcome.kind
        if kind in ("rejected", "refused", "outrun", "gone"):
            return
        if outcome.ttft_s is not None and not outcome.is_ttft_told:
            self.saw_first_token(outcome.started_at + outcome.ttft_s, outcome.started_at, facts)
        if kind in ("ok", "cut"):
            self._promise.ended(kind == "cut")
        if kind == "ok" and facts is not None:
            self._forecast.learn(facts.max_output_tokens, outcome.output_tokens)
            self._affinity.served(facts.sticky, outcome.target, outcome.input_tokens, now)
            tariff = self._by_name[outcome.target].tariff
            self._hedges.spent(tariff.cost_usd(outcome.input_tokens, outcome.cached_tokens, outcome.output_tokens), now)

    def saw_first_token(self, at: float, started_at: float, facts: Facts | None) -> None:
        """Learn how dear a late beginning must be. Only from calls that began: of what failed no choice by lateness
        would have saved, and it counts when a later attempt of the call begins.
        """
        by = None if facts is None else facts.first_token_at
        self._promise.learn(at > (started_at + self._objective.ttft_s if by is None else by))

    def gave_up(self) -> None:
        """Learn that a call failed, whatever was tried: it began nowhere."""
        self._promise.ended(is_failure=True)

    def warm_tokens(self, target: str, facts: Facts, now: float) -> int:
        """How much of a call's input a target probably still has."""
        return self._affinity.warm(facts.sticky, facts.input_tokens, now).get(target, 0)

    @property
    def stakes(self) -> Stakes:
        """What missing the objective, and failing, is reckoned to cost just now."""
        return self._promise.stakes

    def estimate(self, target: str, facts: Facts, now: float) -> Estimate:
        """What is expected of a target for this call."""
        member = self._by_name[target]
        is_free = member.state.in_flight <= self._most_in_flight()
        warm = self.warm_tokens(target, facts, now) if is_free else 0
        output_tokens = self._forecast.expect(facts.max_output_tokens)
        cost = member.tariff.cost_usd(facts.input_tokens, warm, output_tokens)
        limit_s = self._limit_s(facts, now)
        rating = member.rate(self._preset, self._promise.stakes, facts, warm, output_tokens, cost, limit_s, now)
        return as_estimate(rating, limit_s, facts.stream)

    def _look_around(self, rated: list[Rating], facts: Facts, at_most_usd: float, now: float) -> None:
        """Now and then put a target first that nobody asked for a while: what is known of it is old."""
        self._look_at = now + _LOOK_EVERY_S / len(self._members)
        for index, rating in enumerate(rated):
            member = self._members[rating[1]]
            if now - member.state.asked_at < _LOOK_EVERY_S:
                continue
            cost = member.tariff.cost_usd(facts.input_tokens, 0, self._forecast.expect(facts.max_output_tokens))
            if cost <= at_most_usd:
                rated.insert(0, rated.pop(index))
                return

    def _limit_s(self, facts: Facts, now: float) -> float:
        limit_s = self._objective.ttft_s
        if facts.first_token_at is not None:
            left_s = facts.first_token_at - now
            if left_s > _LEAST_LEFT * limit_s:
                return left_s
        return limit_s

    def _most_in_flight(self) -> float:
        total = sum(member.state.in_flight for member in self._members)
        return max(2.0, _MAX_OVERLOAD * total / len(self._members))

    def _panic(self, facts: Facts, excluded: list[Exclusion], now: float) -> Plan:
        """Nobody may be asked, so those are whose obstacle is a guess, the likeliest to answer first."""
        members = [self._by_name[name] for name in asked_in_need(excluded, facts)]
        members.sort(key=lambda member: (member.target.name in facts.tried, -member.state.health.p_ok(now)))
        return Plan(self.name, tuple(Candidate(member.target, "in need") for member in members), tuple(excluded))


def _spread(rated: list[Rating], rng: Random) -> None:
    """Leave to chance who comes first among equals."""
    if len(rated) > 1 and rated[1][0] <= rated[0][0] * (1 + _TIE):
        ties = 2
        while ties < len(rated) and rated[ties][0] <= rated[0][0] * (1 + _TIE):
            ties += 1
        chosen = int(rng.random() * ties)
        if chosen:
            rated[0], rated[chosen] = rated[chosen], rated[0]


def _unit_price(target: Target) -> float:
    return target.price.input + target.price.output if target.price is not None else 0.0
