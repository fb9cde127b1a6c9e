import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.state.base import StateAway, StateFailed
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_place import Address, RedisPlace, read_redis_url
from proxy.state.scripts import Script, load_script
from tests.fake_redis import SILENCE, fake_redis, hello
from tests.redis_server import RedisServer

pytestmark = pytest.mark.integration


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    source = "#!lua flags=allow-oom\nreturn {redis.call('INCRBY', KEYS[1] .. ':n', ARGV[1]), KEYS[1]}\n"
    monkeypatch.setattr("proxy.state.scripts._read", lambda _: source)
    return load_script("adds")


@pytest.fixture
async def link(redis: RedisServer) -> AsyncIterator[Link]:
    place = read_redis_url(redis.url)
    assert place is not None
    link = Link(place, 5.0)
    await link.start()
    yield link
    await link.aclose()


def to(port: int, timeout_s: float = 5.0) -> Link:
    return Link(RedisPlace("single", (Address("127.0.0.1", port),)), timeout_s)


async def test_scripts_and_commands_are_answered(link: Link, script: Script, keys: RedisKeys) -> None:
    tag = keys.team("sales")
    assert await link.run(script, [tag], [3]) == [3, tag.encode()]
    assert await link.run(script, [tag.encode()], ["4"]) == [7, tag.encode()]
    assert await link.ask("GET", f"{tag}:n") == b"7"
    assert not link.is_away


async def test_many_at_once_get_each_their_own(link: Link, keys: RedisKeys) -> None:
    names = [f"{keys.fleet}:{number}" for number in range(200)]
    await asyncio.gather(*(link.ask("SET", name, name, "EX", 60) for name in names))
    assert await asyncio.gather(*(link.ask("GET", name) for name in names)) == [name.encode() for name in names]


async def test_what_is_sent_is_done_in_order_and_nobody_waits(link: Link, script: Script, keys: RedisKeys) -> None:
    for _ in range(5):
        link.send(script, [keys.fleet], [1])
    await link.ask("PING")
    assert int(await link.ask("GET", f"{keys.fleet}:n")) == 5
    assert link.unheard == 0


async def test_a_forgotten_script_is_sent_again(link: Link, script: Script, keys: RedisKeys) -> None:
    await link.run(script, [keys.fleet], [1])
    await link.ask("SCRIPT", "FLUSH")
    link.send(script, [keys.fleet], [1])
    assert (await link.run(script, [keys.fleet], [1]))[0] == 3
    assert link.unheard == 0


async def test_a_script_that_fails_says_its_name_and_line_alone(
    link: Link, keys: RedisKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.state.scripts._read", lambda _: "\n\nreturn redis.call('INCR', ARGV[1], KEYS[1])\n")
    bad = load_script("bad")
    with pytest.raises(StateFailed, match="the script 'bad': ERR, line 3") as caught:
        await link.run(bad, [keys.fleet], ["s3cret"])
    assert not isinstance(caught.value, StateAway)
    assert "s3cret" not in str(caught.value)
    link.send(bad, [keys.fleet], ["s3cret"])
    await link.ask("PING")
    assert link.unheard == 1


async def test_what_can_not_be_written_fails_alone(link: Link, script: Script, keys: RedisKeys) -> None:
    with pytest.raises(StateFailed):
        await link.run(script, [keys.fleet], ["\ud800"])
    link.send(script, [keys.fleet], ["\ud800"])
    assert link.unheard == 1
    assert await link.ask("PING") == b"PONG"


async def test_who_leaves_takes_nobodys_answer(link: Link) -> None:
    leaving = asyncio.create_task(link.ask("ECHO", "a"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await link.ask("ECHO", "b") == b"b"


async def test_the_first_time_on_a_connection_a_script_is_sent_whole(script: Script) -> None:
    async with fake_redis(EVALSHA=b":2\r\n", EVAL=b":1\r\n") as fake:
        link = to(fake.port)
        await link.start()
        assert [await link.run(script, ["{a}"], [1]) for _ in range(3)] == [1, 2, 2]
        await link.aclose()


async def test_what_is_sent_behind_a_new_script_does_not_come_before_it(
    redis: RedisServer, link: Link, script: Script, keys: RedisKeys
) -> None:
    with redis.client as client:
        client.script_flush()
    link.send(script, [keys.fleet], [3])
    assert await link.ask("GET", f"{keys.fleet}:n") == b"3"


async def test_an_older_server_gets_scripts_without_flags(script: Script) -> None:
    async with fake_redis(HELLO=hello("6.2.14"), EVALSHA=b"-NOSCRIPT No matching script.\r\n", EVAL=b":1\r\n") as fake:
        link = to(fake.port)
        await link.start()
        assert [await link.run(script, ["{a}"], [1]) for _ in range(2)] == [1, 1]
        await link.aclose()
    old = script.without_flags
    sent = [[b"EVAL", old.source], [b"EVALSHA", old.digest], [b"EVAL", old.source]]
    assert [command[:2] for command in fake.asked[-3:]] == sent


async def test_a_script_that_is_sent_again_gets_no_more_time(script: Script) -> None:
    async with fake_redis(EVALSHA=b"-NOSCRIPT No matching script.\r\n", EVAL=b":1\r\n") as fake:
        link = to(fake.port, 0.05)
        await link.start()
        await link.run(script, ["{a}"], [1])
        fake.answers["EVAL"] = SILENCE
        with pytest.raises(StateAway, match="no answer within"):
            await link.run(script, ["{a}"], [1])
        await link.aclose()


@pytest.mark.parametrize(
    "said", ["READONLY You can't write", "LOADING Redis is", "MASTERDOWN Link with", "BUSY Redis is busy"]
)
async def test_a_server_that_is_not_the_one_to_ask_is_away(said: str, script: Script) -> None:
    async with fake_redis(EVALSHA=f"-{said}\r\n".encode()) as fake:
        link = to(fake.port)
        await link.start()
        with pytest.raises(StateAway, match=said.split(" ")[0]):
            await link.run(script, ["{a}"], [1])
        assert link.is_away
        await link.aclose()


async def test_a_full_server_keeps_its_connection(script: Script) -> None:
    async with fake_redis(EVALSHA=b"-OOM command not allowed\r\n") as fake:
        link = to(fake.port)
        await link.start()
        with pytest.raises(StateAway, match="full"):
            await link.run(script, ["{a}"], [1])
        assert not link.is_away
        await link.aclose()


async def test_a_cluster_that_is_asked_as_a_single_server_says_so(script: Script) -> None:
    async with fake_redis(EVALSHA=b"-MOVED 3999 10.1.1.1:6381\r\n") as fake:
        link = to(fake.port)
        await link.start()
        with pytest.raises(StateFailed, match=r"redis\+cluster://") as caught:
            await link.run(script, ["{a}"], [1])
        assert "10.1.1.1" not in str(caught.value)
        await link.aclose()


async def test_nobody_waits_for_a_server_that_is_away(script: Script) -> None:
    link = to(1)
    await link.start()
    assert link.is_away
    with pytest.raises(StateAway):
        await link.run(script, ["{a}"])
    with pytest.raises(StateAway):
        await link.ask("PING")
    link.send(script, ["{a}"])
    assert link.unheard == 1
    await link.aclose()
