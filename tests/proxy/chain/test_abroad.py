from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest

from proxy.cache import Lead, Look, Stored
from proxy.cache.lead import Fate, Leads
from proxy.call import Answer, CacheNote, Call
from proxy.chain.abroad import Abroad
from proxy.chain.cache_rules import CacheRule
from proxy.chain.cache_state import CacheState
from proxy.errors import UpstreamTimeout
from proxy.observe.cache_counts import CacheCounts
from tests.calls import a_call

RULE = CacheRule(b"s" * 32, 60)
KEY, FLIGHT = b"k" * 32, b"f" * 32
STORED = Stored(b"{}", "search", "chat", RULE.scope, "req_0", "mine", "a", 0.0, 700)
OWN = Answer(200, (), "upstream", b"own")
Seen = tuple[Fate, Stored | None, bytes]
THEIRS: Seen = ("flying", None, b"theirs")


class FakeState(CacheState):
    """The shared level says one after the other."""

    seen: list[Seen]
    left: int

    def look(self, team: str, key: bytes, flight: bytes | None) -> Look | None:
        if not self.seen:
            return None
        fate, stored, holder = self.seen.pop(0)
        return looked(fate, stored, holder, self)

    async def find(
        self, team: str, key: bytes, rule: CacheRule, now_s: float, look: Look | None = None
    ) -> Stored | None:
        return None if look is None else await look.found()


class Rig:
    def __init__(self, *seen: Seen, deadline_at: float = inf) -> None:
        self.state = FakeState.empty(CacheCounts(), lambda: 0.0)
        self.state.seen, self.state.left = [*seen], 0
        self.now = 0.0
        self.deadline_at = deadline_at
        self.said: list[str] = []
        self.call = a_call()
        self.asked = 0

    def abroad(self, look: Look) -> Abroad:
        return Abroad(self.state, look, ("search", KEY, FLIGHT), RULE, lambda call: self.deadline_at, self._clock)

    async def ask(self, abroad: Abroad) -> Answer:
        return await abroad.ask(self.call, self._next)

    def _clock(self) -> float:
        self.now += 0.001
        return self.now

    async def _next(self, call: Call) -> Answer:
        self.asked += 1
        return OWN


def looked(fate: Fate, stored: Stored | None = None, holder: bytes = b"", state: FakeState | None = None) -> Look:
    look = Look(0, lambda _: None)

    async def work() -> Stored | None:
        lead = Lead(Leads("me", lambda *said: None), "search", "f", "t") if fate == "lead" else None
        look.settle(fate, lead, holder)
        return stored

    if state is not None:
        leave: Callable[[], Any] = look.leave

        def left() -> None:
            assert state is not None
            state.left += 1
            leave()

        look.leave = left  # type: ignore[method-assign]
    look.join()
    look.begin(work())
    return look


async def begun(fate: Fate, holder: bytes = b"") -> Look:
    look = looked(fate, None, holder)
    await look.found()
    return look


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    turn: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await turn(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return slept


async def test_who_leads_asks_at_once() -> None:
    rig = Rig()
    abroad = rig.abroad(await begun("lead"))
    assert await rig.ask(abroad) is OWN
    assert abroad.lead is not None
    abroad.over()
    assert abroad.lead.is_over


async def test_what_another_replica_brings_costs_nothing(no_sleep: list[float]) -> None:
    rig = Rig(THEIRS, THEIRS, THEIRS, ("found", STORED, b""))
    abroad = rig.abroad(await begun("flying", b"theirs"))
    answer = await rig.ask(abroad)
    assert (answer.body, rig.call.cost_nusd, rig.call.cache) == (b"{}", 0, CacheNote("coalesced", saved_nusd=700))
    assert (rig.asked, abroad.stored, rig.state.left) == (0, STORED, 4)
    assert len(no_sleep) == 4
    assert all(0.025 <= slept <= 0.25 for slept in no_sleep)
    assert rig.call.queued_s > 0


@pytest.mark.parametrize("fate", ["lead", "vain", "alone"])
async def test_when_nothing_comes_of_it_it_asks_itself(fate: Fate) -> None:
    rig = Rig(("flying", None, b"theirs"), (fate, None, b""))
    abroad = rig.abroad(await begun("flying", b"theirs"))
    assert await rig.ask(abroad) is OWN
    assert (abroad.lead is not None) == (fate == "lead")
    assert rig.state.left == 2


async def test_it_waits_for_two_flights_at_most() -> None:
    rig = Rig(("flying", None, b"second"), ("flying", None, b"third"), ("flying", None, b"third"))
    abroad = rig.abroad(await begun("flying", b"first"))
    assert await rig.ask(abroad) is OWN
    assert len(rig.state.seen) == 1


async def test_it_waits_no_longer_than_its_call_may() -> None:
    rig = Rig(*[THEIRS] * 1000, deadline_at=0.001)
    abroad = rig.abroad(await begun("flying", b"theirs"))
    with pytest.raises(UpstreamTimeout):
        await rig.ask(abroad)
    assert rig.asked == 0


async def test_without_a_shared_level_any_more_it_asks_itself() -> None:
    rig = Rig()
    abroad = rig.abroad(await begun("flying", b"theirs"))
    assert await rig.ask(abroad) is OWN
