"""One run of a measurement, and what many runs come to."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import uvloop

from benchmarks.chat import ChatCall, Kind
from benchmarks.client import check, connect
from benchmarks.load import put_load
from benchmarks.procfs import cpu_s
from benchmarks.servers import Running


@dataclass(frozen=True, slots=True)
class Cost:
    """A window of full load."""

    cpu_us: float  #: CPU microseconds a request, of the server's own processes
    per_s: float  #: requests a second
    busy: float  #: the share of its core that the server used: under 1 the load or the upstream was what held it back


@dataclass(slots=True)
class Figures:
    """All that was measured of one subject and one kind of request."""

    costs: list[Cost] = field(default_factory=list)
    lone_cpu_us: list[float] = field(default_factory=list)  #: by run; on one connection, one request after the other
    first_s: list[float] = field(default_factory=list)  #: by request, to the first byte of the body
    whole_s: list[float] = field(default_factory=list)  #: by request

    def cpu_us(self) -> float:
        """Median over the runs."""
        return statistics.median(cost.cpu_us for cost in self.costs)

    def per_s(self) -> float:
        """Median over the runs."""
        return statistics.median(cost.per_s for cost in self.costs)

    def busy(self) -> float:
        """Median over the runs."""
        return statistics.median(cost.busy for cost in self.costs)

    def lone_us(self) -> float:
        """Median over the runs, of `lone_cpu_us`."""
        return statistics.median(self.lone_cpu_us)

    def cpu_us_range(self) -> tuple[float, float]:
        """Lowest and highest run."""
        every = [cost.cpu_us for cost in self.costs]
        return min(every), max(every)


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample below which this share lies (nearest rank). Raises ValueError if there are none."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure_cost(running: Running, kind: Kind, seconds: int, directory: Path) -> Cost:
    """Full load for so many seconds. Raises BadAnswer if any request failed."""
    cpu_before_s, started_at = cpu_s(running.pid), perf_counter()
    done = put_load(running.calls[kind], seconds, directory)
    used_s, window_s = cpu_s(running.pid) - cpu_before_s, perf_counter() - started_at
    return Cost(used_s / done.requests * 1e6, done.per_s, used_s / window_s)


def measure_latency(running: Running, kind: Kind, seconds: float, figures: Figures) -> None:
    """One request after the other on one connection; each answer is checked, outside of its time."""
    cpu_before_s, asked_before = cpu_s(running.pid), len(figures.whole_s)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_ask_in_turn(running.calls[kind], kind, seconds, figures))
    asked = len(figures.whole_s) - asked_before
    figures.lone_cpu_us.append((cpu_s(running.pid) - cpu_before_s) / asked * 1e6)


async def _ask_in_turn(call: ChatCall, kind: Kind, seconds: float, figures: Figures) -> None:
    request = call.encode()
    async with connect(call.port) as connection:
        until = perf_counter() + seconds
        while True:
            reply = await connection.ask(request)
            check(reply, kind)
            figures.first_s.append(reply.first_byte_s)
            figures.whole_s.append(reply.whole_s)
            if perf_counter() >= until:
                return
