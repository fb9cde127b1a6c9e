from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting.usd import USD, decimals_for, exact_usd, short_usd

AMOUNTS = st.integers(-(10**18), 10**18)


@given(AMOUNTS)
def test_exact_text_is_the_amount_itself(nusd: int) -> None:
    assert Decimal(exact_usd(nusd)) * USD == nusd


@pytest.mark.parametrize(
    ("nusd", "decimals", "text"),
    [
        (0, 2, "0.00"),
        (1_234_565_000_000, 2, "1,234.56"),  # half to even
        (1_234_575_000_000, 2, "1,234.58"),
        (1_234_565_000_001, 2, "1,234.57"),
        (1, 2, "<0.01"),
        (-1, 4, "-<0.0001"),
        (-2_500_000_000, 1, "-2.5"),
        (999_999_999, 2, "1.00"),
        (1, 9, "0.000000001"),
    ],
)
def test_short_text_is_rounded_and_nothing_looks_like_zero_that_is_not(nusd: int, decimals: int, text: str) -> None:
    assert short_usd(nusd, decimals) == text


@given(AMOUNTS, st.integers(1, 9))
def test_short_text_is_off_by_half_a_unit_at_most(nusd: int, decimals: int) -> None:
    text = short_usd(nusd, decimals).replace(",", "")
    if "<" not in text:
        assert abs(Decimal(text) * USD - nusd) <= 10 ** (9 - decimals) / Decimal(2)


def test_small_amounts_get_more_decimals() -> None:
    assert [decimals_for(nusd) for nusd in (0, USD - 1, USD, 100 * USD - 1, -100 * USD)] == [6, 6, 4, 4, 2]
