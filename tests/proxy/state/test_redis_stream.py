import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.state.base import StateAway
from proxy.state.redis_door import Door
from proxy.state.redis_finder import Finder
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_place import read_redis_url
from proxy.state.redis_stream import StreamReader, resume
from tests.redis_server import RedisServer, running


def info(newest: str, first: str | None) -> list[Any]:
    entry = None if first is None else [first.encode(), [b"a", b"b"]]
    return [b"length", 1, b"last-generated-id", newest.encode(), b"first-entry", entry]


@pytest.mark.parametrize(
    ("last", "said", "expected"),
    [
        (None, None, (b"0-0", False)),
        (None, info("7-1", "5-0"), (b"7-1", False)),
        (b"5-0", info("7-1", "5-0"), (b"5-0", False)),
        (b"6-0", info("7-1", "5-0"), (b"6-0", False)),
        (b"7-1", info("7-1", None), (b"7-1", False)),
        (b"5-0", info("7-1", "6-0"), (b"5-0", True)),
        (b"5-9", info("7-1", "5-10"), (b"5-9", True)),
        (b"5-0", info("7-1", None), (b"5-0", True)),
        (b"5-0", None, (b"0-0", True)),
        (b"5-0", info("4-9", "4-0"), (b"0-0", True)),
        (b"0-0", None, (b"0-0", False)),
        (b"0-0", info("4-9", "4-0"), (b"0-0", True)),
    ],
)
def test_where_to_go_on_and_whether_something_is_missing(
    last: bytes | None, said: list[Any] | None, expected: tuple[bytes, bool]
) -> None:
    assert resume(last, said) == expected


class Reading:
    """Reads a stream until it is stopped."""

    def __init__(self, server: RedisServer, key: str) -> None:
        place = read_redis_url(server.url)
        assert place is not None
        door = Door(place, 5.0)
        self.heard: list[tuple[bytes, dict[bytes, bytes]]] = []
        self.gaps = 0
        self.reader = StreamReader(door, Finder(door), key, lambda *entry: self.heard.append(entry), self._gap)

    def _gap(self) -> None:
        self.gaps += 1

    async def until(self, is_true: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Read; once there is a connection do this, and stop when that is true."""
        up = asyncio.Event()
        task = asyncio.create_task(self.reader.hear(up.set))
        async with asyncio.timeout(20):
            await up.wait()
            meanwhile()
            while not is_true():
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.integration
async def test_entries_since_the_beginning_are_told_in_order_and_none_from_before(
    redis: RedisServer, keys: RedisKeys
) -> None:
    key = f"{keys.fleet}:news"
    reading = Reading(redis, key)
    redis.ask("XADD", key, "*", "n", "old")

    def add() -> None:
        for number in range(3):
            redis.ask("XADD", key, "*", "n", number)

    await reading.until(lambda: len(reading.heard) == 3, add)
    assert [fields for _, fields in reading.heard] == [{b"n": b"0"}, {b"n": b"1"}, {b"n": b"2"}]
    assert reading.gaps == 0


@pytest.mark.integration
async def test_what_was_added_while_nobody_read_is_told_afterwards(redis: RedisServer, keys: RedisKeys) -> None:
    key = f"{keys.fleet}:news"
    reading = Reading(redis, key)
    await reading.until(lambda: len(reading.heard) == 1, lambda: redis.ask("XADD", key, "*", "n", 0))
    redis.ask("XADD", key, "*", "n", 1)
    redis.ask("XADD", key, "*", "n", 2)
    await reading.until(lambda: len(reading.heard) == 3)
    assert reading.gaps == 0
    redis.ask("XADD", key, "MAXLEN", 1, "*", "n", 3)
    await reading.until(lambda: len(reading.heard) == 4)
    assert reading.gaps == 1, "its place was cut off: more than that one may be"
    redis.ask("DEL", key)
    redis.ask("XADD", key, "1-1", "n", 4)
    await reading.until(lambda: len(reading.heard) == 5)
    assert reading.gaps == 2, "another stream, whose ids begin anew"


@pytest.mark.integration
async def test_who_begins_late_may_have_missed_something(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    reading = Reading(server, "news")
    with pytest.raises(StateAway):
        await reading.reader.hear(lambda: None)
    with running(server):
        await reading.until(lambda: reading.gaps == 1)
        await reading.until(lambda: True)
    assert reading.gaps == 1
