from math import exp, log
from random import Random

import pytest

from routing.load import LoadCurve


def taught(slowness: dict[int, float], count: int = 400, sigma: float = 0.3) -> LoadCurve:
    """A curve that saw answers of a target so many times slower at so many in flight, one every half second."""
    curve, rng = LoadCurve(), Random(2)
    for number in range(count):
        in_flight = rng.choice([*slowness])
        curve.learn(log(slowness[in_flight]) + rng.gauss(0, sigma), in_flight, number / 2)
    return curve


def test_load_is_nothing_until_something_is_heard() -> None:
    assert [LoadCurve().log_slowness(count) for count in (1, 10, 1000, 10**9)] == [0, 0, 0, 0]


def test_a_knee_is_found() -> None:
    curve = taught({4: 1.0, 12: 1.0, 24: 1.0, 50: 2.2})
    assert exp(curve.log_slowness(12)) == pytest.approx(1.0, abs=0.12)
    assert exp(curve.log_slowness(50)) == pytest.approx(2.2, rel=0.2)


def test_beyond_what_was_seen_it_is_no_better() -> None:
    curve = taught({4: 1.0, 50: 2.2})
    assert curve.log_slowness(500) >= curve.log_slowness(50)


def test_it_never_falls() -> None:
    curve = taught({2: 1.0, 6: 1.6, 20: 1.1, 60: 1.5})
    logs = [curve.log_slowness(count) for count in range(1, 100)]
    assert logs == sorted(logs)


def test_what_is_common_to_all_loads_is_no_load() -> None:
    curve = taught({4: 3.0, 12: 3.0, 40: 3.0})
    assert exp(curve.log_slowness(4)) == 1
    assert exp(curve.log_slowness(40)) < 1.25


def test_single_answers_of_a_wild_kind_hardly_count() -> None:
    curve = taught({4: 1.0, 40: 1.0})
    before = curve.log_slowness(40)
    curve.learn(log(1000.0), 40, 201.0)
    assert curve.log_slowness(40) < before + 0.05


def test_what_was_learned_long_ago_gives_way() -> None:
    curve = taught({4: 1.0, 50: 3.0})
    for number in range(40):
        curve.learn(0.0, 50 if number % 2 else 4, 5000.0 + number)
    assert exp(curve.log_slowness(50)) < 1.4
