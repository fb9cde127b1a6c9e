from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from proxy.cache.nearest import remote
from proxy.cache.nearest.base import LookupFailed, Remote, Vectors
from proxy.cache.nearest.remote import RemoteEmbedder
from proxy.cache.nearest.worker import Worker
from proxy.errors import UpstreamUnavailable

Rows = Sequence[Sequence[float]]


def rows_of(texts: Sequence[str]) -> Rows:
    return [[3.0 * len(text), 4.0 * len(text)] for text in texts]


class Rig:
    """Answers with vectors of one direction, twice as long as the text is."""

    def __init__(self, answer: Callable[[Sequence[str]], Rows] = rows_of) -> None:
        self.asked: list[list[str]] = []
        self.answer = answer
        self.gate = asyncio.Event()
        self.gate.set()
        self.worker = Worker("test")
        self.embedder = RemoteEmbedder(Remote("provider/model", 2, self._ask), self.worker)

    async def _ask(self, texts: Sequence[str]) -> Rows:
        self.asked.append([*texts])
        await self.gate.wait()
        return self.answer(texts)

    async def embed(self, *texts: str) -> list[list[float]]:
        def then(vectors: Vectors) -> list[list[float]]:
            rows: list[list[float]] = vectors.round(3).tolist()
            return rows

        return await self.embedder.embed_then(texts, then)

    def ask(self, *texts: str) -> asyncio.Task[list[list[float]]]:
        return asyncio.ensure_future(self.embed(*texts))

    async def sent(self, calls: int) -> None:
        while len(self.asked) < calls:
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.embedder.aclose()
        self.worker.close()


def refuse(texts: Sequence[str]) -> Rows:
    raise UpstreamUnavailable("no")


async def test_vectors_are_brought_to_unit_length() -> None:
    rig = Rig()
    assert np.allclose(await rig.embed("abc", "abcd"), [[0.6, 0.8]] * 2, atol=1e-3)
    assert rig.asked == [["abc", "abcd"]]
    await rig.close()


async def test_texts_of_one_moment_go_in_one_call_and_equal_ones_once() -> None:
    rig = Rig()
    await asyncio.gather(rig.embed("a"), rig.embed("b", "a"), rig.embed("c"))
    assert rig.asked == [["a", "b", "c"]]
    await rig.close()


async def test_a_text_that_is_on_its_way_is_not_asked_for_again() -> None:
    rig = Rig()
    rig.gate.clear()
    first = rig.ask("a")
    await rig.sent(1)
    second = rig.ask("a")
    await asyncio.sleep(0)
    rig.gate.set()
    assert await first == await second
    assert rig.asked == [["a"]]
    await rig.close()


async def test_what_is_known_is_not_asked_for() -> None:
    rig = Rig()
    await rig.embed("a")
    assert await rig.embed("a") == await rig.embed("a")
    await rig.embed("a", "b")
    assert rig.asked == [["a"], ["b"]]
    await rig.close()


async def test_no_more_is_kept_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_KEPT_BYTES", 2 * 2 * 4)
    rig = Rig()
    for text in ("a", "b", "a", "c", "a", "b"):
        await rig.embed(text)
    assert rig.asked == [["a"], ["b"], ["c"], ["b"]]
    await rig.close()


async def test_sixteen_texts_are_sent_at_once_and_four_calls_are_under_way_at_most() -> None:
    rig = Rig()
    rig.gate.clear()
    tasks = [rig.ask(f"text {number}") for number in range(100)]
    await rig.sent(4)
    for _ in range(10):
        await asyncio.sleep(0)
    assert [len(texts) for texts in rig.asked] == [16] * 4
    rig.gate.set()
    await asyncio.gather(*tasks)
    assert sum(len(texts) for texts in rig.asked) == 100
    await rig.close()


async def test_who_comes_when_too_many_wait_is_refused() -> None:
    rig = Rig()
    rig.gate.clear()
    tasks = [rig.ask(f"text {number}") for number in range(64 + 256)]
    await rig.sent(4)
    with pytest.raises(LookupFailed, match="busy"):
        await rig.embed("one more")
    rig.gate.set()
    await asyncio.gather(*tasks)
    await rig.close()


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    rig = Rig()
    rig.gate.clear()
    first, second = rig.ask("a"), rig.ask("a")
    await rig.sent(1)
    first.cancel()
    await asyncio.sleep(0)
    rig.gate.set()
    assert np.allclose(await second, [[0.6, 0.8]], atol=1e-3)
    await rig.close()


async def test_a_call_that_nobody_waits_for_is_kept_all_the_same() -> None:
    rig = Rig()
    rig.gate.clear()
    first = rig.ask("a")
    await rig.sent(1)
    first.cancel()
    rig.gate.set()
    await asyncio.wait({*rig.embedder._calls})
    await rig.embed("a")
    assert rig.asked == [["a"]]
    await rig.close()


@pytest.mark.parametrize(
    "answer",
    [
        refuse,
        lambda texts: [],
        lambda texts: [[1.0]] * len(texts),
        lambda texts: [[1.0, 2.0]] * (len(texts) + 1),
        lambda texts: [[0.0, 0.0]] * len(texts),
        lambda texts: [[float("nan"), 1.0]] * len(texts),
        lambda texts: [[float("inf"), 1.0]] * len(texts),
        lambda texts: [["x", "y"]] * len(texts),
        lambda texts: [[None, 1.0]] * len(texts),
        lambda texts: [[{}, 1.0]] * len(texts),
        lambda texts: [[10**400, 1.0]] * len(texts),
    ],
)
async def test_what_is_no_vector_is_a_failure_and_is_asked_for_again(answer: Callable[[Sequence[str]], Rows]) -> None:
    rig = Rig(answer)
    with pytest.raises(LookupFailed, match="failed"):
        await rig.embed("a")
    rig.answer = rows_of
    assert np.allclose(await rig.embed("a"), [[0.6, 0.8]], atol=1e-3)
    assert rig.asked == [["a"], ["a"]]
    await rig.close()


async def test_what_goes_wrong_with_the_vectors_is_a_failure() -> None:
    rig = Rig()
    with pytest.raises(LookupFailed, match="failed") as caught:
        await rig.embedder.embed_then(["a"], lambda vectors: 1 // 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    await rig.close()


async def test_closing_fails_what_waits_and_what_comes() -> None:
    rig = Rig()
    rig.gate.clear()
    first = rig.ask("a")
    await rig.sent(1)
    second = rig.ask("b")
    await asyncio.sleep(0)
    await rig.close()
    for task in (first, second, rig.ask("c")):
        with pytest.raises(LookupFailed, match="closed"):
            await task
