"""Asks a provider for the vectors of texts, for the gateway's own use: as any call for embeddings, but without routing,
so a provider that is refused or at its limit is left alone here.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from time import monotonic
from typing import Final

import orjson

from proxy.errors import (
    UpstreamAuthError,
    UpstreamError,
    UpstreamFailure,
    UpstreamQuotaExhausted,
    UpstreamUnavailable,
)
from proxy.providers.base import Patience
from proxy.providers.openai import OpenAIProvider
from proxy.wire.embeddings import parse_embeddings_request
from proxy.wire.vectors import floats_of

#: How long the provider is left alone after a 429 that names no time, and after a refusal; both in seconds.
_COOLED_S: Final = 5.0
_REFUSED_S: Final = 60.0


class Embeddings:
    """One model that makes vectors, at one provider, over connections of its own."""

    def __init__(self, provider: OpenAIProvider, model: str, total_s: float) -> None:
        """`total_s` bounds each call. Opens no connection yet. The provider is closed with it."""
        self._provider = provider
        self._model = model
        self._patience = Patience(total_s, total_s, total_s, total_s)
        self._rests_until = -inf  # monotonic seconds

    async def ask(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """A vector for each text, in their order, of any length. One call, never repeated. Raises UpstreamFailure."""
        if monotonic() < self._rests_until:
            raise UpstreamUnavailable(f"Provider '{self._provider.name}' refused its credentials, or is at its limit.")
        request = parse_embeddings_request(orjson.dumps({"model": self._model, "input": [*texts]}))
        try:
            answer = await self._provider.answer(self._model, request, self._patience)
        except UpstreamFailure as failure:
            self._rest(failure)
            raise
        found = answer.embeddings
        assert found is not None, "a call for embeddings is answered with some"
        if not found.has_order:
            raise UpstreamError(f"Provider '{self._provider.name}' does not say which vector is of which text.")
        return [floats_of(vector) for vector in found.vectors]

    async def aclose(self) -> None:
        """Close every connection."""
        await self._provider.aclose()

    def _rest(self, failure: UpstreamFailure) -> None:
        """Unless another credential is left, which the provider picks by itself."""
        if failure.has_spare:
            return
        if isinstance(failure, UpstreamAuthError | UpstreamQuotaExhausted):
            self._rests_until = monotonic() + _REFUSED_S
        elif failure.cause == "rate_limited":
            asked_s = _COOLED_S if failure.retry_after_s is None else failure.retry_after_s
            self._rests_until = monotonic() + min(asked_s, _REFUSED_S)
