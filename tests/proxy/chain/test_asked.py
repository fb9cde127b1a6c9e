from __future__ import annotations

from proxy.cache import key_of
from proxy.chain.asked import flight_of, read_call
from proxy.chain.cache_rules import CacheRule
from tests.calls import a_call

RULE = CacheRule(b"s" * 32, 60)


def test_what_the_cache_makes_of_a_call() -> None:
    call = a_call(stream=True, headers={b"cache-control": b"max-age=5"})
    asked = read_call(call, RULE)
    assert (asked.model, asked.team, asked.control.max_age_s, asked.look) == ("chat", "search", 5, None)
    assert asked.key == key_of(RULE.scope, "search", call.request.body)
    assert asked.route == (asked.key, True, False, "None")


def test_what_is_not_to_be_stored_has_no_key() -> None:
    assert read_call(a_call(headers={b"cache-control": b"no-store"}), RULE).key == b""
    call = a_call(principal=None)
    call.request.body["store"] = True
    assert read_call(call, RULE).key == b""


def test_calls_of_one_service_tier_share_a_flight_and_others_do_not() -> None:
    flights = []
    for tier in (None, "flex", "flex", "priority"):
        call = a_call()
        call.request.body |= {} if tier is None else {"service_tier": tier}
        flights.append(flight_of(read_call(call, RULE).route))
    assert flights[1] == flights[2]
    assert len(set(flights)) == 3
    assert flights[0] == read_call(a_call(), RULE).key
