import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from proxy.cache.nearest.base import LookupFailed, Vectors
from proxy.cache.nearest.embedder import LocalEmbedder, cut
from proxy.cache.nearest.worker import Worker


class Rig:
    """Vectors are the lengths of texts. The first embedding waits for the gate."""

    def __init__(self, *, is_held: bool = False) -> None:
        self.batches: list[list[str]] = []
        self.gate, self.begun = threading.Event(), threading.Event()
        if not is_held:
            self.gate.set()
        self.worker = Worker("test")
        self.embedder = LocalEmbedder("test", 1, self._encode, self.worker)

    def _encode(self, texts: Sequence[str]) -> Vectors:
        self.batches.append([*texts])
        self.begun.set()
        self.gate.wait(5)
        if "bad" in texts:
            raise ValueError("no vector")
        return np.array([[len(text)] for text in texts], np.float32)

    def ask(self, *texts: str) -> "asyncio.Task[list[int]]":
        return asyncio.ensure_future(
            self.embedder.embed_then(texts, lambda vectors: vectors[:, 0].astype(int).tolist())
        )

    async def hold(self) -> "asyncio.Task[list[int]]":
        """A first text, which is being embedded now."""
        task = self.ask("first")
        while not self.begun.is_set():
            await asyncio.sleep(0)
        return task

    async def close(self) -> None:
        self.gate.set()
        await self.embedder.aclose()
        self.worker.close()


async def test_texts_become_what_is_made_of_their_vectors_on_the_workers_thread() -> None:
    rig = Rig()
    threads: list[int] = []

    def then(vectors: Vectors) -> float:
        threads.append(threading.get_ident())
        return float(vectors.sum())

    assert await rig.embedder.embed_then(["ab", "abc"], then) == 5
    assert threads != [threading.get_ident()]
    await rig.close()


async def test_what_waits_while_the_thread_is_busy_goes_together_eight_texts_at_most() -> None:
    rig = Rig(is_held=True)
    first = await rig.hold()
    others = [rig.ask("x" * number) for number in range(1, 8)] + [rig.ask("y" * 20, "z"), rig.ask("w")]
    await asyncio.sleep(0)
    rig.gate.set()
    assert await first == [5]
    assert await asyncio.gather(*others) == [[1], [2], [3], [4], [5], [6], [7], [20, 1], [1]]
    assert [len(batch) for batch in rig.batches] == [1, 7, 3]
    await rig.close()


async def test_whoever_has_left_is_not_embedded() -> None:
    rig = Rig(is_held=True)
    first = await rig.hold()
    left, stays = rig.ask("left"), rig.ask("stays")
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    rig.gate.set()
    assert await stays == [5]
    assert await first == [5]
    assert rig.batches == [["first"], ["stays"]]
    await rig.close()


async def test_whoever_leaves_while_it_is_embedded_disturbs_nobody() -> None:
    rig = Rig(is_held=True)
    first = await rig.hold()
    first.cancel()
    await asyncio.sleep(0)
    rig.gate.set()
    assert await rig.ask("second") == [6]
    await rig.close()


async def test_a_failure_is_for_those_embedded_together_and_for_nobody_after() -> None:
    rig = Rig()
    with pytest.raises(LookupFailed, match="failed") as caught:
        await rig.ask("bad")
    assert isinstance(caught.value.__cause__, ValueError)
    assert await rig.ask("good") == [4]
    await rig.close()


async def test_more_than_thirty_two_do_not_wait() -> None:
    rig = Rig(is_held=True)
    first = await rig.hold()
    waiting = [rig.ask("a") for _ in range(32)]
    await asyncio.sleep(0)
    with pytest.raises(LookupFailed, match="busy"):
        await rig.ask("one more")
    rig.gate.set()
    await asyncio.gather(first, *waiting)
    await rig.close()


async def test_closing_fails_what_waits_and_what_comes() -> None:
    rig = Rig(is_held=True)
    first = await rig.hold()
    second = rig.ask("second")
    await asyncio.sleep(0)
    await rig.embedder.aclose()
    for task in (second, rig.ask("third")):
        with pytest.raises(LookupFailed, match="closed"):
            await task
    rig.worker.close()
    with pytest.raises(LookupFailed, match="closed"):
        await first
    rig.gate.set()


async def test_a_worker_that_is_closed_fails_the_request() -> None:
    rig = Rig()
    rig.worker.close()
    with pytest.raises(LookupFailed, match="closed"):
        await rig.ask("a")
    with pytest.raises(LookupFailed, match="closed"):
        await rig.ask("b")


def test_a_short_text_is_embedded_whole() -> None:
    assert cut("Grüße, 世界") == "Grüße, 世界"


def test_of_a_long_text_beginning_and_end_are_embedded() -> None:
    assert cut("a" * 5000 + "b" * 5000) == "a" * 600 + " " + "b" * 200
    middle = cut("世" * 1000)
    assert set(middle) == {"世", " "}
    assert len(middle.encode()) <= 801


def test_a_lone_surrogate_is_no_reason_to_fail() -> None:
    assert cut("a\ud800b") == "a?b"
