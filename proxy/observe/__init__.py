"""What is seen from outside: metrics, and one log line a call."""

from proxy.observe.board import Board, Standing, WorkerState
from proxy.observe.cache_counts import CacheCounts, CacheEvent
from proxy.observe.crew import Crew
from proxy.observe.lag import LoopLag
from proxy.observe.logs import CallLog, DirectWriter, LineWriter, choose_format, configure_logging
from proxy.observe.merging import buried
from proxy.observe.metrics import Metrics, ShedReason
from proxy.observe.replicas import ReplicaGauge

__all__ = [
    "Board",
    "CacheCounts",
    "CacheEvent",
    "CallLog",
    "Crew",
    "DirectWriter",
    "LineWriter",
    "LoopLag",
    "Metrics",
    "ReplicaGauge",
    "ShedReason",
    "Standing",
    "WorkerState",
    "buried",
    "choose_format",
    "configure_logging",
]
