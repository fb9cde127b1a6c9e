import asyncio
from dataclasses import replace

import orjson
import pytest

from proxy.cache.pace import Pace, replayed
from proxy.cache.store import Stored
from proxy.wire.replay import completion_from, stream_from
from tests.fakes import completion

TEXT = "It is what it is, and that is that. " * 20


class _Clock:
    """Sleeping takes no time, and moves the loop's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept_s = 0.0
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: self.slept_s)
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept_s += seconds


def stored(streamed_s: float) -> Stored:
    return Stored(orjson.dumps(completion(TEXT)), "t", "m", b"", "c", "r", "a", 0.0, 0, streamed_s)


async def blocks(entry: Stored, pace: Pace, *, include_usage: bool = True) -> list[bytes]:
    return [block async for block in replayed(entry, include_usage=include_usage, pace=pace)]


async def test_at_once_is_one_block() -> None:
    entry = stored(2.0)
    assert await blocks(entry, "instant") == [stream_from(entry.body, include_usage=True)]


@pytest.mark.parametrize(("streamed_s", "takes_s"), [(2.0, 2.0), (1000.0, 10.0)])
async def test_a_natural_pace_is_that_of_the_stream_it_was(
    monkeypatch: pytest.MonkeyPatch, streamed_s: float, takes_s: float
) -> None:
    clock = _Clock(monkeypatch)
    pieces = await blocks(stored(streamed_s), "natural")
    assert clock.slept_s == pytest.approx(takes_s)
    assert len(pieces) > len(TEXT) / 12


async def test_what_was_no_stream_is_given_as_fast_as_models_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    entry = stored(0.0)
    await blocks(entry, "natural")
    assert clock.slept_s == pytest.approx(len(entry.body) / 240)


async def test_it_ends_with_its_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    slept_by = [clock.slept_s async for _ in replayed(stored(2.0), include_usage=False, pace="natural")]
    assert (slept_by[0], slept_by[-1]) == (0, clock.slept_s)


async def test_a_long_answer_has_longer_events_not_more(monkeypatch: pytest.MonkeyPatch) -> None:
    _Clock(monkeypatch)
    entry = replace(stored(2.0), body=orjson.dumps(completion("x" * 900_000)))
    pieces = await blocks(entry, "natural")
    assert len(pieces) < 1010
    assert completion_from(b"".join(pieces), None) == completion_from(stream_from(entry.body, include_usage=True), None)


async def test_both_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    _Clock(monkeypatch)
    slow, fast = b"".join(await blocks(stored(1.0), "natural")), b"".join(await blocks(stored(1.0), "instant"))
    assert slow.endswith(b"data: [DONE]\n\n")
    assert completion_from(slow, None) == completion_from(fast, None)
