from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from proxy.accounting.prices import PriceTable, Rates
from proxy.config import ProviderConfig, TargetConfig

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"
TABLE = PriceTable()


def find(base_url: str, model: str, at: datetime = NOW, kind: str = "openai") -> Any:
    return TABLE.find(kind, base_url, model, at)


def dollars(rates: Rates, *names: str) -> list[str]:
    return [f"{getattr(rates, name).normalize():f}" for name in names]


@pytest.mark.parametrize(
    ("base_url", "model", "at", "rates"),
    [
        (OPENAI, "gpt-4o", NOW, "2.5 1.25 10"),
        (OPENAI, "gpt-4o-2024-08-06", NOW, "2.5 1.25 10"),
        (OPENAI, "GPT-4o-mini", NOW, "0.15 0.075 0.6"),
        (OPENAI, "text-embedding-3-small", NOW, "0.02 0.02 0"),
        (OPENAI, "o3", datetime(2025, 6, 9, tzinfo=UTC), "10 0.5 40"),
        (OPENAI, "o3", datetime(2025, 6, 10, tzinfo=UTC), "2 0.5 8"),
        ("https://api.anthropic.com/v1", "claude-sonnet-4-5-20250929", NOW, "3 0.3 15"),
        (
            "https://api.deepseek.com/v1",
            "deepseek-v4-pro",
            datetime(2026, 8, 16, 12, tzinfo=UTC),
            "0.435 0.003625 0.87",
        ),
        ("https://api.deepseek.com/v1", "deepseek-v4-pro", datetime(2026, 8, 17, 12, tzinfo=UTC), "0.66 0.022 1.98"),
        ("https://api.deepseek.com/v1", "deepseek-v4-pro", datetime(2026, 8, 17, 7, tzinfo=UTC), "1.32 0.044 3.96"),
        ("https://api.groq.com/openai/v1", "llama-3.3-70b-versatile", NOW, "0.59 0.59 0.79"),
        ("https://api.together.xyz/v1", "meta-llama/Llama-3.3-70B-Instruct-Turbo", NOW, "0.88 0.88 0.88"),
        ("https://eu-1.openai.azure.com", "gpt-4o", NOW, "2.5 1.25 10"),
    ],
)
def test_a_model_costs_what_its_provider_asked_for_at_the_time(
    base_url: str, model: str, at: datetime, rates: str
) -> None:
    prices = find(base_url, model, at)
    assert dollars(prices.rates, "input", "cached_input", "output") == rates.split()
    assert prices.source == "table"


@pytest.mark.parametrize(
    ("kind", "base_url", "model"),
    [
        ("openai", OPENAI, "gpt-99"),
        ("openai", OPENAI, "claude-sonnet-4-5"),
        ("openai", OPENAI, "whisper-1"),  # by the minute, not by the token
        ("openai", "http://10.0.0.5:8000/v1", "gpt-4o"),  # speaks like OpenAI, and sends no bill of theirs
        ("openai", "https://dashscope.aliyuncs.com/compatible-mode/v1", "qwen-plus"),  # not in the data
        ("azure", "https://eu-1.openai.azure.com", "our-own-deployment"),
        ("unheard of", "", "gpt-4o"),
    ],
)
def test_what_is_not_in_the_table_has_no_price(kind: str, base_url: str, model: str) -> None:
    assert TABLE.find(kind, base_url, model, NOW) is None


def test_a_config_of_simulations_does_not_read_the_table() -> None:
    def read() -> DataSnapshot:
        raise AssertionError("20 ms and 4 MB")

    assert not PriceTable(read).knows({"kind": "demo"}, "gpt-4o", at=NOW)


def test_a_kind_tells_who_bills_where_the_address_does_not() -> None:
    assert find("", "gpt-4o").rates == find(OPENAI, "gpt-4o").rates
    assert find("https://gateway.example/azure", "gpt-4o", kind="azure").rates == find(OPENAI, "gpt-4o").rates
    assert find("https://gateway.example", "claude-sonnet-4-5", kind="anthropic").rates.cached_input == Decimal("0.3")


def test_parts_that_are_billed_apart_have_their_own_rates() -> None:
    claude = find("https://api.anthropic.com", "claude-sonnet-4-5").rates
    assert dollars(claude, "cache_write", "cache_write_1h", "reasoning") == ["3.75", "6", "15"]
    gemini = find("https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-flash").rates
    assert dollars(gemini, "input", "audio_input", "audio_output") == ["0.3", "1", "2.5"]


def test_a_long_input_is_dearer_as_a_whole() -> None:
    prices = find(OPENAI, "gpt-5.6-sol")
    [tier] = prices.tiers
    assert (tier.above_tokens, dollars(tier.rates, "input", "output")) == (272_000, ["8", "30"])
    assert dollars(prices.rates, "input", "output") == ["4", "20"]


def test_a_fee_for_each_call_is_known() -> None:
    assert find("https://api.perplexity.ai", "sonar").per_call_usd == Decimal("0.012")


def test_prices_say_until_when_they_hold() -> None:
    early = datetime(2026, 8, 16, 10, 0, tzinfo=UTC)
    assert find(OPENAI, "gpt-4o").until is None
    assert find(OPENAI, "o3", datetime(2025, 1, 1, tzinfo=UTC)).until == datetime(2025, 6, 10, tzinfo=UTC)
    deepseek = [find("https://api.deepseek.com", "deepseek-v4-pro", early + timedelta(hours=h)) for h in (0, 14, 15)]
    assert [prices.until for prices in deepseek] == [
        datetime(2026, 8, 17, 0, 0, tzinfo=UTC),  # of the new price
        datetime(2026, 8, 17, 1, 0, tzinfo=UTC),  # of its first dear hours
        datetime(2026, 8, 17, 4, 0, tzinfo=UTC),
    ]


def table_of(*conditions: ConditionalPrice) -> PriceTable:
    model = ModelInfo("m", ClauseEquals("m"), prices=list(conditions))
    provider = Provider("p", "P", r"https://p\.example", models=[model])
    return PriceTable(lambda: DataSnapshot([provider], from_auto_update=False))


def condition(constraint: StartDateConstraint | TimeOfDateConstraint | None, **prices: str) -> ConditionalPrice:
    return ConditionalPrice(constraint, prices=ModelPrice(**{name: Decimal(value) for name, value in prices.items()}))


def test_hours_of_another_time_zone_are_put_into_ours() -> None:
    east = timezone(timedelta(hours=8))
    table = table_of(
        condition(None, input_mtok="1", output_mtok="1"),
        condition(TimeOfDateConstraint(time(1, 0, tzinfo=east), time(9, 0, tzinfo=east)), input_mtok="2"),
    )
    late, early = datetime(2026, 3, 1, 16, 59, tzinfo=UTC), datetime(2026, 3, 1, 17, 0, tzinfo=UTC)
    found = [table.find("openai", "https://p.example/v1", "m", at) for at in (late, early)]
    assert [prices and (str(prices.rates.input), prices.until) for prices in found] == [
        ("1", early),
        ("2", datetime(2026, 3, 2, 1, 0, tzinfo=UTC)),
    ]


def test_steps_of_several_rates_are_all_kept() -> None:
    tiered = {
        "input_mtok": TieredPrices(Decimal(1), [Tier(100, Decimal(2)), Tier(300, Decimal(4))]),
        "output_mtok": TieredPrices(Decimal(5), [Tier(200, Decimal(6))]),
    }
    table = table_of(ConditionalPrice(prices=ModelPrice(**tiered)))
    prices = table.find("openai", "https://p.example", "m", NOW)
    assert prices is not None
    assert dollars(prices.rates, "input", "output") == ["1", "5"]
    assert [(tier.above_tokens, *dollars(tier.rates, "input", "output")) for tier in prices.tiers] == [
        (100, "2", "5"),
        (200, "2", "6"),
        (300, "4", "6"),
    ]


def test_a_version_names_the_figures() -> None:
    first = table_of(condition(None, input_mtok="1", output_mtok="2.0"))
    same = table_of(condition(None, input_mtok="1.00", output_mtok="2"))
    dated = table_of(
        condition(None, input_mtok="1", output_mtok="2"),
        condition(StartDateConstraint(date(2026, 11, 21)), input_mtok="1", output_mtok="3"),
    )
    found = [
        table.find("openai", "https://p.example", "m", at)
        for table, at in ((first, NOW), (same, NOW), (dated, NOW), (dated, NOW + timedelta(days=1)))
    ]
    versions = [prices.version for prices in found if prices is not None]
    assert versions[0] == versions[1] == versions[2] != versions[3]
    assert versions[0].startswith("genai-prices-")
    assert ":p/m:" in versions[0]


def test_the_price_of_the_config_wins_whole() -> None:
    provider = ProviderConfig.model_validate({"kind": "openai", "api_key": "sk-abcdefabcdefabcdef"})
    own = {"input": 1, "output": "2.5", "cache_write": "1.25"}
    target = TargetConfig.model_validate({"provider": "p", "model": "gpt-4o", "price_usd_per_mtok": own})
    prices = TABLE.price_of(provider, target, NOW)
    assert prices is not None
    assert prices.rates == Rates.of(Decimal(1), Decimal("2.5"), cache_write=Decimal("1.25"))
    assert dollars(prices.rates, "cached_input", "cache_write_1h", "reasoning") == ["1", "1.25", "2.5"]
    assert (prices.source, prices.version.partition(":")[0], prices.until) == ("config", "config", None)


def test_what_the_config_leaves_unpriced_is_looked_up_and_simulations_are_free() -> None:
    target = TargetConfig.model_validate({"provider": "p", "model": "gpt-4o"})
    real = ProviderConfig.model_validate({"kind": "openai", "api_key": "sk-abcdefabcdefabcdef"})
    simulated = ProviderConfig.model_validate({"kind": "demo"})
    prices = [TABLE.price_of(provider, target, NOW) for provider in (real, simulated)]
    assert [one and (one.source, str(one.rates.output)) for one in prices] == [("table", "10"), ("simulated", "0")]


@pytest.mark.parametrize(
    ("provider", "is_known"),
    [
        ({"kind": "openai"}, True),
        ({"kind": "openai", "base_url": OPENAI}, True),
        ({"kind": "openai", "base_url": "http://127.0.0.1:1/v1"}, False),
        ({"kind": "openai", "base_url": 7}, False),
        ({"kind": ["openai"]}, False),
        ({}, False),
    ],
)
def test_a_config_with_faults_can_be_asked_about(provider: dict[str, object], is_known: bool) -> None:
    assert TABLE.knows(provider, "gpt-4o", at=NOW) is is_known


def test_prices_are_found_without_an_http_client_at_work() -> None:
    # genai-prices can fetch newer data; httpcore2 is what would carry the request.
    code = (
        "import sys; from datetime import UTC, datetime; from proxy.accounting import PriceTable;"
        "print(PriceTable().find('openai', '', 'gpt-4o', datetime.now(UTC)) is not None, 'httpcore2' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "False"]
