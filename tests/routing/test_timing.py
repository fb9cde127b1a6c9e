from math import exp, log
from random import Random

import pytest

from routing.tally import Ratios
from routing.timing import Timing, p_within


def taught(*times_s: float, size: float = 1.0) -> Timing:
    """One that saw these times, one a second."""
    timing = Timing(0.8, 0.1)
    for at, time_s in enumerate(times_s):
        timing.took(time_s, size, float(at))
    return timing


def test_before_anything_is_known_the_guess_holds() -> None:
    timing = Timing(0.8, 0.1)
    assert timing.usual_s(2.0) == pytest.approx(1.0)
    mean, sigma = timing.ratio(0.0)
    assert (mean, round(sigma, 9)) == (0.0, 0.4)


def test_a_line_is_learned_from_times_of_different_sizes() -> None:
    timing, rng = Timing(0.8, 0.1), Random(5)
    for at in range(300):
        size = rng.uniform(0, 8)
        timing.took((0.5 + 0.3 * size) * exp(rng.gauss(0, 0.1)), size, float(at))
    assert timing.usual_s(0.0) == pytest.approx(0.5, rel=0.15)
    assert timing.usual_s(8.0) == pytest.approx(2.9, rel=0.1)


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.5])
def test_the_usual_is_the_median_however_times_scatter(sigma: float) -> None:
    timing, rng = Timing(0.8, 0.1), Random(7)
    learned = []
    for at in range(3000):
        timing.took(2.0 * exp(rng.gauss(0, sigma)), 1.0, float(at))
        learned.append(timing.usual_s(1.0))
    assert sum(learned[500:]) / 2500 == pytest.approx(2.0, rel=0.03)  # the mean is 13 % above it at a half


def test_no_time_is_ever_taken_for_nothing() -> None:
    assert taught(*[0.0] * 50).usual_s(0.0) > 0


def test_where_many_times_come_twenty_are_enough_to_see_a_change() -> None:
    timing = Timing(1.0, 0.0)
    for number in range(200):
        timing.took(1.0, 1.0, number * 0.01)
    for number in range(20):
        timing.took(2.0, 1.0, 2.0 + number * 0.01)
    assert timing.ratio(2.2)[0] > 0.3


def test_one_outlier_moves_the_ratio_and_hardly_the_line() -> None:
    timing = taught(*[1.0] * 50)
    usual_s = timing.usual_s(1.0)
    timing.took(50.0, 1.0, 50.0)
    assert timing.usual_s(1.0) < 1.05 * usual_s
    assert timing.ratio(50.0)[0] > 0.1


def test_who_was_slow_is_doubted_after_a_while_and_believed_again_when_heard() -> None:
    timing = taught(*[1.0] * 30, *[4.0] * 6)
    assert not timing.was_slow(36.0)  # it is slow: that is known, not guessed
    assert timing.was_slow(60.0)
    for at in range(60, 70):
        timing.took(1.0, 1.0, float(at))
    assert not timing.was_slow(90.0)


def test_who_was_given_up_would_have_taken_longer_than_it_was_waited_for() -> None:
    given_up, answered = taught(*[1.0] * 30), taught(*[1.0] * 30)
    given_up.outlasted(2.0, 1.0, 30.0)
    answered.took(2.0, 1.0, 30.0)
    assert given_up.ratio(30.0)[0] > answered.ratio(30.0)[0] > 0


def test_giving_up_a_long_one_never_makes_a_slow_target_look_faster() -> None:
    timing = taught(*[1.0] * 30, *[5.0] * 10)
    before = timing.ratio(40.0)[0]
    timing.outlasted(1.1 * timing.usual_s(4.0), 4.0, 40.0)  # a ratio of 1.1, and nobody waited for the rest
    assert timing.ratio(40.0)[0] >= before


def test_waiting_for_ever_is_no_error() -> None:
    timing = taught(*[1.0] * 30)
    timing.outlasted(1e9, 1.0, 30.0)
    mean, sigma = timing.ratio(30.0)
    assert 0 < mean < log(1e9)
    assert 0 < sigma < log(1e9)


@pytest.mark.parametrize(("limit_s", "expected"), [(1.0, 0.5), (1000.0, 1.0), (0.001, 0.0)])
def test_the_share_within_a_limit(limit_s: float, expected: float) -> None:
    assert p_within(limit_s, 1.0, 0.5) == pytest.approx(expected, abs=1e-9)


def test_what_others_saw_counts_as_if_it_had_been_seen_here_one_by_one() -> None:
    here, told = taught(*[1.0] * 30), taught(*[1.0] * 30)
    told.tally = Ratios()
    for _ in range(8):
        told.took(3.0, 1.0, 31.0)
    usual_s = here.usual_s(1.0)
    here.heard(told.tally.count, told.tally.total, told.tally.squares, 31.0)
    assert here.ratio(31.0)[0] == pytest.approx(told.ratio(31.0)[0], abs=0.01)
    assert (here.usual_s(1.0), here.samples) == (usual_s, 30)


def test_what_is_learned_is_written_down_only_where_it_is_asked_for() -> None:
    timing = taught(1.0)
    assert timing.tally is None
    timing.tally = Ratios()
    timing.took(2.0, 1.0, 1.0)
    timing.outlasted(9.0, 1.0, 1.0)
    assert timing.tally.count == 2
