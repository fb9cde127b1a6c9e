"""`python -m benchmarks.shared_state`: what Redis costs a call in the gateway's own process, against the embedded
state, at full load over real sockets. For a team without limits, whose calls are only booked, and for one with two
rates and two quotas, whose calls ask Redis before the provider.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.chat import KINDS, Kind
from benchmarks.measure import measure_cost
from benchmarks.servers import gateway_with
from tests.redis_server import redis_server

_CONFIG: Final = """\
version: 1
server: {listen: "127.0.0.1:$port", admin_listen: "127.0.0.1:$admin_port", drain_delay: 0s, drain: 1s}
state: {url: "STATE"}
providers:
  upstream: {kind: openai, base_url: "$upstream/v1", api_key: "sk-upstream"}
models:
  chat: {targets: [{provider: upstream, model: chat, price_usd_per_mtok: {input: 1, output: 2}}]}
teams:
  bench: {keys: [{name: bench, key: "$key"}]LIMITS}
"""
_LIMITS: Final = ", limits: {rpm: 100M, tpm: 100G}, quotas: [{usd: 1000000, per: month}, {tokens: 100G, per: day}]"
_EMBEDDED: Final = "sqlite:///waystation.db"
TEAMS: Final = {"without limits": "", "two rates and two quotas": _LIMITS}


def cost_us(state_url: str, limits: str, kind: Kind, seconds: int) -> float:
    """CPU of the gateway's process for one call, in µs."""
    with gateway_with(_CONFIG.replace("STATE", state_url).replace("LIMITS", limits)) as (gateway, _, folder):
        measure_cost(gateway, kind, 1, folder)  # warms up
        return measure_cost(gateway, kind, seconds, folder).cpu_us


def compare(redis_url: str, runs: int, seconds: int) -> Iterator[str]:
    """A line for each kind of call and of team: medians of so many runs, taken in turn."""
    for kind in KINDS:
        for team, limits in TEAMS.items():
            pairs = [tuple(cost_us(url, limits, kind, seconds) for url in (_EMBEDDED, redis_url)) for _ in range(runs)]
            embedded, shared = (statistics.median(column) for column in zip(*pairs, strict=True))
            more = statistics.median(of_redis - of_sqlite for of_sqlite, of_redis in pairs)
            yield f"{kind}, {team}: {embedded:.0f} µs embedded, {shared:.0f} µs with Redis: {more:+.0f} µs a call"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared_state", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="full load in each run")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as name, redis_server(Path(name)) as server:
        for line in compare(server.url, options.runs, options.seconds):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
