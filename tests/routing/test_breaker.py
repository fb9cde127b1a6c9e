from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.breaker import Breaker, BreakerSettings
from routing.tally import Tally

SETTINGS = BreakerSettings()


def run(breaker: Breaker, outcomes: str, now: float) -> None:
    """One attempt a character, all at `now`: x failed, . went well, ? says nothing."""
    for outcome in outcomes:
        breaker.began(now)
        breaker.ended({"x": True, ".": False, "?": None}[outcome], now, now)


def opened(now: float = 100.0, rng: Random | None = None) -> Breaker:
    breaker = Breaker(SETTINGS, rng)
    run(breaker, "xxxxx", now)
    return breaker


def test_a_new_breaker_is_closed() -> None:
    breaker = Breaker(SETTINGS)
    assert (breaker.state(0.0), breaker.is_allowed(0.0), breaker.open_for_s(0.0)) == ("closed", True, 0.0)


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(SETTINGS)
    run(breaker, "xxxx", 100.0)
    assert breaker.state(100.0) == "closed"
    run(breaker, "x", 100.0)
    assert breaker.state(100.0) == "open"
    assert not breaker.is_allowed(101.9)
    assert breaker.open_for_s(101.5) == 0.5


def test_a_success_breaks_the_row_and_what_says_nothing_does_not() -> None:
    breaker = Breaker(SETTINGS)
    run(breaker, "xxxx.xxx", 100.0)
    assert breaker.state(100.0) == "closed"
    run(breaker, "?x?", 100.0)
    assert breaker.state(100.0) == "closed"
    run(breaker, "?x", 100.0)
    assert breaker.state(100.0) == "open"


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        (".x.x.x.x.x", "open"),  # 5 of 10
        (".x.x.x.x.", "closed"),  # too few to judge by
        (".x.x.x.x..x", "closed"),  # 5 of 11
        ("?????.x.x.x.x.", "closed"),  # what says nothing is not counted
    ],
)
def test_the_ratio_opens_it_once_there_are_enough(outcomes: str, state: str) -> None:
    breaker = Breaker(SETTINGS)
    run(breaker, outcomes, 100.0)
    assert breaker.state(100.0) == state


def test_failures_outside_the_window_do_not_count() -> None:
    breaker = Breaker(SETTINGS)
    run(breaker, "x.x.x.x.", 100.0)
    run(breaker, ".x.x.", 117.0)
    assert breaker.state(117.0) == "closed"
    run(breaker, "x.x.x", 117.0)
    assert breaker.state(117.0) == "open"


def test_a_tight_burst_after_a_long_quiet_counts_in_full() -> None:
    breaker = Breaker(SETTINGS)
    for second in range(85):
        run(breaker, ".", float(second))
    run(breaker, ".x.xx.xx.xx.xx", 101.0)
    assert breaker.state(101.0) == "open"


def test_after_the_cool_down_one_probe_is_let_through() -> None:
    breaker = opened(100.0)
    assert breaker.state(102.0) == "half_open"
    assert breaker.is_allowed(102.0)
    breaker.began(102.0)
    assert not breaker.is_allowed(102.0)
    assert breaker.state(103.0) == "half_open"


def test_a_probe_that_succeeds_closes_and_resets() -> None:
    breaker = opened(100.0)
    run(breaker, "x", 102.0)  # 4 s from here
    run(breaker, ".", 106.0)
    assert breaker.state(106.0) == "closed"
    run(breaker, "xxxx", 106.0)
    assert breaker.state(106.0) == "closed"
    run(breaker, "x", 106.0)
    assert breaker.open_for_s(106.0) == 2.0


def test_each_failed_probe_doubles_the_cool_down_up_to_the_maximum() -> None:
    breaker, now, waits = opened(100.0), 100.0, []
    for _ in range(6):
        waits.append(breaker.open_for_s(now))
        now += waits[-1]
        run(breaker, "x", now)
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_probe_that_says_nothing_is_given_back() -> None:
    breaker = opened(100.0)
    run(breaker, "?", 102.0)
    assert breaker.state(102.0) == "half_open"
    assert breaker.is_allowed(102.0)
    run(breaker, "x", 102.0)
    assert breaker.open_for_s(102.0) == 4.0


def test_while_open_late_endings_change_nothing() -> None:
    breaker = opened(100.0)
    breaker.ended(True, 101.0, 99.0)
    assert breaker.open_for_s(101.0) == 1.0
    breaker.ended(False, 101.0, 99.0)
    assert breaker.open_for_s(101.0) == 1.0


@pytest.mark.parametrize("is_failure", [True, False, None])
@pytest.mark.parametrize("probe_is_out", [True, False])
def test_an_attempt_begun_before_it_opened_is_not_taken_for_the_probe(
    is_failure: bool | None, probe_is_out: bool
) -> None:
    breaker = opened(100.0)
    if probe_is_out:
        breaker.began(102.5)
    breaker.ended(is_failure, 103.0, 99.0)
    assert breaker.state(103.0) == "half_open"
    assert breaker.is_allowed(103.0) is not probe_is_out
    if probe_is_out:
        breaker.ended(False, 104.0, 102.5)
        assert breaker.state(104.0) == "closed"


def test_an_attempt_that_hung_in_an_outage_does_not_open_it_again_afterwards() -> None:
    breaker = opened(100.0)
    run(breaker, ".", 102.0)
    for _ in range(20):
        breaker.ended(True, 120.0, 99.0)
    assert breaker.state(120.0) == "closed"


def test_an_attempt_sent_in_spite_of_it_says_nothing() -> None:
    breaker = opened(100.0)
    run(breaker, ".", 101.0)
    assert breaker.state(101.0) == "open"
    run(breaker, "x", 101.0)
    assert breaker.open_for_s(101.0) == 1.0


def test_an_attempt_sent_in_spite_of_it_is_not_taken_for_the_probe() -> None:
    breaker = opened(100.0)
    breaker.began(101.0)
    assert breaker.is_allowed(102.0)
    breaker.began(102.0)
    breaker.ended(True, 103.0, 101.0)
    assert breaker.state(103.0) == "half_open"
    breaker.ended(False, 104.0, 102.0)
    assert breaker.state(104.0) == "closed"


def test_after_it_closed_the_ratio_counts_anew() -> None:
    breaker = Breaker(SETTINGS)
    run(breaker, ".x.x.x.x.x", 100.0)
    run(breaker, ".", 102.0)
    run(breaker, "." * 8 + "xx", 102.0)
    assert breaker.state(102.0) == "closed"
    fresh = Breaker(SETTINGS)
    run(fresh, ".x.x.x.x.x", 100.0)
    run(fresh, ".", 102.0)
    run(fresh, ".x.x.x.x.x", 102.0)
    assert fresh.state(102.0) == "open"


def test_the_probe_is_known_even_if_its_start_was_noted_a_little_earlier() -> None:
    breaker = opened(100.0)
    breaker.began(102.5)
    breaker.ended(False, 103.0, 102.499)
    assert breaker.state(103.0) == "closed"


def test_a_lost_probe_does_not_block_for_ever() -> None:
    breaker = opened(100.0)
    breaker.began(102.0)
    assert not breaker.is_allowed(162.0)
    assert breaker.is_allowed(162.1)
    breaker.began(162.1)
    assert not breaker.is_allowed(163.0)
    breaker.ended(False, 164.0, 102.0)  # the first one after all
    assert breaker.state(164.0) == "closed"


def test_a_cool_down_from_outside_opens_and_a_longer_one_extends() -> None:
    breaker = Breaker(SETTINGS)
    breaker.cool_down(10.0, 100.0)
    assert breaker.open_for_s(100.0) == 10.0
    breaker.cool_down(3.0, 101.0)
    assert breaker.open_for_s(101.0) == 9.0
    breaker.cool_down(20.0, 101.0)
    assert breaker.open_for_s(101.0) == 20.0
    assert breaker.state(121.0) == "half_open"
    run(breaker, "x", 121.0)
    assert breaker.open_for_s(121.0) == 2.0


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_no_cool_down_is_none(seconds: float) -> None:
    breaker = Breaker(SETTINGS)
    breaker.cool_down(seconds, 100.0)
    assert breaker.state(100.0) == "closed"


@pytest.mark.parametrize("is_asked_first", [True, False])
def test_a_failed_probe_may_ask_for_longer_before_or_after_its_end(is_asked_first: bool) -> None:
    breaker = opened(100.0)
    breaker.began(102.0)
    if is_asked_first:
        breaker.cool_down(20.0, 103.0)
    breaker.ended(True, 103.0, 102.0)
    if not is_asked_first:
        breaker.cool_down(20.0, 103.0)
    assert breaker.open_for_s(103.0) == 20.0
    assert breaker.is_allowed(123.0)


def test_a_probe_that_succeeds_does_not_cut_short_what_the_provider_asked_for() -> None:
    breaker = opened(100.0)
    breaker.began(102.0)
    breaker.cool_down(20.0, 103.0)
    breaker.ended(False, 104.0, 102.0)
    assert breaker.open_for_s(104.0) == 19.0
    run(breaker, ".", 123.0)
    assert breaker.state(123.0) == "closed"


def test_with_chance_cool_downs_are_stretched_never_shortened() -> None:
    waits = [opened(100.0, Random(seed)).open_for_s(100.0) for seed in range(200)]
    assert 2.0 <= min(waits) < 2.05
    assert 2.55 < max(waits) <= 2.6


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["began", "ok", "failed", "nothing", "cool_down", "lost"]),
        st.floats(0.0, 40.0),
        st.integers(0, 9),
    ),
    max_size=80,
)


@given(STEPS)
def test_whatever_happens_it_recovers_and_asking_changes_nothing(steps: list[tuple[str, float, int]]) -> None:
    breaker, now, began = Breaker(SETTINGS), 0.0, [0.0]
    for what, elapsed, which in steps:
        now += elapsed
        was = breaker.state(now)
        if what == "began":
            breaker.began(now)
            began.append(now)
        elif what == "cool_down":
            breaker.cool_down(elapsed, now)
        elif what != "lost":
            began_at = began[which % len(began)]
            breaker.ended({"ok": False, "failed": True, "nothing": None}[what], now, began_at)
            if was == "open":
                assert breaker.state(now) == "open"
        asked = (breaker.state(now), breaker.is_allowed(now), breaker.open_for_s(now))
        assert asked == (breaker.state(now), breaker.is_allowed(now), breaker.open_for_s(now))
        assert (asked[0] == "open") == (asked[2] > 0)
        assert not (asked[0] == "open" and asked[1])
    now += 200.0  # longer than any cool-down and any lost probe
    assert breaker.is_allowed(now)
    run(breaker, ".", now)
    assert breaker.state(now) == "closed"


@given(st.lists(st.booleans(), max_size=60))
def test_it_opens_exactly_when_the_rules_say(outcomes: list[bool]) -> None:
    breaker = Breaker(SETTINGS)
    for count in range(1, len(outcomes) + 1):
        run(breaker, "x" if outcomes[count - 1] else ".", 100.0)
        seen = outcomes[:count]
        row = len(seen) >= 5 and all(seen[-5:])
        ratio = count >= 10 and sum(seen) >= 0.5 * count and seen[-1]
        assert (breaker.state(100.0) == "open") == (row or ratio)
        if row or ratio:
            break


def shared(settings: BreakerSettings = SETTINGS) -> tuple[Breaker, Tally]:
    breaker, tally = Breaker(settings), Tally()
    breaker.share(tally)
    return breaker, tally


def test_what_is_counted_and_an_opening_are_told_to_others() -> None:
    breaker, tally = shared()
    run(breaker, "..?xxxxx", 100.0)
    assert (tally.attempts, tally.failures, tally.open_until) == (7, 5, 102.0)
    breaker.cool_down(60.0, 100.0)
    assert tally.open_until == 160.0


def test_what_was_heard_is_not_told() -> None:
    breaker, tally = shared()
    breaker.heard(5, 5, 2.0, 100.0)
    assert breaker.state(100.0) == "open"
    assert tally == Tally()


def test_who_has_not_been_answered_lately_takes_the_others_word() -> None:
    breaker, _ = shared()
    breaker.heard(9, 5, 3.0, 100.0)
    assert breaker.open_for_s(100.0) == 3.0
    breaker, _ = shared()
    run(breaker, ".", 100.0)
    breaker.heard(5, 5, 3.0, 115.0)
    assert breaker.open_for_s(115.0) == 3.0


def test_failures_of_several_add_up_and_open_it_where_each_saw_too_few() -> None:
    breaker, _ = shared()
    run(breaker, "xx", 100.0)
    breaker.heard(2, 2, 0.0, 100.0)
    assert breaker.state(100.0) == "closed"
    breaker.heard(1, 1, 0.0, 100.0)
    assert breaker.open_for_s(100.0) == SETTINGS.cool_down_s


def test_the_ratio_is_that_of_all_where_ones_own_attempts_are_few() -> None:
    breaker, _ = shared()
    run(breaker, "x", 100.0)
    breaker.heard(8, 4, 0.0, 100.0)
    assert breaker.state(100.0) == "closed"
    breaker.heard(2, 1, 0.0, 101.0)
    assert breaker.state(101.0) == "open"


def test_one_whose_own_way_is_broken_does_not_close_the_way_of_others() -> None:
    breaker, _ = shared()
    for second in range(100, 160):
        run(breaker, ".........x", float(second))
        breaker.heard(10, 10, 30.0 if second % 30 == 0 else 0.0, second + 0.5)
        assert breaker.state(second + 0.5) == "closed"


def test_two_failures_of_ones_own_are_enough_where_others_saw_many() -> None:
    breaker, _ = shared()
    run(breaker, "....................", 100.0)
    breaker.heard(9, 5, 2.0, 100.5)
    run(breaker, "x", 100.6)
    assert breaker.state(100.6) == "closed"
    run(breaker, "x", 100.7)
    assert breaker.state(100.7) == "open"


@pytest.mark.parametrize("answered", ["own", "others"])
def test_an_answer_ends_the_row_of_the_others(answered: str) -> None:
    breaker, _ = shared()
    run(breaker, ".", 100.0)
    breaker.heard(5, 5, 2.0, 100.1)
    if answered == "own":
        run(breaker, ".", 100.2)
    else:
        breaker.heard(1, 0, 0.0, 100.2)
    run(breaker, "xx", 100.3)
    assert breaker.state(100.3) == "closed"


def test_the_probe_of_ones_own_says_more_than_the_others() -> None:
    breaker, _ = shared()
    breaker.heard(5, 5, 2.0, 100.0)
    breaker.began(102.0)
    breaker.heard(1, 1, 30.0, 102.1)
    breaker.ended(False, 102.2, 102.0)
    assert breaker.state(102.2) == "closed"


def test_an_opening_elsewhere_makes_a_cool_down_longer_and_never_shorter() -> None:
    breaker, _ = shared()
    run(breaker, "xxxxx", 100.0)
    breaker.heard(1, 1, 1.0, 100.0)
    assert breaker.open_for_s(100.0) == 2.0
    breaker.heard(1, 1, 4.0, 101.0)
    assert breaker.open_for_s(101.0) == 4.0


def test_a_single_failure_opens_one_that_is_set_so_whatever_others_say() -> None:
    breaker, _ = shared(BreakerSettings(consecutive=1))
    run(breaker, ".x", 100.0)
    assert breaker.state(100.0) == "open"


def test_nothing_is_heard_where_nothing_is_shared() -> None:
    breaker = Breaker(SETTINGS)
    assert not breaker.is_shared
    breaker.heard(99, 99, 30.0, 100.0)
    assert breaker.state(100.0) == "closed"
