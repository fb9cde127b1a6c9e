"""One of several processes that race for a quota and a rate. Not a test: `test_claims.py` starts it.

    python claim_racer.py URL NAMESPACE NUMBER

Prints, as JSON, what its calls came to.
"""

from __future__ import annotations

import asyncio
import json
import sys
from random import Random

from proxy.state import Intent, Payer, QuotaPlace, RateTerms, Verdict, encode_entry
from proxy.state.redis_claims import RedisClaims
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_place import read_redis_url

CLIENTS = 64
SIZE, BOUND = 2_000_000, 1_000
RPM, TRIES = 2_000, 100
MONTH, EXPIRES_S = "month:2026-11-01", 4_000_000_000
PERIODS = ("day:2026-11-21", EXPIRES_S, "week:2026-11-16", EXPIRES_S, MONTH, EXPIRES_S)


async def spend(claims: RedisClaims, name: str, rng: Random) -> tuple[int, int]:
    """Calls, and what they came to, until the quota is spent."""
    terms = claims.terms("money", (RateTerms("", 0, 10**9, 10_000),), (QuotaPlace(MONTH, EXPIRES_S, "usd\n", SIZE),))
    calls = spent = 0
    while True:
        call = f"{name}-{calls}"
        entry = encode_entry(Intent(call, call, 0, Payer("money", "ci"), "chat"))
        told = await claims.claim(terms, call, 100, (BOUND, 1), entry)
        used, held = told.standing[-2:]
        assert used + held <= SIZE, "never more than that"
        if told.verdict == Verdict.ADMITTED:
            calls += 1
            await asyncio.sleep(rng.random() * 0.005)
            cost = rng.randint(0, BOUND)
            if rng.random() < 0.1 and await claims.extend(terms, call, 2, (BOUND, 1)):
                cost += rng.randint(0, BOUND)
            claims.settle("money", call, 50, "ci", "chat", (cost, 1), PERIODS)
            spent += cost
        elif used + BOUND > SIZE:
            return calls, spent
        else:  # others hold the rest
            await asyncio.sleep(0.001)


async def hit(claims: RedisClaims, name: str) -> int:
    """How many of so many calls are let in."""
    terms, admitted = claims.terms("rates", (RateTerms("", RPM, 0, 0),), ()), 0
    for number in range(TRIES):
        told = await claims.claim(terms, f"{name}-{number}", 0, (0, 0), b"")
        if told.verdict == Verdict.ADMITTED:
            admitted += 1
            claims.settle("rates", f"{name}-{number}", None, "ci", "chat", (0, 0), PERIODS)
    return admitted


async def main(url: str, namespace: str, number: str) -> None:
    place = read_redis_url(url)
    assert place is not None
    link = Link(place, timeout_s=10.0)
    await link.start()
    claims, rng = RedisClaims(link, RedisKeys(namespace)), Random(number)
    spent = await asyncio.gather(*(spend(claims, f"{number}-{at}", rng) for at in range(CLIENTS)))
    admitted = await asyncio.gather(*(hit(claims, f"{number}-{at}") for at in range(CLIENTS)))
    await link.ask("PING")  # behind all that was sent
    calls, money = (sum(one[at] for one in spent) for at in (0, 1))
    found = {"calls": calls, "spent": money, "admitted": sum(admitted), "unheard": link.unheard}
    sys.stdout.write(json.dumps(found))
    await link.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
