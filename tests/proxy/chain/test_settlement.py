from decimal import Decimal

import pytest

from proxy.accounting import Prices, Rates, Tariff
from proxy.call import Attempt, CacheNote
from proxy.chain.settlement import settlement_of
from proxy.state import Payer, Settlement
from proxy.wire.usage import Usage
from tests.calls import a_call, an_embeddings_call

PRICE = Tariff.of(Prices(Rates.of(Decimal(1), Decimal(2), cached_input=Decimal("0.5")), "config", "v7"))
PAYER = Payer("search", "ci", "4711")


def attempt(**changes: object) -> Attempt:
    members: dict[str, object] = {"price": PRICE, "credential_id": "k1", **changes}
    return Attempt("a/m", "m", "a", 0.0, **members)  # type: ignore[arg-type]


def settle(*attempts: Attempt, error: str | None = None, is_answered: bool = True, stream: bool = False) -> Settlement:
    call = a_call(stream=stream, received_at=5.0)
    call.request.size_bytes = 400
    call.attempts, call.error, call.status = list(attempts), error, 200 if error is None else 502
    if is_answered and attempts:
        call.answered = attempts[-1]
    return settlement_of(call, PAYER, 1_000_000, 1.5, (400, 1000))


def test_what_was_reported_is_booked_as_it_is() -> None:
    usage = Usage(10, 5, cached_tokens=100, reasoning_tokens=7)
    one = attempt(usage=usage, cost_nusd=PRICE.cost_nusd(usage), upstream_id="chatcmpl-9", service_tier="priority")
    [entry] = settle(one).attempts
    assert (entry.metering, entry.cost_nusd) == ("reported", 10_000 + 10_000 + 50_000 + 14_000)
    assert entry.low_nusd == entry.high_nusd == entry.cost_nusd
    assert (entry.uncached_tokens, entry.cached_tokens, entry.visible_tokens, entry.reasoning_tokens) == (10, 100, 5, 7)
    assert entry.tokens == 122
    assert (entry.credential_id, entry.upstream_id, entry.service_tier) == ("k1", "chatcmpl-9", "priority")
    assert (entry.price_version, entry.is_answer, entry.target) == ("v7", True, "a/m")


def test_an_answer_without_usage_is_estimated() -> None:
    [entry] = settle(attempt(produced_tokens=50)).attempts
    assert (entry.metering, entry.uncached_tokens, entry.visible_tokens) == ("estimated", 100, 50)
    assert (entry.low_nusd, entry.cost_nusd, entry.high_nusd) == (150_000, 200_000, 270_000)


def test_a_stream_that_was_left_is_booked_with_what_came_and_may_cost_all_that_it_could() -> None:
    [entry] = settle(attempt(produced_tokens=50), error="client_gone", stream=True).attempts
    assert (entry.metering, entry.cost_nusd) == ("estimated", 200_000)
    assert entry.high_nusd == 400 * 1000 + 1000 * 2000


def test_a_time_out_may_be_billed_and_nobody_knows_for_what() -> None:
    first = attempt(error="upstream_timeout", may_be_billed=True)
    second = attempt(usage=Usage(1, 1), cost_nusd=3000, role="retry")
    entry, answer = settle(first, second).attempts
    assert (entry.metering, entry.role, entry.is_answer) == ("unmetered", "first", False)
    assert (entry.low_nusd, entry.cost_nusd, entry.high_nusd) == (0, 100_000, 2_400_000)
    assert (answer.role, answer.is_answer) == ("retry", True)


def test_a_refusal_surely_cost_nothing() -> None:
    refused = attempt(error="upstream_rejected", outcome=object())
    [entry] = settle(refused, error="upstream_rejected", is_answered=False).attempts
    assert (entry.metering, entry.cost_nusd, entry.high_nusd, entry.tokens) == ("reported", 0, 0, 0)


def test_what_has_no_price_is_counted_in_tokens() -> None:
    [entry] = settle(attempt(price=None, produced_tokens=50)).attempts
    assert (entry.cost_nusd, entry.high_nusd, entry.tokens, entry.price_version) == (0, 0, 150, "")


def test_the_call_itself_is_told_with_its_times_and_names() -> None:
    call = a_call(stream=True, received_at=5.0)
    call.first_block_at, call.status, call.fallback = 5.25, 200, "large"
    entry = settlement_of(call, PAYER, 1_000_000, 1.5, (0, 0))
    assert (entry.began_ms, entry.ended_ms, entry.duration_ms) == (1_000_000, 1_001_500, 1500)
    assert (entry.first_ms, entry.ttft_ms, entry.is_stream) == (250, 250, True)
    assert (entry.call_id, entry.request_id, entry.model, entry.asked_model) == ("req_1", "req_1", "chat", "chat")
    assert (entry.source, entry.fallback, entry.error, entry.attempts) == ("upstream", "large", None, ())
    assert entry.payer is PAYER


def test_a_fixed_answer_is_the_failure_that_it_hides() -> None:
    call = a_call()
    call.status, call.failed_status, call.error, call.fallback = 200, 503, "upstream_unavailable", "static"
    entry = settlement_of(call, PAYER, 0, 0.0, (0, 0))
    assert (entry.status, entry.source, entry.error, entry.ttft_ms) == (503, "static", "upstream_unavailable", None)


def test_a_refused_call_says_which_limit_it_was() -> None:
    call = a_call()
    call.error, call.limited_by, call.status = "rate_limited", "team_rpm", 429
    assert settlement_of(call, PAYER, 0, 0.0, (0, 0)).error == "rate_limited:team_rpm"


@pytest.mark.parametrize("said", [None, 7, {"a": 1}, "line\nbreak", "\u0000"])
def test_what_is_no_plain_text_is_no_id(said: object) -> None:
    [entry] = settle(attempt(usage=Usage(1, 1), upstream_id=said)).attempts
    assert entry.upstream_id == ""


def test_a_long_id_is_cut() -> None:
    [entry] = settle(attempt(usage=Usage(1, 1), upstream_id="x" * 1000)).attempts
    assert entry.upstream_id == "x" * 200


def test_an_attempt_that_is_still_being_called_off_may_be_billed() -> None:
    winner = attempt(usage=Usage(1, 1), cost_nusd=3000, role="hedge")
    entry, _ = settle(attempt(error="outrun"), winner).attempts
    assert (entry.metering, entry.cost_nusd, entry.high_nusd) == ("unmetered", 100_000, 2_400_000)


def test_an_estimate_is_never_above_what_was_reserved() -> None:
    [entry] = settle(attempt(produced_tokens=5000)).attempts
    assert (entry.metering, entry.visible_tokens) == ("estimated", 1000)


def test_a_hit_is_booked_with_what_it_saved() -> None:
    call = a_call()
    call.status, call.cache = 200, CacheNote("exact", 5, 700)
    entry = settlement_of(call, PAYER, 1_000_000, 0.1, (400, 1000))
    assert (entry.source, entry.saved_nusd, entry.attempts) == ("cache:exact", 700, ())
    call.cache = CacheNote("coalesced", 0, 700)
    assert settlement_of(call, PAYER, 1_000_000, 0.1, (400, 1000)).source == "cache:exact"


@pytest.mark.parametrize("note", [CacheNote("miss"), CacheNote("bypass"), None])
def test_what_was_no_hit_saved_nothing(note: CacheNote | None) -> None:
    call = a_call()
    call.status, call.cache = 200, note
    entry = settlement_of(call, PAYER, 1_000_000, 0.1, (400, 1000))
    assert (entry.source, entry.saved_nusd) == ("upstream", 0)


def test_a_hit_that_did_not_arrive_saved_nothing() -> None:
    call = a_call()
    call.status, call.error, call.cache = 499, "client_gone", CacheNote("exact", 5, 700)
    entry = settlement_of(call, PAYER, 1_000_000, 0.1, (400, 1000))
    assert (entry.source, entry.saved_nusd) == ("upstream", 0)


def test_a_call_that_the_cache_has_answered_in_part_is_booked_with_what_that_saved() -> None:
    call = a_call()
    call.cache, call.status = CacheNote("miss", saved_nusd=300), 200
    call.attempts = [attempt(usage=Usage(10, 0), cost_nusd=10_000)]
    entry = settlement_of(call, PAYER, 0, 0.0, (0, 0))
    assert (entry.source, entry.saved_nusd, entry.attempts[0].cost_nusd) == ("upstream", 300, 10_000)


def test_embeddings_without_usage_are_estimated_by_their_size_and_have_no_output() -> None:
    call = an_embeddings_call("x" * 400)
    call.request.size_bytes, call.status = 400, 200
    call.attempts = [attempt(produced_tokens=0)]
    call.answered = call.attempts[0]
    [entry] = settlement_of(call, PAYER, 0, 0.0, (400, 0)).attempts
    assert (entry.metering, entry.uncached_tokens, entry.visible_tokens) == ("estimated", 100, 0)
