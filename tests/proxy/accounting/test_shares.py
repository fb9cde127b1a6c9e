from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting import Shares

WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=70)


@given(st.integers(0, 10**12), WEIGHTS)
def test_the_parts_are_the_total_and_nobody_pays_a_whole_unit_too_much(total: int, weights: list[int]) -> None:
    parts = Shares(weights).split(total)
    assert sum(parts) == total
    fair = weights if any(weights) else [1] * len(weights)
    assert all(abs(part * sum(fair) - total * weight) < sum(fair) for part, weight in zip(parts, fair, strict=True))
    assert parts == [Shares(weights).part(total, at) for at in range(len(weights))]


def test_parts_follow_the_weights() -> None:
    assert Shares([1, 3]).split(8) == [2, 6]
    assert Shares([0, 5]).split(7) == [0, 7]
    assert Shares([0, 0]).split(5) == [2, 3]
    assert Shares([9]).split(5) == [5]
