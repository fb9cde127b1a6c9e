from datetime import UTC

import pytest

from proxy.accounting import Allowance, Calendar, Ceiling, Prices, Quotas, QuotaTerms, Raise, Rates, Tally, Tariff
from proxy.call import Answer, Attempt, Call
from proxy.chain import Scale
from proxy.chain.quota import Grants, Spending
from proxy.errors import BooksFull, QuotaSpent
from proxy.observe import Metrics
from proxy.wire.usage import Usage
from tests.books import MORNING_S
from tests.calls import a_call, an_embeddings_call
from tests.proxy.chain.test_bookkeeping import Notes

PRICE = Tariff.of(Prices(Rates.of(1, 1), "config", "v"))  # type: ignore[arg-type]  # 1,000 nano-dollars a token
FREE = Tariff.of(Prices(Rates.of(0, 0), "config", "v"))  # type: ignore[arg-type]
DOLLAR = 10**9


def money(usd: float, per: str = "day", **changes: object) -> QuotaTerms:
    return QuotaTerms(("search",), "usd", int(usd * DOLLAR), per, **changes)  # type: ignore[arg-type]


class Rig:
    def __init__(self, *terms: QuotaTerms, has_room: bool = True) -> None:
        self.now_s = MORNING_S
        self.told: list[float] = []
        self.metrics, self.notes = Metrics(), Notes()
        self.notes.has_room = has_room
        self.quotas = Quotas(Tally(Calendar(UTC), self.now_s), lambda one, level: self.told.append(level))
        self.quotas.adapt(terms)
        scales = {
            "chat": Scale(Ceiling(lambda: [PRICE]), 500, 10_000),
            "free": Scale(Ceiling(lambda: [FREE]), 500, 10_000),
        }
        self.layer = Spending(
            self.quotas, Grants(self.quotas, None), scales, self.notes, self.metrics, lambda: self.now_s, {"chat"}
        )

    async def begin(self, max_tokens: int = 100, model: str = "chat") -> Call:
        """A call of 100 bytes that is let in, and not over yet. Raises QuotaSpent."""
        call = a_call(model)
        call.request.size_bytes = 100
        call.request.body["max_tokens"] = max_tokens
        call.began_at = call.counted_at = self.now_s
        await self.layer(call, answer)
        return call

    async def refusal(self, max_tokens: int = 100) -> QuotaSpent:
        with pytest.raises(QuotaSpent) as caught:
            await self.begin(max_tokens)
        return caught.value

    async def end(self, call: Call, tokens: int) -> None:
        self.quotas.settled("search", "ci", call.model, self.now_s, tokens * 1000, tokens)
        await call.closing.aclose()

    @property
    def only(self) -> Allowance:
        [allowance] = self.quotas.of_team("search")
        return allowance


async def answer(call: Call) -> Answer:
    return Answer(200, (), "upstream")


async def test_a_call_reserves_all_that_it_may_cost_and_pays_what_it_did() -> None:
    rig = Rig(money(0.001))
    call = await rig.begin()
    assert (rig.only.reserved, rig.only.used) == (200_000, 0)
    await rig.end(call, 30)
    assert (rig.only.reserved, rig.only.used) == (0, 30_000)


async def test_what_is_reserved_is_free_before_the_last_byte_goes_out() -> None:
    rig = Rig(money(0.001))
    call = await rig.begin()
    for step in call.on_last_byte:
        step()
    assert rig.only.reserved == 0
    await call.closing.aclose()
    assert rig.only.reserved == 0


async def test_a_quota_that_is_spent_says_when_there_is_more_and_that_retries_do_not_help() -> None:
    rig = Rig(money(0.001, "month"))
    await rig.end(await rig.begin(), 850)
    error = await rig.refusal()
    assert (error.status, error.code, error.type, error.should_retry) == (
        *(429, "insufficient_quota", "insufficient_quota"),
        False,
    )
    assert error.retry_after_s == rig.only.end_s - MORNING_S
    assert "Your team's quota of $0.001000 per month has too little left: $0.000150, and this call" in error.message
    assert rig.only.reserved == 0
    assert rig.told == [1.0]
    value = rig.metrics.registry.get_sample_value
    assert value("llm_limit_refusals_total", {"team": "search", "limit": "usd per month"}) == 1
    await rig.begin(max_tokens=50)  # a smaller one fits


async def test_a_call_larger_than_the_whole_quota_is_no_sign_that_it_is_spent() -> None:
    rig = Rig(money(0.00015))
    error = await rig.refusal()
    assert (error.should_retry, error.retry_after_s, rig.told) == (False, None, [])
    assert "is smaller than what this call may take, $0.000200" in error.message
    await rig.end(await rig.begin(max_tokens=20), 90)
    assert (await rig.refusal(20)).retry_after_s == rig.only.end_s - MORNING_S
    assert rig.told == [1.0]


async def test_where_calls_under_way_hold_the_rest_a_retry_helps() -> None:
    rig = Rig(money(0.0003))
    call = await rig.begin()
    error = await rig.refusal()
    assert (error.should_retry, error.retry_after_s) == (True, 1.0)
    assert "nearly spent" in error.message
    await rig.end(call, 10)
    await rig.begin()


async def test_a_model_that_costs_nothing_is_never_refused_for_money() -> None:
    rig = Rig(money(0.0002))
    await rig.end(await rig.begin(), 200)
    await rig.refusal()
    call = await rig.begin(model="free")
    assert (call.model, rig.only.reserved) == ("free", 0)


async def test_a_spent_quota_may_send_calls_to_another_model_that_is_counted_all_the_same() -> None:
    rig = Rig(money(0.0003, models=frozenset({"chat"}), downgrade_to="free"), money(5))
    chat, _ = rig.quotas.of_team("search")
    first = await rig.begin()
    second = await rig.begin()
    assert (first.model, first.downgraded_from) == ("chat", None)
    assert (second.model, second.downgraded_from) == ("free", "chat")
    assert chat.reserved == 200_000


async def test_a_downgrade_within_the_same_quota_is_exempt_from_it() -> None:
    rig = Rig(money(0.0003, downgrade_to="free"))
    await rig.end(await rig.begin(), 300)
    call = await rig.begin()
    assert call.model == "free"
    await rig.end(call, 7)
    assert rig.only.used == 307_000


async def test_a_second_attempt_is_covered_only_if_the_first_may_be_billed_and_there_is_room() -> None:
    rig = Rig(money(0.0005))
    call = await rig.begin()
    assert call.cover is not None
    call.attempts.append(Attempt("a/m", "m", "a", 0.0, error="upstream_unavailable"))
    call.attempts[0].outcome = object()  # type: ignore[assignment]
    assert await call.cover(call, 0)
    assert rig.only.reserved == 200_000
    call.attempts[0].may_be_billed = True
    assert await call.cover(call, 0)
    assert rig.only.reserved == 400_000
    call.attempts.append(Attempt("a/m", "m", "a", 0.0, usage=Usage(1, 1)))
    assert not await call.cover(call, 0)
    assert rig.only.reserved == 400_000
    await call.closing.aclose()
    assert rig.only.reserved == 0


async def test_a_grant_lets_calls_in_again() -> None:
    rig = Rig(money(0.001))
    await rig.end(await rig.begin(), 1000)
    await rig.refusal()
    rig.quotas.grant([Raise("search", "usd per day", DOLLAR, MORNING_S + 60)])
    call = await rig.begin()
    assert call.cover is not None
    rig.now_s += 60
    await rig.refusal()


async def test_where_the_books_take_no_more_calls_with_a_quota_wait_and_others_do_not() -> None:
    rig = Rig(money(0.001, models=frozenset({"chat"})), has_room=False)
    with pytest.raises(BooksFull):
        await rig.begin()
    await rig.begin(model="free")


async def test_a_new_day_begins_with_all_of_it() -> None:
    rig = Rig(money(0.001))
    await rig.end(await rig.begin(), 1000)
    rig.now_s += 86_400
    await rig.begin()
    rig.now_s -= 86_400  # the clock is set back: the day before does not come again
    assert rig.only.used == 0
    await rig.begin()
    assert rig.only.reserved == 400_000


async def test_a_stream_that_was_cut_may_be_billed_whether_or_not_it_said_so() -> None:
    rig = Rig(money(0.0005))
    call = await rig.begin()
    assert call.cover is not None
    call.attempts.append(Attempt("a/m", "m", "a", 0.0, error="upstream_error", produced_tokens=7))
    call.attempts[0].outcome = object()  # type: ignore[assignment]
    assert await call.cover(call, 0)
    assert rig.only.reserved == 400_000


async def test_what_is_sent_to_rescue_an_answer_is_covered_too() -> None:
    rig = Rig(money(0.0005))
    call = await rig.begin()
    assert call.cover is not None
    call.attempts.append(Attempt("a/m", "m", "a", 0.0))
    assert not await call.cover(call, 101)
    assert await call.cover(call, 100)
    assert rig.only.reserved == 500_000


async def test_the_quota_that_sent_a_call_to_another_model_refuses_it_no_second_attempt() -> None:
    rig = Rig(money(0.0003, downgrade_to="chat"))
    await rig.end(await rig.begin(), 300)
    call = await rig.begin()
    assert call.cover is not None
    call.attempts.append(Attempt("a/m", "m", "a", 0.0))
    assert await call.cover(call, 0)
    assert rig.only.reserved == 400_000


async def test_who_asks_for_the_model_that_others_are_sent_to_is_sent_nowhere() -> None:
    rig = Rig(money(0.0003, downgrade_to="chat"))
    await rig.end(await rig.begin(), 300)
    assert (await rig.begin()).downgraded_from is None


async def test_a_call_reserves_where_it_counts_even_if_midnight_comes_between() -> None:
    rig = Rig(money(0.001))
    call, midnight_s = a_call(), rig.quotas.tally.bounds("day")[1]
    call.request.size_bytes, call.request.body["max_tokens"] = 100, 100
    call.began_at = midnight_s - 0.001
    rig.now_s = midnight_s + 0.001
    await rig.layer(call, answer)
    assert rig.only.end_s == midnight_s
    assert rig.only.reserved == 200_000


async def test_a_spent_quota_may_leave_the_cache() -> None:
    rig = Rig(money(0.0001, is_cache_only=True))
    call = await rig.begin()
    assert rig.only.reserved == 0
    assert rig.told == [], "nobody is refused yet"
    assert call.unpaid is not None
    error = call.unpaid()
    assert isinstance(error, QuotaSpent)
    assert call.limited_by == "usd per day"


async def test_a_quota_with_room_asks_for_no_cache() -> None:
    assert (await Rig(money(1, is_cache_only=True)).begin()).unpaid is None


async def test_a_spent_quota_that_refuses_refuses_whatever_others_allow() -> None:
    rig = Rig(money(0.0001, is_cache_only=True), money(0.0001, "week"))
    assert "may take" in (await rig.refusal()).message


async def test_a_model_without_a_cache_is_refused_at_once() -> None:
    rig = Rig(QuotaTerms(("search",), "tokens", 10, "day", is_cache_only=True))
    with pytest.raises(QuotaSpent):
        await rig.begin(model="free")


async def test_embeddings_are_never_another_models() -> None:
    rig = Rig(money(0.0003, downgrade_to="free"))
    await rig.end(await rig.begin(), 250)
    call = an_embeddings_call("x" * 100)
    call.began_at = call.counted_at = rig.now_s
    with pytest.raises(QuotaSpent):
        await rig.layer(call, answer)
    assert (call.model, call.downgraded_from) == ("chat", None)


async def test_embeddings_reserve_no_output() -> None:
    rig = Rig(money(1))
    call = an_embeddings_call("x")
    call.request.size_bytes = 100
    call.began_at = call.counted_at = rig.now_s
    await rig.layer(call, answer)
    assert rig.only.reserved == 100_000
