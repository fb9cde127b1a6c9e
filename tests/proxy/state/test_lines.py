import pytest

from proxy.state.base import Period, Sums
from proxy.state.lines import checked_dimensions, hour_text, late_lines, period_of
from proxy.state.sums import SumsToAdd, attempt_rows
from tests.books import MORNING_MS, settlement

HOUR = MORNING_MS // 1000


def test_a_dimension_that_there_is_not_is_refused() -> None:
    assert checked_dimensions(("team",), None) == {}
    assert checked_dimensions((), {"model": "chat"}) == {"model": "chat"}
    with pytest.raises(ValueError, match="unknown dimensions"):
        checked_dimensions(["calls; --"], None)  # type: ignore[list-item]


def test_periods_are_called_by_their_granularity() -> None:
    assert period_of("hour", HOUR, "2026-11-21") == hour_text(HOUR) == "2026-11-21T07:00:00Z"
    assert [period_of(one, HOUR, "2026-11-21") for one in ("day", "month", "total")] == ["2026-11-21", "2026-11", ""]


def test_what_was_booked_late_is_added_up_by_the_hour_in_which_it_began() -> None:
    sums = SumsToAdd()
    for call_id in ("a", "b"):
        one = settlement(call_id)
        sums.add(one, 1, Period(HOUR, "2026-11-21"), attempt_rows(0, one))
    (found,) = late_lines({60: sums}, ("team",), "day", {"model": "chat"}, "")
    assert (found.began_hour, found.line.period, found.line.group) == (60, "2026-11-21", ("search",))
    assert found.line.sums == Sums(2, 0, 2, 1000, 1000, 1000, 20, visible_tokens=40)
    assert late_lines({60: sums}, ("team",), "day", {"model": "mini"}, "") == []
