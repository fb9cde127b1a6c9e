"""Plain counters and histograms for the hot path, handed to Prometheus when it asks.

A call touches about ten series. prometheus_client takes a lock and checks its arguments for each, 8 µs a call; these
are numbers of one thread, 1 µs a call, turned into metric families only for a scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

Labels = tuple[str, ...]

#: Upper bounds, in seconds.
DURATION_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
TTFT_BUCKETS: Final = (0.025, 0.05, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 60)
OVERHEAD_BUCKETS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
LAG_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Histogram:
    """Samples of one kind, counted by upper bound (inclusive)."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds`: ascending."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one sample. O(log n)."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bound as Prometheus writes it, and how many samples were at or below it."""
        total = 0
        pairs = []
        for bound, count in zip((*map(str, map(float, self._bounds)), "+Inf"), self._counts, strict=True):
            total += count
            pairs.append((bound, float(total)))
        return pairs


class Histograms:
    """One histogram for each set of label values."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._by_labels: dict[Labels, Histogram] = {}

    def at(self, labels: Labels) -> Histogram:
        """The histogram of these label values; keep it."""
        found = self._by_labels.get(labels)
        if found is None:
            found = self._by_labels[labels] = Histogram(self._bounds)
        return found

    def all(self) -> list[tuple[Labels, Histogram]]:
        """Every histogram with its label values."""
        return list(self._by_labels.items())
