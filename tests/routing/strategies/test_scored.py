from collections import Counter
from random import Random

import pytest

from routing import Capacity, Facts, Group, Kind, Objective, Outcome, Price, Router
from routing.router import StrategyName
from tests.routing.fleets import CHEAP, DEAR, MIDDLE, Play, a_target, names

SLOW, QUICK = a_target("slow", CHEAP), a_target("quick", DEAR)


def play(strategy: StrategyName = "balanced", *targets: object, ttft_s: float = 2.0) -> Play:
    group = Group(list(targets) or [SLOW, QUICK], strategy, Objective(ttft_s, 0.95))  # type: ignore[arg-type]
    return Play(Router({"chat": group}))


def known(strategy: StrategyName = "balanced", slow_s: float = 1.0, quick_s: float = 0.3, ttft_s: float = 2.0) -> Play:
    hand = play(strategy, ttft_s=ttft_s)
    hand.teach("slow", slow_s)
    hand.teach("quick", quick_s)
    return hand


@pytest.mark.parametrize(
    ("strategy", "first"), [("cheapest", "slow"), ("fastest", "quick"), ("balanced", "slow"), ("reliable", "slow")]
)
def test_while_both_keep_the_objective_price_decides_unless_speed_is_all(strategy: StrategyName, first: str) -> None:
    assert known(strategy).first(40) == first


@pytest.mark.parametrize(("strategy", "first"), [("cheapest", "slow"), ("balanced", "quick"), ("reliable", "quick")])
def test_a_cheap_target_that_begins_too_late_loses_where_there_is_an_objective(
    strategy: StrategyName, first: str
) -> None:
    assert known(strategy, slow_s=4.0).first(40) == first


@pytest.mark.parametrize("strategy", ["cheapest", "balanced", "reliable", "fastest"])
def test_a_target_that_fails_often_loses_under_every_strategy(strategy: StrategyName) -> None:
    hand = known(strategy, slow_s=0.3)
    failing = "quick" if strategy == "fastest" else "slow"
    for number in range(16):
        hand.outcome(failing, "failed" if number % 4 else "ok", 40 + number * 0.2, 0.3)
    assert hand.first(46) == ("slow" if strategy == "fastest" else "quick")


def test_a_target_whose_streams_are_cut_loses() -> None:
    hand = known(slow_s=0.5)
    for number in range(20):
        hand.outcome("slow", "cut" if number % 3 == 0 else "ok", 40.0 + number, 0.5)
    assert hand.first(62) == "quick"


def test_what_was_slow_is_tried_again_after_a_while() -> None:
    hand = known()
    for number in range(10):
        hand.outcome("slow", "ok", 40.0 + number, 8.0)
    assert hand.first(51) == "quick"
    assert hand.first(400) == "slow"


def test_equals_share_the_calls() -> None:
    hand = play("balanced", a_target("a", CHEAP), a_target("b", CHEAP), a_target("c", DEAR))
    for name in "abc":
        hand.teach(name, 0.5)
    firsts = Counter(hand.first(40) for _ in range(300))
    assert set(firsts) == {"a", "b"}
    assert min(firsts.values()) > 100


def test_a_stranger_is_tried_by_one_call_at_a_time_and_never_by_a_herd() -> None:
    hand = play("balanced", a_target("new", CHEAP), a_target("old", DEAR))
    hand.teach("old", 0.5)
    firsts = []
    for _ in range(10):
        first = hand.first(40)
        hand.router.began(f"p/{first}", hand.facts(), 40)
        firsts.append(first)
    assert firsts.count("new") == 1


def test_a_stranger_alone_takes_every_call() -> None:
    hand = play("balanced", SLOW)
    for _ in range(50):
        assert hand.first(0) == "slow"
        hand.router.began("p/slow", hand.facts(), 0)


def test_a_retry_asks_another_and_the_same_one_last() -> None:
    hand = known()
    plan = hand.router.plan(hand.facts(tried=("p/slow",)), 40, hand.rng)
    assert names(plan.candidates) == ["quick", "slow"]


def test_a_request_that_a_target_cannot_serve_skips_it_and_the_plan_says_why() -> None:
    blind = a_target("blind", CHEAP, lacks=frozenset({"vision"}))
    small = a_target("small", CHEAP, context_tokens=500)
    hand = play("balanced", blind, small, QUICK)
    plan = hand.router.plan(hand.facts(needs=frozenset({"vision"}), least_tokens=501), 0, hand.rng)
    assert names(plan.candidates) == ["quick"]
    assert [item.reason for item in plan.excluded] == ["lacks vision", "context of 500 tokens"]
    assert [item.unfit for item in plan.excluded] == ["lacks", "context"]


def test_targets_whose_context_is_probably_too_small_come_last_the_largest_first() -> None:
    contexts = {"tiny": 400, "small": 900, "large": 5000}
    hand = play("balanced", *[a_target(name, CHEAP, context_tokens=size) for name, size in contexts.items()])
    for tried, order in ((), ["large", "small", "tiny"]), (("p/large",), ["small", "tiny", "large"]):
        plan = hand.router.plan(hand.facts(least_tokens=200, tried=tried), 0, hand.rng)
        assert names(plan.candidates) == order


def test_a_target_without_room_is_left_out_until_it_has_some() -> None:
    hand = play("balanced", a_target("full", CHEAP, capacity=Capacity(concurrency=1)), QUICK)
    hand.router.began("p/full", hand.facts(), 0)
    plan = hand.router.plan(hand.facts(), 0, hand.rng)
    assert names(plan.candidates) == ["quick"]
    assert plan.excluded[0].reason == "concurrency limit"


def test_a_429_leaves_its_target_alone_as_long_as_the_provider_asks() -> None:
    hand = known()
    hand.outcome("slow", "rate_limited", 40.0, retry_after_s=20.0)
    assert hand.first(50) == "quick"
    assert hand.first(62) == "slow"


def test_when_all_breakers_are_open_the_likeliest_to_answer_is_asked() -> None:
    hand = known()
    for _ in range(5):
        hand.outcome("quick", "failed", 40.0)
    for number in range(12):
        hand.outcome("slow", "failed", 41.0 + number * 0.01)
    plan = hand.router.plan(hand.facts(), 42.5, hand.rng)
    assert len(plan.candidates) == 2
    assert {candidate.reason for candidate in plan.candidates} == {"in need"}


def test_a_target_that_is_only_full_is_waited_for_where_the_others_are_broken() -> None:
    hand = play("balanced", a_target("full", CHEAP, capacity=Capacity(concurrency=1)), QUICK)
    hand.router.began("p/full", hand.facts(), 0)
    for _ in range(5):
        hand.outcome("quick", "failed", 1.0)
    plan = hand.router.plan(hand.facts(), 2.5, hand.rng)
    assert plan.candidates == ()
    assert [item.reason for item in plan.excluded] == ["concurrency limit", "breaker open"]


@pytest.mark.parametrize("facts", [{"tried": ("p/full",)}, {"may_wait": False}])
def test_a_call_that_cannot_wait_any_more_is_sent_where_a_breaker_is_open(facts: dict[str, object]) -> None:
    hand = play("balanced", a_target("full", CHEAP, capacity=Capacity(concurrency=1)), QUICK)
    hand.router.began("p/full", hand.facts(), 0)
    for _ in range(5):
        hand.outcome("quick", "failed", 1.0)
    assert names(hand.router.plan(hand.facts(**facts), 2.5, hand.rng).candidates) == ["quick"]


def test_a_warm_prompt_draws_its_conversation_until_its_target_is_crowded() -> None:
    hand = play("balanced", a_target("a", Price(1.0, 1.0, 0.1)), a_target("b", Price(0.95, 1.0, 0.1)))
    hand.teach("a", 0.4)
    hand.teach("b", 0.4)
    facts = Facts("chat", stream=True, input_tokens=8000, sticky=42)
    assert hand.router.plan(facts, 40, Random(1)).candidates[0].target.model == "b"
    hand.router._strategies["chat"]._affinity.served(42, "p/a", 8000, 40)  # type: ignore[attr-defined]
    assert hand.router.plan(facts, 41, Random(1)).candidates[0].target.model == "a"
    for _ in range(12):
        hand.router.began("p/a", facts, 41)
    assert hand.router.plan(facts, 41, Random(1)).candidates[0].target.model == "b"


def test_an_estimate_says_what_the_score_is_made_of() -> None:
    hand = known(slow_s=1.0)
    strategy = hand.router._strategies["chat"]
    estimate = strategy.estimate("p/slow", hand.facts(), 40)  # type: ignore[attr-defined]
    assert estimate.ttft_p50_s == pytest.approx(1.0, rel=0.3)
    assert estimate.ttft_p95_s > estimate.ttft_p50_s
    assert 0 < estimate.p_miss < 0.2
    assert estimate.cost_usd == pytest.approx(1000 * 0.1e-6 + 200 * 0.3e-6, rel=0.2)
    dear = strategy.estimate("p/quick", hand.facts(), 40)  # type: ignore[attr-defined]
    assert estimate.score < dear.score


def test_a_plan_for_many_targets_is_ordered_by_score() -> None:
    targets = [a_target(f"t{number}", MIDDLE) for number in range(20)]
    hand = play("balanced", *targets)
    for number, target in enumerate(targets):
        hand.teach(target.model, 0.2 + 0.2 * number)
    order = names(hand.router.plan(hand.facts(), 40, hand.rng).candidates)
    assert order[-1] == "t19"
    assert set(order[:10]) > {"t0", "t1", "t2"}


def test_a_target_that_nobody_asked_for_a_while_is_looked_at_once() -> None:
    hand = play("balanced", a_target("a", CHEAP), a_target("b", Price(0.2, 0.5)))
    hand.teach("a", 0.5)
    hand.teach("b", 0.5)
    firsts = []
    for number in range(400):
        firsts.append(hand.first(40.0 + number))
        hand.outcome(firsts[-1], "ok", 40.0 + number, 0.5)
    assert 2 <= firsts.count("b") <= 4  # in 400 s, once every 120 s


def test_a_target_that_costs_many_times_more_is_not_looked_at() -> None:
    hand = known(slow_s=0.5)
    firsts = set()
    for number in range(400):
        firsts.add(hand.first(40.0 + number))
        hand.outcome("slow", "ok", 40.0 + number, 0.5)
    assert firsts == {"slow"}


def test_one_slow_answer_does_not_decide_over_a_new_target() -> None:
    hand = play("balanced", a_target("new", CHEAP), QUICK)
    hand.teach("quick", 0.4)
    hand.outcome("new", "ok", 40.0, 2.5)
    assert hand.router.fleet["p/new"].health.usual_ttft_s(1000) < 1.5


def racing(share: float = 0.5) -> Play:
    group = Group([SLOW, a_target("quick", Price(0.2, 0.5))], "balanced", Objective(2.0, 0.95), share)
    hand = Play(Router({"chat": group}))
    hand.teach("slow", 1.25)
    hand.teach("quick", 0.3)
    return hand


def test_a_silent_attempt_is_raced_when_it_will_probably_be_late_and_another_would_not() -> None:
    hand = racing()
    first = hand.router.plan(hand.facts(), 40, hand.rng).candidates[0]
    assert first.target.model == "slow"
    asked = [hand.router.hedge(hand.facts(), first, 40.0, 40.0 + age, hand.rng) for age in (0.1, 0.5)]
    assert [second for second, _ in asked] == [None, None]
    assert all(again is not None and again > 0 for _, again in asked)
    for age in (1.3, 1.4, 1.5, 1.6, 1.7):
        second, _ = hand.router.hedge(hand.facts(), first, 40.0, 40.0 + age, hand.rng)
        if second is not None:
            break
    assert second is not None
    assert second.target.model == "quick"


def test_what_is_late_already_is_raced_only_if_it_hangs() -> None:
    hand = racing()
    first = hand.router.plan(hand.facts(), 40, hand.rng).candidates[0]
    assert first.target.model == "slow"
    assert hand.router.hedge(hand.facts(), first, 40.0, 42.05, hand.rng)[0] is None
    second, _ = hand.router.hedge(hand.facts(), first, 40.0, 60.0, hand.rng)
    assert second is not None


def test_nobody_is_raced_unless_it_was_asked_for() -> None:
    hand = racing(share=0.0)
    first = hand.router.plan(hand.facts(), 40, hand.rng).candidates[0]
    assert hand.router.hedge(hand.facts(), first, 40.0, 60.0, hand.rng) == (None, None)


def test_among_strangers_the_better_one_is_asked_when_nobody_else_is_left() -> None:
    hand = play("balanced", a_target("dear", DEAR), a_target("cheap", CHEAP))
    for name in ("dear", "cheap"):
        hand.router.began(f"p/{name}", hand.facts(), 0)
    assert hand.first(0) == "cheap"


def test_answers_that_come_whole_make_a_target_known_too() -> None:
    hand = play("balanced", a_target("new", CHEAP), QUICK)
    for number in range(6):
        hand.outcome("new", "ok", float(number))
    assert not hand.router.fleet["p/new"].is_stranger(10.0)


def whole(hand: Play, name: str, duration_s: float, now: float, kind: Kind = "ok") -> None:
    """A call that is not streamed, answered after so long with 200 tokens."""
    facts = Facts("chat", stream=False, input_tokens=1000)
    hand.router.began(f"p/{name}", facts, now)
    hand.router.observe(Outcome(f"p/{name}", kind, now, duration_s, None, 1000, 200), now + duration_s, facts)


def first_of_whole(hand: Play, now: float) -> str:
    facts = Facts("chat", stream=False, input_tokens=1000)
    return hand.router.plan(facts, now, hand.rng).candidates[0].target.model


def taught_by_whole_answers(strategy: StrategyName) -> Play:
    hand = play(strategy, a_target("slow", CHEAP), a_target("quick", DEAR))
    for number in range(30):
        whole(hand, "slow", 9.0, float(number))
        whole(hand, "quick", 3.0, float(number))
    return hand


def test_fastest_learns_from_answers_that_are_not_streamed() -> None:
    hand = taught_by_whole_answers("fastest")
    assert first_of_whole(hand, 40.0) == "quick"
    estimates = [
        hand.router._strategies["chat"].estimate(name, Facts("chat", stream=False, input_tokens=1000), 40.0)  # type: ignore[attr-defined]
        for name in ("p/slow", "p/quick")
    ]
    assert [one.ttft_p50_s for one in estimates] == [pytest.approx(9, rel=0.2), pytest.approx(3, rel=0.2)]


def test_fastest_leaves_a_quick_target_that_fails_every_other_time() -> None:
    hand = taught_by_whole_answers("fastest")
    for number in range(40):
        whole(hand, "slow", 4.0, 40.0 + number)
        whole(hand, "quick", 3.0, 40.0 + number, "failed" if number % 2 else "ok")
    assert first_of_whole(hand, 82.0) == "slow"


def test_the_objective_is_about_streams_and_leaves_other_calls_to_price_and_success() -> None:
    hand = play("balanced", SLOW, a_target("quick", MIDDLE))
    hand.teach("slow", 4.0)
    hand.teach("quick", 0.3)
    assert hand.first(40) == "quick"
    assert first_of_whole(hand, 40) == "slow"
    for number in range(10):
        whole(hand, "slow", 0.2, 40.0 + number / 10, "ok" if number % 3 == 0 else "failed")
    assert first_of_whole(hand, 42) == "quick"


def test_a_call_that_is_not_streamed_is_never_raced() -> None:
    hand = racing()
    facts = Facts("chat", stream=False, input_tokens=1000)
    first = hand.router.plan(facts, 40, hand.rng).candidates[0]
    assert hand.router.hedge(facts, first, 40.0, 60.0, hand.rng) == (None, None)


def multiplier(hand: Play) -> float:
    return hand.router._strategies["chat"]._promise.multiplier  # type: ignore[attr-defined,no-any-return]


def test_only_beginnings_move_the_price_of_a_miss() -> None:
    hand = play()
    before = multiplier(hand)
    for kind in ("failed", "timeout", "rate_limited", "gone"):
        hand.outcome("quick", kind, 0.0)
    for number in range(10):
        whole(hand, "quick", 30.0, float(number))
    assert multiplier(hand) == before
    hand.outcome("quick", "ok", 10.0, 5.0)
    assert multiplier(hand) > before


def test_a_beginning_after_a_failed_attempt_is_late_by_the_calls_own_time() -> None:
    hand = play()
    before = multiplier(hand)
    facts = hand.facts(first_token_at=12.0, tried=("p/slow",))
    hand.router.began("p/quick", facts, 11.0)
    hand.router.first_token("p/quick", facts, 11.0, 12.5)
    assert multiplier(hand) > before
    after = multiplier(hand)
    outcome = Outcome("p/quick", "ok", 11.0, 3.0, 1.5, 1000, 200, is_ttft_told=True)
    hand.router.observe(outcome, 14.0, facts)
    assert multiplier(hand) == after


def test_the_last_room_of_a_target_goes_to_the_calls_that_save_most_by_it() -> None:
    hand = play("balanced", a_target("cheap", CHEAP, capacity=Capacity(rpm=60)), a_target("other", Price(0.13, 0.4)))
    hand.teach("cheap", 0.4, count=20)
    hand.teach("other", 0.4, count=20)
    for _ in range(45):
        hand.router.began("p/cheap", hand.facts(), 100.0)
        hand.router.observe(Outcome("p/cheap", "gone", 100.0, 0.0), 100.0, hand.facts())
    firsts = [
        hand.router.plan(Facts("chat", stream=True, input_tokens=tokens), 100.0, hand.rng).candidates[0].target.model
        for tokens in (100, 50_000)
    ]
    assert firsts == ["other", "cheap"]


def test_the_usual_cost_does_not_rise_where_the_cheap_ones_have_no_room() -> None:
    hand = known()
    strategy = hand.router._strategies["chat"]
    usual = strategy._promise.reference_usd  # type: ignore[attr-defined]
    hand.outcome("slow", "rate_limited", 40.0, retry_after_s=60.0)
    for number in range(200):
        hand.first(42.0 + number / 100)
    assert strategy._promise.reference_usd == pytest.approx(usual, rel=0.1)  # type: ignore[attr-defined]


def test_a_call_that_nobody_has_room_for_by_their_own_figures_is_sent_all_the_same() -> None:
    hand = play("balanced", a_target("a", CHEAP, capacity=Capacity(tpm=500)))
    plan = hand.router.plan(hand.facts(), 0, hand.rng)
    assert names(plan.candidates) == ["a"]
    assert [item.reason for item in plan.excluded] == ["pacing"]
    hand.outcome("a", "rate_limited", 0.0, retry_after_s=5.0)
    plan = hand.router.plan(hand.facts(), 1.0, hand.rng)
    assert (plan.candidates, plan.excluded[0].reason) == ((), "rate limit")  # a 429 was said, not reckoned
