"""Two gateways and one real Redis: what is changed at one acts at the other within a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from proxy.api import admin_face, client_face
from proxy.app import Gateway, State
from proxy.cache import Stats
from proxy.config import Loaded
from proxy.config.load import load_text
from proxy.keyring import new_key
from proxy.observe import Metrics
from proxy.state import Author, open_redis_registry
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_news import RedisNews
from proxy.state.redis_place import read_redis_url
from tests.gateways import ADMIN_KEY, KEY, Lines, chat_body
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.integration

TIMEOUT_S = 0.2
TEXT = f"""
version: 1
providers:
  demo: {{kind: demo, faults: {{first_token: 0ms, per_token: 0ms}}}}
  broken: {{kind: openai, base_url: "http://127.0.0.1:1/v1", api_key: sk-nobody-there}}
models:
  chat: {{targets: [{{provider: demo, model: demo-1}}], cache: {{exact: {{sampled: true}}}}}}
  shaky: {{targets: [{{provider: broken, model: x}}], retries: {{max_attempts: 1}}}}
teams:
  search: {{keys: [{{name: ci, key: {KEY}}}], quotas: [{{usd: 5, per: month}}]}}
admin:
  keys: [{{name: ops, key: {ADMIN_KEY}, role: admin}}]
"""


class Member:
    """One gateway of the fleet, without sockets of its own."""

    def __init__(self, url: str) -> None:
        place, keys = read_redis_url(url), RedisKeys("fleet")
        assert place is not None
        self.text = TEXT
        self.link = Link(place, TIMEOUT_S)
        self.registry = open_redis_registry(url, "fleet")
        self.news = RedisNews(self.link, place, keys, TIMEOUT_S, self.registry)
        state = State(registry=self.registry, news=self.news)
        self.metrics = Metrics()
        self.gateway = Gateway(self._load, self.metrics, Lines(), state)  # type: ignore[arg-type]  # a fake log

    def _load(self) -> Loaded:
        return load_text(self.text, {}, str(Path("gateway.yaml")))

    async def ask(self, key: str = KEY, **fields: Any) -> httpx.Response:
        """A call."""
        body = chat_body(**fields)
        return await self._send(client_face(self.gateway), key, "POST", "/v1/chat/completions", body)

    async def operate(self, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """An operator's request."""
        face = admin_face(self.gateway, self.gateway)
        return await self._send(face, ADMIN_KEY, "GET" if body is None else "POST", f"/admin/v1/{path}", body)

    async def _send(self, face: Any, key: str, method: str, path: str, body: object) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(face), base_url="http://gateway", headers=headers
        ) as client:
            return await client.request(method, path, json=body)


@asynccontextmanager
async def joined(url: str) -> AsyncIterator[Member]:
    member = Member(url)
    await member.link.start()
    await asyncio.to_thread(member.registry.follow)
    await member.gateway.start()
    try:
        yield member
    finally:
        await member.gateway.aclose()
        await member.link.aclose()


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[RedisServer, Member, Member]]:
    with redis_server(folder) as server:
        async with joined(server.url) as one, joined(server.url) as other:
            await until(lambda: one.news.count == other.news.count == 2)
            await until(lambda: not (one.news.is_away or other.news.is_away))
            yield server, one, other


async def until(is_true: Callable[[], object], within_s: float = 10.0) -> float:
    """Seconds that it took."""
    began = monotonic()
    while not is_true():
        assert monotonic() - began < within_s, "it did not become true"
        await asyncio.sleep(0.01)
    return monotonic() - began


async def until_answer(ask: Callable[[], Awaitable[httpx.Response]], status: int, within_s: float = 10.0) -> float:
    """Seconds until that is the answer."""
    began = monotonic()
    while (answer := await ask()).status_code != status:
        assert monotonic() - began < within_s, answer.text
        await asyncio.sleep(0.01)
    return monotonic() - began


async def test_a_key_made_and_revoked_elsewhere_is_good_and_refused_within_a_second(tmp_path: Path) -> None:
    async with two(tmp_path) as (server, one, other):
        beside, (key, fingerprint) = open_redis_registry(server.url, "fleet"), new_key()
        author = Author("cli:alice", 1000)
        await asyncio.to_thread(beside.create_key, "search", "made", fingerprint, None, author)
        for member in (one, other):
            assert await until_answer(partial(member.ask, key), 200) < 1
        await asyncio.to_thread(beside.revoke_key, "search", "made", author)
        for member in (one, other):
            assert await until_answer(partial(member.ask, key), 401) < 1
        beside.close()


async def test_a_key_blocked_at_one_is_refused_by_it_at_once_and_by_the_other_within_a_second(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, one, other):
        named = {"team": "search", "name": "ci"}
        assert (await one.operate("keys/block", named)).status_code == 200
        assert (await one.ask()).status_code == 401
        assert await until_answer(other.ask, 401) < 1
        assert (await other.operate("keys/unblock", named)).status_code == 200
        assert (await other.ask()).status_code == 200
        assert await until_answer(one.ask, 200) < 1
        rows = (await one.operate("audit")).json()["audit"]
        assert [row["action"] for row in rows] == ["key.unblock", "key.block"]


async def test_a_grant_raises_the_quota_everywhere_within_a_second(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, one, other):

        async def granted(member: Member) -> float:
            (team,) = (await member.operate("quota")).json()["teams"]
            return float(team["quotas"][0]["granted"])

        order = {"team": "search", "quota": "usd per month", "usd": 100, "until": "2999-01-31"}
        made = await one.operate("grants", order)
        assert made.status_code == 200, made.text
        began = monotonic()
        while await granted(other) == 0:
            assert monotonic() - began < 1
            await asyncio.sleep(0.01)
        assert await granted(one) == await granted(other)
        assert (await other.operate("grants/withdraw", {"id": made.json()["id"]})).status_code == 200
        began = monotonic()
        while await granted(one) != 0:
            assert monotonic() - began < 1
            await asyncio.sleep(0.01)


async def test_a_drain_holds_and_ends_everywhere_within_a_second(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, one, other):
        state = other.gateway.surface.router.fleet["demo/demo-1"]
        assert (await one.operate("targets/drain", {"target": "demo/demo-1", "seconds": 600})).status_code == 200
        assert one.gateway.surface.router.fleet["demo/demo-1"].obstacle(0, monotonic()) is not None
        assert await until(lambda: state.obstacle(0, monotonic()) is not None) < 1
        assert 590 < state.drained_until - monotonic() < 601
        assert (await other.operate("targets/undrain", {"target": "demo/demo-1"})).status_code == 200
        target = one.gateway.surface.router.fleet["demo/demo-1"]
        assert await until(lambda: target.obstacle(0, monotonic()) is None) < 1


def _is_empty(stats: Stats) -> bool:
    return stats.entries == 0


async def test_a_purge_empties_every_memory_within_a_second(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, one, other):
        for member in (one, other):
            await member.ask()
            assert (await member.ask()).headers["x-waystation-cache"] == "exact"
        assert (await one.operate("cache/purge", {"team": "search"})).json() == {"purged": 1}
        for member in (one, other):
            stats = member.gateway.surface.cache.store.stats
            assert await until(partial(_is_empty, stats)) < 1


async def test_a_target_that_fails_at_one_is_left_out_by_the_other_within_a_second(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, one, other):
        await asyncio.sleep(0.6)  # both have begun to write down what they see
        for _ in range(6):
            assert (await one.ask(model="shaky")).status_code >= 500
        breaker = other.gateway.surface.router.fleet["broken/x"].breaker
        assert await until(lambda: breaker.state(monotonic()) == "open") < 1.5


async def test_gateways_that_go_by_different_configs_are_told_apart(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, one, other):
        assert (await one.operate("replicas")).json()["agree"]
        other.text = TEXT.replace("usd: 5", "usd: 6")
        assert await other.gateway.reload()
        began = monotonic()
        while (await one.operate("replicas")).json()["agree"]:
            assert monotonic() - began < 2
            await asyncio.sleep(0.02)
        shown = (await one.operate("replicas")).json()["replicas"]
        hashes = {one.gateway.surface.config_hash, other.gateway.surface.config_hash}
        assert {row["config_hash"] for row in shown} == hashes
        for config_hash in hashes:
            sample = one.metrics.registry.get_sample_value("llm_replicas", {"config_hash": config_hash})
            assert sample == 1


async def test_while_redis_is_away_calls_go_on_changes_are_refused_and_all_is_made_good_after(tmp_path: Path) -> None:
    async with two(tmp_path) as (server, one, other):
        server.freeze()
        await until(lambda: one.news.is_away and other.news.is_away)
        assert (await one.ask()).status_code == 200
        refused = await one.operate("targets/drain", {"target": "demo/demo-1", "seconds": 600})
        assert refused.status_code == 503
        server.thaw()
        # By a gateway that sees Redis again first, while the others may not have noticed yet.
        beside = open_redis_registry(server.url, "fleet")
        await asyncio.to_thread(beside.block_key, "search", "ci", Author("cli:alice", 1000))
        beside.close()
        for member in (one, other):
            assert await until_answer(member.ask, 401) < 4
        assert (await one.operate("replicas")).json()["heard"]


async def test_a_revocation_and_a_drain_in_an_outage_of_one_gateway_reach_it_when_it_is_back(tmp_path: Path) -> None:
    """Its connections are cut, and none are let in; the others go on."""
    async with two(tmp_path) as (_, one, other):
        await other.link.aclose()
        await other.news._listener.aclose()
        await until(lambda: other.news.is_away)
        assert (await one.operate("keys/block", {"team": "search", "name": "ci"})).status_code == 200
        assert (await one.operate("targets/drain", {"target": "demo/demo-1", "seconds": 600})).status_code == 200
        assert (await other.ask()).status_code == 200  # what it read last holds
        assert other.news.count == 2
        await other.link.start()
        assert await until_answer(other.ask, 401) < 4
        state = other.gateway.surface.router.fleet["demo/demo-1"]
        assert await until(lambda: state.obstacle(0, monotonic()) is not None) < 4
