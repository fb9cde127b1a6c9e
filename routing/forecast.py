"""How long an answer will be, in tokens: what its price depends on most, and what nobody knows beforehand.

A decayed mean for each power of two of the client's own cap, leaning on the mean over all. Clients that send no cap, or
always the same one, get what their kind of call usually takes.
"""

from __future__ import annotations

from typing import Final

_GUESSED_TOKENS: Final = 200.0
_KEPT: Final = 0.99  # the last hundred answers count
_LEAN: Final = 5.0  # answers' worth of the mean over all in each bucket's own
_UNCAPPED: Final = 0
_BUCKETS: Final = 24


class OutputForecast:
    """One model's."""

    __slots__ = ("_sums", "_total", "_total_weight", "_weights")

    def __init__(self) -> None:
        self._weights = [0.0] * _BUCKETS
        self._sums = [0.0] * _BUCKETS
        self._total_weight = 1.0
        self._total = _GUESSED_TOKENS

    def expect(self, cap_tokens: int | None) -> float:
        """Output tokens to expect of a call with this cap; never more than the cap."""
        bucket = _bucket(cap_tokens)
        overall = self._total / self._total_weight
        tokens = (self._sums[bucket] + _LEAN * overall) / (self._weights[bucket] + _LEAN)
        return tokens if cap_tokens is None else min(tokens, float(cap_tokens))

    def learn(self, cap_tokens: int | None, output_tokens: int) -> None:
        """An answer that came to its own end had this many."""
        bucket = _bucket(cap_tokens)
        self._weights[bucket] = self._weights[bucket] * _KEPT + 1.0
        self._sums[bucket] = self._sums[bucket] * _KEPT + output_tokens
        self._total_weight = self._total_weight * _KEPT + 1.0
        self._total = self._total * _KEPT + output_tokens


def _bucket(cap_tokens: int | None) -> int:
    return _UNCAPPED if cap_tokens is None else min(max(cap_tokens, 1).bit_length(), _BUCKETS - 1)
