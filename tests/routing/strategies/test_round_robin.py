from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.strategies.round_robin import RoundRobin
from routing.types import Target


def targets(count: int) -> list[Target]:
    return [Target(f"p/{number}", "p", str(number)) for number in range(count)]


@given(count=st.integers(1, 9), rounds=st.integers(1, 5))
def test_every_target_leads_equally_often_and_every_order_holds_all(count: int, rounds: int) -> None:
    strategy = RoundRobin(targets(count))
    leads: Counter[str] = Counter()
    for _ in range(count * rounds):
        order = strategy.plan().candidates
        assert {candidate.target.name for candidate in order} == {target.name for target in targets(count)}
        leads[order[0].target.name] += 1
    assert set(leads.values()) == {rounds}


def test_the_rest_follow_in_turn() -> None:
    strategy = RoundRobin(targets(3))
    strategy.plan()
    assert [candidate.target.model for candidate in strategy.plan().candidates] == ["1", "2", "0"]


def test_no_targets_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one target"):
        RoundRobin([])
