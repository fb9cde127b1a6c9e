"""Rates and quotas that several processes share through a real Redis."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import redis

from proxy.state.redis_claims import RedisClaims
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_place import read_redis_url
from tests.gateways import CONFIG, KEY, Rig, chat_body
from tests.integration import claim_racer
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.integration
WORKERS = 4
LIMITED = CONFIG.replace(
    "models: [chat]}\n  sales",
    "models: [chat], limits: {rpm: 4}, quotas: [{usd: 500, per: month, warn_at: [1%]}]}\n  sales",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as started:
        yield started


def race(server: RedisServer, namespace: str) -> list[dict[str, int]]:
    """What each of the processes came to, while Redis forgets its scripts again and again."""
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "tests/integration/claim_racer.py"), server.url, namespace]
    environment = os.environ | {"PYTHONPATH": str(root)}
    racers = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, cwd=root, env=environment)
        for number in range(WORKERS)
    ]
    with server.client as client:
        while any(racer.poll() is None for racer in racers):
            client.script_flush()
            sleep(0.05)
    outputs = [racer.communicate()[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * WORKERS
    return [json.loads(output) for output in outputs]


def test_processes_that_race_for_a_quota_never_exceed_it_and_leave_less_than_one_reservation(
    server: RedisServer,
) -> None:
    found = race(server, "race")
    spent, calls = (sum(one[name] for one in found) for name in ("spent", "calls"))
    with server.client as client:

        def counts(name: str) -> dict[bytes, int]:
            answer: Any = client.hgetall(f"{{race/money}}:{name}")
            return {field: int(value) for field, value in answer.items()}

        assert counts(f"quota:{claim_racer.MONTH}") == {b"usd\n": spent}
        assert claim_racer.SIZE - claim_racer.BOUND < spent <= claim_racer.SIZE
        assert counts(f"held:{claim_racer.MONTH}") == {b"usd\n": 0}
        use = counts(f"use:{claim_racer.MONTH}")
        assert (use[b"ci\nchat\nnusd"], use[b"ci\nchat\ncalls"]) == (spent, calls)
        assert not client.exists("{race/money}:leases", "{race/rates}:leases")
        assert not list(client.scan_iter("*:claim:*"))
    assert sum(one["admitted"] for one in found) == claim_racer.RPM
    assert all(one["calls"] and one["unheard"] == 0 for one in found)


@asynccontextmanager
async def gateway(server: RedisServer, timeout_s: float = 10.0) -> AsyncIterator[Rig]:
    """One replica, whose housekeeping runs."""
    place = read_redis_url(server.url)
    assert place is not None
    link = Link(place, timeout_s)
    await link.start()
    rig = Rig(LIMITED, claims=RedisClaims(link, RedisKeys("way")))
    await rig.gateway.start()
    try:
        yield rig
    finally:
        await rig.gateway.aclose()
        await link.aclose()


async def ask(rig: Rig) -> tuple[int, dict[str, str]]:
    async with rig.client(KEY) as client:
        answer = await client.post("/v1/chat/completions", json=chat_body())
    return answer.status_code, {
        name.removeprefix("x-ratelimit-"): value
        for name, value in answer.headers.items()
        if name.startswith("x-ratelimit-")
    }


async def until(what: Any, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await what():
            await asyncio.sleep(0.05)


async def test_replicas_keep_one_limit_and_one_quota_together(server: RedisServer) -> None:
    async with gateway(server) as first, gateway(server) as second:
        answers = [await ask(rig) for rig in (first, second, first, second, first, second)]
        assert [status for status, _ in answers] == [200, 200, 200, 200, 429, 429]
        assert [headers["remaining-requests"] for _, headers in answers] == ["3", "2", "1", "0", "0", "0"]

        async def reserved() -> list[str]:
            found = []
            for rig in (first, second):
                async with rig.client(KEY) as client:
                    [quota] = (await client.get("/v1/quota")).json()["quotas"]
                found.append(quota["reserved"])
            return found

        async def is_free() -> bool:
            return await reserved() == ["0.000000000"] * 2

        await until(is_free)
        with server.client as client:
            client.hset(_of(client, "{way/search}:quota:month:*"), "usd\n", 6 * 10**9)

        async def is_told() -> bool:
            is_seen = all(rig.gateway.surface.quotas.ratios()["search"] == 0.012 for rig in (first, second))
            return is_seen and bool(_warned(first) + _warned(second))

        await until(is_told)
        assert _warned(first) + _warned(second) == 1, "once, by whoever saw it first"


def _of(client: redis.Redis, pattern: str) -> bytes:
    [name] = client.scan_iter(pattern)
    return bytes(name)


def _warned(rig: Rig) -> float:
    labels = {"team": "search", "quota": "usd per month", "level": "1%"}
    return rig.metrics.registry.get_sample_value("llm_quota_warnings_total", labels) or 0.0


async def test_a_redis_that_freezes_holds_up_one_call_and_what_that_claimed_is_given_up(server: RedisServer) -> None:
    async with gateway(server, timeout_s=0.2) as rig:
        assert (await ask(rig))[1]["remaining-requests"] == "3"

        async def is_free() -> bool:
            with server.client as client:
                found: Any = client.hgetall(_of(client, "{way/search}:held:month:*"))
                return set(found.values()) == {b"0"} and not client.exists("{way/search}:leases")

        await until(is_free)  # else its settlement is on the way, and there are no books here to count it
        server.freeze()
        try:
            for _ in range(3):
                status, headers = await ask(rig)
                assert (status, headers["degraded"]) == (200, "1")
            began_at = monotonic()
            assert (await ask(rig))[1]["remaining-requests"] == "0"
            assert (await ask(rig))[0] == 429
            assert monotonic() - began_at < 5
        finally:
            server.thaw()

        async def is_back() -> bool:
            return await is_free() and "degraded" not in (await ask(rig))[1]

        await until(is_back)


async def test_a_redis_that_dies_and_comes_back_empty_is_gone_on_with(server: RedisServer) -> None:
    async with gateway(server) as rig:
        await ask(rig)
        server.kill()

        async def is_degraded() -> bool:
            return "degraded" in (await ask(rig))[1]

        await until(is_degraded)
        server.start()

        async def is_back() -> bool:
            status, headers = await ask(rig)
            return status == 200 and "degraded" not in headers

        await until(is_back)
        assert "degraded" not in (await ask(rig))[1]
