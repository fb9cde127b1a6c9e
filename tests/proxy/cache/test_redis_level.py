"""The level in Redis over rows that are scripted; what it does with a real one: test_shared_level.py, and
tests/integration/test_shared_cache.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from proxy.cache.codec import encode
from proxy.cache.errands import LARGEST_BYTES
from proxy.cache.redis_level import RedisLevel
from proxy.cache.store import Stored
from proxy.cache.vectors import KeptVector, pack_vector
from proxy.state import Indexed, Meant, StateAway, StateFailed
from proxy.state.redis_cache import Claim, RedisCache
from tests.fakes import completion

STORED = Stored(orjson.dumps(completion("Hello!")), "search", "chat", b"s" * 32, "req_1", "mine", "a", 1e9, 700, 1.5)
KEY, FLIGHT = b"\x01" * 32, b"\x02" * 32


class FakeRows:
    """Redis, as far as it is scripted. With `failure`, whoever asks meets it."""

    def __init__(self) -> None:
        self.found: dict[bytes, bytes] = {}
        self.fates: list[list[bytes]] = []
        self.failure: StateFailed | None = None
        self.is_kept = True
        self.said: list[tuple[Any, ...]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, team: str, key: bytes) -> bytes | None:
        await self._ask("find", team, key)
        return self.found.get(key)

    async def find_many(self, team: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        await self._ask("find_many", team, len(keys))
        return {key: self.found[key] for key in keys if key in self.found}

    async def look(self, team: str, key: bytes, claim: Claim, lease_ms: int) -> list[bytes]:
        await self._ask("look", team, key, claim)
        return self.fates.pop(0)

    async def store(self, team: str, key: bytes, data: bytes, *rest: object) -> bool:
        await self._ask("store", team, key, *rest)
        return self.is_kept

    async def store_many(self, team: str, values: dict[bytes, bytes], *spans: int) -> int:
        await self._ask("store_many", team, len(values), *spans)
        return len(values) if self.is_kept else 0

    async def tell(self, name: str, data: bytes, count: int) -> None:
        await self._ask("tell", name, orjson.loads(data))

    async def purge(self, meant: Meant, teams: Sequence[str]) -> AsyncIterator[Sequence[bytes]]:
        await self._ask("purge", meant, teams)
        yield [KEY]
        yield [FLIGHT]

    async def note(self, name: str, data: bytes) -> None:
        await self._ask("note", name)

    async def find_note(self, name: str) -> bytes | None:
        await self._ask("find_note", name)
        return b"noted"

    def fly(self, *said: object) -> None:
        self.said.append(("fly", *said))

    def drop(self, team: str, key: bytes) -> None:
        self.said.append(("drop", team, key))

    def touch(self, indexes: Sequence[tuple[str, bytes]]) -> None:
        self.said.append(("touch", *indexes))

    async def _ask(self, *said: object) -> None:
        self.said.append(said)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure

    def of(self, what: str) -> list[tuple[Any, ...]]:
        return [said[1:] for said in self.said if said[0] == what]


def a_level() -> tuple[RedisLevel, FakeRows]:
    rows = FakeRows()
    return RedisLevel(cast(RedisCache, rows), cast(Callable[[], Any], lambda: pytest.fail("nobody follows"))), rows


async def test_what_is_there_is_found() -> None:
    level, rows = a_level()
    rows.found[KEY] = encode(KEY, STORED)
    assert await level.find("search", KEY) == STORED
    assert level.stats.found == 1


async def test_a_long_answer_is_read_beside_the_loop() -> None:
    level, rows = a_level()
    long = replace(STORED, body=orjson.dumps(completion("x" * 100_000)))
    rows.found[KEY] = encode(KEY, long)
    assert await level.find("search", KEY) == long


async def test_what_says_that_it_is_another_team_s_is_none() -> None:
    level, rows = a_level()
    rows.found[KEY] = encode(KEY, STORED)
    assert await level.find("sales", KEY) is None
    assert rows.of("drop") == [("sales", KEY)]
    assert level.stats.damaged == 1


@pytest.mark.parametrize("failure", [StateAway("gone"), StateFailed("refused")])
async def test_what_cannot_be_asked_is_a_miss(failure: StateFailed) -> None:
    level, rows = a_level()
    rows.failure = failure
    assert await level.find("search", KEY) is None
    assert await level.find_vectors("search", [KEY]) == {}
    look = level.look("search", KEY, FLIGHT, 0)
    assert (await look.found(), look.fate) == (None, "alone")
    look.leave()
    level.add(KEY, STORED, 60)
    level.note("name", b"data")
    heard: list[str] = []
    assert level.teach(b"{}", lambda: heard.append("not"))
    with pytest.raises(StateFailed):
        await level.purge(Meant(), ())
    await level.aclose()
    assert (level.stats.dropped, level.stats.is_failing, heard) == (1, True, ["not"])


async def test_calls_that_want_the_same_look_once() -> None:
    level, rows = a_level()
    rows.fates = [[b"found", encode(KEY, STORED)]]
    rows.gate.clear()
    looks = [level.look("search", KEY, FLIGHT, 0) for _ in range(3)]
    assert looks[0] is looks[1] is looks[2]
    rows.gate.set()
    assert [await look.found() for look in looks] == [STORED] * 3
    assert len(rows.of("look")) == 1
    rows.fates = [[b"vain"]]
    later = level.look("search", KEY, FLIGHT, 0)
    assert later is not looks[0]
    await later.found()
    assert later.fate == "vain"


async def test_a_lead_ends_with_what_it_brings() -> None:
    level, rows = a_level()
    rows.fates = [[b"lead"]]
    look = level.look("search", KEY, FLIGHT, 0)
    await look.found()
    lead = look.take()
    assert lead is not None
    [(_, _, claim)] = rows.of("look")
    level.add(KEY, STORED, 60, 1.5, lead, Indexed(b"s" * 32, b"entry"))
    lead.free()
    await level.aclose()
    assert rows.of("store") == [("search", KEY, 60_000, 1500, claim, 1000, Indexed(b"s" * 32, b"entry"))]
    assert rows.of("fly") == []
    assert rows.of("touch") == [(("search", b"s" * 32),)]


async def test_an_answer_that_is_too_large_is_not_sent_and_nobody_waits_for_it() -> None:
    level, rows = a_level()
    rows.fates = [[b"lead"]]
    look = level.look("search", KEY, FLIGHT, 0)
    await look.found()
    level.add(KEY, replace(STORED, body=bytes(LARGEST_BYTES)), 60, lead=look.take())
    assert [what for *_, what, _ in rows.of("fly")] == ["vain"]
    assert rows.of("store") == []
    assert level.stats.dropped == 1


async def test_where_another_replica_flies_it_says_so() -> None:
    level, rows = a_level()
    rows.fates = [[b"flying", b"theirs"]]
    look = level.look("search", KEY, FLIGHT, 0)
    assert await look.found() is None
    assert (look.fate, look.holder, look.take()) == ("flying", b"theirs", None)


async def test_streams_only_look() -> None:
    level, rows = a_level()
    look = level.look("search", KEY, None, 0)
    assert (await look.found(), look.fate, rows.of("look")) == (None, "alone", [])


async def test_inputs_of_embeddings_go_together_and_the_first_alone() -> None:
    level, rows = a_level()
    vector = replace(STORED, body=pack_vector(KeptVector(bytes(16), "m", 3)))
    rows.found = {KEY: encode(KEY, vector), FLIGHT: encode(FLIGHT, STORED)}
    keys = [KEY, FLIGHT, *(number.to_bytes(32, "big") for number in range(200))]
    assert await level.find_vectors("search", keys) == {KEY: vector}
    assert rows.of("find_many") == [("search", 128)]
    assert rows.of("drop") == [("search", FLIGHT)], "that is an answer, and no vector"
    level.add_vectors({KEY: vector, FLIGHT: vector}, 60, 0.5)
    await level.aclose()
    assert rows.of("store_many") == [("search", 2, 60_000, 500)]


async def test_many_vectors_are_written_in_pieces_one_after_the_other() -> None:
    level, rows = a_level()
    vector = replace(STORED, body=pack_vector(KeptVector(bytes(6144), "m", 3)))
    rows.gate.clear()
    level.add_vectors({number.to_bytes(32, "big"): vector for number in range(2048)}, 60, 0.5)
    await asyncio.sleep(0)
    first = rows.of("store_many")
    assert len(first) == 1
    assert first[0][1] * 6144 <= LARGEST_BYTES, "calls wait for the same link"
    rows.gate.set()
    await level.aclose()
    count = sum(said[1] for said in rows.of("store_many"))
    assert 500 < count < 700, "4 MB of them"
    assert level.stats.dropped == 2048 - count


async def test_who_comes_when_a_lead_that_nobody_took_has_lapsed_looks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    level, rows = a_level()
    rows.fates = [[b"lead"], [b"found", encode(KEY, STORED)]]
    first = level.look("search", KEY, FLIGHT, 0)
    assert await first.found() is None
    assert level.look("search", KEY, FLIGHT, 0) is first
    now_s = asyncio.get_running_loop().time()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now_s + 1.5)
    second = level.look("search", KEY, FLIGHT, 0)
    assert await second.found() == STORED
    second.leave()
    first.leave()
    first.leave()
    assert rows.of("fly") == [("search", Claim(FLIGHT.hex(), rows.of("look")[0][2].token), "free", 0)]


async def test_others_are_told_of_a_purge_before_and_after() -> None:
    level, rows = a_level()
    purged = await level.purge(Meant(team="search"), ["search"])
    assert (purged.count, purged.keys) == (2, [KEY, FLIGHT])
    assert [said[0] for said in rows.said] == ["tell", "purge", "tell"]
    assert [notice["keys"] for _, notice in rows.of("tell")] == [[], [KEY.hex(), FLIGHT.hex()]]


async def test_a_note_is_looked_for_until_there_is_a_connection() -> None:
    level, rows = a_level()
    rows.failure = StateAway("not yet")
    finding = asyncio.create_task(level.find_note("learned"))
    await asyncio.sleep(0)
    rows.failure = None
    assert await finding == b"noted"
