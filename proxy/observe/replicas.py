"""How many gateways share the state, as a metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class ReplicaGauge(Collector):
    """Gateways that are alive, by the hash of the config that each goes by: two series are a disagreement."""

    def __init__(self, hashes: Callable[[], Iterable[str]]) -> None:
        """`hashes` gives each one's at a scrape."""
        self._hashes = hashes

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for a scrape."""
        text = "Gateways that share the state and are alive, by the config in force there."
        family = GaugeMetricFamily("llm_replicas", text, labels=("config_hash",))
        for config_hash, count in Counter(self._hashes()).items():
            family.add_metric((config_hash,), count)
        yield family
