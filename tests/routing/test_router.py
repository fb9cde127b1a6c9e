import pytest

from routing import Facts, Router, Target

FAST, CHEAP = Target("a/fast", "a", "fast"), Target("b/cheap", "b", "cheap")


def test_a_plan_names_its_strategy_and_every_target_of_the_model() -> None:
    plan = Router({"chat": [FAST, CHEAP]}).plan(Facts("chat", stream=False))
    assert plan.strategy == "round_robin"
    assert [candidate.target for candidate in plan.candidates] == [FAST, CHEAP]


def test_models_take_turns_independently() -> None:
    router = Router({"one": [FAST, CHEAP], "two": [FAST, CHEAP]})
    router.plan(Facts("one", stream=True))
    assert router.plan(Facts("two", stream=True)).candidates[0].target == FAST
    assert router.plan(Facts("one", stream=True)).candidates[0].target == CHEAP


def test_a_model_that_is_not_configured_is_a_fault_of_the_caller() -> None:
    with pytest.raises(KeyError):
        Router({"chat": [FAST]}).plan(Facts("other", stream=False))
