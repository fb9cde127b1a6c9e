"""What is seen from outside: metrics, and one log line a call."""

from proxy.observe.logs import CallLog, LineWriter, choose_format, configure_logging
from proxy.observe.metrics import LoopLag, Metrics

__all__ = ["CallLog", "LineWriter", "LoopLag", "Metrics", "choose_format", "configure_logging"]
