"""Upstream dialects: how to ask each provider, and what its answers mean."""

from proxy.providers.base import ChatStream, Patience, Provider
from proxy.providers.build import build_embeddings, build_provider, build_providers, simulated_profile
from proxy.providers.embeddings import Embeddings
from proxy.providers.webhook import Webhook

__all__ = [
    "ChatStream",
    "Embeddings",
    "Patience",
    "Provider",
    "Webhook",
    "build_embeddings",
    "build_provider",
    "build_providers",
    "simulated_profile",
]
