from __future__ import annotations

import asyncio

import pytest

from proxy.cache.errands import LARGEST_BYTES, Errands
from proxy.cache.shared_level import SharedStats
from proxy.state import StateAway, StateFailed


async def give(what: object) -> object:
    if isinstance(what, Exception):
        raise what
    return what


async def test_what_cannot_be_asked_is_nothing_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    stats = SharedStats()
    errands = Errands(stats)
    assert await errands.asked(give(StateAway("gone"))) is None
    assert await errands.asked(give(StateFailed("refused"))) is None
    assert (stats.late, stats.is_failing) == (1, True)
    assert caplog.text.count("done without") == 1
    assert await errands.asked(give(7)) == 7
    assert not stats.is_failing


async def test_what_is_not_written_is_counted() -> None:
    stats = SharedStats()
    errands = Errands(stats)
    for written in (True, False, 2, StateAway("gone")):
        errands.write(give(written), 10, 3)  # type: ignore[arg-type]
    await errands.settled()
    assert stats.dropped == 2 + 3 + 1 + 3


async def test_what_is_on_its_way_is_bounded() -> None:
    stats = SharedStats()
    errands, gate = Errands(stats), asyncio.Event()

    async def write() -> bool:
        return await gate.wait()

    assert not errands.has_room(LARGEST_BYTES + 1)
    count = 0
    while errands.has_room(LARGEST_BYTES):
        errands.write(write(), LARGEST_BYTES, 1)
        count += 1
    assert count == 15
    gate.set()
    await errands.settled()
    assert errands.has_room(LARGEST_BYTES)
    assert stats.dropped == 2
