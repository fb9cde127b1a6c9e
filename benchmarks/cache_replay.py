"""How soon a new replica knows what the others have cached: `python -m benchmarks.cache_replay --redis URL`. Entries of
the cache by meaning are written to that Redis, in a namespace of their own; then a replica is opened on it, and it is
measured how long it takes until it can find all of them, its model included, and how late its event loop is meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Sequence
from time import perf_counter, process_time, time
from typing import Final
from uuid import uuid4

import numpy as np
import orjson
import uvloop

from benchmarks.procfs import rss_bytes
from benchmarks.questions import question
from proxy.cache.codec import encode
from proxy.cache.nearest.packed import pack
from proxy.cache.nearest.vectors import DIMS, MODEL_ID
from proxy.cache.redis_level import RedisLevel
from proxy.cache.store import Stored
from proxy.chain.cache_rules import CacheRule, SemanticRule
from proxy.chain.cache_state import CacheState
from proxy.config.load import load_text
from proxy.observe import CacheCounts
from proxy.state import Indexed, Meant
from proxy.state.redis_cache import RedisCache
from proxy.state.redis_cache_news import RedisCacheNews
from proxy.state.redis_client import open_client
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_place import read_redis_url

_SCOPE: Final = b"s" * 32
_TEAM: Final = "search"
_RULES: Final = {"chat": CacheRule(_SCOPE, 3600, semantic=SemanticRule(True, 3600, 0.05))}
_CONFIG: Final = "version: 1\ncache: {memory: 4GB}\n"
_ANSWER: Final = {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "x" * 400}}]}
_TICK_S: Final = 0.001
_TIMEOUT_S: Final = 10.0
_AT_ONCE: Final = 500
_WITHIN_S: Final = 120.0
#: As `serve` sets them.
_SWITCH_S: Final = 0.001
_COLLECT: Final = (20_000, 20, 50)


async def write(rows: RedisCache, entries: int, scopes: int) -> float:
    """Answers and what they are found by, as replicas write them. Seconds."""
    began, rng, body = perf_counter(), np.random.default_rng(1), orjson.dumps(_ANSWER)
    for first in range(0, entries, _AT_ONCE):
        vectors = rng.standard_normal((_AT_ONCE, DIMS), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        writing = []
        for number, vector in zip(range(first, min(first + _AT_ONCE, entries)), vectors, strict=False):
            key = number.to_bytes(32, "big")
            stored = Stored(body, _TEAM, "chat", _SCOPE, f"req_{number}", f"req_{number}", "a", time(), 700)
            scope_key = (number % scopes).to_bytes(32, "big")
            packed = pack(b"writer__", MODEL_ID, scope_key, question(number), vector, time() + 3600)
            data = encode(key, stored)
            writing.append(rows.store(_TEAM, key, data, 3_600_000, 0, None, 1, Indexed(_SCOPE, packed)))
        await asyncio.gather(*writing)
    rows.touch([(_TEAM, _SCOPE)])
    return perf_counter() - began


class Replica:
    """What of a replica has to do with the cache."""

    def __init__(self, link: Link, url: str, keys: RedisKeys) -> None:
        self.level = RedisLevel(RedisCache(link, keys), lambda: RedisCacheNews(open_client(url), keys))
        self.state = CacheState.empty(CacheCounts(), time, lambda config: self.level)
        self.state.adapt(load_text(_CONFIG, {}, "benchmark").config, _RULES)

    @property
    def is_ready(self) -> bool:
        """Does it know all that there is?"""
        return self.state.meaning is not None and self.level.is_current


async def run(url: str, entries: int, scopes: int) -> None:
    """Measure and print. Raises TimeoutError."""
    place = read_redis_url(url)
    assert place is not None, "a URL of Redis"
    keys = RedisKeys(f"benchmark{uuid4().hex}")
    link = Link(place, _TIMEOUT_S)
    await link.start()
    took_s = await write(RedisCache(link, keys), entries, scopes)
    print(f"written     {entries:,} entries in {scopes:,} scopes, {entries / took_s:,.0f} a second")
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)
    before, began, began_cpu, lags, opened_s = rss_bytes(os.getpid()), perf_counter(), process_time(), [], 0.0
    replica = Replica(link, url, keys)
    async with asyncio.timeout(_WITHIN_S):
        while not replica.is_ready:
            due = perf_counter() + _TICK_S
            await asyncio.sleep(_TICK_S)
            lags.append(max(0.0, perf_counter() - due) * 1e3)
            if replica.state.meaning is not None and not opened_s:
                opened_s = perf_counter() - began
    ready_s, cpu_s = perf_counter() - began, process_time() - began_cpu
    assert replica.state.meaning is not None, "it is ready"
    known = replica.state.meaning.index.stats
    grown = (rss_bytes(os.getpid()) - before) / 1e6
    print(f"ready       after {ready_s:.2f} s, of which the model {opened_s:.2f} s; knows {known.entries:,} entries")
    print(f"CPU         {cpu_s:.2f} s: on a busy machine it waits its turn besides")
    print(f"memory      {grown:.0f} MB measured with the model, {known.used_bytes / 1e6:.0f} MB counted")
    p50, p99 = np.quantile(lags, [0.5, 0.99])
    print(f"loop lag    p50 {p50:.2f} ms, p99 {p99:.2f} ms, worst {max(lags):.1f} ms")
    async for _ in RedisCache(link, keys).purge(Meant(team=_TEAM), []):
        pass
    await replica.state.aclose()
    await link.aclose()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.cache_replay", description=__doc__)
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/0", help="where the entries are written")
    parser.add_argument("--entries", type=int, default=100_000, help="cached questions")
    parser.add_argument("--scopes", type=int, default=1000, help="as many conversations they belong to")
    given = parser.parse_args(arguments)
    sys.setswitchinterval(_SWITCH_S)
    uvloop.run(run(given.redis, given.entries, given.scopes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
