import json
from collections.abc import Sequence

import pytest

from proxy.call import Answer, Call
from proxy.chain.catalogue import Fallback
from proxy.errors import GatewayError, UpstreamError, UpstreamRejected, UpstreamTimeout
from proxy.wire.usage import Usage
from tests.calls import ScriptedProvider, ScriptedStream, a_call
from tests.fakes import sse_chunks, sse_event
from tests.routes import DOWN, Bench, rejected

TEXT = "The quick brown fox jumps over the lazy dog."
CUT = UpstreamError("Provider 'a' ended its stream in the middle of the answer.")


def begun(*texts: str, end: Exception = CUT, usage: Usage | None = None) -> ScriptedStream:
    return ScriptedStream([*sse_chunks(*texts, finish=None, done=False), end], usage)


def whole(*texts: str, usage: Usage | None = None) -> ScriptedStream:
    return ScriptedStream(sse_chunks(*texts), usage)


async def read(bench: Bench, call: Call | None = None) -> tuple[Call, bytes, GatewayError | None]:
    """The call, what its client got, and the error that its stream ended in."""
    call, answer = await bench.ask(call or a_call(stream=True))
    assert isinstance(answer, Answer)
    assert answer.blocks is not None
    got, error = b"", None
    try:
        async for block in answer.blocks:
            got += block
    except GatewayError as failure:
        error = failure
        call.error = failure.kind
    await call.closing.aclose()
    return call, got, error


def text_of(got: bytes) -> str:
    events = [event.removeprefix(b"data: ") for event in got.split(b"\n\n") if event.startswith(b"data: {")]
    return "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events)


def rescuing(script: Sequence[ScriptedStream | Exception], *others: ScriptedStream | Exception) -> Bench:
    providers = [ScriptedProvider("a", script), *(ScriptedProvider("bcd"[n], [one]) for n, one in enumerate(others))]
    return Bench(providers, is_rescued=True)


async def test_a_cut_stream_goes_on_at_another_target_and_says_so() -> None:
    first, second = begun(TEXT[:20], usage=Usage(9, 5)), whole(TEXT[4:], usage=Usage(14, 8))
    bench = rescuing([first], second)
    call, got, error = await read(bench)
    assert (text_of(got), error) == (TEXT, None)
    assert got.endswith(b"data: [DONE]\n\n")
    assert got.count(b": waystation: continued at b/m\n\n") == 1
    assert (first.closed, second.closed, call.is_rescued) == (True, True, True)
    assert [(one.target, one.error, one.usage) for one in call.attempts] == [
        ("a/m", CUT.kind, Usage(9, 5)),
        ("b/m", None, Usage(14, 8)),
    ]
    assert (call.usage, call.answered) == (Usage(23, 13), call.attempts[1])
    assert bench.metrics.registry.get_sample_value("llm_rescues_total", {"result": "joined"}) == 1


async def test_the_next_target_is_asked_for_the_rest_only() -> None:
    bench = rescuing([begun(TEXT[:20])], whole(TEXT[20:]))
    await read(bench)
    assert [request.text_so_far for request in bench.providers["b"].requests] == [TEXT[:20]]


async def test_a_stream_cut_twice_goes_on_twice() -> None:
    call, got, error = await read(rescuing([begun(TEXT[:15])], begun(TEXT[5:30]), whole(TEXT[20:])))
    assert (text_of(got), error, len(call.attempts)) == (TEXT, None, 3)


async def test_a_target_that_fails_to_go_on_makes_way_for_the_next() -> None:
    call, got, error = await read(rescuing([begun(TEXT[:20])], DOWN, whole(TEXT[20:])))
    assert (text_of(got), error) == (TEXT, None)
    assert [one.error for one in call.attempts] == [CUT.kind, DOWN.kind, None]


async def test_where_nobody_goes_on_the_client_sees_the_break() -> None:
    bench = rescuing([begun(TEXT[:20])], DOWN)
    call, got, error = await read(bench)
    assert error is CUT
    assert (text_of(got), call.is_rescued) == (TEXT[:20], False)
    assert bench.metrics.registry.get_sample_value("llm_rescues_total", {"result": "failed"}) == 1


async def test_rescues_are_within_the_attempts_of_the_call() -> None:
    bench = rescuing([begun("word "), begun("word "), begun("word "), begun("word "), begun("word ")])
    call, _, error = await read(bench)
    assert error is CUT
    assert len(call.attempts) == 4


@pytest.mark.parametrize("failure", [UpstreamTimeout("silent"), rejected("rate_limited", 429)])
async def test_silence_is_a_cut_too(failure: UpstreamRejected | UpstreamTimeout) -> None:
    _, got, error = await read(rescuing([begun(TEXT[:20], end=failure)], whole(TEXT[20:])))
    assert (text_of(got), error) == (TEXT, None)


async def test_what_is_at_odds_with_the_request_is_not_carried_elsewhere() -> None:
    refusal = rejected("content_filter")
    bench = rescuing([begun(TEXT[:20], end=refusal)], whole(TEXT[20:]))
    assert (await read(bench))[2] is refusal
    assert bench.providers["b"].requests == []


async def test_a_tool_call_that_was_cut_is_an_error() -> None:
    delta = {"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}]}
    block = sse_event({"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    bench = rescuing([ScriptedStream([block, CUT])], whole(TEXT))
    assert (await read(bench))[2] is CUT
    assert bench.providers["b"].requests == []


async def test_without_rescue_a_cut_is_an_error() -> None:
    bench = Bench([ScriptedProvider("a", [begun(TEXT[:20])]), ScriptedProvider("b", [whole(TEXT)])])
    _, got, error = await read(bench)
    assert (text_of(got), error) == (TEXT[:20], CUT)


async def test_no_attempt_is_left_in_flight() -> None:
    bench = rescuing([begun(TEXT[:20])], begun(TEXT[20:30]), DOWN)
    await read(bench)
    fleet = bench.router.fleet
    assert [fleet[name].in_flight for name in fleet] == [0, 0, 0]
    assert fleet["a/m"].health.p_cut(bench.now) > fleet["c/m"].health.p_cut(bench.now)


async def test_attempts_kept_back_for_fallbacks_are_free_once_the_answer_has_begun() -> None:
    providers = [ScriptedProvider("a", [begun(TEXT[:20])]), ScriptedProvider("b", [whole(TEXT[20:])])]
    steps = [Fallback("unavailable", "large")] * 3
    bench = Bench(providers, steps, ScriptedProvider("big", [DOWN]), is_rescued=True)
    _, got, error = await read(bench)
    assert (text_of(got), error) == (TEXT, None)


async def test_a_target_that_goes_on_exactly_is_taken_at_its_word() -> None:
    rest = whole("-----------", " end")
    rest.goes_on_exactly = True
    _, got, error = await read(rescuing([begun("-----------")], rest))
    assert (text_of(got), error) == ("-" * 22 + " end", None)


async def test_a_rest_that_is_another_answer_ends_in_an_error() -> None:
    _, got, error = await read(
        rescuing([begun(TEXT[:30])], whole(TEXT[:20] + "leapt over a cat, and then some more of it"))
    )
    assert isinstance(error, UpstreamError)
    assert "does not continue" in error.message
    assert text_of(got) == TEXT[:30]


async def test_a_limit_that_strikes_in_mid_stream_is_waited_out() -> None:
    limited = rejected("rate_limited", 429)
    limited.retry_after_s = 20.0
    bench = rescuing([begun(TEXT[:20], end=limited)], whole(TEXT[20:]))
    await read(bench)
    assert bench.router.fleet["a/m"].pacer.is_blocked(bench.now)


async def test_the_rest_is_asked_for_only_if_what_it_may_cost_is_covered_the_text_so_far_included() -> None:
    bench, call = rescuing([begun(TEXT[:20])], whole(TEXT[20:])), a_call(stream=True)
    asked: list[int] = []

    async def cover(call: Call, more_tokens: int) -> bool:
        asked.append(more_tokens)
        return False

    call.cover = cover
    _, got, error = await read(bench, call)
    assert (text_of(got), error, len(call.attempts)) == (TEXT[:20], CUT, 1)
    [more_tokens] = asked
    assert 20 < more_tokens < 600
