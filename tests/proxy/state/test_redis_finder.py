from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot as reference

from proxy.state.base import StateAway
from proxy.state.redis_door import Door
from proxy.state.redis_finder import Finder, Slots, key_slot, read_slots
from proxy.state.redis_place import Address, RedisPlace
from tests.fake_redis import SILENCE, fake_redis

NAMED = b"*2\r\n$9\r\n127.0.0.1\r\n$4\r\n%d\r\n"
HOME = "127.0.0.1"


def found(*ports: int, form: str = "sentinel") -> Finder:
    addresses = tuple(Address(HOME, port) for port in ports)
    return Finder(Door(RedisPlace(form, addresses, service="main"), 1.0))  # type: ignore[arg-type]


@given(st.text("a{}b").map(str.encode))
def test_a_key_has_the_slot_that_redis_gives_it(key: bytes) -> None:
    assert key_slot(key) == reference(key)


def test_who_does_not_know_its_own_address_is_where_it_was_asked() -> None:
    answer = [
        [0, 99, [b"10.0.0.1", 7000, b"id", []], [b"10.0.0.2", 7000, b"id"]],
        [100, 199, [None, 7001, b"id"]],
        [200, 299, [b"?", 7002, b"id"]],
        [300, 399, [b"", 7003, b"id"]],
    ]
    assert read_slots(answer, "h") == [
        Slots(0, 99, Address("10.0.0.1", 7000)),
        Slots(100, 199, Address("h", 7001)),
        Slots(200, 299, Address("h", 7002)),
        Slots(300, 399, Address("h", 7003)),
    ]


async def test_a_single_server_is_where_the_url_says() -> None:
    assert await found(7, form="single").primaries("") == (Address(HOME, 7),)


@pytest.mark.integration
async def test_what_most_sentinels_say_goes_first_and_who_is_silent_is_not_waited_for() -> None:
    async with (
        fake_redis(SENTINEL=NAMED % 7001) as stale,
        fake_redis(SENTINEL=NAMED % 7002) as first,
        fake_redis(SENTINEL=NAMED % 7002) as second,
        fake_redis(SENTINEL=b"*-1\r\n") as ignorant,
        fake_redis(SENTINEL=SILENCE) as frozen,
    ):
        finder = found(1, *(fake.port for fake in (stale, first, second, ignorant, frozen)))
        assert await finder.primaries("") == [Address(HOME, 7002), Address(HOME, 7001)]
    assert first.asked == [[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"main"]]


@pytest.mark.integration
async def test_no_sentinel_knows_the_server() -> None:
    async with fake_redis(SENTINEL=b"*-1\r\n") as ignorant:
        with pytest.raises(StateAway, match="no sentinel"):
            await found(ignorant.port).primaries("")


@pytest.mark.integration
async def test_a_cluster_is_found_again_by_nodes_that_the_url_does_not_have() -> None:
    async with fake_redis() as later:
        node = b"*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % later.port
        later.answers["CLUSTER"] = b"*1\r\n" + node
        async with fake_redis(CLUSTER=b"*1\r\n" + node) as first:
            finder = found(first.port, form="cluster")
            assert await finder.primaries("{team}:x") == [Address(HOME, later.port)]
        assert await finder.slots() == [Slots(0, 16_383, Address(HOME, ANY))]
        later.answers["CLUSTER"] = b"*0\r\n"
        with pytest.raises(StateAway, match="no node"):
            await finder.slots()
