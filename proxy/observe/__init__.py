"""What is seen from outside: metrics, and one log line a call."""

from proxy.observe.cache_counts import CacheCounts, CacheEvent
from proxy.observe.lag import LoopLag
from proxy.observe.logs import CallLog, LineWriter, choose_format, configure_logging
from proxy.observe.metrics import Metrics, ShedReason

__all__ = [
    "CacheCounts",
    "CacheEvent",
    "CallLog",
    "LineWriter",
    "LoopLag",
    "Metrics",
    "ShedReason",
    "choose_format",
    "configure_logging",
]
