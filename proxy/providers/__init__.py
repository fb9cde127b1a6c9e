"""Upstream dialects: how to ask each provider, and what its answers mean."""

from proxy.providers.base import ChatStream, Patience, Provider
from proxy.providers.build import build_provider, build_providers, simulated_profile
from proxy.providers.webhook import Webhook

__all__ = ["ChatStream", "Patience", "Provider", "Webhook", "build_provider", "build_providers", "simulated_profile"]
