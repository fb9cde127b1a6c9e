import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.strategies import FixedWindowRateLimiter

from proxy.accounting import Limits, MeterName
from proxy.call import Answer, Attempt, Call, Principal
from proxy.chain.limits import Limiter, Meters, duration
from proxy.errors import BooksFull, ClientGone, RateLimited, UpstreamError
from proxy.observe import Metrics
from proxy.providers.ratelimits import read_rate_limits
from proxy.wire.usage import Usage
from tests.calls import TEAM, a_call, an_embeddings_call
from tests.fakes import HandClock

SEARCH, CI = ("search",), ("search", "ci")
ANSWER = Answer(200, (), "upstream")


class Rig:
    """The layer, under a clock moved by hand."""

    def __init__(self, limits: dict[MeterName, Limits]) -> None:
        self.clock = HandClock()
        self.meters = Meters(self.clock)
        self.metrics = Metrics()
        self.change(limits)

    def change(self, limits: dict[MeterName, Limits]) -> None:
        self.meters.adapt(limits)
        self.limiter = Limiter(self.meters, limits, self.metrics)

    async def begin(self, call: Call | None = None) -> Call:
        """A call that is let in, and not over yet. Raises RateLimited."""
        call = call or a_call()
        await self.limiter(call, answer)
        return call

    async def refusal(self, call: Call | None = None) -> RateLimited:
        with pytest.raises(RateLimited) as caught:
            await self.begin(call)
        return caught.value

    async def end(self, call: Call, usage: Usage | None = None) -> None:
        call.usage = usage
        call.answered = Attempt("p/m", "m", "p", 0.0)
        call.attempts.append(call.answered)
        await call.closing.aclose()

    def refused(self, limit: str) -> float:
        found = self.metrics.registry.get_sample_value("llm_limit_refusals_total", {"team": "search", "limit": limit})
        return found or 0.0


async def answer(call: Call) -> Answer:
    return ANSWER


def headers_of(call: Call) -> dict[str, str]:
    assert call.rate_headers is not None
    return {name.decode().removeprefix("x-ratelimit-"): value.decode() for name, value in call.rate_headers()}


def sized(tokens: int, cap: int = 1) -> Call:
    """A call that is expected to take so many tokens."""
    call = a_call()
    call.request.size_bytes = (tokens - cap) * 4
    call.request.body["max_tokens"] = cap
    return call


# -- refusals --


async def test_requests_a_minute_are_kept_and_the_refusal_says_when_to_come_again() -> None:
    rig = Rig({SEARCH: Limits(rpm=2)})
    await rig.begin()
    rig.clock.advance(10)
    await rig.begin()
    call = a_call()
    error = await rig.refusal(call)
    assert (error.status, error.type, error.code, error.should_retry) == (429, "requests", "rate_limit_exceeded", None)
    assert error.message == (
        "Your team's limit on requests a minute is reached: 2. Try again in 50.5 s, or ask whoever runs this "
        "gateway for a higher limit."
    )
    assert error.retry_after_s == 50.5
    assert (call.limited_by, rig.refused("team_rpm")) == ("team_rpm", 1)
    rig.clock.advance(error.retry_after_s)
    await rig.begin()


async def test_tokens_a_minute_are_kept_and_the_refusal_says_how_many_are_lacking() -> None:
    rig = Rig({CI: Limits(tpm=1000)})
    await rig.begin(sized(700))
    error = await rig.refusal(sized(400))
    assert (error.type, rig.refused("key_tpm")) == ("tokens", 1)
    assert error.message.startswith("Your key's limit on tokens a minute is reached: 1,000. Of these 300 are left, and")
    assert "this call is expected to take 400. Try again in 60.5 s" in error.message


async def test_calls_at_once_are_kept_until_the_last_byte_goes_out() -> None:
    rig = Rig({SEARCH: Limits(concurrency=1)})
    first = await rig.begin()
    error = await rig.refusal()
    assert (error.type, error.retry_after_s, rig.refused("team_concurrency")) == ("requests", 1.0, 1)
    assert "on calls at once is reached: 1. Wait until" in error.message
    for step in first.on_last_byte:
        step()
    second = await rig.begin()
    await rig.end(first)
    await rig.refusal()
    await rig.end(second)
    await rig.begin()


@pytest.mark.parametrize(
    ("team", "key"),
    [
        (Limits(rpm=9, tpm=9000, concurrency=9), Limits(rpm=1)),
        (Limits(rpm=9, tpm=9000, concurrency=9), Limits(tpm=100)),
        (Limits(rpm=9, tpm=9000, concurrency=9), Limits(concurrency=1)),
        (Limits(rpm=1), Limits(rpm=9, tpm=9000, concurrency=9)),
        (Limits(tpm=100), Limits(rpm=9, tpm=9000, concurrency=9)),
        (Limits(concurrency=1), Limits(rpm=9, tpm=9000, concurrency=9)),
    ],
)
async def test_a_refused_call_has_used_nothing_of_any_limit(team: Limits, key: Limits) -> None:
    rig = Rig({SEARCH: team, CI: key})
    first = await rig.begin(sized(90))
    before = headers_of(first)
    for _ in range(20):
        await rig.refusal(sized(90))
    assert headers_of(first) == before
    await rig.end(first, Usage(80, 10))
    rig.clock.advance(61)
    await rig.begin(sized(90))


async def test_the_first_call_of_an_idle_team_is_let_in_whatever_its_size() -> None:
    rig = Rig({SEARCH: Limits(tpm=100), CI: Limits(tpm=50)})
    call = await rig.begin(sized(1_000_000))
    assert headers_of(call)["remaining-tokens"] == "0"
    await rig.refusal(sized(2))


async def test_a_call_of_a_team_without_limits_passes_untouched() -> None:
    rig = Rig({("sales",): Limits(rpm=1), ("other", "ci"): Limits(rpm=1)})
    for _ in range(3):
        call = await rig.begin()
        assert call.rate_headers is None
    assert (await rig.limiter(a_call(principal=None), answer)) is ANSWER


async def test_a_key_that_no_config_names_keeps_to_its_teams_limits() -> None:
    rig = Rig({SEARCH: Limits(rpm=1), CI: Limits(rpm=9)})
    await rig.begin(a_call(principal=Principal("search", "made-later", None)))
    assert (await rig.refusal()).message.startswith("Your team's limit on requests a minute is reached")


async def test_keys_and_teams_of_like_names_are_told_apart() -> None:
    rig = Rig({("a",): Limits(rpm=1), ("a", "a"): Limits(rpm=9), ("a a",): Limits(rpm=1)})
    await rig.begin(a_call(principal=Principal("a", "a", None)))
    other = await rig.begin(a_call(principal=Principal("a a", "x", None)))
    assert headers_of(other)["limit-requests"] == "1"
    await rig.refusal(a_call(principal=Principal("a", "a", None)))


async def test_the_package_may_use_its_other_strategies_on_the_same_windows() -> None:
    rig = Rig({SEARCH: Limits(rpm=3)})
    await rig.begin()
    fixed, item = FixedWindowRateLimiter(rig.meters.strategy.storage), rig.limiter._teams["search"].items[0]
    assert fixed.hit(item)
    assert fixed.get_window_stats(item) == (rig.clock.now + 60.5, 1)
    assert (fixed.storage.check(), fixed.storage.reset()) == (True, None)
    await rig.begin()
    await rig.refusal()


# -- what a call settles to --


async def test_tokens_settle_to_what_was_used() -> None:
    rig = Rig({SEARCH: Limits(tpm=10_000)})
    call = await rig.begin()
    assert headers_of(call)["remaining-tokens"] == "9500"
    await rig.end(call, Usage(20, 30))
    assert headers_of(call)["remaining-tokens"] == "9950"


async def test_lengths_of_answers_are_learned_for_each_team_and_model() -> None:
    rig = Rig({SEARCH: Limits(tpm=100_000), ("sales",): Limits(tpm=100_000)})
    for _ in range(20):
        await rig.end(await rig.begin(), Usage(0, 100))
    rig.clock.advance(200)
    assert headers_of(await rig.begin())["remaining-tokens"] == "99900"
    rig.clock.advance(200)
    assert headers_of(await rig.begin(a_call("large")))["remaining-tokens"] == "99500"
    assert headers_of(await rig.begin(a_call(principal=Principal("sales", "x", None))))["remaining-tokens"] == "99500"


async def test_a_call_that_nobody_answered_is_one_request_and_no_tokens() -> None:
    rig = Rig({SEARCH: Limits(rpm=10, tpm=10_000, concurrency=1)})
    call = await rig.begin()
    call.attempts.append(Attempt("p/m", "m", "p", 0.0))
    call.error = UpstreamError.kind
    await call.closing.aclose()
    assert headers_of(call)["remaining-requests"] == "9"
    assert headers_of(call)["remaining-tokens"] == "10000"


async def test_of_a_provider_that_did_not_say_what_it_used_the_reservation_stands() -> None:
    rig = Rig({SEARCH: Limits(tpm=10_000)})
    call = await rig.begin()
    await rig.end(call)
    assert headers_of(call)["remaining-tokens"] == "9500"
    gone = await rig.begin()
    gone.attempts.append(Attempt("p/m", "m", "p", 0.0))
    gone.error = ClientGone.kind
    await gone.closing.aclose()
    assert headers_of(gone)["remaining-tokens"] == "9000"


async def test_an_answer_that_was_cut_teaches_nothing() -> None:
    rig = Rig({SEARCH: Limits(tpm=100_000)})
    for _ in range(20):
        call = await rig.begin()
        call.error = UpstreamError.kind
        await rig.end(call, Usage(0, 1))
    rig.clock.advance(200)
    assert headers_of(await rig.begin())["remaining-tokens"] == "99500"


# -- headers --


async def test_headers_tell_of_the_limit_that_leaves_less() -> None:
    rig = Rig({SEARCH: Limits(rpm=10, tpm=9000), CI: Limits(rpm=60, tpm=1000)})
    call = await rig.begin(sized(600, cap=100))
    assert headers_of(call) == {
        "limit-requests": "10",
        "remaining-requests": "9",
        "reset-requests": "1m0.5s",
        "limit-tokens": "1000",
        "remaining-tokens": "400",
        "reset-tokens": "1m0.5s",
    }
    rig.clock.advance(60.25)
    assert headers_of(call)["reset-requests"] == "250ms"
    rig.clock.advance(1)
    assert (headers_of(call)["limit-tokens"], headers_of(call)["remaining-tokens"]) == ("1000", "1000")
    assert headers_of(call)["reset-tokens"] == "0ms"


async def test_a_limit_that_is_not_there_has_no_headers() -> None:
    assert headers_of(await Rig({SEARCH: Limits(concurrency=1)}).begin()) == {}
    assert set(headers_of(await Rig({SEARCH: Limits(tpm=1000)}).begin())) == {
        "limit-tokens",
        "remaining-tokens",
        "reset-tokens",
    }


async def test_a_refused_call_has_the_headers_too() -> None:
    rig = Rig({SEARCH: Limits(rpm=1)})
    await rig.begin()
    call = a_call()
    await rig.refusal(call)
    assert headers_of(call)["remaining-requests"] == "0"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, b"0ms"), (0.25, b"250ms"), (0.9991, b"1s"), (1, b"1s"), (59.5, b"59.5s"), (60.5, b"1m0.5s"), (360, b"6m0s")],
)
def test_time_spans_are_written_as_openai_writes_them(seconds: float, text: bytes) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 3_600))
def test_time_spans_can_be_read_again_and_are_never_too_short(seconds: float) -> None:
    headers = {
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": duration(seconds).decode(),
    }
    limits = read_rate_limits(headers, 0.0, 0.0)
    assert limits is not None
    assert limits.reset_requests_s is not None
    assert -1e-9 <= limits.reset_requests_s - seconds <= 0.001


# -- reload --


async def test_a_changed_limit_acts_at_once_and_grants_no_second_window() -> None:
    rig = Rig({SEARCH: Limits(rpm=3, tpm=3000), CI: Limits(concurrency=2)})
    first = await rig.begin(sized(1000))
    await rig.begin(sized(1000))
    rig.change({SEARCH: Limits(rpm=2, tpm=9000), CI: Limits(concurrency=9)})
    assert headers_of(first)["remaining-requests"] == "0"
    assert (await rig.refusal()).message.startswith("Your team's limit on requests a minute is reached: 2.")
    rig.change({SEARCH: Limits(rpm=9, tpm=2500)})
    third = await rig.begin(sized(400))
    assert (headers_of(third)["remaining-requests"], headers_of(third)["remaining-tokens"]) == ("6", "100")


async def test_a_limit_taken_away_and_given_back_remembers_what_was_used() -> None:
    rig = Rig({SEARCH: Limits(rpm=1)})
    await rig.begin()
    rig.change({})
    await rig.begin()
    rig.meters.tidy()
    rig.change({SEARCH: Limits(rpm=1)})
    assert (await rig.refusal()).retry_after_s == 60.5


async def test_what_nobody_needs_any_more_is_forgotten_and_what_is_limited_is_not() -> None:
    rig = Rig({SEARCH: Limits(rpm=1), CI: Limits(rpm=1)})
    call = await rig.begin()
    rig.change({CI: Limits(rpm=1)})
    rig.clock.advance(100)
    rig.meters.tidy()
    assert set(rig.meters._meters) == {SEARCH, CI}  # the call is still under way
    await call.closing.aclose()
    rig.meters.tidy()
    assert set(rig.meters._meters) == {CI}


async def test_a_call_that_began_under_the_old_limits_is_settled_under_the_new() -> None:
    rig = Rig({SEARCH: Limits(tpm=1000, concurrency=1)})
    call = await rig.begin()
    rig.change({SEARCH: Limits(concurrency=1)})
    await rig.refusal()
    await rig.end(call, Usage(1, 1))
    assert headers_of(await rig.begin()) == {}


# -- together --


@given(st.data())
def test_whoever_comes_again_when_it_was_told_to_is_let_in(data: st.DataObject) -> None:
    async def play() -> None:
        some = st.none() | st.integers(1, 6)
        limits = {
            SEARCH: Limits(rpm=data.draw(some), tpm=data.draw(st.none() | st.integers(10, 500))),
            CI: Limits(rpm=data.draw(some), tpm=data.draw(st.none() | st.integers(10, 500))),
        }
        rig = Rig(limits)
        for _ in range(data.draw(st.integers(1, 25))):
            rig.clock.advance(data.draw(st.floats(0, 30)))
            call = sized(data.draw(st.integers(2, 800)))
            try:
                await rig.begin(call)
            except RateLimited as error:
                rig.clock.advance((error.retry_after_s or 0.0) + 1e-6)
                await rig.begin(call)
            rig.clock.advance(data.draw(st.floats(0, 90)))
            await rig.end(call, Usage(data.draw(st.integers(0, 900)), 0))
            let_in.append(call)

    let_in: list[Call] = []
    asyncio.run(play())
    assert let_in


async def test_sixty_four_at_once_never_get_more_than_there_is_and_leave_nothing_behind() -> None:
    rig = Rig({SEARCH: Limits(rpm=400, tpm=60_000, concurrency=10), CI: Limits(rpm=300, concurrency=7)})
    rng, let_in, most = Random(3), [0], [0]
    inside = [0]

    async def work(call: Call) -> Answer:
        let_in[0] += 1
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        try:
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            if rng.random() < 0.3:
                raise UpstreamError("down")
        finally:
            inside[0] -= 1
        return ANSWER

    async def worker() -> int:
        refused = 0
        for _ in range(160):
            call = sized(100)
            task = asyncio.create_task(one(call))
            await asyncio.sleep(0)
            if rng.random() < 0.1:
                task.cancel()
            [result] = await asyncio.gather(task, return_exceptions=True)
            refused += isinstance(result, RateLimited)
        return refused

    async def one(call: Call) -> None:
        try:
            await rig.limiter(call, work)
            call.usage = Usage(60, 40)
        finally:
            await call.closing.aclose()

    refused = sum(await asyncio.gather(*(worker() for _ in range(64))))
    assert let_in[0] == 300  # the clock stands still: one minute's worth, to the last one
    assert refused == 64 * 160 - 300
    assert most[0] == 7
    rig.clock.advance(61)
    for _ in range(7):
        await rig.begin(sized(100))
    assert (await rig.refusal(sized(100))).message.startswith("Your key's limit on calls at once is reached: 7.")


def test_the_principal_of_these_tests_is_the_one_the_limits_are_for() -> None:
    assert (TEAM.team, TEAM.key_name) == CI


async def test_a_call_that_the_books_have_no_room_for_uses_no_request() -> None:
    rig = Rig({SEARCH: Limits(rpm=1)})

    async def full(call: Call) -> Answer:
        raise BooksFull("no room")

    with pytest.raises(BooksFull):
        await rig.limiter(a_call(), full)
    await rig.begin()


async def test_embeddings_take_their_input_alone_and_teach_nothing_of_lengths() -> None:
    rig = Rig({SEARCH: Limits(tpm=1000)})
    call = an_embeddings_call("x")
    call.request.size_bytes = 400
    await rig.begin(call)
    assert headers_of(call)["remaining-tokens"] == "900"
    await rig.end(call, Usage(150, 0))
    assert headers_of(call)["remaining-tokens"] == "850"
    assert rig.meters.lengths("search", "chat").p95_tokens == 500
