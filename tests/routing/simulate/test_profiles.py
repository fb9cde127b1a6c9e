from math import log
from statistics import NormalDist

import pytest

from routing.simulate.profiles import Profile, hosted, self_hosted
from routing.types import Price, Target


def share_in_time(profile: Profile, input_tokens: int) -> float:
    """The share of answers that begin within 2 s, for prompts of this size."""
    return NormalDist(0, profile.ttft_sigma).cdf(log(2 / profile.typical_ttft_s(input_tokens)))


def test_cached_input_costs_its_own_price() -> None:
    profile = Profile(Target("a/m", "a", "m", Price(1.0, 2.0, 0.5)), 1, 1, 1)
    assert profile.cost_usd(1_000_000, 500_000) == pytest.approx(2.0)
    assert profile.cost_usd(1_000_000, 0, cached_tokens=1_000_000) == pytest.approx(0.5)


def test_cached_input_costs_as_much_as_any_where_no_price_is_given() -> None:
    profile = Profile(Target("a/m", "a", "m", Price(1.0, 2.0)), 1, 1, 1)
    assert profile.cost_usd(1000, 10, cached_tokens=1000) == profile.cost_usd(1000, 10)


def test_what_has_no_price_is_free() -> None:
    assert Profile(Target("a/m", "a", "m"), 1, 1, 1).cost_usd(1000, 1000) == 0


def test_longer_prompts_take_longer() -> None:
    assert Profile(Target("a/m", "a", "m"), 0.5, 0.25, 1).typical_ttft_s(2000) == 1.0


def test_there_are_six_hosted_providers_of_different_names() -> None:
    assert len({profile.name for profile in hosted()}) == 6


def test_hosted_providers_are_sorted_by_price_but_for_the_fastest() -> None:
    costs = [profile.cost_usd(1000, 200) for profile in hosted()[:-1]]
    assert costs == sorted(costs)
    assert min(hosted(), key=lambda profile: profile.typical_ttft_s(1000)) == hosted()[-1]


def test_the_cheap_ones_miss_the_objective_for_long_prompts_and_the_fastest_hardly_ever() -> None:
    assert 0.8 <= share_in_time(hosted()[0], 1150) <= 0.9
    for cheap in hosted()[:3]:
        assert share_in_time(cheap, 4000) <= 0.9
    for dear in hosted()[3:]:
        assert share_in_time(dear, 4000) > 0.99
    assert share_in_time(hosted()[-1], 1150) > 0.999


def test_the_cheapest_cannot_take_everybody_and_the_dearest_can() -> None:
    peak_rpm = 502
    cheapest, *_, premium, swift = (profile.target.capacity.rpm or 0 for profile in hosted())
    assert cheapest < peak_rpm / 2
    assert min(premium, swift) > peak_rpm


def test_the_server_of_ones_own_is_cheapest_unlimited_and_saturates() -> None:
    own = self_hosted()[0]
    assert own.cost_usd(1000, 200) < min(profile.cost_usd(1000, 200) for profile in hosted())
    assert own.target.capacity.rpm is None
    assert own.saturates_at == 12
    assert self_hosted()[1:] == hosted()[1:]
