import pytest
from pydantic import ValidationError

from proxy.config.schema_server import ServerConfig, StateConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"drain": "-1s"},
        {"drain_delay": "11m"},
        {"keepalive_comment": "0s"},
        {"max_body": "10B"},
        {"workers": 0},
        {"max_connections": 0},
        {"log": {"format": "xml"}},
        {"admin_listen": "nowhere"},
    ],
)
def test_figures_out_of_bounds_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ServerConfig.model_validate(settings)


def test_the_admin_address_can_be_switched_off() -> None:
    assert ServerConfig.model_validate({"admin_listen": None}).admin_listen is None


@pytest.mark.parametrize(("url", "good"), [("sqlite:///x.db", True), ("redis://h:6379/0", True), ("mysql://h", False)])
def test_state_is_on_sqlite_or_redis(url: str, good: bool) -> None:
    try:
        StateConfig.model_validate({"url": url})
    except ValidationError:
        assert not good
    else:
        assert good
