import pytest

from proxy.config import ProviderConfig
from proxy.providers.build import build_provider, simulated_profile
from proxy.providers.demo import DemoTransport
from proxy.providers.openai import OpenAIProvider
from proxy.providers.simulated import profile_named
from proxy.providers.transport import AiohttpTransport, HttpxTransport, Transport


def built(**settings: object) -> tuple[OpenAIProvider, Transport]:
    provider = build_provider("p", ProviderConfig.model_validate(settings))
    assert isinstance(provider, OpenAIProvider)
    return provider, provider._transport


@pytest.mark.parametrize(
    ("settings", "transport"),
    [
        ({"kind": "openai", "api_key": "sk-123456"}, AiohttpTransport),
        ({"kind": "openai", "base_url": "http://10.0.0.5:8000/v1", "transport": "httpx"}, HttpxTransport),
        ({"kind": "anthropic", "api_key": "sk-123456"}, AiohttpTransport),
        ({"kind": "demo", "profile": "cheap"}, DemoTransport),
    ],
)
async def test_a_provider_gets_the_transport_its_settings_ask_for(
    settings: dict[str, object], transport: type[Transport]
) -> None:
    provider, made = built(**settings)
    assert provider.name == "p"
    assert type(made) is transport
    await provider.aclose()


async def test_a_simulated_provider_behaves_as_its_faults_say() -> None:
    _, transport = built(
        kind="demo", profile="flaky", faults={"error_rate": "100%", "cut_rate": "0%", "first_token": "5ms"}
    )
    assert isinstance(transport, DemoTransport)
    assert (transport._profile.error_rate, transport._profile.first_token_s) == (1.0, 0.005)


async def test_azure_is_asked_at_its_deployment_with_its_own_header() -> None:
    settings = {
        "kind": "azure",
        "base_url": "https://x.openai.azure.com",
        "api_version": "2024-10-21",
        "api_key": "k-123456",
    }
    provider, _ = built(**settings)
    url = str(provider._make_url("m"))
    assert url == "https://x.openai.azure.com/openai/deployments/m/chat/completions?api-version=2024-10-21"
    url = str(provider._make_embeddings_url("m"))
    assert url == "https://x.openai.azure.com/openai/deployments/m/embeddings?api-version=2024-10-21"
    assert provider._headers["k1"]["api-key"] == "k-123456"
    await provider.aclose()


def test_the_config_names_a_profile_and_changes_its_figures() -> None:
    assert simulated_profile(ProviderConfig(kind="demo", profile="cheap")) == profile_named("cheap")
    faults = {"error_rate": "10%", "cut_rate": "20%", "hang_rate": "30%", "first_token": "1s", "per_token": "2s"}
    settings = ProviderConfig.model_validate({"kind": "demo", "profile": "fast", "faults": faults})
    assert simulated_profile(settings) == profile_named(
        "fast", first_token_s=1.0, per_token_s=2.0, error_rate=0.1, cut_rate=0.2, hang_rate=0.3
    )
