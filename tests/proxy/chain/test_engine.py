import asyncio
from dataclasses import replace
from random import Random

import pytest

from proxy.call import Answer, Call
from proxy.chain.catalogue import Catalogue
from proxy.errors import (
    GatewayError,
    Overloaded,
    UpstreamAuthError,
    UpstreamError,
    UpstreamFailure,
    UpstreamMisconfigured,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.providers import Patience
from proxy.wire.answer import ChatAnswer
from proxy.wire.chat import ChatRequest
from proxy.wire.usage import Usage
from routing import Candidate, Facts, RetrySettings, Router, Target
from tests.calls import ScriptedProvider, ScriptedStream, a_call
from tests.routes import DOWN, OK, Bench, rejected


async def test_an_answer_brings_its_usage_and_its_attempt() -> None:
    call, answer = await Bench([ScriptedProvider("a", [OK])]).ask()
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, answer.source) == (200, OK.body, "upstream")
    assert call.usage == Usage(5, 2)
    assert [(attempt.target, attempt.error) for attempt in call.attempts] == [("a/m", None)]


@pytest.mark.parametrize(
    "failure",
    [DOWN, UpstreamError("x"), UpstreamTimeout("x"), UpstreamMisconfigured("x"), rejected("rate_limited", 429)],
)
async def test_a_failed_target_makes_way_for_the_next_and_is_counted(failure: Exception) -> None:
    bench = Bench([ScriptedProvider("a", [failure]), ScriptedProvider("b", [OK])])
    call, answer = await bench.ask()
    assert isinstance(answer, Answer)
    assert [attempt.provider for attempt in call.attempts] == ["a", "b"]
    assert call.attempts[0].error is not None
    labels = {"provider": "a", "kind": call.attempts[0].error}
    assert bench.metrics.registry.get_sample_value("llm_failovers_total", labels) == 1


async def test_a_request_the_provider_rejects_is_not_carried_elsewhere() -> None:
    other = ScriptedProvider("b", [OK])
    call, error = await Bench([ScriptedProvider("a", [rejected(None)]), other]).ask()
    assert isinstance(error, UpstreamRejected)
    assert other.asked == []
    assert len(call.attempts) == 1


async def test_the_last_failure_is_what_the_client_sees() -> None:
    _, error = await Bench([ScriptedProvider("a", [UpstreamError("x")]), ScriptedProvider("b", [DOWN])]).ask()
    assert error is DOWN


async def test_a_stream_is_settled_when_the_call_closes_even_if_nobody_read_it() -> None:
    stream = ScriptedStream([b"data: 1\n\n"], Usage(3, 1))
    call, answer = await Bench([ScriptedProvider("a", [stream])]).ask(a_call(stream=True))
    assert isinstance(answer, Answer)
    before = stream.closed
    await call.closing.aclose()
    assert (before, stream.closed) == (False, True)
    assert call.usage == Usage(3, 1)


async def test_attempts_share_one_deadline() -> None:
    providers = [ScriptedProvider("a", [DOWN]), ScriptedProvider("b", [OK])]
    bench = Bench(providers, patience=Patience(1, 5, 5, 60))
    bench.now = 50.0
    _, answer = await bench.ask(a_call(received_at=0.0))
    assert isinstance(answer, Answer)
    assert providers[1].patience[0].total_s == 10.0


async def test_no_attempt_begins_after_the_deadline() -> None:
    other = ScriptedProvider("b", [OK])
    bench = Bench([ScriptedProvider("a", [DOWN]), other])
    bench.now = 61.0
    _, error = await bench.ask(a_call(received_at=0.0))
    assert error is DOWN
    assert other.asked == []


async def test_attempts_are_bounded_however_many_targets_there_are() -> None:
    call, error = await Bench([ScriptedProvider(f"p{number}", [DOWN]) for number in range(12)]).ask()
    assert error is DOWN
    assert len(call.attempts) == 4


async def test_a_target_alone_is_asked_again_after_a_pause() -> None:
    bench = Bench([ScriptedProvider("a", [DOWN, UpstreamTimeout("late"), OK])])
    call, answer = await bench.ask()
    assert isinstance(answer, Answer)
    assert [attempt.error for attempt in call.attempts] == ["upstream_unavailable", "upstream_timeout", None]
    assert len(bench.slept) == 2
    assert bench.slept[0] <= 0.1
    assert bench.slept[1] <= 0.2


@pytest.mark.parametrize("failure", [UpstreamMisconfigured("x"), rejected("rate_limited", 429), rejected(None)])
async def test_a_target_that_would_say_the_same_is_not_asked_again(failure: Exception) -> None:
    bench = Bench([ScriptedProvider("a", [failure])])
    call, error = await bench.ask()
    assert error is failure
    assert (len(call.attempts), bench.slept) == (1, [])


async def test_nobody_is_asked_when_the_deadline_would_pass_first() -> None:
    bench = Bench([ScriptedProvider("a", [DOWN])], patience=Patience(1, 5, 5, 0.001))
    call, error = await bench.ask()
    assert error is DOWN
    assert len(call.attempts) == 1


async def test_a_target_at_its_providers_limit_is_not_asked_until_it_has_room() -> None:
    limited = rejected("rate_limited", 429)
    limited.retry_after_s = 20.0
    provider = ScriptedProvider("a", [limited, OK])
    bench = Bench([provider])
    assert (await bench.ask())[1] is limited
    call, error = await bench.ask()
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == pytest.approx(20.0)
    assert call.attempts == []
    bench.now = 21.0
    assert isinstance((await bench.ask())[1], Answer)
    assert len(provider.asked) == 2


async def test_a_broken_target_is_left_alone_and_then_probed_by_one_call() -> None:
    broken, other = ScriptedProvider("a", [DOWN]), ScriptedProvider("b", [OK])
    bench = Bench([broken, other])
    for _ in range(40):
        assert isinstance((await bench.ask())[1], Answer)
    assert len(broken.asked) == 5  # then its breaker is open
    bench.now += 60
    for _ in range(4):
        await bench.ask()
    assert len(broken.asked) == 6


async def test_the_providers_total_is_what_is_left_of_the_call() -> None:
    provider = ScriptedProvider("a", [OK])
    bench = Bench([provider])
    await bench.ask(a_call(headers={b"x-stainless-read-timeout": b"10"}))
    assert provider.patience[0].total_s == pytest.approx(9.8)


async def test_another_credential_of_the_same_target_is_tried_at_once() -> None:
    refused = UpstreamAuthError("no")
    refused.has_spare = True
    bench = Bench([ScriptedProvider("a", [refused, OK])])
    call, answer = await bench.ask()
    assert isinstance(answer, Answer)
    assert [attempt.error for attempt in call.attempts] == ["upstream_auth", None]
    assert bench.slept == []


class Hurried(Router):
    """A router that sends a second attempt at once."""

    def hedge(
        self, facts: Facts, first: Candidate, sent_at: float, now: float, rng: Random
    ) -> tuple[Candidate | None, float | None]:
        [other] = [name for name in self.fleet if name != first.target.name]
        if other in facts.tried:
            return None, None
        provider, model = other.split("/")
        return Candidate(Target(other, provider, model), "hedge"), None


class Silent(ScriptedProvider):
    """A provider that does not begin its answer until it is let go."""

    def __init__(self, name: str, stream: ScriptedStream | Exception) -> None:
        super().__init__(name, [stream])
        self.gate = asyncio.Event()
        self.is_left = False

    async def open_stream(self, model: str, request: ChatRequest, patience: Patience) -> ScriptedStream:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.is_left = True
            raise
        return await super().open_stream(model, request, patience)


def hedging(first: ScriptedProvider, second: ScriptedProvider) -> Bench:
    return Bench([first, second], is_hedged=True, router=Hurried)


def hedges(bench: Bench, result: str) -> float | None:
    return bench.metrics.registry.get_sample_value("llm_hedges_total", {"result": result})


async def test_a_second_attempt_that_begins_first_answers_and_the_first_is_let_go() -> None:
    slow, quick = (
        Silent("a", ScriptedStream([])),
        ScriptedProvider("b", [ScriptedStream([b"data: 1\n\n"], Usage(3, 1))]),
    )
    bench = hedging(slow, quick)
    call, answer = await bench.ask(a_call(stream=True))
    assert isinstance(answer, Answer)
    await call.closing.aclose()
    assert (slow.is_left, call.answered, call.usage) == (True, call.attempts[1], Usage(3, 1))
    assert [(one.target, one.error) for one in call.attempts] == [("a/m", "outrun"), ("b/m", None)]
    assert [bench.router.fleet[name].in_flight for name in bench.router.fleet] == [0, 0]
    assert hedges(bench, "won") == 1


async def test_a_first_attempt_that_begins_after_all_makes_the_second_needless() -> None:
    slow, slower = Silent("a", ScriptedStream([b"data: 1\n\n"])), Silent("b", ScriptedStream([]))
    bench = hedging(slow, slower)
    asking = asyncio.create_task(bench.ask(a_call(stream=True)))
    await asyncio.sleep(0.01)
    slow.gate.set()
    call, answer = await asking
    assert isinstance(answer, Answer)
    await call.closing.aclose()
    assert (slower.is_left, call.answered) == (True, call.attempts[0])
    assert hedges(bench, "lost") == 1


async def test_a_second_attempt_is_not_made_if_the_first_has_begun_while_room_was_asked_for() -> None:
    slow, second = Silent("a", ScriptedStream([b"data: 1\n\n"])), ScriptedProvider("b", [ScriptedStream([])])
    bench, call = hedging(slow, second), a_call(stream=True)

    async def cover(call: Call, more_tokens: int) -> bool:
        slow.gate.set()
        while call.attempts[0].waited_s is None:
            await asyncio.sleep(0)
        return True

    call.cover = cover
    _, answer = await bench.ask(call)
    assert isinstance(answer, Answer)
    await call.closing.aclose()
    assert (second.asked, len(call.attempts), hedges(bench, "lost")) == ([], 1, None)


async def test_of_two_that_begin_at_once_one_is_closed_before_the_answer_goes_out() -> None:
    one, other = ScriptedStream([]), ScriptedStream([])
    first, second = Silent("a", one), Silent("b", other)
    bench = hedging(first, second)
    asking = asyncio.create_task(bench.ask(a_call(stream=True)))
    await asyncio.sleep(0.01)
    first.gate.set()
    second.gate.set()
    call, _ = await asking
    assert [one.closed, other.closed].count(True) == 1
    await call.closing.aclose()
    assert one.closed
    assert other.closed
    assert [bench.router.fleet[name].in_flight for name in bench.router.fleet] == [0, 0]


async def test_two_attempts_that_fail_both_count_as_tried() -> None:
    bench = hedging(ScriptedProvider("a", [DOWN]), ScriptedProvider("b", [DOWN]))
    call, error = await bench.ask(a_call(stream=True))
    assert error is DOWN
    assert len(call.attempts) == 4
    assert hedges(bench, "failed") == 1


async def test_a_client_that_leaves_during_a_race_leaves_nobody_running() -> None:
    first, second, call = Silent("a", ScriptedStream([])), Silent("b", ScriptedStream([])), a_call(stream=True)
    bench = hedging(first, second)
    asking = asyncio.create_task(bench.ask(call))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await call.closing.aclose()
    assert first.is_left
    assert second.is_left
    assert [bench.router.fleet[name].in_flight for name in bench.router.fleet] == [0, 0]


async def test_a_whole_answer_is_never_raced_for() -> None:
    bench = hedging(ScriptedProvider("a", [OK]), ScriptedProvider("b", [OK]))
    call, _ = await bench.ask()
    assert len(call.attempts) == 1


@pytest.mark.parametrize(
    ("contexts", "asked"),
    [
        ([1000, 500, None, 2000], ["a", "d", "c"]),  # only a larger one, then one of which nothing is known
        ([1000, None, 1000, None], ["a", "b"]),  # whose word is the last
        ([None, 2000, 3000, 4000], ["a"]),  # nobody is known to be larger
    ],
)
async def test_a_call_too_long_for_one_target_goes_to_a_larger_one(
    contexts: list[int | None], asked: list[str]
) -> None:
    providers = [ScriptedProvider(name, [rejected("context_length")]) for name in "abcd"]
    call, error = await Bench(providers, contexts=contexts).ask()
    assert [attempt.provider for attempt in call.attempts] == asked
    assert isinstance(error, UpstreamRejected)


def asking_for(seconds: float, status: int = 429) -> UpstreamFailure:
    failure = rejected("rate_limited", 429) if status == 429 else UpstreamUnavailable("down")
    failure.retry_after_s = seconds
    return failure


async def test_the_client_is_told_the_shortest_of_the_targets_waits() -> None:
    bench = Bench([ScriptedProvider("a", [asking_for(7.0)]), ScriptedProvider("b", [asking_for(30.0)])])
    _, error = await bench.ask()
    assert isinstance(error, GatewayError)
    assert (error.retry_after_s, bench.slept) == (7.0, [])


@pytest.mark.parametrize("status", [429, 503])
async def test_a_target_alone_that_asks_for_a_moment_is_given_it(status: int) -> None:
    bench = Bench([ScriptedProvider("a", [asking_for(1.5, status), OK])])
    call, answer = await bench.ask()
    assert isinstance(answer, Answer)
    assert (len(call.attempts), [round(one, 2) for one in bench.slept]) == (2, [1.5])


@pytest.mark.parametrize("status", [429, 503])
async def test_a_target_alone_that_asks_for_longer_is_left_alone(status: int) -> None:
    bench = Bench([ScriptedProvider("a", [asking_for(20.0, status), OK])])
    call, error = await bench.ask()
    assert isinstance(error, GatewayError)
    assert (len(call.attempts), bench.slept, error.retry_after_s) == (1, [], 20.0)


async def test_a_moment_is_given_once_and_never_past_the_deadline() -> None:
    bench = Bench([ScriptedProvider("a", [asking_for(1.0)])])
    call, _ = await bench.ask()
    assert (len(call.attempts), len(bench.slept)) == (2, 1)
    hurried = Bench([ScriptedProvider("a", [asking_for(1.0)])], patience=Patience(1, 5, 5, 0.5))
    call, _ = await hurried.ask()
    assert (len(call.attempts), hurried.slept) == (1, [])


async def test_a_second_attempt_counts_among_the_attempts_from_the_start() -> None:
    bench = hedging(Silent("a", ScriptedStream([])), Silent("b", ScriptedStream([])))
    model = replace(bench.route._catalogue["chat"], retries=RetrySettings(max_attempts=1))
    bench.route._catalogue = Catalogue([model])
    call = a_call(stream=True)
    asking = asyncio.create_task(bench.ask(call))
    await asyncio.sleep(0.01)
    assert [one.target for one in call.attempts] == ["a/m"]
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await call.closing.aclose()


async def test_a_target_that_refused_a_call_as_too_long_is_not_asked_again() -> None:
    bench = hedging(ScriptedProvider("a", [rejected("context_length")]), ScriptedProvider("b", [DOWN]))
    call, _ = await bench.ask(a_call(stream=True))
    assert [one.target for one in call.attempts].count("a/m") == 1


async def test_another_credential_costs_no_second_place_in_the_retry_budget_and_no_other_target() -> None:
    refused = UpstreamAuthError("no")
    refused.has_spare = True
    bench = Bench([ScriptedProvider("a", [refused, OK]), ScriptedProvider("b", [OK])])
    call, _ = await bench.ask()
    assert [one.target for one in call.attempts] == ["a/m", "a/m"]
    assert len(call.plans) == 1


async def test_what_one_target_said_forbids_no_other_to_be_asked_again() -> None:
    bench = Bench([ScriptedProvider("a", [DOWN, OK]), ScriptedProvider("b", [rejected("rate_limited", 429)])])
    call, answer = await bench.ask()
    assert isinstance(answer, Answer)
    assert [one.target for one in call.attempts] == ["a/m", "b/m", "a/m"]


async def test_a_client_in_a_hurry_is_no_fault_of_the_target() -> None:
    late = UpstreamTimeout("late")

    class Late(ScriptedProvider):
        async def answer(self, model: str, request: ChatRequest, patience: Patience) -> ChatAnswer:
            assert patience.total_s is not None
            bench.now += patience.total_s
            raise late

    bench = Bench([Late("a", [OK])])
    for _ in range(8):
        call = a_call(headers={b"x-stainless-read-timeout": b"0.5"}, received_at=bench.now)
        assert (await bench.ask(call))[1] is late
    assert bench.router.fleet["a/m"].breaker.state(bench.now) == "closed"
    assert bench.router.fleet["a/m"].health.p_ok(bench.now) > 0.9


async def test_a_target_that_is_drained_while_a_call_waits_for_it_is_not_asked() -> None:
    bench = Bench([ScriptedProvider("a", [DOWN, DOWN, OK])])

    async def drain(seconds: float) -> None:
        bench.router.fleet["a/m"].drained_until = bench.now + 60

    bench.route._engine._sleep = drain
    call, error = await bench.ask()
    assert error is DOWN
    assert len(call.attempts) == 1


async def test_a_stream_is_waited_for_no_longer_than_its_target_usually_needs_if_another_can_be_asked() -> None:
    class Known(Router):
        def patience_s(self, target: str, facts: Facts, now: float) -> float:
            return 3.0

    late, other = ScriptedProvider("a", [UpstreamTimeout("late")]), ScriptedProvider("b", [UpstreamTimeout("late")])
    bench = Bench([late, other], router=Known)
    await bench.ask(a_call(stream=True))
    assert [one.first_token_s for one in (*late.patience, *other.patience)] == [3.0, 5, 5, 5]
    await bench.ask(a_call())
    assert {one.first_token_s for one in (*late.patience[2:], *other.patience[2:])} == {5}
