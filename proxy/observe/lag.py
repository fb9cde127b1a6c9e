"""How late the event loop runs its timers: whatever holds it up holds up every call."""

from __future__ import annotations

import asyncio
from typing import Final

from proxy.observe.metrics import Metrics

#: How often it is sampled, in seconds.
_INTERVAL_S: Final = 0.25


class LoopLag:
    """Samples how late the event loop runs its timers, until it is stopped."""

    def __init__(self, metrics: Metrics, loop: asyncio.AbstractEventLoop) -> None:
        self._metrics = metrics
        self._loop = loop
        self._due = loop.time() + _INTERVAL_S
        self._timer = loop.call_at(self._due, self._sample)

    def _sample(self) -> None:
        now = self._loop.time()
        self._metrics.loop_lagged(max(0.0, now - self._due))
        self._due = now + _INTERVAL_S
        self._timer = self._loop.call_at(self._due, self._sample)

    def stop(self) -> None:
        """End the sampling."""
        self._timer.cancel()
