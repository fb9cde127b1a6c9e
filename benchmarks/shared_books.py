"""`python -m benchmarks.shared_books URL`: what books on Redis take: CPU here and there, bytes, and the time of a
report. It works in a namespace of its own, in a Redis that should do nothing else, and leaves it there: use one to
throw away.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from random import Random
from time import perf_counter, process_time
from typing import Any, Final
from uuid import uuid4

from benchmarks.books import DAY_MS, DAYS, FIRST_MS, SPAN, settlement
from proxy.accounting.periods import Calendar
from proxy.accounting.report_query import Query
from proxy.accounting.reports import Reporter
from proxy.config import Config
from proxy.state import Booking, LedgerReports, LedgerStore, Position, decode_entry, encode_entry
from proxy.state.redis_client import open_client
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_ledger import RedisLedger
from proxy.state.redis_reports import RedisReports

#: Calls that the ledger folds at once, at 1,000 calls a second.
_FOLD: Final = 2000
_KINDS: Final = (":calls:", ":groups:", ":hours:", ":sums:", ":use:")


def measure_folding(client: Any, store: LedgerStore, rate: int, calls: int, rng: Random) -> Iterator[str]:
    """Calls of this moment, as the ledger brings them in: decoded from the journal's form, in folds."""
    entries = [encode_entry(settlement(FIRST_MS + number * 1000 // rate, rng)) for number in range(calls)]
    calendar = Calendar(UTC)

    def bookings(some: Sequence[bytes]) -> Iterator[Booking]:
        for data in some:
            one: Any = decode_entry(data)
            yield Booking(one, calendar.period(one.began_ms / 1000))

    busy_there, began, busy = _busy_s(client), perf_counter(), process_time()
    for at in range(0, calls, _FOLD):
        store.fold((), bookings(entries[at : at + _FOLD]), Position("bench", at))
    took_s, busy_s = perf_counter() - began, process_time() - busy
    there_us = (_busy_s(client) - busy_there) / calls * 1e6
    here_us = busy_s / calls * 1e6
    yield f"into the books: {calls / took_s:,.0f} calls/s; {here_us:.0f} µs of CPU a call, {there_us:.0f} µs of Redis'"


def measure_memory(client: Any, namespace: str, calls: int, spread_over: int) -> Iterator[str]:
    """What lies there, by kind of key."""
    sizes: dict[str, int] = {}
    for key in client.scan_iter(f"{{{namespace}*", count=1000):
        kind = next((kind for kind in _KINDS if kind in key.decode()), "other")
        sizes[kind] = sizes.get(kind, 0) + client.memory_usage(key, samples=0)
    rows = sum(client.strlen(key) for key in client.scan_iter(f"{{{namespace}*:sums:*", count=1000)) // 104
    yield f"a call: {sizes[':calls:'] / calls:,.0f} bytes"
    sums = sizes[":groups:"] + sizes[":hours:"] + sizes[":sums:"]
    yield f"a row of the sums: {sums / rows:,.0f} bytes ({rows:,} rows of {spread_over} days, by hour and by day)"


def measure_reports(reports: LedgerReports, call_id: str) -> Iterator[str]:
    """How long each question takes."""
    reporter = Reporter(reports, Config(version=1))
    made_s = FIRST_MS / 1000 + DAYS * 86_400
    questions: dict[str, Callable[[], object]] = {
        "sums by team, a month": lambda: reports.sums(SPAN, ("team",)),
        "sums by team, key, model, provider and day": lambda: reports.sums(
            SPAN, ("team", "key_name", "model", "provider"), "day"
        ),
        "sums by model and hour": lambda: reports.sums(SPAN, ("model",), "hour"),
        "sums by tag and month": lambda: reports.sums(SPAN, ("tag", "team"), "month", tag_key="env"),
        "use of every key and model": lambda: reports.use(SPAN),
        "one call by its id": lambda: reports.call(call_id),
        "one call by a name that is not there": lambda: reports.call("nobody's"),
        "what one provider was asked for, by credential and day": lambda: reports.charged(
            "openai", FIRST_MS, FIRST_MS + DAYS * DAY_MS
        ),
        "Σ calls = Σ sums": lambda: reports.drift(SPAN),
        "report by team": lambda: reporter.build(Query(SPAN, ("team",)), made_s, 100_000),
        "report by team, no call checked": lambda: reporter.build(Query(SPAN, ("team",)), made_s, 0),
    }
    for name, ask in questions.items():
        began = perf_counter()
        ask()
        yield f"{name}: {(perf_counter() - began) * 1e3:,.1f} ms"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print one line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared_books", description=__doc__)
    parser.add_argument("url", help="such as redis://127.0.0.1:6379/0")
    parser.add_argument("--calls", type=int, default=100_000, help="calls in the books")
    options = parser.parse_args(arguments)
    rng, client = Random(1), open_client(options.url)
    for rate in (500, 5000):
        store = RedisLedger(client, RedisKeys(f"bench{uuid4().hex}"), "bench", Calendar(UTC).counted)
        for line in measure_folding(client, store, rate, 20_000, rng):
            print(f"at {rate:,} calls a second, {line}", flush=True)
    keys = RedisKeys(f"bench{uuid4().hex}")
    month = RedisLedger(client, keys, "bench", Calendar(UTC).counted)
    spread = [settlement(FIRST_MS + at * DAYS * DAY_MS // options.calls, rng) for at in range(options.calls)]
    calendar = Calendar(UTC)
    month.fold((), (Booking(one, calendar.period(one.began_ms / 1000)) for one in spread), Position())
    for line in measure_memory(client, keys.namespace, options.calls, DAYS):
        print(line, flush=True)
    for line in measure_reports(RedisReports(client, keys), spread[0].call_id):
        print(line, flush=True)
    client.close()
    return 0


def _busy_s(client: Any) -> float:
    """CPU that Redis has had, in seconds."""
    used = client.info("cpu")
    return float(used["used_cpu_sys"] + used["used_cpu_user"])


if __name__ == "__main__":
    sys.exit(main())
