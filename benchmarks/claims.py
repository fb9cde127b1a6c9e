"""`python -m benchmarks.claims redis://…`: CPU time of the gateway's process for the rates and quotas of one call, kept
in its own memory and in Redis, by how many calls are made at once. Of the rest of a call only bookkeeping is in both.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from time import monotonic, process_time, time
from typing import Final
from uuid import uuid4

import uvloop

from benchmarks.settling import a_call
from proxy.accounting import Calendar, Ceiling, Limits, MeterName, Prices, Quotas, QuotaTerms, Rates, Tally, Tariff
from proxy.accounting.journal import Journal
from proxy.call import Answer, Call, Handler, Middleware, chain
from proxy.chain import (
    Allotments,
    Bookkeeper,
    Claims,
    Grants,
    Limiter,
    Meters,
    Scale,
    Share,
    Spending,
    TagReader,
    rates_of,
)
from proxy.observe import Metrics
from proxy.state.redis_claims import RedisClaims
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_place import read_redis_url

_CALLS: Final = 4000
_ROUNDS: Final = 7
_CLIENTS: Final = (1, 8, 64)
_LIMITS: Final[dict[MeterName, Limits]] = {
    ("search",): Limits(10**8, 10**12, 10**6),
    ("search", "ci"): Limits(10**8, 10**12, None),
}
_TERMS: Final = (
    QuotaTerms(("search",), "usd", 10**15, "month"),
    QuotaTerms(("search", "ci"), "tokens", 10**14, "day"),
)
_PRICE: Final = Tariff.of(Prices(Rates.of(Decimal(1), Decimal(2)), "config", "config:6e69d290"))
_ANSWER: Final = Answer(200, (), "upstream")


class _Stand:
    """The layers of one mode, and what they are made of."""

    def __init__(self, journal: Journal, link: Link | None) -> None:
        self._quotas = Quotas(Tally(Calendar(UTC), time()), lambda one, level: None)
        self._quotas.adapt(_TERMS)
        self._quotas.advance(time())
        self._scales = {"chat": Scale(Ceiling(lambda: [_PRICE]), 500, 10_000)}
        self._journal, self._metrics, self._meters = journal, Metrics(), Meters(monotonic)
        keeper = Bookkeeper(journal, self._quotas, self._scales, {}, TagReader(()), monotonic, time)
        kept = self._in_memory() if link is None else [self._in_redis(link, keeper)]
        layers: list[Middleware] = [keeper, *kept]
        self.handler: Handler = chain(layers, _route)

    def _in_memory(self) -> list[Middleware]:
        self._meters.adapt(_LIMITS)
        grants = Grants(self._quotas, None)
        return [
            Limiter(self._meters, _LIMITS, self._metrics),
            Spending(self._quotas, grants, self._scales, self._journal, self._metrics, time),
        ]

    def _in_redis(self, link: Link, keeper: Bookkeeper) -> Claims:
        share = Share(self._meters, _LIMITS, Allotments(monotonic), 0.01, lambda: 1, self._metrics)
        return Claims(
            store=RedisClaims(link, RedisKeys(f"bench{uuid4().hex}")),
            share=share,
            rates=rates_of(_LIMITS),
            meters=self._meters,
            quotas=self._quotas,
            grants=Grants(self._quotas, None),
            scales=self._scales,
            calendar=Calendar(UTC),
            journal=self._journal,
            intent_of=keeper.intent_of,
            metrics=self._metrics,
            wall_clock=time,
        )


async def _route(call: Call, /) -> Answer:
    return _ANSWER


async def _serve(handler: Handler, call: Call) -> None:
    """As the answer writer does it."""
    await handler(call)
    for step in call.on_last_byte:
        step()
    call.on_last_byte.clear()
    if call.record is not None:
        await call.record(call)
    await call.closing.aclose()


async def _cpu_us(handler: Handler, clients: int, first: int) -> float:
    """Of one call, so many at a time."""
    calls = [a_call(first + number) for number in range(_CALLS)]

    async def client(own: Sequence[Call]) -> None:
        for call in own:
            await _serve(handler, call)
            await asyncio.sleep(0)

    began_s = process_time()
    await asyncio.gather(*(client(calls[at::clients]) for at in range(clients)))
    return (process_time() - began_s) / _CALLS * 1e6


async def measure(url: str, folder: Path) -> dict[int, tuple[float, float]]:
    """By clients: microseconds of a call in memory and in Redis, the best of some rounds, taken in turn."""
    place = read_redis_url(url)
    if place is None:
        raise SystemExit("expected a URL such as redis://127.0.0.1:6379/0")
    link, journal = Link(place, timeout_s=5.0), Journal(folder / "journal")
    await link.start()
    stands = _Stand(journal, None), _Stand(journal, link)
    found: dict[int, tuple[float, float]] = {}
    number = 0
    for clients in _CLIENTS:
        best = [float("inf")] * 2
        for _ in range(_ROUNDS):
            for at, stand in enumerate(stands):
                best[at] = min(best[at], await _cpu_us(stand.handler, clients, number))
                number += _CALLS
                if not link.is_away:
                    await link.ask("PING")
        found[clients] = best[0], best[1]
    await link.aclose()
    journal.close()
    journal.release()
    return found


def main(arguments: Sequence[str]) -> None:
    """Print a table."""
    if len(arguments) != 1:
        raise SystemExit("usage: python -m benchmarks.claims redis://HOST:PORT/DB")
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(measure(arguments[0], Path(folder)))
    print("clients   memory   Redis   more (µs of CPU a call)")
    for clients, (memory_us, redis_us) in found.items():
        print(f"{clients:7}  {memory_us:7.1f} {redis_us:7.1f} {redis_us - memory_us:6.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
