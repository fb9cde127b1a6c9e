from dataclasses import asdict, replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.state.entries import (
    MAX_INTEGER,
    ORPHANED,
    AttemptEntry,
    BadEntry,
    Intent,
    Payer,
    Settlement,
    decode_entry,
    encode_entry,
    orphan_of,
)
from tests.books import attempt, intent, settlement

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
amounts = st.integers(-MAX_INTEGER + 1, MAX_INTEGER - 1)
payers = st.builds(Payer, texts, texts, texts, st.dictionaries(texts, texts, max_size=3))
intents = st.builds(Intent, texts, texts, amounts, payers, texts, st.booleans(), amounts, amounts, amounts)
attempts = st.builds(
    AttemptEntry,
    target=texts,
    provider=texts,
    role=st.sampled_from(["first", "retry", "hedge", "rescue", "fallback"]),
    metering=st.sampled_from(["reported", "estimated", "unmetered"]),
    cost_nusd=amounts,
    error=st.none() | texts,
    is_answer=st.booleans(),
)
settlements = st.builds(
    Settlement,
    call_id=texts,
    request_id=texts,
    began_ms=amounts,
    ended_ms=amounts,
    payer=payers,
    model=texts,
    asked_model=texts,
    status=amounts,
    source=texts,
    error=st.none() | texts,
    first_ms=st.none() | amounts,
    attempts=st.lists(attempts, max_size=3).map(tuple),
)


@given(intents | settlements)
def test_entries_come_back_as_they_were(entry: Intent | Settlement) -> None:
    assert decode_entry(encode_entry(entry)) == entry


def test_what_a_later_version_adds_is_passed_over() -> None:
    data = asdict(settlement())
    data["payer"]["region"] = data["attempts"][0]["region"] = data["region"] = "eu"
    assert decode_entry(b"S" + orjson.dumps(data)) == settlement()


def test_what_an_earlier_version_did_not_have_is_as_by_default() -> None:
    data = asdict(intent())
    for name in ("is_stream", "max_cost_nusd", "max_input_tokens", "max_output_tokens"):
        del data[name]
    del data["payer"]["cost_center"], data["payer"]["tags"]
    assert decode_entry(b"I" + orjson.dumps(data)) == Intent(
        "req_1", "req_1", intent().began_ms, Payer("search", "ci"), "chat"
    )


@pytest.mark.parametrize(
    "data", [b"", b"S", b"S[]", b"S{}", b"I1", b'S{"payer":{}}', b"X" + encode_entry(intent())[1:]]
)
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    with pytest.raises(BadEntry):
        decode_entry(data)


@pytest.mark.parametrize(
    "entry",
    [
        replace(intent(), max_cost_nusd=MAX_INTEGER + 1),
        settlement("req_1", attempt(cost_nusd=2**70)),
        settlement("req_1", asked_model="\ud800"),
    ],
)
def test_what_other_programs_could_not_read_is_not_written(entry: Intent | Settlement) -> None:
    with pytest.raises(BadEntry, match="call req_1"):
        encode_entry(entry)


def test_an_orphan_is_booked_with_all_that_it_may_have_cost() -> None:
    orphan = orphan_of(intent(cost_nusd=700), intent().began_ms + 5)
    (only,) = orphan.attempts
    assert (orphan.is_orphan, orphan.error, orphan.status) == (True, ORPHANED, 0)
    assert (only.metering, only.low_nusd, only.cost_nusd, only.high_nusd) == ("unmetered", 0, 700, 700)
    assert (only.uncached_tokens, only.visible_tokens) == (30, 70)
    assert orphan_of(intent(), 0).ended_ms == intent().began_ms  # though the clock was set back


def test_a_call_is_booked_under_who_answered_or_else_who_was_asked_last() -> None:
    first, second = attempt("openai", is_answer=False), attempt("qwen", is_answer=False)
    assert settlement("a", replace(first, is_answer=True), second).answered == 0
    assert settlement("a", first, second).answered == 1
    assert replace(settlement(), attempts=()).answered is None
