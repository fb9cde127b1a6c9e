import pytest
from pydantic import ValidationError

from proxy.config.schema_models import ModelConfig

TARGET = {"provider": "p", "model": "m"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": []}, "at least 1"),
        ({"targets": [{**TARGET, "weight": -1}]}, "greater than or equal to 0"),
        ({"targets": [{**TARGET, "weight": float("inf")}]}, "finite|less than"),
        ({"targets": [{**TARGET, "price_usd_per_mtok": {"input": -1, "output": 1}}]}, "greater than or equal to 0"),
        ({"targets": [{**TARGET, "price_usd_per_mtok": {"input": 1}}]}, "required"),
        ({"targets": [TARGET], "strategy": "best"}, "Input should be"),
        ({"targets": [TARGET], "timeouts": {"total": "0s"}}, "greater than or equal"),
        ({"targets": [TARGET], "fallbacks": [{"on": "unavailable"}]}, "exactly one"),
        ({"targets": [TARGET], "fallbacks": [{"on": "unavailable", "model": "x", "static": "y"}]}, "exactly one"),
        ({"targets": [TARGET], "fallbacks": [{"on": "unavailable", "model": "x", "status": 200}]}, "belongs to static"),
        ({"targets": [TARGET], "fallbacks": [{"on": "tired", "model": "x"}]}, "Input should be"),
        ({"targets": [TARGET], "rescue": "no"}, "valid boolean"),
    ],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate(settings)


def test_concurrency_is_a_count_or_auto() -> None:
    model = ModelConfig.model_validate({"targets": [{**TARGET, "capacity": {"concurrency": "auto", "tpm": "800k"}}]})
    assert (model.targets[0].capacity.concurrency, model.targets[0].capacity.tpm) == ("auto", 800_000)
