import pytest

from proxy.config.embedded import default_config_path, detected, load_default
from proxy.config.faults import ConfigFaults

KEY = {"WAYSTATION_KEY": "sk-way-0123456789"}


def test_the_default_holds_without_any_providers_key_and_without_warnings() -> None:
    loaded = load_default(KEY)
    assert set(loaded.config.providers) == {"demo-fast", "demo-cheap", "demo-flaky"}
    assert "default" in loaded.config.models["chat"].aliases
    assert loaded.warnings == ()
    assert default_config_path().name in ("config.yaml", "default.yaml")


def test_providers_of_the_environment_are_added_and_named() -> None:
    environ = {**KEY, "OPENAI_API_KEY": "sk-real-123", "LOCAL_MODEL_ENDPOINT": "http://127.0.0.1:11434/v1"}
    config = load_default(environ).config
    assert config.providers["openai"].credentials == ("sk-real-123",)
    assert config.models["gpt-4o-mini"].targets[0].provider == "openai"
    assert "gpt-4o-mini" not in config.models["chat"].aliases
    assert detected(environ).found == {"openai": "OPENAI_API_KEY", "local": "LOCAL_MODEL_ENDPOINT"}


def test_what_the_environment_holds_wrong_is_a_fault_that_does_not_repeat_it() -> None:
    with pytest.raises(ConfigFaults) as caught:
        load_default({**KEY, "LOCAL_MODEL_ENDPOINT": "user:pass@nowhere"})
    [fault] = caught.value.faults
    assert (fault.path, fault.hint) == ("providers.local.base_url", "it was found in the environment")
    assert "pass@nowhere" not in str(fault)


def test_the_addresses_follow_the_environment() -> None:
    config = load_default({**KEY, "WAYSTATION_LISTEN": "0.0.0.0:80", "WAYSTATION_ADMIN_LISTEN": "0.0.0.0:81"}).config
    assert (str(config.server.listen), str(config.server.admin_listen)) == ("0.0.0.0:80", "0.0.0.0:81")
