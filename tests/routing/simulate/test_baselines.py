from collections import Counter
from random import Random

import pytest

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
    unit_price,
)
from routing.types import Capacity, Facts, Kind, Outcome, Price, Target

A = Target("a", "a", "m", Price(1.0, 1.0), Capacity(rpm=2, tpm=10_000), weight=3.0)
B = Target("b", "b", "m", Price(2.0, 2.0), Capacity(rpm=100), weight=1.0)
FACTS = Facts("chat", stream=True, input_tokens=1000)


def ended(
    target: Target, kind: Kind = "ok", ttft_s: float | None = 0.5, duration_s: float = 1.0, tokens: int = 100
) -> Outcome:
    return Outcome(target.name, kind, 0.0, duration_s, ttft_s if kind == "ok" else None, tokens, 0)


def picks(picker: Picker, count: int = 1000, now: float = 0.0) -> Counter[str]:
    rng = Random(0)
    return Counter(target.name for _ in range(count) if (target := picker.pick([A, B], FACTS, now, rng)))


def test_round_robin_takes_turns() -> None:
    picker, rng = RoundRobin(), Random(0)
    assert [picker.pick([A, B], FACTS, 0.0, rng).name for _ in range(5)] == ["a", "b", "a", "b", "a"]


def test_weighted_shares_by_weight_and_uniform_does_not() -> None:
    assert picks(Weighted())["a"] == pytest.approx(750, abs=50)
    assert picks(Uniform())["a"] == pytest.approx(500, abs=50)


def test_inverse_price_squared_favours_the_cheap_and_shuns_who_failed_lately() -> None:
    picker = InversePriceSquared()
    assert picks(picker)["a"] == pytest.approx(800, abs=50)
    picker.observe(ended(A, "failed"), 10.0)
    assert picks(picker, now=39.9) == {"b": 1000}
    assert picks(picker, now=40.0)["a"] > 700
    picker.observe(ended(B, "timeout"), 10.0)
    assert picks(picker, now=20.0)["a"] > 700


def test_least_busy_counts_attempts_in_flight_and_takes_the_first_of_equals() -> None:
    picker, rng = LeastBusy(), Random(0)
    assert picker.pick([A, B], FACTS, 0.0, rng) == A
    picker.began("a", FACTS, 0.0)
    assert picker.pick([A, B], FACTS, 0.0, rng) == B
    picker.observe(ended(A, "failed"), 1.0)
    assert picker.pick([A, B], FACTS, 0.0, rng) == A


def test_lowest_latency_takes_unknown_for_instant() -> None:
    picker = LowestLatency()
    picker.observe(ended(A, ttft_s=0.1), 0.0)
    assert picks(picker) == {"b": 1000}


def test_lowest_latency_gives_everything_to_the_lowest_mean() -> None:
    picker = LowestLatency()
    for ttft_s in (0.4, 0.6):
        picker.observe(ended(A, ttft_s=ttft_s), 0.0)
    picker.observe(ended(B, ttft_s=0.51), 0.0)
    assert picks(picker) == {"a": 1000}


def test_lowest_latency_forgets_after_ten_samples_and_after_an_hour() -> None:
    picker = LowestLatency()
    picker.observe(ended(A, ttft_s=99.0), 0.0)
    picker.observe(ended(B, ttft_s=1.0), 0.0)
    assert picks(picker) == {"b": 1000}
    for _ in range(10):
        picker.observe(ended(A, ttft_s=0.5), 0.0)
    assert picks(picker) == {"a": 1000}
    picker.observe(ended(A, ttft_s=0.5), 1.0)
    assert picks(picker, now=3600.5) == {"b": 1000}


def test_lowest_latency_sees_time_outs_and_no_other_failure() -> None:
    picker = LowestLatency()
    picker.observe(ended(A, ttft_s=0.1), 0.0)
    picker.observe(ended(B, ttft_s=0.5), 0.0)
    for kind in ("failed", "rate_limited", "gone", "cut"):
        picker.observe(ended(A, kind), 0.0)
    assert picks(picker) == {"a": 1000}
    picker.observe(ended(A, "timeout"), 0.0)
    assert picks(picker) == {"b": 1000}


def test_lowest_cost_knows_no_sizes() -> None:
    dear_output = Target("c", "c", "m", Price(0.1, 2.0))
    assert LowestCost().pick([A, B, dear_output], FACTS, 0.0, Random(0)) == A
    assert unit_price(Target("d", "d", "m")) == 10.0


def test_lowest_cost_does_not_count_what_is_in_flight() -> None:
    picker = LowestCost()
    for _ in range(50):
        picker.began("a", FACTS, 0.0)
    assert picks(picker) == {"a": 1000}


def test_lowest_cost_skips_a_target_whose_minute_is_used_up() -> None:
    picker = LowestCost()
    picker.observe(ended(A), 1.0)
    assert picks(picker, now=2.0) == {"a": 1000}
    picker.observe(ended(A, "failed"), 2.0)
    assert picks(picker, now=3.0) == {"a": 1000}
    picker.observe(ended(A), 3.0)
    assert picks(picker, now=59.9) == {"b": 1000}
    assert picks(picker, now=60.0) == {"a": 1000}


def test_lowest_cost_counts_tokens_too() -> None:
    picker = LowestCost()
    picker.observe(ended(A, tokens=9_001), 1.0)
    assert picks(picker, now=2.0) == {"b": 1000}


def test_lowest_cost_picks_nobody_when_all_are_full_unless_it_knows_no_limits() -> None:
    knowing, blind = LowestCost(), LowestCost(knows_limits=False)
    for picker in (knowing, blind):
        for _ in range(2):
            picker.observe(ended(A), 1.0)
    assert knowing.pick([A], FACTS, 2.0, Random(0)) is None
    assert blind.pick([A], FACTS, 2.0, Random(0)) == A


def hears(picker: Picker, outcome: Outcome, now: float) -> None:
    """A whole attempt, from its beginning to its end."""
    picker.began(outcome.target, FACTS, now)
    picker.observe(outcome, now)


def test_peak_ewma_jumps_to_a_peak_and_comes_down_slowly() -> None:
    picker = PeakEwma(on_ttft=True)
    hears(picker, ended(A, ttft_s=1.0), 0.0)
    hears(picker, ended(B, ttft_s=2.0), 0.0)
    assert picks(picker) == {"a": 1000}
    hears(picker, ended(A, ttft_s=5.0), 0.0)
    assert picks(picker) == {"b": 1000}
    hears(picker, ended(A, ttft_s=0.1), 5.0)
    assert picks(picker, now=5.0) == {"b": 1000}


def test_peak_ewma_weighs_with_what_is_in_flight() -> None:
    picker = PeakEwma(on_ttft=True)
    hears(picker, ended(A, ttft_s=1.0), 0.0)
    hears(picker, ended(B, ttft_s=1.5), 0.0)
    assert picks(picker) == {"a": 1000}
    picker.began("a", FACTS, 0.0)
    assert picks(picker) == {"b": 1000}


def test_peak_ewma_fades() -> None:
    picker = PeakEwma(on_ttft=True)
    hears(picker, ended(A, ttft_s=3.0), 0.0)
    hears(picker, ended(B, ttft_s=1.5), 20.0)
    assert picks(picker, now=20.0) == {"a": 1000}


def test_peak_ewma_on_ttft_takes_a_time_out_for_a_slow_answer_and_an_error_for_nothing() -> None:
    picker = PeakEwma(on_ttft=True)
    hears(picker, ended(A, ttft_s=1.0), 0.0)
    hears(picker, ended(B, ttft_s=1.5), 0.0)
    hears(picker, ended(A, "failed", duration_s=9.0), 0.0)
    assert picks(picker) == {"a": 1000}
    hears(picker, ended(A, "timeout", duration_s=5.0), 0.0)
    assert picks(picker) == {"b": 1000}


def test_peak_ewma_on_duration_is_fooled_by_fast_errors() -> None:
    picker = PeakEwma(on_ttft=False)
    hears(picker, ended(A, duration_s=3.0), 0.0)
    hears(picker, ended(B, "failed", duration_s=0.03), 0.0)
    assert picks(picker) == {"b": 1000}


def test_peak_ewma_does_not_heap_calls_on_a_target_that_has_never_answered() -> None:
    picker = PeakEwma(on_ttft=True)
    hears(picker, ended(A, ttft_s=1.0), 0.0)
    for _ in range(2):
        picker.began("b", FACTS, 0.0)
    assert picks(picker) == {"a": 1000}
    assert picker.pick([B], FACTS, 0.0, Random(0)) == B
