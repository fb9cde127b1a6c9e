from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy.state.base import Period
from proxy.state.sqlite_rows import (
    ATTEMPT_COLUMNS,
    CALL_COLUMNS,
    MEASURES,
    SumsByKey,
    add_to_sums,
    attempt_rows,
    call_row,
    reversal,
    sums_by_day,
)
from tests.books import PAYER, attempt, settlement

PERIOD = Period(3600, "2026-11-21")
LATER = Period(7200, "2026-11-21")
entries = st.builds(
    lambda attempts, tags, saved: settlement(
        "a", payer=replace(PAYER, tags=tags), attempts=tuple(attempts), saved_nusd=saved
    ),
    st.lists(st.builds(attempt, st.sampled_from(["openai", "qwen"]), st.integers(0, 99)), max_size=3),
    st.dictionaries(st.sampled_from(["env", "feature", ""]), st.sampled_from(["x", "y"])),
    st.integers(0, 99),
)


def test_rows_have_their_columns() -> None:
    entry = settlement("a", attempt(), attempt("qwen"))
    assert len(call_row(1, 0, 1, entry, PERIOD)) == len(CALL_COLUMNS)
    assert [row[:4] for row in attempt_rows(7, entry)] == [(7, 0, "openai/m", "openai"), (7, 1, "qwen/m", "qwen")]
    assert all(len(row) == len(ATTEMPT_COLUMNS) for row in attempt_rows(7, entry))


@given(entries)
def test_a_call_counts_once_for_all_calls_and_once_for_each_tag(entry: object) -> None:
    assert isinstance(entry, type(settlement()))
    sums: SumsByKey = {}
    add_to_sums(sums, entry, 1, PERIOD)
    for tag_key in {"", *entry.payer.tags}:
        rows = [dict(zip(MEASURES, row, strict=True)) for key, row in sums.items() if key[0] == tag_key]
        assert sum(row["calls"] for row in rows) == 1
        assert sum(row["saved_nusd"] for row in rows) == entry.saved_nusd
        assert sum(row["attempts"] for row in rows) == len(entry.attempts)
        assert sum(row["cost_nusd"] for row in rows) == sum(one.cost_nusd for one in entry.attempts)
    assert {key[0] for key in sums} == {"", *entry.payer.tags}


@given(entries)
def test_a_reversal_leaves_nothing(entry: object) -> None:
    assert isinstance(entry, type(settlement()))
    sums: SumsByKey = {}
    add_to_sums(sums, entry, 1, PERIOD)
    add_to_sums(sums, reversal(entry), -1, PERIOD)
    assert not any(amount for row in sums.values() for amount in row)


def test_the_hours_of_a_day_are_its_sum() -> None:
    sums: SumsByKey = {}
    add_to_sums(sums, settlement("a"), 1, PERIOD)
    add_to_sums(sums, settlement("b"), 1, LATER)
    days = sums_by_day(sums)
    assert len(sums) == 2 * len(days)
    assert all(row[0] == 2 for row in days.values())
    assert {key[:2] for key in days} == {("", "2026-11-21"), ("env", "2026-11-21")}
