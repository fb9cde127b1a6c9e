from collections import Counter
from random import Random

import pytest

from routing import Capacity, Facts, Kind, Outcome
from routing.strategies.plain import RoundRobin, Weighted
from tests.routing.fleets import a_target, joined, names

FACTS = Facts("chat", stream=False)
RNG = Random(1)


def test_round_robin_starts_each_call_one_further_on() -> None:
    targets = [a_target(name) for name in "abc"]
    strategy = RoundRobin(targets, joined(*targets))
    assert [names(strategy.plan(FACTS, 0, RNG).candidates) for _ in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_a_retry_takes_nobodys_turn_and_asks_those_first_that_were_not_asked() -> None:
    targets = [a_target(name) for name in "ab"]
    strategy = RoundRobin(targets, joined(*targets))
    assert names(strategy.plan(FACTS, 0, RNG).candidates) == ["a", "b"]
    retry = Facts("chat", stream=False, tried=("p/a",))
    assert names(strategy.plan(retry, 0, RNG).candidates) == ["b", "a"]
    assert names(strategy.plan(FACTS, 0, RNG).candidates) == ["b", "a"]


def test_weighted_keeps_its_shares_without_bursts() -> None:
    targets = [a_target("a", weight=3), a_target("b", weight=1), a_target("c", weight=0)]
    strategy = Weighted(targets, joined(*targets))
    firsts = [names(strategy.plan(FACTS, 0, RNG).candidates)[0] for _ in range(400)]
    assert Counter(firsts) == {"a": 300, "b": 100}
    assert "bb" not in "".join(firsts)


def test_a_weight_of_zero_is_asked_only_in_need() -> None:
    targets = [a_target("a", weight=1), a_target("z", weight=0)]
    strategy = Weighted(targets, joined(*targets))
    plan = strategy.plan(Facts("chat", stream=False, tried=("p/a",)), 0, RNG)
    assert names(plan.candidates) == ["z", "a"]


def fail(fleet: object, name: str, count: int, kind: Kind = "failed", now: float = 0.0) -> None:
    for _ in range(count):
        fleet[name].began(0, now)  # type: ignore[index]
        fleet[name].ended(Outcome(name, kind, now, 0.1), now)  # type: ignore[index]


def test_a_target_whose_breaker_is_open_stands_back_and_the_plan_says_so() -> None:
    targets = [a_target(name) for name in "ab"]
    fleet = joined(*targets)
    fail(fleet, "p/a", 5)
    plan = RoundRobin(targets, fleet).plan(FACTS, 0.1, RNG)
    assert names(plan.candidates) == ["b"]
    [excluded] = plan.excluded
    assert (excluded.target.model, excluded.reason) == ("a", "breaker open")
    assert excluded.until_s is not None
    assert 0 < excluded.until_s < 31


def test_when_every_breaker_is_open_all_are_asked_all_the_same() -> None:
    targets = [a_target(name) for name in "ab"]
    fleet = joined(*targets)
    fail(fleet, "p/a", 5)
    fail(fleet, "p/b", 5)
    assert sorted(names(RoundRobin(targets, fleet).plan(FACTS, 0.1, RNG).candidates)) == ["a", "b"]


def test_a_target_at_its_limit_is_not_asked_even_if_it_is_the_last() -> None:
    target = a_target("a", capacity=Capacity(concurrency=1))
    fleet = joined(target)
    fleet["p/a"].began(0, 0)
    plan = RoundRobin([target], fleet).plan(FACTS, 0, RNG)
    assert plan.candidates == ()
    assert [item.reason for item in plan.excluded] == ["concurrency limit"]


@pytest.mark.parametrize("strategy", [RoundRobin, Weighted])
def test_a_context_that_is_surely_too_small_is_left_out_and_one_that_probably_is_comes_last(
    strategy: type[RoundRobin] | type[Weighted],
) -> None:
    targets = [a_target(name, context_tokens=size) for name, size in (("a", 100), ("b", 900), ("c", 5000))]
    facts = Facts("chat", stream=False, input_tokens=1000, least_tokens=500)
    plan = strategy(targets, joined(*targets)).plan(facts, 0, RNG)
    assert names(plan.candidates) == ["c", "b"]
    assert [(item.target.model, item.unfit) for item in plan.excluded] == [("a", "context")]


@pytest.mark.parametrize("strategy", [RoundRobin, Weighted])
def test_a_target_that_is_only_full_is_waited_for_where_the_others_are_broken(
    strategy: type[RoundRobin] | type[Weighted],
) -> None:
    targets = [a_target("full", capacity=Capacity(concurrency=1)), a_target("broken")]
    fleet = joined(*targets)
    fleet["p/full"].began(0, 0)
    fail(fleet, "p/broken", 5)
    plan = strategy(targets, fleet).plan(FACTS, 0.1, RNG)
    assert (plan.candidates, len(plan.excluded)) == ((), 2)
    again = Facts("chat", stream=False, tried=("p/full",))
    assert names(strategy(targets, fleet).plan(again, 0.1, RNG).candidates) == ["broken"]


@pytest.mark.parametrize("strategy", [RoundRobin, Weighted])
def test_in_need_a_target_is_asked_again_only_after_all_others(strategy: type[RoundRobin] | type[Weighted]) -> None:
    targets = [a_target(name) for name in "abc"]
    fleet = joined(*targets)
    for target in targets:
        fleet[target.name].breaker.cool_down(60, 0.0)
    plans, tried = strategy(targets, fleet), tuple[str, ...]()
    for _ in range(3):
        tried += (plans.plan(Facts("chat", stream=False, tried=tried), 1.0, Random(1)).candidates[0].target.name,)
    assert len(set(tried)) == 3
