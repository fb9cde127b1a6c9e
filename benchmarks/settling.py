"""`python -m benchmarks.settling`: what the accounting of one call costs the event loop: reserving, intent, settling,
journal. Everything else is left out.
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from time import monotonic, perf_counter, time
from typing import Final

from proxy.accounting import Calendar, Ceiling, Prices, Quotas, QuotaTerms, Rates, Tally, Tariff
from proxy.accounting.journal import Journal
from proxy.call import Answer, Attempt, Call, Handler, Middleware, Principal, chain
from proxy.chain import Bookkeeper, Grants, Scale, Spending, TagReader
from proxy.chain.bookkeeping import Intents
from proxy.observe import Metrics
from proxy.wire.chat import ChatRequest
from proxy.wire.usage import Usage

_CALLS: Final = 2000
_ROUNDS: Final = 9
_TERMS: Final = (
    QuotaTerms(("search",), "usd", 10**15, "month"),
    QuotaTerms(("search",), "tokens", 10**12, "day"),
)
_PRICE: Final = Tariff.of(Prices(Rates.of(Decimal(1), Decimal(2)), "config", "config:6e69d290"))
_USAGE: Final = Usage(10, 5, cached_tokens=100)
_ANSWER: Final = Answer(200, (), "upstream")


def a_call(number: int) -> Call:
    """A call whose one attempt has been answered."""
    request = ChatRequest({"model": "chat", "messages": []}, "chat", False, False, 1, 300)
    call_id = f"req_{number:032x}"
    call = Call(call_id, call_id, monotonic(), {}, request, "chat", Principal("search", "ci", None))
    attempt = Attempt("openai/gpt-4o", "gpt-4o", "openai", monotonic(), usage=_USAGE, cost_nusd=5, price=_PRICE)
    attempt.credential_id, attempt.upstream_id = "k1", "chatcmpl-7a78f2c506e121e1883b07ca59079"
    call.attempts, call.answered, call.status = [attempt], attempt, 200
    call.first_block_at = call.received_at
    return call


async def _serve(handler: Handler, call: Call) -> None:
    """As the answer writer does it."""
    await handler(call)
    for step in call.on_last_byte:
        step()
    call.on_last_byte.clear()
    if call.record is not None:
        await call.record(call)
    await call.closing.aclose()


async def _best_us(layers: list[Middleware]) -> float:
    async def route(call: Call, /) -> Answer:
        return _ANSWER

    handler, best_s = chain(layers, route), float("inf")
    for at in range(_ROUNDS):
        calls = [a_call(at * _CALLS + number) for number in range(_CALLS)]
        began_at = perf_counter()
        for call in calls:
            await _serve(handler, call)
        best_s = min(best_s, (perf_counter() - began_at) / _CALLS)
    return best_s * 1e6


async def measure(folder: Path) -> dict[str, float]:
    """Microseconds of a call: without quotas, and with two; the best of some rounds."""
    journal, nothing_us, found = Journal(folder / "journal"), await _best_us([]), {}
    for name, terms in (("no quotas", ()), ("two quotas", _TERMS)):
        quotas = Quotas(Tally(Calendar(UTC), time()), lambda one, level: None)
        quotas.adapt(terms)
        quotas.advance(time())
        scales = {"chat": Scale(Ceiling(lambda: [_PRICE]), 500, 10_000)}
        keeper = Bookkeeper(journal, quotas, scales, {}, TagReader(()), monotonic, time)
        spending = Spending(quotas, Grants(quotas, None), scales, journal, Metrics(), time)
        layers: list[Middleware] = [keeper, *([spending] if terms else []), Intents(keeper)]
        found[name] = await _best_us(layers) - nothing_us
    journal.close()
    journal.release()
    return found


def main() -> None:
    """Print it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, us in asyncio.run(measure(Path(folder))).items():
            print(f"reserve + intent + settle + journal, {name}: {us:.1f} µs a call")


if __name__ == "__main__":
    main()
