import heapq
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting import Hold, Lengths, Limits, Meter, shortage

MINUTES = 12
CLIENTS = 64


def meter(name: tuple[str, ...] = ("search",), **limits: int) -> Meter:
    made = Meter(name)
    made.limit_to(Limits(**limits))
    return made


def lengths_after(*outputs: int) -> Lengths:
    lengths = Lengths()
    for output in outputs:
        lengths.learn(output, 1)
    return lengths


# -- how long answers are --


def test_before_answers_are_known_a_stated_number_is_reserved() -> None:
    assert Lengths().expect(None, 1) == 500
    assert Lengths().expect(30, 1) == 30
    assert Lengths().expect(10**12, 128) == 500 * 128


def test_of_few_answers_the_longest_counts_and_the_guess_is_one_of_them() -> None:
    assert lengths_after(5, 9).expect(None, 1) == 500
    assert lengths_after(5, 9000).expect(None, 1) == 9000


def test_of_many_answers_all_but_the_longest_five_percent_fit() -> None:
    assert lengths_after(*range(1, 101)).expect(None, 1) == 96
    assert lengths_after(*range(1, 101)).expect(40, 3) == 120


def test_old_answers_are_forgotten() -> None:
    assert lengths_after(*[4000] * 50, *[10] * 128).expect(None, 1) == 10


def test_of_several_choices_each_is_an_answer() -> None:
    lengths = Lengths()
    for _ in range(20):
        lengths.learn(1000, 8)
    assert (lengths.expect(None, 1), lengths.expect(None, 8)) == (125, 1000)


@given(st.lists(st.integers(0, 10_000), min_size=20, max_size=300))
def test_it_is_the_percentile_of_the_latest(outputs: list[int]) -> None:
    latest = sorted(outputs[-128:])
    assert lengths_after(*outputs).expect(None, 1) == latest[len(latest) * 95 // 100]


# -- reserve and settle --


def test_a_hold_takes_a_place_and_tokens_of_every_meter_and_gives_them_back() -> None:
    team, key = meter(tpm=1000, concurrency=2), meter(("search", "ci"), tpm=500)
    hold = Hold((team, key), 400, 1000.0)
    assert (team.in_flight, key.in_flight) == (1, 1)
    assert (team.tokens.remaining(1000.0), key.tokens.remaining(1000.0)) == (600, 100)
    hold.leave()
    hold.leave()
    hold.settle(150, 1000.0)
    assert (team.in_flight, key.in_flight) == (0, 0)
    assert (team.tokens.remaining(1000.0), key.tokens.remaining(1000.0)) == (850, 350)


def test_what_was_used_beyond_the_reservation_is_taken_too() -> None:
    team = meter(tpm=1000)
    Hold((team,), 100, 1000.0).settle(700, 1001.0)
    assert team.tokens.remaining(1001.0) == 300


def test_tokens_that_were_not_taken_are_not_given_back() -> None:
    team = meter(concurrency=3)
    hold = Hold((team,), 400, 1000.0)
    team.limit_to(Limits(tpm=1000))
    Hold((team,), 600, 1000.0)
    hold.settle(0, 1001.0)
    assert team.tokens.remaining(1001.0) == 400


def test_a_meter_is_at_rest_when_nothing_is_left_to_remember() -> None:
    team = meter(tpm=1000, rpm=5)
    hold = Hold((team,), 10, 1000.0)
    assert not team.is_at_rest(2000.0)
    hold.leave()
    assert team.is_at_rest(2000.0)
    team.requests.take(1, 2000.0)
    assert not team.is_at_rest(2059.0)
    assert team.is_at_rest(2061.0)


# -- what stands against a call --


def test_nothing_stands_against_a_call_that_fits() -> None:
    assert shortage((meter(rpm=1, tpm=10, concurrency=1),), 10, 1000.0) is None


def test_the_limit_that_takes_longest_is_named() -> None:
    team, key = meter(rpm=2, tpm=1000), meter(("search", "ci"), rpm=1, tpm=1000)
    for one, at in ((team, 1000.0), (key, 1010.0)):
        one.requests.take(one.requests.limit, at)
        one.tokens.take(900, at - 5)
    short = shortage((team, key), 200, 1020.0)
    assert short is not None
    assert (short.name, short.size, short.remaining, short.wait_s) == ("key_rpm", 1, 0, 50.5)
    short = shortage((team,), 200, 1020.0)
    assert short is not None
    assert (short.name, short.wait_s) == ("team_rpm", 40.5)


def test_calls_at_once_are_named_only_if_nothing_else_stands_against_it() -> None:
    team = meter(tpm=1000, concurrency=1)
    Hold((team,), 900, 1000.0)
    short = shortage((team,), 50, 1000.0)
    assert short is not None
    assert (short.name, short.size, short.wait_s) == ("team_concurrency", 1, None)
    short = shortage((team,), 500, 1000.0)
    assert short is not None
    assert (short.name, short.remaining) == ("team_tpm", 100)


def test_the_wait_is_for_all_limits_also_for_one_that_has_room_only_now() -> None:
    """What was held back in vain is credited for a minute: there is room on credit, then for a while there is none."""
    team, key = meter(tpm=1000), meter(("search", "ci"), rpm=1)
    Hold((team,), 1000, 1000.0).settle(500, 1060.0)
    Hold((team,), 1300, 1061.0)
    key.requests.take(1, 1030.0)
    assert team.tokens.has_room(100, 1065.0)
    short = shortage((team, key), 100, 1065.0)
    assert short is not None
    assert short.name == "key_rpm"
    assert short.wait_s is not None
    at = 1065.0 + short.wait_s
    assert team.tokens.has_room(100, at)
    assert at > 1090.5


# -- under load --


@dataclass
class Load:
    """Clients that call again and again, and obey when they are told to wait."""

    team: Meter
    rng: Random
    mean_s: float  #: how long a call lasts
    has_cap: bool
    lengths: Lengths = field(default_factory=Lengths)
    used: list[tuple[float, int]] = field(default_factory=list)
    refused: int = 0

    def play(self, clients: int, minutes: int) -> None:
        # Time, order; then a call that ends: its hold, what it used and how much of that was output.
        events: list[tuple[float, int, tuple[Hold, int, int] | None]] = []
        for number in range(clients):
            heapq.heappush(events, (self.rng.random(), number, None))
        number = clients
        while events[0][0] < minutes * 60:
            now, _, ended = heapq.heappop(events)
            number += 1
            if ended is not None:
                hold, used, output = ended
                hold.leave()
                hold.settle(used, now)
                self.lengths.learn(output, 1)
                heapq.heappush(events, (now + 0.001, number, None))
                continue
            until, begun = self.ask(now)
            heapq.heappush(events, (until, number, begun))

    def ask(self, now: float) -> tuple[float, tuple[Hold, int, int] | None]:
        rng = self.rng
        input_tokens = rng.randint(50, 400)
        output = max(1, int(rng.lognormvariate(0, 1) * 200))
        cap = rng.choice((64, 256, 1024)) if self.has_cap else None
        output = output if cap is None else min(output, cap)
        reserved = int(input_tokens * rng.uniform(0.7, 1.4)) + self.lengths.expect(cap, 1)
        if self.team.has_room(reserved, now):
            hold = Hold((self.team,), reserved, now)
            self.used.append((now, input_tokens + output))
            return now + rng.expovariate(1 / self.mean_s), (hold, input_tokens + output, output)
        short = shortage((self.team,), reserved, now)
        assert short is not None
        assert short.wait_s is not None
        self.refused += 1
        return now + short.wait_s + rng.random() * 0.05, None

    def share_of_limit(self, begin_s: float, end_s: float) -> float:
        assert self.team.limits.tpm is not None
        return sum(tokens for at, tokens in self.used if begin_s <= at < end_s) / self.team.limits.tpm


@pytest.mark.parametrize("has_cap", [False, True], ids=["uncapped", "capped"])
@pytest.mark.parametrize(("limit", "mean_s"), [(60_000, 1.0), (100_000, 5.0), (100_000, 8.0), (200_000, 1.0)])
def test_under_load_the_tokens_used_come_to_the_limit(limit: int, mean_s: float, has_cap: bool) -> None:
    load = Load(meter(tpm=limit), Random(7), mean_s, has_cap)
    load.play(CLIENTS, MINUTES)
    assert load.refused > 100
    assert 0.95 <= load.share_of_limit(60, MINUTES * 60) / (MINUTES - 1) <= 1.03
    assert load.share_of_limit(0, 60) <= 1.2
    for second in range(60, MINUTES * 60 - 60, 7):
        assert load.share_of_limit(second, second + 60) <= 1.2
    assert load.team.in_flight <= CLIENTS


def test_calls_that_always_take_more_than_reserved_do_not_take_more_than_the_limit_in_the_long_run() -> None:
    team, now, used = meter(tpm=10_000), 0.0, 0
    while now < 60 * 60:
        if team.has_room(1000, now):
            Hold((team,), 1000, now).settle(5000, now)
            used += 5000
        else:
            now += team.tokens.wait_s(1000, now)
    assert 0.95 <= used / (10_000 * 60) <= 1.03
