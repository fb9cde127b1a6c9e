"""One target of a scored model: its state, its tariff, and what it is worth for a call."""

from __future__ import annotations

from routing.fleet import TargetState
from routing.rating import score
from routing.score import Preset, Tariff
from routing.timing import p_within
from routing.types import Candidate, Facts, Rating, Stakes, Target


class Member:
    """A target among those of its model."""

    __slots__ = ("candidate", "name", "position", "state", "target", "tariff")

    def __init__(self, target: Target, position: int, state: TargetState, tariff: Tariff, reason: str) -> None:
        """`position`: in the config, from 0; `reason`: why it is a candidate."""
        self.target = target
        self.name = target.name
        self.position = position
        self.state = state
        self.tariff = tariff
        self.candidate = Candidate(target, reason)

    def rate(
        self,
        preset: Preset,
        stakes: Stakes,
        facts: Facts,
        warm_tokens: int,
        output_tokens: float,
        cost_usd: float,
        limit_s: float,
        now: float,
    ) -> Rating:
        """What asking it comes to. `warm_tokens` of the input are probably in its cache; `limit_s`: by when the first
        token is wanted, from now.
        """
        state, is_stream = self.state, facts.stream
        health, used = state.health, 1.0 - state.pacer.spare
        p_cut = health.p_cut(now)
        # Where there is an objective, what is given up was late already: it must not count twice.
        p_ok = health.p_ok(now) if preset.has_objective or not is_stream else health.p_begins(now)
        if is_stream:
            median_s, sigma = health.ttft_s(facts.input_tokens - warm_tokens, state.in_flight + 1, now)
        else:
            median_s, sigma = health.whole_s(facts.input_tokens - warm_tokens, output_tokens, now)
        worth = score(preset, is_stream, stakes, limit_s, cost_usd, p_ok, median_s, sigma, p_cut, used)
        is_stranger = state.in_flight > 0 and state.is_stranger(now)
        return worth, self.position, self.name, cost_usd, p_ok, median_s, sigma, p_cut, used, is_stranger

    def p_within(self, facts: Facts, limit_s: float, now: float) -> float:
        """That it begins to answer so soon, if it answers."""
        median_s, sigma = self.state.health.ttft_s(facts.input_tokens, self.state.in_flight + 1, now)
        return p_within(limit_s, median_s, sigma)
