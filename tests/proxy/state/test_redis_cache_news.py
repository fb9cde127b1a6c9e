from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

import pytest
import pytest_asyncio

from proxy.state.base import StateAway
from proxy.state.cache_rows import Indexed
from proxy.state.redis_cache import RedisCache
from proxy.state.redis_cache_news import RedisCacheNews
from proxy.state.redis_client import open_client
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_place import read_redis_url
from tests.redis_server import RedisServer, free_port, redis_server
from tests.shared_caches import LINK_S, a_namespace

pytestmark = pytest.mark.integration

SCOPE = b"\x03" * 32


class Rig:
    def __init__(self, server: RedisServer, link: Link) -> None:
        keys = RedisKeys(a_namespace())
        self.link = link
        self.rows = RedisCache(link, keys)
        self.news = RedisCacheNews(open_client(server.url), keys)

    async def index(self, *numbers: int) -> None:
        for number in numbers:
            key = number.to_bytes(32, "big")
            await self.rows.store("search", key, b"data", 600_000, 0, None, 1, Indexed(SCOPE, b"entry %d" % number))
        self.rows.touch([("search", SCOPE)])
        for _ in range(3):
            await self.link.ask("PING")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest_asyncio.fixture
async def rig(server: RedisServer) -> AsyncGenerator[Rig]:
    place = read_redis_url(server.url)
    assert place is not None
    link = Link(place, LINK_S)
    await link.start()
    made = Rig(server, link)
    yield made
    made.news.close()
    await link.aclose()


async def test_notices_are_told_in_order_from_where_one_is(rig: Rig) -> None:
    for number in range(5):
        await rig.rows.tell("purges", b"%d" % number, 100)
    await rig.rows.tell("learned", b"lesson", 100)
    found = rig.news.ask(0, b"0", b"", 3)
    assert [data for _, data in found.notices] == [b"0", b"1", b"2"]
    assert (found.learned, found.indexes) == ([], [])
    later = rig.news.ask(0, found.notices[-1][0], b"0", 3)
    assert [data for _, data in later.notices] == [b"3", b"4"]
    assert [data for _, data in later.learned] == [b"lesson"]
    assert rig.news.ask(0, later.notices[-1][0], b"", 3).notices == []


async def test_an_index_is_named_when_it_has_changed(rig: Rig) -> None:
    await rig.index(1)
    found = rig.news.ask(0, b"", b"", 10)
    assert found.indexes == [("search", SCOPE)]
    assert rig.news.ask(found.now_ms + 1000, b"", b"", 10).indexes == []


async def test_an_index_is_read_step_by_step(rig: Rig) -> None:
    await rig.index(*range(7))
    first = rig.news.read("search", SCOPE, b"0", 4)
    rest = rig.news.read("search", SCOPE, first[-1].id, 4)
    assert [one.data for one in (*first, *rest)] == [b"entry %d" % number for number in range(7)]
    assert rest[-1].key == (6).to_bytes(32, "big")
    assert rig.news.read("search", SCOPE, rest[-1].id, 4) == []
    assert rig.news.read("sales", SCOPE, b"0", 4) == []


async def test_memory_is_what_redis_says(rig: Rig, server: RedisServer) -> None:
    used, limit = rig.news.memory()
    assert used > 0
    assert limit is None
    server.client.config_set("maxmemory", 10**9)
    assert rig.news.memory()[1] == 10**9
    server.client.config_set("maxmemory", 0)


def test_what_cannot_be_asked_is_away() -> None:
    news = RedisCacheNews(open_client(f"redis://127.0.0.1:{free_port()}/0"), RedisKeys("t"))
    with pytest.raises(StateAway):
        news.ask(0, b"", b"", 1)
    with pytest.raises(StateAway):
        news.read("search", SCOPE, b"0", 1)
    with pytest.raises(StateAway):
        news.memory()
    news.close()
