from __future__ import annotations

import asyncio

import pytest

from proxy.cache import lead as lead_module
from proxy.cache.lead import KEPT_MS, VAIN_MS, Lead, Leads, Look
from proxy.cache.store import Stored

STORED = Stored(b"{}", "search", "chat", b"s" * 32, "req_1", "mine", "a", 0.0, 700)
Said = tuple[str, str, str, str, int]


class Rig:
    def __init__(self) -> None:
        self.said: list[Said] = []
        self.leads = Leads("me", lambda *said: self.said.append(said))
        self.over: list[Look] = []
        self.answer: asyncio.Future[Stored | None] = asyncio.get_running_loop().create_future()

    def lead(self) -> Lead:
        return Lead(self.leads, "search", "f1", self.leads.token())

    def look(self, lead: Lead | None = None) -> Look:
        look = Look(3, self.over.append)

        async def work() -> Stored | None:
            stored = await self.answer
            look.settle("found" if stored is not None else "lead", lead)
            return stored

        look.begin(work())
        return look


async def test_a_lead_ends_once() -> None:
    rig = Rig()
    lead = rig.lead()
    assert lead.store() == ("f1", "me1")
    assert lead.store() is None
    lead.free()
    lead.in_vain()
    assert rig.said == []


async def test_a_lead_is_freed_or_was_in_vain() -> None:
    rig = Rig()
    rig.lead().free()
    rig.lead().in_vain()
    assert rig.said == [("search", "f1", "me1", "free", 0), ("search", "f1", "me2", "vain", VAIN_MS)]


async def test_a_lead_is_kept_while_its_flight_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lead_module, "KEEP_EVERY_S", 0.001)
    rig = Rig()
    lead = rig.lead()
    lead.keep()
    while len(rig.said) < 3:
        await asyncio.sleep(0.001)
    assert set(rig.said) == {("search", "f1", "me1", "keep", KEPT_MS)}
    lead.free()
    said = len(rig.said)
    await asyncio.sleep(0.01)
    assert len(rig.said) == said
    lead.keep()
    assert rig.leads._timer is None, "one that is over is not kept"


async def test_all_that_are_kept_are_freed_at_the_end() -> None:
    rig = Rig()
    rig.lead().keep()
    rig.leads.close()
    assert [what for *_, what, _ in rig.said] == ["free"]


async def test_several_calls_share_what_is_found() -> None:
    rig = Rig()
    look = rig.look()
    look.join()
    look.join()
    finding = [asyncio.create_task(look.found()) for _ in range(2)]
    await asyncio.sleep(0)
    finding[0].cancel()
    rig.answer.set_result(STORED)
    assert await finding[1] == STORED
    assert (look.fate, look.take(), rig.over) == ("found", None, [look])


async def test_the_lead_is_taken_by_one_of_them() -> None:
    rig = Rig()
    lead = rig.lead()
    look = rig.look(lead)
    look.join()
    look.join()
    rig.answer.set_result(None)
    assert await look.found() is None
    assert rig.over == [], "others may join as long as nobody has set out"
    assert look.take() is lead
    assert look.take() is None
    assert rig.over == [look]
    look.leave()
    look.leave()
    assert not lead.is_over
    lead.free()


async def test_a_lead_that_nobody_takes_is_freed_by_the_last_who_leaves() -> None:
    rig = Rig()
    lead = rig.lead()
    look = rig.look(lead)
    look.join()
    look.join()
    rig.answer.set_result(None)
    await look.found()
    look.leave()
    assert rig.said == []
    look.leave()
    assert [what for *_, what, _ in rig.said] == ["free"]
    assert rig.over == [look]


async def test_one_that_comes_when_all_have_left_is_freed() -> None:
    rig = Rig()
    lead = rig.lead()
    look = rig.look(lead)
    look.join()
    look.leave()
    rig.answer.set_result(None)
    await look.found()
    assert lead.is_over
    assert rig.over == [look]
