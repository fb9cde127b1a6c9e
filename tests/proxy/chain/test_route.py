from collections.abc import Sequence
from random import Random

import pytest

from proxy.call import Answer, Call, Principal
from proxy.chain.catalogue import Catalogue, Fallback, Model, Static
from proxy.chain.route import Route
from proxy.errors import (
    Cause,
    GatewayError,
    Overloaded,
    UpstreamAuthError,
    UpstreamError,
    UpstreamMisconfigured,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.observe import Metrics
from proxy.providers import Patience
from proxy.wire.answer import ChatAnswer
from proxy.wire.usage import Usage
from routing import Group, Router, Target
from tests.calls import PATIENCE, ScriptedProvider, ScriptedStream, a_call

OK = ChatAnswer(b'{"ok":true}', Usage(5, 2))
DOWN = UpstreamUnavailable("down")


class Bench:
    """A Route over scripted providers: model `chat` over those named, each with a model of its own name."""

    def __init__(
        self,
        providers: Sequence[ScriptedProvider],
        fallbacks: Sequence[Fallback] = (),
        large: ScriptedProvider | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self.metrics = Metrics()
        self.now = 0.0
        targets = {"chat": Group([Target(f"{p.name}/m", p.name, "m") for p in providers])}
        models = [Model("chat", (), patience, 15, tuple(fallbacks))]
        everyone = list(providers)
        if large is not None:
            targets["large"] = Group([Target(f"{large.name}/l", large.name, "l")])
            models.append(Model("large", (), patience, 15, ()))
            everyone.append(large)
        by_name = {p.name: p for p in everyone}
        self.slept: list[float] = []
        self.route = Route(
            Router(targets),
            Catalogue(models),
            by_name,
            self.metrics,
            lambda: self.now,
            Random(1),
            wall_clock=lambda: 1_700_000_000.0,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def ask(self, call: Call | None = None) -> tuple[Call, Answer | GatewayError]:
        call = call or a_call()
        try:
            return call, await self.route(call)
        except GatewayError as error:
            return call, error


def rejected(cause: Cause | None, status: int = 400) -> UpstreamRejected:
    return UpstreamRejected(status, "no", type="t", code="c", param=None, cause=cause)


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
