"""From a provider's config to the adapter that speaks to it."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.config import Config, ProviderConfig
from proxy.providers.base import Provider
from proxy.providers.demo import DemoTransport
from proxy.providers.dialects import dialect_for
from proxy.providers.embeddings import Embeddings
from proxy.providers.openai import OpenAIProvider, OpenAISettings
from proxy.providers.simulated import DemoProfile, profile_named
from proxy.providers.transport import Transport, make_transport

#: For an Azure address under another kind than azure, which demands a version.
_AZURE_API_VERSION = "2024-10-21"


def build_providers(config: Config, old_providers: Mapping[str, Provider], old: Config | None) -> dict[str, Provider]:
    """Those of a config: as they are where their settings did not change, else new."""
    return {
        name: old_providers[name]
        if old is not None and old.providers.get(name) == settings
        else build_provider(name, settings)
        for name, settings in config.providers.items()
    }


def build_provider(name: str, settings: ProviderConfig) -> Provider:
    """The adapter for one configured provider. Opens no connection yet."""
    return OpenAIProvider(_openai(name, settings), _transport(settings))


def build_embeddings(name: str, settings: ProviderConfig, model: str, total_s: float) -> Embeddings:
    """One model of a configured provider that makes vectors, with connections of its own. Opens none yet."""
    return Embeddings(_openai(name, settings), _transport(settings), model, total_s)


def _openai(name: str, settings: ProviderConfig) -> OpenAISettings:
    return OpenAISettings(
        name=name,
        base_url=settings.base_url,
        dialect=dialect_for(settings.kind, settings.dialect, settings.base_url),
        credentials=settings.credentials,
        api_version=settings.api_version or _AZURE_API_VERSION,
        headers=settings.headers,
    )


def _transport(settings: ProviderConfig) -> Transport:
    if settings.kind == "demo":
        return DemoTransport(simulated_profile(settings))
    return make_transport(settings.transport, reuse=settings.reuse, proxy=settings.proxy)


def simulated_profile(settings: ProviderConfig) -> DemoProfile:
    """How a provider of kind demo behaves."""
    faults = settings.faults
    return profile_named(
        settings.profile,
        first_token_s=faults.first_token_s,
        per_token_s=faults.per_token_s,
        error_rate=faults.error_rate,
        cut_rate=faults.cut_rate,
        hang_rate=faults.hang_rate,
    )
