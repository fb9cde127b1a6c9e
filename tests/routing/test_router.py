import pytest

from routing import Facts, Fleet, Group, Outcome, RetrySettings, Router
from routing.router import StrategyName
from tests.routing.fleets import CHEAP, DEAR, Play, a_target, names

FAST, CHEAP_ONE = a_target("fast", DEAR), a_target("cheap", CHEAP)


def test_each_model_keeps_its_own_turn() -> None:
    both = Group([FAST, CHEAP_ONE])
    router = Router({"one": both, "two": both})
    play = Play(router, "one")
    assert [play.first(0), Play(router, "two").first(0), play.first(0)] == ["fast", "fast", "cheap"]


def test_a_model_that_is_not_configured_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Play(Router({"chat": Group([FAST])}), "other").first(0)


def test_a_model_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Router({"chat": Group([])})


def test_what_was_learned_outlives_the_router() -> None:
    fleet = Fleet()
    play = Play(Router({"chat": Group([FAST])}, fleet))
    for now in range(5):
        play.outcome("fast", "failed", float(now))
    again = Router({"chat": Group([FAST, CHEAP_ONE])}, fleet)
    plan = again.plan(Facts("chat", stream=True), 6.2, play.rng)
    assert names(plan.candidates) == ["cheap"]


def test_retries_are_a_share_of_the_calls_and_a_floor() -> None:
    settings = RetrySettings(max_ratio=0.2, floor_per_s=1.0)
    play = Play(Router({"chat": Group([FAST], retries=settings)}))
    for _ in range(100):
        play.first(0)
    allowed = sum(play.router.may_retry(play.facts(), 0) for _ in range(100))
    assert allowed == 30  # 20 of a hundred calls, and ten seconds' worth of one a second


def test_planning_a_retry_deposits_nothing() -> None:
    settings = RetrySettings(max_ratio=1.0, floor_per_s=0.0)
    play = Play(Router({"chat": Group([FAST], retries=settings)}))
    play.first(0, tried=("p/fast",))
    assert not play.router.may_retry(play.facts(), 0)


def test_planning_a_call_that_nobody_can_take_now_deposits_nothing() -> None:
    settings = RetrySettings(max_ratio=1.0, floor_per_s=0.0)
    play = Play(Router({"chat": Group([FAST], retries=settings)}))
    play.router.fleet["p/fast"].drained_until = 10.0
    assert play.router.plan(play.facts(), 0, play.rng).candidates == ()
    assert not play.router.may_retry(play.facts(), 0)


@pytest.mark.parametrize("strategy", ["balanced", "round_robin"])
def test_a_first_token_is_learned_while_its_answer_still_goes_on(strategy: StrategyName) -> None:
    play = Play(Router({"chat": Group([FAST], strategy)}))
    facts = play.facts(sticky=3)
    tokens = play.router.began("p/fast", facts, 10.0)
    play.router.first_token("p/fast", facts, 10.0, 14.0)
    health = play.router.fleet["p/fast"].health
    assert health.samples == 1
    assert health.ratio(14.0)[0] > 0
    outcome = Outcome("p/fast", "ok", 10.0, 9.0, 4.0, 1000, 50, reserved_tokens=tokens, is_ttft_told=True)
    play.router.observe(outcome, 19.0, facts)
    assert health.samples == 1
