import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC

import pytest

from proxy.accounting import Allowance, Calendar, Quotas, QuotaTerms, Raise, Tally
from proxy.chain import Allotments, Picture
from proxy.state import ClaimTerms, QuotaPlace, RateTerms, StateAway, Use
from tests.books import MORNING_S
from tests.fakes import HandClock

SEARCH, WEB = ("search",), ("search", "web")


class Store:
    """As much of a ClaimStore as a Picture asks for."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[int, int]] = {}  # by period and quota: used and held
        self.told: set[tuple[str, str]] = set()
        self.kept = 0
        self.is_away = False
        self.fault: Exception | None = None
        self.asked: list[tuple[Sequence[str], str]] = []

    def terms(self, team: str, rates: Iterable[RateTerms], quotas: Iterable[QuotaPlace]) -> ClaimTerms:
        return ClaimTerms(team, tuple(rates), tuple(quotas), ())

    async def look(self, terms: ClaimTerms) -> Sequence[int]:
        if self.is_away:
            raise StateAway("away")
        return [value for one in terms.quotas for value in self.found.get(f"{one.period} {one.quota}", (0, 0))]

    async def tell(self, team: str, place: QuotaPlace, event: str) -> bool:
        if self.is_away:
            raise StateAway("away")
        is_first = (place.period, event) not in self.told
        self.told.add((place.period, event))
        return is_first

    async def keep(self) -> None:
        self.kept += 1
        if self.fault is not None:
            raise self.fault

    async def uses(self, teams: Iterable[str], period: str) -> Sequence[Use]:
        self.asked.append((tuple(teams), period))
        return ()


class Rig:
    def __init__(self, store: Store, *terms: QuotaTerms) -> None:
        self.store, self.now_s, self.clock = store, MORNING_S, HandClock()
        self.told: list[tuple[str, float]] = []
        self.allotments = Allotments(self.clock)
        self.picture = Picture(store, Calendar(UTC), self.allotments, self.tell, lambda: self.now_s)  # type: ignore[arg-type]  # a part of one
        self.quotas = Quotas(Tally(Calendar(UTC), MORNING_S), self.picture.note)
        self.quotas.adapt(terms)
        self.quotas.advance(MORNING_S)

    def tell(self, allowance: Allowance, level: float) -> None:
        self.told.append((allowance.terms.name, level))


MONTHLY = QuotaTerms(SEARCH, "usd", 1000, "month", warn_at=(0.5, 0.8))
DAILY = QuotaTerms(WEB, "tokens", 100, "day")


async def test_quotas_stand_as_all_processes_together_see_them() -> None:
    store = Store()
    store.found = {"month:2026-11-01 usd\n": (300, 200), "day:2026-11-21 tokens\nweb": (7, 0)}
    rig = Rig(store, MONTHLY, DAILY)
    await rig.picture.look(rig.quotas)
    assert [(one.used, one.reserved) for one in rig.quotas] == [(300, 200), (7, 0)]
    assert store.kept == 1
    rig.now_s += 86_400
    rig.quotas.advance(rig.now_s)
    await rig.picture.look(rig.quotas)
    assert [one.used for one in rig.quotas] == [300, 0]


async def test_what_is_reached_is_told_once_whoever_sees_it() -> None:
    store = Store()
    rigs = Rig(store, MONTHLY), Rig(store, MONTHLY)
    for used in (499, 500, 810, 820):
        store.found = {"month:2026-11-01 usd\n": (used, 0)}
        for rig in rigs:
            await rig.picture.look(rig.quotas)
    assert rigs[0].told == [("usd per month", 0.5), ("usd per month", 0.8)]
    assert rigs[1].told == []
    rigs[1].quotas.grant([Raise("search", "usd per month", 1000, MORNING_S + 60)])
    rigs[1].quotas.advance(MORNING_S)
    store.found = {"month:2026-11-01 usd\n": (1000, 0)}
    await rigs[1].picture.look(rigs[1].quotas)
    assert rigs[1].told == [("usd per month", 0.5)], "of a larger one it is news again"


async def test_what_is_reached_while_nobody_can_be_asked_is_told_later() -> None:
    store = Store()
    rig = Rig(store, MONTHLY)
    [one] = rig.quotas
    rig.quotas.spent(one)
    store.is_away = True
    with pytest.raises(StateAway):
        await rig.picture.look(rig.quotas)
    assert rig.told == []
    store.is_away = False
    await rig.picture.look(rig.quotas)
    await rig.picture.look(rig.quotas)
    assert rig.told == [("usd per month", 1.0)]


async def test_what_is_seen_of_a_period_that_is_over_is_not_taken_for_the_next() -> None:
    store = Store()
    rig = Rig(store, DAILY)
    store.found = {"day:2026-11-21 tokens\nweb": (90, 5)}
    look, [one] = store.look, rig.quotas

    async def slow(terms: ClaimTerms) -> Sequence[int]:
        found = await look(terms)
        rig.quotas.advance(MORNING_S + 86_400)
        return found

    store.look = slow  # type: ignore[method-assign]
    await rig.picture.look(rig.quotas)
    assert (one.used, one.reserved) == (0, 0)


async def test_it_goes_on_looking_while_nobody_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    rig = Rig(store)
    store.fault = StateAway("away")
    enough = asyncio.Event()

    async def sleep(seconds: float) -> None:
        assert seconds == 1.0
        if store.kept == 3:
            enough.set()
            await asyncio.Event().wait()

    monkeypatch.setattr("proxy.chain.picture.asyncio.sleep", sleep)
    task = asyncio.create_task(rig.picture.run(rig.quotas))
    await enough.wait()
    assert not task.done()
    task.cancel()


async def test_the_month_is_asked_for_by_its_first_day() -> None:
    store = Store()
    await Rig(store).picture.used_in(["search"], MORNING_S)
    assert store.asked == [(("search",), "month:2026-11-01")]
