from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from proxy.state.cache_rows import Indexed, Meant
from proxy.state.redis_cache import Claim, RedisCache
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_place import read_redis_url
from tests.redis_server import RedisServer, redis_server
from tests.shared_caches import LINK_S, a_namespace

pytestmark = pytest.mark.integration

KEY, OTHER, SCOPE = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
CLAIM, THEIRS = Claim("f1", "mine"), Claim("f1", "theirs")
LONG_MS = 600_000


class Rig:
    def __init__(self, server: RedisServer, link: Link) -> None:
        self.link = link
        self.namespace = a_namespace()
        self.rows = RedisCache(link, RedisKeys(self.namespace))
        self.client = server.client

    def name(self, rest: str, team: str = "search") -> str:
        return f"{{{self.namespace}/{team}}}:{rest}"

    async def look(self, claim: Claim, key: bytes = KEY) -> list[bytes]:
        return [*await self.rows.look("search", key, claim, LONG_MS)]

    async def store(
        self,
        data: bytes = b"data",
        *,
        key: bytes = KEY,
        team: str = "search",
        claim: Claim | None = None,
        under_way_ms: int = 0,
        indexed: Indexed | None = None,
    ) -> bool:
        return await self.rows.store(team, key, data, LONG_MS, under_way_ms, claim, LONG_MS, indexed)

    async def purge(self, meant: Meant, *teams: str) -> set[bytes]:
        return {key async for step in self.rows.purge(meant, teams) for key in step}

    async def settle(self) -> None:
        """What was sent without waiting has been done, scripts that Redis did not know included."""
        for _ in range(3):
            await self.link.ask("PING")


def blob(team: str, model: str, ids: tuple[str, str, str], stored_at: float) -> bytes:
    facts = (team, model, SCOPE.hex(), *ids, stored_at, 700, 0.0)
    return b"W1" + bytes(16) + orjson.dumps(facts) + b"\n{}"


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
    yield Rig(server, link)
    await link.aclose()


async def test_what_is_stored_is_found_under_its_team_and_key(rig: Rig) -> None:
    assert await rig.store()
    assert await rig.rows.find("search", KEY) == b"data"
    assert await rig.rows.find("sales", KEY) is None
    assert await rig.rows.find("search", OTHER) is None
    assert 0 < rig.client.pttl(rig.name(f"cache:{KEY.hex()}")) <= LONG_MS


async def test_many_are_stored_and_found_in_one_go(rig: Rig) -> None:
    assert await rig.rows.store_many("search", {KEY: b"1", OTHER: b"2"}, LONG_MS, 0) == 2
    assert await rig.rows.find_many("search", [OTHER, SCOPE, KEY]) == {KEY: b"1", OTHER: b"2"}


async def test_the_first_who_looks_has_the_lead_and_the_others_wait(rig: Rig) -> None:
    assert await rig.look(CLAIM) == [b"lead"]
    assert await rig.look(THEIRS) == [b"flying", b"mine"]
    assert await rig.store(claim=CLAIM)
    assert await rig.look(THEIRS) == [b"found", b"data"]
    assert rig.client.exists(rig.name("flight:f1")) == 0


async def test_a_lead_that_is_freed_goes_to_the_next(rig: Rig) -> None:
    await rig.look(CLAIM)
    rig.rows.fly("search", THEIRS, "free", 0)
    await rig.settle()
    assert await rig.look(THEIRS) == [b"flying", b"mine"], "only who has it may free it"
    rig.rows.fly("search", CLAIM, "free", 0)
    await rig.settle()
    assert await rig.look(THEIRS) == [b"lead"]


async def test_a_lead_is_kept_by_who_has_it(rig: Rig) -> None:
    await rig.look(CLAIM)
    rig.rows.fly("search", THEIRS, "keep", 10 * LONG_MS)
    rig.rows.fly("search", CLAIM, "keep", 5 * LONG_MS)
    await rig.settle()
    assert 4 * LONG_MS < rig.client.pttl(rig.name("flight:f1")) <= 5 * LONG_MS


async def test_of_one_that_was_in_vain_everybody_is_told(rig: Rig) -> None:
    await rig.look(CLAIM)
    rig.rows.fly("search", CLAIM, "vain", LONG_MS)
    await rig.settle()
    assert await rig.look(THEIRS) == [b"vain"]


async def test_what_set_out_before_a_purge_is_not_stored_and_nobody_waits_for_it(rig: Rig) -> None:
    await rig.look(CLAIM)
    assert await rig.purge(Meant(team="search")) == set()
    assert not await rig.store(claim=CLAIM, under_way_ms=50)
    assert await rig.look(THEIRS) == [b"vain"]
    assert await rig.rows.store_many("search", {KEY: b"1"}, LONG_MS, 0) == 0
    assert await rig.store(team="sales"), "that is another team"


async def test_what_set_out_after_it_is(rig: Rig) -> None:
    rig.client.set(rig.name("purged"), 1)
    assert await rig.store(under_way_ms=1000)


async def test_where_there_is_no_room_answers_are_still_found(tmp_path: Path) -> None:
    with redis_server(tmp_path) as full:
        place = read_redis_url(full.url)
        assert place is not None
        link = Link(place, LINK_S)
        await link.start()
        rig = Rig(full, link)
        await rig.store()
        full.client.config_set("maxmemory", 1)
        assert await rig.look(CLAIM) == [b"found", b"data"]
        assert await rig.look(CLAIM, OTHER) == [b"alone"]
        assert not await rig.store(key=OTHER)
        assert await rig.purge(Meant(team="search")) == {KEY}
        await link.aclose()


@pytest.mark.parametrize(
    ("meant", "gone"),
    [
        (Meant(team="search"), {KEY}),
        (Meant(id="call"), {KEY}),
        (Meant(id="request"), {KEY}),
        (Meant(id="answer"), {KEY}),
        (Meant(model="chat"), {KEY, OTHER}),
        (Meant(model="chat", team="sales"), {OTHER}),
        (Meant(stored_before_ms=1500), {KEY}),
        (Meant(stored_before_ms=1500, team="sales"), set()),
        (Meant(), {KEY, OTHER}),
    ],
    ids=str,
)
async def test_what_is_meant_goes(rig: Rig, meant: Meant, gone: set[bytes]) -> None:
    await rig.store(blob("search", "chat", ("call", "request", "answer"), 1.0))
    await rig.store(blob("sales", "chat", ("b", "c", "d"), 2.0), key=OTHER, team="sales")
    assert await rig.purge(meant, "search", "sales") == gone
    left = {await rig.rows.find("search", KEY) is not None, await rig.rows.find("sales", OTHER) is not None}
    assert left == {one not in gone for one in (KEY, OTHER)}


async def test_a_purge_goes_through_all_and_leaves_what_is_not_the_cache_s(rig: Rig) -> None:
    values = {number.to_bytes(32, "big"): blob("search", "chat", ("a", "b", "c"), 1.0) for number in range(1300)}
    await rig.rows.store_many("search", values, LONG_MS, 0)
    rig.client.set(rig.name("use:day"), "counted")
    other = Rig.__new__(Rig)
    other.__dict__ |= rig.__dict__ | {"namespace": f"{rig.namespace}2"}
    rig.client.set(other.name(f"cache:{KEY.hex()}"), "another fleet's")
    assert await rig.purge(Meant(), "search") == values.keys()
    assert rig.client.get(rig.name("use:day")) == b"counted"
    assert rig.client.get(other.name(f"cache:{KEY.hex()}")) == b"another fleet's"


async def test_signs_of_patterns_in_a_team_s_name_mean_themselves(rig: Rig) -> None:
    await rig.store(team="a*[b]?")
    await rig.store(team="axxb")
    assert len(await rig.purge(Meant(team="a*[b]?"))) == 1
    assert await rig.rows.find("axxb", KEY) == b"data"


async def test_what_is_purged_leaves_the_index(rig: Rig) -> None:
    keys = [number.to_bytes(32, "big") for number in range(1200)]
    for number, key in enumerate(keys):
        model = "other" if number % 3 else "chat"
        await rig.store(blob("search", model, ("a", "b", "c"), 1.0), key=key, indexed=Indexed(SCOPE, b"entry"))
    index = rig.name(f"index:{SCOPE.hex()}")
    assert rig.client.xlen(index) == 1200
    await rig.purge(Meant(model="chat"), "search")
    assert rig.client.xlen(index) == 800
    await rig.purge(Meant(team="search"))
    assert rig.client.xlen(index) == 0


async def test_one_is_forgotten_and_not_stored_again_by_who_had_set_out(rig: Rig) -> None:
    await rig.store()
    assert await rig.rows.discard("search", KEY) == 1
    assert await rig.rows.discard("search", KEY) == 0
    assert not await rig.store(under_way_ms=1)


async def test_one_that_is_nothing_is_dropped(rig: Rig) -> None:
    await rig.store()
    rig.rows.drop("search", KEY)
    await rig.settle()
    assert await rig.rows.find("search", KEY) is None
    assert await rig.store(), "that was no purge"


async def test_notes_are_the_fleet_s(rig: Rig) -> None:
    await rig.rows.note("learned", b"data")
    assert await rig.rows.find_note("learned") == b"data"
    assert await rig.rows.find_note("other") is None
