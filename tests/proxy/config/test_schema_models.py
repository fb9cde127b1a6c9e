from decimal import Decimal
from typing import get_args

import pytest
from pydantic import ValidationError

from proxy.config.schema_models import ModelConfig, Need
from routing.needs import NEEDS

TARGET = {"provider": "p", "model": "m"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": []}, "at least 1 item"),
        ({"targets": [TARGET], "cache": {"semantic": {"max_error": "0%"}}}, "more than 0%"),
        ({"targets": [TARGET], "cache": {"semantic": {"max_error": "100%"}}}, "less than 100%"),
        ({"targets": [{**TARGET, "weight": -1}]}, "greater than or equal to 0"),
        ({"targets": [{**TARGET, "weight": float("nan")}]}, "a number such as"),
        ({"targets": [{**TARGET, "weight": True}]}, "a number such as"),
        ({"targets": [{**TARGET, "weight": "1e3"}]}, "a number such as"),
        ({"targets": [{**TARGET, "capacity": {"concurrency": 0}}]}, "expected auto, or a count"),
        ({"targets": [{**TARGET, "capacity": {"concurrency": "many"}}]}, "expected auto, or a count"),
        ({"targets": [{**TARGET, "price_usd_per_mtok": {"input": float("nan"), "output": 1}}]}, "a number such as"),
        ({"targets": [{**TARGET, "price_usd_per_mtok": {"input": False, "output": 1}}]}, "a number such as"),
        ({"targets": [TARGET], "retries": {"max_attempts": True}}, "a whole number"),
        ({"targets": [TARGET], "retries": {"max_attempts": 2.0}}, "a whole number"),
        ({"targets": [TARGET], "fallbacks": [{"on": "unavailable", "static": "x", "status": 99}]}, "equal to 200"),
        ({"targets": [{**TARGET, "weight": float("inf")}]}, "a number such as"),
        ({"targets": [{**TARGET, "price_usd_per_mtok": {"input": -1, "output": 1}}]}, "greater than or equal to 0"),
        ({"targets": [{**TARGET, "price_usd_per_mtok": {"input": 1}}]}, "required"),
        ({"targets": [TARGET], "strategy": "best"}, "Input should be"),
        ({"targets": [TARGET], "timeouts": {"total": "0s"}}, "expected 10ms to 1d"),
        ({"targets": [TARGET], "fallbacks": [{"on": "unavailable"}]}, "exactly one"),
        ({"targets": [TARGET], "fallbacks": [{"on": "unavailable", "model": "x", "static": "y"}]}, "exactly one"),
        ({"targets": [TARGET], "fallbacks": [{"on": "unavailable", "model": "x", "status": 200}]}, "belongs to static"),
        ({"targets": [TARGET], "fallbacks": [{"on": "tired", "model": "x"}]}, "Input should be"),
        ({"targets": [TARGET], "rescue": "no"}, "expected true or false"),
        ({"targets": [{**TARGET, "lacks": ["tolls"]}]}, "Input should be 'tools'"),
        ({"targets": [{**TARGET, "drop_params": ["seed\r\nx-evil: 1"]}]}, "expected a name"),  # it goes into a header
        ({"targets": [{**TARGET, "context": 0}]}, "greater than or equal to 1"),
        ({"targets": [{**TARGET, "context": "128 thousand"}]}, "a count such as"),
        ({"targets": [TARGET], "tier": {"simple": "a", "hard": "b", "simple_below": -0.1}}, "equal to 0"),
        ({"targets": [TARGET], "tier": {"simple": "a", "hard": "b", "hard_above": 1.1}}, "equal to 1"),
        ({"targets": [TARGET], "tier": {"simple": "a", "hard": "b", "simple_below": 0.8}}, "must be less than"),
        ({"targets": [TARGET], "tier": {"simple": "a"}}, "required"),
    ],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate(settings)


def test_prices_are_exact() -> None:
    price = {"input": 0.1, "output": "0.00000125"}
    model = ModelConfig.model_validate({"targets": [{**TARGET, "price_usd_per_mtok": price}]})
    exact = model.targets[0].price_usd_per_mtok
    assert exact is not None
    assert (exact.input, exact.output, exact.cached_input) == (Decimal("0.1"), Decimal("0.00000125"), None)


def test_an_answer_may_be_kept_for_longer_than_anybody_waits() -> None:
    model = ModelConfig.model_validate({"targets": [TARGET], "cache": {"exact": {"ttl": "30d"}}})
    assert model.cache is not None
    assert model.cache.exact is not None
    assert model.cache.exact.ttl_s == 30 * 86_400


def test_a_tiny_price_is_no_less_a_price() -> None:
    model = ModelConfig.model_validate({"targets": [{**TARGET, "price_usd_per_mtok": {"input": 1e-7, "output": 0}}]})
    assert model.targets[0].price_usd_per_mtok is not None
    assert model.targets[0].price_usd_per_mtok.input == Decimal("1E-7")


def test_a_fixed_answer_may_have_a_status() -> None:
    fallback = {"on": "unavailable", "static": "Try again.", "status": 200}
    assert ModelConfig.model_validate({"targets": [TARGET], "fallbacks": [fallback]}).fallbacks[0].status == 200


def test_concurrency_is_a_count_or_auto() -> None:
    model = ModelConfig.model_validate({"targets": [{**TARGET, "capacity": {"concurrency": "auto", "tpm": "800k"}}]})
    assert (model.targets[0].capacity.concurrency, model.targets[0].capacity.tpm) == ("auto", 800_000)


def test_a_target_may_lack_whatever_a_request_can_need() -> None:
    assert set(get_args(Need)) == NEEDS
    [target] = ModelConfig.model_validate({"targets": [{**TARGET, "lacks": sorted(NEEDS), "context": "128k"}]}).targets
    assert (sorted(target.lacks), target.context) == (sorted(NEEDS), 128_000)
