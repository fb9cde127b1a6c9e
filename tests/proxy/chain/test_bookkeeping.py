from datetime import UTC

import pytest

from proxy.accounting import Calendar, Ceiling, Quotas, QuotaTerms, Tally
from proxy.call import Answer, Attempt, Call
from proxy.chain import Bookkeeper, Scale, TagReader
from proxy.chain.bookkeeping import Intents
from proxy.errors import ModelNotAllowed
from proxy.state import Intent, Settlement
from proxy.wire.usage import Usage
from tests.books import MORNING_MS, MORNING_S
from tests.calls import a_call
from tests.fakes import HandClock


class Notes:
    """A journal that keeps what it is told, and says when it is written."""

    has_room = True

    def __init__(self) -> None:
        self.entries: list[Intent | Settlement] = []
        self.awaited: list[int] = []

    def intend(self, intent: Intent) -> int:
        self.entries.append(intent)
        return len(self.entries)

    def settle(self, settlement: Settlement) -> int:
        self.entries.append(settlement)
        return len(self.entries)

    async def written(self, token: int) -> bool:
        self.awaited.append(token)
        return True


class Rig:
    def __init__(self, *, has_journal: bool = True) -> None:
        self.clock, self.notes = HandClock(), Notes()
        self.quotas = Quotas(Tally(Calendar(UTC), MORNING_S), lambda one, level: None)
        self.quotas.adapt([QuotaTerms(("search",), "tokens", 1000, "day")])
        self.quotas.advance(MORNING_S)
        self.keeper = Bookkeeper(
            self.notes if has_journal else None,
            self.quotas,
            {"chat": Scale(Ceiling(list), 500, 1000)},
            {"search": "4711"},
            TagReader(("env",)),
            self.clock,
            lambda: MORNING_S,
        )

    async def serve(self, call: Call, *, is_finished: bool = True) -> None:
        """As the answer writer does it."""

        async def route(call: Call) -> Answer:
            attempt = Attempt("a/m", "m", "a", 0.0, usage=Usage(30, 20), cost_nusd=0)
            call.attempts.append(attempt)
            call.answered = attempt
            return Answer(200, (), "upstream")

        async def admitted(call: Call) -> Answer:
            return await Intents(self.keeper)(call, route)

        await self.keeper(call, admitted)
        call.status = 200
        if is_finished:
            assert call.record is not None
            await call.record(call)
        await call.closing.aclose()

    @property
    def used(self) -> int:
        [allowance] = self.quotas.of_team("search")
        return allowance.used


async def test_a_call_is_written_down_before_it_is_made_and_settled_once_before_its_last_byte() -> None:
    rig, call = Rig(), a_call(headers={b"x-waystation-tags": b"env=prod"})
    call.request.size_bytes = 100
    await rig.serve(call)
    intent, settlement = rig.notes.entries
    assert isinstance(intent, Intent)
    assert isinstance(settlement, Settlement)
    assert (intent.call_id, intent.began_ms, intent.max_input_tokens, intent.max_output_tokens) == (
        *("req_1", MORNING_MS),
        *(100, 500),
    )
    assert (settlement.call_id, settlement.began_ms, settlement.status) == ("req_1", MORNING_MS, 200)
    assert (settlement.payer.cost_center, settlement.payer.tags) == ("4711", {"env": "prod"})
    assert rig.notes.awaited == [2]
    assert rig.used == 50


async def test_a_call_that_its_client_left_is_settled_at_its_end() -> None:
    rig = Rig()
    await rig.serve(a_call(), is_finished=False)
    assert len(rig.notes.entries) == 2
    assert rig.notes.awaited == []
    assert rig.used == 50


async def test_a_call_that_is_refused_is_booked_without_an_attempt() -> None:
    rig, call = Rig(), a_call()

    async def refuse(call: Call) -> Answer:
        raise ModelNotAllowed("no")

    with pytest.raises(ModelNotAllowed):
        await rig.keeper(call, refuse)
    call.status, call.error = 403, "model_not_allowed"
    await call.closing.aclose()
    [settlement] = rig.notes.entries
    assert isinstance(settlement, Settlement)
    assert (settlement.status, settlement.error, settlement.attempts) == (403, "model_not_allowed", ())


async def test_who_has_no_good_key_is_not_booked() -> None:
    rig = Rig()
    call = a_call(principal=None)

    async def answer(call: Call) -> Answer:
        return Answer(401, (), "upstream")

    await rig.keeper(call, answer)
    assert call.record is not None
    await call.record(call)
    await call.closing.aclose()
    assert rig.notes.entries == []


async def test_without_books_calls_count_for_quotas_alone() -> None:
    rig = Rig(has_journal=False)
    await rig.serve(a_call())
    assert (rig.notes.entries, rig.used) == ([], 50)


async def test_payers_without_tags_are_made_once() -> None:
    rig = Rig()
    await rig.serve(a_call())
    await rig.serve(a_call())
    assert rig.notes.entries[1].payer is rig.notes.entries[3].payer


async def test_calls_count_for_quotas_while_the_clock_is_set_back() -> None:
    rig = Rig()
    rig.quotas.advance(MORNING_S + 40 * 86_400)  # it was a month ahead for a moment
    rig.quotas.advance(MORNING_S)
    await rig.serve(a_call())
    assert rig.used == 50
    settlement = rig.notes.entries[1]
    assert isinstance(settlement, Settlement)
    assert settlement.began_ms == MORNING_MS


class Claimed:
    """What a call holds elsewhere."""

    def __init__(self, *, is_counted: bool) -> None:
        self.is_counted = is_counted
        self.settled: list[tuple[int, int]] = []

    def settle(self, call: Call, cost_nusd: int, tokens: int) -> bool:
        self.settled.append((cost_nusd, tokens))
        return self.is_counted


@pytest.mark.parametrize("is_counted", [True, False])
async def test_what_a_call_holds_elsewhere_is_settled_once_and_counted_in_one_place(is_counted: bool) -> None:
    rig, call = Rig(), a_call()
    call.claim = claim = Claimed(is_counted=is_counted)
    await rig.serve(call)
    await call.closing.aclose()
    assert claim.settled == [(0, 50)]
    [one] = rig.quotas.of_team("search")
    assert one.used == (0 if is_counted else 50)
