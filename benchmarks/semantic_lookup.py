"""What a look-up by meaning costs in one large scope: `python -m benchmarks.semantic_lookup`. Questions from templates,
half of them Chinese; every search is for another wording of one that is there. Takes three minutes, mostly to embed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter, sleep, thread_time
from typing import Final

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.procfs import rss_bytes
from benchmarks.questions import question
from proxy.cache.nearest import open_index
from proxy.cache.nearest.collection import Collection
from proxy.cache.nearest.embedder import cut
from proxy.cache.nearest.index import Index
from proxy.cache.nearest.scope import Entry

_SCOPE: Final = b"benchmark"
_TEAM: Final = "search"
_BUDGET_BYTES: Final = 1_000_000_000
_FOREVER: Final = 1e12
_WAIT_S: Final = 10.0
_NEAREST: Final = 8
#: Searches are for every so many-th question.
_EVERY: Final = 97
#: As `serve` sets it.
_SWITCH_S: Final = 0.001
_TICK_S: Final = 0.001

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Times:
    """Of many measurements, in milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1e3
        return cls(float(p50), float(p99))

    def __str__(self) -> str:
        return f"p50 {self.p50:6.2f} ms, p99 {self.p99:6.2f} ms"


def timed(job: Callable[[str], object], texts: Sequence[str]) -> str:
    """How long the job takes for each text, and how much of that is work: on a busy machine it also waits its turn."""
    elapsed, worked = [], []
    for text in texts:
        began, began_cpu = perf_counter(), thread_time()
        job(text)
        elapsed.append(perf_counter() - began)
        worked.append(thread_time() - began_cpu)
    return f"{Times.of(elapsed)}; CPU {Times.of(worked)}"


def exact(known: Vectors, vector: Vectors) -> set[int]:
    """The nearest of all, by every number."""
    return set(np.argsort(-(known @ vector), kind="stable")[:_NEAREST].tolist())


def recall(collection: Collection, known: Vectors, asked: Sequence[tuple[str, Vectors]]) -> float:
    """Share of the 8 nearest that a look-up finds."""
    shares = []
    for text, vector in asked:
        found = collection.search(_SCOPE, text, vector[None], None, 0.0).candidates
        ids = {int.from_bytes(one.entry_id) for one in found}
        shares.append(len(ids & exact(known, vector)) / _NEAREST)
    return float(np.mean(shares))


async def lag_of(work: Callable[[], object]) -> Times:
    """How late the event loop is while the work is done on a thread."""
    loop = asyncio.get_running_loop()
    done = loop.run_in_executor(None, work)
    seconds = []
    while not done.done():
        due = perf_counter() + _TICK_S
        await asyncio.sleep(_TICK_S)
        seconds.append(max(0.0, perf_counter() - due))
    await done
    return Times.of(seconds)


def fill(collection: Collection, vectors: Vectors) -> float:
    """Every question with its vector. Entries a second."""
    began = perf_counter()
    for number, vector in enumerate(vectors):
        entry = Entry(number.to_bytes(32), _SCOPE, _TEAM, question(number), _FOREVER)
        collection.add(entry, vector, 0.0)
    return len(vectors) / (perf_counter() - began)


async def run(entries: int, searches: int) -> None:
    """Measure and print."""
    began, before = perf_counter(), rss_bytes(os.getpid())
    index: Index = await open_index(_BUDGET_BYTES, _WAIT_S)
    encode, collection = index.embedder._encode, index._collection  # type: ignore[attr-defined]
    print(f"loaded in {perf_counter() - began:.2f} s, {(rss_bytes(os.getpid()) - before) / 1e6:.0f} MB")

    began = perf_counter()
    vectors: Vectors = encode([question(number) for number in range(entries)])
    print(f"embedded {entries:,} texts together, {entries / (perf_counter() - began):,.0f} a second")
    before = rss_bytes(os.getpid())
    rate = fill(collection, vectors)
    grown, used = rss_bytes(os.getpid()) - before, collection.stats.used_bytes
    print(f"indexed {rate:,.0f} a second; {grown / 1e6:.0f} MB measured, {used / 1e6:.0f} MB counted")

    texts = [question(number * _EVERY % entries, 1) for number in range(searches)]
    asked = [(text, encode([cut(text)])[0]) for text in texts]
    by_text = dict(asked)
    scope = collection._scopes[_SCOPE]
    lexical = scope._lexical
    assert lexical is not None
    search = lambda text: collection.search(_SCOPE, text, by_text[text][None], None, 0.0)  # noqa: E731
    print(f"recall of the 8 nearest {recall(collection, vectors, asked[:200]):.4f}")
    print(f"embedding one text      {timed(lambda text: encode([text]), texts)}")
    print(f"look-up beyond that     {timed(search, texts)}")
    print(f"  by meaning            {timed(lambda text: scope._matrix.nearest(by_text[text], _NEAREST), texts)}")
    print(f"  by words              {timed(lambda text: lexical.nearest(text, _NEAREST), texts)}")
    seconds = []
    for text in texts:
        began = perf_counter()
        await index.nearest(_SCOPE, text, 0.0)
        seconds.append(perf_counter() - began)
    print(f"all of it, from the loop {Times.of(seconds)}")
    print(f"loop lag, idle          {await lag_of(partial(sleep, 1))}")
    print(f"loop lag, embedding     {await lag_of(lambda: timed(lambda text: encode([text]), texts))}")
    print(f"loop lag, searching     {await lag_of(lambda: timed(search, texts))}")
    began = perf_counter()
    collection.remove([number.to_bytes(32) for number in range(0, entries, 10)])
    print(f"removing                {(perf_counter() - began) / (entries // 10) * 1e6:.0f} µs each")
    await index.aclose()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.semantic_lookup", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000, help="texts in the scope")
    parser.add_argument("--searches", type=int, default=1000, help="texts that are looked up")
    given = parser.parse_args(arguments)
    sys.setswitchinterval(_SWITCH_S)
    uvloop.run(run(given.entries, given.searches))
    return 0


if __name__ == "__main__":
    sys.exit(main())
