from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from proxy.cache.nearest.base import LookupFailed, Vectors
from proxy.cache.nearest.embedder import LocalEmbedder
from proxy.cache.nearest.index import Index
from proxy.cache.nearest.worker import Worker

DIMS = 16


def encode_one(text: str) -> list[float]:
    numbers = np.random.default_rng(list(text.encode())).standard_normal(DIMS)
    return [*(numbers / np.linalg.norm(numbers))]


class Rig:
    def __init__(self, wait_s: float = 5.0, budget_bytes: int = 10**9) -> None:
        self.embedded: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.worker = Worker("test")
        embedder = LocalEmbedder("test", DIMS, self._encode, self.worker)
        self.index = Index(embedder, self.worker, budget_bytes, wait_s)

    def _encode(self, texts: Sequence[str]) -> Vectors:
        self.gate.wait(5)
        if "bad" in texts:
            raise ValueError("no vector")
        self.embedded += texts
        return np.array([encode_one(text) for text in texts], np.float32)

    def add(self, text: str, scope: bytes = b"s", vector: Any = None, expires_at: float = 1e9) -> None:
        self.index.add(scope, text.encode(), text, vector, team="search", expires_at=expires_at, now=0.0)

    async def find(self, text: str, scope: bytes = b"s", now: float = 0.0) -> list[str]:
        return [one.text for one in (await self.index.nearest(scope, text, now)).candidates]

    async def done(self) -> None:
        """Whatever was asked for is done."""
        while self.index._tasks:
            await asyncio.wait(self.index._tasks)
        await self.worker.submit(lambda: None)

    async def close(self) -> None:
        self.gate.set()
        await self.index.aclose()


async def test_a_look_up_in_an_empty_scope_embeds_nothing() -> None:
    rig = Rig()
    found = await rig.index.nearest(b"s", "a", 0.0)
    assert found.vector is None
    assert found.candidates == ()
    assert rig.embedded == []
    await rig.close()


async def test_the_first_of_a_scope_is_embedded_with_the_first_look_up() -> None:
    rig = Rig()
    rig.add("a")
    await rig.done()
    assert rig.embedded == []
    assert await rig.find("b") == ["a"]
    assert rig.embedded == ["b", "a"]
    assert await rig.find("c") == ["a"]
    assert rig.embedded == ["b", "a", "c"]
    await rig.close()


async def test_a_vector_that_was_found_need_not_be_made_again() -> None:
    rig = Rig()
    rig.add("a")
    await rig.done()
    found = await rig.index.nearest(b"s", "b", 0.0)
    rig.add("b", vector=found.vector)
    assert (await rig.find("b"))[0] == "b"
    assert rig.embedded == ["b", "a", "b"]
    await rig.close()


async def test_a_later_one_without_vector_is_embedded_soon() -> None:
    rig = Rig()
    rig.add("a")
    await rig.done()
    rig.add("b")
    await rig.done()
    assert rig.embedded == ["b"]
    assert sorted(await rig.find("c")) == ["a", "b"]
    await rig.close()


async def test_two_look_ups_at_once_place_a_pending_entry_once() -> None:
    rig = Rig()
    rig.add("a")
    await rig.done()
    first, second = await asyncio.gather(rig.find("b"), rig.find("c"))
    assert first == second == ["a"]
    assert rig.index.stats.entries == 1
    await rig.close()


async def test_scopes_are_apart() -> None:
    rig = Rig()
    rig.add("a", b"one")
    rig.add("b", b"two")
    await rig.done()
    assert await rig.find("a", b"two") == ["b"]
    assert await rig.find("a", b"three") == []
    await rig.close()


async def test_what_has_expired_is_not_found() -> None:
    rig = Rig()
    rig.add("a", expires_at=10.0)
    await rig.done()
    assert await rig.find("a", now=9.0) == ["a"]
    assert await rig.find("a", now=10.0) == []
    assert rig.index.stats.expired == 1
    await rig.close()


async def test_what_is_removed_is_not_found() -> None:
    rig = Rig()
    for text in "abc":
        rig.add(text)
        await rig.done()
    rig.index.remove([b"a", b"c"])
    assert await rig.find("a") == ["b"]
    await rig.close()


async def test_purging_says_how_many_there_were() -> None:
    rig = Rig()
    for text in "abc":
        rig.add(text, text.encode())
    assert await rig.index.purge(lambda one: one.text != "b") == 2
    assert rig.index.stats.entries == 1
    await rig.close()


async def test_a_budget_may_change_and_what_was_served_stays_longest() -> None:
    rig = Rig()
    for text in "abc":
        rig.add(text, text.encode())
    rig.index.touch(b"a")
    await rig.done()
    rig.index.resize(rig.index.stats.used_bytes - 1)
    assert await rig.find("x", b"b") == []
    assert await rig.find("x", b"a") == ["a"]
    assert rig.index.stats.evicted == 1
    await rig.close()


async def test_a_look_up_that_takes_too_long_fails_and_its_work_is_not_lost() -> None:
    rig = Rig(wait_s=0.01)
    rig.add("a")
    await rig.done()
    rig.gate.clear()
    with pytest.raises(LookupFailed, match="slow"):
        await rig.find("b")
    rig.gate.set()
    await rig.done()
    rig.index.wait_s = 5.0
    assert await rig.find("c") == ["a"]
    assert rig.embedded == ["b", "a", "c"]
    await rig.close()


async def test_a_look_up_whose_embedding_fails_says_so() -> None:
    rig = Rig()
    rig.add("a")
    await rig.done()
    with pytest.raises(LookupFailed, match="failed"):
        await rig.find("bad")
    assert await rig.find("b") == ["a"]
    await rig.close()


async def test_an_entry_that_cannot_be_embedded_is_counted() -> None:
    rig = Rig()
    rig.add("a")
    await rig.done()
    rig.add("bad")
    await rig.done()
    assert rig.index.stats.dropped == 1
    assert rig.index.stats.entries == 1
    await rig.close()


async def test_a_cancelled_look_up_leaves_the_index_as_it_is() -> None:
    rig = Rig()
    rig.add("a")
    await rig.done()
    rig.gate.clear()
    task = asyncio.ensure_future(rig.find("b"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    rig.gate.set()
    assert await rig.find("c") == ["a"]
    await rig.close()


async def test_a_closed_index_takes_nothing_and_finds_nothing() -> None:
    rig = Rig()
    rig.add("a")
    await rig.done()
    await rig.close()
    rig.add("b", b"other")
    rig.index.touch(b"a")
    rig.index.remove([b"a"])
    with pytest.raises(LookupFailed, match="closed"):
        await rig.find("b")
    with pytest.raises(LookupFailed, match="closed"):
        await rig.index.purge(lambda one: True)
    assert rig.index.stats.dropped == 1


async def test_closing_ends_what_is_being_embedded() -> None:
    rig = Rig()
    rig.add("a")
    await rig.done()
    rig.gate.clear()
    rig.add("b")
    looking = asyncio.ensure_future(rig.find("c"))
    purging = asyncio.ensure_future(rig.index.purge(lambda one: True))
    await asyncio.sleep(0)
    await rig.index.aclose()
    for task in (looking, purging):
        with pytest.raises(LookupFailed, match="closed"):
            await task
    assert not rig.index._tasks
    rig.gate.set()


async def test_a_fault_of_ours_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.add("a")
    for _ in range(3):
        rig.index.remove([[]])  # type: ignore[list-item]
    await rig.done()
    await asyncio.sleep(0)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "TypeError" in caplog.text
    assert await rig.find("b") == ["a"]
    await rig.close()


@pytest.mark.parametrize("count", [2, 150])
async def test_what_is_removed_is_not_found_however_much_it_is(count: int) -> None:
    rig = Rig()
    for number in range(count + 1):
        rig.add(f"{number}", vector=np.array(encode_one(f"{number}"), np.float32))
    rig.index.remove(f"{number}".encode() for number in range(count))
    await rig.done()
    assert await rig.find("0") == [f"{count}"]
    rig.index.drop(lambda entry: entry.team == "search")
    await rig.done()
    assert rig.index.stats.entries == 0
    await rig.close()


async def test_a_look_up_that_fails_is_logged_once_too(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.add("a", vector=np.array(encode_one("a"), np.float32))
    await rig.done()
    for _ in range(2):
        with pytest.raises(LookupFailed, match="failed"):
            await rig.find("bad")
    assert caplog.text.count("ValueError. This is said once.") == 1
    await rig.close()


async def test_what_one_index_packs_another_one_finds() -> None:
    ours, theirs = Rig(), Rig()
    texts = ("one", "two", "three")
    rows = [
        (text.encode(), ours.index.pack(b"s" * 32, text, np.array(encode_one(text), np.float32), 1e9)) for text in texts
    ]
    await theirs.index.take(rows, "search", 0.0)
    assert (await theirs.find("two", b"s" * 32))[0] == "two"
    assert theirs.embedded == ["two"], "only what was asked"
    await ours.index.take(rows, "search", 0.0)
    assert ours.index.stats.entries == 0, "its own is no news"
    for rig in (ours, theirs):
        await rig.index.aclose()


async def test_what_comes_without_a_vector_is_given_one() -> None:
    ours, theirs = Rig(), Rig()
    rows = [(text.encode(), ours.index.pack(b"s" * 32, text, None, 1e9)) for text in ("one", "two", "three")]
    await theirs.index.take(rows, "search", 0.0)
    assert theirs.embedded == ["two", "three"], "the first of a scope waits until somebody asks there"
    assert (await theirs.find("three", b"s" * 32))[0] == "three"
    for rig in (ours, theirs):
        await rig.index.aclose()


async def test_a_closed_index_takes_nothing() -> None:
    rig = Rig()
    await rig.index.aclose()
    with pytest.raises(LookupFailed, match="closed"):
        await rig.index.take([], "search", 0.0)
