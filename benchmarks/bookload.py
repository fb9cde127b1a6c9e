"""What keeping books costs a gateway that is at work: CPU of all threads and of the event loop's, by the call.

One loop begins calls at a rate, each with an intent, a while of waiting and a settlement whose write is awaited, while
the ledger folds in the same process. The same calls are made without books first; what is printed is the difference.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from random import Random
from resource import RUSAGE_SELF, getrusage
from statistics import median, quantiles
from time import clock_gettime, perf_counter, process_time, pthread_getcpuclockid
from typing import Final, NamedTuple

import uvloop

from proxy.accounting.journal import Journal
from proxy.accounting.ledger import Ledger
from proxy.accounting.periods import Calendar
from proxy.state import Intent, Settlement, SqliteLedger

#: How long a call takes on average, in seconds: about as long as a short answer.
_CALL_S: Final = 1.0
_LONGEST_S: Final = 5.0
#: Work at each end of a call, which the loop does with or without books: about 20 µs, so that threads meet as they do.
_ROUNDS: Final = 1500
_TURNS: Final = 3


#: Makes what is recorded of a call.
Maker = Callable[[Random], tuple[Intent, Settlement]]


class Load(NamedTuple):
    """What some calls took, in µs."""

    costs: Mapping[str, float]  #: by the call
    entries: Sequence[float]  #: how long each entry kept the loop
    waits: Sequence[float]  #: how long each end waited for its write, its entry included
    stalls: Sequence[float]  #: how long each piece of the loop's work took


class _Calls:
    """Makes calls, with books or without."""

    def __init__(self, journal: Journal | None, make: Maker, rng: Random) -> None:
        self._journal = journal
        self._make = make
        self._rng = rng
        self.entries: list[float] = []
        self.waits: list[float] = []
        self.stalls: list[float] = []

    async def run(self, calls: int, rate: int) -> None:
        """Begin so many at this rate; return when all are over."""
        began = perf_counter()
        async with asyncio.TaskGroup() as group:
            for at in range(calls):
                ahead_s = began + at / rate - perf_counter()
                if ahead_s > 0:
                    await asyncio.sleep(ahead_s)
                group.create_task(self._call())

    async def _call(self) -> None:
        self._work()
        intent, settlement = self._make(self._rng)
        began = perf_counter()
        if self._journal is not None:
            self._journal.intend(intent)
        self.entries.append((perf_counter() - began) * 1e6)
        await asyncio.sleep(min(self._rng.expovariate(1 / _CALL_S), _LONGEST_S))
        self._work()
        settlement = replace(settlement, ended_ms=settlement.began_ms + 1000)  # made now, as a gateway makes it
        began = perf_counter()
        if self._journal is not None:
            token = self._journal.settle(settlement)
            settled = perf_counter()
            await self._journal.written(token)
            self.entries.append((settled - began) * 1e6)
        self.waits.append((perf_counter() - began) * 1e6)

    def _work(self) -> None:
        began = perf_counter()
        for _ in range(_ROUNDS):
            pass
        self.stalls.append((perf_counter() - began) * 1e6)


def measure_load(store: SqliteLedger, folder: Path, make: Maker, rate: int, load_s: int) -> Iterator[str]:
    """What calls cost in the books, at so many a second. They are made in turns, with books and without."""
    without, with_books = [], []
    with _settings_of_the_server():
        for turn in range(_TURNS):
            calls = rate * load_s // _TURNS
            without.append(_measure(None, None, _Calls(None, make, Random(turn)), calls, rate))
            journal = Journal(folder / str(turn))
            ledger = Ledger(journal, store, Calendar(UTC), lease_s=10**9)
            with_books.append(_measure(journal, ledger, _Calls(journal, make, Random(turn)), calls, rate))
            journal.release()
    before, cost = _median(without), _median(with_books)
    parts = (f"{name} {value - before.get(name, 0):.1f}" for name, value in cost.items())
    yield f"at {rate:,} calls/s, a call: {', '.join(parts)}"
    for name in ("entries", "waits", "stalls"):
        yield f"at {rate:,} calls/s, {name}: {_spread(with_books, name)}; without books {_spread(without, name)}"


@contextmanager
def _settings_of_the_server() -> Iterator[None]:
    """The collector and the threads take turns as `waystation serve` has it (`proxy/cli/serve.py`)."""
    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(0.001)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval_s)


def _median(loads: Sequence[Load]) -> Mapping[str, float]:
    return {name: median(one.costs[name] for one in loads) for name in loads[0].costs}


def _spread(loads: Sequence[Load], name: str) -> str:
    values = [value for one in loads for value in getattr(one, name)]
    cuts = quantiles(values, n=1000)
    return f"{median(values):.1f} µs, p99 {cuts[989]:,.0f}, p99.9 {cuts[998]:,.0f}, at most {max(values):,.0f}"


def _measure(journal: Journal | None, ledger: Ledger | None, made: _Calls, calls: int, rate: int) -> Load:
    """`journal` and `ledger` are closed behind it, which is part of what they cost."""
    used, busy_s = getrusage(RUSAGE_SELF), process_time()
    if ledger is not None:
        ledger.start()
    before = _threads()
    uvloop.run(made.run(calls, rate))
    threads = {name: took_s - before.get(name, 0) for name, took_s in _threads().items()}
    if journal is not None and ledger is not None:
        journal.close()
        ledger.close(60)
    now = getrusage(RUSAGE_SELF)
    costs = {"all threads": process_time() - busy_s, "in the kernel": now.ru_stime - used.ru_stime, **threads}
    by_call = {f"{name} (µs)": took_s / calls * 1e6 for name, took_s in costs.items()}
    by_call["switches of threads"] = (now.ru_nvcsw - used.ru_nvcsw) / calls
    return Load(by_call, made.entries, made.waits, made.stalls)


def _threads() -> dict[str, float]:
    """CPU of each thread that runs, in seconds."""
    return {
        one.name: clock_gettime(pthread_getcpuclockid(one.ident))
        for one in threading.enumerate()
        if one.ident is not None
    }
