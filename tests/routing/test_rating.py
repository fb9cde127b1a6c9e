import pytest

from routing.rating import as_estimate, score
from routing.score import LATE, PRESETS, Preset
from routing.types import Rating

#: cost, P(ok), median, sigma, P(cut), used room
KNOWN = (0.002, 0.9, 1.0, 0.4, 0.01, 0.0)


def of(
    preset: Preset,
    limit_s: float = 2.0,
    miss_usd: float = 0.1,
    usual_usd: float = 0.01,
    is_stream: bool = True,
    failure_usd: float = 0.0,
) -> float:
    return score(preset, is_stream, (miss_usd, failure_usd, usual_usd), limit_s, *KNOWN)


def test_without_an_objective_only_failures_and_cuts_are_risks() -> None:
    assert of(PRESETS["cheapest"]) == pytest.approx(0.002 + 0.1 * (0.1 + 6 * 0.01))
    assert of(PRESETS["cheapest"], limit_s=0.01) == of(PRESETS["cheapest"])


def test_an_objective_that_falls_on_the_median_is_missed_by_half_of_the_answers() -> None:
    plain = Preset("plain", miss=1.0, late=0.0)
    assert of(plain, limit_s=1.0) == pytest.approx(0.002 + 0.1 * (1 - 0.9 * 0.5 + 6 * 0.01))
    worse = of(Preset("worse", miss=0.0, late=1.0, cut=0.0), limit_s=1.0 / LATE)
    assert worse == pytest.approx(0.002 + 0.1 * (1 - 0.9 * 0.5))
    assert of(PRESETS["balanced"], limit_s=1.0) > of(PRESETS["balanced"], limit_s=2.0)


def test_fastest_weighs_the_mean_wait_and_no_money() -> None:
    waits = of(PRESETS["fastest"], usual_usd=0.01) - of(PRESETS["fastest"], usual_usd=0.0)
    assert waits == pytest.approx(100 * 0.01 * 1.0 * 2.718281828 ** (0.5 * 0.4**2))
    assert score(PRESETS["fastest"], True, (0.1, 0.0, 0.01), 2.0, 99.0, *KNOWN[1:]) == of(PRESETS["fastest"])


def test_an_estimate_says_what_the_rating_knew() -> None:
    rating: Rating = (0.5, 3, "a/m", *KNOWN, False)
    estimate = as_estimate(rating, limit_s=1.0, is_stream=True)
    assert (estimate.score, estimate.cost_usd, estimate.p_ok, estimate.p_cut) == (0.5, 0.002, 0.9, 0.01)
    assert estimate.p_miss == pytest.approx(1 - 0.9 * 0.5)
    assert estimate.ttft_p50_s == 1.0
    assert estimate.ttft_p95_s == pytest.approx(2.718281828 ** (1.6449 * 0.4))


def test_a_call_that_does_not_stream_is_answered_or_not_and_its_whole_time_is_its_wait() -> None:
    assert of(PRESETS["balanced"], limit_s=0.01, is_stream=False) == pytest.approx(0.002 + 0.1 * 2.7 * 0.1)
    waits = [of(PRESETS["fastest"], is_stream=is_stream, miss_usd=0.0) for is_stream in (True, False)]
    assert waits[1] == pytest.approx(0.1 * waits[0])
    whole = as_estimate((0.5, 3, "a/m", *KNOWN, False), limit_s=0.01, is_stream=False)
    assert whole.p_miss == pytest.approx(0.1)
    assert whole.p_cut == 0.0


def test_the_last_room_is_dear() -> None:
    full = score(PRESETS["balanced"], True, (0.1, 0.0, 0.01), 2.0, *KNOWN[:-1], 1.0)
    assert full - of(PRESETS["balanced"]) == pytest.approx(2.0 * 0.01)


@pytest.mark.parametrize("name", ["balanced", "cheapest", "fastest"])
def test_a_promise_that_calls_succeed_makes_failures_and_cuts_dearer_under_every_preset(name: str) -> None:
    preset = PRESETS[name]
    assert of(preset, failure_usd=0.5) - of(preset) == pytest.approx(0.5 * (1 - 0.9 * 0.99))
    whole = of(preset, failure_usd=0.5, is_stream=False) - of(preset, is_stream=False)
    assert whole == pytest.approx(0.5 * 0.1)  # no stream, no cut
