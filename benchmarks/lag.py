"""`python -m benchmarks.lag`: how long everybody else waits for the event loop while prompts of 1 MB are on their way.

Some clients send such prompts, one after the other each, half of them as streams, to a gateway with a limit in tokens
a minute and a quota, so that they are counted as well as carried. Beside them `GET /livez` is asked 500 times a second
over a connection of its own, from another process: how long that takes is no less than how late the loop is.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from statistics import quantiles
from time import perf_counter, sleep
from typing import Final

import orjson
import uvloop

from benchmarks.chat import ChatCall
from benchmarks.load import Load, load_with_own_client
from benchmarks.servers import gateway_with

_CONFIG: Final = """\
version: 1
server: {listen: "127.0.0.1:$port", admin_listen: "127.0.0.1:$admin_port", drain_delay: 0s, drain: 1s}
providers:
  upstream: {kind: openai, base_url: "$upstream/v1", api_key: "sk-upstream"}
models:
  chat: {targets: [{provider: upstream, model: chat, price_usd_per_mtok: {input: 1, output: 2}}]}
teams:
  bench:
    keys: [{name: bench, key: "$key"}]
    limits: {tpm: 1000000M}
    quotas: [{usd: 1000000, per: month}]
"""
_SENTENCE: Final = "The quick brown fox jumps over the lazy dog. "
_EVERY_S: Final = 0.002
_PROBE: Final = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
_WARM_UP_S: Final = 1.0


def large(call: ChatCall, size_bytes: int) -> ChatCall:
    """The same request with a prompt of that size."""
    body = orjson.loads(call.body)
    body["messages"] = [{"role": "user", "content": _SENTENCE * (size_bytes // len(_SENTENCE))}]
    return replace(call, body=orjson.dumps(body))


def probe(port: int, seconds: float, every_s: float = _EVERY_S) -> list[float]:
    """How long `GET /livez` took, in seconds, asked at that pace. Raises OSError if an answer is none."""
    waits_s = []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        until = perf_counter() + seconds
        while (began := perf_counter()) < until:
            connection.sendall(_PROBE)
            answer = b""
            while not answer.endswith(b"}"):
                if not (more := connection.recv(65536)):
                    raise OSError("the connection was closed")
                answer += more
            if not answer.startswith(b"HTTP/1.1 200"):
                raise OSError(f"/livez answered {answer[:40]!r}")
            waits_s.append(perf_counter() - began)
            sleep(max(0.0, every_s - waits_s[-1]))
    return waits_s


def summarise(waits_s: Sequence[float], calls_per_s: float, clients: int) -> str:
    """One line: percentiles in milliseconds, and at what load."""
    cuts = quantiles(waits_s, n=1000)
    shares = f"p50 {cuts[499] * 1e3:.1f} ms, p99 {cuts[989] * 1e3:.1f}, p99.9 {cuts[998] * 1e3:.1f}"
    within = sum(wait <= 0.02 for wait in waits_s) / len(waits_s)
    return f"{clients} clients, {calls_per_s:,.0f} such calls/s: {shares}; {within:.2%} within 20 ms"


def _put_load(
    calls: Sequence[ChatCall], seconds: float, clients: int, core: int, told: multiprocessing.Queue[Load]
) -> None:
    os.sched_setaffinity(0, {core})
    for load in uvloop.run(_ask_all(calls, seconds, clients)):
        told.put(load)


async def _ask_all(calls: Sequence[ChatCall], seconds: float, clients: int) -> Sequence[Load]:
    parts = [(clients + at) // len(calls) for at in range(len(calls))]
    return await asyncio.gather(
        *(load_with_own_client(call, seconds, part) for call, part in zip(calls, parts, strict=True))
    )


def measure(port: int, calls: Sequence[ChatCall], seconds: float, clients: int, core: int) -> str:
    """The line for so many clients. Raises OSError if one of their calls failed."""
    told: multiprocessing.Queue[Load] = multiprocessing.Queue()
    load = multiprocessing.Process(target=_put_load, args=(calls, seconds + 2 * _WARM_UP_S, clients, core, told))
    load.start()
    try:
        sleep(_WARM_UP_S)
        waits_s = probe(port, seconds)
        loads = [told.get(timeout=60) for _ in calls]
    finally:
        load.join(5)
        load.kill()
    if any(one.failed for one in loads):
        raise OSError("a call failed under load")
    return summarise(waits_s, sum(one.per_s for one in loads), clients)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a line for each number of clients."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lag", description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=(1, 4, 16), help="how many send large prompts")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each of these")
    parser.add_argument("--size", type=int, default=1_000_000, help="of a prompt, in bytes")
    options = parser.parse_args(arguments)
    with gateway_with(_CONFIG) as (gateway, cores, _):
        calls = [large(call, options.size) for call in gateway.calls.values()]
        for clients in options.clients:
            print(measure(calls[0].port, calls, options.seconds, clients, cores.load), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
