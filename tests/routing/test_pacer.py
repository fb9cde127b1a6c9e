from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.pacer import Pacer
from routing.tally import Tally
from routing.types import RateLimits


def sent(pacer: Pacer, now: float, count: int = 1, tokens: int = 10) -> None:
    for _ in range(count):
        pacer.began(tokens, now)


def admitted(pacer: Pacer, now: float, tokens: int = 10, wanted: int = 10_000) -> int:
    """How many go out at once."""
    count = 0
    while count < wanted and pacer.wait_s(tokens, now) == 0:
        pacer.began(tokens, now)
        count += 1
    return count


def requests(sent_at: float, limit: int | None, remaining: int | None, reset_s: float | None = None) -> RateLimits:
    return RateLimits(sent_at, limit_requests=limit, remaining_requests=remaining, reset_requests_s=reset_s)


def tokens(sent_at: float, limit: int | None, remaining: int | None) -> RateLimits:
    return RateLimits(sent_at, limit_tokens=limit, remaining_tokens=remaining)


STEPS = st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(0, 10**7)), max_size=50)


@given(STEPS)
def test_who_knows_no_limit_always_admits(steps: list[tuple[float, int]]) -> None:
    pacer, now = Pacer(None, None), 0.0
    for elapsed, amount in steps:
        now += elapsed
        pacer.began(amount, now)
        pacer.ended(amount, amount // 2, now)
        pacer.told(RateLimits(now, -1, -1, 0, 0), now)
        assert pacer.wait_s(amount, now) == 0.0
        assert pacer.headroom(now) == 1.0


def test_the_configs_limit_is_a_bucket_of_one_minute() -> None:
    pacer = Pacer(60, None)
    assert admitted(pacer, 100.0) == 60
    assert pacer.wait_s(10, 100.0) > 0


@pytest.mark.parametrize("rpm", [1, 2, 3])
def test_a_tiny_limit_still_lets_as_many_through(rpm: int) -> None:
    pacer = Pacer(rpm, None)
    assert admitted(pacer, 100.0) == rpm
    assert admitted(pacer, 170.0) == rpm


def test_a_spent_bucket_says_when() -> None:
    pacer = Pacer(None, 6000)
    assert pacer.wait_s(2000, 0.0) == 0.0
    pacer.began(5000, 0.0)
    assert pacer.wait_s(2000, 0.0) == pytest.approx(11.0)  # 1.05 × 2,000 - 1,000 at 100 a second
    assert pacer.wait_s(2000, 5.0) == pytest.approx(6.0)


def test_a_call_larger_than_the_configs_limit_never_fits_and_one_as_large_does() -> None:
    pacer = Pacer(None, 6000)
    assert pacer.wait_s(6001, 0.0) == inf
    assert pacer.wait_s(6000, 0.0) == 0.0


def test_what_was_not_used_is_given_back_and_what_was_overdrawn_is_taken() -> None:
    pacer = Pacer(None, 6000)
    pacer.began(3000, 0.0)
    assert pacer.headroom(0.0) == pytest.approx(0.5)
    pacer.ended(3000, None, 0.0)
    assert pacer.headroom(0.0) == pytest.approx(0.5)
    pacer.ended(3000, 1500, 0.0)
    assert pacer.headroom(0.0) == pytest.approx(0.75)
    pacer.ended(0, 3000, 0.0)
    assert pacer.headroom(0.0) == pytest.approx(0.25)


def test_headroom_is_the_scarcer_of_requests_and_tokens() -> None:
    pacer = Pacer(10, 1000)
    sent(pacer, 0.0, 2, tokens=10)
    assert pacer.headroom(0.0) == pytest.approx(0.8)
    pacer.began(880, 0.0)
    assert pacer.headroom(0.0) == pytest.approx(0.1)
    pacer.began(10_000, 0.0)
    assert pacer.headroom(0.0) == 0.0


def test_a_header_is_carried_on_from_when_its_request_was_sent() -> None:
    pacer = Pacer(None, None)
    sent(pacer, 100.0)
    sent(pacer, 101.0, 3)
    pacer.told(requests(100.0, 60, 9), 106.0)
    assert pacer.headroom(106.0) == pytest.approx((9 + 6 - 3) / 60)
    assert admitted(pacer, 106.0) == 12


def test_tokens_sent_since_are_those_of_younger_requests_only() -> None:
    pacer = Pacer(None, None)
    pacer.began(500, 99.0)
    pacer.began(700, 100.0)
    pacer.began(900, 101.0)
    pacer.told(tokens(100.0, 6000, 4000), 102.0)
    assert pacer.headroom(102.0) == pytest.approx((4000 + 200 - 900) / 6000)


def test_of_requests_sent_at_one_moment_each_answer_counts_one() -> None:
    pacer = Pacer(None, None)
    sent(pacer, 100.0, 5)
    for remaining in (9, 8, 7, 6, 5):
        pacer.told(requests(100.0, 10, remaining), 100.0)
        assert pacer.headroom(100.0) == pytest.approx(0.5)


def test_an_answer_to_an_older_request_is_passed_over() -> None:
    pacer = Pacer(None, None)
    sent(pacer, 100.0)
    sent(pacer, 101.0)
    pacer.told(requests(101.0, 60, 30), 102.0)
    pacer.told(requests(100.0, 60, 59), 103.0)
    assert pacer.headroom(102.0) == pytest.approx(31 / 60)


def test_an_answer_without_news_does_not_hide_an_older_one_with() -> None:
    pacer = Pacer(None, None)
    sent(pacer, 100.0)
    sent(pacer, 101.0)
    pacer.told(requests(101.0, -1, -1), 102.0)
    pacer.told(requests(100.0, 60, 30), 102.0)
    assert pacer.headroom(102.0) == pytest.approx((30 + 2 - 1) / 60)


@pytest.mark.parametrize("limit", [-1, 0, None])
def test_an_unknown_limit_leaves_what_is_known(limit: int | None) -> None:
    pacer = Pacer(60, None)
    pacer.told(requests(100.0, limit, limit), 100.0)
    assert admitted(pacer, 100.0) == 60


def test_what_remains_counts_against_the_configs_limit_if_the_header_names_none() -> None:
    pacer = Pacer(60, None)
    pacer.told(requests(100.0, None, 6), 100.0)
    assert pacer.headroom(100.0) == pytest.approx(0.1)
    stranger = Pacer(None, None)
    stranger.told(requests(100.0, None, 0), 100.0)
    assert stranger.wait_s(10, 100.0) == 0.0


def test_a_limit_without_a_remainder_starts_full_and_then_counts_itself() -> None:
    pacer = Pacer(None, None)
    pacer.told(requests(100.0, 10, None), 100.0)
    sent(pacer, 100.0, 4)
    pacer.told(requests(100.0, 10, None), 100.0)
    assert pacer.headroom(100.0) == pytest.approx(0.6)
    pacer.told(requests(100.0, 5, None), 100.0)
    assert pacer.headroom(100.0) == pytest.approx(0.3)  # 4 of 5 went out: 1.1 - 0.8


@pytest.mark.parametrize(("config", "header"), [(60, 6), (6, 60)])
def test_the_smaller_of_two_limits_rules(config: int, header: int) -> None:
    pacer = Pacer(config, None)
    pacer.told(requests(100.0, header, header), 100.0)
    assert admitted(pacer, 100.0) == 6


def test_a_header_that_promises_more_than_its_limit_is_not_believed() -> None:
    pacer = Pacer(None, None)
    pacer.told(requests(100.0, 10, 10_000), 100.0)
    assert admitted(pacer, 100.0) == 10


def test_a_header_from_the_future_is_taken_as_of_now() -> None:
    pacer = Pacer(None, None)
    pacer.told(requests(500.0, 60, 6), 100.0)
    assert pacer.headroom(106.0) == pytest.approx(0.2)


def test_news_fades_after_a_minute_and_the_config_remains() -> None:
    pacer = Pacer(60, None)
    pacer.told(requests(100.0, 2, 0), 100.0)
    sent(pacer, 100.0, 6)
    assert pacer.wait_s(10, 100.0) == pytest.approx(60.0)
    assert pacer.headroom(159.0) == 0.0
    assert pacer.wait_s(10, 160.0) == 0.0
    assert pacer.headroom(180.0) == 1.0


def test_a_header_without_limit_does_not_call_back_a_faded_one() -> None:
    pacer = Pacer(None, None)
    pacer.told(requests(100.0, 10, 5), 100.0)
    pacer.told(requests(159.0, None, 0), 159.0)
    assert pacer.headroom(159.0) == 0.0
    pacer.told(requests(300.0, None, 0), 300.0)
    assert pacer.headroom(300.0) == 1.0


def test_a_remainder_below_zero_is_unknown() -> None:
    pacer = Pacer(None, None)
    pacer.told(requests(100.0, 10, -1), 100.0)
    assert pacer.headroom(100.0) == 1.0


def test_too_large_for_a_headers_limit_is_not_for_ever() -> None:
    pacer = Pacer(None, None)
    pacer.told(tokens(100.0, 1000, 1000), 100.0)
    assert pacer.wait_s(5000, 110.0) == pytest.approx(50.0)
    assert pacer.wait_s(5000, 160.0) == 0.0


def test_a_limit_of_a_day_does_not_come_back_in_a_minute() -> None:
    pacer = Pacer(None, None)
    pacer.told(requests(100.0, 14_400, 0, reset_s=86_400.0), 100.0)
    assert pacer.wait_s(10, 101.0) == pytest.approx(5.0, abs=1e-4)  # one in 6 s


def test_blocked_means_wait_and_only_longer_ones_count() -> None:
    pacer = Pacer(None, None)
    pacer.blocked(10.0, 100.0)
    pacer.blocked(3.0, 101.0)
    assert pacer.wait_s(10, 101.0) == 9.0
    assert pacer.headroom(101.0) == 0.0
    pacer.blocked(20.0, 101.0)
    assert pacer.wait_s(10, 102.0) == 19.0
    assert (pacer.wait_s(10, 121.0), pacer.headroom(121.0)) == (0.0, 1.0)
    pacer.blocked(1e6, 200.0)
    assert pacer.wait_s(10, 200.0) == 3600.0


def test_refusals_that_name_no_time_are_waited_out_for_longer_and_longer() -> None:
    pacer, waits, now = Pacer(None, None), [], 100.0
    for _ in range(4):
        pacer.refused(None, now, now)
        waits.append(pacer.wait_s(10, now))
        now += waits[-1]
    assert waits == [1.0, 2.0, 4.0, 4.0]
    pacer.accepted()
    pacer.refused(None, now, now)
    assert pacer.wait_s(10, now) == 1.0


def test_what_was_sent_before_the_rest_began_makes_it_no_longer() -> None:
    pacer = Pacer(None, None)
    for ago in (0.0, 0.1, 0.2):  # three were on their way when the first refusal came
        pacer.refused(None, 100.0 - ago, 100.05)
    assert pacer.wait_s(10, 100.05) == pytest.approx(1.0)
    pacer.refused(None, 101.1, 101.15)
    assert pacer.wait_s(10, 101.15) == pytest.approx(2.0)


def test_a_time_that_a_refusal_names_holds_whenever_it_was_sent() -> None:
    pacer = Pacer(None, None)
    pacer.refused(None, 100.0, 100.0)
    pacer.refused(7.0, 99.5, 100.0)
    assert pacer.wait_s(10, 100.0) == 7.0


def test_debt_is_forgiven_beyond_a_minutes_worth() -> None:
    pacer = Pacer(60, None)
    sent(pacer, 0.0, 1000)
    assert 60.0 < pacer.wait_s(10, 0.0) <= 65.0


def test_many_in_flight_without_any_header_take_bounded_room() -> None:
    pacer = Pacer(None, None)
    sent(pacer, 50.0, 5000)
    sent(pacer, 100.0, 1)
    pacer.told(requests(100.0, 10_000, 4000), 100.0)
    assert pacer.headroom(100.0) == pytest.approx(0.4)
    stranger = Pacer(None, None)
    sent(stranger, 50.0, 2000)
    stranger.told(tokens(49.9, 60_000, 60_000), 50.0)
    assert stranger.headroom(50.0) == pytest.approx((60_000 + 100 - 10 * 1024) / 60_000)


class Provider:
    """Counts exactly: as a token bucket that refills all the time, or as a window of the last 60 s."""

    def __init__(self, limit: int, is_bucket: bool) -> None:
        self.limit, self.is_bucket, self.refused = limit, is_bucket, 0
        self._level, self._at = float(limit), 0.0
        self._taken: list[float] = []

    def ask(self, now: float) -> int:
        """What remains after this request."""
        if self.is_bucket:
            self._level = min(self.limit, self._level + (now - self._at) * self.limit / 60)
            self._at = now
            left = self._level
        else:
            self._taken = [at for at in self._taken if now - at < 60.0]
            left = self.limit - len(self._taken)
        if left < 1:
            self.refused += 1
            return 0
        self._level -= 1
        self._taken.append(now)
        return int(left) - 1


@pytest.mark.parametrize("is_bucket", [True, False])
@given(
    limit=st.integers(20, 120),
    load=st.floats(0.3, 4.0),
    latency_s=st.floats(0.0, 4.0),
    knows_config=st.booleans(),
)
def test_no_minute_sees_more_than_the_limit_and_a_tenth(
    is_bucket: bool, limit: int, load: float, latency_s: float, knows_config: bool
) -> None:
    provider = Provider(limit, is_bucket)
    pacer = Pacer(limit if knows_config else None, None)
    answers: list[tuple[float, RateLimits]] = []
    out: list[float] = []
    gap_s = 60 / (limit * load)
    now = 0.0
    while now < 240.0:
        while answers and answers[0][0] <= now:
            at, limits = answers.pop(0)
            pacer.told(limits, at)
        if pacer.wait_s(10, now) == 0:
            pacer.began(10, now)
            out.append(now)
            answers.append((now + latency_s, requests(now, limit, provider.ask(now))))
        now += gap_s
    assert max(sum(at <= other < at + 60.0 for other in out) for at in out) <= 1.1 * limit
    # It does not hold back what the provider would take, either.
    assert len(out) >= 0.9 * min(load, 1.0) * limit * 4 - 1
    if is_bucket:
        assert provider.refused <= 0.01 * len(out) + latency_s / gap_s * (not knows_config)


@given(
    STEPS,
    st.sampled_from([None, 1, 7, 600]),
    st.sampled_from([None, 1000, 100_000]),
    st.lists(st.tuples(st.integers(-1, 50), st.integers(-1, 60)), max_size=5),
    st.integers(1, 1000),
)
def test_who_waits_as_long_as_told_may_send(
    steps: list[tuple[float, int]],
    rpm: int | None,
    tpm: int | None,
    headers: list[tuple[int, int]],
    wanted: int,
) -> None:
    pacer, now = Pacer(rpm, tpm), 0.0
    for index, (elapsed, amount) in enumerate(steps):
        now += elapsed
        pacer.began(amount % 5000, now)
        if index < len(headers):
            pacer.told(requests(now - 1.0, *headers[index]), now)
        assert 0.0 <= pacer.headroom(now) <= 1.0
    wait_s = pacer.wait_s(wanted, now)
    assert 0.0 <= wait_s <= 3600.0
    assert pacer.wait_s(wanted, now) == wait_s
    assert pacer.wait_s(wanted, now + wait_s + 1e-6) == 0.0


def test_the_spare_room_is_the_headroom_of_the_last_question() -> None:
    pacer = Pacer(60, 60_000)
    assert pacer.spare == 1.0
    for _ in range(15):
        pacer.began(100, 0.0)
    assert pacer.wait_s(100, 0.0) == 0
    assert pacer.spare == pytest.approx(pacer.headroom(0.0)) == pytest.approx(0.75)
    pacer.told(RateLimits(0.0, limit_tokens=60_000, remaining_tokens=6_000), 0.0)
    pacer.wait_s(100, 0.0)
    assert pacer.spare == pytest.approx(pacer.headroom(0.0))
    assert pacer.spare < 0.15


def shared(rpm: int | None = 60, tpm: int | None = None, others: int = 1) -> tuple[Pacer, Tally]:
    pacer, tally = Pacer(rpm, tpm), Tally(others)
    pacer.share(tally)
    return pacer, tally


def test_what_is_sent_is_told_and_so_is_what_was_not_used_of_it() -> None:
    pacer, tally = shared()
    pacer.began(1000, 0.0)
    pacer.ended(1000, 200, 1.0)
    assert (tally.requests, tally.tokens) == (1, 200)


def test_what_others_sent_is_taken_off_the_limit_and_not_told() -> None:
    pacer, tally = shared(others=0, tpm=600)
    pacer.heard(30, 300, 0.0, 0.0)
    assert pacer.headroom(0.0) == 0.5
    assert pacer.wait_s(400, 0.0) == pytest.approx(12.0)
    assert tally == Tally()


def test_others_are_taken_to_send_as_much_until_they_have_told() -> None:
    pacer, _ = shared(60)
    sent = 0
    while pacer.wait_s(1, 0.0) <= 0:
        pacer.began(1, 0.0)
        sent += 1
    assert sent == 30
    pacer.turn(0.0, are_others_heard=True)
    assert pacer.wait_s(1, 0.0) > 0  # what they sent until now they tell by the next turn
    pacer.turn(0.0, are_others_heard=True)
    assert pacer.headroom(0.0) == 0.5


def test_while_others_cannot_be_heard_each_keeps_to_its_share() -> None:
    pacer, sent = shared(60)[0], 0
    for tick in range(1200):  # ten minutes
        now = tick * 0.5
        while pacer.wait_s(1, now) <= 0:
            pacer.began(1, now)
            sent += 1
        pacer.turn(now, are_others_heard=False)
    assert sent == pytest.approx(300 + 30, abs=10)
    for now in (600.0, 600.5):
        pacer.turn(now, are_others_heard=True)
    assert pacer.headroom(600.5) < 0.1  # nothing of it comes back at once


def test_a_rest_is_told_and_one_that_was_heard_is_kept_and_not_told() -> None:
    pacer, tally = shared()
    pacer.refused(None, 0.0, 1.0)
    assert tally.rest_until == 2.0
    pacer.heard(0, 0, 30.0, 1.0)
    assert pacer.is_blocked(30.9)
    pacer.refused(5.0, 1.0, 2.0)
    assert tally.rest_until == 7.0
