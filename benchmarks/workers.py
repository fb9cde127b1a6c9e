"""`python -m benchmarks.workers`: what two workers on two cores serve against one, with Redis and the load on the
same two cores. The provider is the simulated one, inside the workers: nothing else is measured with them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.load import put_load
from benchmarks.procfs import cpu_s, family
from benchmarks.servers import gateway_with
from tests.redis_server import redis_server

_CONFIG: Final = """\
version: 1
server: {listen: "127.0.0.1:$port", admin_listen: "127.0.0.1:$admin_port", workers: WORKERS, drain_delay: 0s, drain: 1s}
state: {url: "REDIS", timeout: 1s}
providers:
  sim: {kind: demo, profile: fast, faults: {first_token: 0ms, per_token: 0ms}}
models:
  chat: {targets: [{provider: sim, model: sim-1}]}
teams:
  bench: {keys: [{name: bench, key: "$key"}]}
"""


def measure(redis_url: str, workers: int, seconds: int) -> tuple[float, float]:
    """Calls a second, and CPU of all the gateway's processes a call, in µs."""
    with gateway_with(_CONFIG.replace("REDIS", redis_url).replace("WORKERS", str(workers))) as (gateway, _, folder):
        for pid in family(gateway.pid):
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), os.sched_getaffinity(0))
        call = gateway.calls["json"]
        put_load(call, 1, folder)
        before_s = cpu_s(gateway.pid)
        done = put_load(call, seconds, folder)
        return done.per_s, (cpu_s(gateway.pid) - before_s) / done.requests * 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="full load in each run")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as name, redis_server(Path(name)) as server:
        found = [[measure(server.url, workers, options.seconds) for workers in (1, 2)] for _ in range(options.runs)]
    one, two = (statistics.median(run[at][0] for run in found) for at in (0, 1))
    ratio = statistics.median(run[1][0] / run[0][0] for run in found)
    cpu = [statistics.median(run[at][1] for run in found) for at in (0, 1)]
    print(
        f"1 worker {one:,.0f} calls/s ({cpu[0]:.0f} µs of CPU a call), 2 workers {two:,.0f} ({cpu[1]:.0f} µs): "
        f"{ratio:.2f} times as many, with Redis and the load on the same {len(os.sched_getaffinity(0))} cores"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
