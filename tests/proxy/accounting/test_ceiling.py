from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting import Ceiling, Prices, Rates, Tariff, bound_nusd, cost_nusd
from proxy.accounting.prices import Tier

PRICES = st.decimals("0", "100", places=3)
TOKENS = st.integers(0, 400_000)


def tariff(input: str | Decimal, output: str | Decimal, tiers: tuple[Tier, ...] = (), per_call: str = "0") -> Tariff:
    rates = Rates.of(Decimal(input), Decimal(output))
    return Tariff.of(Prices(rates, source="config", version="v", tiers=tiers, per_call_usd=Decimal(per_call)))


@given(st.lists(st.tuples(PRICES, PRICES, PRICES, st.booleans()), min_size=1, max_size=4), TOKENS, TOKENS, TOKENS)
def test_nothing_costs_more_than_the_ceiling_says(
    prices: list[tuple[Decimal, Decimal, Decimal, bool]], input_tokens: int, output_tokens: int, fewer: int
) -> None:
    tariffs = [
        tariff(of_input, of_output, (Tier(200_000, Rates.of(dearer, dearer)),) if has_tier else ())
        for of_input, of_output, dearer, has_tier in prices
    ]
    bound = Ceiling(lambda: tariffs).nusd(input_tokens, output_tokens, 0.0)
    for one in tariffs:
        assert bound >= bound_nusd(one, input_tokens, output_tokens)
        assert bound >= cost_nusd(one, min(fewer, input_tokens), output_tokens)


def test_the_ceiling_is_the_dearest_of_what_is_known() -> None:
    ceiling = Ceiling(lambda: [tariff("1", "2"), None, tariff("0.5", "8", per_call="0.01")])
    assert ceiling.nusd(100, 10, 0.0) == 100 * 1000 + 10 * 8000 + 10_000_000


def test_what_has_no_price_costs_nothing() -> None:
    assert Ceiling(lambda: [None]).nusd(100, 10, 0.0) == 0
    assert Ceiling(list).nusd(100, 10, 0.0) == 0


def test_prices_are_looked_up_again_when_they_have_run_out() -> None:
    looked: list[int] = []

    def tariffs() -> list[Tariff | None]:
        looked.append(1)
        one = tariff(str(len(looked)), "0")
        return [Tariff(one.prices, 100.0 * len(looked), one.unit, one.rates, 0, (), one.dearest)]

    ceiling = Ceiling(tariffs)
    assert [ceiling.nusd(1, 0, now) for now in (0.0, 50.0, 100.0, 150.0, 250.0)] == [1000, 1000, 2000, 2000, 3000]
    assert len(looked) == 3
