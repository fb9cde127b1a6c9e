"""The cache by meaning of several replicas on one real Redis, with the model that finds what is near."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest

from proxy.cache.nearest import index
from proxy.state import Meant
from tests.meanings import prove
from tests.redis_server import RedisServer, redis_server
from tests.shared_caches import Replica, a_namespace, replica, until

pytestmark = pytest.mark.integration

WORDINGS = ("How can I reset my Acme router password?", "How do I reset my Acme router password?")
MAKERS = ("Globex", "Initech", "Umbrella", "Stark", "Wayne", "Soylent", "Tyrell", "Cyberdyne", "Aperture", "Hooli")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy a look-up would be too late."""
    monkeypatch.setattr(index, "SEARCH_S", 30.0)


@pytest.fixture
def namespace() -> str:
    return a_namespace()


@asynccontextmanager
async def knowing(server: RedisServer, namespace: str) -> AsyncGenerator[Replica]:
    """A replica with a cache by meaning that is open, and may serve."""
    async with replica(server.url, namespace, is_semantic=True) as one:
        await until(lambda: one.state.meaning is not None and one.level.is_current, 50)
        assert one.state.meaning is not None
        one.state.meaning.index.wait_s = 30.0
        prove(one.state.meaning.calibrator("search", "chat", 0.2))
        yield one


def entries(one: Replica) -> int:
    assert one.state.meaning is not None
    return one.state.meaning.index.stats.entries


async def teach(one: Replica) -> None:
    """It is asked a question of each maker, after one that each scope begins with."""
    await one.ask(WORDINGS[0])
    await until(lambda: entries(one) == 1)
    for maker in MAKERS:
        await one.ask(WORDINGS[0].replace("Acme", maker))
    await one.written()
    await until(lambda: entries(one) == 1 + len(MAKERS))


async def served(one: Replica, team: str = "search") -> bool:
    for maker in MAKERS:
        if (await one.ask(WORDINGS[1].replace("Acme", maker), team=team))[0] == "semantic":
            return True
    return False


async def test_what_one_replica_answered_another_one_finds_by_meaning(server: RedisServer, namespace: str) -> None:
    async with knowing(server, namespace) as a, knowing(server, namespace) as b:
        await teach(a)
        await until(lambda: entries(b) == entries(a))
        assert await served(b)
        assert not await served(b, "sales")


async def test_what_is_known_by_meaning_survives_a_restart(server: RedisServer, namespace: str) -> None:
    async with knowing(server, namespace) as a:
        await teach(a)
    async with knowing(server, namespace) as b:
        assert entries(b) == 1 + len(MAKERS)
        assert await served(b)


async def test_what_is_purged_is_found_by_nobody(server: RedisServer, namespace: str) -> None:
    async with knowing(server, namespace) as a, knowing(server, namespace) as b:
        await teach(a)
        await until(lambda: entries(b) == entries(a))
        await b.state.purge(Meant(team="search"))
        await until(lambda: entries(a) == entries(b) == 0)
        async with knowing(server, namespace) as c:
            assert entries(c) == 0, "its text is gone too"


async def test_what_one_replica_learns_all_have_learned(server: RedisServer, namespace: str) -> None:
    async with knowing(server, namespace) as a, knowing(server, namespace) as b:
        assert a.state.meaning is not None
        assert b.state.meaning is not None
        ours, theirs = (one.calibrator("search", "chat", 0.2) for one in (a.state.meaning, b.state.meaning))
        before, numbers = ours.judged_count, count()
        for one in (a.state.meaning, b.state.meaning):
            for _ in range(20):
                one.complained(one.calibrator("search", "chat", 0.2), 0.9 + next(numbers) / 1000)
        await until(lambda: ours.snapshot() == theirs.snapshot() and ours.judged_count > before)
        learned = ours.snapshot()
    async with replica(server.url, namespace, is_semantic=True) as c:
        await until(lambda: c.state.meaning is not None, 50)
        assert c.state.meaning is not None
        assert c.state.meaning.calibrator("search", "chat", 0.2).snapshot() == learned


async def test_an_answer_that_is_gone_is_not_served_and_leaves_the_index(server: RedisServer, namespace: str) -> None:
    async with knowing(server, namespace) as a, knowing(server, namespace) as b:
        await teach(a)
        await until(lambda: entries(b) == entries(a))
        with server.client as client:
            client.delete(*client.keys(f"*{namespace}*:cache:*"))
        assert not await served(b)
        await asyncio.sleep(0)
        assert b.asked == len(MAKERS)
