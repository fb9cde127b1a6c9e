from math import inf

import pytest

from routing import Capacity, Fleet, Kind, Outcome, RateLimits
from routing.fleet import TargetState
from tests.routing.fleets import a_target, joined


def state(capacity: Capacity | None = None) -> TargetState:
    return joined(a_target("a", capacity=capacity or Capacity()))["p/a"]


def wait(state: TargetState, now: float) -> tuple[str, float]:
    """What stands in the way, and for how long, to the millisecond."""
    obstacle = state.obstacle(0, now)
    assert obstacle is not None
    reason, until_s = obstacle
    assert until_s is not None
    return reason, round(until_s, 3)


def play(state: TargetState, kind: Kind, now: float, **more: object) -> None:
    state.began(100, now)
    state.ended(Outcome("p/a", kind, now, 1.0, **more), now)  # type: ignore[arg-type]


def test_every_attempt_that_began_and_ended_leaves_nothing_in_flight() -> None:
    one = state(Capacity(concurrency=5))
    kinds: list[Kind] = ["ok", "cut", "failed", "timeout", "rate_limited", "refused", "rejected", "outrun", "gone"]
    for kind in kinds:
        play(one, kind, 0.0)
    assert one.in_flight == 0
    assert one.limit is not None
    assert one.limit.in_flight == 0


@pytest.mark.parametrize("kind", ["failed", "timeout", "cut"])
def test_failures_in_a_row_open_the_breaker(kind: Kind) -> None:
    one = state()
    for _ in range(5):
        assert one.obstacle(0, 0.0) is None
        play(one, kind, 0.0)
    obstacle = one.obstacle(0, 0.1)
    assert obstacle is not None
    assert obstacle[0] == "breaker open"


def test_a_lost_race_is_a_sign_of_slowness_and_of_nothing_else() -> None:
    one = state()
    for _ in range(10):
        play(one, "ok", 0.0, ttft_s=0.2)
    before, p_ok = one.health.ratio(0.0)[0], one.health.p_ok(0.0)
    for _ in range(5):
        play(one, "outrun", 0.0)
    assert one.health.ratio(0.0)[0] > before
    assert one.health.p_ok(0.0) == p_ok
    assert one.obstacle(0, 0.0) is None


def test_a_stream_given_up_where_it_was_likely_to_be_late_is_no_failure() -> None:
    one = state()
    for at in range(30):
        play(one, "ok", float(at), ttft_s=4.0, input_tokens=1000)
    before = one.health.p_ok(30.0)
    one.began(100, 30.0)
    one.ended(Outcome("p/a", "timeout", 30.0, 5.0, input_tokens=1000), 35.0)
    assert one.health.p_ok(35.0) > before - 0.05
    assert one.health.p_begins(35.0) < before - 0.05


@pytest.mark.parametrize(("answers", "after_s"), [(30, 0.5), (30, 2.01), (4, 5.0), (0, 5.0)])
def test_no_connection_and_the_silence_of_a_stranger_are_failures(answers: int, after_s: float) -> None:
    one = state()
    for at in range(answers):
        play(one, "ok", float(at), ttft_s=4.0, input_tokens=1000)
    before = one.health.p_ok(30.0)
    one.began(100, 30.0)
    one.ended(Outcome("p/a", "timeout", 30.0, after_s, input_tokens=1000), 30.0 + after_s)
    assert one.health.p_ok(30.0 + after_s) < before - 0.03


@pytest.mark.parametrize("kind", ["rejected", "gone"])
def test_what_is_nobodys_fault_touches_nothing(kind: Kind) -> None:
    one = state()
    before = one.health.p_ok(0.0)
    for _ in range(50):
        play(one, kind, 0.0)
    assert one.obstacle(0, 0.0) is None
    assert one.health.p_ok(0.0) == before


def test_a_429_is_waited_out_and_is_no_sign_of_ill_health() -> None:
    one = state()
    before = one.health.p_ok(0.0)
    play(one, "rate_limited", 0.0, retry_after_s=7.0)
    assert wait(one, 6.0) == ("rate limit", 1.0)
    assert one.obstacle(0, 7.1) is None
    assert one.health.p_ok(0.0) == before


def test_429s_that_name_no_time_are_waited_out_for_longer_and_longer_up_to_a_bound() -> None:
    one, waits, now = state(), [], 0.0
    for _ in range(6):
        play(one, "rate_limited", now)
        waits.append(wait(one, now)[1])
        now += waits[-1]
    assert waits == [1, 2, 4, 4, 4, 4]
    play(one, "ok", now)
    play(one, "rate_limited", now)
    assert wait(one, now) == ("rate limit", 1.0)


def test_a_first_token_ends_a_row_of_429s_before_its_answer_ends() -> None:
    one = state()
    for now in (0.0, 1.0, 3.0):
        play(one, "rate_limited", now)
    assert wait(one, 3.0) == ("rate limit", 4.0)
    one.began(100, 10.0)
    one.first_token(10.0, 1000, 10.5)
    play(one, "rate_limited", 11.0)
    assert wait(one, 11.0) == ("rate limit", 1.0)


def test_a_first_token_is_learned_when_it_comes_and_only_once() -> None:
    one = state()
    one.began(100, 0.0, 1000)
    one.first_token(0.0, 1000, 3.0)
    assert one.health.samples == 1
    slower = one.health.ratio(3.0)[0]
    assert slower > 0
    one.ended(Outcome("p/a", "ok", 0.0, 9.0, 3.0, 1000, 100, is_ttft_told=True), 3.0)
    assert one.health.samples == 1
    assert one.health.ratio(3.0)[0] == slower
    assert one.in_flight == 0


def test_a_first_token_that_nobody_told_is_learned_at_the_end() -> None:
    one = state()
    one.began(100, 0.0, 1000)
    one.ended(Outcome("p/a", "ok", 0.0, 9.0, 3.0, 1000, 100), 9.0)
    assert one.health.samples == 1
    assert one.health.ratio(9.0)[0] > 0


def heard(first_token: bool) -> TargetState:
    """A target of which one first token came after a second, and then three attempts none of which begins."""
    one = state()
    one.began(100, 0.0, 1000)
    if first_token:
        one.first_token(0.0, 1000, 1.0)
    for at in (2.0, 2.1, 2.2):
        one.began(100, at, 1000)
    return one


def test_silence_is_a_sign_before_the_first_late_answer_comes() -> None:
    one = heard(first_token=True)
    before = one.health.ratio(4.0)[0]
    one.listen(4.0)
    assert one.health.ratio(4.0)[0] == before  # a second and a half is nothing unusual
    assert one.listens_at > 4.0
    one.listen(6.0)
    assert one.health.ratio(6.0)[0] > 0.3
    assert one.listens_at == float("inf")


def test_what_is_due_does_not_pile_up_where_nobody_listens() -> None:
    one = heard(first_token=True)
    for number in range(500):
        at = 10.0 + number
        one.began(100, at, 1000)
        one.first_token(at, 1000, at + 0.5)
        one.ended(Outcome("p/a", "ok", at, 0.9, 0.5, is_ttft_told=True), at + 0.9)
    assert len(one._due) < 10
    assert len(one._under_way) == 4  # those that never ended


def test_silence_says_nothing_where_first_tokens_are_never_told() -> None:
    one = heard(first_token=False)
    assert one.listens_at == float("inf")
    one.listen(60.0)
    assert one.health.ratio(60.0)[0] == 0


def test_an_answer_that_is_not_streamed_teaches_how_long_whole_ones_take_and_no_first_token() -> None:
    one = state()
    before = one.health.whole_s(1000, 100, 5.0)[0]
    one.began(100, 0.0)
    one.ended(Outcome("p/a", "ok", 0.0, 20.0, None, 1000, 100), 5.0, is_stream=False)
    assert one.health.whole_s(1000, 100, 5.0)[0] > 1.3 * before
    assert one.health.ratio(5.0)[0] == 0
    one.began(100, 5.0)
    one.ended(Outcome("p/a", "timeout", 5.0, 60.0), 65.0, is_stream=False)
    assert one.health.ratio(65.0)[0] == 0  # no first token was waited for


def test_a_target_that_was_slow_when_last_heard_of_is_tried_by_one_call_at_a_time() -> None:
    one = state()
    for number in range(20):
        one.began(100, float(number))
        one.first_token(float(number), 1000, number + (0.9 if number < 10 else 6.0))
        one.ended(Outcome("p/a", "ok", float(number), 9.0, 6.0, is_ttft_told=True), number + 9.0)
    assert not one.is_stranger(60.0)
    one.began(100, 60.0)
    assert one.is_stranger(60.0)
    one.first_token(60.0, 1000, 60.9)
    assert not one.is_stranger(61.0)


def test_refused_credentials_keep_everybody_away_for_a_minute() -> None:
    one = state()
    play(one, "refused", 0.0)
    assert wait(one, 59.0) == ("breaker open", 1.0)
    assert one.obstacle(0, 61.0) is None


def test_what_a_provider_says_of_its_limits_is_heeded() -> None:
    one = state()
    play(one, "ok", 0.0, limits=RateLimits(0.0, limit_requests=60, remaining_requests=0))
    obstacle = one.obstacle(0, 0.0)
    assert obstacle is not None
    assert obstacle[0] == "pacing"


def test_another_capacity_keeps_what_was_learned_and_what_is_in_flight() -> None:
    fleet = Fleet()
    fleet.join([a_target("a", capacity=Capacity(concurrency=1))])
    one = fleet["p/a"]
    one.health.ended(False, 0.0)
    one.began(0, 0.0)
    fleet.join([a_target("a", capacity=Capacity(concurrency=2))])
    assert fleet["p/a"] is one
    assert one.obstacle(0, 0.0) is None
    one.began(0, 0.0)
    assert one.obstacle(0, 0.0) == ("concurrency limit", None)


def test_targets_that_no_world_knows_are_forgotten() -> None:
    fleet = joined(a_target("a"), a_target("b"))
    fleet.keep_only(["p/b"])
    assert fleet["p/b"].in_flight == 0
    with pytest.raises(KeyError):
        fleet["p/a"]


def test_the_speed_of_streams_is_known_once_one_has_come_whole() -> None:
    state = joined(a_target("a"))["p/a"]
    for number, (kind, ttft_s, tokens) in enumerate((("cut", 0.5, 90), ("ok", None, 90), ("ok", 0.5, 1))):
        state.began(100, number)
        state.ended(Outcome("p/a", kind, number, 2.5, ttft_s, 100, tokens), number + 2.5)  # type: ignore[arg-type]
    assert (state.health.first_tokens, state.tokens_per_s) == (2, None)
    for tokens in (100, 200):
        state.began(100, 10.0)
        state.ended(Outcome("p/a", "ok", 10.0, 2.5, 0.5, 100, tokens), 12.5)
    assert state.health.first_tokens == 4
    assert state.tokens_per_s == pytest.approx(50 + 0.05 * (100 - 50))


def test_who_watches_is_told_of_each_attempt_that_ended_when_there_is_room() -> None:
    fleet = joined(a_target("a", capacity=Capacity(concurrency=1)))
    told: list[tuple[str, float]] = []
    fleet.watch(lambda name: told.append((name, fleet.wait_s(name, 0.0))))
    fleet["p/a"].began(100, 0.0)
    assert fleet.wait_s("p/a", 0.0) == inf
    fleet.ended(Outcome("p/a", "ok", 0.0, 1.0), 1.0)
    assert told == [("p/a", 0.0)]


def test_how_long_to_wait_for_room_and_whether_somebody_would_be_sent_there_all_the_same() -> None:
    fleet = joined(*(a_target(name, capacity=Capacity(rpm=1)) for name in ("paced", "resting", "drained", "broken")))
    fleet["p/paced"].began(0, 0.0)
    fleet["p/resting"].pacer.blocked(5.0, 0.0)
    fleet["p/drained"].drained_until = 7.0
    fleet["p/broken"].breaker.cool_down(60, 0.0)
    names = ("paced", "resting", "drained", "broken", "unknown")
    waits = [fleet.wait_s(f"p/{name}", 0.0) for name in names]
    assert waits[0] > 0
    assert waits[1:] == [5.0, 7.0, 0.0, 0.0]
    assert [fleet.is_askable([f"p/{name}"], 0.0) for name in names] == [True, False, False, True, True]
    assert fleet.is_askable([f"p/{name}" for name in names], 0.0)


def test_an_open_breaker_says_how_long_and_a_probe_that_is_out_that_it_has_to_end() -> None:
    one = state()
    one.breaker.cool_down(5.0, 0.0)
    assert one.obstacle(0, 1.0) == ("breaker open", 4.0)
    one.began(0, 6.0)
    assert one.obstacle(0, 6.5) == ("breaker open", None)


def test_the_silence_of_a_well_known_target_is_judged_by_what_it_usually_needs() -> None:
    quick, slow, new = state(), state(), state()
    for number in range(40):
        for one, ttft_s in ((quick, 0.2), (slow, 8.0)):
            one.began(100, float(number))
            one.ended(Outcome("p/a", "ok", float(number), ttft_s + 1, ttft_s, 100, 10), number + 0.5)
    assert new.patience_s(100, 40.0) == inf
    assert quick.patience_s(100, 40.0) == 5.0
    assert 15.0 < slow.patience_s(100, 40.0) < 60.0
