import heapq
from collections.abc import Callable
from math import exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.concurrency import ConcurrencyLimit


def server(
    limit: ConcurrencyLimit,
    slowness: Callable[[int, float], float],
    until_s: float,
    *,
    clients: int = 1000,
    sigma: float = 0.0,
    is_refused: Callable[[float], bool] = lambda now: False,
    from_s: float = 0.0,
) -> list[tuple[float, float]]:
    """A closed loop: as many in flight as the limit and the clients allow, each answer makes room for the next.

    `slowness(in_flight, now)` when an attempt begins, spread by a log-normal of `sigma`; an unloaded answer takes 1 s,
    a refusal 30 ms. Gives (time, limit) after each answer.
    """
    rng, now = Random(7), from_s
    ends: list[tuple[float, int, float | None]] = []
    seen = []
    number = 0
    while now < until_s:
        while limit.in_flight < clients and limit.is_allowed():
            limit.began()
            number += 1
            if is_refused(now):
                heapq.heappush(ends, (now + 0.03, number, None))
            else:
                slow = slowness(limit.in_flight, now) * exp(rng.gauss(0.0, sigma))
                heapq.heappush(ends, (now + slow, number, slow))
        now, _, ended = heapq.heappop(ends)
        limit.ended(ended, ended is None, now)
        seen.append((now, limit.limit()))
    for _ in ends:
        limit.ended(None, False, now)
    return seen


def knee(in_flight: int, now: float) -> float:
    return max(1.0, (in_flight / 12) ** 2)


def level(in_flight: int, now: float) -> float:
    return 1.0


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("start", [2, 20, 200])
def test_a_server_with_a_knee_is_kept_near_it(sigma: float, start: int) -> None:
    seen = server(ConcurrencyLimit(None, start=start), knee, 3000.0, sigma=sigma)
    settled = [limit for now, limit in seen if now > 1000.0]
    assert len(settled) > 1000
    assert min(settled) >= 8
    assert max(settled) <= 30


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.6])
def test_a_server_that_never_slows_is_used_in_full(sigma: float) -> None:
    limit = ConcurrencyLimit(None)
    seen = server(limit, level, 200.0, sigma=sigma)
    assert max(limit for _, limit in seen) == 500
    settled = [limit for now, limit in seen if now > 150.0]
    assert min(settled) > 400


def test_a_limit_found_long_ago_follows_a_server_that_lost_its_strength() -> None:
    limit = ConcurrencyLimit(None)
    server(limit, level, 200.0)
    seen = server(limit, knee, 3000.0, from_s=200.0, clients=100)
    assert seen[-1][1] <= 30


def test_a_storm_of_refusals_halves_it_once_and_it_recovers() -> None:
    limit = ConcurrencyLimit(None, start=100, largest=100)
    seen = server(limit, level, 60.0, is_refused=lambda now: 10.0 <= now < 12.0)
    assert min(limit for _, limit in seen) == 50
    assert [limit for now, limit in seen if now < 10.0][-1] == 100
    assert seen[-1][1] == 100


def test_attempts_begun_before_the_cut_do_not_cut_again() -> None:
    limit = ConcurrencyLimit(None, start=40)
    for _ in range(40):
        limit.began()
    for second in range(40):
        limit.ended(None, True, 100.0 + 10 * second)  # hung attempts that time out one after the other
    assert limit.limit() == 20
    limit.began()
    limit.ended(None, True, 1000.0)
    assert limit.limit() == 10


def test_an_overload_that_lasts_goes_down_to_the_smallest_and_no_further() -> None:
    limit = ConcurrencyLimit(None, start=40, smallest=3)
    seen = server(limit, level, 60.0, is_refused=lambda now: True)
    assert seen[-1][1] == 3


def test_a_limit_of_which_less_than_half_is_used_does_not_grow() -> None:
    limit = ConcurrencyLimit(None, start=20)
    server(limit, level, 100.0, clients=9)
    assert limit.limit() == 20
    server(limit, level, 200.0, clients=10, from_s=100.0)
    assert 20 < limit.limit() <= 25


def test_single_slow_answers_change_nothing_much() -> None:
    limit = ConcurrencyLimit(None, start=20)
    for answer in range(2000):
        while limit.is_allowed():
            limit.began()
        limit.ended(1e9 if answer % 10 == 0 else 1.0, False, float(answer))
        assert limit.limit() >= 20


@pytest.mark.parametrize("fixed", [1, 12])
def test_a_fixed_limit_stays(fixed: int) -> None:
    limit = ConcurrencyLimit(fixed)
    for _ in range(fixed):
        assert limit.is_allowed()
        limit.began()
    assert not limit.is_allowed()
    for _ in range(fixed):
        limit.ended(9.0, True, 100.0)
    assert (limit.limit(), limit.in_flight) == (fixed, 0)


def test_room_is_counted_in_whole_attempts() -> None:
    limit = ConcurrencyLimit(None, start=5)
    limit.began()
    limit.ended(None, True, 0.0)
    assert limit.limit() == 2.5
    limit.began()
    assert limit.is_allowed()
    limit.began()
    assert not limit.is_allowed()


@given(
    st.lists(
        st.tuples(st.booleans(), st.one_of(st.none(), st.floats(0.0, 1e6)), st.booleans(), st.floats(0.0, 10.0)),
        max_size=200,
    )
)
def test_the_limit_stays_within_its_bounds_and_the_count_never_below_zero(
    steps: list[tuple[bool, float | None, bool, float]],
) -> None:
    limit, now, in_flight = ConcurrencyLimit(None, start=6, smallest=2, largest=30), 0.0, 0
    for is_begin, slowness, is_overload, elapsed in steps:
        now += elapsed
        if is_begin:
            limit.began()
        else:
            limit.ended(slowness, is_overload, now)
        in_flight = in_flight + 1 if is_begin else max(0, in_flight - 1)
        assert limit.in_flight == in_flight
        assert 2 <= limit.limit() <= 30
        assert limit.is_allowed() is (in_flight + 1 <= limit.limit())
