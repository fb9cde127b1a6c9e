"""What every shared level does, whatever it is kept in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from proxy.cache.codec import encode
from proxy.cache.file_level import FileLevel
from proxy.cache.shared_level import Shared, without_shared
from proxy.cache.store import Stored
from proxy.config.load import load_text
from proxy.state import CacheRow, Meant, SqliteCache
from proxy.state.redis_link import Link
from proxy.state.redis_place import read_redis_url
from tests.fakes import completion
from tests.redis_server import RedisServer, redis_server
from tests.shared_caches import LINK_S, a_level, a_namespace

NOW_S = 1_790_000_000.0
STORED = Stored(orjson.dumps(completion("Hello!")), "search", "chat", b"s" * 32, "req_1", "mine", "a", NOW_S, 700, 1.5)
KEY, OTHER = b"\x01" * 32, b"\x02" * 32
TEAMS = ("search", "sales")


class Level:
    """A level that can be begun anew on what it has kept."""

    def __init__(self, begin: Callable[[], Awaitable[Shared]], spoil: Callable[[bytes, bytes], object]) -> None:
        self._begin = begin
        self.spoil = spoil  #: puts this data under this key
        self.shared: Shared

    async def begin(self) -> Shared:
        self.shared = await self._begin()
        return self.shared

    async def restart(self) -> Shared:
        await self.shared.aclose()
        return await self.begin()

    async def find(self, key: bytes, team: str = "search") -> Stored | None:
        """As if there were no hurry."""
        for _ in range(500):
            entry = await self.shared.find(team, key)
            if entry is not None or not self.shared.stats.late:
                return entry
            self.shared.stats.late = 0
        raise AssertionError("it never answered")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest_asyncio.fixture(params=["file", pytest.param("redis", marks=pytest.mark.integration)])
async def level(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Level]:
    async with AsyncExitStack() as stack:
        if request.param == "file":
            made = in_a_file(tmp_path / "cache")
        else:
            server: RedisServer = request.getfixturevalue("server")
            place = read_redis_url(server.url)
            assert place is not None
            link = Link(place, LINK_S)
            await link.start()
            stack.push_async_callback(link.aclose)
            made = in_redis(server, link)
        await made.begin()
        yield made
        await made.shared.aclose()


def in_a_file(path: Path) -> Level:
    async def begin() -> Shared:
        return FileLevel(SqliteCache(path), 10**8, lambda: NOW_S)

    def spoil(key: bytes, data: bytes) -> None:
        rows = SqliteCache(path)
        rows.add([CacheRow(key, data, "t", "m", b"", "", "", "", 0, 10**15)], 10**8, 0)
        rows.close()

    return Level(begin, spoil)


def in_redis(server: RedisServer, link: Link) -> Level:
    namespace = a_namespace()

    async def begin() -> Shared:
        return a_level(link, server.url, namespace)

    def spoil(key: bytes, data: bytes) -> None:
        with server.client as client:
            client.set(f"{{{namespace}/search}}:cache:{key.hex()}", data)

    return Level(begin, spoil)


async def test_an_answer_survives_a_restart(level: Level) -> None:
    level.shared.add(KEY, STORED, 60)
    await level.restart()
    assert await level.find(KEY) == STORED
    assert await level.find(OTHER) is None
    assert level.shared.stats.found == 1


async def test_a_damaged_value_is_a_miss_and_removed(level: Level) -> None:
    data = bytearray(encode(KEY, STORED))
    data[-3] ^= 1
    level.spoil(KEY, bytes(data))
    await level.restart()
    assert await level.find(KEY) is None
    assert level.shared.stats.damaged == 1
    assert await level.find(OTHER) is None  # what was sent before has come there
    await level.restart()
    assert await level.find(KEY) is None
    assert level.shared.stats.damaged == 0


async def test_what_stands_under_another_key_is_none(level: Level) -> None:
    level.spoil(OTHER, encode(KEY, STORED))
    await level.restart()
    assert await level.find(OTHER) is None


async def test_what_waits_to_be_written_can_be_purged_too(level: Level) -> None:
    level.shared.add(KEY, STORED, 60)
    await level.shared.purge(Meant(team="search"), TEAMS)
    await level.restart()
    assert await level.find(KEY) is None


@pytest.mark.parametrize(
    "meant",
    [
        Meant(team="search"),
        Meant(model="chat", team="search"),
        Meant(id="req_1"),
        Meant(id="mine"),
        Meant(id="a"),
        Meant(stored_before_ms=int(NOW_S * 1000) + 1),
    ],
    ids=str,
)
async def test_what_is_meant_goes_and_nothing_else(level: Level, meant: Meant) -> None:
    other = replace(
        STORED, team="sales", model="other", call_id="b", request_id="c", answer_id="d", stored_at=NOW_S + 60
    )
    level.shared.add(KEY, STORED, 600)
    level.shared.add(OTHER, other, 600)
    await level.restart()
    purged = await level.shared.purge(meant, TEAMS)
    assert purged.count == 1
    assert purged.keys in (None, [KEY])
    assert await level.find(KEY) is None
    assert await level.find(OTHER, "sales") == other


async def test_one_answer_can_be_forgotten(level: Level) -> None:
    level.shared.add(KEY, STORED, 60)
    await level.restart()
    assert await level.shared.discard("search", OTHER) == 0
    assert await level.shared.discard("search", KEY) == 1
    assert await level.find(KEY) is None


async def test_notes_survive_a_restart(level: Level) -> None:
    level.shared.note("learned", b"data")
    await level.restart()
    assert await level.shared.find_note("learned") == b"data"
    assert await level.shared.find_note("other") is None


def test_without_one_there_is_none() -> None:
    assert without_shared(load_text("version: 1\n", {}, "g.yaml").config) is None  # type: ignore[func-returns-value]
