"""Upstream dialects: how to ask each provider, and what its answers mean."""

from proxy.providers.base import ChatStream, Patience, Provider

__all__ = ["ChatStream", "Patience", "Provider"]
