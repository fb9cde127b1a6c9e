import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from proxy.state.base import StateAway
from proxy.state.redis_door import Door
from proxy.state.redis_node import Node
from proxy.state.redis_place import Address, RedisPlace
from tests.fake_redis import SILENCE, FakeRedis, fake_redis

pytestmark = pytest.mark.integration

PLACE = RedisPlace("single", (Address("127.0.0.1", 1),))


def node_for(fake: FakeRedis, timeout_s: float = 1.0, losses: list[int] | None = None) -> Node:
    async def find() -> Sequence[Address]:
        return (Address("127.0.0.1", fake.port),)

    return Node(Door(PLACE, timeout_s), find, lambda: None if losses is None else losses.append(1))


async def lost(node: Node) -> None:
    async with asyncio.timeout(10):
        while node.wire is not None:
            await asyncio.sleep(0.01)


async def test_a_connection_is_kept_and_let_go() -> None:
    async with fake_redis() as fake:
        node = node_for(fake)
        await node.start()
        wire = node.wire
        assert wire is not None
        await node.until_up(1.0)
        await node.aclose()
        assert not wire.is_open


async def test_a_lost_connection_is_made_anew_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    losses: list[int] = []
    async with fake_redis() as fake:
        node = node_for(fake, losses=losses)
        await node.start()
        wire = node.wire
        assert wire is not None
        wire.fail("a test")
        await node.until_up(10.0)
        assert losses == [1]
        assert [record.message for record in caplog.records] == [
            "Redis: a test; going on without it",
            "Redis: connected again",
        ]
        await node.aclose()


async def test_a_server_that_is_silent_though_nobody_asks_is_away() -> None:
    async with fake_redis() as fake:
        node = node_for(fake, timeout_s=0.05)
        await node.start()
        assert node.wire is not None
        fake.answers["PING"] = SILENCE
        await lost(node)
        with pytest.raises(TimeoutError):
            await node.until_up(0.3)
        fake.answers["PING"] = b"+PONG\r\n"
        await node.until_up(10.0)
        await node.aclose()


async def test_a_server_that_has_become_busy_is_away() -> None:
    async with fake_redis() as fake:
        node = node_for(fake)
        await node.start()
        fake.answers["PING"] = b"-BUSY a script is running\r\n"
        await lost(node)
        assert node.wire is None
        await node.aclose()


async def test_who_can_not_be_found_is_looked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    tries = []

    async def find() -> Sequence[Address]:
        tries.append(1)
        raise StateAway("no sentinel answers")

    node = Node(Door(PLACE, 1.0), find)
    await node.start()
    async with asyncio.timeout(10):
        while len(tries) < 3:
            await asyncio.sleep(0.01)
    await node.aclose()
    assert [record.message for record in caplog.records] == ["Redis: no sentinel answers; going on without it"]
    assert caplog.records[0].levelno == logging.ERROR


async def test_to_let_go_of_what_was_never_begun_is_no_fault(tmp_path: Path) -> None:
    async with fake_redis() as fake:
        node = node_for(fake)
        await node.aclose()
        assert node.wire is None
