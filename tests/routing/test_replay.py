import pytest

from routing import Group, Objective, Plan, Router
from routing.replay import Alternative, alternatives
from routing.router import StrategyName
from tests.routing.fleets import CHEAP, DEAR, MIDDLE, Play, a_target

SLOW, QUICK = a_target("slow", CHEAP), a_target("quick", DEAR)


def hand(strategy: StrategyName = "balanced") -> Play:
    """A cheap target that mostly begins within the two seconds, and a dear one that always does."""
    player = Play(Router({"chat": Group([SLOW, QUICK], strategy, Objective(2.0, 0.95))}))
    player.teach("slow", 1.5)
    player.teach("quick", 0.3)
    return player


def a_plan(player: Play, **more: object) -> Plan:
    return player.router.plan(player.facts(**more), 40.0, player.rng)


def by_name(plan: Plan) -> dict[str, Alternative]:
    return {one.strategy: one for one in alternatives(plan)}


@pytest.mark.parametrize("strategy", ["balanced", "cheapest", "fastest", "reliable"])
def test_each_strategy_would_have_chosen_what_it_chooses_in_the_same_state(strategy: StrategyName) -> None:
    in_force = a_plan(hand(strategy))
    would_have = by_name(a_plan(hand("balanced")))[strategy]
    assert would_have.standings[0].target == in_force.candidates[0].target.name
    assert would_have.is_in_force == (strategy == "balanced")


@pytest.mark.parametrize("strategy", ["balanced", "cheapest", "fastest", "reliable"])
def test_the_strategy_in_force_is_scored_as_it_was(strategy: StrategyName) -> None:
    plan = a_plan(hand(strategy))
    assert plan.basis is not None
    (own,) = (one for one in alternatives(plan) if one.is_in_force)
    assert [one.estimate.score for one in own.standings] == sorted(rating[0] for rating in plan.basis.ratings)
    assert own.miss_usd == plan.basis.stakes[0]


def test_the_margin_is_by_how_much_a_target_lost() -> None:
    would_have = by_name(a_plan(hand()))
    first, second = would_have["cheapest"].standings
    assert (first.target, first.place, first.margin_usd) == ("p/slow", 1, 0)
    assert second.margin_usd == pytest.approx(second.estimate.score - first.estimate.score)
    assert second.margin_usd > 0
    assert would_have["fastest"].standings[0].target == "p/quick"


def test_what_is_said_of_a_target_is_what_an_explanation_said_then() -> None:
    player = hand()
    explained = {one.target.name: one.estimate for one in player.router.explain(player.facts(), 40.0).verdicts}
    replayed = by_name(a_plan(player))["balanced"]
    assert {one.target: one.estimate for one in replayed.standings} == explained


def test_what_happens_later_changes_nothing() -> None:
    player = hand()
    plan = a_plan(player)
    before = alternatives(plan)
    for number in range(10):
        player.outcome("slow", "failed", 41.0 + number)
    assert alternatives(plan) == before


def test_a_stranger_comes_last_whatever_its_score() -> None:
    player = Play(Router({"chat": Group([a_target("new", CHEAP), QUICK, a_target("mid", MIDDLE)], "cheapest")}))
    player.teach("quick", 0.3)
    player.teach("mid", 0.3)
    player.router.began("p/new", player.facts(), 40.0)
    last = by_name(a_plan(player))["cheapest"].standings[-1]
    assert (last.target, last.is_stranger) == ("p/new", True)
    assert last.margin_usd < 0


def test_a_target_that_was_left_out_then_is_left_out_now() -> None:
    player = hand()
    for _ in range(5):
        player.outcome("slow", "failed", 40.0)
    plan = player.router.plan(player.facts(), 41.0, player.rng)
    assert [one.target.name for one in plan.excluded] == ["p/slow"]
    assert {one.target for strategy in alternatives(plan) for one in strategy.standings} == {"p/quick"}


@pytest.mark.parametrize("strategy", ["round_robin", "weighted"])
def test_a_plan_that_takes_turns_has_compared_nobody(strategy: StrategyName) -> None:
    assert alternatives(a_plan(hand(strategy))) == ()


def test_a_plan_that_only_asks_again_has_compared_nobody() -> None:
    plan = a_plan(hand(), tried=("p/slow", "p/quick"))
    assert len(plan.candidates) == 2
    assert alternatives(plan) == ()


def test_what_a_failure_counts_as_by_a_promise_of_success_holds_for_each_strategy() -> None:
    plain, strict = hand(), Play(Router({"chat": Group([SLOW, QUICK], "balanced", Objective(2.0, 0.95, 0.999))}))
    strict.teach("slow", 1.5)
    strict.teach("quick", 0.3)
    without, with_it = by_name(a_plan(plain)), by_name(a_plan(strict))
    for name in without:
        assert with_it[name].standings[0].estimate.score > without[name].standings[0].estimate.score
