from __future__ import annotations

from datetime import UTC, datetime

import pytest

from proxy.accounting.book import PriceBook
from proxy.accounting.prices import Prices, PriceTable
from proxy.config import Config, ProviderConfig, TargetConfig
from proxy.config.load import load_text

CONFIG = """
version: 1
providers:
  openai: {kind: openai, api_key: sk-abcdefabcdefabcdef}
  deepseek: {kind: openai, base_url: "https://api.deepseek.com/v1", api_key: sk-abcdefabcdefabcdef}
  demo: {kind: demo}
models:
  chat:
    targets:
      - {provider: openai, model: gpt-4o, price_usd_per_mtok: {input: 1, output: 2}}
      - {provider: openai, model: gpt-99}
      - {provider: demo, model: d}
  cheap: {targets: [{provider: deepseek, model: deepseek-v4-pro}, {provider: openai, model: gpt-4o}]}
"""
NIGHT_S = datetime(2026, 11, 20, 0, 30, tzinfo=UTC).timestamp()
HOUR_S = 3600.0


class CountingTable(PriceTable):
    """Counts how often it is asked."""

    asked = 0

    def price_of(self, provider: ProviderConfig, target: TargetConfig, at: datetime) -> Prices | None:
        self.asked += 1
        return super().price_of(provider, target, at)


def config() -> Config:
    return load_text(CONFIG, {}, "my.yaml").config


def test_every_target_of_every_model_has_its_price_or_none() -> None:
    book = PriceBook(config(), PriceTable(), NIGHT_S)
    tariffs = {place: book.tariff(*place, NIGHT_S) for place in book}
    found = {
        place: tariff and (tariff.prices.source, str(tariff.prices.rates.input)) for place, tariff in tariffs.items()
    }
    assert found == {
        ("chat", "openai/gpt-4o"): ("config", "1"),
        ("chat", "openai/gpt-99"): None,
        ("chat", "demo/d"): ("simulated", "0"),
        ("cheap", "deepseek/deepseek-v4-pro"): ("table", "0.66"),
        ("cheap", "openai/gpt-4o"): ("table", "2.5"),
    }


def test_prices_change_when_their_time_has_come_and_are_looked_up_only_then() -> None:
    table = CountingTable()
    book = PriceBook(config(), table, NIGHT_S)
    at_load = table.asked

    def input_rate(hours: float) -> tuple[str, int]:
        tariff = book.tariff("cheap", "deepseek/deepseek-v4-pro", NIGHT_S + hours * HOUR_S)
        assert tariff is not None
        return str(tariff.prices.rates.input), table.asked - at_load

    assert [input_rate(hours) for hours in (0, 0.4, 0.5, 3, 3.5, 4, 5.6)] == [
        ("0.66", 0),
        ("0.66", 0),
        ("1.32", 1),  # from one o'clock
        ("1.32", 1),
        ("0.66", 2),  # from four
        ("0.66", 2),
        ("1.32", 3),  # from six
    ]


def test_what_has_no_price_is_not_looked_up_again() -> None:
    table = CountingTable()
    book = PriceBook(config(), table, NIGHT_S)
    at_load = table.asked
    assert book.tariff("chat", "openai/gpt-99", NIGHT_S + 1e9) is None
    assert table.asked == at_load


def test_a_target_that_the_config_does_not_have_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        PriceBook(config(), PriceTable(), NIGHT_S).tariff("chat", "deepseek/deepseek-v4-pro", NIGHT_S)


def test_the_next_price_is_known_before_its_time() -> None:
    book = PriceBook(config(), PriceTable(), NIGHT_S)
    soon = book.next_tariff("cheap", "deepseek/deepseek-v4-pro", NIGHT_S)
    now = book.tariff("cheap", "deepseek/deepseek-v4-pro", NIGHT_S)
    assert soon is not None
    assert now is not None
    assert (str(now.prices.rates.input), str(soon.prices.rates.input)) == ("0.66", "1.32")
    assert book.next_tariff("chat", "openai/gpt-4o", NIGHT_S) is None
    assert book.next_tariff("chat", "openai/gpt-99", NIGHT_S) is None
