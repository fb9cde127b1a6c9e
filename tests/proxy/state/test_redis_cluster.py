import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from proxy.state.base import StateAway, StateFailed
from proxy.state.redis_cluster import ClusterLink
from proxy.state.redis_finder import key_slot
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_opened import open_link
from proxy.state.redis_place import Address, RedisPlace, read_redis_url
from proxy.state.scripts import Script, load_script
from tests.fake_redis import SILENCE, FakeRedis, fake_redis
from tests.redis_fleet import Cluster, redis_cluster

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), spare=1) as found:
        yield found


@pytest.fixture
async def link(cluster: Cluster) -> AsyncIterator[Link]:
    place = read_redis_url(cluster.url)
    assert place is not None
    link = open_link(place, 5.0)
    await link.start()
    yield link
    await link.aclose()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    monkeypatch.setattr("proxy.state.scripts._read", lambda _: "return redis.call('INCR', KEYS[1] .. ':n')\n")
    return load_script("adds")


def spread(keys: RedisKeys) -> list[str]:
    """Teams enough for some at each node."""
    return [keys.team(f"team-{number}") for number in range(16)]


async def test_each_team_is_at_its_own_node(link: Link, cluster: Cluster, script: Script, keys: RedisKeys) -> None:
    teams = spread(keys)
    assert await asyncio.gather(*(link.run(script, [team]) for team in teams)) == [1] * len(teams)
    for team in teams:
        link.send(script, [team.encode()])
    assert await asyncio.gather(*(link.ask("GET", f"{team}:n") for team in teams)) == [b"2"] * len(teams)
    assert len({cluster.owner(key_slot(team.encode())).port for team in teams}) == 2
    assert isinstance(link, ClusterLink)
    assert (link.is_away, link.unheard) == (False, 0)


async def test_commands_go_where_their_key_is(link: Link, keys: RedisKeys) -> None:
    for team in spread(keys):
        key = f"{team}:stream"
        added = await link.ask("XADD", key, "*", "a", "b")
        [[_, [[found, _]]]] = await link.ask("XREAD", "COUNT", 9, "STREAMS", key, "0")
        assert found == added
        assert (await link.ask("XINFO", "STREAM", key))[1] == 1
        assert await link.ask("EVAL", "return KEYS[1]", 1, key) == key.encode()
    assert await link.ask("PING") == b"PONG"
    assert await link.ask("PUBLISH", "x", "y") == 0


async def test_keys_on_the_move_are_followed(link: Link, cluster: Cluster, script: Script, keys: RedisKeys) -> None:
    team = keys.team("moving")
    slot, target = key_slot(team.encode()), cluster.nodes[2]
    owner = cluster.owner(slot)
    await link.run(script, [team])
    cluster.begin_to_give(slot, target)
    # The owner has no such key, and says ASK; the other node is new to the link, and to the script.
    assert await link.ask("SET", f"{team}:other", "x") == b"OK"
    owner.ask("MIGRATE", "127.0.0.1", target.port, f"{team}:n", 0, 5_000)
    assert await link.run(script, [team]) == 2
    cluster.give(slot, target)
    assert await asyncio.gather(*(link.run(script, [team]) for _ in range(3))) == [3, 4, 5]
    link.send(script, [team])
    assert await link.ask("GET", f"{team}:n") == b"6"
    assert link.unheard == 0


def node_says(fake: FakeRedis) -> bytes:
    return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % fake.port


async def test_who_is_sent_from_one_to_the_other_gives_up(script: Script) -> None:
    async with fake_redis() as fake:
        fake.answers |= {"CLUSTER": node_says(fake), "EVALSHA": b"-MOVED 1 :%d\r\n" % fake.port}
        link = ClusterLink(RedisPlace("cluster", (Address("127.0.0.1", fake.port),)), 5.0)
        await link.start()
        with pytest.raises(StateAway, match="changing"):
            await link.run(script, ["{a}"])
        fake.answers["EVALSHA"] = b"-ERR no\r\n"
        with pytest.raises(StateFailed, match="'adds': ERR"):
            await link.run(script, ["{a}"])
        await link.aclose()


async def test_a_node_that_is_not_there_is_waited_for_no_longer_than_agreed(script: Script) -> None:
    async with fake_redis() as fake:
        fake.answers |= {"CLUSTER": node_says(fake), "EVALSHA": b"-MOVED 1 127.0.0.1:1\r\n"}
        link = ClusterLink(RedisPlace("cluster", (Address("127.0.0.1", fake.port),)), 0.1)
        await link.start()
        with pytest.raises(StateAway, match="changing"):
            await link.run(script, ["{a}"])
        link.send(script, ["{a}"])
        await link.aclose()


async def test_who_waits_for_a_node_is_told_when_the_link_is_closed(script: Script) -> None:
    async with fake_redis() as fake, fake_redis(PING=SILENCE) as frozen:
        fake.answers |= {"CLUSTER": node_says(fake), "EVALSHA": b"-MOVED 1 127.0.0.1:%d\r\n" % frozen.port}
        link = ClusterLink(RedisPlace("cluster", (Address("127.0.0.1", fake.port),)), 30.0)
        await link.start()
        waiting = asyncio.create_task(link.run(script, ["{a}"]))
        async with asyncio.timeout(10):
            while not frozen.asked:
                await asyncio.sleep(0.01)
        await link.aclose()
        with pytest.raises(StateAway):
            await waiting


async def test_what_can_not_be_written_fails_alone(link: Link, script: Script) -> None:
    with pytest.raises(StateFailed):
        await link.run(script, ["\ud800"])
    assert not link.is_away


async def test_a_part_without_a_server_is_away_and_the_rest_is_not(script: Script) -> None:
    async with fake_redis(EVALSHA=b":1\r\n") as fake:
        fake.answers["CLUSTER"] = node_says(fake).replace(b":16383", b":%d" % key_slot(b"b"))
        link = ClusterLink(RedisPlace("cluster", (Address("127.0.0.1", fake.port),)), 5.0)
        await link.start()
        assert key_slot(b"a") > key_slot(b"b")
        assert await link.run(script, ["{b}"]) == 1
        with pytest.raises(StateAway):
            await link.run(script, ["{a}"])
        assert not link.is_away
        await link.aclose()


async def test_a_cluster_that_is_away_at_the_start_is_found_later(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_redis(CLUSTER=b"-CLUSTERDOWN\r\n", EVALSHA=b":1\r\n") as fake:
        link = ClusterLink(RedisPlace("cluster", (Address("127.0.0.1", fake.port),)), 5.0)
        await link.start()
        with pytest.raises(StateAway):
            await link.run(script, ["{a}"])
        with pytest.raises(StateAway):
            await link.ask("PING")
        fake.answers["CLUSTER"] = node_says(fake)
        async with asyncio.timeout(10):
            while link.is_away:
                await asyncio.sleep(0.01)
        assert await link.run(script, ["{a}"]) == 1
        await link.aclose()
    assert "no node of the cluster" in caplog.records[0].message
