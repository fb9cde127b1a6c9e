import asyncio
from decimal import Decimal

import pytest

from proxy.accounting import Prices, Rates, Tariff
from proxy.call import Attempt, Call
from proxy.chain.attempt import Report
from proxy.errors import UpstreamTimeout, UpstreamUnavailable
from proxy.wire.answer import ChatAnswer
from proxy.wire.usage import Usage
from routing import Facts, Group, Outcome, Router, Target
from tests.calls import ScriptedStream, a_call

FACTS = Facts("chat", stream=True, input_tokens=300)


class Spy(Router):
    """A router that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__({"chat": Group([Target("a/m", "a", "m")])})
        self.told: list[Outcome] = []
        self.first_tokens: list[tuple[str, float, float]] = []

    def first_token(self, target: str, facts: Facts, started_at: float, now: float) -> None:
        self.first_tokens.append((target, started_at, now))
        super().first_token(target, facts, started_at, now)

    def observe(self, outcome: Outcome, now: float, facts: Facts | None = None) -> None:
        self.told.append(outcome)
        super().observe(outcome, now, facts)


class Bench:
    def __init__(self, tariff: Tariff | None = None) -> None:
        self.router, self.now = Spy(), 10.0
        self.attempt = Attempt("a/m", "m", "a", self.now, price=tariff)
        self.report = Report(self.router, lambda: self.now, FACTS, self.attempt)

    @property
    def only(self) -> Outcome:
        [outcome] = self.router.told
        return outcome

    def open(self, stream: ScriptedStream | None = None, call: Call | None = None) -> None:
        self.report.opened(call or a_call(stream=True), stream or ScriptedStream([]))

    async def settle(self, error: str | None = None, usage: Usage | None = None) -> Call:
        call, stream = a_call(stream=True), ScriptedStream([], usage)
        call.error = error
        await self.report.settle(call, stream)
        assert stream.closed
        return call


async def test_a_stream_that_came_to_its_end_is_told_with_its_tokens_and_its_first() -> None:
    bench = Bench()
    bench.now = 10.5
    bench.open()
    bench.report.left()  # what waited for the beginning is done: that ends nothing
    bench.now = 13.0
    call = await bench.settle(usage=Usage(50, 30, cached_tokens=200, reasoning_tokens=10))
    assert (bench.only.kind, bench.only.ttft_s, bench.only.duration_s) == ("ok", 0.5, 3.0)
    assert (bench.only.input_tokens, bench.only.output_tokens, bench.only.cached_tokens) == (250, 40, 200)
    assert call.usage == Usage(50, 30, cached_tokens=200, reasoning_tokens=10)
    assert bench.attempt.waited_s == 0.5
    assert bench.router.first_tokens == [("a/m", 10.0, 10.5)]
    assert bench.only.is_ttft_told


@pytest.mark.parametrize(
    ("error", "kind"),
    [("upstream_error", "cut"), ("upstream_timeout", "cut"), ("client_gone", "gone"), ("overloaded", "gone")],
)
async def test_a_stream_that_broke_is_the_targets_fault_unless_somebody_left(error: str, kind: str) -> None:
    bench = Bench()
    bench.open()
    await bench.settle(error)
    assert bench.only.kind == kind


def test_a_whole_answer_has_no_first_token() -> None:
    bench = Bench()
    bench.report.answered(a_call(), ChatAnswer(b"{}", Usage(250, 40)))
    assert bench.router.first_tokens == []
    assert (bench.only.ttft_s, bench.only.is_ttft_told) == (None, False)


def test_a_failure_is_told_once_with_what_the_provider_asks() -> None:
    bench = Bench()
    failure = UpstreamUnavailable("down")
    failure.retry_after_s = 5.0
    bench.report.failed(failure)
    bench.report.left()
    assert (bench.only.kind, bench.only.retry_after_s, bench.attempt.error) == ("failed", 5.0, failure.kind)


def test_a_wait_that_was_cancelled_is_nobodys_fault() -> None:
    bench = Bench()
    bench.now = 12.0
    bench.report.left()
    assert (bench.only.kind, bench.attempt.waited_s, bench.attempt.error) == ("gone", 2.0, "cancelled")
    assert bench.router.fleet["a/m"].in_flight == 0


def test_a_time_out_is_told_as_one() -> None:
    bench = Bench()
    bench.report.failed(UpstreamTimeout("late"))
    assert bench.only.kind == "timeout"


def test_without_reported_usage_the_estimate_stands_in() -> None:
    bench = Bench()
    bench.report.answered(a_call(), ChatAnswer(b"{}", None))
    assert (bench.only.kind, bench.only.input_tokens, bench.only.output_tokens) == ("ok", 300, 0)


async def test_an_attempt_whose_settling_is_cancelled_is_counted_out_all_the_same() -> None:
    class Stuck(ScriptedStream):
        async def aclose(self) -> None:
            await asyncio.Event().wait()

    bench = Bench()
    bench.open()
    settling = asyncio.create_task(bench.report.settle(a_call(stream=True), Stuck([])))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    assert bench.router.fleet["a/m"].in_flight == 0


async def test_a_stream_that_lost_a_race_is_closed_and_nobodys_fault() -> None:
    bench, stream, call = Bench(), ScriptedStream([], Usage(1, 1)), a_call(stream=True)
    bench.open(stream, call)
    await bench.report.lost(call, stream)
    await bench.report.settle(call, stream)  # as the call's closing will
    assert (stream.closed, bench.only.kind, bench.attempt.error, call.usage) == (True, "outrun", "outrun", Usage(1, 1))


async def test_a_broken_stream_that_is_made_good_is_told_at_once_and_its_tokens_count() -> None:
    bench, stream, call = Bench(), ScriptedStream([], Usage(250, 10)), a_call(stream=True)
    call.usage = Usage(1, 2)
    bench.open(stream, call)
    await bench.report.broke(call, stream, UpstreamTimeout("silent"))
    await bench.report.settle(call, stream)
    assert (stream.closed, bench.only.kind, bench.attempt.error) == (True, "cut", "upstream_timeout")
    assert (call.usage, bench.attempt.usage) == (Usage(251, 12), Usage(250, 10))


async def test_what_was_reported_is_what_it_costs() -> None:
    prices = Prices(Rates(*map(Decimal, ("1", "2", "0.1", "1.25", "2", "3", "2", "4"))), source="config", version="v")
    bench, call = Bench(Tariff.of(prices)), a_call()
    call.cost_nusd = 500
    bench.report.answered(call, ChatAnswer(b"{}", Usage(10, 5, cached_tokens=100, reasoning_tokens=7)))
    assert bench.attempt.cost_nusd == 10 * 1000 + 5 * 2000 + 100 * 100 + 7 * 2000
    assert call.cost_nusd == 500 + bench.attempt.cost_nusd


async def test_what_has_no_price_or_no_usage_costs_nobody_knows_what() -> None:
    bench, call = Bench(), a_call()
    bench.report.answered(call, ChatAnswer(b"{}", Usage(10, 5)))
    assert (bench.attempt.cost_nusd, call.cost_nusd) == (None, None)
