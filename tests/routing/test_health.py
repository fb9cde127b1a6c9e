from math import exp
from random import Random

import pytest

from routing.health import Health
from routing.tally import Tally
from routing.timing import p_within


def taught(*, base_s: float, per_ktok_s: float, sigma: float, count: int, at: float = 0.0, seed: int = 1) -> Health:
    """A health that saw this many first tokens, one a second, of a target that behaves like that."""
    health, rng = Health(), Random(seed)
    for number in range(count):
        tokens = rng.randrange(0, 8000)
        usual_s = base_s + per_ktok_s * tokens / 1000
        health.began_to_answer(usual_s * exp(rng.gauss(0, sigma)), tokens, at + number)
        health.ended(True, at + number)
    return health


def test_the_time_to_the_first_token_is_learned_as_a_line_over_the_input() -> None:
    health = taught(base_s=0.5, per_ktok_s=0.3, sigma=0.1, count=300)
    assert health.usual_ttft_s(0) == pytest.approx(0.5, rel=0.15)
    assert health.usual_ttft_s(8000) == pytest.approx(2.9, rel=0.1)


def test_its_deviation_is_learned_and_never_taken_for_nothing() -> None:
    assert taught(base_s=1, per_ktok_s=0, sigma=0.5, count=300).ratio(300)[1] == pytest.approx(0.5, rel=0.3)
    assert taught(base_s=1, per_ktok_s=0, sigma=0.0, count=300).ratio(300)[1] == 0.2


def test_a_brown_out_shows_within_a_few_samples_and_leaves_the_line_alone() -> None:
    health = taught(base_s=1, per_ktok_s=0, sigma=0.2, count=300)
    for number in range(5):
        health.began_to_answer(5.0, 1000, 300 + number)
    mean, sigma = health.ratio(305)
    late = 1 - p_within(2.0, health.usual_ttft_s(1000) * exp(mean), sigma)
    assert late > 0.25
    assert health.usual_ttft_s(1000) < 1.15


def test_what_was_bad_is_forgiven_when_nothing_is_heard() -> None:
    health = taught(base_s=1, per_ktok_s=0, sigma=0.2, count=50)
    for number in range(20):
        health.began_to_answer(8.0, 1000, 50 + number)
        health.ended(False, 50 + number)
    assert health.ratio(70)[0] > 0.5
    assert health.p_ok(70) < 0.5
    assert health.ratio(270)[0] < 0.05
    assert health.p_ok(270) > 0.65
    assert health.p_ok(5000) > 0.95


def test_a_first_token_that_never_came_counts_as_late() -> None:
    health = taught(base_s=1, per_ktok_s=0, sigma=0.2, count=50)
    before = health.ratio(50)[0]
    health.kept_waiting(5.0, 1000, 50)
    assert health.ratio(50)[0] > before
    after = health.ratio(51)[0]
    health.kept_waiting(0.3, 1000, 51)  # sooner than usual: says nothing
    assert health.ratio(51)[0] == after


def test_a_long_prompt_given_up_was_late_and_a_short_one_was_not_answered() -> None:
    """Of a target that takes three seconds for a long prompt, and half a one for a short one."""
    long, short = (taught(base_s=0.5, per_ktok_s=0.32, sigma=0.5, count=300) for _ in range(2))
    before = long.p_ok(300)
    for number in range(4):
        long.timed_out(5.0, 8000, 300 + number)
        short.timed_out(5.0, 0, 300 + number)
    assert long.p_ok(304) > before - 0.02
    assert short.p_ok(304) < before - 0.08  # nearly as much as if four had failed
    assert long.ratio(304)[0] > 0.1


def test_an_attempt_that_had_no_time_left_says_nothing_of_its_target() -> None:
    health = taught(base_s=0.5, per_ktok_s=0.3, sigma=0.3, count=100)
    before = health.p_ok(100)
    health.timed_out(0.01, 1000, 100)
    health.timed_out(0.0, 1000, 100)
    assert health.p_ok(100) == pytest.approx(before, abs=0.01)


def test_who_does_not_ask_how_late_counts_all_that_were_given_up() -> None:
    health = taught(base_s=0.5, per_ktok_s=0.32, sigma=0.5, count=100)
    assert health.p_begins(100) == health.p_ok(100)
    for number in range(6):
        health.timed_out(5.0, 8000, 100 + number)
    assert health.p_begins(106) < health.p_ok(106) - 0.1
    assert health.p_begins(400) > health.p_begins(106) + 0.1


def test_the_failures_of_one_outage_do_not_stay_on_the_record() -> None:
    outage, gray = Health(), Health()
    for number in range(60):
        outage.ended(not 20 <= number < 32, float(number))
        gray.ended(number % 5 != 0, float(number))  # as many, one by one
    assert outage.p_ok(35) < 0.9
    assert outage.p_ok(180) > 0.95
    assert gray.p_ok(180) < 0.9


def test_an_unknown_target_is_trusted_and_one_failure_is_noticed() -> None:
    health = Health()
    assert health.p_ok(0) > 0.98
    health.ended(False, 0)
    assert health.p_ok(0) < 0.85


def test_a_gray_failure_is_known_by_its_rate() -> None:
    health = taught(base_s=1, per_ktok_s=0, sigma=0.2, count=100)
    for number in range(200):
        health.ended(number % 10 != 0, 100 + number * 0.2)
    assert 0.85 < health.p_ok(140) < 0.95


def test_cut_streams_are_counted_apart() -> None:
    health = Health()
    assert health.p_cut(0) < 0.01
    for number in range(20):
        health.streamed(number % 5 == 0, float(number))
        health.ended(True, float(number))
    assert 0.1 < health.p_cut(20) < 0.3
    assert health.p_ok(20) > 0.95


def test_what_whole_answers_take_is_learned_over_the_tokens_they_are_made_of() -> None:
    health = Health()
    for number in range(200):
        tokens = 50 + number * 37 % 500
        health.came_whole(0.5 + tokens / 25, 1000, tokens, float(number))
    assert health.whole_s(1000, 100, 200.0)[0] == pytest.approx(4.5, rel=0.15)
    assert health.whole_s(1000, 500, 200.0)[0] == pytest.approx(20.5, rel=0.1)
    assert health.usual_ttft_s(1000) == Health().usual_ttft_s(1000)


def test_a_whole_answer_whose_tokens_nobody_counted_says_only_that_there_was_one() -> None:
    health = Health()
    before = health.whole_s(1000, 100, 0.0)
    assert health.came_whole(60.0, 1000, 0, 0.0) is None
    assert health.samples == 1
    assert health.whole_s(1000, 100, 0.0) == before


def test_what_load_does_is_kept_apart_from_what_is_usual() -> None:
    health, rng = Health(), Random(3)
    for number in range(600):
        in_flight = 5 if number % 3 else 40
        health.began_to_answer((2.5 if in_flight == 40 else 1.0) * exp(rng.gauss(0, 0.2)), 1000, number, in_flight)
    assert health.usual_ttft_s(1000) == pytest.approx(1.0, rel=0.1)
    assert health.ttft_s(1000, 5, 600)[0] == pytest.approx(1.0, rel=0.15)
    assert health.ttft_s(1000, 40, 600)[0] == pytest.approx(2.5, rel=0.2)


def test_slowness_is_told_against_the_usual() -> None:
    health = taught(base_s=1, per_ktok_s=0, sigma=0.1, count=100)
    assert health.began_to_answer(3.0, 1000, 100) == pytest.approx(3, rel=0.1)
    assert health.began_to_answer(0.0, 1000, 100) > 0  # a clock that stood still is no error


def told(health: Health, tally: Tally, now: float) -> None:
    """Tell this one what that one saw."""
    health.heard(tally.take(0, now), now)


def test_what_others_saw_moves_it_as_if_it_had_seen_it() -> None:
    seen, heard, tally = Health(), Health(), Tally()
    seen.share(tally)
    for number in range(40):
        seen.ended(number % 4 != 0, 100.0)
        seen.streamed(number % 5 == 0, 100.0)
    told(heard, tally, 100.0)
    assert heard.p_ok(100.0) == pytest.approx(seen.p_ok(100.0), abs=0.001)
    assert heard.p_cut(100.0) == pytest.approx(seen.p_cut(100.0), rel=0.5)
    assert heard.p_cut(100.0) > 5 * Health().p_cut(100.0)


def test_slowness_elsewhere_is_slowness_here() -> None:
    one, other = (taught(base_s=1, per_ktok_s=0, sigma=0.1, count=100) for _ in range(2))
    tally = Tally()
    other.share(tally)
    for _ in range(10):
        other.began_to_answer(4.0, 1000, 100.0)
        other.came_whole(9.0, 1000, 100, 100.0)
    before, whole_before = one.ratio(100.0)[0], one.whole_s(1000, 100, 100.0)[0]
    told(one, tally, 100.0)
    assert one.ratio(100.0)[0] > before + 0.5
    assert one.whole_s(1000, 100, 100.0)[0] > 1.3 * whole_before
    assert one.samples == 100


def test_what_was_given_up_late_is_told_as_late() -> None:
    one, other = (taught(base_s=1, per_ktok_s=0, sigma=0.1, count=50) for _ in range(2))
    tally = Tally()
    one.share(tally)
    one.timed_out(2.0, 1000, 50.0)
    told(other, tally, 50.0)
    assert other.p_begins(50.0) == pytest.approx(one.p_begins(50.0), abs=0.005)


def test_an_outage_that_all_are_in_is_one_fault_on_the_record() -> None:
    alone, heard = Health(), Health()
    for health in (alone, heard):
        health.ended(False, 100.0)
    for _ in range(9):
        tally, other = Tally(), Health()
        other.share(tally)
        other.ended(False, 100.0)
        told(heard, tally, 100.0)
    assert heard.p_ok(400.0) == pytest.approx(alone.p_ok(400.0), abs=0.001)
