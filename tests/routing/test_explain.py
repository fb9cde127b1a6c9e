import pytest

from routing import Group, Objective, Router
from tests.routing.fleets import CHEAP, DEAR, Play, a_target, names

SLOW, QUICK = a_target("slow", CHEAP), a_target("quick", DEAR)


def test_the_verdicts_are_in_the_order_in_which_a_plan_would_ask() -> None:
    hand = Play(Router({"chat": Group([QUICK, SLOW], "balanced")}))
    hand.teach("slow", 0.5)
    hand.teach("quick", 0.3)
    explanation = hand.router.explain(hand.facts(), 40)
    plan = hand.router.plan(hand.facts(), 40, hand.rng)
    assert [one.target for one in explanation.verdicts] == [one.target for one in plan.candidates]
    assert [one.place for one in explanation.verdicts] == [1, 2]
    first, second = explanation.verdicts
    assert first.margin_usd == 0
    assert first.estimate is not None
    assert second.estimate is not None
    assert second.margin_usd == pytest.approx(second.estimate.score - first.estimate.score)
    assert explanation.miss_usd is not None
    assert (explanation.success, explanation.failure_usd) == (None, None)


def test_a_target_that_is_left_out_comes_last_with_the_reason_and_the_wait() -> None:
    hand = Play(Router({"chat": Group([SLOW, QUICK], "balanced")}))
    for _ in range(5):
        hand.outcome("slow", "failed", 0.0)
    verdict = hand.router.explain(hand.facts(), 2.0).verdicts[-1]
    assert (verdict.target, verdict.place, verdict.excluded, verdict.breaker) == (SLOW, None, "breaker open", "open")
    assert verdict.until_s is not None
    assert 0 < verdict.until_s <= 2


def test_explaining_leaves_everything_as_it_was() -> None:
    hand = Play(Router({"chat": Group([SLOW, QUICK], "round_robin")}))
    assert hand.router.explain(hand.facts(), 0) == hand.router.explain(hand.facts(), 0)
    assert [hand.first(0), hand.first(0)] == ["slow", "quick"]


def test_a_strategy_that_only_takes_turns_estimates_nothing() -> None:
    explanation = Play(Router({"chat": Group([SLOW], "weighted")})).router.explain(Play(Router({})).facts(), 0)
    assert (explanation.strategy, explanation.miss_usd) == ("weighted", None)
    assert explanation.verdicts[0].estimate is None
    assert (explanation.success, explanation.failure_usd) == (None, None)


def test_what_a_failure_counts_as_is_told_where_success_is_promised() -> None:
    hand = Play(Router({"chat": Group([SLOW, QUICK], "cheapest", Objective(success=0.999))}))
    before = hand.router.explain(hand.facts(), 0)
    hand.router.gave_up("chat")
    after = hand.router.explain(hand.facts(), 0)
    assert (before.success, after.success) == (0.999, 0.999)
    assert before.failure_usd is not None
    assert after.failure_usd is not None
    assert after.failure_usd > before.failure_usd > 0


def test_a_target_whose_context_is_probably_too_small_has_the_place_that_a_plan_gives_it() -> None:
    hand = Play(Router({"chat": Group([a_target("tight", CHEAP, context_tokens=500), QUICK], "balanced")}))
    hand.teach("tight", 0.3)
    hand.teach("quick", 0.3)
    placed = [one.target.model for one in hand.router.explain(hand.facts(), 40).verdicts]
    assert placed == names(hand.router.plan(hand.facts(), 40, hand.rng).candidates) == ["quick", "tight"]
