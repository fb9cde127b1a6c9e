import pytest

from routing import Facts
from routing.fit import is_tight, rank_last, unfit
from tests.routing.fleets import CHEAP, a_target


def test_a_target_that_lacks_what_is_needed_can_never_serve_the_call() -> None:
    blind = a_target("blind", lacks=frozenset({"vision", "tools"}))
    assert unfit(blind, Facts("chat", stream=True, needs=frozenset({"vision", "seed"}))) == (
        "lacks vision",
        None,
        "lacks",
    )
    assert unfit(blind, Facts("chat", stream=True, needs=frozenset({"seed"}))) is None


@pytest.mark.parametrize(("cap", "is_out"), [(None, False), (499, False), (500, True)])
def test_the_answers_cap_counts_into_the_context(cap: int | None, is_out: bool) -> None:
    small = a_target("small", CHEAP, context_tokens=1000)
    facts = Facts("chat", stream=True, least_tokens=501, max_output_tokens=cap)
    assert (unfit(small, facts) is not None) is is_out


def test_a_context_that_nobody_stated_is_tight_only_once_another_was_too_small() -> None:
    unknown, small = a_target("unknown"), a_target("small", context_tokens=1000)
    short, outgrown = Facts("chat", stream=True, input_tokens=10), Facts("chat", stream=True, is_outgrown=True)
    assert not is_tight(unknown, short)
    assert is_tight(unknown, outgrown)
    assert not is_tight(small, short)
    assert is_tight(small, Facts("chat", stream=True, input_tokens=900, max_output_tokens=101))


def test_of_those_that_come_last_the_larger_context_comes_first_and_the_tried_after_them() -> None:
    facts = Facts("chat", stream=True, input_tokens=5000, tried=("p/large",))
    targets = [
        a_target(name, context_tokens=size) for name, size in (("large", 4000), ("small", 1000), ("middle", 2000))
    ]
    assert [one.model for one in sorted(targets, key=lambda one: rank_last(one, facts))] == ["middle", "small", "large"]
