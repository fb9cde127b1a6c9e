"""What the exact cache costs: `python -m benchmarks.cache`. In one process, without sockets: CPU time of a call from
the chain's first layer to its last byte, over a simulated provider that answers at once; and the memory of the store
over a million answers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from time import monotonic, process_time
from typing import Any, Final

import orjson
import uvloop

from proxy.api import Exchange
from proxy.api.respond import Pace
from proxy.app import Gateway
from proxy.cache import Store, Stored, key_of
from proxy.call import Call
from proxy.config.load import load_text
from proxy.observe import CallLog, LineWriter, Metrics
from proxy.wire.chat import parse_chat_request
from proxy.wire.embeddings import parse_embeddings_request

_KEY: Final = "sk-way-benchmark-0123456789"
_CONFIG: Final = f"""
version: 1
providers:
  demo: {{kind: demo, faults: {{first_token: 0ms, per_token: 0ms}}}}
models:
  chat: {{CACHE targets: [{{provider: demo, model: demo-1}}]}}
  plain: {{targets: [{{provider: demo, model: demo-1}}]}}
teams:
  search: {{keys: [{{name: ci, key: {_KEY}}}]}}
"""
_PACE: Final = Pace(60, 60)
_HEADERS: Final = {b"authorization": b"Bearer " + _KEY.encode()}
_STORE_BYTES: Final = 64_000_000
_PROMPT: Final = "What does the contract say about the notice period? " * 15


def gateway(*, is_cached: bool) -> Gateway:
    """One whose log goes nowhere."""
    text = _CONFIG.replace("CACHE", "cache: {exact: {ttl: 1h}}," if is_cached else "")
    log = CallLog(LineWriter(os.open(os.devnull, os.O_WRONLY), lambda count: None), "json")
    return Gateway(lambda: load_text(text, {}, "benchmark.yaml"), Metrics(), log)


async def cpu_us(one: Gateway, calls: int, model: str = "chat", is_new: bool = False, **fields: Any) -> float:
    """CPU time of one call, in microseconds, the reading of its body left out."""
    body = {"model": model, "messages": [{"role": "user", "content": _PROMPT}], **fields}
    bodies = [body | ({"seed": number} if is_new else {}) for number in range(calls)]
    requests = [parse_chat_request(orjson.dumps(one)) for one in bodies]
    began = process_time()
    for number, request in enumerate(requests):
        call = Call(f"req_{number}", f"req_{number}", monotonic(), _HEADERS, request)
        await Exchange(call, one.surface.handler, _never, _send, _PACE, _watch).run()
    return (process_time() - began) / calls * 1e6


async def embedding_us(one: Gateway, calls: int, inputs: Sequence[str], form: str, model: str = "chat") -> float:
    """CPU time of one call for embeddings, in microseconds, the reading of its body left out."""
    body = orjson.dumps({"model": model, "input": inputs, "encoding_format": form})
    requests = [parse_embeddings_request(body) for _ in range(calls)]
    began = process_time()
    for number, request in enumerate(requests):
        call = Call(f"req_{number}", f"req_{number}", monotonic(), _HEADERS, request)
        await Exchange(call, one.surface.embeddings, _never, _send, _PACE, _watch).run()
    return (process_time() - began) / calls * 1e6


async def report_embeddings(one: Gateway, calls: int, say: Callable[[str], None]) -> None:
    """The figures of embeddings: 1,536 dimensions, inputs of 0.8 KB."""
    inputs = [f"{number} {_PROMPT}" for number in range(100)]
    await embedding_us(one, 1, inputs, "base64")
    for count in (1, 100):
        for form in ("base64", "float"):
            cost_us = await embedding_us(one, max(1, calls // count), inputs[:count], form)
            say(f"{count:3} stored embeddings, as {form:6}         {cost_us:7.1f} µs")
    for form in ("base64", "float"):
        cost_us = await embedding_us(one, max(1, calls // 10), inputs[:1], form, "plain")
        say(f"one embedding, simulated, as {form:6}    {cost_us:7.1f} µs")


def measure_store(answers: int, say: Callable[[str], None]) -> None:
    """What the store says that it takes while so many different answers come, and what the process has grown by."""
    store, before = Store(_STORE_BYTES, Random(1)), _resident_bytes()
    for number in range(answers):
        name = f"req_{number:032x}"
        body = os.urandom(500 + number % 1000)
        store.add(os.urandom(32), Stored(body, "search", "chat", b"s" * 32, name, name, name, float(number), number))
        if (number + 1) % (answers // 5) == 0:
            used, grown = store.stats.used_bytes / 1e6, (_resident_bytes() - before) / 1e6
            say(
                f"{number + 1:9,} answers, budget {_STORE_BYTES / 1e6:.0f} MB: {used:.1f} counted, {grown:.1f} resident"
            )


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _never() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def _send(message: object) -> None:
    """The client reads at once."""


def _watch(left: Callable[[], None]) -> None:
    """The client stays."""


async def report(calls: int, say: Callable[[str], None]) -> None:
    """All figures, one a line."""
    cached, plain = gateway(is_cached=True), gateway(is_cached=False)
    await cpu_us(cached, 1)
    say(f"exact hit, JSON                        {await cpu_us(cached, calls):7.1f} µs")
    say(f"exact hit, given as a stream           {await cpu_us(cached, calls, stream=True):7.1f} µs")
    for name, one in (("in a world without caches", plain), ("beside a model with a cache", cached)):
        best = min([await cpu_us(one, calls, "plain") for _ in range(3)])
        say(f"no cache, {name:28} {best:7.1f} µs")
    say(f"model with a cache, missed and stored  {await cpu_us(cached, calls, is_new=True):7.1f} µs")
    say(f"model with a cache, not eligible       {await cpu_us(cached, calls, temperature=0.9):7.1f} µs")
    body = parse_chat_request(orjson.dumps({"model": "chat", "messages": [{"role": "user", "content": _PROMPT}]})).body
    began = process_time()
    for _ in range(calls):
        key_of(b"s" * 32, "search", body)
    say(f"its key alone                          {(process_time() - began) / calls * 1e6:7.1f} µs")
    await report_embeddings(cached, calls, say)
    await cached.aclose()
    await plain.aclose()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache", description=__doc__)
    parser.add_argument("--calls", type=int, default=5000, help="calls for each figure")
    parser.add_argument("--answers", type=int, default=1_000_000, help="answers for the store")
    options = parser.parse_args(arguments)
    measure_store(options.answers, print)
    uvloop.run(report(options.calls, print))
    return 0


if __name__ == "__main__":
    sys.exit(main())
