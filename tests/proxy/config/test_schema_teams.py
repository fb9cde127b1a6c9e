from datetime import date

import pytest
from pydantic import ValidationError

from proxy.config.schema_teams import AdminConfig, TeamConfig

KEY = "sk-way-0123456789"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ({"name": "k"}, "exactly one of key and digest"),
        ({"name": "k", "key": KEY, "digest": "sha256:" + "0" * 64}, "exactly one of key and digest"),
        ({"name": "k", "digest": "0" * 64}, "64 lower-case hex digits"),
        ({"name": "k", "key": "short"}, "at least 16"),
        ({"name": "k", "key": KEY, "expires": "tomorrow"}, "2027-01-31"),
        ({"name": "k", "key": KEY, "expires": "2027-02-30"}, "day"),
        ({"name": "k", "key": KEY, "expires": "2027-1-1"}, "2027-01-31"),
        ({"name": "k", "key": KEY, "expires": None, "limits": {"rpm": 0}}, "greater than or equal to 1"),
        ({"name": "k", "digest": "sha256:" + "A" * 64}, "lower-case hex digits"),
        ({"name": "k", "key": KEY, "role": "admin"}, "Extra inputs"),
    ],
)
def test_a_key_is_one_key_with_one_name(key: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TeamConfig.model_validate({"keys": [key]})


def test_a_key_may_expire_on_a_day() -> None:
    team = TeamConfig.model_validate({"keys": [{"name": "k", "key": KEY, "expires": "2027-01-01"}]})
    assert team.keys[0].expires == date(2027, 1, 1)


@pytest.mark.parametrize(
    "quota",
    [
        {"usd": -1, "per": "day"},
        {"usd": float("nan"), "per": "day"},
        {"usd": float("inf"), "per": "day"},
        {"usd": True, "per": "day"},
        {"usd": 1, "per": "day", "when_spent": "downgrade:"},
        {"usd": 1, "per": "day", "warn_at": ["101%"]},
        {"per": "month"},
        {"usd": 1, "tokens": "1k", "per": "day"},
        {"usd": 0, "per": "day"},
        {"usd": 1, "per": "year"},
    ],
)
def test_a_quota_is_an_amount_of_one_thing_in_a_known_period(quota: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TeamConfig.model_validate({"quotas": [quota]})


def test_an_operators_key_has_a_role() -> None:
    with pytest.raises(ValidationError, match="required"):
        AdminConfig.model_validate({"keys": [{"name": "ops", "key": KEY}]})
