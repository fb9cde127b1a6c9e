"""`python -m benchmarks.hits`: what a hit of the exact cache takes, over real sockets: its latency on one connection,
and the CPU of the gateway's process at full load.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

import uvloop

from benchmarks.chat import KINDS, ChatCall
from benchmarks.client import BadAnswer, connect
from benchmarks.load import load_with_own_client, put_load
from benchmarks.measure import quantile
from benchmarks.procfs import cpu_s
from benchmarks.servers import Running, gateway_with

_CONFIG: Final = """\
version: 1
server: {listen: "127.0.0.1:$port", admin_listen: "127.0.0.1:$admin_port", drain_delay: 0s, drain: 1s}
providers:
  upstream: {kind: openai, base_url: "$upstream/v1", api_key: "sk-upstream"}
models:
  chat: {targets: [{provider: upstream, model: chat}], cache: {exact: {}}}
teams:
  bench: {keys: [{name: bench, key: "$key"}]}
"""


async def latencies(call: ChatCall, seconds: float) -> list[float]:
    """How long each answer took, in seconds, one after the other on one connection. Raises BadAnswer if one failed."""
    request, found = call.encode(), []
    async with connect(call.port) as connection:
        until = perf_counter() + seconds
        while perf_counter() < until:
            reply = await connection.ask(request)
            if reply.status != 200:
                raise BadAnswer(f"status {reply.status}: {reply.body[:200]!r}")
            found.append(reply.whole_s)
    return found


def measure(running: Running, seconds: float, directory: Path) -> Iterator[str]:
    """A line for each kind of hit. Raises BadAnswer."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for kind in KINDS:
            call = running.calls[kind]
            runner.run(load_with_own_client(call, 0.5))  # the first one is a miss
            took_s = runner.run(latencies(call, seconds))
            before_s = cpu_s(running.pid)
            done = put_load(call, max(1, int(seconds)), directory)
            cpu_us = (cpu_s(running.pid) - before_s) / done.requests * 1e6
            p50, p99 = (quantile(took_s, share) * 1e3 for share in (0.5, 0.99))
            yield (
                f"{kind}: p50 {p50:.3f} ms, p99 {p99:.3f} ms; {cpu_us:.0f} µs of CPU at {done.per_s:,.0f} requests/s, "
                "HTTP included"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a line for each kind."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hits", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each figure")
    options = parser.parse_args(arguments)
    with gateway_with(_CONFIG) as (gateway, _, folder):
        for line in measure(gateway, options.seconds, folder):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
