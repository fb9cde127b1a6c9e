import json
from typing import Any

import pytest

from proxy.call import Answer, Attempt, Call, Tier
from proxy.chain import trace as module
from proxy.chain.history import History
from proxy.chain.trace import Trace, choose_request_id, new_id, read_trace_id
from proxy.errors import InvalidRequest
from proxy.observe import Metrics
from proxy.wire.usage import Usage
from routing import Facts, Plan
from tests.calls import a_call


class Lines:
    """A CallLog that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, event: str, fields: dict[str, object], loop: object) -> None:
        self.lines.append({"event": event, **fields})


def traced(now: float = 2.0) -> tuple[Trace, Lines, Metrics]:
    lines, metrics = Lines(), Metrics()
    return Trace(metrics, lines, lambda: now), lines, metrics  # type: ignore[arg-type]  # a fake log


async def test_a_call_that_was_planned_can_be_asked_about_later() -> None:
    history = History()
    trace = Trace(Metrics(), Lines(), lambda: 2.0, history)  # type: ignore[arg-type]  # a fake log
    call = a_call()
    call.plans.append((0.5, Facts("chat", stream=False), Plan("balanced", ())))
    await trace(call, accept)
    assert history.find("req_1") is None
    await call.closing.aclose()
    kept = history.find("req_1")
    assert kept is not None
    assert kept.plans == call.plans


async def accept(call: Call) -> Answer:
    return Answer(200, (), "upstream")


async def test_a_call_is_logged_and_counted_when_it_is_closed_and_not_before() -> None:
    trace, log, metrics = traced()
    call = a_call(stream=True, headers={b"traceparent": b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"})
    await trace(call, accept)
    assert log.lines == []
    assert metrics.registry.get_sample_value("llm_active_requests") == 1
    call.attempts.append(Attempt("openai/gpt", "gpt", "openai", 0.1, waited_s=0.9))
    call.status, call.usage, call.first_block_at = 200, Usage(7, 1, cached_tokens=3, reasoning_tokens=3), 1.0
    call.cost_nusd = 1235
    await call.closing.aclose()
    assert metrics.registry.get_sample_value("llm_active_requests") == 0
    assert log.lines == [
        {
            "event": "call",
            "id": "req_1",
            "request_id": "req_1",
            "trace_id": "a" * 32,
            "team": "search",
            "key": "ci",
            "model": "chat",
            "provider": "openai",
            "target": "openai/gpt",
            "stream": True,
            "status": 200,
            "error": None,
            "attempts": 1,
            "fallback": None,
            "input_tokens": 10,
            "output_tokens": 4,
            "cached_tokens": 3,
            "reasoning_tokens": 3,
            "cost_usd": 0.000001235,
            "ttft_ms": 1000.0,
            "duration_ms": 2000.0,
            "overhead_ms": 100.0,
        }
    ]


async def test_what_was_left_out_and_the_tier_are_in_the_line_of_a_call_that_has_them() -> None:
    trace, log, _ = traced()
    call = a_call()
    await trace(call, accept)
    call.attempts.append(Attempt("p/m", "m", "p", 0.0, 0.1, dropped=("seed", "user")))
    call.is_rescued = True
    call.tier, call.model = Tier("simple", 0.123456, "chat"), "small"
    await call.closing.aclose()
    line = log.lines[0]
    assert (line["dropped"], line["tier"], line["complexity"]) == ("seed,user", "simple", 0.123)
    assert line["rescued"] is True
    assert (line["model"], line["asked_model"]) == ("small", "chat")


async def test_a_call_that_reached_nobody_is_logged_too() -> None:
    trace, log, metrics = traced()
    call = a_call(principal=None)
    call.model, call.status, call.error = "", 401, "invalid_key"
    await trace(call, accept)
    await call.closing.aclose()
    assert (log.lines[0]["team"], log.lines[0]["model"], log.lines[0]["ttft_ms"]) == ("other", None, None)
    assert metrics.registry.get_sample_value("llm_errors_total", {"kind": "invalid_key"}) == 1


async def test_no_line_holds_what_was_said() -> None:
    trace, log, _ = traced()
    call = a_call(headers={b"authorization": b"Bearer sk-secret"})
    await trace(call, accept)
    await call.closing.aclose()
    assert "Hello" not in json.dumps(log.lines)
    assert "secret" not in json.dumps(log.lines)


async def test_a_refused_request_leaves_the_fact_and_nothing_else() -> None:
    trace, log, metrics = traced()
    trace.refuse("req_9", InvalidRequest("the prompt was: secret", param="messages"))
    assert log.lines == [
        {"event": "refused", "request_id": "req_9", "status": 400, "error": "invalid_request", "param": "messages"}
    ]
    assert metrics.registry.get_sample_value("llm_errors_total", {"kind": "invalid_request"}) == 1


def test_ids_are_unique_and_of_our_own_making() -> None:
    assert new_id() != new_id()
    assert new_id().startswith("req_")


def test_ids_come_in_the_order_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for now_ms in (9, 10, 1_795_244_400_000, 2**44):
        monkeypatch.setattr(module, "time_ns", lambda now_ms=now_ms: now_ms * 1_000_000)
        ids.append(new_id())
    assert ids == sorted(ids)
    assert {len(one) for one in ids} == {36}


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (b"abc-123_X.y:z", True),
        (b"a" * 128, True),
        (b"a" * 129, False),
        (b"", False),
        (b"two words", False),
        (b"new\r\nline", False),
        (b"\xc3\xa9", False),
        (b'quote"', False),
    ],
)
def test_only_a_sane_request_id_is_kept(wanted: bytes, kept: bool) -> None:
    chosen = choose_request_id({b"x-request-id": wanted}, "req_ours")
    assert chosen == (wanted.decode() if kept else "req_ours")


@pytest.mark.parametrize(
    ("value", "trace_id"),
    [
        (None, None),
        (b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01", "1" * 32),
        (b"00-" + b"0" * 32 + b"-" + b"2" * 16 + b"-01", None),
        (b"garbage", None),
        (b"00-" + b"G" * 32 + b"-" + b"2" * 16 + b"-01", None),
    ],
)
def test_only_a_valid_traceparent_names_a_trace(value: bytes | None, trace_id: str | None) -> None:
    assert read_trace_id({} if value is None else {b"traceparent": value}) == trace_id


async def test_a_call_that_waited_in_the_queue_says_how_long_and_that_is_no_overhead() -> None:
    trace, log, _ = traced(now=6.0)
    call = a_call()
    await trace(call, accept)
    call.attempts.append(Attempt("openai/gpt", "gpt", "openai", 3.1, waited_s=1.8))
    call.status, call.first_block_at, call.queued_s = 200, 5.0, 3.0
    await call.closing.aclose()
    assert (log.lines[0]["queued_ms"], log.lines[0]["overhead_ms"]) == (3000.0, 200.0)


async def test_a_call_that_a_limit_refused_is_logged_with_the_limit() -> None:
    trace, log, _ = traced()
    call = a_call()
    await trace(call, accept)
    call.limited_by = "key_tpm"
    await call.closing.aclose()
    assert log.lines[0]["limit"] == "key_tpm"
