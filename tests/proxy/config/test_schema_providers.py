import pytest
from pydantic import ValidationError

from proxy.config.schema_providers import ProviderConfig


def provider(**settings: object) -> ProviderConfig:
    return ProviderConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("kind", "base_url"), [("openai", "https://api.openai.com/v1"), ("anthropic", "https://api.anthropic.com/v1")]
)
def test_a_base_url_has_a_default(kind: str, base_url: str) -> None:
    assert provider(kind=kind, api_key="sk-123").base_url == base_url


@pytest.mark.parametrize(
    "url",
    [
        "api.openai.com/v1",
        "ftp://h/v1",
        "http://",
        "http://user:pass@h/v1",
        "http://h/v1?x=1",
        "http://h/v1#x",
        "http://h:99999/v1",
        "http://h /v1",
        "http://h/\nv1",
        "http://h/v1?",
        "http://@h/v1",
        "http://h\\@evil/v1",
        "http://[::1/v1",
        "http://[v1.x]y/v1",
        "http://h:0/v1",
        "//h/v1",
        "http://é/v1",
        "",
        None,
        7,
    ],
)
def test_a_base_url_is_plain(url: object) -> None:
    with pytest.raises(ValidationError, match=r"https://api\.openai\.com/v1"):
        provider(kind="openai", base_url=url)


def test_an_ipv6_address_is_a_host_too() -> None:
    assert provider(kind="openai", base_url="http://[::1]:8000/v1").base_url == "http://[::1]:8000/v1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "openai", "api_key": "a", "api_keys": ["b"]}, "not both"),
        ({"kind": "openai", "api_keys": []}, "at least 1"),
        ({"kind": "azure", "api_key": "a"}, "needs base_url and api_version"),
        ({"kind": "azure", "base_url": "https://x", "api_version": "1"}, "needs an api_key"),
        ({"kind": "anthropic"}, "needs an api_key"),
        ({"kind": "openai"}, "OpenAI itself needs an api_key"),
        ({"kind": "openai", "api_key": "a", "profile": "fast"}, "kind demo only"),
        ({"kind": "mistral"}, "Input should be"),
        ({"kind": "openai", "reuse": "no"}, "expected true or false"),
        ({"kind": "openai", "headers": {"X-Org": "1"}}, "lower-case"),
        ({"kind": "openai", "headers": {"x-org": "1\r\nx-evil: 2"}}, "printable"),
        ({"kind": "openai", "headers": {"x-org": "1\n"}}, "printable"),
        ({"kind": "openai", "headers": {"x-org": " 1"}}, "no space around"),
        ({"kind": "openai", "headers": {"x-org\r\nx-evil": "1"}}, "lower-case"),
        ({"kind": "openai", "headers": {"authorization": "Bearer x"}}, "sets this header itself"),
        ({"kind": "openai", "headers": {"x-org": 1}}, "expected text"),
        ({"kind": "demo", "faults": {"error_rate": "120%"}}, "percentage"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        provider(**settings)


def test_a_local_server_needs_no_key() -> None:
    assert provider(kind="openai", base_url="http://127.0.0.1:8000/v1").credentials == ()


def test_what_a_header_says_is_shown_nowhere() -> None:
    settings = provider(kind="demo", headers={"x-gateway-key": "s3cret-in-a-header"})
    assert settings.headers == {"x-gateway-key": "s3cret-in-a-header"}
    assert "s3cret" not in repr(settings) + settings.model_dump_json()
    assert "x-gateway-key" in settings.model_dump_json()


def test_a_flag_may_come_from_the_environment_as_text() -> None:
    assert provider(kind="demo", reuse="false").reuse is False


def test_one_key_or_several_are_the_credentials() -> None:
    assert provider(kind="openai", api_keys=["sk-1", "sk-2"]).credentials == ("sk-1", "sk-2")
    assert provider(kind="openai", api_key="sk-1").credentials == ("sk-1",)
    assert provider(kind="openai", base_url="http://h/v1").credentials == ()
