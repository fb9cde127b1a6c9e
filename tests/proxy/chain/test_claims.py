import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import redis

from proxy.accounting import Allowance, Calendar, Ceiling, Limits, MeterName, Quotas, QuotaTerms, Tally
from proxy.call import Answer, Attempt, Call
from proxy.chain import Allotments, Bookkeeper, Claims, Grants, Meters, Scale, Share, TagReader, rates_of
from proxy.errors import BooksFull, ClientGone, Overloaded, QuotaSpent, QuotaUnknown, RateLimited
from proxy.observe import Metrics
from proxy.state import StateAway, StateFailed
from proxy.wire.usage import Usage
from tests.books import MORNING_S
from tests.calls import a_call, an_embeddings_call
from tests.claims import MONTH, Place
from tests.proxy.chain.test_bookkeeping import Notes
from tests.proxy.chain.test_quota import DOLLAR, FREE, PRICE, money
from tests.redis_server import redis_server

pytestmark = pytest.mark.integration
SEARCH, CI = ("search",), ("search", "ci")
Inner = Callable[[Call], Awaitable[Answer]]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    with redis_server(Path(tmp_path_factory.mktemp("redis"))) as server, server.client as connected:
        yield connected


@pytest.fixture
def begin(client: redis.Redis) -> Callable[..., "Rig"]:
    def make(*terms: QuotaTerms, **changes: Any) -> Rig:
        return Rig(Place(client), *terms, **changes)

    return make


class Rig:
    """Bookkeeper and claims, on a real Redis, under a clock moved by hand."""

    def __init__(
        self,
        place: Place,
        *terms: QuotaTerms,
        limits: dict[MeterName, Limits] | None = None,
        grant: float | None = 0.01,
        replicas: int = 1,
    ) -> None:
        self.place, self.metrics, self.notes = place, Metrics(), Notes()
        self.told: list[float] = []
        self.prefetched: list[str] = []
        calendar = Calendar(UTC)
        self.quotas = Quotas(Tally(calendar, MORNING_S), lambda one, level: self.told.append(level))
        self.quotas.adapt(terms)
        scales = {
            "chat": Scale(Ceiling(lambda: [PRICE]), 500, 10_000),
            "free": Scale(Ceiling(lambda: [FREE]), 500, 10_000),
        }
        self.keeper = Bookkeeper(
            self.notes, self.quotas, scales, {}, TagReader(()), self.clock, lambda: place.now_ms / 1000
        )
        self.meters, self.allotments = Meters(self.clock), Allotments(self.clock)
        limits = limits or {}
        self.layer = Claims(
            store=place.claims,
            share=Share(self.meters, limits, self.allotments, grant, lambda: replicas, self.metrics),
            rates=rates_of(limits),
            meters=self.meters,
            quotas=self.quotas,
            grants=Grants(self.quotas, None),
            scales=scales,
            calendar=calendar,
            journal=self.notes,
            intent_of=self.keeper.intent_of,
            metrics=self.metrics,
            wall_clock=lambda: place.now_ms / 1000,
            cached={"chat"},
            prefetch=lambda call: self.prefetched.append(call.id),
        )
        self.calls = 0

    def clock(self) -> float:
        return self.place.now_ms / 1000 - 1e9

    def call(self, max_tokens: int = 100, model: str = "chat") -> Call:
        """A call of 100 bytes."""
        self.calls += 1
        call = a_call(model)
        call.id = call.request_id = f"req_{self.calls}"
        call.request.size_bytes = 100
        call.request.body["max_tokens"] = max_tokens
        return call

    async def begin(self, call: Call | None = None, inner: Inner | None = None) -> Call:
        """A call that is let in, and not over yet."""
        call = self.call() if call is None else call

        async def claims(call: Call) -> Answer:
            return await self.layer(call, inner or answer)

        await self.keeper(call, claims)
        return call

    async def end(self, call: Call, tokens: int = 0) -> Call:
        """It is over: its provider said that it took so many tokens, or nobody was asked."""
        if tokens:
            usage = Usage(tokens, 0)
            call.usage, call.cost_nusd = usage, tokens * 1000
            call.answered = Attempt("a/m", "m", "a", 0.0, usage=usage, cost_nusd=tokens * 1000)
            call.attempts.append(call.answered)
        assert call.record is not None
        await call.record(call)
        await call.closing.aclose()
        return call

    async def fails(self, call: Call | None = None, inner: Inner | None = None) -> Any:
        """What a call that is not let in is told. It is over then."""
        call = self.call() if call is None else call
        with pytest.raises((RateLimited, QuotaSpent, Overloaded, BooksFull)) as caught:
            await self.begin(call, inner)
        call.error = caught.value.kind
        await call.closing.aclose()
        return caught.value

    @property
    def only(self) -> Allowance:
        [allowance] = self.quotas.of_team("search")
        return allowance


async def answer(call: Call) -> Answer:
    return Answer(200, (), "upstream")


def headers_of(call: Call) -> dict[str, str]:
    assert call.rate_headers is not None
    return {name.decode().removeprefix("x-ratelimit-"): value.decode() for name, value in call.rate_headers()}


# -- rates --


async def test_a_refusal_says_what_that_of_one_process_does(begin: Callable[..., Rig]) -> None:
    rig = begin(limits={SEARCH: Limits(rpm=2), CI: Limits(tpm=1000, concurrency=7)})
    await rig.begin()
    rig.place.advance(10)
    call = await rig.begin()
    requests = {"limit-requests": "2", "remaining-requests": "0", "reset-requests": "1m0.5s"}
    tokens = {"limit-tokens": "1000", "remaining-tokens": "750", "reset-tokens": "1m0.5s"}
    assert headers_of(call) == requests | tokens
    refused = rig.call()
    error = await rig.fails(refused)
    assert error.message == (
        "Your team's limit on requests a minute is reached: 2. Try again in 50.5 s, or ask whoever runs this "
        "gateway for a higher limit."
    )
    assert (error.type, error.retry_after_s, refused.limited_by) == ("requests", 50.5, "team_rpm")
    assert headers_of(refused)["reset-requests"] == "1m0.5s"
    assert rig.metrics.registry.get_sample_value("llm_limit_refusals_total", {"team": "search", "limit": "team_rpm"})
    rig.place.advance(error.retry_after_s)
    await rig.begin()


async def test_tokens_are_settled_by_what_was_used_and_stand_where_nobody_knows(begin: Callable[..., Rig]) -> None:
    rig = begin(limits={CI: Limits(tpm=1000)})
    await rig.end(await rig.begin(), 40)
    gone = await rig.begin()
    gone.attempts.append(Attempt("a/m", "m", "a", 0.0))
    gone.error = ClientGone.kind
    await rig.end(gone)
    call = await rig.begin()
    assert headers_of(call)["remaining-tokens"] == str(1000 - 40 - 125 - 125)


async def test_whatever_becomes_of_a_call_its_place_is_free_again(begin: Callable[..., Rig]) -> None:
    async def full(call: Call) -> Answer:
        raise Overloaded("no room")

    rig = begin(money(0.001, "month"), limits={SEARCH: Limits(concurrency=1)})
    assert (await rig.fails(inner=full)).message == "no room"
    call = await rig.begin()
    assert "on calls at once is reached: 1. Wait until" in (await rig.fails()).message
    await rig.end(call)
    await rig.end(await rig.begin())
    assert rig.place.held() == 0
    assert not rig.place.has("leases")


# -- quotas --


async def test_a_call_reserves_all_that_it_may_cost_and_pays_what_it_did(begin: Callable[..., Rig]) -> None:
    rig = begin(money(0.001, "month"), limits={SEARCH: Limits(rpm=5)})
    call = await rig.begin()
    assert (rig.only.reserved, rig.only.used) == (200_000, 0)
    await rig.end(call, 850)
    refused = rig.call()
    error = await rig.fails(refused)
    assert "Your team's quota of $0.001000 per month has too little left: $0.000150, and this call" in error.message
    assert error.retry_after_s == rig.only.end_s - MORNING_S
    assert (rig.only.reserved, rig.only.used, rig.told) == (0, 850_000, [1.0])
    assert refused.limited_by == "usd per month"
    later = await rig.begin(rig.call(max_tokens=50))  # a smaller one fits
    assert headers_of(later)["remaining-requests"] == "3", "who was refused has used no request"
    assert rig.place.counts("use:" + str(MONTH))["ci\nchat\nnusd"] == 850_000


async def test_levels_are_told_when_redis_says_that_they_are_reached(begin: Callable[..., Rig]) -> None:
    rig = begin(money(0.001, warn_at=(0.5,)))
    await rig.end(await rig.begin(), 600)
    assert rig.told == []
    await rig.end(await rig.begin(), 1)
    assert rig.told == [0.5]


async def test_a_spent_quota_may_send_calls_to_another_model(begin: Callable[..., Rig]) -> None:
    rig = begin(money(0.0003, downgrade_to="free"))
    await rig.end(await rig.begin(), 300)
    rig.place.link.asked.clear()
    call = await rig.begin()
    assert (call.model, call.downgraded_from) == ("free", "chat")
    assert rig.place.link.asked == ["claim", "claim"]
    await rig.end(call, 7)
    embedding = an_embeddings_call("Hello")
    assert "quota" in (await rig.fails(embedding)).message
    assert rig.only.used == 307_000


async def test_a_second_attempt_is_covered_once_and_only_if_there_is_room(begin: Callable[..., Rig]) -> None:
    rig = begin(money(0.0005))
    call = await rig.begin()
    assert call.cover is not None
    assert await call.cover(call, 0)
    assert rig.place.held() == 200_000
    call.attempts.append(Attempt("a/m", "m", "a", 0.0))
    assert not await call.cover(call, 101)
    assert await call.cover(call, 100)
    assert await call.cover(call, 100)
    assert rig.place.held() == 500_000
    await rig.end(call)
    assert rig.place.held() == 0


async def test_a_spent_quota_that_leaves_the_cache_uses_nothing_if_that_has_no_answer(
    begin: Callable[..., Rig],
) -> None:
    async def cache(call: Call) -> Answer:
        assert call.unpaid is not None
        raise call.unpaid()

    rig = begin(money(0.0001, is_cache_only=True), limits={SEARCH: Limits(rpm=2, tpm=1000)})
    assert "smaller than what this call may take" in (await rig.fails(inner=cache)).message
    call = await rig.begin()
    assert call.unpaid is not None
    assert headers_of(call)["remaining-requests"] == "1"
    await rig.end(call)
    assert rig.place.held() == 0


async def test_where_the_books_take_no_more_nobody_is_asked(begin: Callable[..., Rig]) -> None:
    rig = begin(money(0.001))
    rig.notes.has_room = False
    assert isinstance(await rig.fails(), BooksFull)
    assert rig.place.link.asked == []


async def test_who_has_no_limits_and_no_quotas_makes_no_trip(begin: Callable[..., Rig]) -> None:
    rig = begin(QuotaTerms(("sales",), "usd", DOLLAR, "day"), money(1, models=frozenset({"free"})))
    await rig.end(await rig.begin())
    assert (rig.place.link.asked, rig.prefetched) == ([], [])


async def test_one_trip_and_one_settlement_are_all_and_the_cache_is_asked_before(begin: Callable[..., Rig]) -> None:
    rig = begin(money(1), money(1, "month"), limits={SEARCH: Limits(rpm=9, tpm=999), CI: Limits(rpm=9)})
    call = await rig.begin()
    assert (rig.place.link.asked, rig.prefetched) == (["claim"], [call.id])
    await rig.end(call, 3)
    assert rig.place.link.asked == ["claim", "settle"]


# -- what gets lost --


class Slow:
    """What is asked is done at once, and the answer comes when it is let go."""

    def __init__(self, rig: Rig) -> None:
        self.is_asked, self.gate = asyncio.Event(), asyncio.Event()
        run = rig.place.link.run

        async def slowly(*args: Any) -> Any:
            answer = await run(*args)
            self.is_asked.set()
            await self.gate.wait()
            return answer

        rig.place.link.run = slowly  # type: ignore[method-assign, assignment]


async def test_a_client_that_leaves_while_its_claim_is_on_the_way_leaves_nothing_behind(
    begin: Callable[..., Rig],
) -> None:
    rig = begin(money(0.0003), limits={SEARCH: Limits(rpm=1, concurrency=1)})
    slow, call = Slow(rig), rig.call()
    task = asyncio.create_task(rig.begin(call))
    await slow.is_asked.wait()
    assert rig.place.held() == 200_000
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    call.error = ClientGone.kind
    await call.closing.aclose()
    assert rig.place.held() == 0
    slow.gate.set()
    await rig.begin()


async def test_a_call_whose_claim_is_not_answered_is_let_in_here_and_the_claim_given_up_later(
    begin: Callable[..., Rig],
) -> None:
    rig = begin(money(0.05), limits={SEARCH: Limits(rpm=10)}, replicas=2)
    rig.place.link.loses_answers = True
    call = await rig.begin()
    share = {"limit-requests": "5", "remaining-requests": "4", "reset-requests": "1m0.5s"}
    assert headers_of(call) == share | {"degraded": "1"}
    assert rig.place.held() == 200_000
    rig.place.link.loses_answers = rig.place.link.is_away = False
    await rig.place.claims.keep()
    assert rig.place.held() == 0
    await rig.end(call, 50)
    assert rig.place.link.asked == ["claim", "void"], "what was let in here is settled here; the books count it"
    assert headers_of(await rig.begin())["remaining-requests"] == "9"


async def test_where_one_of_several_servers_is_away_its_claims_are_given_up_and_nothing_is_logged_for_each_call(
    begin: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    rig = begin(money(0.05), limits={SEARCH: Limits(rpm=10)})

    async def lost(*args: Any) -> Any:
        raise StateAway("no answer within 0.05 s")

    rig.place.link.run = lost  # type: ignore[method-assign, assignment]
    for _ in range(2):
        assert headers_of(await rig.end(await rig.begin()))["degraded"] == "1"
    assert rig.place.link.asked == ["void", "void"]
    assert caplog.messages == []


async def test_while_redis_is_away_each_replica_keeps_its_share_and_asks_nobody(begin: Callable[..., Rig]) -> None:
    rig = begin(limits={SEARCH: Limits(rpm=4), CI: Limits(concurrency=1)}, replicas=3)
    rig.place.link.is_away = True
    call = await rig.begin()
    refused = rig.call()
    error = await rig.fails(refused)
    assert error.message.startswith("Your team's limit on requests a minute is reached: 1.")
    assert headers_of(refused)["degraded"] == "1"
    await rig.end(call)
    assert rig.place.link.asked == []


async def test_while_redis_is_away_a_share_of_each_quota_may_be_spent(begin: Callable[..., Rig]) -> None:
    rig = begin(money(0.1), grant=0.01, replicas=2)
    rig.place.link.is_away = True
    first = await rig.begin()
    second = await rig.begin()
    error = await rig.fails()  # half of a hundredth of it is $0.0005
    assert isinstance(error, QuotaUnknown)
    assert error.message.startswith("Your team's quota of $0.100000 per day can't be looked up just now and")
    await rig.end(first, 10)
    await rig.end(second)
    await rig.begin(rig.call(max_tokens=300))


async def test_where_nothing_is_granted_calls_with_a_quota_wait_until_redis_is_back(
    begin: Callable[..., Rig],
) -> None:
    rig = begin(money(0.1), limits={SEARCH: Limits(concurrency=1)}, grant=None)
    rig.place.link.is_away = True
    error = await rig.fails()
    assert (error.status, error.code) == (503, "overloaded")
    assert error.message == "Your team's quota of $0.100000 per day can't be looked up just now. Try again in a moment."
    assert rig.meters.gate(SEARCH).meters[0].in_flight == 0


async def test_a_second_attempt_while_redis_is_away_comes_out_of_the_grant(begin: Callable[..., Rig]) -> None:
    rig = begin(money(0.1), grant=0.003)
    call = await rig.begin()
    rig.place.link.is_away = True
    call.attempts.append(Attempt("a/m", "m", "a", 0.0))
    assert call.cover is not None
    assert await call.cover(call, 0)
    call.attempts.append(Attempt("a/m", "m", "a", 0.0))
    assert not await call.cover(call, 0)
    await rig.end(call)
    assert rig.allotments.spent(rig.only).reserved == 0


async def test_a_script_that_fails_is_logged_once_and_calls_go_on(
    begin: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    rig = begin(limits={SEARCH: Limits(rpm=10)})

    async def broken(*args: Any) -> Any:
        raise StateFailed("Redis refused a command: WRONGTYPE")

    run, rig.place.link.run = rig.place.link.run, broken  # type: ignore[method-assign, assignment]
    for _ in range(3):
        assert headers_of(await rig.end(await rig.begin()))["degraded"] == "1"
    assert [one.message for one in caplog.records] == [
        "limits and quotas are kept by each replica for itself: Redis refused a command: WRONGTYPE"
    ]
    assert rig.allotments.is_refused
    rig.place.link.run = run  # type: ignore[method-assign]
    assert "degraded" not in headers_of(await rig.begin())
    assert not rig.allotments.is_refused
