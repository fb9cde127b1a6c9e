"""Reading foreign JSON."""

from __future__ import annotations

import pytest

from proxy.providers.simulated.steps import TooComplexError
from proxy.providers.simulated.values import canonical, compact, count_of, list_of, number_of, object_of, weight_of


def test_other_shapes_read_as_empty() -> None:
    assert object_of([1]) == {}
    assert object_of({"a": 1}) == {"a": 1}
    assert list_of({"a": 1}) == []
    assert list_of([1]) == [1]


@pytest.mark.parametrize(("value", "number"), [(1, 1), (1.5, 1.5), (True, None), ("1", None), (None, None)])
def test_booleans_are_no_numbers(value: object, number: float | None) -> None:
    assert number_of(value) == number


def test_a_count_is_never_negative() -> None:
    assert count_of(3, 7) == 3
    assert count_of(3.0, 7) == 3
    assert count_of(-1, 7) == 7
    assert count_of("3", 7) == 7


def test_long_lists_weigh_more() -> None:
    assert weight_of({}) == 1
    assert weight_of({"enum": [1] * 800}) == 101


def test_canonical_ignores_the_order_of_keys_and_tells_true_from_one() -> None:
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    assert canonical(True) != canonical(1)


def test_bottomless_nesting_is_too_complex() -> None:
    value: object = 0
    for _ in range(300):
        value = [value]
    with pytest.raises(TooComplexError):
        canonical(value)
    with pytest.raises(TooComplexError):
        compact(value)
