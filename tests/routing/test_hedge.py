import pytest

from routing.hedge import HedgeBudget, is_worth


@pytest.mark.parametrize(
    ("miss_usd", "p_late", "p_rescue", "cost_usd", "worth"),
    [
        (0.01, 1.0, 1.0, 0.005, True),
        (0.01, 0.5, 1.0, 0.005, False),  # 0.005 for 0.005: no margin
        (0.01, 1.0, 0.1, 0.005, False),
        (0.01, 1.0, 1.0, 0.0, True),
        (0.01, 0.0, 1.0, 0.0, False),
    ],
)
def test_a_second_attempt_must_be_worth_more_than_it_costs(
    miss_usd: float, p_late: float, p_rescue: float, cost_usd: float, worth: bool
) -> None:
    assert is_worth(miss_usd, p_late, p_rescue, cost_usd) is worth


def test_second_attempts_cost_a_share_of_what_calls_cost_and_nothing_before_any_did() -> None:
    budget = HedgeBudget(0.05)
    assert not budget.has(0.001, 0.0)
    budget.spent(1.0, 0.0)
    assert budget.has(0.05, 0.0)
    assert not budget.has(0.051, 0.0)
    budget.take(0.03, 0.0)
    assert budget.has(0.02, 1.0)
    assert not budget.has(0.021, 1.0)


def test_what_was_spent_long_ago_allows_nothing() -> None:
    budget = HedgeBudget(0.05)
    budget.spent(1.0, 0.0)
    assert not budget.has(0.01, 1000.0)


def test_a_share_of_nothing_is_off() -> None:
    assert not HedgeBudget(0.0).is_on
    assert HedgeBudget(0.01).is_on
