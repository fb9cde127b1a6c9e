from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.state import Booking, Position, encode_entry, orphan_of
from proxy.state.base import Period
from proxy.state.redis_lapsed import LapsedCalls
from proxy.state.redis_ledger import open_ledger
from tests.claims import MORNING_MS, PERIODS, Place, done, intent, quota, rate
from tests.redis_server import RedisServer

pytestmark = pytest.mark.integration


@pytest.fixture
def place(redis: RedisServer) -> Iterator[Place]:
    with redis.client as client:
        yield Place(client)


def claim(place: Place, call: str, *, quotas: bool = True) -> None:
    """A call takes what its lease runs out of at once."""
    terms = place.claims.terms("search", (rate(rpm=10),), (quota(1000),) if quotas else ())
    entry = encode_entry(intent(call)) if quotas else b""
    done(place.claims.claim(terms, call, 0, (500, 100), entry))
    place.client.zadd(f"{place.tag}:leases", {call: 5})


def lapsed_of(place: Place, least_ms: int = 0) -> LapsedCalls:
    return LapsedCalls(place.client, place.keys, lambda: ("search",), least_ms)


def test_calls_are_given_out_when_nobody_was_heard_for_long_enough(place: Place) -> None:
    claim(place, "a")
    assert lapsed_of(place, 60_000)() == []
    assert lapsed_of(place)() == [intent("a")]
    assert place.held() == 500, "it is freed when it is booked"


def test_one_that_is_found_again_was_booked_before_and_is_freed(place: Place) -> None:
    claim(place, "a")
    lapsed = lapsed_of(place)
    assert lapsed() == [intent("a")]
    assert lapsed() == [intent("a")], "it could not be booked"
    assert lapsed({"a"}) == []
    assert place.held() == 0


def test_one_without_an_intent_is_freed_at_once(place: Place) -> None:
    claim(place, "a", quotas=False)
    assert lapsed_of(place)() == []
    assert not place.has("claim:a")


def test_teams_that_left_the_config_are_looked_for_too(place: Place, redis: RedisServer, tmp_path: Path) -> None:
    ledger = open_ledger(redis.url, place.keys.namespace, "one", lambda began_s: PERIODS)
    period = Period(MORNING_MS // 3_600_000 * 3600, "2026-11-21")
    ledger.fold((), [Booking(orphan_of(intent("b"), MORNING_MS), period)], Position("one", 1))
    claim(place, "a")
    lapsed = LapsedCalls(place.client, place.keys, tuple, 0)
    assert lapsed() == [intent("a")]
    ledger.fold((), [Booking(orphan_of(intent("a"), MORNING_MS), period)], Position("one", 2))
    assert place.held() == 0
    assert place.counts(f"use:{PERIODS[0]}")["ci\nchat\ncalls"] == 2
    assert lapsed() == []
    ledger.close()


@pytest.mark.parametrize("becomes_known", [True, False])
def test_an_orphan_of_a_call_that_was_counted_already_is_counted_as_far_as_it_differs(
    place: Place, redis: RedisServer, becomes_known: bool
) -> None:
    claim(place, "a")
    place.claims.settle("search", "a", None, "ci", "chat", (123, 45), PERIODS)
    ledger = open_ledger(redis.url, place.keys.namespace, "one", lambda began_s: PERIODS)
    period = Period(MORNING_MS // 3_600_000 * 3600, "2026-11-21")
    orphan = orphan_of(intent("a"), MORNING_MS)
    ledger.fold((), [Booking(orphan, period)], Position("one", 1))
    booked = orphan.attempts[0].cost_nusd, orphan.attempts[0].tokens
    if becomes_known:
        spent = replace(orphan.attempts[0], cost_nusd=123, uncached_tokens=40, visible_tokens=5)
        ledger.fold((), [Booking(replace(orphan, attempts=(spent,), error=None), period)], Position("one", 2))
        booked = 123, 45
    counts = place.counts(f"use:{PERIODS[0]}")
    assert (counts["ci\nchat\ncalls"], counts["ci\nchat\nnusd"], counts["ci\nchat\ntokens"]) == (1, *booked)
    ledger.close()
