"""Two gateways, each with books of its own, that share what they cache in a Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import orjson
import pytest
import pytest_asyncio

from tests.integration.gateway import ADMIN_KEY, Gateway, chat_body, running_gateway
from tests.redis_server import redis_server
from tests.server import ask

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

#: A provider that both have under one address: answers of others are not shared.
TARGETS = "targets: [{provider: simulated, model: sim-1}]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[tuple[Gateway, Gateway]]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(redis_server(tmp_path_factory.mktemp("redis")))
        changes = {
            TARGETS: f"{TARGETS}\n    cache: {{exact: {{}}}}",
            "server:": f'state: {{cache_url: "{server.url}", timeout: 5s}}\nserver:',
        }
        folders: list[Path] = [tmp_path_factory.mktemp(name) for name in ("a", "b")]
        one, other = [await stack.enter_async_context(running_gateway(folder, changes=changes)) for folder in folders]
        yield one, other


async def told(gateway: Gateway, content: str, *, streams: bool = False) -> str:
    """How the cache fared."""
    body = chat_body("sim", stream=streams, content=content)
    reply = await gateway.post("sim", streams=streams, body=body)
    assert reply.status == 200
    return reply.header("x-waystation-cache") or ""


async def admin(gateway: Gateway, path: str = "", body: bytes | None = None) -> dict[str, object]:
    url, headers = f"{gateway.server.admin_url}/admin/v1/cache{path}", {"Authorization": f"Bearer {ADMIN_KEY}"}
    reply = await asyncio.to_thread(ask, url, method="POST" if body else "GET", headers=headers, body=body)
    document: dict[str, object] = reply.json()
    return document


async def test_what_one_gateway_has_answered_the_other_one_gives(pair: tuple[Gateway, Gateway]) -> None:
    one, other = pair
    assert await told(one, "shared") == "miss"
    until = monotonic() + 20
    while await told(other, "shared", streams=True) != "exact":
        assert monotonic() < until
    shared = (await admin(other))["shared"]
    assert isinstance(shared, dict)
    assert shared["used_bytes"] > 0
    assert shared["budget_bytes"] is None


async def test_a_purge_on_one_reaches_the_other(pair: tuple[Gateway, Gateway]) -> None:
    one, other = pair
    await told(one, "purged")
    until = monotonic() + 20
    while await told(other, "purged") != "exact":
        assert monotonic() < until
    answer = await admin(one, "/purge", orjson.dumps({"team": "platform"}))
    assert isinstance(answer["purged"], int)
    assert answer["purged"] >= 1
    while (await admin(other))["memory"]["entries"]:  # type: ignore[index]
        assert monotonic() < until
        await asyncio.sleep(0.02)
    assert await told(other, "purged") == "miss"
