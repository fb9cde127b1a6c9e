"""Speed and reliability of simulated providers."""

from __future__ import annotations

import random
from statistics import median

import pytest

from proxy.providers.simulated.profile import PROFILES, DemoProfile, Fault, profile_named


def test_presets_are_the_trio() -> None:
    assert list(PROFILES) == ["fast", "cheap", "flaky"]
    assert all(name == profile.name for name, profile in PROFILES.items())


def test_overrides_replace_the_figures_of_the_preset_only_where_given() -> None:
    profile = profile_named("fast", first_token_s=1.0, error_rate=0.5)
    assert (profile.first_token_s, profile.error_rate) == (1.0, 0.5)
    assert profile.per_token_s == PROFILES["fast"].per_token_s
    assert profile_named("flaky") == PROFILES["flaky"]


def test_zero_is_an_override() -> None:
    profile = profile_named("flaky", error_rate=0, cut_rate=0, first_token_s=0)
    assert (profile.error_rate, profile.cut_rate, profile.first_token_s) == (0, 0, 0)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="fast, cheap, flaky"):
        profile_named("slow")


@pytest.mark.parametrize("override", [{"error_rate": -0.1}, {"first_token_s": float("nan")}, {"cut_rate": -1.0}])
def test_impossible_figures_are_refused(override: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"first_token_s|_rate"):
        profile_named("fast", **override)


def test_rates_that_add_up_to_more_than_one_leave_the_rest_to_errors() -> None:
    profile = profile_named("fast", error_rate=0.9, cut_rate=0.3, hang_rate=0.2)
    rng = random.Random(1)
    drawn = [profile.draw_fault(rng) for _ in range(2000)]
    assert drawn.count(Fault.HANG) / 2000 == pytest.approx(0.2, abs=0.04)
    assert drawn.count(Fault.ERROR) / 2000 == pytest.approx(0.5, abs=0.04)
    assert None not in drawn


def test_the_first_token_time_is_log_normal_around_its_median() -> None:
    rng = random.Random(1)
    drawn = [PROFILES["fast"].draw_first_token_s(rng) for _ in range(2000)]
    assert median(drawn) == pytest.approx(0.150, rel=0.05)
    assert min(drawn) > 0
    assert max(drawn) > 1.5 * 0.150


def test_no_spread_makes_times_constant_and_no_median_makes_them_nothing() -> None:
    profile = DemoProfile("x", 0.5, 0.0, spread=0.0)
    rng = random.Random(1)
    assert profile.draw_first_token_s(rng) == pytest.approx(0.5)
    assert profile.draw_token_s(rng) == 0.0


def test_faults_come_at_their_rates() -> None:
    profile = DemoProfile("x", 0.1, 0.1, error_rate=0.2, cut_rate=0.1, hang_rate=0.05)
    rng = random.Random(1)
    drawn = [profile.draw_fault(rng) for _ in range(10_000)]
    assert drawn.count(Fault.ERROR) / 10_000 == pytest.approx(0.2, abs=0.02)
    assert drawn.count(Fault.CUT) / 10_000 == pytest.approx(0.1, abs=0.02)
    assert drawn.count(Fault.HANG) / 10_000 == pytest.approx(0.05, abs=0.02)


def test_flaky_fails_a_fifth_of_its_requests() -> None:
    flaky = PROFILES["flaky"]
    assert flaky.error_rate + flaky.cut_rate + flaky.hang_rate == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("rate", "fault"), [("error_rate", Fault.ERROR), ("cut_rate", Fault.CUT), ("hang_rate", Fault.HANG)]
)
def test_a_rate_of_one_means_always(rate: str, fault: Fault) -> None:
    profile = profile_named("fast", **{rate: 1.0})
    rng = random.Random(1)
    assert {profile.draw_fault(rng) for _ in range(100)} == {fault}
