import pytest

from routing.forecast import OutputForecast


def test_a_guess_is_made_before_anything_is_known_and_never_above_the_cap() -> None:
    forecast = OutputForecast()
    assert forecast.expect(None) == 200
    assert forecast.expect(10) == 10


def test_each_size_of_cap_has_a_mean_of_its_own() -> None:
    forecast = OutputForecast()
    for _ in range(300):
        forecast.learn(64, 40)
        forecast.learn(4096, 900)
    assert forecast.expect(64) == pytest.approx(40, rel=0.6)
    assert forecast.expect(4096) == pytest.approx(900, rel=0.1)
    assert forecast.expect(None) == pytest.approx(470, rel=0.1)  # the mean over all


def test_old_answers_are_forgotten() -> None:
    forecast = OutputForecast()
    for tokens in [1000] * 200 + [100] * 500:
        forecast.learn(None, tokens)
    assert forecast.expect(None) < 130


@pytest.mark.parametrize("cap", [0, 1, 10**9])
def test_any_cap_has_a_place(cap: int) -> None:
    forecast = OutputForecast()
    forecast.learn(cap, 5)
    assert 0 <= forecast.expect(cap) <= max(cap, 200)
