"""Several gateways on one real Redis: what they count they count together, and Redis may go away at any time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from openai import OpenAI

from proxy.state.redis_client import open_client
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_reports import RedisReports
from tests.integration.gateway import ADMIN_KEY, KEY, SEARCH_KEY, chat_body
from tests.integration.load import Told, storm
from tests.integration.raw_client import connect, request_bytes
from tests.redis_server import RedisServer, redis_server
from tests.server import Server, ask, serving, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

#: An answer of the simulated provider to the tests' prompt costs 99,000 nano-dollars at these prices.
CONFIG = f"""\
version: 1
server: {{listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0", workers: WORKERS, drain_delay: 500ms, drain: 5s}}
state: {{url: "REDIS", timeout: TIMEOUT, retain: {{requests: 1h}}}}
providers:
  sim: {{kind: demo, profile: fast, faults: {{first_token: 0ms, per_token: 0ms}}}}
models:
  sim: {{targets: [{{provider: sim, model: sim-1, price_usd_per_mtok: {{input: 1, output: 2}}}}]}}
teams:
  platform: {{keys: [{{name: ci, key: "{KEY}"}}], quotas: [QUOTA]}}
  search: {{keys: [{{name: web, key: "{SEARCH_KEY}"}}], limits: LIMITS}}
admin: {{keys: [{{name: ops, key: "{ADMIN_KEY}", role: admin}}]}}
"""
ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}


@contextmanager
def replica(
    folder: Path,
    redis: RedisServer,
    *,
    workers: int = 1,
    quota: str = "{usd: 1000, per: month}",
    limits: str = "{rpm: 100}",
    timeout: str = "5s",
    is_ready: bool = True,
) -> Iterator[Server]:
    """`timeout`: machines that test stall for longer than Redis may take by default."""
    folder.mkdir(exist_ok=True)
    text = CONFIG.replace("REDIS", redis.url).replace("WORKERS", str(workers)).replace("TIMEOUT", timeout)
    with serving(folder, text.replace("QUOTA", quota).replace("LIMITS", limits), is_ready=is_ready) as server:
        yield server


@contextmanager
def two_replicas(folder: Path, **options: Any) -> Iterator[tuple[RedisServer, Server, Server]]:
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        first = stack.enter_context(replica(folder / "one", redis, **options))
        second = stack.enter_context(replica(folder / "two", redis, **options))
        yield redis, first, second


def quota_of(server: Server) -> dict[str, Any]:
    return dict(ask(f"{server.url}/v1/quota", headers={"Authorization": f"Bearer {KEY}"}).json()["quotas"][0])


def check_of(server: Server) -> dict[str, Any]:
    """What counters and books say of this month."""
    return dict(ask(f"{server.admin_url}/admin/v1/quota", headers=ADMIN).json()["check"])


def _shows(server: Server, used_nusd: int) -> bool:
    quota = quota_of(server)
    return nusd(quota["used"]) == used_nusd and nusd(quota["reserved"]) == 0


def nusd(usd: str) -> int:
    whole, _, part = usd.partition(".")
    return int(whole) * 10**9 + int(part)


def capped(number: int) -> bytes:
    """A call whose reservation is small."""
    body = orjson.loads(chat_body("sim", stream=number % 2 == 1))
    return orjson.dumps(body | {"max_tokens": 60})


@asynccontextmanager
async def calling(server: Server, key: str = KEY) -> AsyncIterator[Any]:
    """Gives a function that makes one call, all on one connection: its status, headers and how long it took."""
    async with connect(server.address) as client:

        async def call() -> tuple[int, dict[str, str], float]:
            began = time.perf_counter()
            await client.send(request_bytes(headers={"Authorization": f"Bearer {key}"}, body=chat_body("sim")))
            reply = await client.read_reply()
            return reply.status, dict(reply.headers), time.perf_counter() - began

        yield call


async def test_a_rate_holds_for_two_replicas_together(tmp_path: Path) -> None:
    with two_replicas(tmp_path) as (_, first, second):
        storms = [storm(one.address, clients=16, calls=150, model="sim", key=SEARCH_KEY) for one in (first, second)]
        told: list[Told] = await asyncio.gather(*storms)
        assert sum(len(one.complete) for one in told) == 100
        assert sum(one.refused[429] for one in told) == 200


async def test_a_quota_of_money_is_never_exceeded_by_4_workers_and_256_clients(tmp_path: Path) -> None:
    with two_replicas(tmp_path, workers=2, quota="{usd: 0.5, per: month}") as (_, first, second):
        storms = [storm(one.address, clients=128, calls=4_900, model="sim", body=capped) for one in (first, second)]
        told: list[Told] = await asyncio.gather(*storms)
        # What was reserved when the last of them were refused is free by now.
        told.append(await storm(first.address, clients=1, calls=200, model="sim", body=capped))
        complete = sum(len(one.complete) for one in told)
        assert complete + sum(sum(one.refused.values()) for one in told) == 10_000
        assert {status for one in told for status in one.refused} == {429}
        await asyncio.to_thread(wait_until, lambda: check_of(first)["books"]["requests"] == 10_000, 30)
        check, reservation = check_of(second), len(capped(0)) * 1000 + 60 * 2000
        assert check["agree"], check
        used = nusd(check["counters"]["cost_usd"])
        assert 500_000_000 - reservation < used <= 500_000_000
        for one in (first, second):  # what each shows may be a second old
            await asyncio.to_thread(wait_until, partial(_shows, one, used))


async def test_calls_go_on_while_redis_is_frozen_and_nothing_is_lost(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path) as redis,
        replica(tmp_path / "one", redis, limits="{rpm: 100k}", timeout="50ms") as server,
    ):
        async with calling(server, SEARCH_KEY) as search, calling(server) as platform:
            for call in (search, platform):
                assert (await call())[0] == 200
            redis.freeze()
            first = [await call() for call in (search, platform)]
            later = [await call() for _ in range(50) for call in (search, platform)]
            assert {status for status, _, _ in (*first, *later)} == {200}
            assert max(took_s for _, _, took_s in first) < 1.0  # 0.06 s on a quiet machine; this one may be busy
            assert later[0][1]["x-ratelimit-degraded"] == "1"
            redis.thaw()

            async def is_back() -> bool:
                _, headers, _ = await search()
                return "x-ratelimit-degraded" not in headers

            thawed_at = time.monotonic()
            while not await is_back():
                assert time.monotonic() - thawed_at < 10
                await asyncio.sleep(0.05)
        await asyncio.to_thread(wait_until, lambda: check_of(server)["books"]["requests"] > 102)
        await asyncio.to_thread(wait_until, lambda: bool(check_of(server)["agree"]))


async def test_a_replica_starts_while_redis_is_away_and_serves_when_it_comes(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    try:
        with replica(tmp_path / "one", redis, is_ready=False) as server:
            ready = ask(f"{server.url}/readyz")
            assert ready.status == 503
            sent = ask(
                f"{server.url}/v1/chat/completions",
                method="POST",
                headers={"Authorization": f"Bearer {KEY}"},
                body=chat_body("sim"),
            )
            assert sent.status == 503  # whose keys are revoked is not known yet
            await asyncio.to_thread(redis.start)
            await asyncio.to_thread(wait_until, lambda: ask(f"{server.url}/readyz").status == 200)
            async with calling(server) as call:
                assert (await call())[0] == 200
    finally:
        redis.kill()


async def test_a_rolling_upgrade_of_two_replicas_fails_no_call(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis, ExitStack() as stack:
        folders = [tmp_path / "one", tmp_path / "two"]
        running = [stack.enter_context(replica(folder, redis)) for folder in folders]
        done, failed = 0, list[str]()
        is_over = False

        def client() -> None:
            """A client behind a balancer that knows who is ready."""
            nonlocal done
            while not is_over:
                ready = [one for one in list(running) if one.process.poll() is None and _is_ready(one)]
                for server in ready[:1]:
                    try:
                        with OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0, timeout=20) as sdk:
                            sdk.chat.completions.create(model="sim", messages=[{"role": "user", "content": "Hi"}])
                        done += 1
                    except Exception as error:  # whatever it is, it is counted
                        failed.append(repr(error))

        clients = [asyncio.create_task(asyncio.to_thread(client)) for _ in range(4)]
        for at in (0, 1):
            old = running[at]
            old.process.terminate()
            await asyncio.to_thread(old.process.wait, 20)
            running[at] = stack.enter_context(replica(folders[at], redis))
            await asyncio.sleep(0.5)
        is_over = True
        await asyncio.gather(*clients)
        assert failed == []
        assert done > 20
        await asyncio.to_thread(wait_until, lambda: check_of(running[0])["books"]["requests"] == done)
        assert check_of(running[1])["agree"]


def _is_ready(server: Server) -> bool:
    try:
        return ask(f"{server.url}/readyz").status == 200
    except OSError:
        return False


async def test_a_killed_worker_of_four_loses_no_call_that_a_client_has_whole(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis, replica(tmp_path / "one", redis, workers=4) as server:
        standing = ask(f"{server.url}/healthz").json()["workers"]
        storming = asyncio.create_task(storm(server.address, clients=32, calls=3_000, model="sim", body=capped))
        await asyncio.sleep(0.5)
        os.kill(standing[0]["process"], signal.SIGKILL)
        killed_at = time.monotonic()

        def is_whole() -> bool:
            found = ask(f"{server.url}/healthz").json()
            return bool(found["workers_lost"]) and [one["state"] for one in found["workers"]].count("ready") == 4

        await asyncio.to_thread(wait_until, is_whole)
        back_s = time.monotonic() - killed_at
        told = await storming
        assert back_s < 10  # 0.1 s on a quiet machine
        assert len(told.complete) > 2_000

        def missing() -> list[str]:
            with closing(open_client(redis.url)) as client:
                reports = RedisReports(client, RedisKeys("waystation"))
                return [one for one in told.complete if (found := reports.call(one)) is None or found.is_orphan]

        await asyncio.to_thread(wait_until, lambda: missing() == [], 20)
        await asyncio.to_thread(wait_until, lambda: bool(check_of(server)["agree"]), 20)
        # What the killed one had claimed before it wrote anything down is held for some minutes: nobody knows of it.
        assert nusd(quota_of(server)["reserved"]) <= 32 * (len(capped(0)) * 1000 + 60 * 2000)
