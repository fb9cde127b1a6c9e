from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.state import Booking, EntryRefused, Intent, Payer, Period, Settlement, encode_entry, orphan_of
from proxy.state import redis_entries as module
from proxy.state.redis_entries import (
    HOUR_MS,
    STAMP_BYTES,
    check_intent,
    encode_kept,
    hour_of,
    read_kept,
    settlement_of,
    utc_day,
)
from tests.books import MORNING_MS, PAYER, attempt, booked_at, booking, intent, settlement, unix_s

STAMP = (7).to_bytes(STAMP_BYTES)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
amounts = st.integers(-(2**53) + 1, 2**53 - 1)
settlements = st.builds(
    Settlement,
    call_id=texts,
    request_id=texts,
    began_ms=st.integers(0, 4 * 10**12),
    ended_ms=st.integers(0, 4 * 10**12),
    payer=st.builds(Payer, texts, texts, texts, st.dictionaries(texts, texts, max_size=2)),
    model=texts,
    asked_model=texts.filter(bool),
    status=st.integers(0, 999),
    source=texts,
    is_stream=st.booleans(),
    error=st.none() | texts,
    fallback=st.none() | texts,
    first_ms=st.none() | st.integers(0, 10**9),
    ttft_ms=st.none() | st.integers(0, 10**9),
    duration_ms=st.integers(0, 10**9),
    saved_nusd=amounts,
    attempts=st.lists(
        st.builds(
            lambda cost, tokens, text, error: attempt(
                "openai", cost, cached_tokens=tokens, upstream_id=text, error=error
            ),
            amounts,
            amounts,
            texts,
            st.none() | texts,
        ),
        max_size=3,
    ).map(tuple),
).filter(lambda one: bool(one.request_id))


def read(one: Booking) -> Booking:
    """As it comes back."""
    hour = hour_of(one.settlement.began_ms)
    kept = read_kept(STAMP + encode_kept(one), hour)
    assert kept.stamp == 7
    return Booking(settlement_of(kept, one.settlement.payer.team, one.settlement.call_id, hour), kept.period)


@given(settlements)
def test_a_settlement_comes_back_as_it_was(one: Settlement) -> None:
    assert read(booking(one)) == booking(one)


@pytest.mark.parametrize("day", ["2026-11-20", "2026-11-21", "2026-11-22", "2026-12-01"])
def test_so_does_its_day_in_any_time_zone(day: str) -> None:
    one = Booking(settlement(), Period(MORNING_MS // 1000, day))
    assert read(one) == one


def test_so_does_the_hour_of_what_was_booked_late() -> None:
    late = booked_at(settlement(began_ms=MORNING_MS - 40 * 24 * HOUR_MS), "2026-11-21T10:00")
    assert read(late) == late


def test_a_call_takes_a_third_of_what_it_takes_in_the_journal() -> None:
    # As chance would have it: nothing of these is in the dictionary.
    first = attempt(cost_nusd=81_236_411, uncached_tokens=1733, visible_tokens=512, credential_id="8f31c09e")
    first = replace(
        first, upstream_id="chatcmpl-78e517311d8a3c2ce6f447ed4d57b", price_version="genai-prices-0.2:x/y:1c84"
    )
    one = settlement("req_01a1fce79d80d8f191b7584a2265b1f5", first, began_ms=MORNING_MS + 123_456, is_stream=True)
    assert len(encode_kept(booking(one))) < len(encode_entry(one)) / 2.5


def test_what_takes_the_orphan_back_knows_that_it_is_one() -> None:
    for one in (settlement(), orphan_of(intent(), MORNING_MS)):
        kept = read_kept(STAMP + encode_kept(booking(one)), hour_of(MORNING_MS))
        assert kept.is_orphan == one.is_orphan
        assert (kept.past_ms, kept.saved_nusd, len(kept.attempts)) == (0, 0, 1)


@pytest.mark.parametrize(
    "bad",
    [
        settlement(status="ok"),
        settlement("a", attempt(cost_nusd=2**53)),
        settlement("a", attempt(role=None)),
        settlement(duration_ms=None),
        settlement(is_stream=1),
        settlement(payer=replace(PAYER, tags={"env": 1})),  # type: ignore[dict-item]
        settlement(payer=replace(PAYER, tags={1: "env"})),  # type: ignore[dict-item]
        settlement(payer=replace(PAYER, cost_center=None)),  # type: ignore[arg-type]
        settlement(model="\ud800"),
        settlement(began_ms=2**60),
    ],
)
def test_what_can_not_be_kept_is_refused(bad: Settlement) -> None:
    with pytest.raises(EntryRefused):
        encode_kept(Booking(bad, Period(0, "1970-01-01")))


def test_an_intent_that_could_not_be_booked_is_refused() -> None:
    check_intent(intent())
    unlisted: Any = 1
    for bad in (replace(intent(), model=unlisted), replace(intent(), payer=replace(PAYER, team=unlisted))):
        with pytest.raises(EntryRefused):
            check_intent(bad)
    assert isinstance(intent(), Intent)


@pytest.mark.parametrize("data", [b"", STAMP, STAMP + b"\x09abc", STAMP + b"\x01abc", b"short"])
def test_what_is_no_settlement_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match="no settlement"):
        read_kept(data, 0)


def test_hours_have_their_day_in_utc() -> None:
    assert hour_of(MORNING_MS) == unix_s("2026-11-21T07:00") // 3600
    assert utc_day(hour_of(MORNING_MS)) == "2026-11-21"


def test_a_dictionary_that_was_released_is_never_edited() -> None:
    digests = {number: sha256(one).hexdigest()[:16] for number, one in module._DICTIONARIES.items()}
    assert digests == {1: "6867958a2e2e7be8"}
