from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from proxy.accounting.window import MAX_CREDIT, SPAN_S, Window

LIMIT = 100
SLOT_S = 0.5
steps_s = st.floats(0, 40, allow_nan=False) | st.sampled_from([0.0, 0.5, 60.0, 60.5, 61.0])
#: Pauses and amounts; of each amount this share is used in the end, after so long.
calls = st.lists(st.tuples(steps_s, st.integers(1, LIMIT), st.floats(0, 1), st.floats(0, 90)), max_size=60)
wild = st.lists(st.tuples(steps_s, st.integers(1, 12 * LIMIT), st.integers(0, 3 * LIMIT)), max_size=40)


def most_within_a_minute(used: list[tuple[float, int]]) -> int:
    """The largest sum over any 60 s, begin included and end not."""
    return max(
        (sum(amount for other, amount in used if at <= other < at + SPAN_S) for at, _ in used),
        default=0,
    )


def played(script: list[tuple[float, int, float, float]]) -> tuple[Window, list[tuple[float, int]], float]:
    """What of these calls was let in, and used so much less than reserved; settled in the order of time."""
    window, now = Window(LIMIT), 1000.0
    used: list[tuple[float, int]] = []
    ends: list[tuple[float, float, int]] = []
    for pause_s, amount, share, lasts_s in script:
        now += pause_s
        for end in sorted(one for one in ends if one[0] <= now):
            window.give_back(end[2], end[1], end[0])
            ends.remove(end)
        if window.has_room(amount, now):
            window.take(amount, now)
            used.append((now, int(amount * share)))
            ends.append((now + lasts_s, now, amount - int(amount * share)))
    return window, used, now


def after(script: list[tuple[float, int, int]]) -> tuple[Window, float]:
    """A window in which some calls overran what was reserved for them, and some did not need it."""
    window, now = Window(LIMIT), 1000.0
    for pause_s, amount, back in script:
        window.take(amount, now)
        taken_at, now = now, now + pause_s
        window.give_back(min(amount, back), taken_at, now)
    return window, now


@given(calls)
def test_in_any_minute_no_more_is_let_in_than_the_limit(script: list[tuple[float, int, float, float]]) -> None:
    _, used, _ = played([(pause_s, amount, 1.0, lasts_s) for pause_s, amount, _, lasts_s in script])
    assert most_within_a_minute(used) <= LIMIT


@given(calls)
def test_what_was_held_back_in_vain_lets_in_half_the_limit_more_at_most(
    script: list[tuple[float, int, float, float]],
) -> None:
    _, used, _ = played(script)
    assert most_within_a_minute(used) <= LIMIT * (1 + MAX_CREDIT)


@given(wild, st.integers(1, 3 * LIMIT), st.floats(0, 200))
def test_after_the_wait_that_it_tells_there_is_room_and_it_stays(
    script: list[tuple[float, int, int]], amount: int, later_s: float
) -> None:
    window, now = after(script)
    wait_s = window.wait_s(amount, now)
    assert wait_s >= 0
    assert wait_s > 0 or window.has_room(amount, now)
    assert window.has_room(amount, now + wait_s + 1e-6)
    assert window.has_room(amount, now + wait_s + later_s)


@given(wild)
def test_after_its_reset_all_of_the_limit_is_there(script: list[tuple[float, int, int]]) -> None:
    window, now = after(script)
    assert window.remaining(now + window.reset_s(now) + 1e-6) == LIMIT


@given(wild)
def test_what_remains_is_between_nothing_and_the_limit_and_can_be_had(script: list[tuple[float, int, int]]) -> None:
    window, now = after(script)
    remaining = window.remaining(now)
    assert 0 <= remaining <= LIMIT
    assert remaining == 0 or window.has_room(remaining, now)
    assert remaining == LIMIT or not window.has_room(remaining + 1, now)


@given(st.lists(steps_s, min_size=1, max_size=80), st.integers(1, 12))
def test_it_lets_in_what_the_package_lets_in_but_for_a_slot(pauses_s: list[float], limit: int) -> None:
    """The oracle is exact: it refuses what came less than 60 s after; we refuse up to 0.5 s more."""
    storage = MemoryStorage()
    oracle, item, window, now = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(limit), Window(limit), 5000.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limits.storage.memory.time.time", lambda: now)
        patch.setattr(storage, "_MemoryStorage__schedule_expiry", lambda: None)
        for pause_s in pauses_s:
            now += pause_s
            if window.has_room(1, now):
                window.take(1, now)
                assert oracle.hit(item)
            elif oracle.test(item):
                assert window.wait_s(1, now) <= SLOT_S


def test_there_is_no_edge_at_which_a_limit_can_be_had_twice() -> None:
    window = Window(LIMIT)
    window.take(LIMIT, 59.9)
    assert not window.has_room(1, 60.1)
    assert not window.has_room(1, 119.8)
    assert window.has_room(LIMIT, 120.0)


def test_a_call_larger_than_the_limit_is_let_in_when_nothing_else_is_there() -> None:
    window = Window(LIMIT)
    assert window.has_room(500 * LIMIT, 1000.0)
    window.take(1, 1000.0)
    assert not window.has_room(500 * LIMIT, 1000.0)
    assert window.wait_s(500 * LIMIT, 1000.0) == 60.5


def test_what_is_more_than_the_limit_is_owed_and_repaid_minute_by_minute() -> None:
    window = Window(LIMIT)
    window.take(5 * LIMIT, 1000.0)
    assert 5 * 60.5 <= window.wait_s(1, 1000.0) <= 5 * 60.5 + SLOT_S
    assert not window.has_room(1, 1000.0 + 4.9 * 60.5)
    assert window.has_room(LIMIT, 1000.0 + 5 * 60.5)


def test_an_overrun_is_repaid_before_anybody_gets_room() -> None:
    window = Window(LIMIT)
    for second in range(10):
        window.take(10, 1000.0 + second)
    window.take(25, 1010.0)  # one of them was that much larger than reserved
    assert window.wait_s(10, 1010.0) == 53.5  # the first three repay, the fourth makes room
    assert not window.has_room(10, 1063.0)
    assert window.has_room(10, 1063.5)


def test_a_debt_is_forgotten_after_an_hour() -> None:
    window = Window(LIMIT)
    window.take(10_000 * LIMIT, 1000.0)
    assert 61 * 60.5 <= window.wait_s(1, 1000.0) <= 61 * 60.5 + SLOT_S
    assert window.has_room(LIMIT, 1000.0 + 61 * 60.5)


def test_what_was_not_used_is_there_again_at_once() -> None:
    window = Window(LIMIT)
    window.take(80, 1000.0)
    window.give_back(50, 1000.0, 1000.1)
    assert window.remaining(1000.1) == 70
    window = Window(LIMIT)
    window.take(6 * LIMIT, 1000.0)
    window.give_back(6 * LIMIT, 1000.0, 1000.1)
    assert window.remaining(1000.1) == LIMIT


def test_what_kept_others_out_in_vain_is_credited_for_a_minute() -> None:
    window = Window(LIMIT)
    window.take(LIMIT, 1000.0)
    window.give_back(60, 1000.0, 1030.0)  # half a minute long: worth 30
    window.take(60, 1030.0)
    assert window.remaining(1030.0) == 30
    assert window.remaining(1091.0) == LIMIT


def test_a_changed_limit_forgets_nothing() -> None:
    window = Window(LIMIT)
    window.take(80, 1000.0)
    window.limit = 150
    assert window.remaining(1001.0) == 70
    window.limit = 50
    assert (window.remaining(1001.0), window.has_room(1, 1001.0)) == (0, False)
    assert window.has_room(50, 1000.0 + window.wait_s(50, 1000.0))


@pytest.mark.parametrize("look", [Window.remaining, Window.reset_s, lambda window, now: window.wait_s(1, now)])
def test_time_that_goes_backward_stands_still(look: Callable[[Window, float], Any]) -> None:
    window = Window(LIMIT)
    window.take(LIMIT, 1000.0)
    look(window, 400.0)
    window.give_back(0, 1000.0, 400.0)
    assert not window.has_room(1, 400.0)
    assert not window.has_room(1, 1000.0)
    assert window.has_room(LIMIT, 1060.5)


def test_a_long_rest_takes_no_longer_to_catch_up_with_than_a_short_one() -> None:
    window = Window(LIMIT)
    window.take(3 * LIMIT + 50, 0.0)
    at = 1e9  # thirty years: slot by slot this would take minutes
    assert window.remaining(at) == LIMIT
    left = []
    for cycle in range(5):
        window = Window(LIMIT)
        window.take(3 * LIMIT + 50, 0.0)
        left.append(window.remaining(cycle * 60.5 + 0.1))
    assert left == [0, 0, 0, 50, 100]
    assert all(earlier <= later for earlier, later in pairwise(left))
