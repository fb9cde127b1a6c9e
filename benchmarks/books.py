"""`python -m benchmarks.books`: what the journal costs the event loop, how fast the ledger takes it in, and how soon a
report is there; with `--load`, what all of that costs a gateway at work (`bookload.py`). Works in a temporary
directory, or in one below `--folder`; a million calls take 0.6 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date
from pathlib import Path
from random import Random
from statistics import median, quantiles
from time import perf_counter, process_time, time
from typing import Final

import uvloop

from benchmarks.bookload import measure_load
from proxy.accounting.journal import Journal
from proxy.accounting.ledger import Ledger
from proxy.accounting.periods import Calendar
from proxy.accounting.report_query import Query
from proxy.accounting.reports import Reporter
from proxy.config import Config
from proxy.state import (
    AttemptEntry,
    Booking,
    Granularity,
    Intent,
    Payer,
    Position,
    Settlement,
    Span,
    SqliteLedger,
    SqliteReports,
)

#: 2026-11-01, and the days from it on over which calls are spread.
FIRST_MS: Final = 1_793_491_200_000
DAYS: Final = 28
DAY_MS: Final = 86_400_000
SPAN: Final = Span(date(2026, 11, 1), date(2026, 12, 1))
_PAYERS: Final = tuple(
    Payer(f"team-{team}", f"key-{key}", str(4000 + team), {"env": "prod" if key else "test"})
    for team in range(20)
    for key in range(3)
)
_MODELS: Final = ("chat", "chat-mini", "chat-large", "embed")
_PROVIDERS: Final = ("openai", "azure", "claude", "qwen")
_BATCH: Final = 2000
_SECOND_ATTEMPTS: Final = 0.1


def settlement(began_ms: int, rng: Random) -> Settlement:
    """A call like many; one in ten took two attempts."""
    call_id = f"req_{began_ms:012x}{rng.getrandbits(80):020x}"  # as `proxy.chain.new_id` makes it
    model = rng.choice(_MODELS)
    cost_nusd = rng.randrange(1_000_000)
    first = AttemptEntry(
        target="openai/gpt-4o-mini",
        provider=rng.choice(_PROVIDERS),
        role="first",
        metering="reported",
        cost_nusd=cost_nusd,
        low_nusd=cost_nusd,
        high_nusd=cost_nusd,
        uncached_tokens=1000,
        visible_tokens=200,
        credential_id="1a2b3c4d",
        upstream_id=f"chatcmpl-{rng.getrandbits(116):029x}",
        service_tier="default",
        price_version="2026-11-01",
        is_answer=True,
    )
    attempts: tuple[AttemptEntry, ...] = (first,)
    if rng.random() < _SECOND_ATTEMPTS:
        attempts = (AttemptEntry("qwen/qwen-plus", "qwen", "first", "unmetered", error="upstream_timeout"), first)
    return Settlement(
        call_id=call_id,
        request_id=call_id,
        began_ms=began_ms,
        ended_ms=began_ms + 1000,
        payer=rng.choice(_PAYERS),
        model=model,
        asked_model=model,
        status=200,
        source="upstream",
        is_stream=True,
        first_ms=300,
        ttft_ms=300,
        duration_ms=1000,
        attempts=attempts,
    )


def _instant(number: int, calls: int) -> int:
    """When the call of this number began, in Unix milliseconds, if so many are spread over the month."""
    return FIRST_MS + number * DAYS * DAY_MS // calls


def intent_of(one: Settlement) -> Intent:
    """How the call began."""
    return Intent(one.call_id, one.request_id, one.began_ms, one.payer, one.model, one.is_stream, 10**6, 1000, 4000)


async def measure_journal(journal: Journal, settlements: Sequence[Settlement]) -> Iterator[str]:
    """What a call costs on the loop, and how long its end waits for the write."""
    intents = [intent_of(one) for one in settlements]
    began = perf_counter()
    for intent, one in zip(intents, settlements, strict=True):
        journal.intend(intent)
        journal.settle(one)
    enter_us = (perf_counter() - began) / len(settlements) / 2 * 1e6
    while journal.unwritten:
        await asyncio.sleep(0.01)
    waits_us = []
    busy = process_time()
    for one in settlements[:2000]:
        await asyncio.sleep(0.0005)
        began = perf_counter()
        await journal.written(journal.settle(one))
        waits_us.append((perf_counter() - began) * 1e6)
    busy_us = (process_time() - busy) / len(waits_us) * 1e6
    cuts = quantiles(waits_us, n=100)
    return iter(
        (
            f"an entry, on the loop: {enter_us:.2f} µs",
            f"a settlement waits for its write: {median(waits_us):.0f} µs, p99 {cuts[98]:.0f} µs",
            f"CPU of that, all threads and a timer of the loop: {busy_us:.0f} µs",
        )
    )


def measure_folding(journal: Journal, store: SqliteLedger, calls: int) -> str:
    """How fast calls come from the journal into the books."""
    ledger = Ledger(journal, store, Calendar(UTC), lease_s=10**9)
    began, busy = perf_counter(), process_time()
    ledger.fold()
    took_s = perf_counter() - began
    busy_us = (process_time() - busy) / calls * 1e6
    return f"from the journal to the books: {calls / took_s:,.0f} calls/s, {busy_us:.0f} µs of CPU each"


def measure_ingest(store: SqliteLedger, calls: int, rng: Random) -> str:
    """How fast the books grow, calls with their attempts."""
    calendar, took_s, rows = Calendar(UTC), 0.0, 0
    for at in range(0, calls, _BATCH):
        settlements = [settlement(_instant(number, calls), rng) for number in range(at, min(calls, at + _BATCH))]
        bookings = [Booking(one, calendar.period(one.began_ms / 1000)) for one in settlements]
        rows += sum(1 + len(one.attempts) for one in settlements)
        began = perf_counter()
        store.fold((), bookings, Position())
        took_s += perf_counter() - began
    return f"{calls:,} calls into the books: {calls / took_s:,.0f} calls/s, {rows / took_s:,.0f} rows/s"


def measure_reports(reports: SqliteReports, call_id: str) -> Iterator[str]:
    """How long each question takes."""
    reporter = Reporter(reports, Config(version=1))
    made_s = FIRST_MS / 1000 + DAYS * 86_400

    def report(*group_by: str, granularity: Granularity = "total", check_calls: int = 100_000) -> object:
        return reporter.build(Query(SPAN, group_by, granularity), made_s, check_calls)

    questions: dict[str, Callable[[], object]] = {
        "sums by team, a month": lambda: reports.sums(SPAN, ("team",)),
        "sums by team, key, model, provider and day": lambda: reports.sums(
            SPAN, ("team", "key_name", "model", "provider"), "day"
        ),
        "sums by model and hour": lambda: reports.sums(SPAN, ("model",), "hour"),
        "sums by tag and month": lambda: reports.sums(SPAN, ("tag", "team"), "month", tag_key="env"),
        "use of every key and model": lambda: reports.use(SPAN),
        "one call by its id": lambda: reports.call(call_id),
        "what was booked late": lambda: reports.late(SPAN, ("team",)),
        "what one provider was asked for, by credential and day": lambda: reports.charged(
            "openai", FIRST_MS, FIRST_MS + DAYS * DAY_MS
        ),
        "Σ calls = Σ sums": lambda: reports.drift(SPAN),
        "report by team": lambda: report("team"),
        "report by team, model, provider and day": lambda: report("team", "model", "provider", granularity="day"),
        "the same, no call checked": lambda: report("team", "model", "provider", granularity="day", check_calls=0),
        "report by team and month": lambda: report("team", granularity="month"),
        "report by model and hour": lambda: report("model", granularity="hour"),
    }
    for name, ask in questions.items():
        began = perf_counter()
        ask()
        yield f"{name}: {(perf_counter() - began) * 1e3:,.1f} ms"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print one line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.books", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000, help="calls in the books")
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's temporary directory")
    parser.add_argument("--load", type=int, metavar="SECONDS", help="only what books cost at work, for so long a rate")
    parser.add_argument("--rates", type=int, nargs="+", default=(500, 5000), help="calls a second, with --load")
    options = parser.parse_args(arguments)
    rng = Random(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        store = SqliteLedger(folder / "books.db")
        for line in (_at_work if options.load else _apart)(folder, store, options, rng):
            print(line, flush=True)
        store.close()
    return 0


def _apart(folder: Path, store: SqliteLedger, options: argparse.Namespace, rng: Random) -> Iterator[str]:
    """Each part by itself."""
    calls = options.calls
    journal = Journal(folder / "journal")
    few = [settlement(_instant(number, 20_000), rng) for number in range(min(20_000, calls))]
    yield from uvloop.run(measure_journal(journal, few))
    first = SqliteLedger(folder / "first.db")
    yield measure_folding(journal, first, len(few))
    journal.close()
    journal.release()
    first.close()
    yield measure_ingest(store, calls, rng)
    store.fold((), [Booking(few[0], Calendar(UTC).period(few[0].began_ms / 1000))], Position())
    yield from measure_reports(SqliteReports(folder / "books.db"), few[0].call_id)
    yield f"size: {(folder / 'books.db').stat().st_size / calls:,.0f} bytes a call"


def _at_work(folder: Path, store: SqliteLedger, options: argparse.Namespace, rng: Random) -> Iterator[str]:
    """All of it in a gateway at work, whose books hold some calls."""
    yield measure_ingest(store, options.calls, rng)
    for rate in options.rates:
        yield from measure_load(store, folder / str(rate), _made_now, rate, options.load)


def _made_now(rng: Random) -> tuple[Intent, Settlement]:
    made = settlement(int(time() * 1000), rng)
    return intent_of(made), made


if __name__ == "__main__":
    sys.exit(main())
