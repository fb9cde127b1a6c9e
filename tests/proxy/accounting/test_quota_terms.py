from proxy.accounting import QuotaTerms, terms_of
from proxy.config.load import load_text
from tests.gateways import CONFIG, KEY


def test_every_quota_of_teams_and_keys_becomes_terms() -> None:
    quotas = (
        "[{usd: 0.25, per: month, warn_at: [80%, 50%]}, "
        '{usd: 2, per: day, models: [chat], when_spent: "downgrade:large"}]'
    )
    text = CONFIG.replace(
        f"search: {{keys: [{{name: ci, key: {KEY}}}], models: [chat]",
        f"search: {{keys: [{{name: ci, key: {KEY}, quotas: [{{tokens: 5M, per: week}}]}}], quotas: {quotas}",
    )
    monthly, daily, weekly = terms_of(load_text(text, {}, "f").config)
    assert monthly == QuotaTerms(("search",), "usd", 250_000_000, "month", None, (0.5, 0.8), None)
    assert daily == QuotaTerms(("search",), "usd", 2_000_000_000, "day", frozenset({"chat"}), (), "large")
    assert weekly == QuotaTerms(("search", "ci"), "tokens", 5_000_000, "week")
    assert [one.name for one in (monthly, daily, weekly)] == [
        "usd per month",
        "usd per day for chat",
        "tokens per week",
    ]


def test_a_quota_counts_the_calls_that_it_says() -> None:
    of_team = QuotaTerms(("t",), "usd", 1, "day", frozenset({"a", "b"}))
    of_key = QuotaTerms(("t", "k"), "usd", 1, "day")
    assert of_team.covers("any", "a")
    assert not of_team.covers("any", "c")
    assert of_key.covers("k", "c")
    assert not of_key.covers("other", "c")


def test_a_counter_is_called_by_unit_key_and_models() -> None:
    assert QuotaTerms(("t",), "usd", 1, "day", frozenset({"b", "a"})).counter == "usd\n\na\nb"
    assert QuotaTerms(("t", "k"), "tokens", 1, "day").counter == "tokens\nk"
