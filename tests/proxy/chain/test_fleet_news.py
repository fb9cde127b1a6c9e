import asyncio
from math import inf
from random import Random

import orjson
import pytest

from proxy.cache import Shelf, Store, Stored
from proxy.cache.served import Hit
from proxy.chain import CacheState, FleetNews
from proxy.observe import CacheCounts
from proxy.state import Meant
from proxy.state.base import StateAway
from routing import Capacity, Fleet, Outcome
from tests.fakes import HandClock
from tests.news import FakeNews
from tests.routing.fleets import a_target

TARGET = "p/a"
NOW_S = 1_790_000_000.0


class Rig:
    def __init__(self, *others: str) -> None:
        self.news, self.clock = FakeNews(*others), HandClock()
        self.fleet = Fleet()
        self.fleet.join([a_target("a", capacity=Capacity(rpm=60)), a_target("b")])
        self.cache = CacheState(Store(10**7, Random(1)), Shelf(10**6), CacheCounts(), lambda: NOW_S)
        self.fleet_news = FleetNews(self.news, self.fleet, self.cache, "abc", self.clock)

    async def seated(self) -> "Rig":
        running = asyncio.create_task(self.fleet_news.run())
        while not self.news.replicas:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        return self

    def keep(self, key: bytes, team: str = "search", model: str = "chat") -> None:
        self.cache.store.add(key, Stored(b"{}", team, model, b"s", f"req_{key.decode()}", "mine", "a", NOW_S, 0))

    def kept(self) -> set[str]:
        return {name for name in ("k", "l", "m") if self.cache.store.find(name.encode(), NOW_S, inf) is not None}

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.fleet[TARGET].began(10, self.clock.now)
            self.fleet.ended(Outcome(TARGET, "failed", self.clock.now, 0.1), self.clock.now)


async def test_a_gateway_says_who_it_is_and_by_which_config_it_goes() -> None:
    rig = await Rig("other").seated()
    assert rig.news.me.config_hash == "abc"
    assert len(rig.news.me.id) == 12
    rig.fleet_news.show("def")
    assert rig.news.shown == ["def"]
    await rig.fleet_news.aclose()
    assert rig.news.is_closed


async def test_how_targets_fare_is_told_where_there_is_something_to_tell_and_somebody_to_hear() -> None:
    alone, rig = await Rig().seated(), await Rig("other").seated()
    for one in (alone, rig):
        one.fleet_news.share()
        one.fail()
        one.fleet_news.share()
        one.fleet_news.share()
    assert alone.news.messages == []
    (message,) = rig.news.messages
    said = orjson.loads(message)
    assert said["from"] == rig.news.me.id
    assert said["targets"][TARGET][:2] == [1, 1]


async def test_what_others_tell_of_targets_is_absorbed_and_what_it_said_itself_is_not() -> None:
    one, other = await Rig("other").seated(), await Rig("one").seated()
    one.fail(5)
    one.fleet_news.share()
    for rig in (one, other):
        rig.fleet_news.shouted(one.news.messages[0])
    assert other.fleet[TARGET].breaker.state(other.clock.now) == "open"
    assert other.fleet["p/b"].breaker.state(other.clock.now) == "closed"
    assert one.fleet[TARGET].pacer.headroom(one.clock.now) == pytest.approx(1 - 10 / 60)  # its own and as many others'


async def test_while_others_cannot_be_heard_each_keeps_to_its_share() -> None:
    rig = await Rig("other").seated()
    rig.fail()
    for is_away, left in ((True, 58), (True, 58), (False, 58), (False, 58)):
        rig.news.is_away = is_away
        rig.fleet_news.share()
        assert rig.fleet[TARGET].pacer.headroom(rig.clock.now) == pytest.approx(left / 60)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[]",
        b"1",
        b"{}",
        b'{"from": "x"}',
        b'{"from": "x", "targets": 5}',
        b'{"from": "x", "targets": {"p/a": 5}}',
        b'{"from": "x", "targets": {"p/a": ["y"]}}',
        b'{"from": "x", "complaint": "z"}',
        b'{"from": "x", "complaint": [1, 2, 3]}',
    ],
)
async def test_a_message_that_makes_no_sense_is_passed_over(message: bytes) -> None:
    rig = await Rig("other").seated()
    rig.fleet_news.shouted(message)
    assert rig.fleet[TARGET].obstacle(0, rig.clock.now) is None


async def test_a_drain_is_ordered_for_all_and_acts_when_it_is_told() -> None:
    rig = await Rig().seated()
    await rig.fleet_news.drain(TARGET, 60.0)
    await rig.fleet_news.undrain("p/b")
    assert rig.news.told == [("drain", TARGET, 60.0), ("undrain", "p/b")]
    assert rig.fleet[TARGET].obstacle(0, rig.clock.now) is None
    rig.fleet_news.drained({TARGET: 60.0, "p/elsewhere": 5.0})
    assert rig.fleet[TARGET].obstacle(0, rig.clock.now) == ("drained", 60.0)
    rig.fleet_news.drained({})
    assert rig.fleet[TARGET].obstacle(0, rig.clock.now) is None


async def test_a_purge_goes_to_the_others_and_does_there_what_it_did_here() -> None:
    one, other = await Rig().seated(), await Rig().seated()
    one.cache.others = one.fleet_news
    for rig in (one, other):
        rig.keep(b"k")
        rig.keep(b"l", model="large")
        rig.keep(b"m", team="sales")
    assert await one.cache.purge(Meant(team="search", model="chat")) == 1
    ((_, said),) = one.news.told
    other.fleet_news.purged(orjson.dumps(said))
    assert one.kept() == other.kept() == {"l", "m"}
    assert other.news.told == []


async def test_a_complaint_makes_others_forget_the_answer_by_its_key() -> None:
    one, other = await Rig().seated(), await Rig().seated()
    one.cache.others = one.fleet_news
    for rig in (one, other):
        rig.keep(b"k")
        rig.keep(b"l")
    one.cache.served.add(Hit("search", b"k", "req_k"), "req_9", "req_9")
    assert await one.cache.complain("search", "req_9") == 1
    other.fleet_news.purged(orjson.dumps(one.news.told[0][1]))
    assert one.kept() == other.kept() == {"l"}


async def test_a_complaint_over_a_call_of_another_gateway_finds_it() -> None:
    one, other = await Rig("other").seated(), await Rig("one").seated()
    for rig in (one, other):
        rig.cache.others = rig.fleet_news
        rig.keep(b"k")
    other.cache.served.add(Hit("search", b"k", "req_k"), "req_9", "req_9")
    assert await one.cache.complain("search", "req_9") == 0
    (message,) = one.news.messages
    other.fleet_news.shouted(message)
    await asyncio.gather(*other.fleet_news._complaints)
    assert other.kept() == set()
    one.fleet_news.purged(orjson.dumps(other.news.told[0][1]))
    assert one.kept() == set()
    assert other.news.messages == []  # it asks nobody further


async def test_a_complaint_while_redis_is_away_ends_quietly_where_it_was_sent_on() -> None:
    rig = await Rig("other").seated()
    rig.cache.others = rig.fleet_news
    rig.keep(b"k")
    rig.cache.served.add(Hit("search", b"k", "req_k"), "req_9", "req_9")
    rig.news.is_away = True
    rig.fleet_news.shouted(b'{"from": "other", "complaint": ["search", "req_9"]}')
    await asyncio.gather(*rig.fleet_news._complaints)
    assert rig.kept() == set()


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"key": 5}', b'{"key": null, "mood": "bad"}', b'{"key": "xyz"}'])
async def test_a_purge_that_is_not_understood_may_be_of_anything(data: bytes) -> None:
    rig = await Rig().seated()
    rig.keep(b"k")
    rig.fleet_news.purged(data)
    assert rig.kept() == set()


@pytest.mark.parametrize("is_fleetwide", [False, True])
async def test_purges_that_were_missed_may_have_been_of_anything(
    monkeypatch: pytest.MonkeyPatch, *, is_fleetwide: bool
) -> None:
    monkeypatch.setattr(CacheState, "is_fleetwide", is_fleetwide)
    rig = await Rig().seated()
    rig.keep(b"k")
    rig.keep(b"m", team="sales")
    rig.fleet_news.missed()
    assert rig.kept() == set()


async def test_a_purge_that_cannot_be_told_says_so() -> None:
    rig = await Rig().seated()
    rig.cache.others, rig.news.is_away = rig.fleet_news, True
    with pytest.raises(StateAway):
        await rig.cache.purge(Meant(team="search"))
