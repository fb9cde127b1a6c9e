import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from uuid import uuid4

import pytest

from proxy.state import Author, Replica, StateFailed
from proxy.state.redis_client import open_client
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_news import RedisNews
from proxy.state.redis_place import read_redis_url
from proxy.state.redis_registry import RedisRegistry
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.integration

BY = Author("cli:alice", 1000)
#: Generous for a loaded machine, yet less than a sign of life is apart from the next where that is what is tested.
SOON_S = 5.0


class Ear:
    """A Hearer that keeps what it is told."""

    def __init__(self) -> None:
        self.drains: Mapping[str, float] = {}
        self.purges: list[bytes] = []
        self.messages: list[bytes] = []
        self.gaps = 0

    def drained(self, left_s: Mapping[str, float]) -> None:
        self.drains = left_s

    def purged(self, data: bytes) -> None:
        self.purges.append(data)

    def missed(self) -> None:
        self.gaps += 1

    def shouted(self, message: bytes) -> None:
        self.messages.append(message)


class Seat:
    """One gateway of the fleet."""

    def __init__(self, url: str, namespace: str, name: str) -> None:
        place = read_redis_url(url)
        assert place is not None
        keys = RedisKeys(namespace)
        self.name = name
        self.ear = Ear()
        self.link = Link(place, 0.5)
        self.registry = RedisRegistry(open_client(url, 1.0), keys)
        self.news = RedisNews(self.link, place, keys, 0.5, self.registry)

    @asynccontextmanager
    async def seated(self) -> AsyncIterator["Seat"]:
        await self.link.start()
        await asyncio.to_thread(self.registry.follow)
        await self.news.start(Replica(self.name, "hash", "1.0", "host", 1, 1000), self.ear)
        try:
            yield self
        finally:
            await self.news.aclose()
            await self.link.aclose()
            self.registry.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@asynccontextmanager
async def fleet(url: str, count: int = 2) -> AsyncIterator[list[Seat]]:
    namespace = f"t{uuid4().hex}"
    async with AsyncExitStack() as stack:
        seats = [Seat(url, namespace, f"gw-{number}") for number in range(count)]
        yield [await stack.enter_async_context(seat.seated()) for seat in seats]


async def until(is_true: Callable[[], object], within_s: float = SOON_S) -> float:
    """Seconds that it took."""
    began = monotonic()
    while not is_true():
        assert monotonic() - began < within_s, "it did not become true"
        await asyncio.sleep(0.005)
    return monotonic() - began


async def test_gateways_know_each_other_and_notice_who_leaves(server: RedisServer) -> None:
    async with fleet(server.url) as (one, other):
        await one.news.beat()
        assert [(it.id, it.config_hash, it.pid) for it in one.news.replicas] == [
            ("gw-0", "hash", 1),
            ("gw-1", "hash", 1),
        ]
        assert one.news.count == 2
        other.news.show("another")
        await until(lambda: {it.config_hash for it in one.news.replicas} == {"hash", "another"})
        await other.news.aclose()
        await one.news.beat()
        assert one.news.count == 1


async def test_who_gives_no_sign_of_life_for_five_seconds_is_gone(server: RedisServer) -> None:
    async with fleet(server.url, 1) as (one,):
        replicas = f"{one.news._fleet}:replicas"
        now_ms = int(server.client.time()[0]) * 1000
        server.client.hset(replicas, mapping={"old": f"{now_ms - 6000} {{}}", "odd": f"{now_ms} no json"})
        await one.news.beat()
        assert one.news.count == 1
        assert server.client.hexists(replicas, "odd")
        assert not server.client.hexists(replicas, "old")


async def test_a_replica_of_a_later_version_that_says_more_counts(server: RedisServer) -> None:
    async with fleet(server.url, 1) as (one,):
        said = '{"id":"x","config_hash":"h","version":"9","host":"h","pid":1,"started_ms":1,"mood":"good"}'
        now_ms = int(server.client.time()[0]) * 1000
        server.client.hset(f"{one.news._fleet}:replicas", "x", f"{now_ms} {said}")
        await one.news.beat()
        assert [it.id for it in one.news.replicas] == ["x", "gw-0"]


def all_block(seats: list[Seat], name: str) -> bool:
    return all(("search", name) in seat.registry.blocked for seat in seats)


async def test_changed_keys_are_read_everywhere_within_a_second(server: RedisServer) -> None:
    async with fleet(server.url, 3) as seats:
        for number in range(5):
            await asyncio.to_thread(seats[0].registry.block_key, "search", f"key-{number}", BY)
            assert await until(partial(all_block, seats, f"key-{number}")) < 1.0


async def test_a_drain_is_told_to_all_kept_for_latecomers_and_ends_everywhere(server: RedisServer) -> None:
    async with fleet(server.url) as (one, other):
        await one.news.tell_drain("p/a", 60.0)
        assert 55 < one.ear.drains["p/a"] <= 60
        assert await until(lambda: "p/a" in other.ear.drains) < 1.0
        late = Seat(server.url, one.news._fleet.strip("{}"), "late")
        async with late.seated():
            assert 55 < late.ear.drains["p/a"] <= 60
        await other.news.tell_undrain("p/a")
        assert await until(lambda: "p/a" not in one.ear.drains) < 1.0


async def test_a_drain_that_is_over_is_forgotten(server: RedisServer) -> None:
    async with fleet(server.url, 1) as (one,):
        await one.news.tell_drain("p/a", 0.001)
        await asyncio.sleep(0.005)
        await one.news.beat()
        assert one.ear.drains == {}
        assert not server.client.exists(f"{one.news._fleet}:drains")


async def test_a_purge_is_told_to_the_others_once(server: RedisServer) -> None:
    async with fleet(server.url, 3) as (one, *others):
        for number in range(20):
            await one.news.tell_purge(b"%d" % number)
        expected = [b"%d" % number for number in range(20)]
        assert await until(lambda: all(len(seat.ear.purges) >= 20 for seat in others)) < 1.0
        for seat in others:
            await seat.news.beat()
            assert seat.ear.purges == expected
        assert one.ear.purges == []
        assert [seat.ear.gaps for seat in (one, *others)] == [0, 0, 0]


async def test_news_that_do_not_come_are_fetched(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fleet(server.url) as (one, other):
        monkeypatch.setattr("proxy.state.redis_news._FETCHED", 3)
        await other.news._listener.aclose()
        for number in range(10):
            await one.news.tell_purge(b"%d" % number)
        await other.news.beat()
        assert other.ear.purges == [b"%d" % number for number in range(10)]
        assert other.ear.gaps == 0


async def test_news_that_are_gone_may_have_been_any_purge(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with fleet(server.url) as (one, other):
        await other.news._listener.aclose()
        await one.news.tell_purge(b"0")
        await one.news.tell_purge(b"1")
        server.client.xtrim(f"{one.news._fleet}:news", maxlen=1, approximate=False)
        await other.news.beat()
        assert (other.ear.purges, other.ear.gaps) == ([], 1)
        assert "may have been missed" in caplog.text
        await one.news.tell_purge(b"2")
        await other.news.beat()
        assert (other.ear.purges, other.ear.gaps) == ([b"2"], 1)


async def test_a_redis_that_lost_its_data_is_noticed_by_all(server: RedisServer) -> None:
    async with fleet(server.url) as (one, other):
        await one.news.tell_purge(b"0")
        await until(lambda: other.ear.purges)
        server.client.delete(f"{one.news._fleet}:news")
        for seat in (one, other):
            await seat.news.beat()
            await seat.news.beat()
        assert (one.ear.gaps, other.ear.gaps) == (1, 1)


async def test_a_message_reaches_all_that_listen(server: RedisServer) -> None:
    async with fleet(server.url) as (one, other):
        await until(lambda: not (one.news.is_away or other.news.is_away))

        def heard() -> bool:
            one.news.shout(b"hello")  # the subscription may be a moment younger
            return bool(one.ear.messages and other.ear.messages)

        await until(heard)
        assert set(other.ear.messages) == {b"hello"}


async def test_what_was_changed_while_redis_was_away_is_known_when_it_is_back(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with fleet(server.url) as (one, other):
            await one.news.tell_drain("p/a", 600.0)
            await until(lambda: "p/a" in other.ear.drains)
            server.freeze()
            for order in (one.news.tell_undrain("p/a"), one.news.tell_purge(b"x"), one.news.beat()):
                with pytest.raises(StateFailed):
                    await order
            assert one.news.is_away
            assert one.news.count == 2
            assert "p/a" in other.ear.drains
            server.thaw()
            # What was sent may be done; what is asked for again is.
            await until(lambda: not one.link.is_away, 10)
            server.client.hdel(f"{one.news._fleet}:drains", "p/a")
            assert await until(lambda: not one.ear.drains and not other.ear.drains, 10) < 4


async def test_a_start_without_redis_is_made_good(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        server.kill()
        async with fleet(server.url, 1) as (one,):
            assert one.news.count == 1
            assert one.news.is_away
            assert not one.registry.is_read
            server.start()
            await until(lambda: one.registry.is_read, 10)
            assert one.ear.gaps == 1  # others may have purged what is in memory by now


async def test_what_can_t_be_understood_does_not_end_the_signs_of_life(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Seat(server.url, uuid4().hex, "a").seated() as one:
        heard = one.ear.drained
        one.ear.drained = lambda left_s: heard({"x": float("nonsense")})  # type: ignore[method-assign]
        await until(lambda: "what other gateways say can't be read" in caplog.text)
        one.ear.drains, one.ear.drained = {"before": 1.0}, heard  # type: ignore[method-assign]
        await until(lambda: one.ear.drains == {})
        assert [replica.id for replica in one.news.replicas] == ["a"]
