from dataclasses import asdict, fields, replace

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
    peek_entry,
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


def test_a_call_is_told_from_others_without_decoding_its_entries() -> None:
    ids = ["req_1", "req_2", 'a"b', 'a"c', "line\nfeed", "line", ""]
    keys = [peek_entry(encode_entry(intent(call_id))) for call_id in ids]
    assert [is_settlement for _, is_settlement in keys] == [False] * len(ids)
    assert len({key for key, _ in keys}) == len(ids)
    assert [peek_entry(encode_entry(settlement(call_id))) for call_id in ids] == [(key, True) for key, _ in keys]


def test_only_the_beginning_is_looked_at() -> None:
    assert peek_entry(b's"req_1"\nno JSON') == (b'"req_1"', True)


def test_what_a_later_version_adds_is_passed_over() -> None:
    kind, _, data = encode_entry(settlement()).partition(b"\n")
    values = orjson.loads(data)
    values[-1][0].append("eu")  # an attempt
    values[3].append("eu")  # the payer
    values.append("eu")
    assert decode_entry(kind + b"\n" + orjson.dumps(values)) == settlement()


def test_what_an_earlier_version_did_not_have_is_as_by_default() -> None:
    kind, _, data = encode_entry(intent()).partition(b"\n")
    values = orjson.loads(data)[:4]
    values[2] = values[2][:2]
    assert decode_entry(kind + b"\n" + orjson.dumps(values)) == Intent(
        "req_1", "req_1", intent().began_ms, Payer("search", "ci"), "chat"
    )


def test_fields_keep_their_places() -> None:
    """Journals know values by their place: a field is added behind these, none is moved."""
    names = {cls: [one.name for one in fields(cls)] for cls in (Payer, Intent, AttemptEntry, Settlement)}
    assert " ".join(names[Payer]).startswith("team key_name cost_center tags")
    assert " ".join(names[Intent]).startswith(
        "call_id request_id began_ms payer model is_stream max_cost_nusd max_input_tokens max_output_tokens"
    )
    assert " ".join(names[AttemptEntry]).startswith(
        "target provider role metering cost_nusd low_nusd high_nusd uncached_tokens cached_tokens cache_write_tokens "
        "audio_input_tokens visible_tokens reasoning_tokens audio_output_tokens credential_id upstream_id service_tier "
        "price_version error is_answer"
    )
    assert " ".join(names[Settlement]).startswith(
        "call_id request_id began_ms ended_ms payer model asked_model status source is_stream error fallback first_ms "
        "ttft_ms duration_ms saved_nusd attempts"
    )


def test_entries_that_are_objects_are_read_too() -> None:
    data = asdict(settlement())
    assert decode_entry(b"S" + orjson.dumps(data)) == settlement()
    assert peek_entry(b"S" + orjson.dumps(data)) == (b'"req_1"', True)
    data["payer"]["region"] = data["attempts"][0]["region"] = data["region"] = "eu"
    assert decode_entry(b"S" + orjson.dumps(data)) == settlement()
    begun = asdict(intent())
    assert peek_entry(b"I" + orjson.dumps(begun)) == (b'"req_1"', False)
    for name in ("is_stream", "max_cost_nusd", "max_input_tokens", "max_output_tokens"):
        del begun[name]
    assert decode_entry(b"I" + orjson.dumps(begun)) == Intent(
        "req_1", "req_1", intent().began_ms, intent().payer, "chat"
    )


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"S", b"S[]", b"S{}", b"I1", b'S{"payer":{}}', b"X" + encode_entry(intent())[1:]),
        *(b"s", b's"a"', b's"a"\n', b's"a"\n{}', b's"a"\n[]', b's"a"\n[1,2,3,4]', b'i"a"\n["b",1,["c"]]', b"i\n[]"),
    ],
)
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    with pytest.raises(BadEntry):
        decode_entry(data)


@pytest.mark.parametrize("data", [b"", b"S", b"S[]", b"s", b's"a"', b"X{}", b'X"a"\n[]'])
def test_what_does_not_begin_as_an_entry_is_refused(data: bytes) -> None:
    with pytest.raises(BadEntry):
        peek_entry(data)


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
