import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.state.redis_finder import key_slot
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_listener import Listener
from proxy.state.redis_place import Address, RedisPlace, read_redis_url
from tests.fake_redis import SILENCE, fake_redis
from tests.redis_fleet import redis_cluster
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.integration


class Ears:
    """A listener, and what it heard."""

    def __init__(self, url: str, stream: str | None, channel: str | None) -> None:
        place = read_redis_url(url)
        assert place is not None
        self.entries: list[dict[bytes, bytes]] = []
        self.messages: list[bytes] = []
        self.listener = Listener(
            place, 5.0, stream=stream, channel=channel, on_entry=self._entry, on_message=self.messages.append
        )

    def _entry(self, _: bytes, fields: dict[bytes, bytes]) -> None:
        self.entries.append(fields)
        if b"bad" in fields:
            raise ValueError("a callback that fails")


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_true():
            await asyncio.sleep(0.01)


async def test_a_stream_and_a_channel_are_heard(redis: RedisServer, keys: RedisKeys) -> None:
    stream, channel = f"{keys.fleet}:news", f"{keys.fleet}:fleet"
    ears = Ears(redis.url, stream, channel)
    before = ears.listener.is_away
    await ears.listener.start()
    assert (before, ears.listener.is_away) == (True, False)
    redis.ask("XADD", stream, "*", "kind", "keys")
    redis.ask("PUBLISH", channel, "digest")
    await until(lambda: bool(ears.entries and ears.messages))
    assert (ears.entries, ears.messages) == ([{b"kind": b"keys"}], [b"digest"])
    await ears.listener.aclose()


async def test_a_callback_that_fails_is_logged_and_the_next_entry_follows(
    redis: RedisServer, keys: RedisKeys, caplog: pytest.LogCaptureFixture
) -> None:
    stream = f"{keys.fleet}:news"
    ears = Ears(redis.url, stream, None)
    await ears.listener.start()
    redis.ask("XADD", stream, "*", "bad", "1")
    redis.ask("XADD", stream, "*", "good", "1")
    await until(lambda: len(ears.entries) == 2)
    assert "Exception in callback" in caplog.text
    await ears.listener.aclose()


async def test_no_entry_is_lost_with_the_connection(redis: RedisServer, keys: RedisKeys) -> None:
    stream, channel = f"{keys.fleet}:news", f"{keys.fleet}:fleet"
    ears = Ears(redis.url, stream, channel)
    await ears.listener.start()
    redis.ask("CLIENT", "KILL", "TYPE", "normal")
    redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    for number in range(5):
        redis.ask("XADD", stream, "*", "n", number)
    await until(lambda: len(ears.entries) == 5 and not ears.listener.is_away)
    redis.ask("PUBLISH", channel, "again")
    await until(lambda: bool(ears.messages))
    await ears.listener.aclose()
    assert [fields[b"n"] for fields in ears.entries] == [b"0", b"1", b"2", b"3", b"4"]
    assert ears.messages == [b"again"]


async def test_a_frozen_server_is_away_and_heard_again(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        ears = Ears(server.url, "news", "fleet")
        await ears.listener.start()
        server.freeze()
        await until(lambda: ears.listener.is_away)
        server.thaw()
        await until(lambda: not ears.listener.is_away)
        server.ask("XADD", "news", "*", "n", "1")
        await until(lambda: bool(ears.entries))
        await ears.listener.aclose()
    assert ears.entries == [{b"n": b"1"}]


async def test_who_is_away_at_the_start_is_tried_again() -> None:
    async with fake_redis(XINFO=b"-ERR no such key\r\n", XREAD=SILENCE, SUBSCRIBE=SILENCE) as fake:
        place = RedisPlace("single", (Address("127.0.0.1", fake.port),))
        listener = Listener(place, 5.0, stream="s", channel="c")
        await listener.start()
        assert listener.is_away, "it never lets us subscribe"
        fake.answers["SUBSCRIBE"] = b"*3\r\n+subscribe\r\n+c\r\n:1\r\n"
        await until(lambda: not listener.is_away)
        await listener.aclose()


async def test_in_a_cluster_the_stream_is_read_where_it_is(tmp_path: Path, keys: RedisKeys) -> None:
    with redis_cluster(tmp_path) as cluster:
        streams = [f"{keys.team(name)}:news" for name in "abcd"]
        heard = [Ears(cluster.url, stream, "fleet") for stream in streams]
        await asyncio.gather(*(ears.listener.start() for ears in heard))
        for stream in streams:
            cluster.owner(key_slot(stream.encode())).ask("XADD", stream, "*", "at", stream)
        cluster.nodes[1].ask("PUBLISH", "fleet", "digest")
        await until(lambda: all(ears.entries and ears.messages for ears in heard))
        assert [ears.entries for ears in heard] == [[{b"at": stream.encode()}] for stream in streams]
        await asyncio.gather(*(ears.listener.aclose() for ears in heard))
