from __future__ import annotations

from dataclasses import astuple, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting.cost import Tariff, bound_nusd, cost_nusd
from proxy.accounting.prices import Prices, Rates, Tier

RATE = st.decimals(min_value=0, max_value=100_000, places=8, allow_nan=False, allow_infinity=False)
RATES = st.builds(Rates, *[RATE] * 8)
TOKENS = st.integers(min_value=0, max_value=3_000_000)
PARTS = st.tuples(*[TOKENS] * 8)
STEPS = st.lists(st.tuples(st.integers(1, 400_000), RATES), max_size=3, unique_by=lambda step: step[0])


def prices(rates: Rates, *tiers: Tier, per_call_usd: str = "0", until: datetime | None = None) -> Prices:
    return Prices(rates, "config", "v", tiers, Decimal(per_call_usd), until)


def stepped(rates: Rates, steps: list[tuple[int, Rates]]) -> Prices:
    return prices(rates, *(Tier(above, dearer) for above, dearer in sorted(steps, key=lambda step: step[0])))


def flat(dollars: str) -> Tariff:
    return Tariff.of(prices(Rates.of(Decimal(dollars), Decimal(dollars))))


def by_decimal(priced: Prices, parts: tuple[int, ...]) -> int:
    """The same by the book: sums of Decimal, the rates of the step that the input reaches, one rounding."""
    uncached, _, cached, write, write_1h, audio, _, _ = parts
    sent = uncached + cached + write + write_1h + audio
    rates = priced.rates
    for tier in priced.tiers:
        rates = tier.rates if sent > tier.above_tokens else rates
    with localcontext(prec=100):
        millionths = sum((tokens * rate for tokens, rate in zip(parts, astuple(rates), strict=True)), Decimal(0))
        nusd = millionths * 1000 + priced.per_call_usd * 10**9
        return int(nusd.quantize(Decimal(1), ROUND_HALF_EVEN))


@pytest.mark.parametrize(
    ("parts", "nusd"),
    [
        ((1_000_000, 0), 150_000_000),
        ((1000, 500), 150_000 + 300_000),
        ((200, 500, 800), 30_000 + 300_000 + 60_000),
        ((0, 0), 0),
    ],
)
def test_a_call_costs_what_its_tokens_cost(parts: tuple[int, ...], nusd: int) -> None:
    tariff = Tariff.of(prices(Rates.of(Decimal("0.15"), Decimal("0.6"), cached_input=Decimal("0.075"))))
    assert cost_nusd(tariff, *parts) == nusd


def test_each_part_has_its_own_rate() -> None:
    tariff = Tariff.of(prices(Rates(*(Decimal(10**place) / 1000 for place in range(8)))))
    assert cost_nusd(tariff, 1, 2, 3, 4, 5, 6, 7, 8) == 87_654_321
    assert cost_nusd(tariff, 0, 0, audio_output=1, cache_write=2) == 10_002_000


def test_halves_are_rounded_to_even_once_for_a_call() -> None:
    half = flat("0.0005")
    assert [cost_nusd(half, tokens, 0) for tokens in range(8)] == [0, 0, 1, 2, 2, 2, 3, 4]
    assert cost_nusd(half, 1, 1, 1) == 2  # 1.5, not three times a rounded half


def test_a_rate_far_below_a_nano_dollar_is_no_less_exact() -> None:
    tiny = flat("0.000000000000000125")
    assert cost_nusd(tiny, 8_000_000_000_000_000_000, 0) == 1_000_000
    assert cost_nusd(tiny, 1, 0) == 0


def test_a_step_is_reached_by_the_whole_input_and_holds_for_all_tokens() -> None:
    cheap, dear = Rates.of(Decimal(1), Decimal(2)), Rates.of(Decimal(2), Decimal(3))
    tariff = Tariff.of(prices(cheap, Tier(1000, dear)))
    assert cost_nusd(tariff, 600, 10, cached=400) == 1_000_000 + 20_000
    assert cost_nusd(tariff, 600, 10, cached=401) == 2_002_000 + 30_000


def test_a_fee_is_counted_once_for_a_call() -> None:
    tariff = Tariff.of(prices(Rates.of(Decimal(1), Decimal(1)), per_call_usd="0.012"))
    assert cost_nusd(tariff, 0, 0) == 12_000_000
    assert cost_nusd(tariff, 5, 5) == bound_nusd(tariff, 5, 5) == 12_010_000


def test_a_tariff_knows_when_it_runs_out() -> None:
    rates = Rates.of(Decimal(1), Decimal(1))
    assert Tariff.of(prices(rates)).until_s == inf
    assert Tariff.of(prices(rates, until=datetime(1970, 1, 2, tzinfo=UTC))).until_s == 86_400


def test_the_bound_takes_every_token_for_the_dearest_it_can_be() -> None:
    claude = Rates.of(Decimal(3), Decimal(15), cached_input=Decimal("0.3"), cache_write_1h=Decimal(6))
    speech = replace(claude, audio_output=Decimal(80))
    assert bound_nusd(Tariff.of(prices(claude)), 1000, 100) == 6_000_000 + 1_500_000
    assert bound_nusd(Tariff.of(prices(speech)), 1000, 100) == 6_000_000 + 8_000_000
    assert bound_nusd(flat("0.0005"), 1, 0) == 1  # up, never to even


def test_the_bound_knows_that_a_shorter_call_may_be_dearer() -> None:
    dear, cheap = Rates.of(Decimal(2), Decimal(8)), Rates.of(Decimal(2), Decimal(1))
    assert bound_nusd(Tariff.of(prices(dear, Tier(1000, cheap))), 2000, 100) == 4_000_000 + 800_000


@given(RATES, STEPS, PARTS)
def test_the_cost_is_that_of_decimals(rates: Rates, steps: list[tuple[int, Rates]], parts: tuple[int, ...]) -> None:
    priced = stepped(rates, steps)
    assert cost_nusd(Tariff.of(priced), *parts) == by_decimal(priced, parts)


@given(RATES, STEPS, PARTS)
def test_the_cost_is_never_negative_nor_above_the_bound(
    rates: Rates, steps: list[tuple[int, Rates]], parts: tuple[int, ...]
) -> None:
    uncached, output, cached, write, write_1h, audio, reasoning, speech = parts
    tariff = Tariff.of(stepped(rates, steps))
    bound = bound_nusd(tariff, uncached + cached + write + write_1h + audio, output + reasoning + speech)
    assert 0 <= cost_nusd(tariff, *parts) <= bound


@given(RATES, PARTS, PARTS)
def test_the_cost_of_a_sum_is_the_sum_of_the_costs_but_for_rounding(
    rates: Rates, one: tuple[int, ...], other: tuple[int, ...]
) -> None:
    tariff = Tariff.of(prices(rates))
    together = cost_nusd(tariff, *(a + b for a, b in zip(one, other, strict=True)))
    assert abs(together - cost_nusd(tariff, *one) - cost_nusd(tariff, *other)) <= 1


@given(RATES, PARTS, st.integers(0, 7), TOKENS)
def test_more_tokens_never_cost_less(rates: Rates, parts: tuple[int, ...], part: int, more: int) -> None:
    tariff = Tariff.of(prices(rates))
    grown = [tokens + more * (place == part) for place, tokens in enumerate(parts)]
    assert cost_nusd(tariff, *grown) >= cost_nusd(tariff, *parts)


@given(RATES, STEPS, TOKENS, TOKENS, TOKENS, TOKENS)
def test_a_larger_call_never_has_a_smaller_bound(
    rates: Rates, steps: list[tuple[int, Rates]], sent: int, output: int, more_in: int, more_out: int
) -> None:
    tariff = Tariff.of(stepped(rates, steps))
    assert bound_nusd(tariff, sent + more_in, output + more_out) >= bound_nusd(tariff, sent, output)
