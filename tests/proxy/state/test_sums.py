from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy.state.base import Period
from proxy.state.entries import Settlement
from proxy.state.sums import MEASURES, Row, SumsToAdd, attempt_rows, reversal
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


def added(*calls: tuple[Settlement, int, Period]) -> tuple[list[Row], list[Row]]:
    """What these add to the sums by hour and by day."""
    sums = SumsToAdd()
    for entry, count, period in calls:
        sums.add(entry, count, period, attempt_rows(1, entry))
    return sums.rows()


def measures(row: Row) -> dict[str, int]:
    return dict(zip(MEASURES, row[-len(MEASURES) :], strict=True))


@given(entries)
def test_a_call_counts_once_for_all_calls_and_once_for_each_tag(entry: Settlement) -> None:
    for table in added((entry, 1, PERIOD)):
        for tag_key in {"", *entry.payer.tags}:
            rows = [measures(row) for row in table if row[0] == tag_key]
            assert sum(row["calls"] for row in rows) == 1
            assert sum(row["saved_nusd"] for row in rows) == entry.saved_nusd
            assert sum(row["attempts"] for row in rows) == len(entry.attempts)
            assert sum(row["cost_nusd"] for row in rows) == sum(one.cost_nusd for one in entry.attempts)
        assert {row[0] for row in table} == {"", *entry.payer.tags}


@given(entries)
def test_a_reversal_leaves_nothing(entry: Settlement) -> None:
    for table in added((entry, 1, PERIOD), (reversal(entry), -1, PERIOD)):
        assert not any(amount for row in table for amount in measures(row).values())


def test_the_hours_of_a_day_are_its_sum() -> None:
    hours, days = added((settlement("a"), 1, PERIOD), (settlement("b"), 1, LATER))
    assert len(hours) == 2 * len(days)
    assert all(measures(row)["calls"] == 2 for row in days)
    assert {row[:2] for row in days} == {("", "2026-11-21"), ("env", "2026-11-21")}
    assert {row[:3] for row in hours if not row[0]} == {("", 3600, "2026-11-21"), ("", 7200, "2026-11-21")}


def test_calls_that_differ_in_a_tag_share_the_row_of_all_calls() -> None:
    others = [settlement(tag, payer=replace(PAYER, tags={"env": tag})) for tag in ("prod", "test")]
    for table in added(*((one, 1, PERIOD) for one in others)):
        calls = {(row[0], row[-len(MEASURES) - 1]): measures(row)["calls"] for row in table}
        assert calls == {("", ""): 2, ("env", "prod"): 1, ("env", "test"): 1}
