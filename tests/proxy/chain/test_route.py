from collections.abc import Mapping, Sequence
from random import Random

import pytest

from proxy.call import Answer, Call, Principal
from proxy.chain.catalogue import Fallback, Static
from proxy.errors import (
    AtCapacity,
    Cause,
    ContextLengthExceeded,
    GatewayError,
)
from proxy.providers import Patience
from proxy.wire.answer import ChatAnswer
from routing import Facts, Fleet, Group, Plan, Router
from tests.calls import ScriptedProvider, a_call
from tests.routes import DOWN, OK, Bench, rejected

NO = rejected(None)


@pytest.mark.parametrize(
    ("wanted", "failure", "falls_back"),
    [
        ("unavailable", DOWN, True),
        ("unavailable", rejected("rate_limited", 429), True),
        ("rate_limited", rejected("rate_limited", 429), True),
        ("rate_limited", DOWN, False),
        ("context_length", rejected("context_length"), True),
        ("context_length", DOWN, False),
        ("content_filter", rejected("content_filter"), True),
        ("unavailable", rejected(None), False),
    ],
)
async def test_fallbacks_apply_by_cause(wanted: Cause, failure: Exception, falls_back: bool) -> None:
    large = ScriptedProvider("big", [OK])
    bench = Bench([ScriptedProvider("a", [failure])], [Fallback(wanted, "large")], large)
    call, answer = await bench.ask()
    assert isinstance(answer, Answer) is falls_back
    assert call.fallback == ("large" if falls_back else None)
    assert large.asked == (["l"] if falls_back else [])


async def test_a_fallback_never_opens_a_model_the_team_may_not_use() -> None:
    large = ScriptedProvider("big", [OK])
    bench = Bench([ScriptedProvider("a", [DOWN])], [Fallback("unavailable", "large")], large)
    _, error = await bench.ask(a_call(principal=Principal("search", "ci", frozenset({"chat"}))))
    assert error is DOWN
    assert large.asked == []


async def test_each_fallback_has_an_attempt_left_however_often_the_model_failed() -> None:
    large = ScriptedProvider("big", [OK])
    bench = Bench([ScriptedProvider("a", [DOWN])], [Fallback("unavailable", "large")], large)
    call, answer = await bench.ask()
    assert isinstance(answer, Answer)
    assert [attempt.provider for attempt in call.attempts] == ["a", "a", "a", "big"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_static_answer_ends_the_call_well_and_counts_as_the_failure_it_hides(stream: bool) -> None:
    steps = [Fallback("context_length", None, Static("No.")), Fallback("unavailable", None, Static("Later."))]
    bench = Bench([ScriptedProvider("a", [DOWN])], steps)
    call, answer = await bench.ask(a_call(stream=stream))
    assert isinstance(answer, Answer)
    assert (answer.status, answer.source, call.fallback) == (200, "static", "static")
    assert (call.error, call.failed_status) == ("upstream_unavailable", 503)
    text = answer.body if answer.blocks is None else b"".join([block async for block in answer.blocks])
    assert b"Later." in text
    assert text.endswith(b"data: [DONE]\n\n") is stream


@pytest.mark.parametrize("stream", [False, True])
async def test_a_static_answer_with_an_errors_status_is_an_error_in_its_words(stream: bool) -> None:
    steps = [Fallback("unavailable", None, Static("Later.", 529)), Fallback("unavailable", "large")]
    large = ScriptedProvider("big", [OK])
    call, error = await Bench([ScriptedProvider("a", [DOWN])], steps, large).ask(a_call(stream=stream))
    assert isinstance(error, GatewayError)
    assert (error.status, error.message, call.fallback, call.failed_status) == (529, "Later.", "static", 503)
    assert large.asked == []  # what was fixed is the last word


def a_long_call() -> Call:
    call = a_call()
    call.request.body["messages"] = [{"role": "user", "content": "x" * 9000}]
    call.request.size_bytes = 9050
    return call


async def test_a_call_too_long_for_every_target_is_refused_without_asking_or_falls_back_for_that_cause() -> None:
    small, large = ScriptedProvider("a", [OK]), ScriptedProvider("big", [OK])
    call, error = await Bench([small], contexts=[1000]).ask(a_long_call())
    assert isinstance(error, ContextLengthExceeded)
    steps = [Fallback("unavailable", None, Static("Later.")), Fallback("context_length", "large")]
    call, answer = await Bench([small], steps, large, contexts=[1000]).ask(a_long_call())
    assert isinstance(answer, Answer)
    assert (call.fallback, small.asked, large.asked) == ("large", [], ["l"])


async def test_targets_without_room_are_named_with_their_waits_and_no_attempt_is_made() -> None:
    bench = Bench([ScriptedProvider("a", [OK]), ScriptedProvider("b", [OK])])
    bench.router.fleet["a/m"].pacer.blocked(20.0, 0.0)
    bench.router.fleet["b/m"].drained_until = 7.0
    call, error = await bench.ask()
    assert isinstance(error, AtCapacity)
    assert (error.waits_s, error.least_wait_s, error.retry_after_s) == ({"a/m": 20.0, "b/m": 7.0}, 7.0, 7.0)
    assert call.attempts == []


async def test_a_fallback_without_room_is_waited_for_as_well_as_the_model_itself() -> None:
    bench = Bench(
        [ScriptedProvider("a", [OK])], [Fallback("unavailable", "large")], large=ScriptedProvider("big", [OK])
    )
    bench.router.fleet["a/m"].pacer.blocked(20.0, 0.0)
    bench.router.fleet["big/l"].pacer.blocked(5.0, 0.0)
    _, error = await bench.ask()
    assert isinstance(error, AtCapacity)
    assert error.waits_s == {"a/m": 20.0, "big/l": 5.0}


class Listening(Router):
    """Remembers what it was asked and told."""

    def __init__(self, groups: Mapping[str, Group], fleet: Fleet | None = None) -> None:
        super().__init__(groups, fleet)
        self.planned: list[Facts] = []
        self.given_up: list[str] = []

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        self.planned.append(facts)
        return super().plan(facts, now, rng)

    def gave_up(self, model: str) -> None:
        self.given_up.append(model)


def listened(first: ChatAnswer | Exception, fallbacks: Sequence[Fallback] = ()) -> tuple[Bench, Listening]:
    """A model whose only target answers so, and another one that answers well."""
    bench = Bench([ScriptedProvider("a", [first])], fallbacks, ScriptedProvider("big", [OK]), router=Listening)
    assert isinstance(bench.router, Listening)
    return bench, bench.router


async def test_a_call_that_was_at_a_target_waits_for_no_fallback_that_is_full() -> None:
    bench, router = listened(DOWN, [Fallback("unavailable", "large")])
    await bench.ask()
    ends = router.planned[0], router.planned[-1]
    assert [(facts.model, facts.may_wait) for facts in ends] == [("chat", True), ("large", False)]


@pytest.mark.parametrize(
    ("first", "fallbacks", "given_up"),
    [
        (DOWN, [], ["chat"]),
        (rejected("rate_limited", 429), [], ["chat"]),
        (DOWN, [Fallback("unavailable", "large")], ["chat"]),
        (rejected(None), [], []),
        (OK, [], []),
    ],
)
async def test_routing_is_told_of_a_call_that_a_model_failed_by_its_targets_fault(
    first: ChatAnswer | Exception, fallbacks: Sequence[Fallback], given_up: list[str]
) -> None:
    bench, router = listened(first, fallbacks)
    await bench.ask()
    assert router.given_up == given_up


async def test_routing_is_told_of_no_failure_where_nobody_was_asked() -> None:
    bench, router = listened(OK)
    router.fleet["a/m"].drained_until = 7.0
    await bench.ask()
    assert router.given_up == []


async def test_a_fallback_that_is_at_odds_with_the_request_hides_no_outage() -> None:
    bench = Bench([ScriptedProvider("a", [DOWN])], [Fallback("unavailable", "large")], ScriptedProvider("big", [NO]))
    call, error = await bench.ask()
    assert error is DOWN
    assert call.fallback is None
    steps = [Fallback("unavailable", "large"), Fallback("unavailable", None, Static("Later."))]
    _, answer = await Bench([ScriptedProvider("a", [DOWN])], steps, ScriptedProvider("big", [NO])).ask()
    assert isinstance(answer, Answer)
    assert answer.source == "static"


async def test_the_calls_deadline_is_that_of_the_model_that_was_named() -> None:
    large = ScriptedProvider("big", [OK])
    bench = Bench([ScriptedProvider("a", [DOWN])], [Fallback("unavailable", "large")], large, Patience(1, 5, 5, 10))
    bench.now = 9.0
    call = a_call(received_at=0.0)
    call.model = "chat"
    await bench.ask(call)
    left_s = large.patience[0].total_s
    assert left_s is not None
    assert left_s <= 1.0


async def test_attempts_are_bounded_over_all_fallbacks_and_each_has_one() -> None:
    steps = [Fallback("unavailable", "large"), Fallback("unavailable", "large")]
    large = ScriptedProvider("big", [DOWN])
    call, _ = await Bench([ScriptedProvider("a", [DOWN])], steps, large).ask()
    assert [attempt.provider for attempt in call.attempts] == ["a", "a", "big", "big"]
